"""Rows of a million calls fit into memory, and lose nothing by it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.ledger.ledger import DAY_TAG, Ledger
from cloudoffload.ledger.report import GROUPINGS, NO_TAGS, Report
from cloudoffload.ledger.rows import BLOCK, Rows, added_up
from cloudoffload.providers import rates
from cloudoffload.types import Budget, Charge, RateCard, Resources

AWS = rates.load("aws")
LOCAL = rates.load("local")


def charges(count: int) -> Iterator[Charge]:
    """Rows that have little in common."""
    book = Ledger(Budget(None), tags={"team": "geo"}, clock=lambda: date(2026, 11, 3))
    for number in range(count):
        used = Resources(
            seconds=1 / (number + 1),
            cpu_seconds=1 / (number + 2),
            memory_mb=1769,
            requests=1,
            store_operations={"write": number % 7, "read": number % 11},
            bytes_in=number**2,
            bytes_out={"store": number**3, "client": number},
        )
        yield book.record(AWS, used, what="call")


def test_packed_rows_are_the_rows() -> None:
    """Each comes back equal to what was booked, amounts exact, in the order of booking."""
    booked = list(charges(2 * BLOCK + 3))
    rows = Rows()
    for row in booked:
        rows.append(row)
    assert list(rows.read()) == booked


def test_reading_is_not_disturbed_by_booking() -> None:
    """Who reads gets the rows of that moment, however many are booked meanwhile."""
    booked = list(charges(2 * BLOCK))
    rows = Rows()
    for row in booked[: BLOCK - 1]:
        rows.append(row)
    reading = rows.read()
    for row in booked[BLOCK - 1 :]:
        rows.append(row)
    assert list(reading) == booked[: BLOCK - 1]


def test_a_call_takes_few_bytes() -> None:
    """A ledger grows by less than a tenth of a kilobyte with each: a million calls are no burden for the client."""
    book = Ledger(Budget(None))
    rows = list(charges(8 * BLOCK))
    tracemalloc.start()
    try:
        for row in rows:
            book.record(AWS, row.resources, what="call")
        grown, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert grown / len(rows) < 100


def test_a_row_does_not_follow_what_its_counter_does_later() -> None:
    """Counts are copied when they are booked, out of whatever mapping they came in."""
    writes = {"write": 1}
    book = Ledger(Budget(None))
    row = book.record(AWS, Resources(store_operations=MappingProxyType(writes)), what="upload")
    writes["write"] = 1000
    assert row.resources.store_operations == {"write": 1}
    for _ in range(BLOCK):
        book.record(AWS, Resources(store_operations=MappingProxyType(writes)), what="upload")
    assert next(book.rows()) == row


def test_like_rows_are_one_sum() -> None:
    """There are as many sums as kinds of rows, not as calls."""
    sums = added_up(charges(500))
    assert len(sums) < 5
    assert sum(item.calls for item in sums) == 500


calls = st.tuples(
    st.sampled_from([AWS, LOCAL]),
    st.builds(
        Resources,
        seconds=st.sampled_from([0.0, 0.1, 2.5]),
        init_seconds=st.sampled_from([0.0, 0.5]),
        memory_mb=st.just(1769),
        requests=st.integers(0, 2),
        store_operations=st.fixed_dictionaries({"write": st.integers(0, 1)}),
        bytes_out=st.fixed_dictionaries({"client": st.sampled_from([0, 10**6])}),
    ),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([{}, {"job": "etl"}, {"job": "plot", "who": "me"}]),
)


def groups_of(row: Charge, grouping: str) -> dict[str, Decimal]:
    """Groups that a row is in, and its dollars in each of them."""
    if grouping == "layer":
        return {layer: usd for layer, usd in row.usd.items() if usd}
    tags = ", ".join(f"{name}={value}" for name, value in row.tags.items() if name != DAY_TAG)
    name = {"provider": row.provider, "day": row.tags[DAY_TAG], "tag": tags or NO_TAGS}[grouping]
    return {name: row.total}


@given(st.lists(calls, max_size=30))
def test_a_report_of_sums_is_that_of_the_rows(history: list[tuple[RateCard, Resources, bool, int, Any]]) -> None:
    """However it is divided, each group has the counts and the exact dollars of its rows, added up one by one."""
    book = Ledger(Budget(None))
    for number, (card, used, ok, units, tags) in enumerate(history):
        book.reserve(str(number), card, used)
        book.settle(str(number), used, ok=ok, units=units, tags=tags)
    rows = list(book.rows())
    for grouping in GROUPINGS:
        report = Report(book.sums(), grouping)
        assert report.usd == sum(row.total for row in rows)
        for group in report.groups:
            inside = [row for row in rows if group.name in groups_of(row, grouping)]
            assert group.usd == sum(groups_of(row, grouping)[group.name] for row in inside)
            counts = (len(inside), sum(not row.ok for row in inside), sum(row.units for row in inside))
            assert (group.calls, group.lost, group.units) == counts
            if grouping != "layer":
                seconds = [row.resources.seconds + row.resources.init_seconds for row in inside]
                assert group.seconds == pytest.approx(sum(seconds))
        assert {name for row in rows for name in groups_of(row, grouping)} <= {group.name for group in report.groups}
