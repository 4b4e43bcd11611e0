"""Random graphs, random orders of events, random losses: what must hold whatever happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.engine.loop import UnitFailed
from cloudoffload.engine.messages import Deliver, Draft, Free, Send
from cloudoffload.errors import BudgetExceeded, OutOfMemory, PayloadTooLarge, ProviderDown, Throttled, TimedOut
from cloudoffload.types import Plan, Ref, Requirements
from tests.unit.engine.driving import Driven, failure, lane, plan, ref, unit

LOSSES = (ProviderDown("down"), Throttled("429"), TimedOut("late"), OutOfMemory("full"), PayloadTooLarge("big"))
WAKE = 0  # calls are numbered from 1
PATIENT = Requirements(retries=10_000)


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Graphs whose units read earlier ones; some are barriers, all values that nobody reads are requested."""
    total = draw(st.integers(1, 14))
    inputs = [
        sorted(draw(st.sets(st.integers(0, number - 1), max_size=3))) if number else [] for number in range(total)
    ]
    read = {source for sources in inputs for source in sources}
    order = draw(st.permutations(range(total)))
    units = []
    for number in range(total):
        requested = number not in read or draw(st.integers(0, 5)) == 0
        barrier = bool(inputs[number]) and not requested and draw(st.booleans())
        prefix = draw(st.sampled_from(["a", "b"]))
        units.append(
            unit(
                number,
                *inputs[number],
                prefix=prefix,
                priority=order[number],
                requested=requested,
                keeps_inputs=barrier,
                requirements=PATIENT,
            )
        )
    return plan(*units)


class Watch:
    """What an attentive observer of a loop keeps in mind."""

    def __init__(self, plan: Plan) -> None:
        self.units = plan.units
        self.committed: dict[int, Ref] = {}
        self.freed: set[str] = set()
        self.running: dict[int, Draft] = {}
        self.delivered: list[int] = []
        self.losses = 12  # that may still happen

    def see(self, actions: list[object]) -> None:
        """Check each action at the moment it is asked for."""
        for action in actions:
            if isinstance(action, Send):
                self.running[action.draft.number] = action.draft
                for assignment in action.draft.units:
                    assert assignment.number not in self.committed, "a unit that has a value runs no more"
                    assert not {item.key for item in assignment.inputs} & self.freed, "what is read is still there"
            elif isinstance(action, Free):
                for item in action.refs:
                    assert item.key not in self.freed, "freed once"
                    self.freed.add(item.key)
                    number = int(item.key.partition("-")[0])
                    assert not self.units[number].requested
                    assert all(reader in self.committed for reader in self.readers(number)), "nobody reads it any more"
            elif isinstance(action, Deliver):
                self.delivered.append(action.number)

    def readers(self, number: int) -> set[int]:
        """Units that read a value, also through a barrier."""
        direct = {item.number for item in self.units if any(edge.source == number for edge in item.inputs)}
        through = {reader for item in direct if self.units[item].keeps_inputs for reader in self.readers(item)}
        return direct | through

    def commit(self, draft: Draft) -> None:
        """The call's values are there."""
        for assignment in draft.units:
            assert assignment.number not in self.committed, "committed exactly once"
            self.committed[assignment.number] = ref(assignment.number, assignment.attempt)


def advance(driven: Driven, watch: Watch, data: st.DataObject) -> None:
    """One event of those that can come next."""
    chosen = data.draw(st.sampled_from([*sorted(watch.running), *([WAKE] if driven.loop._later else [])]))
    if chosen == WAKE:
        watch.see([*driven.wake()])
        return
    draft = watch.running.pop(chosen)
    if watch.losses and data.draw(st.booleans()):
        watch.losses -= 1
        watch.see([*driven.lose(draft, data.draw(st.sampled_from(LOSSES[: 5 if len(draft.units) > 1 else 4])))])
    else:
        watch.commit(draft)
        watch.see([*driven.answer(draft, seconds=data.draw(st.sampled_from([0.0, 0.1, 5.0])))])


@given(plans(), st.integers(1, 4), st.integers(1, 5), st.data())
def test_every_unit_gets_one_value_and_nothing_is_freed_early(
    plan: Plan, slots: int, batch: int, data: st.DataObject
) -> None:
    """Until the end: then each requested value was delivered once, and each other object freed."""
    driven = Driven(plan, lane(slots=slots, batch=batch))
    watch = Watch(plan)
    watch.see([*driven.begin()])
    while driven.finished is None:
        assert watch.running or driven.loop._later, "there is always something to wait for"
        assert len(watch.running) <= slots
        advance(driven, watch, data)
    assert driven.finished.error is None
    assert sorted(watch.committed) == list(range(len(plan.units)))
    assert sorted(watch.delivered) == [item.number for item in plan.units if item.requested]
    assert watch.freed == {value.key for number, value in watch.committed.items() if not plan.units[number].requested}


@given(plans(), st.integers(1, 4), st.integers(0, 3), st.data())
def test_a_full_budget_or_a_failure_never_leaves_the_loop_waiting_for_nothing(
    plan: Plan, slots: int, room: int, data: st.DataObject
) -> None:
    """Whatever the money and the user's code do, it ends, and never has more under way than was reserved."""
    free = room

    def reserve(draft: Draft) -> None:
        nonlocal free
        if free < 1:
            raise BudgetExceeded("no room")
        free -= 1

    driven = Driven(plan, lane(slots=slots), reserve=reserve)
    running = {action.draft.number: action.draft for action in driven.begin() if isinstance(action, Send)}
    while driven.finished is None:
        assert running
        assert len(running) <= room
        draft = running.pop(data.draw(st.sampled_from(sorted(running))))
        free += data.draw(st.sampled_from([1, 1, 1, 0]))
        fails = data.draw(st.integers(0, 9)) == 0
        actions = driven.answer(draft, *[failure()] * len(draft.units)) if fails else driven.answer(draft)
        running |= {action.draft.number: action.draft for action in actions if isinstance(action, Send)}
    error = driven.finished.error
    assert error is None or isinstance(error, (BudgetExceeded, UnitFailed))
    assert (driven.loop.done == len(plan.units)) == (error is None)


@given(plans(), st.data())
def test_the_same_events_lead_to_the_same_actions(plan: Plan, data: st.DataObject) -> None:
    """No clock, no randomness: a run can be replayed."""
    first, second = Driven(plan), Driven(plan)
    first.begin()
    second.begin()
    for _ in range(20):
        if first.finished is not None or not first.loop.in_flight:
            break
        draft = data.draw(st.sampled_from(first.loop.in_flight))
        if data.draw(st.booleans()):
            first.answer(draft)
            second.answer(draft)
        else:
            first.lose(draft, LOSSES[0])
            second.lose(draft, LOSSES[0])
        assert first.actions == second.actions
