"""A world in which a loop lives: calls that end well, badly or in part, money that comes and goes, a slow reader.

It tells a loop what happens, in a random order, and checks all that the loop asks for at the moment it asks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from cloudoffload.engine.loop import UnitFailed
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
    Woken,
)
from cloudoffload.engine.window import Window
from cloudoffload.errors import (
    BudgetExceeded,
    Cancelled,
    OutOfMemory,
    PayloadTooLarge,
    ProviderDown,
    StoreError,
    Throttled,
    TimedOut,
    Unauthorized,
    WorkerLost,
)
from cloudoffload.types import Assignment, Edge, Failure, FailureKind, Outcome, Plan, Ref, Requirements, Resources, Unit
from tests.unit.engine.driving import Driven, failure, plan, ref, unit

REFUSALS = (Throttled("429"), PayloadTooLarge("big"))
LOSSES = (ProviderDown("down"), TimedOut("late"), OutOfMemory("full"), StoreError("503"))
HOPELESS = (Unauthorized("who are you"), ProviderDown("gone", retryable=False), ValueError("a bug"))
PASSING = (FailureKind.DEADLINE, FailureKind.OUT_OF_MEMORY, FailureKind.INPUT_LOST, FailureKind.STORE)
"""Failures that another try may not have."""

_SHARED = (Requirements(), Requirements(retries=9), Requirements(retries=8), Requirements(retries=1))


@st.composite
def plans(draw: st.DrawFn, *, independent: bool = False, most: int = 14) -> Plan:
    """Graphs whose units read earlier ones, or parts of them; some are barriers, all that nobody reads is requested."""
    total = draw(st.integers(1, most))
    sources = st.just(list[int]()) if independent else st.lists(st.integers(0, most - 1), max_size=3)
    inputs = [[source for source in draw(sources) if source < number] for number in range(total)]
    read = {source for needed in inputs for source in needed}
    order = draw(st.permutations(range(total)))
    units: list[Unit] = []
    for number in range(total):
        requested = number not in read or draw(st.integers(0, 5)) == 0
        # A barrier's inputs are values in parts, which are not barriers themselves.
        barrier = bool(inputs[number]) and not requested and draw(st.booleans())
        barrier = barrier and not any(units[source].keeps_inputs for source in inputs[number])
        units.append(
            unit(
                number,
                *(Edge(source, draw(st.sampled_from([None, 0, "a"]))) for source in inputs[number]),
                prefix=draw(st.sampled_from(["a", "b"])),
                priority=order[number],
                requested=requested,
                keeps_inputs=barrier,
                requirements=draw(st.sampled_from(_SHARED)),
            )
        )
    made = plan(*units)
    asked = [edge.source for edge in made.results]
    results = [*draw(st.permutations(asked)), *draw(st.lists(st.sampled_from(asked), max_size=2))]
    return Plan(made.units, b"", (), tuple(map(Edge, results)))


class World:
    """One loop from its beginning to its end.

    Parameters
    ----------
    data : DataObject
        Draws what happens.
    plan : Plan
        What the loop has to run.
    lanes : sequence of Lane
        Where it may run; units go by their prefix.
    troubles : int
        How many things may go wrong.
    room : int, optional
        Units in calls for which there is money; no end of it by default.
    tries, isolated, ahead
        As the loop's.
    mercy : int
        How much more often another try may help than not.
    """

    def __init__(
        self,
        data: st.DataObject,
        plan: Plan,
        lanes: Sequence[Lane],
        *,
        troubles: int,
        room: int | None = None,
        tries: int = 2,
        isolated: bool = False,
        ahead: int | None = None,
        mercy: int = 4,
    ) -> None:
        self.draw = data.draw
        self.plan = plan
        self.lanes = lanes
        self.troubles = troubles
        self.mercy = mercy
        self.room = room
        self.tries = tries
        self.isolated = isolated
        self.ahead = ahead
        self.learned = data.draw(st.sampled_from([{}, {"a": 0.1, "b": 0.1}]))  # what units took in earlier computations
        self.running: dict[int, Draft] = {}
        self.values: dict[int, Ref] = {}  # of units that are done
        self.failed: set[int] = set()
        self.delivered: dict[int, Any] = {}
        self.freed: set[str] = set()
        self.losses: dict[int, int] = {}
        self.attempts: dict[int, int] = {}
        self.taken = 0
        self.stops_after = data.draw(st.sampled_from([None] * 9 + [1, 4, 9])) if troubles else None  # events
        self.wake_at: float | None = None
        self.happened: list[Any] = []  # what may be the reason why it ends
        self.events: list[tuple[Event, float]] = []
        self.reservations: list[BudgetExceeded | None] = []
        self._reserved: list[Draft] = []
        self._readers = _readers(plan)
        self._needs = [needs(plan, edge.source) for edge in plan.results]
        self.driven = Driven(
            plan,
            *lanes,
            route=self.route,
            reserve=self._reserve,
            learned=self.learned,
            tries=tries,
            isolated=isolated,
            window=None if ahead is None else Window(plan, ahead),
        )

    def route(self, unit: Unit) -> str:
        """Lane of a unit."""
        return self.lanes[ord(unit.prefix) % len(self.lanes)].name

    @property
    def end(self) -> Finish | None:
        """How it ended."""
        return self.driven.finished

    def live(self) -> None:
        """Let things happen until the loop is over."""
        self._tell(Begun())
        while self.end is None:
            assert len(self.events) < 1000, "it ends"
            self._happen()
        for event in (Woken(), Taken(1), Stopped(Cancelled("too late"))):
            assert self.driven.step(event) == [], "nothing is asked for after the end"

    def _happen(self) -> None:
        """One of the events that can come next."""
        can: list[Any] = [*sorted(self.running)]
        if self.wake_at is not None:
            can.append(Woken)
        if self.ahead is not None and self._next_result_is_there():
            can.append(Taken)
        assert can, "there is always something to wait for"
        chosen = self.draw(st.sampled_from(can))
        if len(self.events) == self.stops_after:
            chosen = Stopped
        if chosen is Woken:
            assert self.wake_at is not None
            self.driven.now = max(self.driven.now, self.wake_at)
            self.wake_at = None
            self._tell(Woken())
        elif chosen is Taken:
            self.taken += 1
            self._tell(Taken(1))
        elif chosen is Stopped:
            self.happened.append(Cancelled("no more"))
            self._tell(Stopped(self.happened[-1]))
        else:
            self.driven.now += self.draw(st.sampled_from([0.0, 0.01, 3.0]))
            self._end_call(self.running.pop(chosen))

    def _next_result_is_there(self) -> bool:
        results = self.plan.results
        return self.taken < len(results) and results[self.taken].source in self.delivered

    def _goes_wrong(self) -> bool:
        if self.troubles and self.draw(st.integers(0, 2)) == 0:
            self.troubles -= 1
            return True
        return False

    def _end_call(self, draft: Draft) -> None:
        """The call comes back, with something for each unit, or not at all."""
        if self.room is not None:
            self.room += self.draw(st.sampled_from([len(draft.units), len(draft.units), 0]))
        if self._goes_wrong():
            refusals = REFUSALS if len(draft.units) > 1 else REFUSALS[:1]
            error = self.draw(st.sampled_from([*refusals * self.mercy, *LOSSES * self.mercy, *HOPELESS]))
            if error not in refusals:
                for assignment in draft.units:
                    if not _lacks(assignment):
                        self._lose(assignment.number, error, hopeless=error in HOPELESS)
            self._tell(Lost(draft.number, error))
            return
        results = [self._result(assignment) for assignment in draft.units]
        seconds = tuple(self.draw(st.sampled_from([0.0, 0.1, 5.0])) for _ in results)
        self._tell(Answered(draft.number, Outcome(tuple(results), seconds, Resources())))

    def _result(self, assignment: Assignment) -> Ref | Failure:
        number, attempt = assignment.number, assignment.attempt
        if not _lacks(assignment) <= self.values.keys():
            # A value that could not be written after all may have been read before.
            spurious = st.sampled_from([failure(FailureKind.INPUT_LOST), ref(number, attempt)])
            return self.draw(spurious)
        if not self._goes_wrong():
            assert number not in self.values, "committed once"
            self.values[number] = ref(number, attempt, inline=self.draw(st.booleans()))
            return self.values[number]
        result = failure(self.draw(st.sampled_from([FailureKind.EXCEPTION, *PASSING * self.mercy])))
        self._lose(number, result, hopeless=result.kind not in PASSING)
        return result

    def _lose(self, number: int, why: Any, *, hopeless: bool) -> None:
        self.losses[number] = self.losses.get(number, 0) + 1
        stated = self.plan.units[number].requirements.retries
        if hopeless or self.losses[number] > (self.tries if stated is None else stated):
            self.failed.add(number)
            self.happened.append(why)

    def _reserve(self, draft: Draft) -> None:
        if self.room is not None and len(draft.units) > self.room:
            error = BudgetExceeded("no room")
            # Another computation may hold some, and give it back.
            error.room_may_come = self.troubles > 0 and self.draw(st.booleans())
            if error.room_may_come:
                self.troubles -= 1
                self.room += self.draw(st.integers(0, 1))
            self.reservations.append(error)
            raise error
        if self.room is not None:
            self.room -= len(draft.units)
        self.reservations.append(None)
        self._reserved.append(draft)

    def _tell(self, event: Event) -> None:
        self.events.append((event, self.driven.now))
        actions = self.driven.step(event)
        for place, action in enumerate(actions):
            self._see(action, last=place == len(actions) - 1)
        assert not self._reserved, "what is reserved is sent"

    # What the loop asks for

    def _see(self, action: Action, *, last: bool) -> None:
        if isinstance(action, Send):
            self._see_call(action.draft)
        elif isinstance(action, Free):
            for item in action.refs:
                self._see_freed(item)
        elif isinstance(action, Deliver):
            assert self.plan.units[action.number].requested
            assert action.number not in self.delivered, "delivered once"
            assert action.number in self.failed or action.result is self.values[action.number]
            self.delivered[action.number] = action.result
        elif isinstance(action, Wake):
            assert action.at >= self.driven.now
            self.wake_at = action.at
        else:
            assert last, "the end comes last"

    def _see_call(self, draft: Draft) -> None:
        assert self._reserved, "its worst case is reserved"
        assert self._reserved.pop(0) is draft
        assert draft.number not in self.running
        self.running[draft.number] = draft
        (lane,) = [lane for lane in self.lanes if lane.name == draft.provider]
        assert sum(other.provider == lane.name for other in self.running.values()) <= lane.slots + lane.ahead
        assert 1 <= len(draft.units) <= lane.batch
        elsewhere = {item.number for other in self.running.values() if other is not draft for item in other.units}
        before: set[int] = set()
        for assignment in draft.units:
            number, made = assignment.number, self.plan.units[assignment.number]
            assert self.route(made) == lane.name
            assert any(number in needed for needed in self._within_reach()), "some result that can be made needs it"
            assert number not in self.values, "a unit that has a value runs no more"
            assert number not in self.failed, "nor does one that has no further try"
            assert number not in elsewhere, "it runs once at a time"
            assert assignment.attempt == self.attempts.get(number, 0) + 1, "outputs are named by attempts"
            self.attempts[number] = assignment.attempt
            assert assignment.requested == made.requested
            there = [edge for edge in made.inputs if edge.source in self.values]
            for edge, given in zip(made.inputs, assignment.inputs, strict=True):
                if edge in there:
                    assert given == self.values[edge.source]._replace(part=edge.part)
                else:
                    assert given == edge and edge.source in before, "the call makes it, before it is read"
            before.add(number)
            read = [self.values[edge.source] for edge in there]
            through = [item for edge in made.inputs for item in self._behind(edge.source)]
            assert not {item.key for item in [*read, *through]} & self.freed, "what is read is still there"
        assert len({item.number for item in draft.units}) == len(draft.units)

    def _within_reach(self) -> list[set[int]]:
        """What the results are made of that may be worked on: not those that the reader is far from, or that failed."""
        if self.ahead is None:
            return self._needs
        lost = [place for place, needed in enumerate(self._needs) if needed & self.failed]
        return self._needs[: min([self.taken + self.ahead, *lost])]

    def _behind(self, source: int) -> list[Ref]:
        """What a reader of a barrier reads besides the barrier."""
        before = self.plan.units[source]
        return [self.values[edge.source] for edge in before.inputs] if before.keeps_inputs else []

    def _see_freed(self, item: Ref) -> None:
        assert item.data is None, "nothing is stored for a value inside a message"
        assert item.key not in self.freed, "freed once"
        self.freed.add(item.key)
        (number,) = [number for number, value in self.values.items() if value.key == item.key]
        assert not self.plan.units[number].requested
        assert all(reader in self.values for reader in self._readers[number]), "nobody reads it any more"

    # How it ends

    def check_results_before_the_first_failed_one(self) -> None:
        """They are all delivered, and the error is that of the first one."""
        lost = [place for place, needed in enumerate(self._needs) if needed & self.failed]
        assert {edge.source for edge in self.plan.results[: lost[0]]} <= self.delivered.keys()
        assert self.end is not None
        if isinstance(self.end.error, UnitFailed):
            assert self.end.error.unit.number in self._needs[lost[0]]

    def check_complete(self) -> None:
        """All units have run, every result was delivered, and whatever else was stored is freed."""
        units = self.plan.units
        assert self.values.keys() == set(range(len(units)))
        assert self.delivered == {number: value for number, value in self.values.items() if units[number].requested}
        stored = {v.key for n, v in self.values.items() if v.data is None and not units[n].requested}
        assert self.freed == stored

    def check_reason(self) -> None:
        """The error is one that happened, or says that the last of many tries failed, or that there is no money."""
        assert self.end is not None
        error = self.end.error
        if isinstance(error, UnitFailed):
            assert error.failure in self.happened
            assert error.unit.number in self.failed
        elif isinstance(error, WorkerLost):
            assert self.failed
        elif isinstance(error, BudgetExceeded):
            assert self.reservations[-1] is not None
            assert not error.room_may_come
            assert not self.running, "what is under way may give some back"
        else:
            assert any(error is reason for reason in self.happened)

    def replayed(self) -> list[str]:
        """What another loop asks for when it is told the same."""
        answers = iter(self.reservations)

        def reserve(draft: Draft) -> None:
            if (error := next(answers)) is not None:
                raise error

        other = Driven(
            self.plan,
            *self.lanes,
            route=self.route,
            reserve=reserve,
            learned=self.learned,
            tries=self.tries,
            isolated=self.isolated,
            window=None if self.ahead is None else Window(self.plan, self.ahead),
        )
        for event, now in self.events:
            other.now = now
            other.step(event)
        return list(map(repr, other.actions))


def needs(plan: Plan, number: int) -> set[int]:
    """A unit and all that it is made of."""
    needed, stack = {number}, [number]
    while stack:
        fresh = {edge.source for edge in plan.units[stack.pop()].inputs} - needed
        needed |= fresh
        stack += fresh
    return needed


def _lacks(assignment: Assignment) -> set[int]:
    """Units of the same call that make what this one reads."""
    return {item.source for item in assignment.inputs if isinstance(item, Edge)}


def _readers(plan: Plan) -> list[set[int]]:
    """Units that read each unit's value, also through a barrier."""
    readers: list[set[int]] = [set() for _ in plan.units]
    for item in plan.units:
        for edge in item.inputs:
            readers[edge.source].add(item.number)
    for item in plan.units:
        if item.keeps_inputs:
            for edge in item.inputs:
                readers[edge.source] |= readers[item.number]
    return readers
