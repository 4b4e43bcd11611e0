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
        and all below it, for each repetition), ``client_cpu`` (of this process alone), ``client`` (bytes in and out
        through the client, for each repetition, or None).
    """
    chosen = WORKLOADS[workload]
    with ENGINES[engine](chosen.worker_memory) as opened:
        prepare, place = chosen.solutions[opened.speaks], opened.place(data)
        prepare(opened.tool, place, size)()
        traffic = opened.traffic()
        walls, answers, tree, client = [], [], 0.0, 0.0
        for _ in range(repetitions):
            compute = prepare(opened.tool, place, size)
            before = cpu_seconds(os.getpid())
            mine, started = time.process_time(), time.perf_counter()
            result = compute()
            walls.append(time.perf_counter() - started)
            client += time.process_time() - mine
            tree += cpu_seconds(os.getpid()) - before
            answers.append(chosen.answer(result))
        through = [now - then for now, then in zip(opened.traffic(), traffic, strict=True)]
    return {
        "walls": walls,
        "answers": answers,
        "cpu": tree / repetitions,
        "client_cpu": client / repetitions,
        "client": [nbytes / repetitions for nbytes in through] or None,
    }


if __name__ == "__main__":
    name, who, count, times, folder, output = sys.argv[1:]
    Path(output).write_text(json.dumps(measure(name, who, int(count), int(times), Path(folder))))
