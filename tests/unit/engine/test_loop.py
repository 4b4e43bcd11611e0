"""When units run: order, batches, and what is freed when."""

from __future__ import annotations

from cloudoffload.engine.loop import UnitFailed
from cloudoffload.engine.messages import Draft, Finish, Send, Wake
from cloudoffload.errors import Cancelled, PlanError
from cloudoffload.types import Edge, Requirements, Unit
from tests.unit.engine.driving import (
    Driven,
    delivered,
    drafts,
    failure,
    freed,
    lane,
    plan,
    ref,
    sent,
    unit,
    wanting,
)

MANY = lane(slots=100)


def test_ready_units_go_in_dask_order_as_far_as_the_provider_takes_them() -> None:
    """A provider with two slots gets the two units that come first in Dask's order, then the next ones."""
    driven = Driven(plan(unit(0, priority=2), unit(1, priority=0), unit(2, priority=1)))
    assert sent(driven.begin()) == [[1], [2]]
    assert sent(driven.answer(driven.loop.in_flight[0], seconds=10)) == [[0]]


def test_a_unit_is_sent_when_its_last_input_has_a_value() -> None:
    """Its refs come in the order of its edges, and a part of a value is named in its ref."""
    total = unit(2, Edge(1, part="b"), 0, prefix="sum", requested=True)
    driven = Driven(plan(unit(0), unit(1), total))
    first, second = drafts(driven.begin())
    assert sent(driven.answer(first)) == []
    (last,) = drafts(driven.answer(second))
    assert [(item.key, item.part) for item in last.units[0].inputs] == [("1-1", "b"), ("0-1", None)]
    assert last.units[0].requested


def test_an_input_used_twice_is_waited_for_once() -> None:
    """``add(x, x)`` runs when x is there, and frees it once."""
    driven = Driven(plan(unit(0), unit(1, 0, Edge(0, part=1), requested=True)))
    driven.begin()
    assert freed(driven.finish()) == ["0-1"]
    assert driven.finished == Finish(None)


def test_units_of_unknown_length_go_one_by_one() -> None:
    """The first calls of a kind probe how long its units take."""
    driven = Driven(plan(*(unit(i) for i in range(6))), lane(slots=3))
    assert sent(driven.begin()) == [[0], [1], [2]]


def test_a_batch_makes_up_the_aimed_length() -> None:
    """Units of 0.25 s fill calls of 1 s four by four."""
    driven = Driven(plan(*(unit(i) for i in range(20))), lane(slots=2, target=1.0), learned={"inc": 0.25})
    assert sent(driven.begin()) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_a_batch_leaves_work_for_the_other_slots() -> None:
    """Six tiny units on three slots go two by two, though one call could take all."""
    driven = Driven(plan(*(unit(i) for i in range(6))), lane(slots=3), learned={"inc": 0.001})
    assert sent(driven.begin()) == [[0, 1], [2, 3], [4, 5]]


def test_towards_the_end_busy_slots_are_left_a_share() -> None:
    """A slot that is free before the others does not take all: they will have nothing to do when they are."""
    driven = Driven(plan(*(unit(i) for i in range(24))), lane(slots=4, target=1.0), learned={"inc": 0.25})
    first, *_ = drafts(driven.begin())
    assert sent(driven.answer(first, seconds=0.1)) == [[16, 17]]


