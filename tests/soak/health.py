"""What a session takes of its machine."""

from __future__ import annotations

import gc
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path

import dask
import psutil

import cloudoffload as co
from cloudoffload.wire.envelope import prefix_of

CLIENT_SPARE_MB = 16
"""What caches of Dask (the prefixes of 100,000 keys), pandas and the allocator may still take after a warm-up."""

ROW_MB = 0.1 / 1024
"""Most memory that the ledger's row of one call takes."""

WORKER_MB = 512
"""Memory that each worker may hold. What it keeps of programs and of inputs takes a sixteenth of that each."""

WORKER_SPARE_MB = 2 * WORKER_MB / 16 + 32
"""What its caches, and those of pandas, may still take after the first computations."""

THREADS_SPARE = 4
"""Threads of the pool stay; how many there are depends on what happened to run at the same moment."""

SETTLING = 10.0
"""How long what a computation has left may take to go: deletions, threads that end, seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """One look at a session, its processes and its store."""

    client_mb: float  # private memory of the client
    worker_mb: float  # private memory of the largest process that it has started
    descriptors: int
    threads: int
    processes: int  # that the client has started, and they
    objects: int  # in the store
    store_bytes: int  # as the session counts them

    def growth(self, before: Health, calls: int) -> list[str]:
        """What has grown since another look by more than it may; empty when all is well.

        Parameters
        ----------
        before : Health
            The earlier look.
        calls : int
            How many calls there were in between: the ledger keeps a row for each.
        """
        spare = {
            "client_mb": CLIENT_SPARE_MB + calls * ROW_MB,
            "worker_mb": WORKER_SPARE_MB,
            "threads": THREADS_SPARE,
        }
        return [
            f"{field.name} grew from {earlier:,.1f} to {now:,.1f}"
            for field in fields(self)
            if (now := getattr(self, field.name)) > (earlier := getattr(before, field.name)) + spare.get(field.name, 0)
        ]


def look(session: co.Session) -> Health:
    """Health of a session with nothing under way."""
    services = session._open().services

    def objects() -> int:
        return sum(1 for _ in services.clouds.store.keys(prefix_of(session.run_id)))

    gc.collect()
    until = time.monotonic() + SETTLING
    while (session.stats()["store_bytes"] or objects()) and time.monotonic() < until:
        session.compute(dask.delayed(bytes)(1 << 20))  # what lost calls wrote late goes along with other objects
        time.sleep(0.2)
    me = psutil.Process()
    children = me.children(recursive=True)
    return Health(
        client_mb=_private_mb(me.pid),
        worker_mb=max((_private_mb(child.pid) for child in children), default=0.0),
        descriptors=me.num_fds(),
        threads=threading.active_count(),
        processes=len(children),
        objects=objects(),
        store_bytes=session.stats()["store_bytes"],
    )


def _private_mb(pid: int) -> float:
    """What only this process holds: pages that it shares with others, or with files, left out."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon:")).split()[1]) / 1024
