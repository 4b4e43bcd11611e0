"""The panel of one running cell: one daemon thread ticks a face, and the face ends as static figures.

While a cell runs, Jupyter frontends hold back the messages that belong to that cell's request until its output is
through, so a widget that is made on the main thread would stand still. The ticker's thread therefore makes the widget
itself, after declaring that it acts for no request (:func:`_act_for_no_request`), and is the only one to touch it.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, Protocol

from cloudoffload.engine.events import Totals
from cloudoffload.notebook.state import PanelState, Snapshot, Status
from cloudoffload.notebook.static import MARKS, figures, provider_rows, render, render_text, size

logger = logging.getLogger(__name__)

INSTALL_HINT = "cloudoffload: for a live panel run  pip install 'cloudoffload[notebook]'  and restart the kernel."
TEXT_SECONDS = 2.0
"""Least seconds between two lines of text progress: lines stay in the output, unlike a widget's ticks."""


class Face(Protocol):
    """What the ticker drives. ``open`` and ``tick`` run on its thread, ``show`` and ``close`` on the cell's."""

    def open(self, snapshot: Snapshot) -> None:
        """Get ready to be shown."""
        ...

    def show(self) -> None:
        """Appear in the cell's output."""
        ...

    def tick(self, snapshot: Snapshot) -> None:
        """Show how the cell stands now."""
        ...

    def close(self, snapshot: Snapshot) -> None:
        """Leave the final figures in the cell's output, and nothing alive."""
        ...


@dataclass(frozen=True, slots=True)
class Heading:
    """What stays the same while a cell runs."""

    budget: Decimal | None  # most that the session may spend, US dollars; None when there is no limit
    earlier: Decimal = Decimal(0)  # what earlier cells of the session have spent, US dollars
    title: str = "cloudoffload"


def view(snapshot: Snapshot, heading: Heading) -> dict[str, Any]:
    """Everything that the widget shows, formatted: plain data for ``panel.js``."""
    totals = snapshot.totals
    live = [("calls in flight", str(totals.in_flight)), ("MB/s", f"{snapshot.bytes_per_second / 1e6:.1f}")]
    return {
        "title": heading.title,
        "status": str(snapshot.status),
        "mark": MARKS[snapshot.status],
        "message": snapshot.message,
        "fraction": totals.units_done / totals.units_total if totals.units_total else 0.0,
        "figures": [
            *((item.name, item.text) for item in figures(totals, budget=heading.budget, earlier=heading.earlier)),
            *live,
        ],
        "providers": [(*row, _share(totals, row[0])) for row in provider_rows(totals)],
    }


def _share(totals: Totals, name: str) -> int | None:
    """Part of the calls that a provider had, percent; None for a row that is no provider's."""
    used = totals.providers.get(name)
    calls = sum(used.calls for used in totals.providers.values())
    return None if used is None else round(100 * used.calls / max(1, calls))


def bundle(snapshot: Snapshot, heading: Heading) -> dict[str, str]:
    """Final figures by MIME type, free of anything that needs a kernel or a widget's state."""
    return {
        kind: draw(
            snapshot.totals,
            budget=heading.budget,
            earlier=heading.earlier,
            title=heading.title,
            status=snapshot.status,
            message=snapshot.message,
        )
        for kind, draw in (("text/html", render), ("text/plain", render_text))
    }


class WidgetFace:
    """A widget while the cell runs, static HTML and text in its place afterwards."""

    def __init__(self, shell: Any, heading: Heading) -> None:
        self._shell = shell
        self._heading = heading
        self._widget: Any = None
        self._handle: Any = None

    def open(self, snapshot: Snapshot) -> None:
        """Make the widget, on the ticker's thread."""
        from cloudoffload.notebook.widget import PanelWidget

        _act_for_no_request(self._shell.kernel)
        self._widget = PanelWidget(view=view(snapshot, self._heading))

    def show(self) -> None:
        """Display the widget under an id, by which the static figures replace it."""
        from IPython.display import display

        shown = {"text/plain": f"{self._heading.title}: running"}
        if self._widget is not None:
            data = self._widget._repr_mimebundle_()
            shown = {**(data[0] if isinstance(data, tuple) else data), **shown}
        self._handle = display(shown, raw=True, display_id=True)

    def tick(self, snapshot: Snapshot) -> None:
        """Send the view as one message."""
        self._widget.view = view(snapshot, self._heading)

    def close(self, snapshot: Snapshot) -> None:
        """Replace the display first, so that the output is never empty, then drop the widget's model."""
        if self._handle is not None:
            self._handle.update(bundle(snapshot, self._heading), raw=True)
        if self._widget is not None:
            self._widget.layout.close()
            self._widget.close()


