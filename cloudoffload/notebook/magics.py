"""``%%offload`` and ``%offload``: parse the arguments, delegate the rest."""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from typing import Any, get_args

from IPython.core.error import UsageError
from IPython.core.magic import output_can_be_silenced
from IPython.core.magic_arguments import MagicArgumentParser
from IPython.display import display

from cloudoffload import settings
from cloudoffload.engine.estimating import Estimated
from cloudoffload.engine.session import Session
from cloudoffload.errors import SettingsError
from cloudoffload.ledger.report import GROUPINGS
from cloudoffload.notebook.cell import run_cell
from cloudoffload.notebook.panel import Heading, face_for, live
from cloudoffload.notebook.sessions import Lent, Options, Sessions
from cloudoffload.notebook.state import PanelState
from cloudoffload.notebook.static import render_estimate, render_estimate_text


def load_ipython_extension(shell: Any) -> None:
    """Give a shell ``%%offload`` and ``%offload``; what ``%load_ext cloudoffload`` comes down to."""
    sessions = Sessions()
    cell = output_can_be_silenced(partial(offload_cell, shell, sessions))
    cell.__doc__ = _parser().format_help()
    shell.register_magic_function(cell, "cell", "offload")
    shell.register_magic_function(partial(offload_line, sessions), "line", "offload")


def offload_cell(shell: Any, sessions: Sessions, line: str, body: str) -> object:
    """Run a cell with its Dask computations offloaded, a panel above its output.

    Parameters
    ----------
    shell : IPython.core.interactiveshell.InteractiveShell
        Where the cell runs.
    sessions : Sessions
        Lends the session.
    line, body : str
        What stands behind ``%%offload``, and below it.

    Returns
    -------
    object
        Value of the cell's last expression.

    Raises
    ------
    UsageError
        The arguments are wrong; nothing ran.
    BaseException
        Whatever the cell raises.
    """
    __tracebackhide__ = True  # IPython leaves this frame out of the user's traceback
    chosen = _parse(line)
    with ExitStack() as stack:
        # Only what the arguments lead to is a wrong usage: the cell may raise SettingsError for reasons of its own.
        try:
            budget = (settings.load().budget if chosen.budget is None else settings.parse_budget(chosen.budget)).usd
            lent = stack.enter_context(sessions.lend(_options(chosen)))
        except SettingsError as error:
            raise UsageError(f"{error}\n{_parser().format_usage()}") from None
        if chosen.dry_run:
            return _estimate(shell, lent.session, body)
        return _run(shell, lent, budget, body)


def offload_line(sessions: Sessions, line: str) -> None:
    """Answer ``%offload status``, ``%offload report [provider|layer|tag|day]`` and ``%offload off``.

    Raises
    ------
    UsageError
        It is something else.
    """
    match line.split():
        case ["status"]:
            sys.stdout.write(sessions.status() + "\n")
        case ["report", *by] if len(by) <= 1 and set(by) <= GROUPINGS.keys():
            for report in sessions.reports(*by or ["provider"]):
                display({"text/html": report._repr_html_(), "text/plain": str(report)}, raw=True)
        case ["off"]:
            sys.stdout.write(f"cloudoffload: {sessions.close()} kept sessions closed.\n")
        case _:
            raise UsageError(f"%offload status | report [{' | '.join(GROUPINGS)}] | off  (%%offload runs a cell)")


def _run(shell: Any, lent: Lent, budget: Decimal | None, body: str) -> object:
    __tracebackhide__ = True
    state = PanelState(lent.totals, time.monotonic())
    heading = Heading(budget=budget, earlier=lent.totals.usd)
    unsubscribe = lent.session.events.subscribe(state.listen)
    try:
        with live(state, face_for(shell, heading), settings.load().panel.hertz):
            return run_cell(shell, body)
    finally:
        unsubscribe()


def _estimate(shell: Any, session: Session, body: str) -> object:
    try:
        with session.dry_run():
            return run_cell(shell, body)
    except Estimated as answer:
        estimate = answer.estimate
    display({"text/html": render_estimate(estimate), "text/plain": render_estimate_text(estimate)}, raw=True)
    sys.stdout.write("Dry run: the cell stopped at its first computation; nothing was run or spent.\n")
    return None


def _parse(line: str) -> argparse.Namespace:
    try:
        chosen: argparse.Namespace = _parser().parse_argstring(line)
    except UsageError as error:
        raise UsageError(f"{error}\n{_parser().format_usage()}") from None
    return chosen


def _options(chosen: argparse.Namespace) -> Options:
    return Options(
        budget=chosen.budget,
        providers=_names(chosen.provider),
        prefer=chosen.prefer,
        emulate=True if chosen.emulate is True else _names(chosen.emulate) or False,
    )


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


def _parser() -> MagicArgumentParser:
    parser = MagicArgumentParser("%offload", description="Run the cell with its Dask computations offloaded.")
    parser.add_argument(
        "--budget", metavar="AMOUNT", help='most that it may cost, US dollars: 0.50, "0.50 USD" or none'
    )
    parser.add_argument("--provider", metavar="NAMES", help="only these clouds, such as aws or aws,local")
    parser.add_argument(
        "--prefer", choices=get_args(settings.Prefer), help="what counts when several could do the work"
    )
    parser.add_argument(
        "--emulate",
        metavar="NAMES",
        nargs="?",
        const=True,
        help="start these clouds on this machine (all that can be, without a name) and keep them for later cells",
    )
    parser.add_argument("--dry-run", action="store_true", help="show what the first computation would take, then stop")
    return parser
