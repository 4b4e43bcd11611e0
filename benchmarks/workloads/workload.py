"""What one thing to measure is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.promises import Promise

Answer: TypeAlias = list[float]
"""Numbers that all engines must agree on, exactly."""

Solution: TypeAlias = Callable[[Any, str, int], Callable[[], Any]]
"""How one kind of engine does the work: (the engine's tool, where the files lie, size) -> what is timed. What happens
before that, such as building collections, is not timed."""

PEERS = ("localcluster", "localcluster-tasks")
"""The cluster with either kind of shuffle; the faster one in a round is what that round is measured against."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One thing to measure."""

    title: str
    unit: str  # what `size` counts
    size: int
    engines: tuple[str, ...]
    solutions: Mapping[str, Solution]  # by what an engine speaks: "dask", "polars", ...
    answer: Callable[[Any], Answer] = list  # result -> numbers; not timed
    prepare: Callable[[int], Path] = lambda size: Path()  # size -> folder of files, when there are any
    peers: tuple[str, ...] = PEERS  # ratios are against the fastest of these
    pieces: Callable[[int], int] = lambda size: size  # size -> how many pieces the client handles
    repetitions: int = 1  # timed runs in each process, after one that warms it up
    worker_memory: int | None = None  # most that each worker may hold, bytes
    result_bytes: Callable[[int], int] = lambda size: 0  # what the client asked for, by size
    promises: tuple[Promise, ...] = ()
    client_limit: int | None = None  # promised: fewer bytes through the client beyond the results
