"""Who computes: each engine is a block inside which ``dask.compute`` means it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import dask
from dask._task_spec import execute_graph

import cloudoffload as co
from cloudoffload.engine.collections import nested
from cloudoffload.graph.expression import materialize

WORKERS = 2
"""Workers of every engine on this machine."""

BUCKET = "s3://benchmarks"


@dataclass(frozen=True, slots=True)
class Engine:
    """What a workload must know of the engine that it runs on."""

    place: Callable[[Path], str] = str
    """Puts a folder of files where the workers can read them; answers where that is."""

    traffic: Callable[[], tuple[int, ...]] = tuple
    """Bytes that have come in and gone out through the client so far; empty when the engine doesn't say."""


Opener: TypeAlias = Callable[[], AbstractContextManager[Engine]]


@contextmanager
def cloudoffload() -> Iterator[Engine]:
    """A session on warm worker processes of this machine."""
    with co.Session(providers=("local",), workers=WORKERS) as session:
        yield Engine(traffic=lambda: _traffic(session))


@contextmanager
def emulated_aws() -> Iterator[Engine]:
    """A session on an emulated AWS: real runtime clients, a server that speaks S3."""
    with co.Session(providers=("aws",), emulate=("aws",)) as session:
        # pyarrow finds S3 by the environment, as the user's own tools do.
        os.environ.update(session.client_environment())
        yield Engine(place=_upload, traffic=lambda: _traffic(session))


@contextmanager
def local_cluster() -> Iterator[Engine]:
    """dask.distributed on this machine, with its defaults: shuffles are p2p."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        yield Engine()


@contextmanager
def local_cluster_tasks() -> Iterator[Engine]:
    """dask.distributed with shuffles made of tasks."""
    with dask.config.set({"dataframe.shuffle.method": "tasks"}), local_cluster() as engine:
        yield engine


@contextmanager
def threads() -> Iterator[Engine]:
    """Dask's threads in the client's own process: nothing travels, and pure Python shares one CPU."""
    with dask.config.set(scheduler="threads", num_workers=WORKERS):
        yield Engine()


@contextmanager
def bare() -> Iterator[Engine]:
    """No scheduler: what Dask itself takes to build and optimize a graph, and one plain call for each task.

    Its ratio is the most that any engine could reach with the same code of the user.
    """
    with dask.config.set(scheduler=_call_each):
        yield Engine()


def _call_each(graph: Any, keys: Any, **_options: Any) -> Any:
    tasks, wanted = materialize(graph, keys)
    values = execute_graph(tasks, keys=set(wanted))
    return nested(keys, iter([values[key] for key in wanted]))


ENGINES: Mapping[str, Opener] = {
    "cloudoffload": cloudoffload,
    "cloudoffload-aws": emulated_aws,
    "localcluster": local_cluster,
    "localcluster-tasks": local_cluster_tasks,
    "threads": threads,
    "bare": bare,
}


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
