"""What one attempt costs, before any free tier and without rounding to cents.

Free units and rounding belong to an account's month, which one run can't see: :mod:`cloudoffload.ledger.invoice`
applies them. An attempt is therefore priced at the first tier of the list price, which is also the safe side for a
budget.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from cloudoffload.errors import SettingsError
from cloudoffload.ledger.money import EXACT, booked, total
from cloudoffload.types import Price, RateCard, Resources

LAYERS = ("compute", "requests", "storage", "egress")
"""What the dollars of an attempt are divided into."""

MB_PER_GB = Decimal(1024)
"""Lambda sells memory so: its pricing page computes 1536 MB as 1536 / 1024 = 1.5 GB."""

BYTES_PER_GB = Decimal(1024**3)
"""Traffic is sold so: the Amazon S3 FAQ counts 63,488 GB for 62 TB (1 TB = 1024 GB, 10 TB = 10,995,116,277,760 bytes);
Google prices it per GiB outright."""

NANOSECOND = Decimal("1e-9")


def billed_seconds(seconds: float | Decimal, granularity: float, invocations: int = 1) -> Decimal:
    """Seconds that are paid for, all invocations together.

    Parameters
    ----------
    seconds : float or Decimal
        Seconds of all invocations together, which are taken to be of equal length.
    granularity : float
        Each invocation is billed up to the next multiple of this, seconds.
    invocations : int
        How many there were.
    """
    step = _exact(granularity)
    each = EXACT.divide(_exact(seconds), Decimal(invocations))
    # A measured 0.1 + 0.2 s is 0.30000000000000004 s; rounding that up would bill a millisecond that nobody used.
    each = each.quantize(NANOSECOND, context=EXACT)
    steps = EXACT.divide(each, step).to_integral_value(rounding=ROUND_CEILING, context=EXACT)
    return EXACT.multiply(EXACT.multiply(steps, step), Decimal(invocations))


def quantities(card: RateCard, resources: Resources) -> dict[str, Decimal]:
    """How much of each priced dimension an attempt used, by the names of ``card.prices``.

    Memory is paid for while the handler runs and while it is initialised. A class of store operation that the card does
    not price counts as a write, the dearest class.
    """
    used = {
        "gb_second": _gb_seconds(card, resources),
        "request": Decimal(resources.requests),
        "egress_gb": EXACT.divide(Decimal(resources.bytes_out.get("client", 0)), BYTES_PER_GB),
    }
    for operation, count in resources.store_operations.items():
        dimension = operation if operation in card.prices else "write"
        used[dimension] = EXACT.add(used.get(dimension, Decimal(0)), Decimal(count))
    return used


def charge(card: RateCard, resources: Resources) -> dict[str, Decimal]:
    """Dollars of one attempt by layer; every layer of :data:`LAYERS` is there.

    Parameters
    ----------
    card : RateCard
        Prices of the provider that ran it.
    resources : Resources
        What it used, or what it could use at worst. The client's own uploads and downloads are priced so too: they are
        store operations, and bytes to ``"client"``.

    Raises
    ------
    SettingsError
        The card lacks the price of something that was used.
    """
    layers = {layer: [Decimal(0)] for layer in LAYERS}
    for dimension, quantity in quantities(card, resources).items():
        if quantity:
            layers[_LAYER_OF.get(dimension, "storage")].append(cost(_price(card, dimension), quantity))
    return {layer: booked(total(amounts)) for layer, amounts in layers.items()}


def cost(price: Price, quantity: Decimal) -> Decimal:
    """Dollars of ``quantity`` units at a price, without free units and without rounding."""
    return EXACT.divide(EXACT.multiply(price.rate, quantity), price.per)


_LAYER_OF = {"gb_second": "compute", "request": "requests", "egress_gb": "egress"}


def _gb_seconds(card: RateCard, resources: Resources) -> Decimal:
    seconds = EXACT.add(_exact(resources.seconds), _exact(resources.init_seconds))
    billed = billed_seconds(seconds, card.billing_seconds, max(resources.requests, 1))
    return EXACT.divide(EXACT.multiply(billed, Decimal(resources.memory_mb)), MB_PER_GB)


def _price(card: RateCard, dimension: str) -> Price:
    try:
        return card.prices[dimension]
    except KeyError:
        raise SettingsError(
            f"the prices of {card.provider} ({card.version}) do not say what {dimension!r} costs; "
            f"they have {', '.join(sorted(card.prices))}"
        ) from None


def _exact(number: float | Decimal) -> Decimal:
    """The decimal that a float is written as: 0.12 s means 120 ms, not the binary fraction beside it."""
    return Decimal(str(number))
