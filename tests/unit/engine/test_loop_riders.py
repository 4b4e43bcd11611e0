"""Short units that go along in the call that makes what they lack: who may, and what becomes of them."""

from __future__ import annotations

import pytest

from cloudoffload.engine.messages import Finish, Woken
from cloudoffload.engine.window import Window
from cloudoffload.errors import BudgetExceeded, ProviderDown, Throttled
from cloudoffload.types import Edge, FailureKind, Plan, Requirements
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

SHORT = {"inc": 0.1, "sum": 0.1}
FAR = lane(slots=2, latency=1.0)
"""The way there takes as long as ten short units."""


def tree() -> Plan:
    """Two units, and one that reads both."""
    return plan(unit(0), unit(1), unit(2, Edge(1, part="b"), 0, prefix="sum", requested=True))


def test_a_short_unit_goes_along_with_what_it_reads() -> None:
    """The call names what it reads by the units that make it, behind which it stands; one way there answers all."""
    driven = Driven(tree(), FAR, learned=SHORT)
    (only,) = drafts(driven.begin())
    assert [item.number for item in only.units] == [0, 1, 2]
    assert only.units[2].inputs == (Edge(1, "b"), Edge(0))
    assert sorted(freed(driven.answer(only))) == ["0-1", "1-1"]
    assert delivered(driven.actions) == {2: ref(2)}
    assert driven.finished == Finish(None)


def test_values_that_are_there_are_named_by_their_refs() -> None:
    """A rider may read, besides what the call makes, what other calls have made."""
    units = (unit(0), unit(1, 0, prefix="long"), unit(2, 1, 0, prefix="sum", requested=True))
    driven = Driven(plan(*units), FAR, learned=SHORT)
    (load,) = drafts(driven.begin())
    (rest,) = drafts(driven.answer(load))
    assert [item.inputs for item in rest.units] == [(ref(0),), (Edge(1), ref(0))]


def test_a_chain_rides_as_far_as_it_is_short() -> None:
    """What would take longer than the way there waits for a call of its own, where other slots may share the work."""
    units = [unit(0), *(unit(i, i - 1, prefix="sum") for i in range(1, 20))]
    driven = Driven(plan(*units), lane(slots=2, batch=50, latency=0.55), learned=SHORT)
    (first,) = drafts(driven.begin())
    assert [item.number for item in first.units] == [0, 1, 2, 3, 4, 5]


def test_no_call_holds_more_units_than_its_provider_s_setting_allows() -> None:
    """Riders count."""
    units = [unit(0), *(unit(i, 0, prefix="sum") for i in range(1, 9))]
    driven = Driven(plan(*units), lane(batch=3, latency=9.0), learned=SHORT)
    assert sent(driven.begin()) == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("units", "known"),
    [
        pytest.param((unit(0), unit(1, 0, prefix="sum")), {"inc": 0.1}, id="of unknown length"),
        pytest.param((unit(0), unit(1, 0, prefix="sum")), {"inc": 0.1, "sum": 1.0}, id="as long as the way"),
        pytest.param((unit(0), unit(1, 0, keeps_inputs=True)), SHORT, id="a barrier"),
        pytest.param((unit(0), *wanting(Requirements(memory_mb=9), unit(1, 0))), SHORT, id="with other wishes"),
        pytest.param((unit(0), unit(1, 0)._replace(here_because="files")), SHORT, id="that must run elsewhere"),
        pytest.param((unit(0), unit(1, prefix="new"), unit(2, 0, 1)), SHORT, id="that lacks more"),
    ],
)
def test_who_does_not_go_along(units: tuple[object, ...], known: dict[str, float]) -> None:
    """A unit waits for a call of its own when it may be long, when it runs otherwise, or when it must wait anyway."""
    driven = Driven(plan(*units), lane(slots=1, latency=1.0), learned=known)  # type: ignore[arg-type]
    assert sent(driven.begin()) == [[0]]


def test_a_unit_that_is_routed_elsewhere_does_not_go_along() -> None:
    """It runs where the router wants it."""
    lanes = lane("inc", latency=1.0), lane("sum", latency=1.0)
    driven = Driven(tree(), *lanes, learned=SHORT, route=lambda unit: unit.prefix)
    assert sent(driven.begin()) == [[0, 1]]
    assert [draft.provider for draft in drafts(driven.finish())] == ["sum"]


