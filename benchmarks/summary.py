"""From runs to what they say: medians, ratios of the same round, equal answers, promises kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.harness import Run
from benchmarks.workloads import Workload


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times less an engine takes than the baseline, round by round."""

    median: float
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class Line:
    """One engine over all rounds."""

    engine: str
    rounds: int  # that gave numbers
    wall: float  # seconds, median of the rounds' medians
    cpu: float  # CPU seconds of the whole tree, median
    memory: int  # peak of the whole tree, bytes, median
    files: int  # peak of its files, bytes, median
    files_in_memory: bool
    client_in: float | None  # bytes through the client, median; None when the engine doesn't say
    client_out: float | None
    client_beyond: float | None  # both, less the results that were asked for
    faster: Ratio | None = None  # wall of the baseline / wall of this engine
    lighter: Ratio | None = None  # the same for CPU seconds


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise, and whether it was kept."""

    sentence: str
    kept: bool
    firm: bool = True  # holds on any machine: counts and bytes do, speed does not


def summarize(runs: Sequence[Run], workload: Workload, size: int) -> list[Line]:
    """One line for each engine that gave numbers, in the order of their first runs."""
    good: dict[str, dict[int, Run]] = {}
    for run in runs:
        if not run.error:
            good.setdefault(run.engine, {})[run.round] = run
    baseline = good.get(workload.baseline, {})
    return [_line(engine, mine, baseline, workload.result_bytes(size)) for engine, mine in good.items()]


def verdicts(runs: Sequence[Run], lines: Sequence[Line], workload: Workload) -> list[Verdict]:
    """Whether all answers are equal, and whether the workload's promises were kept."""
    answers = {answer for run in runs for answer in run.answers}
    who = ", ".join(dict.fromkeys(run.engine for run in runs if run.answers))
    what = "all equal" if len(answers) == 1 else f"NOT EQUAL: {sorted(answers)}"
    found = [Verdict(f"answers of {who}: {what}", len(answers) == 1)]
    found += [Verdict(f"{run.engine} failed in round {run.round}: {run.error}", False) for run in runs if run.error]
    for line in lines:
        if not line.engine.startswith("cloudoffload"):
            continue
        if workload.speedup is not None and line.faster is not None:
            text = f"{line.engine}: {line.faster.median:.1f} times as fast as {workload.baseline}"
            kept = line.faster.median >= workload.speedup
            found.append(_promise(text, f"{workload.speedup:g} or more", kept, firm=False))
        if workload.client_limit is not None and line.client_beyond is not None:
            text = f"{line.engine}: {line.client_beyond:,.0f} bytes through the client beyond the results"
            limit = workload.client_limit
            found.append(_promise(text, f"fewer than {limit:,}", line.client_beyond < limit, firm=True))
    return found


def _promise(text: str, wanted: str, kept: bool, *, firm: bool) -> Verdict:
    return Verdict(f"{text} (promised: {wanted}): {'kept' if kept else 'MISSED'}", kept, firm)


def _line(engine: str, mine: dict[int, Run], baseline: dict[int, Run], result_bytes: int) -> Line:
    runs = list(mine.values())
    clients = [run.client for run in runs if run.client is not None]
    client_in = median(item[0] for item in clients) if clients else None
    client_out = median(item[1] for item in clients) if clients else None
    pairs = [(baseline[number], run) for number, run in mine.items() if number in baseline]
    return Line(
        engine=engine,
        rounds=len(runs),
        wall=median(median(run.walls) for run in runs),
        cpu=median(run.cpu for run in runs),
        memory=int(median(run.memory for run in runs)),
        files=int(median(run.files for run in runs)),
        files_in_memory=runs[0].files_in_memory,
        client_in=client_in,
        client_out=client_out,
        client_beyond=median(sum(item) - result_bytes for item in clients) if clients else None,
        faster=_ratio([median(base.walls) / median(run.walls) for base, run in pairs]),
        lighter=_ratio([base.cpu / run.cpu for base, run in pairs if run.cpu]),
    )


def _ratio(values: list[float]) -> Ratio | None:
    return Ratio(median(values), min(values), max(values)) if values else None
