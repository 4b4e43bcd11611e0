"""What the demo shows: plain tables and sentences, on a terminal or in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from numbers import Integral
from typing import Any

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cloudoffload.demo.progress import dollars, size
from cloudoffload.demo.questions import Question
from cloudoffload.types import Estimate, Plan

ROWS_SHOWN = 8

INTRODUCTION = """\
[bold]Every flight that left New York in 2013, asked by stock Dask, answered by cloud functions.[/bold]

Where things run: an emulated AWS on this machine. Functions are real awslambdaric processes (the client that AWS runs
inside Lambda); S3 is moto, a server that speaks its protocol. Emulated dollars are list prices on measured use: nobody
is billed, and no account is touched.
"""


def frame_table(frame: pd.DataFrame, title: str = "", rows: int = ROWS_SHOWN) -> Table:
    """The first rows of a frame as a table of the terminal; numbers right, text left.

    Parameters
    ----------
    frame : DataFrame
        Any columns; floats are shown with two decimals.
    title : str
        Shown above.
    rows : int
        Most rows to show; a last line says how many are left.
    """
    table = Table(title=title or None, title_justify="left", box=None, padding=(0, 2), pad_edge=True)
    for name in frame.columns:
        numeric = pd.api.types.is_numeric_dtype(frame[name]) and not pd.api.types.is_bool_dtype(frame[name])
        table.add_column(escape(str(name)), justify="right" if numeric else "left")
    for row in frame.head(rows).itertuples(index=False):
        table.add_row(*(escape(_cell(value)) for value in row))
    if len(frame) > rows:
        table.caption = f"{len(frame) - rows:,} more rows"
        table.caption_justify = "left"
    return table


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Integral):  # numpy's integers too, which are no int
        return f"{int(value):,}"
    return f"{value:,.2f}" if isinstance(value, float) else str(value)


def question_header(console: Console, number: int, question: Question, rows: int) -> None:
    """The question as a person asks it, and how many flights it is asked of."""
    of = f"{rows:,} flights" if "flights" in question.tables else ", ".join(question.tables)
    console.print()
    console.rule(f"[bold]{number}. {question.title}[/bold]", align="left")
    console.print(f"  asked of {of}; its code: {question.ask.__module__}.{question.ask.__name__}")


def plan_and_estimate(console: Console, plan: Plan, estimate: Estimate) -> None:
    """What will run, where, and what it may cost: known before anything is spent."""
    kinds = Counter(unit.prefix for unit in plan.units)
    units = ", ".join(f"{count} {prefix}" for prefix, count in kinds.most_common())
    places = ", ".join(f"{count} on {name}" for name, count in estimate.by_provider.items())
    console.print(f"  plan: {len(plan.units)} units ({escape(units)}); {escape(places)}")
    console.print(
        f"  estimate: {dollars(estimate.usd_low)} to {dollars(estimate.usd_high)}, about {estimate.seconds:.1f} s, "
        f"{estimate.calls} calls, {size(estimate.bytes_in)} in, {size(estimate.bytes_out)} out"
    )


def answer(console: Console, question: Question, table: pd.DataFrame, compared_with: str) -> None:
    """The answer's rows with the most of what the question is about, after they were compared."""
    console.print(frame_table(table.sort_values(question.top, ascending=False, kind="stable")))
    console.print(f"  [green]equal to pandas[/green]: all {len(table):,} rows, computed by pandas from {compared_with}")


def bars(console: Console, values: pd.Series[float], title: str, width: int = 40) -> None:
    """A bar chart of text; bars of negative values are drawn in another character.

    Parameters
    ----------
    values : Series
        One bar for each, labelled by the index.
    title : str
        Shown above; says the unit.
    width : int
        Characters of the longest bar.
    """
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1), show_header=False)
    longest = float(values.abs().max()) or 1.0
    for label, value in values.items():
        length = round(abs(value) / longest * width)
        table.add_row(escape(str(label)), f"{value:.1f}", ("█" if value >= 0 else "░") * length)
    console.print(table)


def bill(console: Console, reports: Mapping[str, pd.DataFrame]) -> None:
    """The session's report, once for each way to cut it.

    Parameters
    ----------
    console : Console
        Where it goes.
    reports : mapping of str to DataFrame
        Such as ``{"provider": ..., "layer": ...}``.
    """
    console.print()
    console.rule("[bold]The bill (emulated dollars)[/bold]", align="left")
    for by, frame in reports.items():
        console.print(frame_table(frame, title=f"by {by}", rows=20))


def proof(console: Console, stats: Mapping[str, Any], processed: int, data_out: int) -> None:
    """Who did the work, and how little of the data passed through this process.

    Parameters
    ----------
    console : Console
        Where it goes.
    stats : mapping
        As ``session.stats()`` returns it.
    processed : int
        Bytes that workers read and wrote.
    data_out : int
        Bytes of Parquet that this process wrote into S3 before the first question.
    """
    for name, counts in stats["providers"].items():
        console.print(
            f"  {escape(name)} ran {counts['units']:,} units in {counts['calls']:,} calls for {dollars(counts['usd'])}"
        )
    console.print(
        f"  the functions processed {size(processed)}; {size(stats['client_bytes_in'])} came into this process for that"
        f" and {size(stats['client_bytes_out'])} left it; before, it had written {size(data_out)} of data into S3"
    )


def timings(console: Console, rows: list[tuple[str, int, float, float, float]]) -> None:
    """How long each way took: said, not claimed.

    Parameters
    ----------
    console : Console
        Where it goes.
    rows : list of (name, flights, seconds emulated, seconds by threads, seconds by pandas)
        One for each question.
    """
    frame = pd.DataFrame(rows, columns=["question", "flights", "emulated cloud, s", "Dask threads, s", "pandas, s"])
    console.print(frame_table(frame, title="How long it took here", rows=len(rows)))
    console.print(
        "  All three ran on this machine's own cores, one after the other: they say what the machinery adds, not how "
        "fast a cloud is. pandas had the data in memory, the others read it from the emulated S3, and the first "
        "question also started the functions' processes."
    )
