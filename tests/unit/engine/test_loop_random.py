"""Random graphs, random orders of events, random losses: what must hold whatever happens.

Each test lets a loop live in a random :class:`~tests.unit.engine.world.World`, which checks every call and every
deletion that the loop asks for.
"""

from __future__ import annotations

import os
from dataclasses import replace

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cloudoffload.engine.messages import Lane, Send
from cloudoffload.errors import Cancelled
from cloudoffload.types import Plan
from tests.unit.engine.driving import lane
from tests.unit.engine.world import World, plans

many = settings(
    max_examples=int(os.environ.get("CLOUDOFFLOAD_RANDOM_LOOPS", "100")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
"""As many lives as the environment asks for, in each test."""

lanes = st.lists(
    st.builds(
        lane,
        st.just(""),
        slots=st.integers(1, 4),
        batch=st.integers(1, 5),
        rate=st.sampled_from(["0", "0.01"]),
        latency=st.sampled_from([0.0, 0.05, 1.0, 60.0]),
        ahead=st.integers(0, 2),
    ),
    min_size=1,
    max_size=2,
).map(lambda made: [_named(item, f"cloud-{i}") for i, item in enumerate(made)])


def _named(item: Lane, name: str) -> Lane:
    return replace(item, name=name)


@many
@given(st.data(), plans(), lanes)
def test_without_troubles_every_unit_runs_once(data: st.DataObject, plan: Plan, lanes: list[Lane]) -> None:
    """In a call of its own lane, after its inputs; then every result is delivered and every other object freed."""
    world = World(data, plan, lanes, troubles=0)
    world.live()
    world.check_complete()
    sent = [item.number for action in world.driven.all(Send) for item in action.draft.units]
    assert sorted(sent) == list(range(len(plan.units)))


@many
@given(st.data(), plans(), lanes, st.sampled_from([0, 2, 5, 5]))
def test_whatever_is_lost_the_loop_ends_and_says_why(
    data: st.DataObject, plan: Plan, lanes: list[Lane], tries: int
) -> None:
    """With all values, each committed once, or with the first trouble that no further try could mend."""
    world = World(data, plan, lanes, troubles=12, tries=tries)
    world.live()
    assert world.end is not None
    event(f"ends with {type(world.end.error).__name__}")
    if world.end.error is None:
        world.check_complete()
        assert not world.failed
    else:
        world.check_reason()


@many
@given(st.data(), plans(), lanes, st.integers(0, 6))
def test_nothing_is_sent_without_money_and_a_full_budget_ends_what_can_t_go_on(
    data: st.DataObject, plan: Plan, lanes: list[Lane], room: int
) -> None:
    """Calls wait for what others give back, also in other computations, and never for what nobody holds."""
    world = World(data, plan, lanes, troubles=6, room=room)
    world.live()
    assert world.end is not None
    event(f"ends with {type(world.end.error).__name__}")
    if world.end.error is None:
        world.check_complete()
    else:
        world.check_reason()


@many
@given(st.data(), plans(independent=True), lanes)
def test_independent_units_fail_alone(data: st.DataObject, plan: Plan, lanes: list[Lane]) -> None:
    """Each is delivered exactly once, with its value or with what went wrong."""
    world = World(data, plan, lanes, troubles=12, isolated=True)
    world.live()
    assert world.end is not None
    if world.end.error is not None:
        world.check_reason()
        return
    assert world.delivered.keys() == set(range(len(plan.units)))
    assert world.delivered.keys() - world.values.keys() == world.failed


@many
@given(st.data(), plans(), lanes, st.integers(1, 6), st.sampled_from([0, 3, 6]))
def test_results_that_are_read_in_order_all_come_up_to_the_first_failed_one(
    data: st.DataObject, plan: Plan, lanes: list[Lane], ahead: int, troubles: int
) -> None:
    """No unit runs for a result that is out of reach, and a failure takes nothing from the results before it."""
    world = World(data, plan, lanes, troubles=troubles, ahead=ahead, mercy=0)
    world.live()
    assert world.end is not None
    event(f"ends with {type(world.end.error).__name__}")
    if world.end.error is None:
        world.check_complete()
        return
    world.check_reason()
    if not isinstance(world.end.error, Cancelled):
        world.check_results_before_the_first_failed_one()


@many
@given(st.data(), plans(), lanes, st.sampled_from([None, 2]), st.sampled_from([None, 3]))
def test_the_same_events_lead_to_the_same_actions(
    data: st.DataObject, plan: Plan, lanes: list[Lane], ahead: int | None, room: int | None
) -> None:
    """No clock, no randomness: a run can be replayed."""
    world = World(data, plan, lanes, troubles=8, ahead=ahead, room=room)
    world.live()
    assert world.replayed() == list(map(repr, world.driven.actions))
