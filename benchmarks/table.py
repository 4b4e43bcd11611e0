"""The figures as a table of the terminal, and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.harness import Trial
from benchmarks.run import Run
from benchmarks.summary import Line, Ratio, Verdict
from benchmarks.workloads import WORKLOADS, Workload


def show(console: Console, task: Trial, rounds: int, lines: Sequence[Line], found: Sequence[Verdict]) -> None:
    """Print what one workload gave."""
    workload = WORKLOADS[task.workload]
    console.print()
    console.print(_table(task, workload, rounds, lines))
    for verdict in found:
        console.print(("  " if verdict.kept else "! ") + verdict.sentence, markup=False)


def _table(task: Trial, workload: Workload, rounds: int, lines: Sequence[Line]) -> Table:
    repeated = f"{rounds} rounds of {task.repetitions}"
    title = f"{task.workload}: {workload.title}; {task.size:,} {workload.unit}, {repeated}"
    table = Table(title=escape(title), title_justify="left", box=None, padding=(0, 2))
    table.add_column("engine")
    for name in ("wall s", "CPU s", "client us/unit", "peak MB", "files MB", "client in kB", "client out kB"):
        table.add_column(name, justify="right")
    for name in ("wall / peer", "CPU", "peak"):
        table.add_column(name, justify="right")
    for line in lines:
        files = f"{line.files / 1e6:,.0f}" + (" (in peak)" if line.files_in_memory else "")
        client = [_kilobytes(line.client_in), _kilobytes(line.client_out)]
        ratios = [_range(line.wall_ratio), _median(line.cpu_ratio), _median(line.memory_ratio)]
        numbers = [f"{line.wall:.3f}", f"{line.cpu:.3f}", f"{line.client_us:,.0f}", f"{line.memory / 1e6:,.0f}", files]
        table.add_row(line.engine, *numbers, *client, *ratios)
    return table


def _kilobytes(nbytes: float | None) -> str:
    return "" if nbytes is None else f"{nbytes / 1e3:,.1f}"


def _median(ratio: Ratio | None) -> str:
    return "" if ratio is None else f"{ratio.median:.3g}"


def _range(ratio: Ratio | None) -> str:
    if ratio is None or ratio.lowest == ratio.highest:
        return _median(ratio)
    return f"{ratio.median:.3g} ({ratio.lowest:.3g}-{ratio.highest:.3g})"


def record(task: Trial, runs: Sequence[Run], lines: Sequence[Line], found: Sequence[Verdict]) -> dict[str, Any]:
    """One workload as plain data; the place of its files is left out, which means nothing elsewhere."""
    return {
        "workload": task.workload,
        "size": task.size,
        "repetitions": task.repetitions,
        "summary": [asdict(line) for line in lines],
        "verdicts": [asdict(verdict) for verdict in found],
        "runs": [asdict(run) for run in runs],
    }


def write(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Write all workloads, with what they ran on, as JSON."""
    machine = {
        "cpus": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("dask", "distributed", "pandas", "pyarrow")},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"machine": machine, "workloads": list(records)}, indent=1) + "\n")
