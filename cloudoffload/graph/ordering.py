"""In which order units had better run, so that values are needed no longer than they must be."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from dask._task_spec import Task, TaskRef
from dask.order import order


def places(needs: Sequence[Collection[int]], gates: Collection[int] = frozenset()) -> Sequence[int]:
    """Each unit's place, from 0.

    Parameters
    ----------
    needs : sequence of collections of int
        For each unit the numbers of the units whose values it reads. They must be acyclic.
    gates : collection of int
        Units with many inputs and many readers: the barriers of shuffles. What lies before one is all run before
        anything that lies behind it.
    """
    if not any(needs):
        return range(len(needs))
    if gates:
        return _between_gates(needs, frozenset(gates))
    reader = _only_readers(needs)
    if reader is not None:
        return _in_forest(needs, reader)
    # Dask orders graphs of tasks; these stand in for the units and are never run.
    found = order({i: Task(i, places, *map(TaskRef, need)) for i, need in enumerate(needs)})
    return [found[i] for i in range(len(needs))]


def _only_readers(needs: Sequence[Collection[int]]) -> list[int] | None:
    """The one unit that reads each unit's value, -1 for none; None when some value has several readers."""
    reader = [-1] * len(needs)
    for number, need in enumerate(needs):
        for source in need:
            if reader[source] >= 0:
                return None
            reader[source] = number
    return reader


def _in_forest(needs: Sequence[Collection[int]], reader: Sequence[int]) -> list[int]:
    """Places in a graph of trees: one tree after the other, in each the heaviest branch first.

    What a finished branch leaves is a single value that waits, so the branch that needs most room should meet the
    fewest of them (R. Sethi and J. D. Ullman, "The generation of optimal code for arithmetic expressions", 1970). That
    takes linear time, where Dask's general answer takes several passes over the graph.
    """
    weight = _weights(needs, reader)
    place, count = [-1] * len(needs), 0
    for root, above in enumerate(reader):
        if above >= 0:
            continue
        stack = [root]
        while stack:
            number = stack[-1]
            need = needs[number]
            if need and place[number] == -1:
                place[number] = -2  # its branches are on the stack above it
                # The last one pushed is the first one run.
                stack += sorted(need, key=lambda source: (weight[source], -source))
                continue
            place[number] = count
            count += 1
            stack.pop()
    return place


def _weights(needs: Sequence[Collection[int]], reader: Sequence[int]) -> list[int]:
    """How many units each unit's tree has."""
    weight, left = [1] * len(needs), [len(need) for need in needs]
    done = [number for number, need in enumerate(needs) if not need]
    for number in done:  # grows while it is walked
        above = reader[number]
        if above >= 0:
            weight[above] += weight[number]
            left[above] -= 1
            if not left[above]:
                done.append(above)
    return weight


def _between_gates(needs: Sequence[Collection[int]], gates: frozenset[int]) -> list[int]:
    """Places where every input of a gate must wait for all: the order only matters among units between two gates.

    It also keeps Dask's answer, which takes time in proportion to inputs times readers of a gate, out of this.
    """
    stage = _stages(needs, gates)
    within = places([[source for source in need if source not in gates] for need in needs])
    place = [0] * len(needs)
    for count, number in enumerate(sorted(range(len(needs)), key=lambda number: (stage[number], within[number]))):
        place[number] = count
    return place


def _stages(needs: Sequence[Collection[int]], gates: frozenset[int]) -> list[int]:
    """How many gates must have been passed before each unit runs, as late as its readers allow."""
    readers: list[list[int]] = [[] for _ in needs]
    for number, need in enumerate(needs):
        for source in need:
            readers[source].append(number)
    stage, left = [0] * len(needs), [len(need) for need in needs]
    done = [number for number, need in enumerate(needs) if not need]
    for number in done:  # grows while it is walked
        for reader in readers[number]:
            stage[reader] = max(stage[reader], stage[number] + (number in gates))
            left[reader] -= 1
            if not left[reader]:
                done.append(reader)
    for number in reversed(done):
        if readers[number]:
            stage[number] = min(stage[reader] for reader in readers[number]) - (number in gates)
    return stage
