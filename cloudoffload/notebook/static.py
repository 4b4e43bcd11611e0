"""A cell's figures as HTML and as text that need no kernel, widget or script: what a saved notebook keeps.

The live panel shows the same words and numbers, so that nothing changes its meaning when the cell ends. Everything
that a user, a worker or a cloud named is escaped. Amounts say USD, because notebooks typeset what stands between
two dollar signs as mathematics.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from html import escape

from cloudoffload.engine.events import Totals
from cloudoffload.notebook.state import Status
from cloudoffload.types import Estimate

MARKS = {
    Status.RUNNING: "▶",
    Status.DONE: "✓",
    Status.FAILED: "✗",
    Status.INTERRUPTED: "■",
    Status.ESTIMATED: "≈",
}
_COLOURS = {
    Status.RUNNING: "var(--jp-info-color1, #0277bd)",
    Status.DONE: "var(--jp-success-color1, #2e7d32)",
    Status.FAILED: "var(--jp-error-color1, #c62828)",
    Status.INTERRUPTED: "var(--jp-warn-color1, #b35900)",
    Status.ESTIMATED: "var(--jp-info-color1, #0277bd)",
}
_FRAME = (
    "border:1px solid var(--jp-border-color2, #bdbdbd);border-radius:4px;padding:8px 12px;max-width:48em;"
    "color:var(--jp-ui-font-color1, inherit);font-family:var(--jp-ui-font-family, sans-serif)"
)
_CELL = "padding:2px 16px 2px 0;text-align:left"
_NUMBER = "padding:2px 0 2px 16px;text-align:right;font-variant-numeric:tabular-nums"


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its name, formatted."""

    name: str
    text: str


def amount(usd: Decimal) -> str:
    """US dollars to read: two to four decimals, or two digits that mean something when it is less than a cent."""
    if usd and abs(usd) < Decimal("0.01"):
        return f"{usd.quantize(Decimal(1).scaleb(usd.adjusted() - 1), ROUND_HALF_UP):f}"
    whole, _, decimals = f"{usd:.4f}".partition(".")
    return f"{whole}.{decimals[:2]}{decimals[2:].rstrip('0')}"


