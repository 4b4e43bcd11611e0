"""Promises of what is made of the runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.harness import Run
from benchmarks.summary import summarize, verdicts
from benchmarks.workloads import WORKLOADS, Workload

WORKLOAD: Workload = replace(
    WORKLOADS["noop"], result_bytes=lambda size: 8 * size, speedup=3.0, client_limit=100, baseline="localcluster"
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
    """The median of 8/2, 4/2 and 30/3 is 4; the ratio of the medians would be another number."""
    lines = {line.engine: line for line in summarize(ROUNDS, WORKLOAD, size=5)}
    faster = lines["cloudoffload"].faster
    assert faster is not None
    assert (faster.median, faster.lowest, faster.highest) == (4.0, 2.0, 10.0)
    assert lines["cloudoffload"].lighter == faster
    assert lines["cloudoffload"].wall == 2.0  # of three repetitions, the slow one does not count
    assert lines["localcluster"].faster is not None
    assert lines["localcluster"].faster.median == 1.0


def test_results_are_not_traffic() -> None:
    """What the user asked for is taken off before the client's traffic is judged."""
    (line,) = [line for line in summarize(ROUNDS, WORKLOAD, size=5) if line.engine == "cloudoffload"]
    assert (line.client_in, line.client_out, line.client_beyond) == (60.0, 50.0, 70.0)


def test_kept_promises_are_said() -> None:
    """All verdicts hold, and each names its number."""
    found = verdicts(ROUNDS, summarize(ROUNDS, WORKLOAD, size=5), WORKLOAD)
    assert all(verdict.kept for verdict in found)
    assert [verdict.firm for verdict in found] == [True, False, True]
    text = "\n".join(verdict.sentence for verdict in found)
    assert "localcluster, cloudoffload: all equal" in text
    assert "4.0 times as fast as localcluster" in text
    assert "70 bytes through the client" in text


@pytest.mark.parametrize(
    ("workload", "runs", "firm", "said"),
    [
        (replace(WORKLOAD, speedup=4.5), ROUNDS, False, "promised: 4.5 or more): MISSED"),
        (replace(WORKLOAD, client_limit=70), ROUNDS, True, "promised: fewer than 70): MISSED"),
        (WORKLOAD, [*ROUNDS, run("threads", 1, 1.0, answers=((2.0,),))], True, "NOT EQUAL: [(1.0,), (2.0,)]"),
        (WORKLOAD, [*ROUNDS, run("threads", 2, 1.0, walls=(), answers=(), error="boom")], True, "round 2: boom"),
    ],
    ids=["slow", "chatty", "wrong", "failed"],
)
def test_each_broken_promise_is_found(workload: Workload, runs: list[Run], firm: bool, said: str) -> None:
    """One verdict is not kept, and says which."""
    broken = [verdict for verdict in verdicts(runs, summarize(runs, workload, 5), workload) if not verdict.kept]
    assert [(verdict.firm, said in verdict.sentence) for verdict in broken] == [(firm, True)]


def test_a_failed_round_does_not_spoil_the_others() -> None:
    """A run without numbers is left out of the medians; a round without a baseline gives no ratio."""
    runs = [replace(item, walls=(), error="boom") if item.round == 3 else item for item in ROUNDS]
    lines = {line.engine: line for line in summarize(runs, WORKLOAD, size=5)}
    assert lines["cloudoffload"].rounds == 2
    assert lines["cloudoffload"].faster is not None
    assert lines["cloudoffload"].faster.median == 3.0
    alone = summarize([item for item in ROUNDS if item.engine == "cloudoffload"], WORKLOAD, size=5)
    assert alone[0].faster is None
