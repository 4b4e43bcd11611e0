"""Promises of the engines that a small workload does not show."""

from __future__ import annotations

import time

import dask
import pytest

from benchmarks.engines import ENGINES
from benchmarks.promises import CPUS
from cloudoffload.errors import OutOfMemory, WorkerLost

MB = 1 << 20


def test_workers_of_a_session_hold_no_more_than_they_may() -> None:
    """A task that takes more than the limit is ended with its worker."""
    with ENGINES["cloudoffload"](300 * MB), pytest.raises((OutOfMemory, WorkerLost), match="300 MB"):
        dask.delayed(sum)(dask.delayed(_hold)(900 * MB)).compute()


def _hold(nbytes: int) -> list[int]:
    held = bytearray(b"x") * nbytes
    time.sleep(3.0)  # somebody looks meanwhile
    return [len(held)]


@pytest.mark.parametrize("engine", ["localcluster", "localcluster-tasks"])
def test_workers_of_a_cluster_have_the_same_limit(engine: str) -> None:
    """As many workers, each with the memory that a worker of a session may hold."""
    from distributed import get_client

    with ENGINES[engine](400 * MB):
        workers = get_client().scheduler_info(n_workers=-1)["workers"].values()
        assert [worker["memory_limit"] for worker in workers] == [400 * MB] * CPUS


def test_tools_have_as_many_threads_as_the_others_have_workers() -> None:
    """Two CPUs for everybody."""
    with ENGINES["duckdb"](None) as opened:
        assert opened.tool.execute("select current_setting('threads')").fetchone() == (CPUS,)
    with ENGINES["polars"](None) as opened:
        assert opened.tool.thread_pool_size() == CPUS