def test_as_long_as_more_is_to_come_a_free_slot_takes_all_that_waits() -> None:
    """Busy slots will have the units whose inputs are still being made."""
    sources = [unit(i, prefix="source") for i in range(4)]
    readers = [unit(4 + i, i // 6) for i in range(24)]
    driven = Driven(plan(*sources, *readers), lane(slots=4, batch=9, target=1.0), learned={"source": 9.0, "inc": 0.1})
    first, *_ = drafts(driven.begin())
    assert sent(driven.answer(first)) == [[4, 5, 6, 7, 8, 9]]


def test_the_next_calls_wait_at_the_provider() -> None:
    """Where calls can wait, one begins as soon as another ends; no more are sent than can be about to begin."""
    driven = Driven(plan(*(unit(i) for i in range(8))), lane(slots=2, ahead=1))
    first, *_ = drafts(driven.begin())
    assert sent(driven.actions) == [[0], [1], [2]]
    assert sent(driven.answer(first, seconds=10)) == [[3]]


def test_all_slots_end_together() -> None:
    """Units that take unequally long, on slots that take calls as they become free: a few hundredths over the ideal."""
    lengths = [0.02 + 0.02 * (i * 7 % 5) for i in range(400)]
    driven = Driven(plan(*map(unit, range(400))), lane(slots=8, batch=256), learned={"inc": 0.06})
    under_way = [(_length(draft, lengths), draft) for draft in drafts(driven.begin())]
    while under_way:
        ended, draft = min(under_way, key=lambda pair: (pair[0], pair[1].number))
        under_way.remove((ended, draft))
        mean = _length(draft, lengths) / len(draft.units)
        under_way += [(ended + _length(more, lengths), more) for more in drafts(driven.answer(draft, seconds=mean))]
    assert ended <= 1.05 * sum(lengths) / 8


def test_a_batch_has_a_most() -> None:
    """No call holds more units than its provider's setting allows."""
    driven = Driven(plan(*(unit(i) for i in range(50))), lane(slots=1, batch=8), learned={"inc": 0.0})
    assert [len(batch) for batch in sent(driven.begin())] == [8]


def test_only_like_units_share_a_call() -> None:
    """Units of another prefix, or with other requirements, go in calls of their own."""
    wish = Requirements(memory_mb=2048)
    units = (unit(0), unit(1, prefix="dec"), *wanting(wish, unit(2), unit(3)), unit(4))
    driven = Driven(plan(*units), MANY, learned={"inc": 0.0, "dec": 0.0})
    assert sent(driven.begin()) == [[0], [4], [1], [2], [3]]


def test_a_unit_goes_where_it_is_routed() -> None:
    """Each provider has its own slots; one that is full does not hold up another."""
    units = [unit(i, prefix="here" if i % 2 else "there") for i in range(6)]
    driven = Driven(plan(*units), lane("there", slots=1), lane("here", slots=2), route=lambda unit: unit.prefix)
    assert [(draft.provider, draft.units[0].number) for draft in drafts(driven.begin())] == [
        ("there", 0),
        ("here", 1),
        ("here", 3),
    ]


def test_a_value_is_freed_when_its_last_reader_is_done() -> None:
    """Not when the last reader starts, and not when the first is done."""
    driven = Driven(plan(unit(0), unit(1, 0, requested=True), unit(2, 0, requested=True)))
    driven.begin()
    first, second = drafts(driven.answer(driven.loop.in_flight[0], seconds=10))
    assert freed(driven.answer(first)) == []
    assert freed(driven.answer(second)) == ["0-1"]


def test_requested_values_and_values_inside_outcomes_are_not_freed() -> None:
    """The caller still wants the first; there is no object behind the second."""
    driven = Driven(plan(unit(0, requested=True), unit(1), unit(2, 0, 1, requested=True)))
    first, second = drafts(driven.begin())
    driven.answer(first)
    driven.answer(second, ref(1, inline=True))
    driven.finish()
    assert freed(driven.actions) == []


def test_what_a_barrier_read_is_freed_with_the_barrier() -> None:
    """A barrier's readers read its inputs too: all go when the last of them is done."""
    units = (
        unit(0),
        unit(1),
        unit(2, 0, 1, prefix="barrier", keeps_inputs=True),
        unit(3, 2, prefix="join", requested=True),
        unit(4, 2, prefix="join", requested=True),
    )
    driven = Driven(plan(*units))
    for draft in drafts(driven.begin()):
        driven.answer(draft)
    (barrier,) = driven.loop.in_flight
    first, second = drafts(driven.answer(barrier))
    driven.answer(first)
    assert freed(driven.actions) == []
    assert sorted(freed(driven.answer(second))) == ["0-1", "1-1", "2-1"]


def test_requested_values_are_delivered_as_they_come() -> None:
    """Nobody waits for the end of the computation to learn of a value."""
    driven = Driven(plan(unit(0, requested=True), unit(1, 0, requested=True)))
    driven.begin()
    assert delivered(driven.answer(driven.loop.in_flight[0])) == {0: ref(0)}
    assert delivered(driven.finish()) == {1: ref(1)}
    assert driven.finished == Finish(None)
    assert driven.loop.done == 2


def test_a_failed_unit_ends_the_computation() -> None:
    """Nothing more is sent, and what comes back later changes nothing."""
    driven = Driven(plan(*(unit(i, requested=True) for i in range(5))))
    first, second = drafts(driven.begin())
    actions = driven.answer(first, failure())
    assert sent(actions) == []
    assert isinstance(driven.error, UnitFailed)
    assert (driven.error.failure, driven.error.unit.number) == (failure(), 0)
    assert driven.answer(second) == []


def test_an_independent_unit_fails_alone() -> None:
    """The others of its batch, and those behind it, still get their values."""
    units = [unit(i, requested=True) for i in range(4)]
    driven = Driven(plan(*units), lane(slots=1), learned={"inc": 0.4}, isolated=True)
    (first,) = drafts(driven.begin())
    driven.answer(first, failure(), ref(1))
    driven.finish()
    assert delivered(driven.actions) == {0: failure(), 1: ref(1), 2: ref(2), 3: ref(3)}
    assert driven.finished == Finish(None)


def test_cancelling_ends_it_at_once() -> None:
    """Stopped is the last thing that a loop reacts to."""
    driven = Driven(plan(*(unit(i) for i in range(5))))
    (first, _) = drafts(driven.begin())
    error = Cancelled("enough")
    assert driven.stop(error) == [Finish(error)]
    assert driven.answer(first) == []


def test_cancelling_before_the_beginning_sends_nothing() -> None:
    """Who cancels while the data is stored pays for no call."""
    driven = Driven(plan(unit(0)))
    driven.stop(Cancelled("never mind"))
    assert driven.begin() == []


def test_a_unit_that_can_run_nowhere_ends_the_computation() -> None:
    """Routing may find out late; the error is the router's own."""
    error = PlanError("no provider")

    def route(unit: Unit) -> str:
        raise error

    driven = Driven(plan(unit(0)), route=route)
    assert driven.begin() == [Finish(error)]


def test_the_loop_learns_how_long_units_take() -> None:
    """The next batch of a kind is as large as the last call suggests."""
    driven = Driven(plan(*(unit(i) for i in range(20))), lane(slots=1, target=1.0))
    (probe,) = drafts(driven.begin())
    assert sent(driven.answer(probe, seconds=0.2)) == [[1, 2, 3, 4, 5]]


def test_nothing_is_asked_for_without_need() -> None:
    """A loop whose units all wait for answers does not ask to be woken."""
    driven = Driven(plan(unit(0), unit(1, 0)))
    assert [type(action) for action in driven.begin()] == [Send]
    assert driven.all(Wake) == []


def _length(draft: Draft, lengths: list[float]) -> float:
    return sum(lengths[item.number] for item in draft.units)
