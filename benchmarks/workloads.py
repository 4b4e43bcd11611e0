"""What is computed: stock Dask, the same for every engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask

from benchmarks.data import merge_tables

Answer = list[float]
"""Numbers that all engines must agree on, exactly."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to measure."""

    title: str
    unit: str  # what `size` counts
    size: int
    engines: tuple[str, ...]
    build: Callable[[str, int], Any]  # (where the files lie, size) -> Dask collections; not timed
    run: Callable[[Any], Answer]  # collections -> answer; timed
    prepare: Callable[[int], Path] = lambda size: Path()  # size -> folder of files, when there are any
    baseline: str = "localcluster"  # ratios are against this engine
    repetitions: int = 1  # timed runs in each process, after one that warms it up
    result_bytes: Callable[[int], int] = lambda size: 0  # what the client asked for, by size
    speedup: float | None = None  # promised: so many times as fast as the baseline
    client_limit: int | None = None  # promised: fewer bytes through the client beyond the results


def noop(number: int) -> int:
    """As little as a task can do."""
    return number


def build_noop(place: str, size: int) -> Any:
    """One graph: tasks that do nothing, and one that sums what they return."""
    return dask.delayed(sum)([dask.delayed(noop)(number) for number in range(size)])


def run_noop(total: Any) -> Answer:
    """Compute the graph."""
    return [total.compute()]


def build_noop_collections(place: str, size: int) -> Any:
    """As many collections as tasks: Dask's own work on them, the same for all, is most of it."""
    return [dask.delayed(noop)(number) for number in range(size)]


def run_noop_collections(tasks: Any) -> Answer:
    """Compute all in one call, and sum."""
    return [sum(dask.compute(*tasks))]


def build_merge(place: str, size: int) -> Any:
    """Join two tables that are spread at random over their files: every row crosses a shuffle."""
    import dask.dataframe as dd

    left, right = (dd.read_parquet(f"{place}/{side}", filesystem="arrow") for side in ("left", "right"))
    joined = left.merge(right, on="k")
    return joined.k.count(), (joined.x * joined.y).sum()


def run_merge(collections: Any) -> Answer:
    """Rows, and the sum of the products."""
    # One partition for each file: Dask would put small files together, and shuffle less.
    with dask.config.set({"dataframe.parquet.minimum-partition-size": 1}):
        rows, total = dask.compute(*collections)
    return [int(rows), float(total)]


WORKLOADS: Mapping[str, Workload] = {
    "noop": Workload(
        title="one graph of tasks that do nothing, summed",
        unit="tasks",
        size=2000,
        engines=("cloudoffload", "localcluster", "threads", "bare"),
        build=build_noop,
        run=run_noop,
        repetitions=5,
        result_bytes=lambda size: 8,
        speedup=20.0,
    ),
    "noop-collections": Workload(
        title="as many collections as tasks that do nothing",
        unit="tasks",
        size=2000,
        engines=("cloudoffload", "localcluster", "threads", "bare"),
        build=build_noop_collections,
        run=run_noop_collections,
        repetitions=5,
        result_bytes=lambda size: 8 * size,
    ),
    "merge": Workload(
        title="a join of two tables from Parquet files, counted and summed",
        unit="rows in each table",
        size=5_000_000,
        engines=("cloudoffload", "localcluster", "localcluster-tasks", "threads"),
        build=build_merge,
        run=run_merge,
        prepare=merge_tables,
        result_bytes=lambda size: 16,
        client_limit=100_000,
    ),
    "aws-merge": Workload(
        title="the same join in an emulated AWS, from objects in S3",
        unit="rows in each table",
        size=500_000,
        engines=("cloudoffload-aws", "localcluster"),
        build=build_merge,
        run=run_merge,
        prepare=merge_tables,
        result_bytes=lambda size: 16,
        client_limit=100_000,
    ),
}
