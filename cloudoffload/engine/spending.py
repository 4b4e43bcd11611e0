"""A computation that was stopped says what it has cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cloudoffload.errors import Cancelled
from cloudoffload.ledger.ledger import Ledger
from cloudoffload.ledger.money import format_usd

_BEGIN = "cloudoffload: stopped; "


@contextmanager
def telling_spend(ledger: Ledger) -> Iterator[None]:
    """Add a note with the money to whatever stops the block: an interrupt, or a cancellation.

    Notes are shown below a traceback, in a terminal as in a notebook.
    """
    try:
        yield
    except (KeyboardInterrupt, Cancelled) as stop:
        note_spend(stop, ledger)
        raise


def note_spend(stop: BaseException, ledger: Ledger) -> None:
    """Say in a note what is spent, and what may still come."""
    if any(note.startswith(_BEGIN) for note in getattr(stop, "__notes__", ())):
        return
    balance = ledger.balance
    text = f"{_BEGIN}{format_usd(balance.committed)} spent"
    if balance.reserved:
        text += f", up to {format_usd(balance.reserved)} more for calls that may still run"
    stop.add_note(text)
