"""Promises of the figures that promises are made of."""

from __future__ import annotations

import pytest

from benchmarks.promises import (
    Beside,
    Promise,
    client_microseconds,
    memory_of_peer,
    part_of_ideal,
    pieces_per_second,
    wall_of,
    wall_of_busy_cpus,
    wall_of_peer,
    wall_over,
)
from benchmarks.run import Run, best_of

OURS = Run("cloudoffload", 1, walls=(1.0, 2.0, 9.0), cpu=3.0, client_cpu=0.5, memory=300)
THREADS = Run("threads", 1, walls=(1.5,), memory=100)
CLUSTER = Run("localcluster", 1, walls=(4.0,), memory=400)

BESIDE = Beside(OURS, {"cloudoffload": OURS, "threads": THREADS, "localcluster": CLUSTER}, CLUSTER, size=40, pieces=8)
ALONE = Beside(OURS, {"cloudoffload": OURS}, None, size=40, pieces=8)


@pytest.mark.parametrize(
    ("promise", "expected"),
    [
        (wall_of_peer(1), 0.5),
        (memory_of_peer(1), 0.75),
        (wall_of("threads", 1), 2 / 1.5),
        (wall_over("threads", 1), 500.0),
        (pieces_per_second(1), 4.0),
        (client_microseconds(1), 62_500.0),
        (wall_of_busy_cpus(1), 2.0 / 1.5),
        (part_of_ideal(lambda size: size / 25, 1), 0.8),
    ],
    ids=lambda value: value.what if isinstance(value, Promise) else "",
)
def test_each_figure_is_what_its_name_says(promise: Promise, expected: float) -> None:
    """Two seconds in the median, eight pieces, beside a peer of four seconds and threads of one and a half."""
    assert promise.figure(BESIDE) == pytest.approx(expected)


@pytest.mark.parametrize(
    "promise", [wall_of_peer(1), memory_of_peer(1), wall_of("threads", 1), wall_over("threads", 1)]
)
def test_without_a_peer_there_is_no_figure(promise: Promise) -> None:
    """An engine that was left out, or that failed, is nothing to compare with."""
    assert promise.figure(ALONE) is None


def test_only_speeds_have_a_least_value() -> None:
    """Of all others less is better."""
    assert pieces_per_second(1).least
    assert part_of_ideal(float, 1).least
    assert not any(promise.least for promise in (wall_of_peer(1), wall_over("threads", 1), client_microseconds(1)))


def test_the_best_run_has_numbers() -> None:
    """The fastest of the named engines; one that failed is none of them."""
    failed = Run("localcluster-tasks", 1, error="boom")
    peers = ("localcluster", "localcluster-tasks")
    assert best_of([OURS, failed, CLUSTER], peers) is CLUSTER
    assert best_of([OURS, Run("localcluster-tasks", 1, walls=(3.0,)), CLUSTER], peers).walls == (3.0,)  # type: ignore[union-attr]
    assert best_of([OURS, failed], peers) is None
