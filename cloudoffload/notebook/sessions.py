"""The sessions behind a notebook's cells: cells with the same options share one, and what they persisted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cloudoffload.engine import scheduler
from cloudoffload.engine.events import Event, Totals
from cloudoffload.engine.session import Session
from cloudoffload.ledger.money import format_usd
from cloudoffload.ledger.report import Report


@dataclass(frozen=True, slots=True)
class Options:
    """What the magic's arguments say about a session; cells with equal options may share one."""

    budget: str | None = None  # None: the setting `cloudoffload.budget`
    providers: tuple[str, ...] | None = None  # None: all there are
    prefer: str | None = None  # None: the setting `cloudoffload.prefer`
    emulate: bool | tuple[str, ...] = False

    def start(self) -> Session:
        """A new session whose clouds are up.

        Raises
        ------
        SettingsError
            A value is not allowed.
        EmulatorError
            An emulated cloud did not start.
        """
        session = Session(budget=self.budget, providers=self.providers, prefer=self.prefer, emulate=self.emulate)
        session.client_environment()  # a Session starts when it is first used: its trouble must come before the cell
        return session


class Lent:
    """A session and how its running sums stand, which only its events tell."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.totals = Totals()
        session.events.subscribe(self._hear)

    def _hear(self, event: Event) -> None:
        self.totals = event.totals


class Sessions:
    """Sessions that are kept for later cells: persisted values live in them, and clouds need not start again."""

    def __init__(self) -> None:
        self._kept: dict[Options, Lent] = {}

    @contextmanager
    def lend(self, options: Options) -> Iterator[Lent]:
        """A session that is Dask's scheduler during the block: a kept one with the same options, else a new one."""
        lent = self._kept.get(options)
        if lent is None or lent.session.closed:
            lent = Lent(options.start())
        self._kept[options] = lent
        scheduler.enter(lent.session)
        try:
            yield lent
        finally:
            scheduler.leave(lent.session)

    def status(self) -> str:
        """One line for each kept session: its clouds and what it has spent."""
        if not self._kept:
            return "cloudoffload: no session is open."
        return "\n".join(_line(options, lent.totals) for options, lent in self._kept.items())

    def reports(self, by: str) -> list[Report]:
        """What each kept session has cost.

        Raises
        ------
        SettingsError
            There is no such grouping.
        """
        return [lent.session.report(by) for lent in self._kept.values()]

    def close(self) -> int:
        """Close the kept sessions; returns how many there were."""
        count = len(self._kept)
        while self._kept:
            self._kept.popitem()[1].session.close()
        return count


def _line(options: Options, totals: Totals) -> str:
    if isinstance(options.emulate, bool):
        clouds = "all clouds emulated" if options.emulate else "this machine"
    else:
        clouds = f"{', '.join(options.emulate)} emulated"
    return f"cloudoffload: {clouds}, {totals.calls} calls, {format_usd(totals.usd)} spent"
