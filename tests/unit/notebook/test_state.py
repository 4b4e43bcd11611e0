"""What the panel knows of a cell, from nothing but the session's events."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cloudoffload.engine.events import Event, EventKind, ProviderTotals, Totals
from cloudoffload.notebook.state import PanelState, Status

EARLIER = Totals(
    units_total=10,
    units_done=10,
    calls=3,
    retries=1,
    usd=Decimal("0.02"),
    bytes_processed=500,
    providers={"aws": ProviderTotals(10, 3, Decimal("0.02")), "local": ProviderTotals(4, 1, Decimal(0))},
)
LATER = Totals(
    units_total=40,
    units_done=25,
    calls=8,
    in_flight=2,
    retries=1,
    usd=Decimal("0.05"),
    usd_reserved=Decimal("0.01"),
    bytes_processed=4_000_500,
    providers={
        "aws": ProviderTotals(20, 6, Decimal("0.04")),
        "local": ProviderTotals(4, 1, Decimal(0)),
        "gcp": ProviderTotals(5, 2, Decimal("0.01")),
    },
)


def event(kind: EventKind, totals: Totals = LATER, message: str = "") -> Event:
    return Event(kind=kind, compute=1, totals=totals, message=message)


def test_a_new_cell_begins_with_nothing_though_its_session_has_spent() -> None:
    """Before the first event a cell has spent nothing, done nothing and runs."""
    shown = PanelState(EARLIER, now=100.0).snapshot(now=100.0)
    assert shown.status is Status.RUNNING
    assert shown.totals.usd == Decimal(0)
    assert (shown.totals.units_total, shown.totals.calls) == (0, 0)
    assert shown.totals.providers == {}


def test_a_cell_counts_its_own_work_only() -> None:
    """Figures are the session's less those at the cell's start; what is in flight counts as it stands."""
    state = PanelState(EARLIER, now=100.0)
    state.listen(event(EventKind.CALL_ENDED))
    totals = state.snapshot(now=103.0).totals
    assert (totals.units_done, totals.units_total, totals.calls, totals.retries) == (15, 30, 5, 0)
    assert totals.usd == Decimal("0.03")
    assert totals.bytes_processed == 4_000_000
    assert (totals.in_flight, totals.usd_reserved) == (2, Decimal("0.01"))
    assert totals.seconds == 3.0


def test_a_provider_that_only_served_earlier_cells_is_not_listed() -> None:
    """The table of a cell names the clouds that worked for it."""
    state = PanelState(EARLIER, now=0.0)
    state.listen(event(EventKind.CALL_ENDED))
    assert state.snapshot(now=1.0).totals.providers == {
        "aws": ProviderTotals(10, 3, Decimal("0.02")),
        "gcp": ProviderTotals(5, 2, Decimal("0.01")),
    }


def test_the_rate_is_bytes_over_the_last_seconds() -> None:
    """It rises when bytes were moved and falls to zero once nothing moves any more."""
    state = PanelState(EARLIER, now=0.0)
    state.listen(event(EventKind.CALL_ENDED))
    assert state.snapshot(now=1.0).bytes_per_second == pytest.approx(4_000_000)
    assert state.snapshot(now=2.0).bytes_per_second == pytest.approx(2_000_000)
    state.snapshot(now=3.5)
    assert state.snapshot(now=6.0).bytes_per_second == 0.0


def test_the_rate_needs_time_to_pass() -> None:
    """Asked at the very start there is no rate, and no division by zero."""
    assert PanelState(EARLIER, now=5.0).snapshot(now=5.0).bytes_per_second == 0.0


def test_a_failed_computation_makes_the_cell_failed_although_it_went_on() -> None:
    """A cell that swallowed the exception still says that a computation failed, and why."""
    state = PanelState(EARLIER, now=0.0)
    state.listen(event(EventKind.COMPUTE_ENDED, message="ValueError: boom"))
    state.finish(Status.DONE, "", now=1.0)
    shown = state.snapshot(now=1.0)
    assert (shown.status, shown.message) == (Status.FAILED, "ValueError: boom")


def test_a_computation_that_ends_well_leaves_the_cell_running() -> None:
    """A cell may hold more computations: only the end of the cell ends the panel."""
    state = PanelState(EARLIER, now=0.0)
    state.listen(event(EventKind.COMPUTE_ENDED))
    assert state.snapshot(now=1.0).status is Status.RUNNING
    state.finish(Status.DONE, "", now=2.0)
    assert state.snapshot(now=9.0).status is Status.DONE


def test_an_alert_of_the_budget_is_shown() -> None:
    """The alert's own words appear while the cell goes on."""
    state = PanelState(EARLIER, now=0.0)
    state.listen(event(EventKind.BUDGET_ALERT, message="80 % of 0.50 USD is spent"))
    shown = state.snapshot(now=1.0)
    assert (shown.status, shown.message) == (Status.RUNNING, "80 % of 0.50 USD is spent")


def test_the_clock_stands_still_when_the_cell_has_ended() -> None:
    """The final figures don't depend on when they are drawn."""
    state = PanelState(EARLIER, now=10.0)
    state.finish(Status.INTERRUPTED, "KeyboardInterrupt", now=14.0)
    assert state.snapshot(now=60.0).totals.seconds == 4.0
