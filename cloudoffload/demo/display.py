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

from cloudoffload.demo.catalogue import Question
from cloudoffload.demo.progress import size
from cloudoffload.ledger.money import format_usd
from cloudoffload.ledger.report import Report
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


def question_header(console: Console, number: int, question: Question, rows: int, parquet: int) -> None:
    """The question as a person asks it, and how much it is asked of.

    Parameters
    ----------
    console : Console
        Where it goes.
    number : int
        Place in the demo.
    question : Question
        What is asked.
    rows : int
        Flights that it is asked of.
    parquet : int
        What the columns that it needs take up in S3, bytes.
    """
    of = f"{rows:,} flights ({size(parquet)} of Parquet)" if question.columns else ", ".join(question.tables)
    console.print()
    console.rule(f"[bold]{number}. {question.title}[/bold]", align="left")
    console.print(f"  asked of {of}; its code: {question.ask.__module__}.{question.ask.__name__}")


def plan_and_estimate(console: Console, plan: Plan, estimate: Estimate) -> None:
    """What will run, where, and what it may cost: known before anything is spent."""
    kinds = Counter(unit.prefix for unit in plan.units)
    units = ", ".join(f"{count} {prefix}" for prefix, count in kinds.most_common())
    places = ", ".join(f"{count} on {name}" for name, count in estimate.by_provider.items())
    count = f"{len(plan.units)} unit" + "s" * (len(plan.units) != 1)
    console.print(f"  plan: {count} ({escape(units)}); {escape(places)}")
    low, high = format_usd(estimate.usd_low), format_usd(estimate.usd_high)
    console.print(
        f"  estimate: {low} to {high}, about {estimate.seconds:.1f} s, {estimate.calls} calls, "
        f"{size(estimate.bytes_in)} to read"
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
    console.print()
    for label, value in values.items():
        length = round(abs(value) / longest * width)
        table.add_row(escape(str(label)), f"{value:.1f}", ("█" if value >= 0 else "░") * length)
    console.print(table)


def bill(console: Console, *reports: Report) -> None:
    """The session's report, once for each way to cut it, and what it leaves out.

    Price of a GET: S3 standard, us-east-1 list price, November 2026.
    """
    console.print()
    console.rule("[bold]The bill (emulated dollars)[/bold]", align="left")
    for report in reports:
        console.print(f"{report}\n", markup=False)
    console.print(
        "Not metered, so not in it: the GETs by which the questions' own code reads Parquet ($0.0004 per 1,000).\n"
    )


def proof(console: Console, stats: Mapping[str, Any], parquet: int, written: int) -> None:
    """Who did the work, and how little of the data passed through this process.

    Parameters
    ----------
    console : Console
        Where it goes.
    stats : mapping
        As ``session.stats()`` returns it.
    parquet : int
        Bytes that the flights' columns of all questions take up in S3; the functions read them there.
    written : int
        Bytes of Parquet that this process wrote into S3 before the first question.
    """
    for name, counts in stats["providers"].items():
        usd = format_usd(counts["usd"])
        console.print(f"  {escape(name)} ran {counts['units']:,} units in {counts['calls']:,} calls for {usd}")
    moved = stats["client_bytes_in"] + stats["client_bytes_out"]
    console.print(
        f"  the functions read the flights' columns from S3, {size(parquet)} of Parquet, and exchanged "
        f"{size(stats['bytes_processed'])} through the store"
    )
    console.print(
        f"  through this process went {size(moved)}: {size(stats['client_bytes_in'])} in, "
        f"{size(stats['client_bytes_out'])} out (before, it had written the {size(written)} of data into S3)\n"
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