def test_in_a_stream_nobody_goes_along() -> None:
    """What its reader is far from is not begun."""
    made = tree()
    driven = Driven(made, FAR, learned=SHORT, window=Window(made, 1))
    assert sent(driven.begin()) == [[0, 1]]
    assert sent(driven.finish()) == [[2]]


def test_less_work_than_the_way_takes_stays_in_one_call() -> None:
    """A second slot would give its share back later than the first one has done it all."""
    driven = Driven(plan(*(unit(i) for i in range(30))), lane(slots=5, batch=50, latency=1.0), learned={"inc": 0.1})
    assert [len(numbers) for numbers in sent(driven.begin())] == [10, 10, 10]


def test_a_lost_rider_has_lost_no_try() -> None:
    """Those that it rode with go again, alone; it follows when what it reads is there, as its next attempt."""
    driven = Driven(tree(), FAR, learned=SHORT, tries=1)
    (first,) = drafts(driven.begin())
    driven.lose(first, ProviderDown("gone"))
    driven.now = 1000.0
    again = drafts(driven.step(Woken()))
    assert [[item.number for item in draft.units] for draft in again] == [[0], [1]]
    for draft in again:
        driven.answer(draft)
    (last,) = driven.loop.in_flight
    assert [(item.number, item.attempt) for item in last.units] == [(2, 2)]
    assert driven.loop.retried == 2
    driven.lose(last, ProviderDown("gone again"))
    driven.finish()
    assert driven.finished == Finish(None)


def test_a_rider_stays_behind_when_one_of_its_inputs_is_not_made() -> None:
    """Whatever the worker says of it: without the input it had nothing to read. What was made stays made."""
    driven = Driven(tree(), FAR, learned=SHORT)
    (first,) = drafts(driven.begin())
    driven.answer(first, ref(0), failure(FailureKind.STORE), failure(FailureKind.INPUT_LOST))
    (second,) = drafts(driven.wake())
    assert [item.number for item in second.units] == [1]
    (third,) = drafts(driven.answer(second))
    assert [(item.number, item.attempt, item.inputs) for item in third.units] == [
        (2, 2, (ref(1, 2)._replace(part="b"), ref(0)))
    ]
    assert driven.loop.retried == 1


def test_a_rider_with_all_its_inputs_fails_like_any_unit() -> None:
    """Trouble of its own costs it a try, and comes back later."""
    driven = Driven(tree(), FAR, learned=SHORT)
    (first,) = drafts(driven.begin())
    driven.answer(first, ref(0), ref(1), failure(FailureKind.OUT_OF_MEMORY))
    (second,) = drafts(driven.wake())
    assert [(item.number, item.attempt) for item in second.units] == [(2, 2)]
    assert driven.loop.retried == 1


def test_a_refused_call_comes_back_with_its_riders() -> None:
    """Nothing of it ran."""
    driven = Driven(tree(), FAR, learned=SHORT, tries=0)
    driven.lose(drafts(driven.begin())[0], Throttled("429"))
    assert sent(driven.wake()) == [[0, 1, 2]]


def test_riders_never_keep_a_call_from_being_paid() -> None:
    """Where the money does not reach for all, the units that are ready go without them."""

    def reserve(draft: object) -> None:
        if len(draft.units) > 2:  # type: ignore[attr-defined]
            raise BudgetExceeded("no room")

    driven = Driven(tree(), FAR, learned=SHORT, reserve=reserve)
    assert sent(driven.begin()) == [[0, 1]]
    (last,) = drafts(driven.finish())
    assert [(item.number, item.attempt) for item in last.units] == [(2, 1)]


def test_the_loop_learns_of_each_kind_in_a_call() -> None:
    """A call of several kinds says how long each of them takes, and its deadline is the sum of what each may take."""
    driven = Driven(tree(), lane(target=100.0, latency=50.0), learned={"inc": 20.0, "sum": 9.0})
    (only,) = drafts(driven.begin())
    assert only.seconds == 10 * (20 + 20 + 9)
    driven.answer(only, seconds=4.0)
    records = [driven.learned.get(prefix, "cloud") for prefix in ("inc", "sum")]
    assert [record.units for record in records if record is not None] == [3, 2]
