"""An estimate brackets what a computation will cost, from what was learned or from stated priors."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.ledger.estimate import Learned, Work, estimate
from cloudoffload.ledger.pricing import charge
from cloudoffload.providers import rates
from cloudoffload.types import Resources

AWS = rates.load("aws")
LOCAL = rates.load("local")

GB_SECOND = Decimal("0.0000166667")
REQUEST = Decimal("0.0000002")
WRITE, READ = Decimal("0.000005"), Decimal("0.0000004")


def test_learned_work_lies_between_its_mean_and_twice_its_longest() -> None:
    """Low: the mean, in full calls. High: twice the longest, unit by unit, with storage, all paid once more."""
    work = Work("sum", AWS, 1024, units=10, inputs=20, learned=Learned(0.1, 0.25), units_per_call=5)
    result = estimate([work])
    assert result.usd_low == 1 * GB_SECOND + 2 * REQUEST
    assert result.usd_high == 2 * (5 * GB_SECOND + 10 * REQUEST + 10 * WRITE + 20 * READ)
    assert (result.calls, result.units) == (2, 10)


def test_unknown_work_is_priced_from_its_bytes() -> None:
    """Low: 5 ms and 500 MB/s. High: 2 s and 20 MB/s, again paid twice and with storage."""
    work = Work("read", AWS, 1024, units=10, inputs=10, input_bytes=1_000_000_000)
    result = estimate([work])
    assert result.usd_low == Decimal("2.05") * GB_SECOND + 10 * REQUEST
    assert result.usd_high == 2 * (70 * GB_SECOND + 10 * REQUEST + 10 * WRITE + 10 * READ)


def test_download_of_results_is_priced_once() -> None:
    """Bytes that come to this machine pay egress in both figures, retries or not."""
    work = Work("collect", AWS, 1024, units=1, client_bytes=1024**3)
    without = estimate([dataclasses.replace(work, client_bytes=0)])
    result = estimate([work])
    assert result.usd_low - without.usd_low == Decimal("0.09")
    assert result.usd_high - without.usd_high == Decimal("0.09")
    assert result.bytes_out == 1024**3


def test_units_beyond_the_concurrency_wait() -> None:
    """Groups follow each other, units of one run side by side as far as the card allows."""
    few = dataclasses.replace(AWS, concurrency=4)
    side_by_side = Work("a", few, 1024, units=4, learned=Learned(1.0, 1.0))
    twice = Work("b", few, 1024, units=5, learned=Learned(1.0, 1.0))
    assert estimate([side_by_side]).seconds == pytest.approx(1.5)
    assert estimate([side_by_side, twice]).seconds == pytest.approx(4.5)


def test_groups_are_added_and_counted_by_provider() -> None:
    """Several groups give one estimate; this machine's units are counted and cost nothing."""
    work = [
        Work("read", AWS, 1024, units=3, input_bytes=300),
        Work("sum", AWS, 2048, units=2, input_bytes=50),
        Work("show", LOCAL, 1024, units=7),
    ]
    result = estimate(work)
    assert result.by_provider == {"aws": 5, "local": 7}
    assert result.bytes_in == 350
    assert result.usd_high == sum(estimate([group]).usd_high for group in work)
    assert estimate(work[2:]).usd_high == 0


def test_nothing_to_do_costs_nothing() -> None:
    """An estimate of no units is all zero."""
    result = estimate([])
    assert result.usd_low == result.usd_high == result.seconds == result.calls == 0


@given(
    units=st.integers(1, 200),
    inputs=st.integers(0, 400),
    seconds=st.lists(st.floats(0.001, 60), min_size=1, max_size=20),
    batch=st.integers(1, 50),
)
def test_a_run_as_learned_costs_between_low_and_high(units: int, inputs: int, seconds: list[float], batch: int) -> None:
    """If units take what they took so far, the bill lies between both figures, however they are batched."""
    mean, longest = sum(seconds) / len(seconds), max(seconds)
    work = Work("x", AWS, 1769, units, inputs, learned=Learned(mean, longest), units_per_call=batch)
    result = estimate([work])
    bill = charge(
        AWS,
        Resources(
            seconds=mean * units,
            memory_mb=1769,
            requests=units,
            store_operations={"write": units, "read": inputs},
        ),
    )
    assert result.usd_low <= sum(bill.values()) <= result.usd_high
