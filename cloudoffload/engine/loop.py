"""*When* units run: a pure state machine.

``step(event, now)`` returns actions. The loop has no thread, no clock, no randomness and does no I/O: the driver owns
those. The same events therefore always lead to the same actions, and a simulation can drive the very same loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set

from cloudoffload.engine import retries
from cloudoffload.engine.batching import Batches
from cloudoffload.engine.learned import Learned
from cloudoffload.engine.messages import (
    Action,
    Answered,
    Begun,
    Deliver,
    Draft,
    Event,
    Finish,
    Free,
    Lane,
    Lost,
    Send,
    Stopped,
    Taken,
    Wake,
)
from cloudoffload.engine.reads import most_reads
from cloudoffload.engine.ready import Kind, ReadyUnits
from cloudoffload.engine.tries import Tries
from cloudoffload.engine.window import Window
from cloudoffload.errors import BudgetExceeded
from cloudoffload.types import Assignment, Edge, Failure, Plan, Ref, Unit
from cloudoffload.wire.refs import part_of

_READ = Ref("", "", (0, 0), 0, b"")
"""In place of the ref of a value that nobody needs any more: many hold the value itself."""

_ASK_AGAIN = 0.2
"""How long a full budget is left alone while other computations hold reservations, seconds."""


class Loop:
    """One computation.

    Parameters
    ----------
    plan : Plan
        Its units.
    data : sequence of Ref
        Where the plan's data lies, by datum number.
    lanes : mapping of str to Lane
        Providers by name.
    route : callable
        ``route(unit) -> name of a lane``; raises when no provider can run it.
    reserve : callable
        ``reserve(draft)`` sets the draft's worst case aside or raises :class:`~cloudoffload.errors.BudgetExceeded`.
    learned : Learned
        What units have taken so far; added to.
    tries : int
        Further tries of a unit after a lost call.
    first_deadline : float
        Seconds that a call of unknown length gets where time costs money.
    isolated : bool
        A failed unit fails alone instead of ending the computation (units are then independent of each other).
    window : Window, optional
        Of a reader who takes the results one after the other: what is out of reach waits.
    """

    def __init__(
        self,
        plan: Plan,
        data: Sequence[Ref],
        lanes: Mapping[str, Lane],
        *,
        route: Callable[[Unit], str],
        reserve: Callable[[Draft], None],
        learned: Learned,
        tries: int,
        first_deadline: float,
        isolated: bool = False,
        window: Window | None = None,
    ) -> None:
        self._units = plan.units
        self._lanes = lanes
        self._route = route
        self._reserve = reserve
        self._tries = Tries(tries)
        self._isolated = isolated
        self._window = window
        total = len(plan.units)
        self._refs: list[Ref | None] = [None] * total + list(data)
        self._left = total
        self._missing = [0] * total  # inputs that have no value yet
        self._consumers: list[list[int]] = [[] for _ in range(total)]
        self._readers = [0] * total  # units that have still to read a value
        for unit in plan.units:
            sources = _sources(unit, total)
            self._missing[unit.number] = len(sources)
            for source in sources:
                self._consumers[source].append(unit.number)
                self._readers[source] += 1
        self._riding: set[int] = set()  # units under way in the call that makes what they still lack
        self._batches = Batches(plan.units, self._consumers, self._missing, learned, route, first_deadline)
        self._attempts = [0] * total
        self._ready = ReadyUnits(plan.units)
        self._calls: dict[int, Draft] = {}
        self._in_flight = dict.fromkeys(lanes, 0)
        self._sent = 0
        self._over = False

    def step(self, event: Event, now: float) -> list[Action]:
        """Take note of an event; returns what to do, in this order."""
        actions: list[Action] = []
        if self._over:
            return actions
        if isinstance(event, Begun):
            for number, missing in enumerate(self._missing):
                if not missing:
                    self._make_ready(number)
        elif isinstance(event, Answered):
            self._answered(event, now, actions)
        elif isinstance(event, Lost):
            self._lost(self._ended(event.call), event.error, now, actions)
        elif isinstance(event, Taken) and self._window is not None:
            for number in self._window.taken(event.results):
                self._ready.add(number)
        elif isinstance(event, Stopped):
            self._finish(event.error, actions)
        if not self._over:
            self._dispatch(now, actions)
        return actions

    @property
    def in_flight(self) -> tuple[Draft, ...]:
        """Calls without an answer."""
        return tuple(self._calls.values())

    @property
    def retried(self) -> int:
        """How often a unit was put aside for another try."""
        return self._tries.retried

    @property
    def done(self) -> int:
        """Units that have a value."""
        return sum(ref is not None for ref in self._refs[: len(self._units)])

    def _ended(self, call: int) -> Draft:
        draft = self._calls.pop(call)
        self._in_flight[draft.provider] -= 1
        return draft

    def _answered(self, event: Answered, now: float, actions: list[Action]) -> None:
        draft = self._ended(event.call)
        done: dict[str, list[float]] = {}
        freed: list[Ref] = []
        for assignment, result, seconds in zip(
            draft.units, event.outcome.results, event.outcome.unit_seconds, strict=True
        ):
            unit = self._units[assignment.number]
            if unit.number in self._riding and self._stays_behind(unit.number):
                continue
            if isinstance(result, Ref):
                self._refs[unit.number] = result
                done.setdefault(unit.prefix, []).append(seconds)
                self._commit(unit, result, actions, freed)
                continue
            why: Failure | BaseException = result
            if (lost := retries.as_lost(result)) is not None:
                if self._tries.again(unit, lost, now):
                    continue
                why = self._tries.given_up(unit, lost)
            self._fail(unit.number, why, actions)
            if self._over:
                return
        self._batches.answered(draft, done)
        if freed:
            actions.append(Free(tuple(freed)))
        self._finish_if_done(actions)

    def _stays_behind(self, number: int) -> bool:
        """Whether a unit rode in a call that did not make all that it lacks: it waits for that again."""
        self._riding.remove(number)
        return self._missing[number] > 0

    def _commit(self, unit: Unit, ref: Ref, actions: list[Action], freed: list[Ref]) -> None:
        number = unit.number
        if self._window is None or self._window.needs(number):
            self._left -= 1
        if unit.requested:
            actions.append(Deliver(number, ref))
            if not self._readers[number]:
                self._refs[number] = _READ
        for consumer in self._consumers[number]:
            self._missing[consumer] -= 1
            if not self._missing[consumer] and consumer not in self._riding:
                self._make_ready(consumer)
        if unit.inputs and not unit.keeps_inputs:
            self._release(unit, freed)

    def _release(self, unit: Unit, freed: list[Ref]) -> None:
        """The unit has read its inputs: free those that nobody else needs."""
        for source in _sources(unit, len(self._units)):
            self._readers[source] -= 1
            if self._readers[source]:
                continue
            before = self._units[source]
            if before.keeps_inputs:
                self._release(before, freed)
            ref = self._refs[source]
            if not before.requested and ref is not None and ref.data is None:
                freed.append(ref)
            self._refs[source] = _READ

    def _lost(self, draft: Draft, error: BaseException, now: float, actions: list[Action]) -> None:
        numbers = [unit.number for unit in draft.units if unit.number not in self._riding]
        self._riding.difference_update(unit.number for unit in draft.units)  # they wait for what the call did not make
        if retries.ran_nothing(error, len(draft.units)) and self._tries.refused(numbers, error, now):
            return
        for number in numbers:
            unit = self._units[number]
            if not self._tries.again(unit, error, now):
                self._fail(number, self._tries.given_up(unit, error), actions)
                if self._over:
                    return
        self._finish_if_done(actions)

    def _fail(self, number: int, why: Failure | BaseException, actions: list[Action]) -> None:
        """A unit has no value, and no further try."""
        if self._isolated:
            self._left -= 1
            actions.append(Deliver(number, why))
            return
        error = UnitFailed(why, self._units[number]) if isinstance(why, Failure) else why
        if self._window is None:
            self._finish(error, actions)
            return
        self._window.fail(number, error)
        self._left = self._window.missing(self._refs)
        self._ready.keep(self._window.needs)

    def _make_ready(self, number: int, *, alone: bool = False) -> None:
        if self._window is None or self._window.admits(number):
            self._ready.add(number, alone=alone)

    def _finish_if_done(self, actions: list[Action]) -> None:
        if not self._left:
            self._finish(None if self._window is None else self._window.error, actions)

    def _dispatch(self, now: float, actions: list[Action]) -> None:
        for number, alone in self._tries.due(now):
            self._make_ready(number, alone=alone)
        too_dear: BudgetExceeded | None = None
        for kind in self._ready.by_priority():
            try:
                self._send_batches(kind, self._lanes[self._route(self._units[kind.head])], actions)
            except BudgetExceeded as error:
                too_dear = too_dear or error
            except Exception as error:  # noqa: BLE001 - no provider can run it, ever: the computation ends with that
                self._finish(error, actions)
                return
        wake = [] if self._tries.next is None else [self._tries.next]
        # What is under way may use less than was reserved for it, and make room: here, or in another computation.
        if too_dear is not None and not self._calls:
            if not too_dear.room_may_come:
                self._finish(too_dear, actions)
                return
            wake.append(now + _ASK_AGAIN)
        if wake:
            actions.append(Wake(min(wake)))

    def _send_batches(self, kind: Kind, lane: Lane, actions: list[Action]) -> None:
        """Send as much of one kind as the lane takes; raises BudgetExceeded when there is no room for a single unit."""
        most, busy = lane.batch, self._in_flight[lane.name]
        ride = not kind.alone and self._window is None
        while kind and (free := lane.slots - self._in_flight[lane.name]) > -lane.ahead:
            numbers = kind.pop(min(most, self._batches.size(kind, lane, free=free, busy=busy)))
            riders = self._batches.riders(numbers, lane) if ride else []
            draft = self._draft([*numbers, *riders], lane)
            try:
                self._reserve(draft)
            except BudgetExceeded:
                for assignment in draft.units:
                    self._attempts[assignment.number] -= 1
                for number in numbers:
                    kind.push(self._units[number].priority, number)
                if riders:
                    ride = False
                elif len(numbers) == 1:
                    raise
                else:
                    most = len(numbers) // 2
                continue
            self._riding.update(riders)
            self._sent += 1
            self._batches.sent(draft.units)
            self._calls[draft.number] = draft
            self._in_flight[lane.name] += 1
            actions.append(Send(draft))

    def _draft(self, numbers: list[int], lane: Lane) -> Draft:
        assignments = []
        for number in numbers:
            self._attempts[number] += 1
            unit = self._units[number]
            inputs = tuple([self._input(edge) for edge in unit.inputs]) if unit.inputs else ()
            assignments.append(Assignment(number, self._attempts[number], inputs, unit.requested))
        seconds = self._batches.deadline(numbers, lane, self._tries.timeouts(numbers))
        reads = sum(most_reads(self._units[number], self._units) for number in numbers)
        return Draft(self._sent + 1, lane.name, tuple(assignments), seconds, lane.memory_mb, reads)

    def _input(self, edge: Edge) -> Ref | Edge:
        ref = self._refs[edge.source]
        return edge if ref is None else part_of(ref, edge)  # without a value yet: made by the call itself

    def _finish(self, error: BaseException | None, actions: list[Action]) -> None:
        self._over = True
        actions.append(Finish(error))


class UnitFailed(Exception):
    """A unit's failure on its way to the driver, which makes the user's exception of it."""

    def __init__(self, failure: Failure, unit: Unit) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.unit = unit


_NOTHING: frozenset[int] = frozenset()


def _sources(unit: Unit, total: int) -> Set[int]:
    return {edge.source for edge in unit.inputs if edge.source < total} if unit.inputs else _NOTHING
