"""What a computation will take, before anything is spent: a low and a high figure, and what lies between."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from cloudoffload.ledger.money import total
from cloudoffload.ledger.pricing import charge
from cloudoffload.types import Estimate, RateCard, Resources

# What is assumed of work that has never run. These are priors, not measurements: the low one is a trivial unit on warm
# functions beside their store, the high one a cold start and plain Python over its input.
PRIOR_LOW_SECONDS = 0.005
PRIOR_LOW_BYTES_PER_SECOND = 500e6
PRIOR_HIGH_SECONDS = 2.0
PRIOR_HIGH_BYTES_PER_SECOND = 20e6

MARGIN = 2.0
"""How much longer than the longest unit seen so far the high figure allows."""

TRIES = 2
"""The high figure pays for each call once more: one retry."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Seconds of one unit, from units of that prefix that ran on that provider."""

    mean: float
    longest: float


@dataclass(frozen=True, slots=True)
class Work:
    """Units with the same prefix, bound for the same provider."""

    prefix: str  # such as "read-parquet"
    card: RateCard
    memory_mb: int  # of the function
    units: int
    inputs: int = 0  # inputs of all units together
    input_bytes: int = 0  # of all units together
    client_bytes: int = 0  # what this machine will download of their results; 0 when unknown
    learned: Learned | None = None
    units_per_call: int = 1  # how many share an invocation at best


def estimate(work: Iterable[Work]) -> Estimate:
    """Dollars, seconds, bytes and calls of a computation.

    Parameters
    ----------
    work : iterable of Work
        All units, grouped.

    Returns
    -------
    Estimate
        ``usd_low`` is learned mean times, or the optimistic prior, in full batches, with small values that travel
        inside answers. ``usd_high`` is twice the longest time learned, or the pessimistic prior, each unit in a call of
        its own that is retried once, with one write per unit and one read per input. ``seconds`` is wall time midway
        between them: groups one after the other, units of a group side by side up to the card's concurrency.
        ``calls`` is that of the low figure. All at list prices, before free tiers.
    """
    work = tuple(work)
    by_provider: dict[str, int] = {}
    for group in work:
        by_provider[group.card.provider] = by_provider.get(group.card.provider, 0) + group.units
    return Estimate(
        usd_low=total(amount for group in work for amount in charge(group.card, _at_best(group)).values()),
        usd_high=total(amount for group in work for amount in charge(group.card, _at_worst(group)).values()),
        seconds=sum(map(_wall_seconds, work)),
        bytes_in=sum(group.input_bytes for group in work),
        bytes_out=sum(group.client_bytes for group in work),
        calls=sum(map(_calls, work)),
        units=sum(group.units for group in work),
        by_provider=by_provider,
    )


def unit_seconds(group: Work) -> tuple[float, float]:
    """Low and high seconds of one unit of a group."""
    if group.learned is not None:
        return group.learned.mean, MARGIN * group.learned.longest
    each = group.input_bytes / max(group.units, 1)
    return (
        PRIOR_LOW_SECONDS + each / PRIOR_LOW_BYTES_PER_SECOND,
        PRIOR_HIGH_SECONDS + each / PRIOR_HIGH_BYTES_PER_SECOND,
    )


def _calls(group: Work) -> int:
    return math.ceil(group.units / group.units_per_call)


def _at_best(group: Work) -> Resources:
    return Resources(
        seconds=unit_seconds(group)[0] * group.units,
        memory_mb=group.memory_mb,
        requests=_calls(group),
        bytes_in=group.input_bytes,
        bytes_out={"client": group.client_bytes},
    )


def _at_worst(group: Work) -> Resources:
    return Resources(
        seconds=unit_seconds(group)[1] * group.units * TRIES,
        memory_mb=group.memory_mb,
        requests=group.units * TRIES,
        store_operations={"write": group.units * TRIES, "read": group.inputs * TRIES},
        bytes_in=group.input_bytes * TRIES,
        # The client downloads what was committed, once, whatever was retried.
        bytes_out={"client": group.client_bytes},
    )


def _wall_seconds(group: Work) -> float:
    low, high = unit_seconds(group)
    rounds = math.ceil(group.units / max(group.card.concurrency, 1))
    return (low + high) / 2 * rounds
