"""Waves of calls to a cloud whose calls all last equally long: the shortest wall is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import dask

from benchmarks.promises import part_of_ideal
from benchmarks.sleeper import SECONDS, VALUE
from benchmarks.workloads.workload import Answer, Workload

WAVES = 3


def answer_one(number: int) -> int:
    """What the sleeping cloud answers for it."""
    return VALUE


def independent(tool: Any, place: str, size: int) -> Callable[[], Answer]:
    """So many units that don't need each other."""
    units = [dask.delayed(answer_one)(number) for number in range(size)]
    return lambda: [sum(dask.compute(*units))]


def _workload(concurrency: int, least: float) -> Workload:
    return Workload(
        title=f"calls of {SECONDS:g} s to a cloud that runs {concurrency:,} at once",
        unit="calls",
        size=WAVES * concurrency,
        engines=(f"cloudoffload-remote-{concurrency}",),
        solutions={"dask": independent},
        peers=(),
        promises=(part_of_ideal(lambda size: math.ceil(size / concurrency) * SECONDS, least),),
    )


REMOTE_1000 = _workload(1000, 0.90)
REMOTE_50 = _workload(50, 0.95)
