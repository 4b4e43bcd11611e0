"""A join of two tables that are spread at random over their files: every row crosses a shuffle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask

from benchmarks.data import PARTITIONS, merge_tables
from benchmarks.promises import memory_of_peer, wall_of_peer
from benchmarks.workloads.workload import Answer, Workload

ONE_PARTITION_A_FILE = {"dataframe.parquet.minimum-partition-size": 1}
"""Else Dask puts small files together, and shuffles less."""


def with_dask(tool: Any, place: str, size: int) -> Callable[[], Answer]:
    """Stock Dask."""
    import dask.dataframe as dd

    left, right = (dd.read_parquet(f"{place}/{side}", filesystem="arrow") for side in ("left", "right"))
    joined = left.merge(right, on="k")
    collections = joined.k.count(), (joined.x * joined.y).sum()

    def compute() -> Answer:
        with dask.config.set(ONE_PARTITION_A_FILE):
            rows, total = dask.compute(*collections)
        return [int(rows), float(total)]

    return compute


def with_pandas(pd: Any, place: str, size: int) -> Callable[[], Answer]:
    """Both tables in memory."""

    def compute() -> Answer:
        joined = pd.read_parquet(f"{place}/left").merge(pd.read_parquet(f"{place}/right"), on="k")
        return [len(joined), float((joined.x * joined.y).sum())]

    return compute


def with_polars(pl: Any, place: str, size: int) -> Callable[[], Answer]:
    """One lazy query."""

    def compute() -> Answer:
        left, right = (pl.scan_parquet(f"{place}/{side}/*.parquet") for side in ("left", "right"))
        joined = left.join(right, on="k").select(rows=pl.len(), total=(pl.col("x") * pl.col("y")).sum())
        ((rows, total),) = joined.collect().rows()
        return [rows, total]

    return compute


def with_duckdb(connection: Any, place: str, size: int) -> Callable[[], Answer]:
    """One query."""
    tables = f"'{place}/left/*.parquet' join '{place}/right/*.parquet' using (k)"
    return lambda: list(connection.execute(f"select count(*), sum(x * y) from {tables}").fetchone())


MERGE = Workload(
    title="a join of two tables from Parquet files, counted and summed",
    unit="rows in each table",
    size=5_000_000,
    engines=(
        *("cloudoffload", "localcluster", "localcluster-tasks", "threads", "processes"),
        *("pandas", "polars", "duckdb"),
    ),
    solutions={"dask": with_dask, "pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb},
    prepare=merge_tables,
    pieces=lambda size: 2 * PARTITIONS,
    result_bytes=lambda size: 16,
    promises=(wall_of_peer(0.45), memory_of_peer(1.0)),
    client_limit=100_000,
)

AWS_MERGE = Workload(
    title="the same join in an emulated AWS, from objects in S3",
    unit="rows in each table",
    size=500_000,
    engines=("cloudoffload-aws", "localcluster"),
    solutions={"dask": with_dask},
    prepare=merge_tables,
    pieces=lambda size: 2 * PARTITIONS,
    result_bytes=lambda size: 16,
    client_limit=100_000,
)
