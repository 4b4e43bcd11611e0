"""The one stream of events that progress lines, panels, logs and traces listen to."""

from __future__ import annotations

import enum
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

logger = logging.getLogger(__name__)


class EventKind(enum.StrEnum):
    """What happened."""

    COMPUTE_STARTED = "compute-started"
    CALL_STARTED = "call-started"
    CALL_ENDED = "call-ended"
    CALL_LOST = "call-lost"  # the attempt has no outcome; `message` says why
    BUDGET_ALERT = "budget-alert"
    COMPUTE_ENDED = "compute-ended"  # `message` is "" or why it failed


@dataclass(frozen=True, slots=True)
class ProviderTotals:
    """What one provider has done since the session began."""

    units: int = 0
    calls: int = 0
    usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Totals:
    """Running sums of a session; every event carries them, so a listener needs no memory of its own."""

    units_total: int = 0  # of all computations so far
    units_done: int = 0
    calls: int = 0  # ended, with or without an outcome
    in_flight: int = 0  # calls under way
    retries: int = 0
    usd: Decimal = Decimal(0)  # settled
    usd_reserved: Decimal = Decimal(0)  # worst case of what is under way
    bytes_processed: int = 0  # read and written by workers
    client_bytes_in: int = 0  # through this machine, results included
    client_bytes_out: int = 0
    store_bytes: int = 0  # of objects that this run has in its store now
    store_bytes_peak: int = 0  # the most that they ever were
    seconds: float = 0.0  # since the session began
    providers: Mapping[str, ProviderTotals] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened in a session."""

    kind: EventKind
    compute: int  # number of the computation in its session, from 1
    totals: Totals
    call: str = ""
    provider: str = ""
    units: int = 0  # of this call or computation
    seconds: float = 0.0  # of this call or computation
    usd: Decimal = Decimal(0)  # of this call
    message: str = ""


class Events:
    """Where listeners subscribe. Callbacks run on the engine's threads: they must return quickly."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: tuple[Callable[[Event], None], ...] = ()

    def subscribe(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call ``callback(event)`` for every event from now on; returns a function that ends it."""
        with self._lock:
            self._listeners = (*self._listeners, callback)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners = tuple(item for item in self._listeners if item is not callback)

        return unsubscribe

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def publish(self, event: Event) -> None:
        """Tell every listener; one that raises is logged and does not disturb the computation."""
        for callback in self._listeners:
            try:
                callback(event)
            except Exception:
                logger.warning("a listener of session.events raised on %s", event.kind, exc_info=True)
