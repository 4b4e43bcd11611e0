"""What the panel shows of one cell, kept as plain values: no widget, no thread, no clock of its own."""

from __future__ import annotations

import enum
import threading
from collections import deque
from dataclasses import dataclass, field, replace

from cloudoffload.engine.events import Event, EventKind, ProviderTotals, Totals

RATE_WINDOW = 2.0
"""Seconds over which the rate of bytes is averaged: calls end in bursts, a shorter window would flicker."""


class Status(enum.StrEnum):
    """How a cell stands."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    ESTIMATED = "estimated, not run"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The cell at one moment."""

    totals: Totals = field(default_factory=Totals)  # of this cell alone
    bytes_per_second: float = 0.0  # read and written by workers, over the last RATE_WINDOW seconds
    status: Status = Status.RUNNING
    message: str = ""  # why it failed, or the last alert of the budget


def since(latest: Totals, began: Totals) -> Totals:
    """Totals of a session less those it had at an earlier moment; what is under way counts as it stands.

    Parameters
    ----------
    latest, began : Totals
        Of the same session, in either order of providers.
    """
    none = ProviderTotals()
    providers = {
        name: ProviderTotals(
            units=now.units - began.providers.get(name, none).units,
            calls=now.calls - began.providers.get(name, none).calls,
            usd=now.usd - began.providers.get(name, none).usd,
        )
        for name, now in latest.providers.items()
    }
    return Totals(
        units_total=latest.units_total - began.units_total,
        units_done=latest.units_done - began.units_done,
        calls=latest.calls - began.calls,
        in_flight=latest.in_flight,
        retries=latest.retries - began.retries,
        usd=latest.usd - began.usd,
        usd_reserved=latest.usd_reserved,
        bytes_processed=latest.bytes_processed - began.bytes_processed,
        client_bytes_in=latest.client_bytes_in - began.client_bytes_in,
        client_bytes_out=latest.client_bytes_out - began.client_bytes_out,
        seconds=latest.seconds - began.seconds,
        providers={name: totals for name, totals in providers.items() if totals.calls or totals.units},
    )


class PanelState:
    """Collects a session's events on the engine's threads and answers snapshots to the ticker's.

    Parameters
    ----------
    began : Totals
        The session's totals when the cell began: a session that serves several cells has spent before.
    now : float
        Seconds of the clock that :meth:`snapshot` is asked with.
    """

    def __init__(self, began: Totals, now: float) -> None:
        self._lock = threading.Lock()
        self._began = began
        self._latest = began
        self._start = now
        self._end: float | None = None
        self._status = Status.RUNNING
        self._message = ""
        self._failed = ""
        self._history = deque([(now, began.bytes_processed)])

    def listen(self, event: Event) -> None:
        """Take in one event; subscribe this to ``session.events``."""
        with self._lock:
            self._latest = event.totals
            if event.kind is EventKind.COMPUTE_ENDED and event.message:
                self._failed = self._message = event.message
            elif event.kind is EventKind.BUDGET_ALERT:
                self._message = event.message

    def finish(self, status: Status, message: str, now: float) -> None:
        """Say how the cell ended; a computation that failed makes it failed even if the cell went on."""
        with self._lock:
            self._end = now
            if status is Status.DONE and self._failed:
                status = Status.FAILED
            self._status = status
            self._message = message or self._failed or self._message

    def snapshot(self, now: float) -> Snapshot:
        """The cell at ``now``, seconds; the clock stands still once it is finished."""
        with self._lock:
            moment = now if self._end is None else self._end
            totals = replace(since(self._latest, self._began), seconds=moment - self._start)
            return Snapshot(totals, self._rate(now), self._status, self._message)

    def _rate(self, now: float) -> float:
        self._history.append((now, self._latest.bytes_processed))
        while len(self._history) > 2 and self._history[1][0] <= now - RATE_WINDOW:
            self._history.popleft()
        before, nbytes = self._history[0]
        return (self._latest.bytes_processed - nbytes) / (now - before) if now > before else 0.0
