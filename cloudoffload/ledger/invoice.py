"""A month's invoice as vendors write it: per line the free units, the tiers and the rounding, then the sum.

One run never sees an invoice. It is what the ledger's prices are checked against: each vendor's published examples come
out to the cent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext

from cloudoffload.ledger.money import EXACT, to_cents, total
from cloudoffload.types import Price


@dataclass(frozen=True, slots=True)
class Tier:
    """Units beyond `above` in a month cost `rate` instead."""

    above: Decimal  # units a month, the free ones counted
    rate: Decimal  # USD per `per` units


@dataclass(frozen=True, slots=True)
class Rate:
    """How a vendor bills one dimension of a product over a month."""

    product: str  # "lambda"
    dimension: str  # "request"
    price: Price
    tiers: tuple[Tier, ...] = ()  # ascending; `price.rate` holds up to the first
    allowance: str = ""  # rates with the same name share their free units; "" means not shared


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an invoice: the units of one tier of one rate."""

    product: str
    dimension: str
    quantity: Decimal  # units used in this tier
    free: Decimal  # of them not billed
    billed: Decimal  # units paid for, up to the next whole `per` where the vendor does so
    rate: Decimal  # USD per `per` units
    per: Decimal
    usd: Decimal  # whole cents


@dataclass(frozen=True, slots=True)
class Invoice:
    """Lines, each rounded to cents, and their sum."""

    lines: tuple[Line, ...]

    @property
    def total(self) -> Decimal:
        """Dollars of all lines."""
        return total(line.usd for line in self.lines)


def bill(usage: Iterable[tuple[Rate, Decimal | int]], *, free_tier: bool = True) -> Invoice:
    """Invoice of a month.

    Parameters
    ----------
    usage : iterable of (Rate, quantity)
        Units used in the month; quantities of the same rate are added before anything is rounded. Where rates share an
        allowance, those that come first use it up first.
    free_tier : bool
        Whether the free units apply.

    Notes
    -----
    Free units are the first ones used, and count towards the tiers: the Amazon S3 FAQ bills 62 TB of egress as
    10,240 GB - 1 GB (then free) in the first tier, 40,960 GB in the second and the rest in the third. Units that are
    sold whole are rounded up after the free ones are taken off: Cloudflare's Durable Objects example pays for a million
    requests when 1.5 million were made and one million is included.
    """
    with localcontext(EXACT):
        quantities: dict[Rate, Decimal] = {}
        for rate, quantity in usage:
            quantities[rate] = quantities.get(rate, Decimal(0)) + quantity
        left: dict[str, Decimal] = {}
        lines: list[Line] = []
        for rate, quantity in quantities.items():
            allowance = rate.allowance or f"{rate.product}.{rate.dimension}"
            available = left.get(allowance, rate.price.free)
            free = min(available, quantity) if free_tier else Decimal(0)
            left[allowance] = available - free
            lines.extend(_lines(rate, quantity, free))
    return Invoice(tuple(lines))


def _lines(rate: Rate, quantity: Decimal, free: Decimal) -> Iterator[Line]:
    """One line per tier that was reached; the first one always, so that free use shows on the invoice."""
    tiers = (Tier(Decimal(0), rate.price.rate), *rate.tiers)
    ends = (*(tier.above for tier in rate.tiers), quantity)
    for tier, end in zip(tiers, ends, strict=True):
        used = min(end, quantity) - tier.above
        if used <= 0 < tier.above:
            return
        free_here = min(free, used)
        free -= free_here
        yield _line(rate, tier.rate, used, free_here)


def _line(rate: Rate, usd_per: Decimal, used: Decimal, free: Decimal) -> Line:
    per = rate.price.per
    billed = used - free
    if rate.price.whole:
        billed = (billed / per).to_integral_value(rounding=ROUND_CEILING) * per
    usd = to_cents(billed * usd_per / per)
    return Line(rate.product, rate.dimension, used, free, billed, usd_per, per, usd)
