"""One live line per question, fed by the session's events."""

from __future__ import annotations

from dataclasses import replace
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cloudoffload.engine.events import Event, Events, Totals
from cloudoffload.ledger.money import format_usd


def size(nbytes: float) -> str:
    """Bytes in the unit that a person would use (powers of 1000)."""
    for unit in ("B", "kB", "MB"):
        if nbytes < 1000:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.2f} GB"


def progress_line(before: Totals, now: Totals) -> str:
    """What happened between two moments of a session: units, calls, dollars and speed.

    Parameters
    ----------
    before, now : Totals
        The session's running sums at the start and at the moment to describe.
    """
    seconds = now.seconds - before.seconds
    processed = now.bytes_processed - before.bytes_processed
    parts = [
        f"{now.units_done - before.units_done}/{now.units_total - before.units_total} units",
        f"{now.calls - before.calls} calls",
        format_usd(now.usd - before.usd),
        f"{size(processed)} through the store",
    ]
    if seconds > 0:
        parts.append(f"{size(processed / seconds)}/s")
    return " · ".join(parts)


class Watch:
    """Listens to a session while one question runs; a context manager.

    On a terminal a bar moves while it runs. Elsewhere nothing is printed until the end, so that a log file holds no
    control characters.

    Parameters
    ----------
    events : Events
        The session's stream.
    console : Console
        Where the line goes.
    before : Totals
        The running sums before this question.
    """

    def __init__(self, events: Events, console: Console, before: Totals) -> None:
        self.totals = before
        self._before = before
        self._heard = False
        self._events = events
        self._console = console
        self._bar = Progress(
            BarColumn(24),
            TextColumn("{task.fields[line]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None, line="planning")

    def __enter__(self) -> Watch:
        self._bar.start()
        self._unsubscribe = self._events.subscribe(self._hear)
        return self

    def _hear(self, event: Event) -> None:
        if not self._heard:  # the time since the question before was none of this one's
            self._before = replace(self._before, seconds=event.totals.seconds)
            self._heard = True
        self.totals = now = event.totals
        self._bar.update(
            self._task,
            completed=now.units_done - self._before.units_done,
            total=now.units_total - self._before.units_total,
            line=progress_line(self._before, now),
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._unsubscribe()
        self._bar.stop()
        if error is None:
            self._console.print(f"  done: {progress_line(self._before, self.totals)}")
