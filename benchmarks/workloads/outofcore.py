"""A reduction in two passes over data that are several times larger than what the workers may hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask

from benchmarks.data import long_column, long_column_files
from benchmarks.workloads.merge import ONE_PARTITION_A_FILE
from benchmarks.workloads.workload import Answer, Workload

WORKER_MEMORY = 400 << 20
"""Most that each worker may hold, bytes: two workers hold a third of the data, of which Python and pandas take half."""


def with_dask(tool: Any, place: str, size: int) -> Callable[[], Answer]:
    """Stock Dask: what lies above the mean, and how far from it the farthest is."""
    import dask.dataframe as dd

    x = dd.read_parquet(place, filesystem="arrow").x
    mean = x.mean()
    collections = (x > mean).sum(), (x - mean).abs().max()

    def compute() -> Answer:
        with dask.config.set(ONE_PARTITION_A_FILE):
            above, farthest = dask.compute(*collections)
        return [int(above), float(farthest)]

    return compute


def with_pandas(pd: Any, place: str, size: int) -> Callable[[], Answer]:
    """File by file, twice."""
    files = sorted(Path(place).iterdir())

    def compute() -> Answer:
        sums = [(x.sum(), len(x)) for x in (pd.read_parquet(file).x for file in files)]
        mean = sum(total for total, _ in sums) / sum(count for _, count in sums)
        parts = [((x > mean).sum(), (x - mean).abs().max()) for x in (pd.read_parquet(file).x for file in files)]
        return [int(sum(above for above, _ in parts)), float(max(farthest for _, farthest in parts))]

    return compute


def with_polars(pl: Any, place: str, size: int) -> Callable[[], Answer]:
    """Two streaming queries."""

    def compute() -> Answer:
        table = pl.scan_parquet(f"{place}/*.parquet")
        mean = table.select(pl.col("x").mean()).collect(engine="streaming").item()
        x = pl.col("x")
        found = table.select(above=(x > mean).sum(), farthest=(x - mean).abs().max()).collect(engine="streaming")
        return list(found.row(0))

    return compute


def with_duckdb(connection: Any, place: str, size: int) -> Callable[[], Answer]:
    """Two queries."""
    table = f"'{place}/*.parquet'"

    def compute() -> Answer:
        (mean,) = connection.execute(f"select avg(x) from {table}").fetchone()
        query = f"select count(*) filter (x > $mean), max(abs(x - $mean)) from {table}"
        return list(connection.execute(query, {"mean": mean}).fetchone())

    return compute


OUT_OF_CORE = Workload(
    title=f"a reduction in two passes over 8 bytes a row; each worker may hold {WORKER_MEMORY >> 20} MB",
    unit="rows",
    size=312_500_000,
    engines=("cloudoffload", "localcluster", "threads", "pandas", "polars", "duckdb"),
    solutions={"dask": with_dask, "pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb},
    prepare=long_column,
    pieces=long_column_files,
    worker_memory=WORKER_MEMORY,
)
