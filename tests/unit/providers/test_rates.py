"""Rate cards come from dated files, exactly as they are written there."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cloudoffload.errors import SettingsError
from cloudoffload.providers import rates


def test_aws_card_holds_the_list_prices_of_us_east_1() -> None:
    """A rate card of AWS has the published prices, to the last digit."""
    card = rates.load("aws")
    per_unit = {dimension: price.rate / price.per for dimension, price in card.prices.items()}
    assert per_unit == {
        "gb_second": Decimal("0.0000166667"),
        "request": Decimal("0.0000002"),
        "write": Decimal("0.000005"),
        "read": Decimal("0.0000004"),
        "delete": Decimal(0),
        "egress_gb": Decimal("0.09"),
    }


def test_aws_card_holds_the_limits_of_lambda() -> None:
    """A rate card of AWS has the published limits, in bytes, seconds and MB."""
    card = rates.load("aws")
    assert (card.request_bytes, card.response_bytes) == (6 * 1024 * 1024, 6 * 1024 * 1024)
    assert (card.max_seconds, card.billing_seconds) == (900.0, 0.001)
    assert (card.memory_mb, card.concurrency) == ((128, 10240), 1000)


def test_arm_is_cheaper_per_gb_second_and_the_same_otherwise() -> None:
    """The architecture changes the price of compute alone."""
    arm, x86 = rates.load("aws", architecture="arm64").prices, rates.load("aws").prices
    assert arm["gb_second"].rate == Decimal("0.0000133334")
    assert {**arm, "gb_second": None} == {**x86, "gb_second": None}


def test_this_machine_costs_nothing() -> None:
    """Every price of the local provider is zero, whatever region or architecture is asked for."""
    card = rates.load("local", region="anywhere", architecture="riscv64")
    assert {price.rate for price in card.prices.values()} == {Decimal(0)}
    assert card.prices.keys() == rates.load("aws").prices.keys()


@pytest.mark.parametrize("provider", ["aws", "local"])
def test_card_names_its_date_and_source(provider: str) -> None:
    """A card says when and where its prices were read, for every row of the ledger names them."""
    card = rates.load(provider)
    assert card.provider == provider
    assert card.version == "2026-11"
    assert card.source


def test_no_price_passes_through_a_float() -> None:
    """Every number of every price file is the decimal that is written there: none has a binary fraction's tail."""
    for provider, region in (("aws", "us-east-1"), ("gcp", "us-central1"), ("cloudflare", "global"), ("local", "")):
        for rate in rates.invoice_rates(provider, region).values():
            numbers = (rate.price.rate, rate.price.per, rate.price.free, *(tier.rate for tier in rate.tiers))
            assert all(len(number.as_tuple().digits) <= 12 for number in numbers), rate


@pytest.mark.parametrize(
    ("arguments", "mentions"),
    [
        ({"provider": "azure"}, ("'azure'", "aws", "local")),
        ({"provider": "aws", "region": "mars-1"}, ("'mars-1'", "us-east-1")),
        ({"provider": "aws", "architecture": "vax"}, ("'vax'", "arm64", "x86_64")),
        ({"provider": "gcp", "region": "us-central1"}, ("'gcp'", "limits")),
    ],
)
def test_what_has_no_price_is_refused_by_name(arguments: dict[str, str], mentions: tuple[str, ...]) -> None:
    """Asking for a price that no file has raises, and the message says what there is."""
    with pytest.raises(SettingsError) as caught:
        rates.load(**arguments)
    assert all(mention in str(caught.value) for mention in mentions)


def test_the_latest_date_wins(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Old price files may stay where they are: the newest one of a provider is read, and no other provider's."""
    for name in ("aws-2025-12.toml", "aws-2026-11.toml", "aws-2026-02.toml", "zcloud-2027-01.toml", "README.md"):
        (tmp_path / name).touch()
    assert rates.newest(tmp_path, "aws").name == "aws-2026-11.toml"
