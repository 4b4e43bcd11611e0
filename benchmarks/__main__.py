"""``python -m benchmarks``: measure engines side by side, show a table, leave JSON."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import plot, table
from benchmarks.engines import ENGINES
from benchmarks.harness import run_rounds, trial
from benchmarks.run import Run
from benchmarks.summary import summarize, verdicts
from benchmarks.workloads import WORKLOADS

RESULTS = Path(__file__).parent / "results"


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for on the command line.

    Raises
    ------
    SystemExit
        An option makes no sense; the sentence is on stderr.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--workload", action="append", choices=WORKLOADS, help="only these; may be repeated")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="only these; may be repeated")
    parser.add_argument("--rounds", type=_positive, default=3, help="fresh processes of every engine")
    parser.add_argument("--repetitions", type=_positive, help="timed runs in each process")
    parser.add_argument("--size", type=_positive, help="tasks or rows; needs exactly one --workload")
    parser.add_argument("--json", type=Path, help="where the figures go; default: benchmarks/results/<time>.json")
    chosen = parser.parse_args(argv)
    chosen.workload = chosen.workload or list(WORKLOADS)
    if chosen.size and len(chosen.workload) != 1:
        parser.error("--size counts tasks in one workload and rows in another: choose one --workload")
    return chosen


def _positive(text: str) -> int:
    if not (text.isdecimal() and int(text)):
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the benchmarks; returns 1 when an engine failed, answers differ or too much went through the client, else 0.

    A missed speed is said and returns 0: it depends on the machine and on what else runs there.
    """
    chosen = arguments(argv)
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
    records, drawn, kept = [], {}, True
    for name in chosen.workload:
        workload = WORKLOADS[name]
        engines = [engine for engine in workload.engines if not chosen.engine or engine in chosen.engine]
        if not engines:
            continue
        task = trial(name, chosen.size, chosen.repetitions)
        runs = run_rounds(task, engines, chosen.rounds, lambda run: _progress(console, run))
        lines = summarize(runs, workload, task.size)
        found = verdicts(runs, lines, workload, task.size)
        table.show(console, task, chosen.rounds, lines, found)
        drawn[name] = lines
        records.append(table.record(task, runs, lines, found))
        kept = kept and all(verdict.kept or not verdict.firm for verdict in found)
    path = chosen.json or RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    table.write(path, records)
    console.print(f"\nfigures: {path}", markup=False)
    plot.draw(picture := path.with_suffix(".svg"), drawn)
    console.print(f"picture: {picture}", markup=False)
    return 0 if kept else 1


def _progress(console: Console, run: Run) -> None:
    said = run.error.splitlines()[-1] if run.error else f"{run.wall:.3f} s"
    console.print(f"round {run.round}, {run.engine}: {said}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
