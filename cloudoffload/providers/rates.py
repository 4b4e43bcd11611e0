"""Rate cards and invoice rates, read from the dated price files beside this module."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from cloudoffload.errors import SettingsError
from cloudoffload.ledger.invoice import Rate, Tier
from cloudoffload.types import Price, RateCard

ANY_REGION = "global"
"""A price file with this single region has the same prices everywhere."""

ANY_ARCHITECTURE = "any"


def load(provider: str, region: str = "us-east-1", architecture: str = "x86_64") -> RateCard:
    """Prices and limits of a provider's functions and of the store beside them, from its newest price file.

    Parameters
    ----------
    provider : str
        ``"aws"`` or ``"local"``.
    region : str
        The cloud's own name of the region; it does not matter where prices are the same everywhere.
    architecture : str
        ``"x86_64"`` or ``"arm64"``; it does not matter where there is but one price.

    Returns
    -------
    RateCard
        Its ``provider`` is the plain name; a provider of one region of several replaces it by its own.

    Raises
    ------
    SettingsError
        There is no price for that provider, region or architecture; the message says which there are.
    """
    document = _document(provider)
    cards = document.get("card")
    if cards is None:
        raise SettingsError(f"{provider!r} has prices for invoices only: its price file states no limits")
    dimensions: Mapping[str, str] = _choose(cards, architecture, ANY_ARCHITECTURE, f"{provider} prices no architecture")
    rates = invoice_rates(provider, region)
    limits = document["limits"]
    return RateCard(
        provider=provider,
        version=document["version"],
        source=document["source"],
        prices={dimension: rates[name].price for dimension, name in dimensions.items()},
        billing_seconds=float(limits["billing_seconds"]),
        request_bytes=limits["request_bytes"],
        response_bytes=limits["response_bytes"],
        max_seconds=float(limits["max_seconds"]),
        memory_mb=(limits["memory_mb"][0], limits["memory_mb"][1]),
        concurrency=limits["concurrency"],
    )


def invoice_rates(provider: str, region: str = "us-east-1") -> dict[str, Rate]:
    """How the vendor bills each dimension in that region, by ``"product.dimension"``.

    Raises
    ------
    SettingsError
        There is no price for that provider or region; the message says which there are.
    """
    products = _choose(_document(provider)["regions"], region, ANY_REGION, f"{provider} has no prices for the region")
    return {
        f"{product}.{dimension}": _rate(product, dimension, entry)
        for product, dimensions in products.items()
        for dimension, entry in dimensions.items()
    }


def newest(folder: Traversable, provider: str) -> Traversable:
    """The price file ``<provider>-<date>.toml`` with the latest date.

    Raises
    ------
    SettingsError
        There is none; the message names the providers that have one.
    """
    found = {}
    providers = set()
    for file in folder.iterdir():
        name, dash, date = file.name.removesuffix(".toml").partition("-")
        if dash and file.name.endswith(".toml"):
            providers.add(name)
            if name == provider:
                found[date] = file
    if not found:
        raise SettingsError(
            f"no prices are known for {provider!r}; there are prices for {', '.join(sorted(providers))}"
        )
    return found[max(found)]


@cache
def _document(provider: str) -> Mapping[str, Any]:
    file = newest(files("cloudoffload.providers") / "prices", provider)
    return tomllib.loads(file.read_text(encoding="utf-8"), parse_float=Decimal)


def _choose(table: Mapping[str, Any], name: str, anything: str, complaint: str) -> Any:
    if name in table:
        return table[name]
    if anything in table:
        return table[anything]
    raise SettingsError(f"{complaint} {name!r}; known: {', '.join(sorted(table))}")


def _rate(product: str, dimension: str, entry: Mapping[str, Any]) -> Rate:
    return Rate(
        product=product,
        dimension=dimension,
        price=Price(
            rate=Decimal(entry["rate"]),
            per=Decimal(entry.get("per", 1)),
            free=Decimal(entry.get("free", 0)),
            whole=entry.get("whole", False),
        ),
        tiers=tuple(Tier(Decimal(tier["above"]), Decimal(tier["rate"])) for tier in entry.get("tiers", ())),
        allowance=entry.get("allowance", ""),
    )
