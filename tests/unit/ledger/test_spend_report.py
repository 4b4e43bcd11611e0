"""A report adds the ledger's rows up, and says what its amounts are worth."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from cloudoffload.errors import SettingsError
from cloudoffload.ledger.ledger import Ledger
from cloudoffload.ledger.report import Report
from cloudoffload.providers import rates
from cloudoffload.types import Budget, Resources

AWS = rates.load("aws")
LOCAL = rates.load("local")


def a_report() -> Report:
    """Two calls to AWS, one of them lost, one here and one download, over two days and two tags."""
    days = iter([date(2026, 11, 3), date(2026, 11, 3), date(2026, 11, 4), date(2026, 11, 4)])
    book = Ledger(Budget(None), clock=lambda: next(days))
    call = Resources(seconds=1.5, init_seconds=0.5, memory_mb=1024, requests=1)
    for name, card, ok, units, tags in (
        ("first", AWS, False, 0, {"job": "etl"}),
        ("again", AWS, True, 3, {"job": "etl"}),
        ("here", LOCAL, True, 2, {"job": "<b>plot</b>"}),
    ):
        book.reserve(name, card, call)
        book.settle(name, call, ok=ok, units=units, tags=tags)
    book.record(AWS, Resources(store_operations={"read": 5}, bytes_out={"client": 1024**2}), what="download")
    return Report(book.sums())


def test_totals() -> None:
    """Dollars are the exact sum of all rows, seconds those of all functions with their initialisation."""
    report = a_report()
    assert report.usd == sum(item.total for item in report.sums)
    assert report.usd == 2 * (2 * Decimal("0.0000166667") + Decimal("0.0000002")) + Decimal("0.000002") + Decimal(
        "0.000087890625"
    )
    assert report.seconds == pytest.approx(6.0)


@pytest.mark.parametrize(
    ("grouping", "names"),
    [
        ("provider", ["aws", "local"]),
        ("layer", ["compute", "requests", "storage", "egress"]),
        ("tag", ["(no tags)", "job=<b>plot</b>", "job=etl"]),
        ("day", ["2026-11-03", "2026-11-04"]),
    ],
)
def test_groups_add_up_to_the_whole(grouping: str, names: list[str]) -> None:
    """However a report is divided, each dollar and each second of compute is in one group."""
    report = a_report().by(grouping)
    assert [group.name for group in report.groups] == names
    assert sum(group.usd for group in report.groups) == report.usd
    if grouping != "layer":
        assert sum(group.seconds for group in report.groups) == pytest.approx(report.seconds)
        assert sum(group.calls for group in report.groups) == 4


def test_layers_hold_what_was_paid_in_them() -> None:
    """By layer, a call counts where it cost something, and seconds belong to compute."""
    layers = {group.name: group for group in a_report().by("layer").groups}
    assert layers["compute"].usd == 4 * Decimal("0.0000166667")
    assert (layers["compute"].calls, layers["compute"].lost, layers["compute"].seconds) == (2, 1, 4.0)
    assert (layers["requests"].calls, layers["requests"].seconds) == (2, 0.0)
    assert (layers["egress"].calls, layers["egress"].seconds) == (1, 0.0)


def test_lost_attempts_are_counted_and_paid() -> None:
    """An attempt whose values were not used is spend, and the report says how many there were."""
    aws = a_report().groups[0]
    assert (aws.calls, aws.lost, aws.units) == (3, 1, 3)


def test_unknown_grouping_is_refused() -> None:
    """by() names the groupings there are."""
    with pytest.raises(SettingsError, match="provider, layer, tag, day"):
        a_report().by("weekday")


def test_text_says_what_the_amounts_are() -> None:
    """The text has a line per group and a total, calls amounts estimates and names the price versions."""
    lines = str(a_report()).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["provider", "aws", "local", "total"]
    assert lines[1].split()[1:4] == ["3", "1", "3"]
    assert lines[3].endswith("$0.000157")
    assert "estimates at list prices" in lines[4]
    assert "aws 2026-11, local 2026-11" in lines[4]
    assert len(lines) == 5


def test_unsettled_calls_are_mentioned() -> None:
    """Money that may still be billed is named beside the total, as text and as HTML."""
    report = Report((), unsettled=Decimal("0.25"))
    assert "Up to $0.25 more may be billed" in str(report)
    assert "Up to $0.25 more may be billed" in report._repr_html_()


def test_html_escapes_what_users_named() -> None:
    """A tag with markup shows as text, and the table says the same as the text."""
    page = a_report().by("tag")._repr_html_()
    assert "<b>" not in page
    assert "job=&lt;b&gt;plot&lt;/b&gt;" in page
    assert "$0.000157" in page and "estimates at list prices" in page


def test_dataframe_has_a_line_per_group() -> None:
    """to_pandas() has the groups as index and their sums as numbers."""
    frame = a_report().to_pandas()
    assert frame.index.name == "provider"
    assert list(frame.index) == ["aws", "local"]
    assert list(frame.columns) == ["calls", "lost", "units", "seconds", "usd"]
    assert frame["usd"].sum() == pytest.approx(float(a_report().usd))
    assert frame.dtypes["usd"] == "float64"


def test_report_of_nothing() -> None:
    """Before anything ran a report is all zero, and shows so."""
    report = Report(())
    assert report.usd == report.seconds == 0
    assert report.groups == ()
    assert "$0.00" in str(report)
    assert len(report.to_pandas()) == 0


def test_by_day_is_the_day_of_booking() -> None:
    """Without a clock of its own a ledger books on today's date in UTC, one of two around midnight."""
    book = Ledger(Budget(None))
    book.record(LOCAL, Resources(), what="nothing")
    day = date.fromisoformat(Report(book.sums(), "day").groups[0].name)
    assert abs(day - date.today()) <= timedelta(days=1)
