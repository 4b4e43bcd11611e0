"""A worker ends its own call when the time that was paid for is over."""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

GRACE = 2.0
"""Seconds between asking the user's code to stop and ending the process."""

EXIT_STATUS = 124

_STDERR = 2


class DeadlinePassed(BaseException):
    """The call's time is over. Not an ``Exception``: the user's ``except Exception`` must not swallow it."""


@contextmanager
def deadline(seconds: float) -> Iterator[Callable[[], None]]:
    """Raise :class:`DeadlinePassed` in the running code after ``seconds``.

    Code that does not react within :data:`GRACE` (it catches everything, or sits in C) ends the process with status
    124: the cloud then reports a crash, and nothing more is spent. Code in C that does not even let other threads run
    is ended :data:`GRACE` later, with status 1 and its stack on the standard error. Outside of a main thread, where
    Python delivers no signals, only these measures exist.

    Yields
    ------
    callable
        Raises :class:`DeadlinePassed` when the time is over, also when code that swallowed it went on.
    """
    due = monotonic() + seconds

    def passed(signum: int = 0, frame: FrameType | None = None) -> None:
        raise DeadlinePassed(f"the call's deadline of {seconds:g} s has passed")

    def check() -> None:
        if monotonic() >= due:
            passed()

    # The alarm innermost: an exception that it raises early or late must not leave the others armed.
    faulthandler.dump_traceback_later(seconds + 2 * GRACE, exit=True, file=_STDERR)
    try:
        with _watchdog(seconds + GRACE), _alarm(seconds, passed):
            yield check
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextmanager
def _alarm(seconds: float, passed: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGALRM, passed)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


class _Watchdog:
    """One daemon thread for the process's lifetime, which ends the process when a block lasts too long."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._due: dict[int, float] = {}
        self._last = 0

    @contextmanager
    def __call__(self, seconds: float) -> Iterator[None]:
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="cloudoffload-deadline", daemon=True)
                self._thread.start()
            self._last += 1
            number = self._last
            self._due[number] = monotonic() + seconds
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._due[number]

    def _watch(self) -> None:
        with self._changed:
            while True:
                earliest = min(self._due.values(), default=None)
                now = monotonic()
                if earliest is not None and earliest <= now:
                    os._exit(EXIT_STATUS)
                self._changed.wait(None if earliest is None else earliest - now)


_watchdog = _Watchdog()
