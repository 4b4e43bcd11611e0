"""What a workload promises of cloudoffload: a figure of each round, and its limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from benchmarks.run import Run

CPUS = 2
"""What all engines of this machine may keep busy at once."""


@dataclass(frozen=True, slots=True)
class Beside:
    """One engine's run, and what it is compared with."""

    run: Run
    others: Mapping[str, Run]  # of the same round, by engine; those that gave numbers
    peer: Run | None  # the fastest of the workload's peers in the same round
    size: int
    pieces: int  # what the work is made of: tasks, files, images


@dataclass(frozen=True, slots=True)
class Promise:
    """A figure and its limit; the median of all rounds is judged."""

    what: str  # the figure and its unit, as it is said
    figure: Callable[[Beside], float | None]  # None when it can't be told: its peer did not run
    limit: float
    least: bool = False  # the limit is the least, else the most


def wall_of_peer(most: float) -> Promise:
    """Wall seconds, as a part of what LocalCluster took in the same round, p2p or tasks, whichever was faster."""
    return Promise("of LocalCluster's wall", lambda it: it.run.wall / it.peer.wall if it.peer else None, most)


def wall_of(engine: str, most: float) -> Promise:
    """Wall seconds, as a part of another engine's in the same round."""

    def figure(it: Beside) -> float | None:
        other = it.others.get(engine)
        return it.run.wall / other.wall if other else None

    return Promise(f"of the wall of {engine}", figure, most)


def wall_over(engine: str, most: float) -> Promise:
    """Milliseconds beyond what another engine took in the same round."""

    def figure(it: Beside) -> float | None:
        other = it.others.get(engine)
        return (it.run.wall - other.wall) * 1e3 if other else None

    return Promise(f"ms over {engine}", figure, most)


def memory_of_peer(most: float) -> Promise:
    """Peak memory of the whole tree, as a part of LocalCluster's."""
    return Promise("of LocalCluster's memory", lambda it: it.run.memory / it.peer.memory if it.peer else None, most)


def pieces_per_second(least: float) -> Promise:
    """Pieces of work done in a second."""
    return Promise("units/s", lambda it: it.pieces / it.run.wall, least, least=True)


def client_microseconds(most: float) -> Promise:
    """CPU of the client's process alone for each piece of work."""
    return Promise("us of client CPU per unit", lambda it: it.run.client_cpu / it.pieces * 1e6, most)


def wall_of_busy_cpus(most: float) -> Promise:
    """Wall seconds, as a part of what the same CPU seconds take when no CPU ever waits."""
    what = f"of its CPU seconds / {CPUS}"
    return Promise(what, lambda it: it.run.wall / (it.run.cpu / CPUS) if it.run.cpu else None, most)


def part_of_ideal(ideal: Callable[[int], float], least: float) -> Promise:
    """How near a run comes to the shortest wall that its size allows, seconds; 1 is ideal."""
    return Promise("of the ideal speed", lambda it: ideal(it.size) / it.run.wall, least, least=True)
