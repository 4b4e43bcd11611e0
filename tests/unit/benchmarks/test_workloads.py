"""Promises of the workloads themselves, at small sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import pytest

from benchmarks.data import PARTITIONS, grouped_table, long_column, merge_tables, shuffled_table
from benchmarks.engines import ENGINES
from benchmarks.harness import Trial, run_once, trial
from benchmarks.workloads import WORKLOADS, merge, shuffle
from benchmarks.workloads.workload import Answer

BY_HAND = ("pandas", "polars", "duckdb")

TABLES: dict[str, Callable[..., Path]] = {
    "groupby": grouped_table,
    "merge": merge_tables,
    "shuffle": shuffled_table,
    "out-of-core": long_column,
}


def test_every_engine_of_a_workload_exists() -> None:
    """Names are not checked before an engine is started."""
    for workload in WORKLOADS.values():
        assert set(workload.engines) <= set(ENGINES)
        assert not workload.peers or set(workload.peers) & set(workload.engines)


def answer(workload: str, speaks: str, tool: Any, place: Path, size: int) -> Answer:
    """What one solution comes to."""
    chosen = WORKLOADS[workload]
    return chosen.answer(chosen.solutions[speaks](tool, str(place), size)())


@pytest.mark.parametrize("engine", BY_HAND)
@pytest.mark.parametrize("workload", TABLES)
def test_the_same_by_hand_gives_the_same_answer(workload: str, engine: str, tmp_path: Path) -> None:
    """Tools that don't speak Dask do the same work, to the last bit."""
    rows = 3_000
    place = TABLES[workload](rows, root=tmp_path)
    assert engine in WORKLOADS[workload].engines
    with dask.config.set(scheduler="threads"):
        expected = answer(workload, "dask", None, place, rows)
    with ENGINES[engine](None) as opened:
        assert answer(workload, engine, opened.tool, place, rows) == expected


def test_groups_are_those_of_the_table(tmp_path: Path) -> None:
    """Both keys with many groups have one in a hundred rows; the sums are the table's."""
    place = grouped_table(3_000, root=tmp_path)
    table = pd.read_parquet(place)
    with dask.config.set(scheduler="threads"):
        found = answer("groupby", "dask", None, place, 3_000)
    assert found[0::2] == [100, 30, 30, 30, 30, 30, 30]
    assert found[1::2] == [
        table.v1.sum(),
        *(table.v1.sum(), 3_000, pytest.approx(table.groupby("id3").v3.mean().sum())),
        *(table.v1.sum(), table.v2.sum(), table.v3.sum()),
    ]


def test_the_join_reads_each_file_as_one_partition(tmp_path: Path) -> None:
    """Ten files on each side are ten tasks that read, whatever their size: Dask does not put small files together."""
    folder = merge_tables(1000, root=tmp_path)
    reads: list[str] = []

    def get(graph: object, keys: object, **options: object) -> object:
        tasks = graph.__dask_graph__()  # type: ignore[attr-defined]
        reads.extend(str(key) for key in tasks if "read" in str(key))
        return dask.get(tasks, keys, **options)

    with dask.config.set(scheduler=get):
        rows, total = merge.with_dask(None, str(folder), 1000)()
    joined = pd.read_parquet(folder / "left").merge(pd.read_parquet(folder / "right"), on="k")
    assert (rows, total) == (1000, (joined.x * joined.y).sum())
    assert len(reads) == 2 * PARTITIONS


def test_a_shuffle_that_tears_a_key_apart_is_seen(tmp_path: Path) -> None:
    """The keys of all partitions together are more than there are when one of them lies in two partitions."""
    table = pd.read_parquet(shuffled_table(3_000, root=tmp_path))
    whole = [part for _, part in table.groupby(table.k % shuffle.INTO)]
    torn = [*whole[:-1], whole[-1].iloc[::2], whole[-1].iloc[1::2]]
    kept, broken = (pd.concat(map(shuffle.look, parts)).sum() for parts in (whole, torn))
    assert kept["keys"] == table.k.nunique() < broken["keys"]
    assert kept["rows"] == broken["rows"] == len(table)


def test_a_join_does_not_go_through_the_client(tmp_path: Path) -> None:
    """What the client sends and gets is refs: neither rows nor, once for each reader, the places of all of them."""
    workload, rows = WORKLOADS["merge"], 100_000
    assert workload.client_limit is not None
    run = run_once(Trial("merge", rows, 1, data=merge_tables(rows, root=tmp_path)), "cloudoffload")
    assert run.error == ""
    assert run.client is not None
    assert sum(run.client) - workload.result_bytes(rows) < workload.client_limit


@pytest.mark.slow
def test_every_engine_gives_the_same_answer() -> None:
    """Also Lithops and Dask's processes, which other tests don't start."""
    engines = WORKLOADS["images"].engines
    runs = [run_once(trial("images", 2, 1), engine) for engine in engines]
    assert {run.engine: run.error for run in runs} == dict.fromkeys(engines, "")
    assert len({run.answers for run in runs}) == 1