def size(nbytes: float) -> str:
    """Bytes to read, in powers of 1000: ``1.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(nbytes) < 1000:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"


def figures(totals: Totals, *, budget: Decimal | None) -> tuple[Figure, ...]:
    """The numbers of a cell in the order of their weight for the reader.

    Parameters
    ----------
    totals : Totals
        Of the cell.
    budget : Decimal or None
        Most that the cell might spend, US dollars; None when there is no limit.
    """
    spent = f"{amount(totals.usd)} USD" if budget is None else f"{amount(totals.usd)} of {amount(budget)} USD"
    retried = f", {totals.retries} retried" if totals.retries else ""
    return (
        Figure("spent", spent),
        Figure("units", f"{totals.units_done} of {totals.units_total}"),
        Figure("calls", f"{totals.calls}{retried}"),
        Figure("processed", size(totals.bytes_processed)),
        Figure("seconds", f"{totals.seconds:.1f}"),
    )


def provider_rows(totals: Totals) -> tuple[tuple[str, str, str, str], ...]:
    """Name, units, calls and dollars of every provider, as text, the busiest first."""
    ordered = sorted(totals.providers.items(), key=lambda item: (-item[1].calls, item[0]))
    return tuple((name, str(used.units), str(used.calls), amount(used.usd)) for name, used in ordered)


def render(
    totals: Totals, *, budget: Decimal | None, title: str = "cloudoffload", status: Status, message: str = ""
) -> str:
    """HTML of a cell's figures.

    Parameters
    ----------
    totals : Totals
        Of the cell.
    budget : Decimal or None
        Most that the cell might spend, US dollars; None when there is no limit.
    title : str
        Heading.
    status : Status
        How the cell ended.
    message : str
        Why it failed; shown under the figures.
    """
    shown = figures(totals, budget=budget)
    label = escape(f"{title}: {status}, " + ", ".join(f"{item.name} {item.text}" for item in shown))
    items = " · ".join(f"{escape(item.name)} <b>{escape(item.text)}</b>" for item in shown)
    note = f'<div style="margin-top:4px;white-space:pre-wrap">{escape(message)}</div>' if message else ""
    table = _table(("provider", "units", "calls", "USD"), provider_rows(totals), "Work by provider")
    return _framed(title, status, label, f"<div>{items}</div>{note}{table}")


def render_text(
    totals: Totals, *, budget: Decimal | None, title: str = "cloudoffload", status: Status, message: str = ""
) -> str:
    """The same figures as :func:`render`, as plain text of one line and one more for each provider."""
    head = f"{title} {MARKS[status]} {status}: " + " · ".join(
        f"{item.name} {item.text}" for item in figures(totals, budget=budget)
    )
    rows = [f"  {name}: {units} units in {calls} calls, {usd} USD" for name, units, calls, usd in provider_rows(totals)]
    return "\n".join([head, *([f"  {message}"] if message else []), *rows])


def estimate_figures(estimate: Estimate) -> tuple[Figure, ...]:
    """The numbers of an estimate in the order of their weight for the reader."""
    return (
        Figure("cost", f"{amount(estimate.usd_low)} to {amount(estimate.usd_high)} USD"),
        Figure("seconds", f"about {estimate.seconds:.1f}"),
        Figure("calls", f"{estimate.calls}"),
        Figure("units", f"{estimate.units}"),
        Figure("bytes in", size(estimate.bytes_in)),
        Figure("bytes out", size(estimate.bytes_out)),
        *(Figure(f"units on {name}", str(units)) for name, units in sorted(estimate.by_provider.items())),
    )


def render_estimate(estimate: Estimate, *, title: str = "cloudoffload") -> str:
    """HTML table of an estimate; says that nothing ran."""
    shown = estimate_figures(estimate)
    label = escape(f"{title}: {Status.ESTIMATED}, " + ", ".join(f"{item.name} {item.text}" for item in shown))
    rows = tuple((item.name, item.text) for item in shown)
    return _framed(title, Status.ESTIMATED, label, _table(("figure", "estimate"), rows, "Estimate"))


def render_estimate_text(estimate: Estimate, *, title: str = "cloudoffload") -> str:
    """The same figures as :func:`render_estimate`, as plain text of one line each."""
    shown = estimate_figures(estimate)
    width = max(len(item.name) for item in shown)
    head = f"{title} {MARKS[Status.ESTIMATED]} {Status.ESTIMATED}"
    return "\n".join([head, *(f"  {item.name:<{width}}  {item.text}" for item in shown)])


def _framed(title: str, status: Status, label: str, body: str) -> str:
    badge = f'<b style="color:{_COLOURS[status]}">{MARKS[status]} {escape(status)}</b>'
    # The classes keep MathJax, old and new, away from dollar signs in messages.
    opening = f'<div class="tex2jax_ignore mathjax_ignore" role="group" aria-label="{label}" style="{_FRAME}">'
    return f"{opening}<b>{escape(title)}</b> {badge}{body}</div>"


def _table(heads: tuple[str, ...], rows: tuple[tuple[str, ...], ...], caption: str) -> str:
    if not rows:
        return ""
    styles = (_CELL, *(_NUMBER for _ in heads[1:]))
    head = "".join(
        f'<th scope="col" style="{style}">{escape(text)}</th>' for text, style in zip(heads, styles, strict=True)
    )
    body = "".join(f"<tr>{_row(row)}</tr>" for row in rows)
    return (
        f'<table aria-label="{escape(caption)}" style="margin:6px 0 0;border-collapse:collapse">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    )


def _row(row: tuple[str, ...]) -> str:
    first, *others = row
    numbers = "".join(f'<td style="{_NUMBER}">{escape(text)}</td>' for text in others)
    return f'<th scope="row" style="{_CELL};font-weight:normal">{escape(first)}</th>{numbers}'
