"""Nothing is sent without a reservation, and committed plus reserved never passes the budget."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date
from decimal import Decimal
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloudoffload.errors import BudgetExceeded
from cloudoffload.ledger.ledger import DAY_TAG, Balance, Ledger
from cloudoffload.ledger.money import total
from cloudoffload.providers import rates
from cloudoffload.types import Budget, Resources

AWS = rates.load("aws")
LOCAL = rates.load("local")

ZERO = Decimal(0)
CENT_SECONDS = 600.0  # about a cent on a function of 1 GB


def call(seconds: float = CENT_SECONDS, requests: int = 1) -> Resources:
    """What one call on a function of 1 GB uses."""
    return Resources(seconds=seconds, memory_mb=1024, requests=requests)


def ledger(usd: str | None, **options: dict[str, str]) -> Ledger:
    """A ledger with a budget, on one fixed day."""
    budget = Budget(None if usd is None else Decimal(usd))
    return Ledger(budget, clock=lambda: date(2026, 11, 3), **options)


def test_reservation_is_the_worst_case_and_settling_gives_the_rest_back() -> None:
    """While a call is under way its worst case is reserved; afterwards only what it used is committed."""
    book = ledger("1.00")
    worst = book.reserve("call-1", AWS, call(10.0))
    assert worst == Decimal("0.000166667") + Decimal("0.0000002")
    assert book.balance == Balance(ZERO, worst)
    row = book.settle("call-1", call(1.0), ok=True, units=4)
    assert row.total == Decimal("0.0000166667") + Decimal("0.0000002")
    assert book.balance == Balance(row.total, ZERO)


def test_call_that_could_pass_the_budget_is_refused() -> None:
    """A reservation counts what is spent and what is reserved; a refused one leaves no trace."""
    book = ledger("0.025")
    book.reserve("spent", AWS, call())
    book.settle("spent", call(), ok=True, units=1)
    book.reserve("under way", AWS, call())
    before = book.balance
    assert not book.fits(AWS, call())
    with pytest.raises(BudgetExceeded):
        book.reserve("too much", AWS, call())
    assert book.balance == before
    book.release("under way")
    assert book.fits(AWS, call())
    book.reserve("too much", AWS, call())


def test_refusal_says_where_the_money_is_and_what_to_do() -> None:
    """The message names the budget, what is spent, what is reserved, what the call could cost, and ways on."""
    book = ledger("0.025")
    book.reserve("spent", AWS, call())
    book.settle("spent", call(), ok=True, units=1)
    book.reserve("under way", AWS, call(300.0))
    with pytest.raises(BudgetExceeded) as caught:
        book.reserve("too much", AWS, call(900.0))
    message = str(caught.value)
    assert "$0.025 " in message
    assert "$0.01 is spent" in message
    assert "$0.005 is reserved" in message
    assert "up to $0.015" in message
    assert "Raise the budget" in message


def test_budget_may_be_used_to_the_last_digit() -> None:
    """A call whose worst case is exactly what is left is allowed."""
    worst = ledger(None).reserve("probe", AWS, call())
    book = ledger(str(worst))
    book.reserve("call-1", AWS, call())
    assert not book.fits(AWS, Resources(requests=1))
    assert book.fits(LOCAL, call())


def test_budget_of_nothing_allows_what_costs_nothing() -> None:
    """With a budget of 0 this machine may still be used, and clouds may not."""
    book = ledger("0")
    book.reserve("here", LOCAL, call())
    book.settle("here", call(), ok=True, units=1)
    with pytest.raises(BudgetExceeded):
        book.reserve("there", AWS, call())
    assert book.crossed() == ()


def test_no_budget_means_no_limit_but_still_books() -> None:
    """Budget(None) refuses nothing, alerts at nothing, and adds everything up."""
    book = ledger(None)
    book.reserve("call-1", AWS, call(900.0, requests=10**6))
    row = book.settle("call-1", call(900.0, requests=10**6), ok=True, units=1)
    assert book.committed == row.total > 0
    assert book.crossed() == ()


SECOND_TIMES: list[Callable[[Ledger], object]] = [
    lambda book: book.settle("call-1", call(), ok=True, units=1),
    lambda book: book.release("call-1"),
    lambda book: book.abandon("call-1"),
]


@pytest.mark.parametrize("again", SECOND_TIMES)
@pytest.mark.parametrize("first", [None, *SECOND_TIMES[:2]])
def test_only_a_reserved_call_can_be_settled(
    first: Callable[[Ledger], object] | None, again: Callable[[Ledger], object]
) -> None:
    """Settling, releasing or abandoning a call that holds no reservation (any more) raises and books nothing."""
    book = ledger("1.00")
    if first is not None:
        book.reserve("call-1", AWS, call())
        first(book)
    before, rows = book.balance, list(book.rows())
    with pytest.raises(ValueError, match="call-1"):
        again(book)
    assert (book.balance, list(book.rows())) == (before, rows)


def test_a_call_is_reserved_once() -> None:
    """A second reservation under the same name raises, so that none is lost."""
    book = ledger("1.00")
    book.reserve("call-1", AWS, call())
    before = book.balance
    with pytest.raises(ValueError, match="call-1"):
        book.reserve("call-1", AWS, call())
    assert book.balance == before


def test_abandoned_call_keeps_its_reservation_until_it_is_settled() -> None:
    """Whoever stops waiting does not get the money back: the call may still be billed."""
    book = ledger("1.00")
    worst = book.reserve("lost", AWS, call())
    book.abandon("lost")
    assert (book.reserved, book.abandoned) == (worst, worst)
    book.settle("lost", call(), ok=False, units=0)
    assert book.balance == Balance(worst, ZERO)
    assert book.abandoned == 0


def test_attempt_that_used_more_than_reserved_is_booked_in_full() -> None:
    """The ledger shows what was spent even where it passes the budget, and then refuses."""
    book = ledger("0.01")
    book.reserve("call-1", AWS, call(1.0))
    row = book.settle("call-1", call(2 * CENT_SECONDS), ok=True, units=1)
    assert book.committed == row.total > Decimal("0.01")
    assert not book.fits(LOCAL, call())


def test_own_storage_operations_are_spend() -> None:
    """Uploads and downloads of the client are rows too, with storage and egress at list price."""
    book = ledger("1.00")
    used = Resources(store_operations={"write": 1, "read": 2}, bytes_out={"client": 1024**3})
    up, down = (book.record(AWS, used, what=what) for what in ("upload", "download"))
    assert list(book.rows()) == [up, down]
    assert up.usd == {"compute": 0, "requests": 0, "storage": Decimal("0.0000058"), "egress": Decimal("0.09")}
    assert book.committed == up.total + down.total
    assert up.call != down.call and up.call.startswith("upload")


def test_row_names_what_it_was_priced_with() -> None:
    """A row carries provider, price version, resources, outcome, units, both kinds of tags and its day."""
    book = ledger("1.00", tags={"team": "geo", "stage": "all"})
    book.reserve("call-1", AWS, call())
    row = book.settle("call-1", call(2.0), ok=False, units=7, tags={"stage": "shuffle"})
    assert (row.call, row.provider, row.price_version) == ("call-1", "aws", "2026-11")
    assert (row.resources, row.ok, row.units) == (call(2.0), False, 7)
    assert row.tags == {"team": "geo", "stage": "shuffle", DAY_TAG: "2026-11-03"}
    assert list(book.rows()) == [row]


def test_each_share_of_the_budget_is_told_once() -> None:
    """Spend that passes 50 %, 80 % and 100 % is told when it has happened, each share to one caller, once."""
    book = ledger("0.04")
    told = []
    for number in range(5):
        book.record(AWS, call(), what=f"step-{number}")
        told.append(book.crossed())
    assert told == [(), (0.5,), (), (0.8, 1.0), ()]


def test_the_balance_can_be_read_in_the_middle_of_a_booking() -> None:
    """A signal handler asks for it whatever its thread was doing: what is being settled is at most counted twice."""
    balances: list[Balance] = []

    def clock() -> date:
        balances.append(book.balance)
        return date(2026, 11, 3)

    book = Ledger(Budget(None), clock=clock)
    worst = book.reserve("call-1", AWS, call())
    book.settle("call-1", call(), ok=True, units=1)
    assert balances == [Balance(ZERO, worst)]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, int, float, float]]:
    """Steps of a run: what is done, to which call, its worst case and how much of it was used."""
    step = st.tuples(
        st.sampled_from(["reserve", "settle", "release", "abandon"]),
        st.integers(0, 5),
        st.floats(0.0, 900.0),
        st.floats(0.0, 1.0),
    )
    return draw(st.lists(step, max_size=40))


def play(book: Ledger, usd: Decimal, history: list[tuple[str, int, float, float]], who: str) -> None:
    """Play a history; a step that does not apply in the state reached is skipped."""
    under_way: dict[int, tuple[str, float]] = {}
    names = (f"{who}-{number}" for number in count())
    for action, slot, worst, used in history:
        if action == "reserve" and slot not in under_way:
            name = next(names)
            try:
                book.reserve(name, AWS, call(worst))
            except BudgetExceeded:
                continue
            under_way[slot] = (name, worst)
        elif action == "settle" and slot in under_way:
            name, reserved = under_way.pop(slot)
            book.settle(name, call(reserved * used), ok=True, units=1)
        elif action == "release" and slot in under_way:
            book.release(under_way.pop(slot)[0])
        elif action == "abandon" and slot in under_way:
            book.abandon(under_way[slot][0])
        balance = book.balance
        assert balance.committed + balance.reserved <= usd
        assert balance.committed >= 0 and balance.reserved >= 0


@given(history=histories(), usd=st.decimals("0", "0.05", places=6))
def test_no_history_passes_the_budget(history: list[tuple[str, int, float, float]], usd: Decimal) -> None:
    """After every step committed + reserved is within the budget, and the rows add up to what is committed."""
    book = Ledger(Budget(usd))
    play(book, usd, history, "only")
    assert total(row.total for row in book.rows()) == book.committed


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let threads interrupt each other after almost every step, so that a missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_eight_threads(work: Callable[[int], None]) -> None:
    """Run ``work(number)`` in eight threads that start together; raise the first failure."""
    start = threading.Barrier(8)

    def run(number: int) -> None:
        start.wait()
        work(number)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(run, number) for number in range(8)]:
            future.result()


@pytest.mark.usefixtures("eager_threads")
@settings(max_examples=25)
@given(history=st.lists(histories(), min_size=8, max_size=8), usd=st.decimals("0", "0.05", places=6))
def test_eight_threads_do_not_pass_the_budget(history: list[list[tuple[str, int, float, float]]], usd: Decimal) -> None:
    """The same holds at every moment while eight threads share the ledger."""
    book = Ledger(Budget(usd))
    in_eight_threads(lambda number: play(book, usd, history[number], f"thread-{number}"))
    assert total(row.total for row in book.rows()) == book.committed


@pytest.mark.usefixtures("eager_threads")
def test_last_room_is_given_once() -> None:
    """When eight threads ask for the last cent at the same moment, one gets it and seven are refused."""
    cent = ledger(None).reserve("probe", AWS, call())
    for _ in range(50):
        book = Ledger(Budget(cent))
        granted: list[int] = []

        def ask(number: int, book: Ledger = book, granted: list[int] = granted) -> None:
            with suppress(BudgetExceeded):
                book.reserve(f"call-{number}", AWS, call())
                granted.append(number)

        in_eight_threads(ask)
        assert len(granted) == 1
        assert book.reserved == cent


@pytest.mark.usefixtures("eager_threads")
def test_no_charge_is_lost_between_threads() -> None:
    """Eight threads that settle and record 100 attempts each leave 1600 rows, whose sum is committed."""
    book = ledger(None)

    def work(number: int) -> None:
        for step in range(100):
            book.reserve(f"{number}-{step}", AWS, call())
            book.settle(f"{number}-{step}", call(), ok=True, units=1)
            book.record(AWS, call(), what="upload")

    in_eight_threads(work)
    rows = list(book.rows())
    assert len({row.call for row in rows}) == 1600
    assert book.balance == Balance(total(row.total for row in rows), ZERO)
    assert book.committed == 1600 * rows[0].total
