"""Tasks that do nothing: what is left is the engine itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask

from benchmarks.promises import client_microseconds, pieces_per_second, wall_of_peer
from benchmarks.workloads.workload import Answer, Workload


def noop(number: int) -> int:
    """As little as a task can do."""
    return number


def one_graph(tool: Any, place: str, size: int) -> Callable[[], int]:
    """One graph: tasks that do nothing, and one that sums what they return."""
    total = dask.delayed(sum)([dask.delayed(noop)(number) for number in range(size)])
    return lambda: int(total.compute())


def many_collections(tool: Any, place: str, size: int) -> Callable[[], int]:
    """As many collections as tasks: Dask's own work on them, the same for all, is most of it."""
    tasks = [dask.delayed(noop)(number) for number in range(size)]
    return lambda: sum(dask.compute(*tasks))


def lithops_map(remote_map: Any, place: str, size: int) -> Callable[[], int]:
    """One activation for each, summed here."""
    return lambda: sum(remote_map(noop, list(range(size))))


def _answer(total: int) -> Answer:
    return [total]


_PROMISES = (pieces_per_second(20_000), client_microseconds(10), wall_of_peer(1 / 20))

NOOP = Workload(
    title="one graph of tasks that do nothing, summed",
    unit="tasks",
    size=2_000,
    engines=("cloudoffload", "localcluster", "processes", "threads", "bare"),
    solutions={"dask": one_graph},
    answer=_answer,
    repetitions=5,
    result_bytes=lambda size: 8,
    promises=_PROMISES,
)

NOOP_FEW = Workload(
    title="the same with few tasks, since Lithops starts a process for each",
    unit="tasks",
    size=100,
    engines=("cloudoffload", "localcluster", "lithops", "threads", "bare"),
    solutions={"dask": one_graph, "lithops": lithops_map},
    answer=_answer,
    repetitions=3,
    result_bytes=lambda size: 8,
)

NOOP_MANY = Workload(
    title="the same with ten times as many tasks",
    unit="tasks",
    size=20_000,
    engines=("cloudoffload", "localcluster", "processes", "threads", "bare"),
    solutions={"dask": one_graph},
    answer=_answer,
    result_bytes=lambda size: 8,
    promises=_PROMISES,
)

NOOP_COLLECTIONS = Workload(
    title="as many collections as tasks that do nothing",
    unit="tasks",
    size=2_000,
    engines=("cloudoffload", "localcluster", "threads", "bare"),
    solutions={"dask": many_collections},
    answer=_answer,
    repetitions=5,
    result_bytes=lambda size: 8 * size,
)
