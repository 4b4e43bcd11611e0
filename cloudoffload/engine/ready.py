"""Units that may run now, like with like, in Dask's order."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Sequence

from cloudoffload.types import Unit


class Kind:
    """Ready units that may share a call."""

    __slots__ = ("_heap", "alone", "prefix")

    def __init__(self, prefix: str, *, alone: bool) -> None:
        self.prefix = prefix
        self.alone = alone  # each goes in a call of its own: a lost one may have been the killer of the others
        self._heap: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def head(self) -> int:
        """Number of the first unit."""
        return self._heap[0][1]

    @property
    def priority(self) -> int:
        """Place of the first unit in Dask's order."""
        return self._heap[0][0]

    def push(self, priority: int, number: int) -> None:
        """Add a unit."""
        heapq.heappush(self._heap, (priority, number))

    def pop(self, count: int) -> list[int]:
        """Take the first units."""
        heap = self._heap
        if count >= len(heap):
            taken = [number for _, number in sorted(heap)]
            heap.clear()
            return taken
        return [heapq.heappop(heap)[1] for _ in range(count)]

    def keep(self, wanted: Callable[[int], bool]) -> None:
        """Forget all other units."""
        self._heap = [item for item in self._heap if wanted(item[1])]
        heapq.heapify(self._heap)


class ReadyUnits:
    """All units that may run now.

    Parameters
    ----------
    units : sequence of Unit
        The plan's, by number.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = units
        self._kinds: dict[tuple[str, int, str, bool], Kind] = {}

    def add(self, number: int, *, alone: bool = False) -> None:
        """A unit may run, ``alone`` in a call of its own."""
        unit = self._units[number]
        # Requirements are shared objects: their identity tells kinds apart at no cost.
        key = (unit.prefix, id(unit.requirements), unit.here_because, alone)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = Kind(unit.prefix, alone=alone)
        kind.push(unit.priority, number)

    def keep(self, wanted: Callable[[int], bool]) -> None:
        """Forget all other units."""
        for kind in self._kinds.values():
            kind.keep(wanted)

    def by_priority(self) -> Iterator[Kind]:
        """Kinds that have units, the one with the earliest unit first."""
        return iter(sorted(filter(None, self._kinds.values()), key=lambda kind: kind.priority))
