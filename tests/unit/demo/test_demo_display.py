"""What the demo shows: the numbers that it was given, readable, also in a file."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from cloudoffload.demo import chart, display
from cloudoffload.demo.catalogue import QUESTIONS
from cloudoffload.demo.progress import Watch, progress_line, size
from cloudoffload.engine.events import Event, EventKind, Events, Totals
from cloudoffload.ledger.report import Report
from cloudoffload.ledger.rows import added_up
from cloudoffload.types import Charge, Estimate, Plan, Resources, Unit


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120, highlight=False)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


BEFORE = Totals(units_total=10, units_done=10, calls=4, usd=Decimal("0.001"), bytes_processed=5_000_000, seconds=3.0)
NOW = Totals(units_total=30, units_done=15, calls=6, usd=Decimal("0.0015"), bytes_processed=25_000_000, seconds=5.0)


def test_a_line_tells_of_this_question_only() -> None:
    """What earlier questions did in the same session is not counted again."""
    assert progress_line(BEFORE, NOW) == "5/20 units · 2 calls · $0.0005 · 20.0 MB through the store · 10.0 MB/s"


def test_no_time_has_no_speed() -> None:
    """Before the first event there is nothing to divide by."""
    assert progress_line(BEFORE, BEFORE) == "0/0 units · 0 calls · $0.00 · 0 B through the store"


@pytest.mark.parametrize(
    ("nbytes", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (161_200_000, "161.2 MB"), (2.5e9, "2.50 GB")]
)
def test_sizes_are_readable(nbytes: float, text: str) -> None:
    """Bytes are said in the unit that fits them."""
    assert size(nbytes) == text


def publish(events: Events, totals: Totals) -> None:
    events.publish(Event(EventKind.CALL_ENDED, 1, totals))


def test_a_file_gets_one_line_at_the_end(console: Console) -> None:
    """Without a terminal nothing moves: the line comes once, and no control character."""
    events = Events()
    with Watch(events, console, BEFORE) as watch:
        publish(events, BEFORE)
        publish(events, NOW)
        assert shown(console) == ""
    assert watch.totals == NOW
    assert shown(console) == f"  done: {progress_line(BEFORE, NOW)}\n"


def test_time_before_the_question_slows_nothing(console: Console) -> None:
    """Seconds count from a question's first event: what was done between two questions is not part of either."""
    events = Events()
    with Watch(events, console, replace(BEFORE, seconds=0.0)):
        publish(events, BEFORE)
        publish(events, NOW)
    assert "10.0 MB/s" in shown(console)


def test_a_terminal_sees_the_line_move() -> None:
    """On a terminal the numbers of an event are drawn while the question still runs."""
    console = Console(file=io.StringIO(), width=120, force_terminal=True, highlight=False)
    events = Events()
    with Watch(events, console, BEFORE):
        publish(events, NOW)
        for _ in range(500):  # drawn by a thread of its own, some times a second
            if "5/20 units" in shown(console):
                break
            time.sleep(0.02)
        assert "5/20 units" in shown(console)


def test_after_the_question_nobody_listens(console: Console) -> None:
    """A late event of one question doesn't change what the next one starts from; a failure claims nothing done."""
    events = Events()
    watch = Watch(events, console, BEFORE)
    with pytest.raises(KeyboardInterrupt), watch:
        raise KeyboardInterrupt
    publish(events, NOW)
    assert watch.totals == BEFORE
    assert shown(console) == ""


def test_plan_and_estimate_are_said_before(console: Console) -> None:
    """Units by kind and by place, dollars from low to high, seconds, calls, bytes."""
    units = (Unit(0, "a", "read-parquet", (), 0), Unit(1, "b", "read-parquet", (), 1), Unit(2, "c", "sum", (), 2))
    estimate = Estimate(Decimal("0.001"), Decimal("0.002"), 1.25, 2_000_000, 3_000, 2, 3, {"aws": 2, "local": 1})
    display.plan_and_estimate(console, Plan(units, b"", (), ()), estimate)
    assert shown(console) == (
        "  plan: 3 units (2 read-parquet, 1 sum); 2 on aws, 1 on local\n"
        "  estimate: $0.001 to $0.002, about 1.2 s, 2 calls, 2.0 MB to read\n"
    )


