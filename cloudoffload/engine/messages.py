"""What the loop is told, and what it wants done: plain records, so that the loop can be tested without any cloud."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from cloudoffload.types import Assignment, Failure, Outcome, RateCard, Ref


@dataclass(frozen=True, slots=True)
class Lane:
    """A provider as the loop sees it."""

    name: str
    card: RateCard
    runs: frozenset[str]
    memory_mb: int
    slots: int  # calls at once
    batch: int  # most units in a call
    target_seconds: float  # aimed length of a call
    latency: float  # seconds from sending a call to the start of its first unit
    ahead: int = 0  # calls beyond its slots that may wait at the provider: one begins as soon as another ends

    @property
    def is_free(self) -> bool:
        """Whether nothing here costs money."""
        return all(price.rate == 0 for price in self.card.prices.values())


@dataclass(frozen=True, slots=True)
class Draft:
    """A call before it is signed."""

    number: int  # in its computation, from 1
    provider: str
    units: tuple[Assignment, ...]
    seconds: float
    memory_mb: int
    reads: int = 0  # most that its units may read from the store


# Events


@dataclass(frozen=True, slots=True)
class Begun:
    """The plan's data is stored; units may go."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A call has an outcome."""

    call: int
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Lost:
    """A call has no outcome."""

    call: int
    error: BaseException


@dataclass(frozen=True, slots=True)
class Woken:
    """A moment that the loop asked to be woken at has come."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The reader of a stream has taken further results."""

    results: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The user wants no more."""

    error: BaseException


# Actions


@dataclass(frozen=True, slots=True)
class Send:
    """Send a call; its worst case is reserved."""

    draft: Draft


@dataclass(frozen=True, slots=True)
class Deliver:
    """A requested unit has its value, or fails."""

    number: int
    result: Ref | Failure | BaseException


@dataclass(frozen=True, slots=True)
class Free:
    """Nobody needs these objects any more."""

    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Wake:
    """Come back at this moment."""

    at: float


@dataclass(frozen=True, slots=True)
class Finish:
    """The computation is over; `error` says why when it failed."""

    error: BaseException | None = None


Event: TypeAlias = Begun | Answered | Lost | Woken | Taken | Stopped
Action: TypeAlias = Send | Deliver | Free | Wake | Finish
