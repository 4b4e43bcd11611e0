"""What the computations of one session share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from cloudoffload.engine.clouds import Clouds
from cloudoffload.engine.events import Event, EventKind, Events, ProviderTotals, Totals
from cloudoffload.engine.learned import Learned
from cloudoffload.engine.messages import Draft
from cloudoffload.engine.objects import Inventory
from cloudoffload.engine.threads import DaemonPool, Trash
from cloudoffload.errors import Cancelled
from cloudoffload.ledger.ledger import Ledger
from cloudoffload.routing.route import Candidate, Decision, route
from cloudoffload.settings import Settings
from cloudoffload.types import Requirements, Resources, Unit
from cloudoffload.wire.signing import Signer
from cloudoffload.worker.deadline import GRACE

STORE = "main"
"""Name of the session's store in every call."""

LOOK_SECONDS = 0.2
"""How often a call that waits for its turn looks whether it was cancelled, seconds."""

DRAIN_SECONDS = 0.5
"""How long the end of a session waits for transfers under way: they must not land behind the deletion of the run."""

INIT_SECONDS = 10.0
"""Most that a cold start is billed: Lambda ends an init after 10 s (AWS Lambda Developer Guide, "Understanding
the Lambda execution environment lifecycle")."""

OVERRUN_SECONDS = 2 * GRACE
"""How long a call may go on after its deadline: the user's code gets a grace, and so does what writes the outcome."""

_ANYTHING = Requirements()


class Counters:
    """Running sums of a session; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = time.monotonic()
        self._totals = Totals()

    def add(self, *, provider: str = "", units: int = 0, usd: Decimal = Decimal(0), **counts: int) -> None:
        """Add to the sums; a provider's call adds to its own, too."""
        with self._lock:
            totals = self._totals
            changed: dict[str, Any] = {name: getattr(totals, name) + count for name, count in counts.items()}
            if provider:
                before = totals.providers.get(provider, ProviderTotals())
                after = ProviderTotals(before.units + units, before.calls + 1, before.usd + usd)
                changed["providers"] = {**totals.providers, provider: after}
            self._totals = replace(totals, **changed)

    def read(self, ledger: Ledger, inventory: Inventory) -> Totals:
        """Sums as they are now, with the ledger's dollars and the store's bytes."""
        balance = ledger.balance
        with self._lock:
            return replace(
                self._totals,
                usd=balance.committed,
                usd_reserved=balance.reserved,
                store_bytes=inventory.nbytes,
                store_bytes_peak=inventory.peak,
                seconds=time.monotonic() - self._started,
            )


@dataclass(slots=True)
class Services:
    """Parts of a session that its computations use."""

    run: str
    settings: Settings
    results: str
    prefer: str
    signer: Signer
    clouds: Clouds
    ledger: Ledger
    events: Events = field(default_factory=Events)
    learned: Learned = field(default_factory=Learned)
    counters: Counters = field(default_factory=Counters)
    pool: DaemonPool = field(default_factory=lambda: DaemonPool("cloudoffload"))
    trash: Trash = field(init=False)
    _computations: int = 0
    _slots: dict[str, threading.Semaphore] = field(init=False)
    _booked: tuple[int, int, int, int] = (0, 0, 0, 0)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.trash = Trash(self._delete)
        self._slots = {lane.name: threading.Semaphore(lane.slots + lane.ahead) for lane in self.clouds.lanes.values()}

    def close(self) -> None:
        """End processes, delete the run's objects, stop emulated clouds; harmless when called twice."""
        with ExitStack() as rest:  # an interrupt in one of these must not keep the next from happening
            rest.callback(self.clouds.close)
            rest.callback(self.pool.close, DRAIN_SECONDS)
            rest.callback(self.trash.close, DRAIN_SECONDS)

    @contextmanager
    def slot(self, provider: str, stop: threading.Event) -> Iterator[None]:
        """One of the calls that a provider takes at once, or lets wait; computations of a session share them.

        Raises
        ------
        Cancelled
            ``stop`` was set before it was this call's turn.
        """
        slots = self._slots[provider]
        while not slots.acquire(timeout=LOOK_SECONDS):
            if stop.is_set():
                break
        else:
            try:
                if not stop.is_set():
                    yield
                    return
            finally:
                slots.release()
        raise Cancelled("the call was cancelled before it was sent")

    def store_usage(self) -> tuple[int, int, int, int]:
        """Writes, reads, bytes written and bytes read of the client that nobody has asked for yet.

        Each operation is told once, however many threads ask: a sum of what they are told counts nothing twice.
        """
        with self._lock:
            before, self._booked = self._booked, self.clouds.store.usage.read()
            writes, reads, written, read = (now - then for now, then in zip(self._booked, before, strict=True))
        return writes, reads, written, read

    def next_computation(self) -> int:
        """Number of the next computation, from 1."""
        with self._lock:
            self._computations += 1
            return self._computations

    def publish(self, kind: EventKind, computation: int, **fields: Any) -> None:
        """Tell the listeners what happened."""
        if self.events.heard:
            self.events.publish(Event(kind, computation, self.totals(), **fields))

    def totals(self) -> Totals:
        """Running sums of the session as they are now."""
        return self.counters.read(self.ledger, self.clouds.inventory)

    def decide(self, unit: Unit) -> Decision:
        """Where a unit goes, and why."""
        candidates = [
            Candidate(
                name=lane.name,
                card=lane.card,
                runs=lane.runs,
                memory_mb=lane.memory_mb,
                seconds=None if (record := self.learned.get(unit.prefix, lane.name)) is None else record.recent,
                latency=lane.latency,
            )
            for lane in self.clouds.lanes.values()
        ]
        return route(unit.requirements, unit.here_because, candidates, self.prefer)

    def router(self) -> Callable[[Unit], str]:
        """The loop's view of :meth:`decide`: a session with one provider needs no quotes."""
        if len(self.clouds.lanes) > 1:
            return lambda unit: self.decide(unit).provider
        (only,) = self.clouds.lanes

        def check(unit: Unit) -> str:
            if unit.here_because or unit.requirements != _ANYTHING:
                return self.decide(unit).provider
            return only

        return check

    def reserve(self, computation: int, draft: Draft) -> None:
        """Set a call's worst case aside, or raise BudgetExceeded."""
        lane = self.clouds.lanes[draft.provider]
        self.ledger.reserve(self.call_id(computation, draft), lane.card, self.worst_case(draft))

    def worst_case(self, draft: Draft) -> Resources:
        """The most that a call can use: a cold start, its deadline and some overrun, all writes and reads."""
        return Resources(
            seconds=draft.seconds + OVERRUN_SECONDS,
            init_seconds=INIT_SECONDS,
            memory_mb=draft.memory_mb,
            requests=1,
            store_operations={"write": len(draft.units), "read": draft.reads + 1},
            bytes_out={"client": self.settings.inline_limit * len(draft.units)},
        )

    def call_id(self, computation: int, draft: Draft) -> str:
        """Name of a call, unique in the run."""
        return f"{computation}-{draft.number}"

    def _delete(self, keys: Iterable[str]) -> None:
        inventory = self.clouds.inventory
        doomed = inventory.let_go(keys)
        self.clouds.store.delete([*doomed, *inventory.due(time.monotonic())])
        inventory.deleted(doomed)
