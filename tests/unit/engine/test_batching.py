"""How many units share a call, and how long it may run."""

from __future__ import annotations

import pytest

from cloudoffload.engine.batching import Batches, batch_size
from cloudoffload.engine.learned import Learned, Record
from cloudoffload.types import Requirements
from tests.unit.engine.driving import lane, unit


def taking(seconds: float, units: int = 1) -> Record:
    """What is known after a call of such units."""
    record = Record()
    record.add(units, seconds * units, seconds)
    return record


def test_units_of_unknown_length_go_alone() -> None:
    """They tell how long their like will take."""
    assert batch_size(100, 100, None, lane(), free=2, busy=0) == 1


@pytest.mark.parametrize(
    ("seconds", "size"), [(0.25, 4), (0.4, 2), (5.0, 1), (0.0, 8)], ids=["even", "rest", "long", "no time"]
)
def test_a_call_comes_as_near_to_its_aimed_length_as_it_can_without_passing_it(seconds: float, size: int) -> None:
    """A unit that is longer goes alone; units that take no time at all fill the largest call."""
    assert batch_size(100, 100, taking(seconds), lane(target=1.0, batch=8), free=1, busy=0) == size


@pytest.mark.parametrize(("free", "busy", "size"), [(4, 0, 10), (1, 3, 10), (2, 2, 10), (0, 4, 10), (-1, 4, 10)])
def test_what_is_left_is_shared_by_the_slots_that_come_for_it(free: int, busy: int, size: int) -> None:
    """By the free ones and those that will soon be; by all when the call itself has to wait for one."""
    assert batch_size(40, 40, taking(0.001), lane(slots=4, batch=99), free=free, busy=busy) == size


def test_a_slot_that_has_got_its_share_in_this_round_gets_no_second_one() -> None:
    """Two of four slots have just been given what they get; the others share the rest."""
    assert batch_size(20, 20, taking(0.001), lane(slots=4, batch=99), free=2, busy=0) == 10


def test_a_share_that_is_not_worth_the_way_is_left_to_nobody() -> None:
    """100 ms of work are less than the way to another slot costs; 3 s are worth five of ten calls."""
    far = lane(slots=10, batch=999, target=9.0, latency=0.15)
    assert batch_size(100, 100, taking(0.001), far, free=1, busy=9) == 100
    assert batch_size(100, 100, taking(0.03), far, free=1, busy=9) == 20


def test_what_is_shorter_than_the_way_stays_together() -> None:
    """From a further slot, also a free one, it would only come back later."""
    far = lane(slots=10, batch=999, latency=0.15)
    assert batch_size(100, 100, taking(0.0001), far, free=5, busy=5) == 100
    assert batch_size(100, 100, taking(0.01), far, free=5, busy=5) == 20


def test_what_is_to_come_is_enough_for_the_busy_slots() -> None:
    """A free one takes all that waits, as far as the aimed length."""
    assert batch_size(6, 400, taking(0.01), lane(slots=4, batch=99), free=1, busy=3) == 6


def batches(longest: float | None, stated: float | None) -> Batches:
    """Of two units, one of a kind that has taken at most so many seconds, if it has run, and the other one like it."""
    learned = Learned()
    if longest is not None:
        learned.add("inc", "cloud", [longest, longest / 2])
    units = [unit(number, requirements=Requirements(seconds=stated)) for number in range(2)]
    return Batches(units, [[], []], [0, 0], learned, lambda _: "cloud", 60.0)


def test_a_call_that_costs_nothing_may_run_as_long_as_any() -> None:
    """Nothing is reserved for it, and nobody knows how long its units take."""
    assert batches(0.1, 0.2).deadline([0], lane(rate="0", most=77.0), 0) == 77.0


@pytest.mark.parametrize(
    ("longest", "stated", "timeouts", "seconds"),
    [
        (None, None, 0, 60.0),
        (1.0, None, 0, 30.0),
        (5.0, None, 0, 100.0),
        (5.0, 7.0, 0, 14.0),
        (None, 7.0, 1, 56.0),
        (None, None, 9, 900.0),
    ],
    ids=["unknown", "short", "ten times the longest", "as stated", "longer after a timeout", "the provider's most"],
)
def test_a_deadline_follows_from_what_is_known(
    longest: float | None, stated: float | None, timeouts: int, seconds: float
) -> None:
    """What the user states outranks what was learned, and that the setting; no deadline passes the provider's most."""
    assert batches(longest, stated).deadline([0, 1], lane(), timeouts) == seconds
