"""A worker ends its own call when the time that was paid for is over."""

from __future__ import annotations

import faulthandler
import math
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
def deadline(seconds: float, *, never_frozen: bool = False) -> Iterator[Callable[[], None]]:
    """Raise :class:`DeadlinePassed` in the running code after ``seconds``.

    Code that does not react within :data:`GRACE` (it catches everything, or sits in C) ends the process with status
    124: the cloud then reports a crash, and nothing more is spent. Code in C that does not even let other threads run
    is ended at most :data:`GRACE` later, with status 1 and its stack on the standard error. Outside of a main thread,
    where Python delivers no signals, only these measures exist.

    Parameters
    ----------
    seconds : float
        From now on.
    never_frozen : bool
        The process goes on between calls, so that the last measure may be left armed for a call that comes soon. One
        that is frozen meanwhile would be ended when it is thawed.

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
    with _watchdog(due + GRACE, never_frozen=never_frozen), _alarm(seconds, passed):
        yield check


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
    """One daemon thread for the process's lifetime, which ends the process when a block lasts too long.

    Behind it stands a guard that needs no thread of Python. To arm it takes longer than a small call: one serves all
    calls that must end within half a :data:`GRACE` of each other.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._due: dict[int, float] = {}
        self._last = 0
        self._guard: float | None = None  # when it strikes
        self._awake_at = math.inf  # when the thread looks by itself

    @contextmanager
    def __call__(self, due: float, *, never_frozen: bool) -> Iterator[None]:
        with self._changed:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._watch, name="cloudoffload-deadline", daemon=True)
                self._thread.start()
            self._last += 1
            number = self._last
            self._due[number] = due
            if self._guard is None or not GRACE / 2 <= self._guard - due <= GRACE:
                self._arm(due + GRACE)
            if due < self._awake_at:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                del self._due[number]
                if not never_frozen:
                    self._disarm()

    def _arm(self, strikes: float) -> None:
        faulthandler.dump_traceback_later(strikes - monotonic(), exit=True, file=_STDERR)
        self._guard = strikes

    def _disarm(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._guard = None

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = monotonic()
                earliest = min(self._due.values(), default=math.inf)
                if earliest <= now:
                    os._exit(EXIT_STATUS)
                if self._guard is not None and self._guard - GRACE <= now:  # the call that it was armed for is over
                    self._arm(earliest + GRACE) if self._due else self._disarm()
                self._awake_at = earliest if self._guard is None else min(earliest, self._guard - GRACE)
                self._changed.wait(None if self._awake_at == math.inf else self._awake_at - now)


_watchdog = _Watchdog()