class TextFace:
    """Lines of plain text, for terminals and for kernels without the widget libraries."""

    def __init__(self, heading: Heading, hint: str = "") -> None:
        self._heading = heading
        self._hint = hint
        self._written = 0.0
        self._line = ""

    def open(self, snapshot: Snapshot) -> None:
        """Nothing to prepare."""

    def show(self) -> None:
        """Say once how to get a better one, where there is one."""
        if self._hint:
            sys.stdout.write(self._hint + "\n")

    def tick(self, snapshot: Snapshot) -> None:
        """Write a line when something changed and the last line is not fresh."""
        totals = snapshot.totals
        line = f"{totals.units_done} of {totals.units_total} units, {totals.in_flight} calls in flight"
        if totals.seconds - self._written >= TEXT_SECONDS and line != self._line:
            self._written, self._line = totals.seconds, line
            spent = figures(totals, budget=self._heading.budget, earlier=self._heading.earlier)[0].text
            rate = size(snapshot.bytes_per_second)
            sys.stdout.write(f"{self._heading.title}: {line}, spent {spent}, {rate}/s\n")

    def close(self, snapshot: Snapshot) -> None:
        """Display the final figures: HTML where the frontend has it, text elsewhere."""
        from IPython.display import display

        display(bundle(snapshot, self._heading), raw=True)


def face_for(shell: Any, heading: Heading) -> Face:
    """The best face that this shell can show."""
    if getattr(shell, "kernel", None) is None:
        return TextFace(heading)
    if find_spec("anywidget") is None or find_spec("ipywidgets") is None:
        return TextFace(heading, INSTALL_HINT)
    return WidgetFace(shell, heading)


@contextmanager
def live(state: PanelState, face: Face, hertz: float) -> Iterator[None]:
    """Show the face during the block; afterwards its thread has ended and the final figures stand in its place.

    Parameters
    ----------
    state : PanelState
        Asked for a snapshot at every tick; finished here, by how the block ends.
    face : Face
        Where to show it.
    hertz : float
        Ticks per second.
    """
    stop, ready = threading.Event(), threading.Event()
    arguments = (state, face, 1 / hertz, stop, ready)
    ticker = threading.Thread(target=_tick, args=arguments, daemon=True, name="cloudoffload-panel")
    ticker.start()
    try:
        ready.wait()
        face.show()
        yield
    except BaseException as error:
        status = Status.INTERRUPTED if isinstance(error, KeyboardInterrupt) else Status.FAILED
        state.finish(status, f"{type(error).__name__}: {error}".rstrip(": "), time.monotonic())
        raise
    else:
        state.finish(Status.DONE, "", time.monotonic())
    finally:
        stop.set()
        ticker.join()
        face.close(state.snapshot(time.monotonic()))


def _tick(state: PanelState, face: Face, period: float, stop: threading.Event, ready: threading.Event) -> None:
    try:
        face.open(state.snapshot(time.monotonic()))
        ready.set()
        while not stop.wait(period):
            face.tick(state.snapshot(time.monotonic()))
        face.tick(state.snapshot(time.monotonic()))  # figures that came after the last tick
    except Exception:  # the computation matters, its picture does not
        logger.warning("the live panel stopped; the final figures will still be shown", exc_info=True)
    finally:
        ready.set()


def _act_for_no_request(kernel: Any) -> None:
    """Let this thread's messages carry an empty parent header, which no frontend holds back."""
    parent = getattr(kernel, "_shell_parent", None)
    if isinstance(parent, ContextVar):  # ipykernel 7; earlier ones kept one parent for all threads
        parent.set({})
