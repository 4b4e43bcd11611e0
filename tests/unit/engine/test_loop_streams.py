"""When units run whose results are read one after the other."""

from __future__ import annotations

from cloudoffload.engine.loop import UnitFailed
from cloudoffload.engine.messages import Finish, Taken
from cloudoffload.engine.window import Window
from cloudoffload.errors import ProviderDown
from cloudoffload.types import Edge, Plan, Unit
from tests.unit.engine.driving import Driven, delivered, drafts, failure, lane, plan, sent, unit


def reading(*units: Unit, ahead: int, results: list[int] | None = None, slots: int = 100) -> Driven:
    """A loop whose results are the requested units in their order, unless they are named."""
    order = [item.number for item in units if item.requested] if results is None else results
    made = plan(*units)
    asked = Plan(made.units, made.program, made.data, tuple(map(Edge, order)))
    return Driven(asked, lane(slots=slots), window=Window(asked, ahead), tries=0)


def wanted(count: int) -> list[Unit]:
    return [unit(i, requested=True) for i in range(count)]


def test_no_more_results_are_begun_than_the_reader_allows() -> None:
    """Whatever the provider would take; each one that is taken makes room for another."""
    driven = reading(*wanted(6), ahead=2)
    assert sent(driven.begin()) == [[0], [1]]
    assert sent(driven.answer(driven.loop.in_flight[0])) == []
    assert sent(driven.step(Taken(1))) == [[2]]
    assert sent(driven.step(Taken(2))) == [[3], [4]]


def test_what_only_a_distant_result_needs_waits_with_it() -> None:
    """Or the values that it is made of would pile up in the store."""
    units = (unit(0), unit(1), unit(2, 0, requested=True), unit(3, 0, 1, requested=True))
    driven = reading(*units, ahead=1)
    (first,) = drafts(driven.begin())
    assert first.units[0].number == 0
    assert sent(driven.answer(first)) == [[2]]
    assert sent(driven.step(Taken(1))) == [[1]]


def test_a_unit_whose_inputs_come_late_waits_for_its_turn() -> None:
    """It is out of reach although all that it needs is there."""
    units = (unit(0), unit(1, 0, requested=True), unit(2, 0, requested=True))
    driven = reading(*units, ahead=1)
    driven.begin()
    assert sent(driven.answer(driven.loop.in_flight[0])) == [[1]]
    assert sent(driven.step(Taken(1))) == [[2]]


def test_results_come_in_the_order_that_was_asked_for() -> None:
    """Which need not be the order of the units."""
    driven = reading(*wanted(3), ahead=1, results=[2, 0, 1])
    assert sent(driven.begin()) == [[2]]
    assert sent(driven.step(Taken(1))) == [[0]]


def test_it_ends_when_all_are_made() -> None:
    """Without waiting for the reader of the last ones."""
    driven = reading(*wanted(2), ahead=2)
    for draft in drafts(driven.begin()):
        driven.answer(draft)
    assert driven.finished == Finish(None)


def test_a_failure_does_not_hide_what_comes_before_it() -> None:
    """Results before it are still made and delivered; those behind it are not begun."""
    driven = reading(*wanted(6), ahead=4)
    drafts_ = drafts(driven.begin())
    driven.answer(drafts_[2], failure())
    assert driven.finished is None
    assert sent(driven.step(Taken(1))) == []
    assert sent(driven.answer(drafts_[3])) == []
    driven.answer(drafts_[1])
    assert delivered(driven.answer(drafts_[0])).keys() == {0}
    assert isinstance(driven.error, UnitFailed)
    assert driven.error.unit.number == 2


def test_what_waits_for_a_provider_behind_a_failure_is_dropped() -> None:
    """Its result will not be made: it would be paid for, and thrown away."""
    driven = reading(*wanted(4), ahead=4, slots=2)
    first, second = drafts(driven.begin())
    assert sent(driven.answer(second, failure())) == []
    driven.answer(first)
    assert isinstance(driven.error, UnitFailed)


def test_a_failure_ends_the_results_before_the_first_that_needs_it() -> None:
    """Also when the unit that failed is not asked for itself."""
    units = (*wanted(3), unit(3), unit(4, 3, requested=True))
    driven = reading(*units, ahead=4)
    drafts_ = drafts(driven.begin())
    driven.answer(drafts_[3], failure())
    for draft in drafts_[:3]:
        assert driven.finished is None
        driven.answer(draft)
    assert isinstance(driven.error, UnitFailed)


def test_of_two_failures_the_earlier_result_counts() -> None:
    """Whichever came first."""
    driven = reading(*wanted(3), ahead=3)
    drafts_ = drafts(driven.begin())
    driven.answer(drafts_[2], failure(message="late"))
    driven.answer(drafts_[1], failure(message="early"))
    driven.answer(drafts_[0])
    assert isinstance(driven.error, UnitFailed)
    assert driven.error.failure.message == "early"


def test_a_failure_behind_the_first_one_changes_nothing() -> None:
    """Its result will not be made anyway."""
    driven = reading(*wanted(3), ahead=3)
    drafts_ = drafts(driven.begin())
    driven.answer(drafts_[1], failure(message="early"))
    driven.answer(drafts_[2], failure(message="late"))
    assert driven.finished is None
    driven.answer(drafts_[0])
    assert isinstance(driven.error, UnitFailed)
    assert driven.error.failure.message == "early"


def test_a_lost_call_without_further_tries_ends_the_results_there() -> None:
    """As a failure does."""
    driven = reading(*wanted(2), ahead=2)
    first, second = drafts(driven.begin())
    driven.lose(second, ProviderDown("gone", retryable=False))
    assert driven.finished is None
    driven.answer(first)
    assert isinstance(driven.error, ProviderDown)


def test_a_failure_of_the_first_result_ends_it_at_once() -> None:
    """Nothing comes before it, whatever is under way."""
    driven = reading(*wanted(3), ahead=3)
    first, *_ = drafts(driven.begin())
    driven.answer(first, failure())
    assert isinstance(driven.error, UnitFailed)
