"""The figures as a picture: each workload's engines beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.summary import Line, Ratio

_BAR = 0.09  # width; workloads are 1 apart

_Bars: TypeAlias = Mapping[str, Mapping[str, Ratio]]
"""Heights and what they varied between, by workload and engine."""


def draw(path: Path, workloads: Mapping[str, Sequence[Line]]) -> None:
    """Draw wall and memory of every engine as a part of its peer's, and the CPU that each unit takes of the client.

    Parameters
    ----------
    path : Path
        Of the picture; its ending says which kind: ``.svg`` or ``.png``.
    workloads : mapping of str to sequence of Line
        What each gave.
    """
    walls = {
        name: {line.engine: line.wall_ratio for line in lines if line.wall_ratio} for name, lines in workloads.items()
    }
    peaks = {
        name: {line.engine: line.memory_ratio for line in lines if line.memory_ratio}
        for name, lines in workloads.items()
    }
    client = {
        name: {line.engine: Ratio(line.client_us, line.client_us, line.client_us) for line in lines}
        for name, lines in workloads.items()
    }
    engines = list(dict.fromkeys(line.engine for lines in workloads.values() for line in lines))
    colours = {name: f"C{number}" if number < 10 else str(0.15 * (number - 9)) for number, name in enumerate(engines)}
    figure = Figure(figsize=(max(8.0, 1.2 * len(workloads) + 3.0), 11.0), layout="constrained")
    above, middle, below = figure.subplots(3, 1)
    _bars(above, walls, colours, "wall, as a part of the peer's (logarithmic)", log=True)
    _bars(middle, peaks, colours, "peak memory of the whole tree, as a part of the peer's", log=False)
    _bars(below, client, colours, "us of the client's CPU per unit (logarithmic)", log=True)
    figure.legend(*below.get_legend_handles_labels(), loc="outside right upper")
    for axes in (above, middle):
        axes.axhline(1.0, color="0.3", linewidth=0.8)
    figure.savefig(path)


def _bars(axes: Axes, heights: _Bars, colours: Mapping[str, str], title: str, *, log: bool) -> None:
    """One group of bars a workload; whiskers go from the lowest round to the highest."""
    for engine, colour in colours.items():
        found = [
            (place + _BAR * (list(of).index(engine) - (len(of) - 1) / 2), of[engine])
            for place, of in enumerate(heights.values())
            if engine in of
        ]
        ratios = [ratio for _, ratio in found]
        whiskers = [[it.median - it.lowest for it in ratios], [it.highest - it.median for it in ratios]]
        centres, middles = [centre for centre, _ in found], [it.median for it in ratios]
        axes.bar(centres, middles, _BAR, yerr=whiskers, color=colour, label=engine, log=log)
    axes.set_title(title)
    axes.set_xticks(range(len(heights)), list(heights))
    axes.set_xlim(-0.5, max(len(heights), 1) - 0.5)