def test_an_answer_shows_its_top_rows(console: Console) -> None:
    """The rows with the most come first, and the number of rows compared is the number of all rows."""
    question = next(question for question in QUESTIONS if question.name == "words")
    table = pd.DataFrame({"word": [f"w{number}" for number in range(20)], "airports": range(20)})
    display.answer(console, question, table, "7 rows")
    lines = shown(console).splitlines()
    assert lines[1].split() == ["w19", "19"]
    assert "12 more rows" in shown(console)
    assert "equal to pandas: all 20 rows, computed by pandas from 7 rows" in shown(console)


def test_cells_are_text_not_markup(console: Console) -> None:
    """Brackets in data are shown as they are; booleans are words; numbers have separators."""
    frame = pd.DataFrame({"name": ["[red]x[/red]"], "flag": [True], "count": [1234567], "mean": [1.005]})
    console.print(display.frame_table(frame))
    assert shown(console).splitlines()[1].split() == ["[red]x[/red]", "yes", "1,234,567", "1.00"]


def test_bars_are_as_long_as_their_values(console: Console) -> None:
    """The longest value has the full width; negative bars look different."""
    display.bars(console, pd.Series({"A": 10.0, "B": -5.0}), "minutes", width=20)
    a, b = (line.split() for line in shown(console).splitlines()[-2:])
    assert a == ["A", "10.0", "█" * 20]
    assert b == ["B", "-5.0", "░" * 10]


def test_the_proof_names_who_worked_and_what_passed_through(console: Console) -> None:
    """Units, calls and dollars of each provider, and bytes through the client beside bytes processed."""
    stats = {
        "client_bytes_in": 1_000,
        "client_bytes_out": 2_500,
        "bytes_processed": 3_000,
        "providers": {"aws": {"units": 1234, "calls": 56, "usd": Decimal("0.01")}},
    }
    display.proof(console, stats, parquet=7_000_000, written=8_000_000)
    text = " ".join(shown(console).split())
    assert "aws ran 1,234 units in 56 calls for $0.01" in text
    assert "from S3, 7.0 MB of Parquet, and exchanged 3.0 kB through the store" in text
    assert "through this process went 3.5 kB: 1.0 kB in, 2.5 kB out" in text
    assert "written the 8.0 MB of data into S3" in text


def test_the_bill_is_the_sessions_own_report(console: Console) -> None:
    """Each report is shown as it describes itself, brackets of its names included."""
    charge = Charge("c", "aws", "2026", Resources(seconds=2.0), {"compute": Decimal("0.5")}, 3, True)
    report = Report(added_up([charge]), "tag")
    display.bill(console, report, report.by("provider"))
    assert str(report) in shown(console)
    assert str(report.by("provider")) in shown(console)


@pytest.mark.parametrize(
    ("name", "of"), [("carriers", "asked of 1,000 flights (2.0 MB of Parquet); "), ("words", "asked of airports; ")]
)
def test_a_question_says_what_it_is_asked_of(console: Console, name: str, of: str) -> None:
    """Number, question, rows and bytes, and where its code is to be read."""
    question = next(question for question in QUESTIONS if question.name == name)
    display.question_header(console, 3, question, 1_000, 2_000_000)
    assert f"3. {question.title}" in shown(console)
    assert of + f"its code: cloudoffload.demo.questions.{question.ask.__name__}" in shown(console)


CARRIERS = pd.DataFrame({"name": ["A", "A", "B"], "flights": [10, 30, 5], "arrival": [0.0, 8.0, 7.0]})


def test_a_years_mean_weighs_months_by_their_flights() -> None:
    """An airline's mean is over its flights, not over its months; the latest airline comes first."""
    assert chart.by_airline(CARRIERS).to_dict() == {"B": 7.0, "A": 6.0}
    assert list(chart.by_airline(CARRIERS).index) == ["B", "A"]


def test_the_chart_is_a_picture(tmp_path: Path) -> None:
    """A PNG lies where it was asked for, in a folder made for it."""
    path = tmp_path / "new" / "flights.png"
    chart.draw(pd.DataFrame({"minutes_from": [-15.0, 0.0], "flights": [5, 7]}), CARRIERS, path)
    assert path.read_bytes().startswith(b"\x89PNG\r\n")
