"""A table brought into many partitions by its key, and each partition looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask

from benchmarks.data import PARTITIONS, shuffled_table
from benchmarks.promises import wall_of_peer
from benchmarks.workloads.merge import ONE_PARTITION_A_FILE
from benchmarks.workloads.workload import Answer, Workload

INTO = 200
"""Partitions after the shuffle."""


def look(frame: Any) -> Any:
    """One row about a partition: the sums over all partitions tell whether each key lies in one partition only."""
    import pandas as pd

    return pd.DataFrame({"rows": [len(frame)], "keys": [frame.k.nunique()], "k": [frame.k.sum()], "x": [frame.x.sum()]})


def with_dask(tool: Any, place: str, size: int) -> Callable[[], Answer]:
    """Stock Dask."""
    import dask.dataframe as dd

    shuffled = dd.read_parquet(place, filesystem="arrow").shuffle("k", npartitions=INTO)
    looks = shuffled.map_partitions(look, meta={"rows": "i8", "keys": "i8", "k": "i8", "x": "f8"})

    def compute() -> Answer:
        with dask.config.set(ONE_PARTITION_A_FILE):
            found = looks.compute()
        return [len(found), *found.sum().tolist()]

    return compute


def with_pandas(pd: Any, place: str, size: int) -> Callable[[], Answer]:
    """Sorted by the number of the partition, then cut."""

    def compute() -> Answer:
        frame = pd.read_parquet(place)
        parts = [look(part) for _, part in frame.groupby(frame.k % INTO)]
        return [len(parts), *pd.concat(parts).sum().tolist()]

    return compute


def with_polars(pl: Any, place: str, size: int) -> Callable[[], Answer]:
    """Cut by the number of the partition."""
    of_part = (pl.len().alias("rows"), pl.col("k").n_unique().alias("keys"), pl.col("k", "x").sum())

    def compute() -> Answer:
        frame = pl.scan_parquet(f"{place}/*.parquet").with_columns(part=pl.col("k") % INTO).collect()
        parts = [part.select(of_part) for part in frame.partition_by("part")]
        return [len(parts), *pl.concat(parts).sum().row(0)]

    return compute


def with_duckdb(connection: Any, place: str, size: int) -> Callable[[], Answer]:
    """A table in the order of its partitions, and one query over them."""
    parts = f"select k % {INTO} part, k, x from '{place}/*.parquet' order by part"
    look = "select count(*) r, count(distinct k) d, sum(k)::bigint k, sum(x) x from shuffled group by part"

    def compute() -> Answer:
        connection.execute(f"create or replace temp table shuffled as {parts}")
        return list(connection.execute(f"select count(*), sum(r), sum(d), sum(k), sum(x) from ({look})").fetchone())

    return compute


SHUFFLE = Workload(
    title=f"a table from Parquet files shuffled into {INTO} partitions by its key, each counted and summed",
    unit="rows",
    size=10_000_000,
    engines=(
        *("cloudoffload", "localcluster", "localcluster-tasks", "threads", "processes"),
        *("pandas", "polars", "duckdb"),
    ),
    solutions={"dask": with_dask, "pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb},
    prepare=shuffled_table,
    pieces=lambda size: PARTITIONS + INTO,
    promises=(wall_of_peer(0.5),),
)
