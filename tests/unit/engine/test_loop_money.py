"""Deadlines that are paid for, and a budget that has no room."""

from __future__ import annotations

import pytest

from cloudoffload.engine.messages import Draft, Finish, Wake, Woken
from cloudoffload.errors import BudgetExceeded, ProviderDown
from cloudoffload.types import Requirements
from tests.unit.engine.driving import Driven, drafts, lane, plan, sent, unit, wanting


class Purse:
    """Room for so many units in calls without an answer; and a record of what was asked for."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.asked: list[int] = []

    def __call__(self, draft: Draft) -> None:
        self.asked.append(len(draft.units))
        if len(draft.units) > self.room:
            raise BudgetExceeded("no room")
        self.room -= len(draft.units)


def test_a_budget_too_small_refuses_before_anything_is_sent() -> None:
    """The error is the ledger's own."""
    driven = Driven(plan(unit(0), unit(1)), reserve=Purse(0))
    assert [type(action) for action in driven.begin()] == [Finish]
    assert isinstance(driven.error, BudgetExceeded)


def test_a_full_budget_waits_for_what_is_under_way() -> None:
    """An answer that used less than was reserved makes room; each unit is sent once, as its first attempt."""
    purse = Purse(1)
    driven = Driven(plan(*(unit(i) for i in range(3))), lane(slots=8), reserve=purse)
    assert sent(driven.begin()) == [[0]]
    for _ in range(3):
        purse.room = 1
        driven.answer(driven.loop.in_flight[0], seconds=10)
    assert driven.finished == Finish(None)
    assert sent(driven.actions) == [[0], [1], [2]]
    assert {item.attempt for draft in drafts(driven.actions) for item in draft.units} == {1}


def test_a_budget_that_stays_full_ends_the_computation_when_nothing_is_under_way() -> None:
    """What was under way is waited for: its results are paid for and are kept."""
    driven = Driven(plan(*(unit(i) for i in range(3))), lane(slots=8), reserve=Purse(2))
    first, second = drafts(driven.begin())
    driven.answer(first)
    assert driven.finished is None
    driven.answer(second)
    assert isinstance(driven.error, BudgetExceeded)
    assert driven.loop.done == 2


def test_a_budget_held_by_another_computation_is_asked_again() -> None:
    """Its calls may give room back: the loop wakes and tries, and ends only when nobody holds anything."""
    held = True

    def reserve(draft: Draft) -> None:
        error = BudgetExceeded("no room")
        error.room_may_come = held
        raise error

    driven = Driven(plan(unit(0)), reserve=reserve)
    (wake,) = driven.begin()
    assert isinstance(wake, Wake)
    held = False
    actions = driven.loop.step(Woken(), wake.at)
    assert [type(action) for action in actions] == [Finish]


def test_a_batch_shrinks_to_what_the_budget_allows() -> None:
    """A batch that is too dear goes in smaller ones before anything is refused."""
    purse = Purse(3)
    driven = Driven(plan(*(unit(i) for i in range(8))), lane(slots=1), learned={"inc": 0.0}, reserve=purse)
    assert [len(numbers) for numbers in sent(driven.begin())] == [2]
    assert purse.asked == [8, 4, 2]


def test_free_work_goes_on_when_paid_work_has_no_room() -> None:
    """Another provider may be cheaper, or free: its units are sent all the same."""

    def reserve(draft: Draft) -> None:
        if draft.provider == "cloud":
            raise BudgetExceeded("no room")

    units = (unit(0, prefix="cloud"), unit(1, prefix="local"))
    driven = Driven(plan(*units), lane("cloud"), lane("local", rate="0"), route=lambda u: u.prefix, reserve=reserve)
    (here,) = drafts(driven.begin())
    assert here.provider == "local"
    driven.answer(here)
    assert isinstance(driven.error, BudgetExceeded)


def test_a_lost_unit_that_waits_for_room_still_goes_alone() -> None:
    """It may be the one that ends workers: a full budget must not put it back among the others."""
    purse = Purse(6)
    driven = Driven(plan(*(unit(i) for i in range(6))), lane(slots=2, batch=3), learned={"inc": 0.0}, reserve=purse)
    first, second = drafts(driven.begin())
    driven.lose(first, ProviderDown("gone"))
    assert sent(driven.wake()) == []
    purse.room = 6
    driven.answer(second)
    driven.finish()
    assert [len(numbers) for numbers in sent(driven.actions)] == [3, 3, 1, 1, 1]


def test_a_deadline_is_what_the_user_stated() -> None:
    """Seconds of one unit, times the units of the call."""
    units = wanting(Requirements(seconds=5), unit(0), unit(1))
    driven = Driven(plan(*units), lane(slots=1), learned={"inc": 0.1})
    assert [draft.seconds for draft in drafts(driven.begin())] == [10.0]


def test_a_deadline_is_learned() -> None:
    """Ten times what the longest such unit took; never so short that a slow start ends the call."""
    driven = Driven(plan(unit(0), unit(1, prefix="slow")), learned={"inc": 0.1, "slow": 8.0})
    assert [draft.seconds for draft in drafts(driven.begin())] == [30.0, 80.0]


def test_a_deadline_of_unknown_work_is_the_setting_and_the_providers_limit_caps_all() -> None:
    """It is what is reserved: the function's own maximum would let few calls into a budget."""
    assert drafts(Driven(plan(unit(0))).begin())[0].seconds == 60.0
    assert drafts(Driven(plan(unit(0)), lane(most=20)).begin())[0].seconds == 20.0


def test_where_time_costs_nothing_a_call_may_take_its_time() -> None:
    """On this machine only the provider's own limit counts."""
    driven = Driven(plan(unit(0)), lane(rate="0", most=604_800), learned={"inc": 0.1})
    assert drafts(driven.begin())[0].seconds == pytest.approx(604_800)
