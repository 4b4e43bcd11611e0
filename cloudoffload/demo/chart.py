"""The demo's one picture: how delays are spread, and which airlines are late."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

BLUE = "#2f6fa7"


def by_airline(carriers: pd.DataFrame) -> pd.Series[float]:
    """Mean arrival delay of the year in minutes by airline, latest first.

    Parameters
    ----------
    carriers : DataFrame
        Answer of the question "carriers": one row for each airline and month.
    """
    # A month's mean counts as much as it has flights: the mean of twelve means would be another number.
    minutes = (carriers["arrival"] * carriers["flights"]).groupby(carriers["name"]).sum()
    flights = carriers["flights"].groupby(carriers["name"]).sum()
    return (minutes / flights).sort_values(ascending=False)


def draw(spread: pd.DataFrame, carriers: pd.DataFrame, path: Path) -> None:
    """Write the chart as PNG; folders are made as needed.

    Parameters
    ----------
    spread, carriers : DataFrame
        Answers of the questions "spread" and "carriers".
    path : Path
        Where the picture goes.
    """
    # Figure without pyplot: no window system is asked for, and no global state is left behind.
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    starts = spread["minutes_from"]
    left.bar(starts, spread["flights"], width=starts.diff().median() * 0.92, align="edge", color=BLUE)
    left.axvline(0, color="black", linewidth=0.8)
    left.yaxis.set_major_formatter("{x:,.0f}")
    left.set(title="Flights by arrival delay, 2013", xlabel="minutes late (negative: early)", ylabel="flights")

    airlines = by_airline(carriers)[::-1]
    right.barh(list(airlines.index), airlines.to_list(), color=BLUE)
    right.axvline(0, color="black", linewidth=0.8)
    right.set(title="Mean arrival delay by airline, 2013", xlabel="minutes late")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
