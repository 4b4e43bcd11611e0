"""One engine runs one workload in a process of its own: ``python -m benchmarks.child``, started by the harness."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.engines import ENGINES
from benchmarks.measure import cpu_seconds
from benchmarks.workloads import WORKLOADS


def measure(workload: str, engine: str, size: int, repetitions: int, data: Path) -> dict[str, Any]:
    """Run once to warm everything up, then so many times against the clock, each time on collections built anew.

    Returns
    -------
    dict
        ``walls`` (seconds of each repetition), ``answers`` (of each repetition), ``cpu`` (CPU seconds of this process
        and all below it, for each repetition), ``client`` (bytes in and out through the client, for each repetition, or
        None).
    """
    build, run = WORKLOADS[workload].build, WORKLOADS[workload].run
    with ENGINES[engine]() as opened:
        place = opened.place(data)
        run(build(place, size))
        traffic = opened.traffic()
        walls, answers, used = [], [], 0.0
        for _ in range(repetitions):
            collections = build(place, size)
            cpu = cpu_seconds(os.getpid())
            started = time.perf_counter()
            answers.append(run(collections))
            walls.append(time.perf_counter() - started)
            used += cpu_seconds(os.getpid()) - cpu
        through = [now - before for now, before in zip(opened.traffic(), traffic, strict=True)]
    return {
        "walls": walls,
        "answers": answers,
        "cpu": used / repetitions,
        "client": [nbytes / repetitions for nbytes in through] or None,
    }


if __name__ == "__main__":
    name, who, count, times, folder, output = sys.argv[1:]
    Path(output).write_text(json.dumps(measure(name, who, int(count), int(times), Path(folder))))
