"""What is computed: stock Dask, the same for every engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

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
    run: Callable[[str, int], Answer]  # (where the files lie, size) -> answer
    prepare: Callable[[int], Path] = lambda size: Path()  # size -> folder of files, when there are any
    baseline: str = "localcluster"  # ratios are against this engine
    repetitions: int = 1  # timed runs in each process, after one that warms it up
    result_bytes: Callable[[int], int] = lambda size: 0  # what the client asked for, by size
    speedup: float | None = None  # promised: so many times as fast as the baseline
    client_limit: int | None = None  # promised: fewer bytes through the client beyond the results


def noop(number: int) -> int:
    """As little as a task can do."""
    return number


def run_noop(place: str, size: int) -> Answer:
    """Tasks that do nothing, and the sum of what they return."""
    return [sum(dask.compute(*[dask.delayed(noop)(number) for number in range(size)]))]


def run_merge(place: str, size: int) -> Answer:
    """Join two tables that are spread at random over their files: every row crosses a shuffle."""
    import dask.dataframe as dd

    # One partition for each file: Dask would put small files together, and shuffle less.
    with dask.config.set({"dataframe.parquet.minimum-partition-size": 1}):
        left, right = (dd.read_parquet(f"{place}/{side}", filesystem="arrow") for side in ("left", "right"))
        joined = left.merge(right, on="k")
        rows, total = dask.compute(joined.k.count(), (joined.x * joined.y).sum())
    return [int(rows), float(total)]


WORKLOADS: Mapping[str, Workload] = {
    "noop": Workload(
        title="tasks that do nothing, summed",
        unit="tasks",
        size=2000,
        engines=("cloudoffload", "localcluster", "threads", "bare"),
        run=run_noop,
        repetitions=5,
        result_bytes=lambda size: 8 * size,
        speedup=20.0,
    ),
    "merge": Workload(
        title="a join of two tables from Parquet files, counted and summed",
        unit="rows in each table",
        size=5_000_000,
        engines=("cloudoffload", "localcluster", "localcluster-tasks", "threads"),
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
        run=run_merge,
        prepare=merge_tables,
        result_bytes=lambda size: 16,
        client_limit=100_000,
    ),
}
