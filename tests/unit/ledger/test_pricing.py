"""An attempt costs its compute, requests, store operations and egress at list price."""

from __future__ import annotations

import dataclasses
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import SettingsError
from cloudoffload.ledger.money import format_usd
from cloudoffload.ledger.pricing import LAYERS, billed_seconds, charge
from cloudoffload.providers import rates
from cloudoffload.types import Resources

AWS = rates.load("aws")

amounts = st.integers(0, 10**6)
resources = st.builds(
    Resources,
    seconds=st.floats(0, 900),
    init_seconds=st.floats(0, 10),
    memory_mb=st.integers(128, 10240),
    requests=st.integers(0, 5),
    store_operations=st.fixed_dictionaries({"write": amounts, "read": amounts}),
    bytes_out=st.fixed_dictionaries({"client": st.integers(0, 10**12)}),
)


def test_one_invocation_of_lambda() -> None:
    """1 s of 1 GB, one request, 2 PUTs, 10 GETs and 1 GB to the client cost what the price list says."""
    used = Resources(
        seconds=1.0,
        memory_mb=1024,
        requests=1,
        store_operations={"write": 2, "read": 10},
        bytes_out={"client": 1024**3, "store": 10**12},
    )
    assert charge(AWS, used) == {
        "compute": Decimal("0.0000166667"),
        "requests": Decimal("0.0000002"),
        "storage": Decimal("0.000014"),
        "egress": Decimal("0.09"),
    }


def test_initialisation_is_billed() -> None:
    """A cold start's seconds cost as much as the handler's."""
    cold = charge(AWS, Resources(seconds=0.5, init_seconds=1.5, memory_mb=512, requests=1))
    assert cold == charge(AWS, Resources(seconds=2.0, memory_mb=512, requests=1))


@pytest.mark.parametrize(
    ("seconds", "invocations", "billed"),
    [
        (0.12, 1, "0.120"),  # a whole number of steps stays as it is
        (0.1201, 1, "0.121"),
        (0.000001, 1, "0.001"),
        (0.0, 1, "0"),
        (0.1 + 0.2, 1, "0.300"),  # 0.30000000000000004 as a float
        (0.0011, 2, "0.002"),  # 0.55 ms each, so 1 ms each
    ],
)
def test_seconds_are_billed_up_to_the_next_step(seconds: float, invocations: int, billed: str) -> None:
    """Each invocation is rounded up to the next millisecond, and a float's last bit is not billed."""
    assert billed_seconds(seconds, 0.001, invocations) == Decimal(billed)


def test_each_invocation_is_rounded_for_itself() -> None:
    """Two invocations of 0.6 ms pay for two milliseconds; seconds without an invocation are rounded once."""
    two = charge(AWS, Resources(seconds=0.0012, memory_mb=1024, requests=2))
    none = charge(AWS, Resources(seconds=0.0012, memory_mb=1024))
    assert two["compute"] == none["compute"] == 2 * Decimal("0.0000000166667")
    many = charge(AWS, Resources(seconds=0.0012, memory_mb=1024, requests=4))
    assert many["compute"] == 4 * Decimal("0.0000000166667")


def test_operation_without_a_price_counts_as_a_write() -> None:
    """An unknown class of operation is priced as the dearest one; a delete is free because the list says so."""
    assert charge(AWS, Resources(store_operations={"list": 1000}))["storage"] == Decimal("0.005")
    assert charge(AWS, Resources(store_operations={"delete": 1000}))["storage"] == 0


def test_use_without_a_price_is_refused() -> None:
    """A card that lacks the price of something that was used raises instead of calling it free."""
    card = dataclasses.replace(AWS, prices={"request": AWS.prices["request"]})
    assert charge(card, Resources(requests=1))["requests"] == Decimal("0.0000002")
    with pytest.raises(SettingsError, match="gb_second"):
        charge(card, Resources(seconds=1.0, memory_mb=1024, requests=1))


def test_callers_decimal_context_does_not_matter() -> None:
    """A notebook that works with three digits gets the same price."""
    used = Resources(seconds=123.4567, memory_mb=1769, requests=1, bytes_out={"client": 123_456_789})
    with localcontext(prec=3):
        narrow = charge(AWS, used)
    assert narrow == charge(AWS, used)


@given(resources, resources)
def test_more_use_never_costs_less(one: Resources, other: Resources) -> None:
    """If one attempt uses at least as much of everything, it costs at least as much in every layer."""
    more = Resources(
        seconds=max(one.seconds, other.seconds),
        init_seconds=max(one.init_seconds, other.init_seconds),
        memory_mb=max(one.memory_mb, other.memory_mb),
        requests=one.requests,
        store_operations={
            kind: max(one.store_operations[kind], other.store_operations[kind]) for kind in ("write", "read")
        },
        bytes_out={"client": max(one.bytes_out["client"], other.bytes_out["client"])},
    )
    less, much = charge(AWS, one), charge(AWS, more)
    assert set(less) == set(LAYERS)
    assert all(0 <= less[layer] <= much[layer] for layer in LAYERS)


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        ("0", "$0.00"),
        ("0.000123", "$0.000123"),
        ("0.0001234567", "$0.000123"),
        ("0.00000020", "$0.0000002"),
        ("0.5", "$0.50"),
        ("0.012345", "$0.0123"),
        ("0.99999", "$1.00"),
        ("1.005", "$1.01"),
        ("1234567.891", "$1,234,567.89"),
        ("0.0000000000001", "<$0.000000001"),
    ],
)
def test_amounts_are_shown_with_digits_that_say_something(usd: str, shown: str) -> None:
    """Micro-dollars keep three digits, dollars have cents, and nothing that costs shows as nothing."""
    assert format_usd(Decimal(usd)) == shown
