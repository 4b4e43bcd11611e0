"""The ratios as a picture: each workload's engines beside their peer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.summary import Line, Ratio

_WIDTH = 0.8  # of a workload's group of bars; workloads are 1 apart


def draw(path: Path, workloads: Mapping[str, Sequence[Line]]) -> bool:
    """Draw wall and memory of every engine, as a part of its peer's.

    Parameters
    ----------
    path : Path
        Of the picture; its ending says which kind: ``.svg`` or ``.png``.
    workloads : mapping of str to sequence of Line
        Workloads without ratios are left out.

    Returns
    -------
    bool
        False when no workload has a ratio: then there is no picture.
    """
    compared = {name: lines for name, lines in workloads.items() if any(line.wall_ratio for line in lines)}
    if not compared:
        return False
    engines = list(dict.fromkeys(line.engine for lines in compared.values() for line in lines))
    figure = Figure(figsize=(max(7.0, 1.7 * len(compared) + 2.5), 8.0), layout="constrained")
    wall, memory = figure.subplots(2, 1)
    walls = {name: {line.engine: line.wall_ratio for line in lines} for name, lines in compared.items()}
    peaks = {name: {line.engine: line.memory_ratio for line in lines} for name, lines in compared.items()}
    _bars(wall, engines, walls)
    _bars(memory, engines, peaks)
    wall.set_title("wall, as a part of the peer's (less is better)")
    memory.set_title("peak memory of the whole tree, as a part of the peer's")
    figure.legend(*wall.get_legend_handles_labels(), loc="outside right upper")
    figure.savefig(path)
    return True


def _bars(axes: Axes, engines: Sequence[str], ratios: Mapping[str, Mapping[str, Ratio | None]]) -> None:
    """One group of bars a workload, with whiskers from the lowest round to the highest."""
    for number, engine in enumerate(engines):
        of_engine = {place: found.get(engine) for place, found in enumerate(ratios.values())}
        present = {place: ratio for place, ratio in of_engine.items() if ratio is not None}
        if not present:
            continue
        offset = _WIDTH * ((number + 0.5) / len(engines) - 0.5)
        whiskers = [
            [ratio.median - ratio.lowest for ratio in present.values()],
            [ratio.highest - ratio.median for ratio in present.values()],
        ]
        axes.bar(
            [place + offset for place in present],
            [ratio.median for ratio in present.values()],
            _WIDTH / len(engines),
            yerr=whiskers,
            color=f"C{number}" if number < 10 else str(0.2 * (number - 9)),
            label=engine,
        )
    axes.axhline(1.0, color="0.3", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xticks(range(len(ratios)), list(ratios))
