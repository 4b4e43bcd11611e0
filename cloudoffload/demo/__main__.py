"""``python -m cloudoffload.demo``: a year of flights, questions, an emulated AWS, the bill, and pandas as the judge."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from rich.console import Console

from cloudoffload.demo import chart, display, flights
from cloudoffload.demo.catalogue import QUESTIONS, Question
from cloudoffload.demo.compare import UnequalError, frames, require_equal
from cloudoffload.demo.progress import Watch, size
from cloudoffload.engine.events import Totals
from cloudoffload.engine.session import Session
from cloudoffload.ledger.money import format_usd

BUCKET = "s3://flights"
YEAR_ROWS = 336_776
REPEATS = 30

T = TypeVar("T")


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m cloudoffload.demo", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help=f"only the {YEAR_ROWS:,} flights as they are, not repeated"
    )
    parser.add_argument(
        "--rows",
        type=int,
        default=REPEATS * YEAR_ROWS,
        help="about how many rows the big questions get, by repeating the flights (default: %(default)s)",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("demo-output"), help="folder of the chart (default: %(default)s)"
    )
    return parser.parse_args(argv)


class Demo:
    """One run: what it has read, asked and found so far.

    Parameters
    ----------
    console : Console
        Where everything is shown.
    session : Session
        An open session with an emulated AWS.
    copies : int
        How often the flights are repeated for the big questions.
    """

    def __init__(self, console: Console, session: Session, copies: int) -> None:
        self.console = console
        self.session = session
        self.copies = copies
        self.totals = Totals()
        self.answers: dict[str, pd.DataFrame] = {}
        self._timings: list[tuple[str, int, float, float, float]] = []
        self._parquet = 0

    def prepare(self) -> None:
        """Read the CSV files and write them into S3: as they are, and repeated."""
        self._tables = flights.read(flights.source_folder())
        plain, repeated = f"{BUCKET}/once", f"{BUCKET}/repeated"
        self._written = {1: self._put(plain, 1)}
        self._opened = {1: flights.open_tables(plain)}
        if self.copies > 1:
            self._written[self.copies] = self._put(repeated, self.copies)
            self._opened[self.copies] = flights.open_tables(plain, repeated)

    def _put(self, url: str, copies: int) -> flights.Written:
        written, seconds = timed(lambda: flights.write(self._tables, url, copies))
        kind = "as they are" if copies == 1 else f"the same flights {copies} times over"
        self.console.print(
            f"{url}: {written.rows:,} flights, {kind}; {written.objects} Parquet objects, {size(written.nbytes)}, "
            f"written in {seconds:.1f} s"
        )
        return written

    def ask(self, number: int, question: Question) -> None:
        """Plan, estimate, compute, show, and compare with pandas.

        Raises
        ------
        UnequalError
            Dask's answer is not what pandas found.
        """
        copies = self.copies if question.big else 1
        written = self._written[copies]
        parquet = sum(written.columns[name] for name in question.columns)
        self._parquet += parquet
        collection = question.ask(*(self._opened[copies][name] for name in question.tables))
        display.question_header(self.console, number, question, written.rows, parquet)
        display.plan_and_estimate(self.console, self.session.plan(collection), self.session.estimate(collection))
        with Watch(self.session.events, self.console, self.totals) as watch:
            try:
                answer, here = timed(collection.compute)
            finally:
                self.totals = watch.totals
        self._compare(question, answer, copies, here, timed(lambda: collection.compute(scheduler="threads"))[1])

    def _compare(self, question: Question, answer: Any, copies: int, emulated: float, threads: float) -> None:
        twin_arguments = frames(question, self._tables, copies)
        expected, seconds = timed(lambda: question.twin(*twin_arguments))
        table = self.answers[question.name] = require_equal(question, answer, expected)
        rows = len(twin_arguments[0])
        repeated = f" (the CSV file's, repeated {copies} times in memory)" if copies > 1 else " of the CSV file"
        display.answer(self.console, question, table, f"{rows:,} rows{repeated}")
        self._timings.append((question.name, rows, emulated, threads, seconds))

    def conclude(self, output: Path) -> None:
        """Charts, the bill, who did the work, and how long each way took."""
        display.bars(self.console, chart.by_airline(self.answers["carriers"]), "Mean arrival delay by airline, minutes")
        path = output / "flights.png"
        chart.draw(self.answers["spread"], self.answers["carriers"], path)
        self.console.print(f"chart: {path}")
        display.bill(self.console, *(self.session.report(by=by) for by in ("provider", "layer")))
        written = sum(data.nbytes for data in self._written.values())
        display.proof(self.console, self.session.stats(), self._parquet, written)
        display.timings(self.console, self._timings)


def timed(work: Callable[[], T]) -> tuple[T, float]:
    """What ``work`` returns, and how many seconds it took."""
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def run(console: Console, copies: int, output: Path) -> None:
    """The whole demo, on an emulated AWS that lives as long as this call."""
    console.print(display.INTRODUCTION, soft_wrap=True)
    with Session(emulate=("aws",), providers=("aws",), budget="1 USD", tags={"demo": "flights"}) as session:
        os.environ.update(session.client_environment())
        demo = Demo(console, session, copies)
        try:
            demo.prepare()
            for number, question in enumerate(QUESTIONS, 1):
                demo.ask(number, question)
            demo.conclude(output)
        except KeyboardInterrupt:
            console.print(f"stopped; {format_usd(demo.totals.usd)} (emulated) were spent until then")
            raise


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code: 0, 1 when an answer is not pandas' answer, 2 without data, 130 on Ctrl-C."""
    chosen = arguments(argv)
    # A file has no width of its own, and rich would assume 80 columns.
    console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 120)
    copies = 1 if chosen.quick else max(1, round(chosen.rows / YEAR_ROWS))
    try:
        run(console, copies, chosen.output)
    except UnequalError as difference:
        console.print(str(difference), markup=False)
        return 1
    except ModuleNotFoundError as missing:
        console.print(str(missing), markup=False)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
