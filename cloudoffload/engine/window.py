"""Which units of a stream may run: what its reader is far from is not begun."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

from cloudoffload.types import Plan, Ref


class Window:
    """The results within reach of a reader who takes them one after the other.

    A unit belongs to the first result that needs it, and so do the units that it needs itself: none of them runs before
    that result is within reach.

    Parameters
    ----------
    plan : Plan
        Whose results are read in their order.
    ahead : int
        How many results may be worked on, or wait, that the reader has not taken.

    Attributes
    ----------
    error : BaseException or None
        Why the results end early. Those before the failed one are still made.
    """

    def __init__(self, plan: Plan, ahead: int) -> None:
        self.error: BaseException | None = None
        self._first = _first_results(plan)
        self._within = ahead  # number of results within reach, from the first one on
        self._last: float = math.inf  # number of results that can be made
        self._held: list[tuple[float, int]] = []

    def admits(self, number: int) -> bool:
        """Whether a unit may run now; one that may not is kept until it may."""
        if self._first[number] < min(self._within, self._last):
            return True
        heapq.heappush(self._held, (self._first[number], number))
        return False

    def taken(self, results: int) -> list[int]:
        """The reader has taken further results; returns the units that may run now."""
        self._within += results
        admitted = []
        while self._held and self._held[0][0] < min(self._within, self._last):
            admitted.append(heapq.heappop(self._held)[1])
        return admitted

    def fail(self, number: int, error: BaseException) -> None:
        """A unit has no value: the results end before the first one that needs it."""
        if self._first[number] < self._last:
            self._last = self._first[number]
            self.error = error

    def needs(self, number: int) -> bool:
        """Whether a result that can be made needs a unit."""
        return self._first[number] < self._last

    def missing(self, refs: Sequence[Ref | None]) -> int:
        """How many units that are needed have no value yet, by unit in ``refs``."""
        return sum(refs[number] is None and self.needs(number) for number in range(len(self._first)))


def _first_results(plan: Plan) -> list[float]:
    """For each unit the place of the first result that needs it."""
    total = len(plan.units)
    first: list[float] = [math.inf] * total
    for place, edge in enumerate(plan.results):
        stack = [edge.source]
        while stack:
            number = stack.pop()
            if number < total and first[number] == math.inf:
                first[number] = place
                stack += [source.source for source in plan.units[number].inputs]
    return first
