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
from benchmarks.workloads import WORKLOADS

TIMEOUT = 900.0
"""Seconds after which a run is given up."""

_ROOT = Path(__file__).resolve().parents[1]
_LAST_WORDS = 2000


@dataclass(frozen=True, slots=True)
class Run:
    """What one engine did in one round."""

    engine: str
    round: int
    walls: tuple[float, ...] = ()  # seconds of each repetition
    cpu: float = 0.0  # CPU seconds of the whole tree, for each repetition
    answers: tuple[tuple[float, ...], ...] = ()  # of each repetition
    client: tuple[float, float] | None = None  # bytes in and out through the client, for each repetition
    memory: int = 0  # most memory of the whole tree at one moment, bytes
    files: int = 0  # most bytes of files that it kept at one moment
    files_in_memory: bool = False  # they lie in a memory file system, and are part of `memory`
    error: str = ""  # why there are no numbers


def run_rounds(
    workload: str,
    engines: Sequence[str],
    *,
    rounds: int,
    size: int,
    repetitions: int,
    on_run: Callable[[Run], None] = lambda run: None,
) -> list[Run]:
    """Run every engine once in each round.

    Parameters
    ----------
    workload : str
        Name of what is computed.
    engines : sequence of str
        Names of who computes it; each second round goes backwards, so that no engine is always the first.
    rounds, size, repetitions : int
        How often, of what size, and how many timed repetitions in each process.
    on_run : callable
        Called after each run.
    """
    prepare = WORKLOADS[workload].prepare
    if prepare is not None:
        prepare(size)
    runs: list[Run] = []
    for number in range(1, rounds + 1):
        for engine in engines if number % 2 else reversed(engines):
            runs.append(run_once(workload, engine, number, size, repetitions))
            on_run(runs[-1])
    return runs


def run_once(workload: str, engine: str, number: int, size: int, repetitions: int, timeout: float = TIMEOUT) -> Run:
    """Run one engine in a fresh process; whatever goes wrong there is said in the result."""
    with tempfile.TemporaryDirectory(prefix="cloudoffload-bench-", ignore_cleanup_errors=True) as name:
        folder, log, result = Path(name, "scratch"), Path(name, "log"), Path(name, "result.json")
        folder.mkdir()
        child = [sys.executable, "-m", "benchmarks.child", workload, engine, str(size), str(repetitions), str(result)]
        with log.open("wb") as output:
            process = subprocess.Popen(
                child, cwd=_ROOT, env=_environment(folder), stdout=output, stderr=subprocess.STDOUT
            )
            with Peak(process.pid, folder) as peak:
                try:
                    with suppress(subprocess.TimeoutExpired):
                        process.wait(timeout)
                finally:
                    kill_tree(process.pid)
                    process.wait()
        if not result.exists():
            return Run(engine, number, error=f"exit status {process.returncode}: {_last_words(log)}")
        found = json.loads(result.read_text())
        return Run(
            engine,
            number,
            walls=tuple(found["walls"]),
            cpu=found["cpu"],
            answers=tuple(map(tuple, found["answers"])),
            client=None if found["client"] is None else tuple(found["client"]),
            memory=peak.memory,
            files=peak.files,
            files_in_memory=peak.in_memory,
        )


def _environment(folder: Path) -> dict[str, str]:
    """The user's own, with all files of the run in one folder, where they can be counted."""
    from benchmarks.data import cache

    places = {name: str(folder) for name in ("TMPDIR", "DASK_TEMPORARY_DIRECTORY")}
    return {**os.environ, **places, "CLOUDOFFLOAD_BENCHMARK_DATA": str(cache())}


def _last_words(log: Path) -> str:
    return log.read_text(errors="replace")[-_LAST_WORDS:].strip()
