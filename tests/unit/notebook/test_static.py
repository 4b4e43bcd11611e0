"""Figures as HTML and text that stay in a saved notebook."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

import pytest

from cloudoffload.engine.events import ProviderTotals, Totals
from cloudoffload.notebook.state import Status
from cloudoffload.notebook.static import (
    OTHER,
    render,
    render_estimate,
    render_estimate_text,
    render_text,
    size,
)
from cloudoffload.types import Estimate

TOTALS = Totals(
    units_total=40,
    units_done=39,
    calls=17,
    retries=2,
    usd=Decimal("0.0123"),
    bytes_processed=25_000_000,
    seconds=12.34,
    providers={"local": ProviderTotals(9, 5, Decimal(0)), "aws": ProviderTotals(30, 12, Decimal("0.0123"))},
)
ESTIMATE = Estimate(
    usd_low=Decimal("0.001"),
    usd_high=Decimal("0.02"),
    seconds=8.0,
    bytes_in=2_500_000,
    bytes_out=900,
    calls=12,
    units=40,
    by_provider={"local": 1, "aws": 39},
)
HOSTILE = '<script>alert("$1")</script>'


class Reader(HTMLParser):
    """Collects tags, texts and attributes, and fails on tags that don't close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.labels: list[str | None] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.tags.add(tag)
        self.labels.extend(value for name, value in attrs if name == "aria-label")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize(
    ("nbytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1_500, "1.5 kB"), (25e6, "25.0 MB"), (3e9, "3.0 GB"), (4e15, "4000.0 TB")],
)
def test_sizes_are_in_powers_of_a_thousand(nbytes: float, text: str) -> None:
    """One decimal, in the largest unit that leaves a number of one or more."""
    assert size(nbytes) == text


def test_html_holds_every_figure_and_the_work_of_each_provider() -> None:
    """Dollars of the budget, units, calls with retries, bytes, seconds; providers from the busiest on."""
    texts = Reader(render(TOTALS, budget=Decimal("0.50"), status=Status.DONE)).texts
    for figure in ("$0.0123 of $0.50", "39 of 40", "17, 2 retried", "25.0 MB", "12.3"):
        assert figure in texts
    assert texts[texts.index("aws") :] == ["aws", "30", "12", "$0.0123", "local", "9", "5", "$0.00"]


def test_the_rows_add_up_to_what_was_spent() -> None:
    """Dollars that no call with an outcome accounts for have a row of their own."""
    totals = replace(TOTALS, usd=Decimal("0.0150"))
    assert Reader(render(totals, budget=None, status=Status.DONE)).texts[-2:] == [OTHER, "$0.0027"]
    assert render_text(totals, budget=None, status=Status.DONE).splitlines()[-1] == f"  {OTHER}: $0.0027"


def test_html_without_a_budget_names_no_limit() -> None:
    """None means no limit: dollars stand alone."""
    assert "$0.0123" in Reader(render(TOTALS, budget=None, status=Status.DONE)).texts


def test_a_session_that_has_spent_before_shows_both_sums() -> None:
    """The budget is the session's: next to the cell's dollars stands what counts against it."""
    earlier = Decimal("0.20")
    texts = Reader(render(TOTALS, budget=Decimal("0.50"), earlier=earlier, status=Status.DONE)).texts
    assert "$0.0123 of $0.50, $0.212 with earlier cells" in texts
    assert "$0.212 with earlier cells" in render_text(TOTALS, budget=None, earlier=earlier, status=Status.DONE)


def test_html_needs_nothing_but_itself() -> None:
    """No script, style sheet, picture or address: a saved notebook shows it anywhere."""
    html = render(TOTALS, budget=None, status=Status.DONE)
    assert Reader(html).tags <= {"div", "b", "table", "thead", "tbody", "tr", "th", "td"}
    assert "http" not in html
    assert "widget" not in html


def test_html_speaks_to_screen_readers() -> None:
    """One label says how the cell ended and every figure."""
    reader = Reader(render(Totals(), budget=Decimal(1), title="sums", status=Status.FAILED))
    assert reader.labels == ["sums: failed, spent $0.00 of $1.00, units 0 of 0, calls 0, processed 0 B, seconds 0.0"]


@pytest.mark.parametrize("status", list(Status))
def test_every_status_is_said_in_words(status: Status) -> None:
    """Colour is never alone in telling how a cell ended."""
    assert status in " ".join(Reader(render(TOTALS, budget=None, status=status)).texts)
    assert status in render_text(TOTALS, budget=None, status=status)


def test_names_and_messages_cannot_become_html() -> None:
    """Whatever a user, a worker or a cloud named is text, and no mathematics either."""
    totals = Totals(providers={HOSTILE: ProviderTotals(1, 1, Decimal(0))})
    html = render(totals, budget=None, title=HOSTILE, status=Status.FAILED, message=HOSTILE)
    reader = Reader(html)
    assert "script" not in reader.tags
    assert reader.texts.count(HOSTILE) == 3
    assert f"{HOSTILE}: failed" in str(reader.labels[0])
    assert 'class="tex2jax_ignore mathjax_ignore"' in html


def test_text_holds_the_same_figures() -> None:
    """One line for the cell, one for why, one for each provider."""
    text = render_text(TOTALS, budget=Decimal("0.50"), title="sums", status=Status.FAILED, message="ValueError: boom")
    figures = "spent $0.0123 of $0.50 · units 39 of 40 · calls 17, 2 retried · processed 25.0 MB · seconds 12.3"
    assert text.splitlines() == [
        f"sums ✗ failed: {figures}",
        "  ValueError: boom",
        "  aws: 30 units in 12 calls, $0.0123",
        "  local: 9 units in 5 calls, $0.00",
    ]


def test_an_estimate_is_a_table_of_its_figures_and_says_that_nothing_ran() -> None:
    """Dollars from low to high, seconds, calls, units, bytes and the clouds."""
    texts = Reader(render_estimate(ESTIMATE)).texts
    assert "≈ estimated, not run" in texts
    for figure in ("$0.001 to $0.02", "about 8.0", "12", "40", "2.5 MB", "900 B", "units on aws", "39"):
        assert figure in texts


def test_an_estimate_as_text_has_one_line_for_each_figure() -> None:
    """The terminal's form of the same table."""
    lines = render_estimate_text(ESTIMATE, title="sums").splitlines()
    assert lines[0] == "sums ≈ estimated, not run"
    assert [line.split() for line in lines[1:3]] == [
        ["cost", "$0.001", "to", "$0.02"],
        ["seconds", "about", "8.0"],
    ]
    assert lines[-1].split() == ["units", "on", "local", "1"]
