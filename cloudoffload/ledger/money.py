"""Arithmetic on dollars that no rounding of the caller's can disturb, and the one way to show an amount."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, ROUND_HALF_UP, Context, Decimal

EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
"""Wide enough that sums and products of prices are exact; the caller's own decimal context may be anything."""

QUANTUM = Decimal("1e-15")
"""Smallest amount that is booked, USD: far below any price, and coarse enough that sums stay exact."""

CENT = Decimal("0.01")
SMALLEST_SHOWN = Decimal("1e-9")


def booked(usd: Decimal) -> Decimal:
    """``usd`` as a ledger books it: up to the next :data:`QUANTUM`, so that no rounding hides spend."""
    return usd.quantize(QUANTUM, rounding=ROUND_CEILING, context=EXACT)


def to_cents(usd: Decimal) -> Decimal:
    """``usd`` as an invoice line states it: whole cents, half a cent upward."""
    return usd.quantize(CENT, rounding=ROUND_HALF_UP, context=EXACT)


def total(amounts: Iterable[Decimal]) -> Decimal:
    """Exact sum."""
    result = Decimal(0)
    for amount in amounts:
        result = EXACT.add(result, amount)
    return result


def format_usd(usd: Decimal) -> str:
    """An amount for people: whole cents from a dollar on, below that three digits that say something.

    Parameters
    ----------
    usd : Decimal
        US dollars, not negative.

    Examples
    --------
    >>> [format_usd(Decimal(text)) for text in ("1234.5", "0.5", "0.000123456", "0")]
    ['$1,234.50', '$0.50', '$0.000123', '$0.00']
    """
    if 0 < usd < SMALLEST_SHOWN:
        return f"<${SMALLEST_SHOWN:f}"
    if usd >= 1 or usd == 0:
        return f"${to_cents(usd):,f}"
    shown = usd.quantize(Decimal(1).scaleb(usd.adjusted() - 2), rounding=ROUND_HALF_UP, context=EXACT)
    whole, _, decimals = f"{shown:f}".partition(".")
    return f"${whole}.{decimals.rstrip('0').ljust(2, '0')}"
