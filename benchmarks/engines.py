"""Who computes: each engine is a block inside which ``dask.compute`` means it, or a tool that is driven by hand."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import dask
from dask._task_spec import execute_graph

import cloudoffload as co
from benchmarks.promises import CPUS
from benchmarks.sleeper import SECONDS, Sleeper
from cloudoffload.engine.collections import nested
from cloudoffload.graph.expression import materialize

BUCKET = "s3://benchmarks"


@dataclass(frozen=True, slots=True)
class Engine:
    """What a workload must know of the engine that it runs on."""

    speaks: str = "dask"
    """Which of a workload's solutions it runs."""

    tool: Any = None
    """What that solution is given: a module, a connection, an executor."""

    place: Callable[[Path], str] = str
    """Puts a folder of files where the workers can read them; answers where that is."""

    traffic: Callable[[], tuple[int, ...]] = tuple
    """Bytes that have come in and gone out through the client so far; empty when the engine doesn't say."""


Opener: TypeAlias = Callable[[int | None], AbstractContextManager[Engine]]
"""Most memory that each worker may hold, bytes, or None -> a block. Engines without worker processes have no limit."""


@contextmanager
def cloudoffload(memory: int | None) -> Iterator[Engine]:
    """A session on warm worker processes of this machine."""
    memory_mb = None if memory is None else memory >> 20
    with co.Session(providers=("local",), workers=CPUS, memory_mb=memory_mb) as session:
        yield Engine(traffic=lambda: _traffic(session))


@contextmanager
def emulated_aws(memory: int | None) -> Iterator[Engine]:
    """A session on an emulated AWS: real runtime clients, a server that speaks S3."""
    with co.Session(providers=("aws",), emulate=("aws",)) as session:
        # pyarrow finds S3 by the environment, as the user's own tools do.
        os.environ.update(session.client_environment())
        yield Engine(place=_upload, traffic=lambda: _traffic(session))


@contextmanager
def remote(concurrency: int, memory: int | None, *, seconds: float = SECONDS) -> Iterator[Engine]:
    """A session on a cloud that sleeps, one unit a call."""
    with (
        dask.config.set({"cloudoffload.call.batch": 1}),
        co.Session(providers=(Sleeper(concurrency, seconds),), budget="100 USD") as session,
    ):
        yield Engine(tool=session, traffic=lambda: _traffic(session))


@contextmanager
def local_cluster(memory: int | None) -> Iterator[Engine]:
    """dask.distributed on this machine, with its defaults: shuffles are p2p."""
    from distributed import Client, LocalCluster

    limit = "auto" if memory is None else memory
    shape: dict[str, Any] = {"n_workers": CPUS, "threads_per_worker": 1, "processes": True, "memory_limit": limit}
    with LocalCluster(**shape, dashboard_address=None) as cluster, Client(cluster):
        yield Engine()


@contextmanager
def local_cluster_tasks(memory: int | None) -> Iterator[Engine]:
    """dask.distributed with shuffles made of tasks."""
    with dask.config.set({"dataframe.shuffle.method": "tasks"}), local_cluster(memory) as engine:
        yield engine


@contextmanager
def threads(memory: int | None) -> Iterator[Engine]:
    """Dask's threads in the client's own process: nothing travels, and pure Python shares one CPU."""
    with dask.config.set(scheduler="threads", num_workers=CPUS):
        yield Engine()


@contextmanager
def processes(memory: int | None) -> Iterator[Engine]:
    """Dask's processes, kept between computations as the other engines' are: values travel through the client."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(CPUS, mp_context=context) as pool, dask.config.set(scheduler="processes", pool=pool):
        yield Engine()


@contextmanager
def bare(memory: int | None) -> Iterator[Engine]:
    """No scheduler: what Dask itself takes to build and optimize a graph, and one plain call for each task.

    Its ratio is the most that any engine could reach with the same code of the user on one CPU.
    """
    with dask.config.set(scheduler=_call_each):
        yield Engine()


@contextmanager
def lithops(memory: int | None) -> Iterator[Engine]:
    """Lithops on this machine: functions as processes, values as files."""
    from lithops import FunctionExecutor

    # Workers import this package from where it lies, instead of getting copies of its files with every map.
    os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    # Found by its name: Lithops takes no path with a space in it.
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
    # Its first version of this backend runs more of these workloads in a second than the second one, its default.
    shape = {"worker_processes": CPUS, "runtime": Path(sys.executable).name, "version": 1}
    settings = {"lithops": {"backend": "localhost", "storage": "localhost", "monitoring_interval": 0.1}}
    with FunctionExecutor(config={**settings, "localhost": shape}, log_level="ERROR") as executor:
        yield Engine(speaks="lithops", tool=partial(_lithops_map, executor))


@contextmanager
def pandas(memory: int | None) -> Iterator[Engine]:
    """No Dask: everything in this process's memory, on one CPU."""
    import pandas

    yield Engine(speaks="pandas", tool=pandas)


@contextmanager
def polars(memory: int | None) -> Iterator[Engine]:
    """No Dask: one process, as many threads as the others have workers."""
    os.environ["POLARS_MAX_THREADS"] = str(CPUS)  # read when it is imported
    import polars

    yield Engine(speaks="polars", tool=polars)


@contextmanager
def duckdb(memory: int | None) -> Iterator[Engine]:
    """No Dask: one process, as many threads as the others have workers."""
    import duckdb

    with duckdb.connect(config={"threads": CPUS}) as connection:
        yield Engine(speaks="duckdb", tool=connection)


@contextmanager
def importing(module: str, memory: int | None) -> Iterator[Engine]:
    """A fresh interpreter for each repetition."""
    yield Engine(speaks="import", tool=module)


ENGINES: Mapping[str, Opener] = {
    "cloudoffload": cloudoffload,
    "cloudoffload-aws": emulated_aws,
    "cloudoffload-remote-50": partial(remote, 50),
    "cloudoffload-remote-1000": partial(remote, 1000),
    "localcluster": local_cluster,
    "localcluster-tasks": local_cluster_tasks,
    "threads": threads,
    "processes": processes,
    "lithops": lithops,
    "pandas": pandas,
    "polars": polars,
    "duckdb": duckdb,
    "bare": bare,
    "cloudoffload-import": partial(importing, "cloudoffload"),
    "dask-import": partial(importing, "dask"),
}


def _lithops_map(executor: Any, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    executor.map(function, items, exclude_modules=["benchmarks"])
    return list(executor.get_result(show_progressbar=False))


def _call_each(graph: Any, keys: Any, **_options: Any) -> Any:
    tasks, wanted = materialize(graph, keys)
    values = execute_graph(tasks, keys=set(wanted))
    return nested(keys, iter([values[key] for key in wanted]))


def _traffic(session: co.Session) -> tuple[int, int]:
    stats = session.stats()
    return stats["client_bytes_in"], stats["client_bytes_out"]


def _upload(folder: Path) -> str:
    from pyarrow import fs

    s3, _ = fs.FileSystem.from_uri(f"{BUCKET}?allow_bucket_creation=true")
    target = f"{BUCKET}/{folder.name}"
    root = target.removeprefix("s3://")
    s3.create_dir(root.partition("/")[0])
    fs.copy_files(str(folder), root, destination_filesystem=s3)
    return target
