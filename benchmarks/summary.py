"""From runs to what they say: medians, ratios of the same round, equal answers, promises kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.promises import Beside, Promise
from benchmarks.run import Run, best_of
from benchmarks.workloads import Workload

OURS = "cloudoffload"
"""Engines whose names begin so are held to the promises."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """What an engine takes, as a part of what its peer took, round by round: less is better."""

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
    client_us: float  # CPU microseconds of the client's process alone for each piece of work, median
    memory: int  # peak of the whole tree, bytes, median
    files: int  # peak of its files, bytes, median
    files_in_memory: bool
    client_in: float | None  # bytes through the client, median; None when the engine doesn't say
    client_out: float | None
    client_beyond: float | None  # both, less the results that were asked for
    wall_ratio: Ratio | None = None  # of the peer's, in the same round
    cpu_ratio: Ratio | None = None
    memory_ratio: Ratio | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise, and whether it was kept."""

    sentence: str
    kept: bool
    firm: bool = True  # holds on any machine: counts and bytes do, speed does not


def summarize(runs: Sequence[Run], workload: Workload, size: int) -> list[Line]:
    """One line for each engine that gave numbers, in the order of their first runs."""
    return [_line(engine, mine, workload, size) for engine, mine in _compared(runs, workload, size).items()]


def verdicts(runs: Sequence[Run], lines: Sequence[Line], workload: Workload, size: int) -> list[Verdict]:
    """Whether all answers are equal, and whether the workload's promises were kept."""
    answers = {answer for run in runs for answer in run.answers}
    who = ", ".join(dict.fromkeys(run.engine for run in runs if run.answers))
    what = "all equal" if len(answers) == 1 else f"NOT EQUAL: {sorted(answers)}"
    found = [Verdict(f"answers of {who}: {what}", len(answers) == 1)]
    found += [Verdict(f"{run.engine} failed in round {run.round}: {run.error}", False) for run in runs if run.error]
    ours = {engine: mine for engine, mine in _compared(runs, workload, size).items() if engine.startswith(OURS)}
    judged = [_judged(engine, mine, promise) for engine, mine in ours.items() for promise in workload.promises]
    found += [verdict for verdict in judged if verdict is not None]
    limit = workload.client_limit
    for line in lines:
        if line.engine.startswith(OURS) and limit is not None and line.client_beyond is not None:
            text = f"{line.engine}: {line.client_beyond:,.0f} bytes through the client beyond the results"
            found.append(_verdict(text, f"fewer than {limit:,}", line.client_beyond < limit, firm=True))
    return found


def _compared(runs: Sequence[Run], workload: Workload, size: int) -> Mapping[str, list[Beside]]:
    """Every engine's runs, each with those of its own round."""
    rounds: dict[int, dict[str, Run]] = {}
    for run in runs:
        if not run.error:
            rounds.setdefault(run.round, {})[run.engine] = run
    compared: dict[str, list[Beside]] = {}
    for others in rounds.values():
        peer = best_of(others.values(), workload.peers)
        for engine, run in others.items():
            compared.setdefault(engine, []).append(Beside(run, others, peer, size, workload.pieces(size)))
    return compared


def _judged(engine: str, mine: Sequence[Beside], promise: Promise) -> Verdict | None:
    """None when what it is compared with did not run."""
    figures = [figure for item in mine if (figure := promise.figure(item)) is not None]
    if not figures:
        return None
    figure = median(figures)
    kept = figure >= promise.limit if promise.least else figure <= promise.limit
    bound = "at least" if promise.least else "at most"
    return _verdict(
        f"{engine}: {_number(figure)} {promise.what}", f"{bound} {_number(promise.limit)}", kept, firm=False
    )


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _verdict(text: str, wanted: str, kept: bool, *, firm: bool) -> Verdict:
    return Verdict(f"{text} (promised: {wanted}): {'kept' if kept else 'MISSED'}", kept, firm)


def _line(engine: str, mine: Sequence[Beside], workload: Workload, size: int) -> Line:
    runs = [item.run for item in mine]
    clients = [run.client for run in runs if run.client is not None]
    client_in = median(item[0] for item in clients) if clients else None
    client_out = median(item[1] for item in clients) if clients else None
    pairs = [(item.run, item.peer) for item in mine if item.peer is not None]
    return Line(
        engine=engine,
        rounds=len(runs),
        wall=median(run.wall for run in runs),
        cpu=median(run.cpu for run in runs),
        client_us=median(run.client_cpu for run in runs) / workload.pieces(size) * 1e6,
        memory=int(median(run.memory for run in runs)),
        files=int(median(run.files for run in runs)),
        files_in_memory=runs[0].files_in_memory,
        client_in=client_in,
        client_out=client_out,
        client_beyond=median(sum(item) - workload.result_bytes(size) for item in clients) if clients else None,
        wall_ratio=_ratio([run.wall / peer.wall for run, peer in pairs]),
        cpu_ratio=_ratio([run.cpu / peer.cpu for run, peer in pairs if peer.cpu]),
        memory_ratio=_ratio([run.memory / peer.memory for run, peer in pairs if peer.memory]),
    )


def _ratio(values: list[float]) -> Ratio | None:
    return Ratio(median(values), min(values), max(values)) if values else None
