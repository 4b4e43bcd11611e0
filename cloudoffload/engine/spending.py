"""A computation that was stopped says what it has cost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from cloudoffload.errors import Cancelled
from cloudoffload.ledger.ledger import Ledger
from cloudoffload.ledger.money import format_usd

_BEGIN = "cloudoffload: stopped; "
_STDERR = 2

_at_work: list[Ledger] = []
"""Of what the main thread waits for."""

os.register_at_fork(after_in_child=_at_work.clear)


@contextmanager
def telling_spend(ledger: Ledger) -> Iterator[None]:
    """Say what was spent when something stops the block: an interrupt, a cancellation, or SIGTERM.

    The first two get a note, which is shown below a traceback, in a terminal as in a notebook. SIGTERM ends a process
    without any: unless the program handles it in its own way, its last line on stderr tells.
    """
    on_main_thread = threading.current_thread() is threading.main_thread()
    if on_main_thread:
        _at_work.append(ledger)
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    except (KeyboardInterrupt, Cancelled) as stop:
        note_spend(stop, ledger)
        raise
    finally:
        if on_main_thread:
            _at_work.remove(ledger)
            _let_be()


def note_spend(stop: BaseException, ledger: Ledger) -> None:
    """Say in a note what is spent, and what may still come."""
    if not any(note.startswith(_BEGIN) for note in getattr(stop, "__notes__", ())):
        stop.add_note(_spent(ledger))


def _spent(ledger: Ledger) -> str:
    balance = ledger.balance
    text = f"{_BEGIN}{format_usd(balance.committed)} spent"
    if balance.reserved:
        text += f", up to {format_usd(balance.reserved)} more for calls that may still run"
    return text


def _let_be() -> None:
    """Give SIGTERM back its default once nobody is at work; only the main thread may."""
    on_main_thread = threading.current_thread() is threading.main_thread()
    if on_main_thread and not _at_work and signal.getsignal(signal.SIGTERM) is _terminated:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminated(number: int, frame: FrameType | None) -> None:
    """Tell, and die of the signal as if nobody had handled it."""
    for ledger in dict.fromkeys(_at_work):
        with suppress(OSError):
            # Not through sys.stderr: the signal may have come in the middle of another line.
            os.write(_STDERR, f"{_spent(ledger)}\n".encode())
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
