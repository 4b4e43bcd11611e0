"""The panel's thread and its faces."""

from __future__ import annotations

import threading
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from cloudoffload.engine.events import Event, EventKind, ProviderTotals, Totals
from cloudoffload.notebook.panel import INSTALL_HINT, Heading, TextFace, bundle, face_for, live, view
from cloudoffload.notebook.state import PanelState, Snapshot, Status
from cloudoffload.notebook.static import OTHER

TOTALS = Totals(
    units_total=8,
    units_done=2,
    calls=4,
    in_flight=3,
    usd=Decimal("0.0123"),
    providers={"aws": ProviderTotals(1, 3, Decimal("0.0123")), "local": ProviderTotals(1, 1, Decimal(0))},
)
HEADING = Heading(budget=Decimal("0.50"))


class Recorder:
    """A face that remembers what it was asked, and by which thread."""

    def __init__(self, ticks_wanted: int = 1) -> None:
        self.asked: list[tuple[str, str]] = []
        self.shown: list[Snapshot] = []
        self.ticks_left = ticks_wanted
        self.ticked = threading.Event()

    def _note(self, what: str, snapshot: Snapshot | None = None) -> None:
        self.asked.append((what, threading.current_thread().name))
        if snapshot is not None:
            self.shown.append(snapshot)

    def open(self, snapshot: Snapshot) -> None:
        self._note("open", snapshot)

    def show(self) -> None:
        self._note("show")

    def tick(self, snapshot: Snapshot) -> None:
        self._note("tick", snapshot)
        self.ticks_left -= 1
        if self.ticks_left <= 0:
            self.ticked.set()

    def close(self, snapshot: Snapshot) -> None:
        self._note("close", snapshot)


class Broken(Recorder):
    """A face that cannot be drawn."""

    def open(self, snapshot: Snapshot) -> None:
        super().open(snapshot)
        raise OSError("no socket")


def panel_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cloudoffload-panel"]


def test_one_thread_opens_and_ticks_the_face_and_the_cells_thread_shows_and_closes_it() -> None:
    """A widget must be made and touched by the ticker only, its display belongs to the cell's request."""
    face, here = Recorder(), threading.current_thread().name
    with live(PanelState(Totals(), now=0.0), face, hertz=1000):
        assert face.ticked.wait(timeout=30)
    assert (face.asked[0], face.asked[-1]) == (("open", "cloudoffload-panel"), ("close", here))
    assert set(face.asked[1:-1]) == {("show", here), ("tick", "cloudoffload-panel")}


def test_what_came_after_the_last_tick_is_still_drawn() -> None:
    """A cell that ends between two ticks ends with its last figures."""
    state, face = PanelState(Totals(), now=0.0), Recorder()
    with live(state, face, hertz=0.001):
        state.listen(Event(EventKind.CALL_ENDED, compute=1, totals=TOTALS))
    assert [what for what, _ in face.asked] == ["open", "show", "tick", "close"]
    assert face.shown[-2].totals.units_done == face.shown[-1].totals.units_done == 2


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (ValueError("boom"), Status.FAILED, "ValueError: boom"),
        (KeyboardInterrupt(), Status.INTERRUPTED, "KeyboardInterrupt"),
    ],
)
def test_a_cell_that_raises_leaves_no_thread_and_says_why(error: BaseException, status: Status, message: str) -> None:
    """The exception passes, the thread ends, the final figures name the failure."""
    face = Recorder()
    with pytest.raises(type(error)), live(PanelState(Totals(), now=0.0), face, hertz=1000):
        raise error
    assert panel_threads() == []
    assert (face.shown[-1].status, face.shown[-1].message) == (status, message)


def test_a_face_that_breaks_does_not_disturb_the_cell(caplog: pytest.LogCaptureFixture) -> None:
    """The cell runs to its end, the final figures are shown, the trouble is logged."""
    face, ran = Broken(), False
    with live(PanelState(Totals(), now=0.0), face, hertz=1000):
        ran = True
    assert ran
    assert panel_threads() == []
    assert face.shown[-1].status is Status.DONE
    assert "live panel stopped" in caplog.text


def test_the_view_is_formatted_plain_data() -> None:
    """The script that draws it does no arithmetic: figures, calls in flight, rate, shares of the calls."""
    totals = replace(TOTALS, usd=Decimal("0.0133"))
    shown = view(Snapshot(totals, bytes_per_second=2_340_000.0), HEADING)
    assert (shown["status"], shown["fraction"]) == ("running", 0.25)
    assert dict(shown["figures"]) == {
        "spent": "$0.0133 of $0.50",
        "units": "2 of 8",
        "calls": "4",
        "processed": "0 B",
        "seconds": "0.0",
        "calls in flight": "3",
        "MB/s": "2.3",
    }
    assert shown["providers"] == [
        ("aws", "1", "3", "$0.0123", 75),
        ("local", "1", "1", "$0.00", 25),
        (OTHER, "", "", "$0.001", None),
    ]


def test_the_view_of_an_idle_cell_is_whole() -> None:
    """Nothing to do yet: no fraction of nothing, no providers."""
    shown = view(Snapshot(), HEADING)
    assert (shown["fraction"], shown["providers"]) == (0.0, [])


def test_what_stays_in_the_notebook_needs_no_widget() -> None:
    """HTML and text only: a widget's view would be an empty box once the kernel is gone."""
    assert set(bundle(Snapshot(TOTALS, status=Status.DONE), HEADING)) == {"text/html", "text/plain"}


def test_without_a_frontend_progress_is_text(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A terminal gets a line when something changed, at a pace to read, and the figures at the end."""
    face = face_for(shell, HEADING)
    assert isinstance(face, TextFace)
    face.show()
    for seconds, done in ((1.0, 1), (2.5, 2), (3.0, 3), (5.0, 4), (8.0, 4)):
        totals = Totals(units_total=8, units_done=done, in_flight=3, usd=Decimal("0.01"), seconds=seconds)
        face.tick(Snapshot(totals, bytes_per_second=1e6))
    face.close(Snapshot(TOTALS, status=Status.DONE))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "cloudoffload: 2 of 8 units, 3 calls in flight, spent $0.01 of $0.50, 1.0 MB/s",
        "cloudoffload: 4 of 8 units, 3 calls in flight, spent $0.01 of $0.50, 1.0 MB/s",
    ]
    assert lines[2].startswith("cloudoffload ✓ done: spent $0.0123 of $0.50")


def test_a_missing_library_is_named_with_the_way_to_get_it(capsys: pytest.CaptureFixture[str]) -> None:
    """The text face says once which command brings the live panel."""
    TextFace(HEADING, INSTALL_HINT).show()
    assert "pip install 'cloudoffload[notebook]'" in capsys.readouterr().out
