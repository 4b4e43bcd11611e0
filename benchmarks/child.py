"""One engine runs one workload in a process of its own: ``python -m benchmarks.child``, started by the harness."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.engines import ENGINES
from benchmarks.measure import cpu_seconds
from benchmarks.workloads import WORKLOADS


def measure(workload_name: str, engine_name: str, size: int, repetitions: int) -> dict[str, object]:
    """Run once to warm everything up, then so many times against the clock."""
    workload = WORKLOADS[workload_name]
    folder = workload.prepare(size) if workload.prepare else None
    with ENGINES[engine_name]() as engine:
        place = engine.place(folder) if folder else ""
        workload.run(place, size)
        walls, answers = [], []
        traffic = engine.traffic() if engine.traffic else None
        cpu = cpu_seconds(os.getpid())
        for _ in range(repetitions):
            started = time.perf_counter()
            answers.append(workload.run(place, size))
            walls.append(time.perf_counter() - started)
        used = cpu_seconds(os.getpid()) - cpu
        through = engine.traffic() if engine.traffic else None
    return {
        "walls": walls,
        "cpu": used / repetitions,
        "answers": answers,
        "client": None
        if through is None or traffic is None
        else [(now - before) / repetitions for now, before in zip(through, traffic, strict=True)],
    }


if __name__ == "__main__":
    result = measure(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    Path(sys.argv[5]).write_text(json.dumps(result))
