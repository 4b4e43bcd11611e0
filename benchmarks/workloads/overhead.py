"""What a user waits for when there is almost nothing to do."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.promises import wall_over
from benchmarks.workloads.workload import Answer, Workload


def tiny_frame(tool: Any, place: str, size: int) -> Callable[[], Answer]:
    """The sum of a column of a small table in two partitions."""
    import dask.dataframe as dd
    import pandas as pd

    total = dd.from_pandas(pd.DataFrame({"x": range(size)}), npartitions=2).x.sum()
    return lambda: [int(total.compute())]


def start_interpreter(module: str, place: str, size: int) -> Callable[[], Answer]:
    """A fresh interpreter imports a module and ends."""
    # An installed package is compiled; here that happens the first time, so that it must not be forbidden.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def compute() -> Answer:
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True, env=environment)
        return [0]

    return compute


TINY = Workload(
    title="the sum of a small table, once everything is warm",
    unit="rows",
    size=100,
    engines=("cloudoffload", "localcluster", "threads", "processes"),
    solutions={"dask": tiny_frame},
    repetitions=200,
    pieces=lambda size: 1,
    promises=(wall_over("threads", 3.0),),
)

IMPORT = Workload(
    title="a fresh interpreter imports a package",
    unit="times",
    size=1,
    engines=("cloudoffload-import", "dask-import"),
    solutions={"import": start_interpreter},
    peers=("dask-import",),
    repetitions=30,
    promises=(wall_over("dask-import", 20.0),),
)
