"""Promises of the workloads themselves, at small sizes."""

from __future__ import annotations

from pathlib import Path

import dask
import pandas as pd

from benchmarks.data import PARTITIONS, merge_tables
from benchmarks.engines import ENGINES
from benchmarks.harness import Trial, run_once
from benchmarks.workloads import WORKLOADS, build_merge, run_merge


def test_every_engine_of_a_workload_exists() -> None:
    """Names are not checked before an engine is started."""
    for workload in WORKLOADS.values():
        assert set(workload.engines) <= set(ENGINES)
        assert workload.baseline in workload.engines


def test_the_join_reads_each_file_as_one_partition(tmp_path: Path) -> None:
    """Ten files on each side are ten tasks that read, whatever their size: Dask does not put small files together."""
    folder = merge_tables(1000, root=tmp_path)
    reads: list[str] = []

    def get(graph: object, keys: object, **options: object) -> object:
        tasks = graph.__dask_graph__()  # type: ignore[attr-defined]
        reads.extend(str(key) for key in tasks if "read" in str(key))
        return dask.get(tasks, keys, **options)

    with dask.config.set(scheduler=get):
        rows, total = run_merge(build_merge(str(folder), 1000))
    joined = pd.read_parquet(folder / "left").merge(pd.read_parquet(folder / "right"), on="k")
    assert (rows, total) == (1000, (joined.x * joined.y).sum())
    assert len(reads) == 2 * PARTITIONS


def test_a_join_does_not_go_through_the_client(tmp_path: Path) -> None:
    """What the client sends and gets is refs: neither rows nor, once for each reader, the places of all of them."""
    workload, rows = WORKLOADS["merge"], 100_000
    assert workload.client_limit is not None
    run = run_once(Trial("merge", rows, 1, data=merge_tables(rows, root=tmp_path)), "cloudoffload")
    assert run.error == ""
    assert run.client is not None
    assert sum(run.client) - workload.result_bytes(rows) < workload.client_limit
