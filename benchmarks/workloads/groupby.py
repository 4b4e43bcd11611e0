"""Three aggregations of one table, by few and by many groups, in one ``compute``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import dask
import numpy as np

from benchmarks.data import PARTITIONS, grouped_table
from benchmarks.promises import memory_of_peer, wall_of, wall_of_peer
from benchmarks.workloads.workload import Answer, Workload

Columns: TypeAlias = Sequence[Any]
"""Series, or what numpy can read as such."""

MANY = {"v1": "sum", "v2": "count", "v3": "mean"}
SUMS = ["v1", "v2", "v3"]


def with_dask(tool: Any, place: str, size: int) -> Callable[[], Columns]:
    """Stock Dask."""
    import dask.dataframe as dd

    frame = dd.read_parquet(place, filesystem="arrow")
    few, many, sums = frame.groupby("id1").v1.sum(), frame.groupby("id3").agg(MANY), frame.groupby("id6")[SUMS].sum()
    return lambda: _columns(*dask.compute(few, many, sums))


def with_pandas(pd: Any, place: str, size: int) -> Callable[[], Columns]:
    """The whole table in memory."""

    def compute() -> Columns:
        frame = pd.read_parquet(place)
        few, many = frame.groupby("id1").v1.sum(), frame.groupby("id3").agg(MANY)
        return _columns(few, many, frame.groupby("id6")[SUMS].sum())

    return compute


def with_polars(pl: Any, place: str, size: int) -> Callable[[], Columns]:
    """Three lazy queries, collected together."""

    def compute() -> Columns:
        frame = pl.scan_parquet(f"{place}/*.parquet")
        many = frame.group_by("id3").agg(pl.col("v1").sum(), pl.col("v2").count(), pl.col("v3").mean())
        sums = frame.group_by("id6").agg(pl.col(SUMS).sum())
        few, many, sums = pl.collect_all([frame.group_by("id1").agg(pl.col("v1").sum()), many, sums])
        return _columns(few["v1"], many, sums)

    return compute


def with_duckdb(connection: Any, place: str, size: int) -> Callable[[], Columns]:
    """Three queries, one after the other."""

    def table(query: str) -> Any:
        return connection.sql(query.format(place=f"'{place}/*.parquet'")).to_arrow_table()

    def compute() -> Columns:
        few = table("select id1, sum(v1)::bigint v1 from {place} group by id1")
        many = table("select id3, sum(v1)::bigint v1, count(v2) v2, avg(v3) v3 from {place} group by id3")
        sums = table("select id6, sum(v1)::bigint v1, sum(v2)::bigint v2, sum(v3) v3 from {place} group by id6")
        return _columns(few["v1"], many, sums)

    return compute


def _columns(few: Any, many: Any, sums: Any) -> Columns:
    return [few, *(many[name] for name in SUMS), *(sums[name] for name in SUMS)]


def _answer(columns: Columns) -> Answer:
    """Of each column how many groups, and their sum, which `fsum` makes exact in any order."""
    return [number for column in columns for number in (len(column), math.fsum(np.asarray(column).tolist()))]


GROUPBY = Workload(
    title="three aggregations of a table from Parquet files, by 100 and by size / 100 groups, in one compute",
    unit="rows",
    size=10_000_000,
    engines=(
        *("cloudoffload", "localcluster", "localcluster-tasks", "threads", "processes"),
        *("pandas", "polars", "duckdb"),
    ),
    solutions={"dask": with_dask, "pandas": with_pandas, "polars": with_polars, "duckdb": with_duckdb},
    answer=_answer,
    prepare=grouped_table,
    pieces=lambda size: PARTITIONS,
    promises=(wall_of_peer(0.6), wall_of("threads", 1.1), memory_of_peer(1.0)),
)
