"""Runs engines side by side: in rounds, so that what else the machine does falls on all of them alike.

Each run is a fresh tree of processes; its numbers are compared with those of the same round only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Peak, kill_tree
from benchmarks.run import Run
from benchmarks.workloads import WORKLOADS

TIMEOUT = 900.0
"""Seconds after which a run is given up."""

_ROOT = Path(__file__).resolve().parents[1]
_LAST_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Trial:
    """What every engine has to do."""

    workload: str  # its name
    size: int
    repetitions: int  # timed runs in each process, after one that warms it up
    data: Path = Path()  # folder of the workload's files, when it has any


def trial(workload: str, size: int | None = None, repetitions: int | None = None) -> Trial:
    """A workload as it is meant, or of another size; makes its data when they are not there yet."""
    chosen = WORKLOADS[workload]
    size = size or chosen.size
    return Trial(workload, size, repetitions or chosen.repetitions, chosen.prepare(size))


def run_rounds(
    task: Trial, engines: Sequence[str], rounds: int, on_run: Callable[[Run], None] = lambda run: None
) -> list[Run]:
    """Run every engine once in each round.

    Parameters
    ----------
    task : Trial
        What they do.
    engines : sequence of str
        Names of who does it; each second round goes backwards, so that no engine is always the first.
    rounds : int
        How many.
    on_run : callable
        Called after each run.
    """
    runs: list[Run] = []
    for number in range(1, rounds + 1):
        for engine in engines if number % 2 else reversed(engines):
            runs.append(run_once(task, engine, number))
            on_run(runs[-1])
    return runs


def run_once(task: Trial, engine: str, number: int = 1, timeout: float = TIMEOUT) -> Run:
    """Run one engine in a fresh process; what goes wrong there is said in the result.

    Parameters
    ----------
    task : Trial
        What it does.
    engine : str
        Its name.
    number : int
        Of the round.
    timeout : float
        Seconds after which it is ended.
    """
    with tempfile.TemporaryDirectory(prefix="cloudoffload-bench-", ignore_cleanup_errors=True) as name:
        scratch, log, result = Path(name, "scratch"), Path(name, "log"), Path(name, "result.json")
        scratch.mkdir()
        arguments = [task.workload, engine, task.size, task.repetitions, task.data, result]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.child", *map(str, arguments)],
                cwd=_ROOT,
                # All files of the run lie in one folder, where they can be counted.
                env={**os.environ, "TMPDIR": str(scratch), "DASK_TEMPORARY_DIRECTORY": str(scratch)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            with Peak(process.pid, scratch) as peak:
                try:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(timeout)
                finally:
                    kill_tree(process.pid)
                    process.wait()
        if not result.exists():
            last_words = log.read_text(errors="replace")[-_LAST_WORDS:].strip()
            return Run(engine, number, error=f"no result, exit status {process.returncode}; {last_words}")
        found = json.loads(result.read_text())
    client = found["client"]
    return Run(
        engine=engine,
        round=number,
        walls=tuple(found["walls"]),
        answers=tuple(map(tuple, found["answers"])),
        cpu=found["cpu"],
        client_cpu=found["client_cpu"],
        client=client and (client[0], client[1]),
        memory=peak.memory,
        files=peak.files,
        files_in_memory=peak.in_memory,
    )
