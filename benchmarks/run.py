"""What one engine did in one round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Run:
    """Figures of a fresh tree of processes."""

    engine: str
    round: int  # from 1
    walls: tuple[float, ...] = ()  # seconds of each repetition
    answers: tuple[tuple[float, ...], ...] = ()  # of each repetition
    cpu: float = 0.0  # CPU seconds of the whole tree, for each repetition
    client_cpu: float = 0.0  # CPU seconds of the client's own process alone, for each repetition
    client: tuple[float, float] | None = None  # bytes in and out through the client, for each repetition
    memory: int = 0  # most memory of the whole tree at one moment, bytes
    files: int = 0  # most bytes of files that it kept at one moment
    files_in_memory: bool = False  # they lie in a memory file system, and are part of `memory`
    error: str = ""  # why there are no numbers

    @property
    def wall(self) -> float:
        """Seconds, median of the repetitions."""
        return median(self.walls)


def best_of(runs: Iterable[Run], engines: Iterable[str]) -> Run | None:
    """The fastest run of these engines, None when none of them gave numbers."""
    names = set(engines)
    return min((run for run in runs if run.engine in names and not run.error), key=lambda run: run.wall, default=None)
