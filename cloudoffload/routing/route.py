"""The choice of a provider for one unit. Pure: the same arguments always give the same decision.

So far the choice follows rules in a fixed order and quotes carry no score: their ``parts`` are empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from cloudoffload.errors import LocalPathError, PlanError
from cloudoffload.routing.requirements import check, check_preference, matches
from cloudoffload.types import Quote, RateCard, Requirements

LOCAL = "local"
"""The provider that is this machine."""

TINY_SECONDS = 0.05
"""A unit below this is over sooner than a cloud's answer is back."""

UNKNOWN_SECONDS = 1.0
"""What a unit is quoted at that has not run anywhere yet, seconds: the same everywhere, so that prices compare."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider as one unit sees it."""

    name: str  # such as "aws:eu-west-1"
    card: RateCard
    runs: frozenset[str]  # runtimes: "python", "edge", "gpu"
    memory_mb: int  # of its function, or of a worker on this machine
    seconds: float | None = None  # of one such unit, as learned there; None when none has run
    latency: float = 0.0  # seconds from sending a call to its first unit's start


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a unit goes, why, and what the others would have taken or why they could not."""

    provider: str
    reason: str
    quotes: tuple[Quote, ...]  # one per candidate, in their order


def route(
    requirements: Requirements,
    here_because: str,
    candidates: Sequence[Candidate],
    prefer: str = "balanced",
    *,
    runtime: str = "python",
) -> Decision:
    """Choose a provider for one unit.

    Parameters
    ----------
    requirements : Requirements
        What the unit asks for.
    here_because : str
        Why it must run on this machine, as a clause such as ``"it reads /home/me/data.csv"``; ``""`` when it need not.
    candidates : sequence of Candidate
        The session's providers, in its order of preference.
    prefer : str
        The session's preference. ``"cost"`` takes the cheapest cloud, any other the first one;
        ``requirements.cost="minimize"`` means the same for this unit, and its other values the first one.
    runtime : str
        Which runtime the unit needs; ``requirements.gpu`` asks for ``"gpu"`` besides.

    Raises
    ------
    LocalPathError
        It must run on this machine, which is not among the candidates or is not where it asks to run.
    PlanError
        Every candidate is ruled out; the message says why, each by each.
    SettingsError
        ``requirements`` or ``prefer`` has a bad value.
    """
    check(requirements)
    check_preference(prefer)
    quotes = tuple(
        _quote(candidate, _refusal(candidate, requirements, here_because, runtime)) for candidate in candidates
    )
    possible = [(candidate, quote) for candidate, quote in zip(candidates, quotes, strict=True) if not quote.refusal]
    if not possible:
        raise _impossible(requirements, here_because, quotes)
    chosen, reason = _choose(requirements, here_because, possible, prefer)
    return Decision(chosen, reason, quotes)


def _choose(
    requirements: Requirements, here_because: str, possible: list[tuple[Candidate, Quote]], prefer: str
) -> tuple[str, str]:
    """Name and reason; nothing in `possible` is ruled out."""
    clouds = [(candidate, quote) for candidate, quote in possible if not matches(LOCAL, candidate.name)]
    if here_because:
        return possible[0][0].name, f"it must run on this machine because {here_because}"
    cheapest = requirements.cost == "minimize" or (requirements.cost is None and prefer == "cost")
    if requirements.provider is not None:
        return _first(possible, cheapest)[0], f"the unit asks for provider {requirements.provider!r}"
    here = [candidate for candidate, _ in possible if matches(LOCAL, candidate.name)]
    seconds = _learned(here, possible)
    if here and seconds is not None and seconds < TINY_SECONDS:
        return here[0].name, f"a unit takes {seconds * 1000:.1f} ms, less than sending it to a cloud would"
    if not clouds:
        return here[0].name, "no cloud is left that could run it"
    return _first(clouds, cheapest)


def _first(possible: list[tuple[Candidate, Quote]], cheapest: bool) -> tuple[str, str]:
    if cheapest:
        # min() keeps the session's order among equal prices.
        candidate, _ = min(possible, key=lambda pair: pair[1].usd)
        return candidate.name, f"it is the cheapest of {len(possible)} that can run it"
    return possible[0][0].name, "it is the first of the session's clouds that can run it"


def _learned(here: list[Candidate], possible: list[tuple[Candidate, Quote]]) -> float | None:
    """Seconds of such a unit on this machine, or the shortest time learned elsewhere when none has run here."""
    if here and here[0].seconds is not None:
        return here[0].seconds
    return min((candidate.seconds for candidate, _ in possible if candidate.seconds is not None), default=None)


def _quote(candidate: Candidate, refusal: str) -> Quote:
    seconds = UNKNOWN_SECONDS if candidate.seconds is None else candidate.seconds
    return Quote(
        provider=candidate.name,
        usd=_unit_usd(candidate, seconds),
        seconds=candidate.latency + seconds,
        score=0.0,
        refusal=refusal,
    )


def _unit_usd(candidate: Candidate, seconds: float) -> Decimal:
    """Price of one unit in a call of its own, to compare providers by; what is billed is the ledger's to say."""
    prices = candidate.card.prices
    compute, request = prices["gb_second"], prices["request"]
    gb_seconds = Decimal(str(seconds)) * candidate.memory_mb / 1024
    return gb_seconds * compute.rate / compute.per + request.rate / request.per


def _refusal(candidate: Candidate, requirements: Requirements, here_because: str, runtime: str) -> str:
    """Why a hard limit rules the candidate out, as a sentence; "" when none does."""
    card = candidate.card
    if requirements.provider is not None and not matches(requirements.provider, candidate.name):
        return f"the unit asks for provider {requirements.provider!r}"
    if here_because and not matches(LOCAL, candidate.name):
        return f"the unit must run on this machine because {here_because}"
    needed = {runtime, "gpu"} if requirements.gpu else {runtime}
    if missing := needed - candidate.runs:
        return f"it does not run {' or '.join(sorted(missing))}"
    if requirements.region is not None and candidate.name.partition(":")[2] != requirements.region:
        return f"it is not known to lie in region {requirements.region!r}"
    if requirements.memory_mb is not None and requirements.memory_mb > candidate.memory_mb:
        return f"the unit needs {requirements.memory_mb} MB and it offers {candidate.memory_mb} MB"
    seconds = max(requirements.seconds or 0.0, candidate.seconds or 0.0)
    if seconds > card.max_seconds:
        return f"the unit takes {seconds:g} s and a call may run {card.max_seconds:g} s at most"
    return ""


def _impossible(requirements: Requirements, here_because: str, quotes: tuple[Quote, ...]) -> PlanError:
    names = [quote.provider for quote in quotes]
    if here_because and not any(matches(LOCAL, name) for name in names):
        return LocalPathError(
            f"a unit must run on this machine because {here_because}, and this machine is not among the session's "
            f'providers ({", ".join(names) or "none"}): add "local" to them, or use files in object storage'
        )
    if requirements.provider is not None and not any(matches(requirements.provider, name) for name in names):
        return PlanError(
            f"a unit asks for provider {requirements.provider!r}, and the session has {', '.join(names) or 'none'}: "
            f"add it to the session's providers, or ask for one of these"
        )
    refusals = "; ".join(f"{quote.provider}: {quote.refusal}" for quote in quotes) or "the session has no providers"
    error = LocalPathError if here_because else PlanError
    return error(f"no provider can run a unit ({refusals}): relax its Requirements, or add a provider that fits")
