"""Promises of what is made of the runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.promises import client_microseconds, wall_of_peer
from benchmarks.run import Run
from benchmarks.summary import Ratio, summarize, verdicts
from benchmarks.workloads import WORKLOADS, Workload

WORKLOAD: Workload = replace(
    WORKLOADS["noop"],
    result_bytes=lambda size: 8 * size,
    promises=(wall_of_peer(0.3),),
    client_limit=100,
    peers=("localcluster", "localcluster-tasks"),
)


def run(engine: str, number: int, wall: float, **changes: object) -> Run:
    found = Run(engine, number, walls=(wall, wall, 99.0), answers=((1.0,),), cpu=wall, memory=1, files=0)
    return replace(found, **changes)  # type: ignore[arg-type]


ROUNDS = [
    *(run("localcluster", 1, 8.0), run("cloudoffload", 1, 2.0, client=(70.0, 50.0))),
    *(run("localcluster", 2, 4.0), run("cloudoffload", 2, 2.0, client=(60.0, 50.0))),
    *(run("localcluster", 3, 30.0), run("cloudoffload", 3, 3.0, client=(60.0, 50.0))),
]


def test_ratios_are_of_the_same_round() -> None:
    """The median of 2/8, 2/4 and 3/30 is 0.25; the ratio of the medians would be another number, 2/8 of memory too."""
    runs = [replace(item, memory=int(10 * item.cpu)) for item in ROUNDS]
    lines = {line.engine: line for line in summarize(runs, WORKLOAD, size=5)}
    assert lines["cloudoffload"].wall_ratio == Ratio(0.25, 0.1, 0.5)
    assert lines["cloudoffload"].cpu_ratio == lines["cloudoffload"].memory_ratio == Ratio(0.25, 0.1, 0.5)
    assert lines["cloudoffload"].wall == 2.0  # of three repetitions, the slow one does not count
    assert lines["localcluster"].wall_ratio == Ratio(1.0, 1.0, 1.0)


def test_the_better_peer_of_a_round_counts() -> None:
    """Round by round the faster of two peers is what all are measured against, the slower one too."""
    runs = [*ROUNDS, *(run("localcluster-tasks", number, wall) for number, wall in ((1, 4.0), (2, 8.0), (3, 15.0)))]
    lines = {line.engine: line for line in summarize(runs, WORKLOAD, size=5)}
    assert lines["cloudoffload"].wall_ratio == Ratio(0.5, 0.2, 0.5)
    assert lines["localcluster"].wall_ratio == Ratio(2.0, 1.0, 2.0)


def test_the_cpu_of_the_client_is_divided_by_the_pieces() -> None:
    """Microseconds for each piece that the workload counts, not for each that its size counts."""
    runs = [replace(item, client_cpu=0.002) for item in ROUNDS]
    (line, _) = summarize(runs, replace(WORKLOAD, pieces=lambda size: 4 * size), size=5)
    assert line.client_us == pytest.approx(100.0)


def test_results_are_not_traffic() -> None:
    """What the user asked for is taken off before the client's traffic is judged."""
    (line,) = [line for line in summarize(ROUNDS, WORKLOAD, size=5) if line.engine == "cloudoffload"]
    assert (line.client_in, line.client_out, line.client_beyond) == (60.0, 50.0, 70.0)


def test_kept_promises_are_said() -> None:
    """All verdicts hold, and each names its number."""
    found = verdicts(ROUNDS, summarize(ROUNDS, WORKLOAD, size=5), WORKLOAD, 5)
    assert all(verdict.kept for verdict in found)
    assert [verdict.firm for verdict in found] == [True, False, True]
    text = "\n".join(verdict.sentence for verdict in found)
    assert "localcluster, cloudoffload: all equal" in text
    assert "0.25 of LocalCluster's wall (promised: at most 0.3): kept" in text
    assert "70 bytes through the client" in text


@pytest.mark.parametrize(
    ("workload", "runs", "firm", "said"),
    [
        (replace(WORKLOAD, promises=(wall_of_peer(0.2),)), ROUNDS, False, "promised: at most 0.2): MISSED"),
        (replace(WORKLOAD, client_limit=70), ROUNDS, True, "promised: fewer than 70): MISSED"),
        (WORKLOAD, [*ROUNDS, run("threads", 1, 1.0, answers=((2.0,),))], True, "NOT EQUAL: [(1.0,), (2.0,)]"),
        (WORKLOAD, [*ROUNDS, run("threads", 2, 1.0, walls=(), answers=(), error="boom")], True, "round 2: boom"),
    ],
    ids=["slow", "chatty", "wrong", "failed"],
)
def test_each_broken_promise_is_found(workload: Workload, runs: list[Run], firm: bool, said: str) -> None:
    """One verdict is not kept, and says which."""
    broken = [verdict for verdict in verdicts(runs, summarize(runs, workload, 5), workload, 5) if not verdict.kept]
    assert [(verdict.firm, said in verdict.sentence) for verdict in broken] == [(firm, True)]


def test_a_failed_round_does_not_spoil_the_others() -> None:
    """A run without numbers is left out of the medians; without a peer nothing is said of it."""
    runs = [replace(item, walls=(), error="boom") if item.round == 3 else item for item in ROUNDS]
    lines = {line.engine: line for line in summarize(runs, WORKLOAD, size=5)}
    assert lines["cloudoffload"].rounds == 2
    assert lines["cloudoffload"].wall_ratio == Ratio(0.375, 0.25, 0.5)
    alone = [item for item in ROUNDS if item.engine == "cloudoffload"]
    (line,) = summarize(alone, WORKLOAD, size=5)
    assert line.wall_ratio is None
    found = verdicts(alone, [line], replace(WORKLOAD, promises=(wall_of_peer(0.3), client_microseconds(1.0))), 5)
    assert ["LocalCluster" in verdict.sentence for verdict in found] == [False] * 3, "it was not compared with anything"
