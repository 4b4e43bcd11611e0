"""Units that were lost or refused, and wait for their next try."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence

from cloudoffload.engine import retries
from cloudoffload.errors import Throttled, TimedOut, WorkerLost
from cloudoffload.types import Unit


class Tries:
    """The tries of one computation's units.

    Parameters
    ----------
    most : int
        Further tries of a unit that does not state a number of its own.

    Attributes
    ----------
    retried : int
        How often a unit was put aside for another try.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._losses: dict[int, int] = {}
        self._refusals: dict[int, int] = {}
        self._timeouts: dict[int, int] = {}
        self._later: list[tuple[float, int, bool]] = []  # (when, unit, alone)
        self.retried = 0

    def refused(self, numbers: Sequence[int], error: BaseException, now: float) -> bool:
        """Put units aside whose call was refused before any ran; False when that happened too often."""
        tries = 1 + max(self._refusals.get(number, 0) for number in numbers)
        if tries > retries.MAX_REFUSALS:
            return False
        self._refusals.update(dict.fromkeys(numbers, tries))
        # Throttled units come back together, so that they can share a call again; those too big together go alone.
        together = isinstance(error, Throttled)
        until = now + (retries.backoff(tries, numbers[0]) if together else 0.0)
        for number in numbers:
            self._put_aside(until, number, alone=not together)
        return True

    def again(self, unit: Unit, error: BaseException, now: float) -> bool:
        """Put a lost unit aside for its next try; False when it has none left."""
        number, stated = unit.number, unit.requirements.retries
        tries = self._losses[number] = self._losses.get(number, 0) + 1
        if not retries.may_retry(error) or tries > (self._most if stated is None else stated):
            return False
        if isinstance(error, TimedOut):
            self._timeouts[number] = self._timeouts.get(number, 0) + 1
        self._put_aside(now + retries.backoff(tries, number), number, alone=True)
        return True

    def given_up(self, unit: Unit, error: BaseException) -> BaseException:
        """Why a unit that has no further try gave no value."""
        tries = self._losses[unit.number]
        if not retries.may_retry(error):
            return error
        times = "once" if tries == 1 else f"{tries} times"
        lost = WorkerLost(
            f"task {unit.prefix!r} was tried {times} and gave no value; the last time: {error}{retries.advice(error)}"
        )
        lost.__cause__ = error
        return lost

    def timeouts(self, numbers: Sequence[int]) -> int:
        """How often the deadline passed of the one of these units that took the longest."""
        return max(self._timeouts.get(number, 0) for number in numbers)

    def due(self, now: float) -> Iterator[tuple[int, bool]]:
        """Units whose next try has come, each with whether it goes in a call of its own; they no longer wait here."""
        while self._later and self._later[0][0] <= now:
            _, number, alone = heapq.heappop(self._later)
            yield number, alone

    @property
    def next(self) -> float | None:
        """When the next unit is due; None when none waits."""
        return self._later[0][0] if self._later else None

    def _put_aside(self, until: float, number: int, *, alone: bool) -> None:
        self.retried += 1
        heapq.heappush(self._later, (until, number, alone))
