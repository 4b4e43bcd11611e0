"""A cell's figures as HTML and as text that need no kernel, widget or script: what a saved notebook keeps.

The live panel shows the same words and numbers, so that nothing changes its meaning when the cell ends. Everything
that a user, a worker or a cloud named is escaped.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from html import escape

from cloudoffload.engine.events import Totals
from cloudoffload.ledger.money import format_usd
from cloudoffload.notebook.state import Status
from cloudoffload.types import Estimate

MARKS = {
    Status.RUNNING: "▶",
    Status.DONE: "✓",
    Status.FAILED: "✗",
    Status.INTERRUPTED: "■",
    Status.ESTIMATED: "≈",
}
OTHER = "storage from here, lost calls"
_COLOURS = {
    Status.RUNNING: "var(--jp-info-color1, #0277bd)",
    Status.DONE: "var(--jp-success-color1, #2e7d32)",
    Status.FAILED: "var(--jp-error-color1, #c62828)",
    Status.INTERRUPTED: "var(--jp-warn-color1, #b35900)",
    Status.ESTIMATED: "var(--jp-info-color1, #0277bd)",
}
_NOTHING = Decimal(0)
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


def size(nbytes: float) -> str:
    """Bytes to read, in powers of 1000: ``1.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(nbytes) < 1000:
            return f"{nbytes:.0f} B" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"


def figures(totals: Totals, *, budget: Decimal | None, earlier: Decimal = _NOTHING) -> tuple[Figure, ...]:
    """The numbers of a cell in the order of their weight for the reader.

    Parameters
    ----------
    totals : Totals
        Of the cell.
    budget : Decimal or None
        Most that the session may spend, US dollars; None when there is no limit.
    earlier : Decimal
        What earlier cells of the session have spent of it, US dollars.
    """
    spent = format_usd(totals.usd)
    if budget is not None:
        spent += f" of {format_usd(budget)}"
    if earlier:
        spent += f", {format_usd(totals.usd + earlier)} with earlier cells"
    retried = f", {totals.retries} retried" if totals.retries else ""
    return (
        Figure("spent", spent),
        Figure("units", f"{totals.units_done} of {totals.units_total}"),
        Figure("calls", f"{totals.calls}{retried}"),
        Figure("processed", size(totals.bytes_processed)),
        Figure("seconds", f"{totals.seconds:.1f}"),
    )


def provider_rows(totals: Totals) -> tuple[tuple[str, str, str, str], ...]:
    """Name, units, calls and dollars of every provider, as text, the busiest first.

    A last row holds the dollars that belong to no call with an outcome, so that the rows add up to what was spent.
    """
    ordered = sorted(totals.providers.items(), key=lambda item: (-item[1].calls, item[0]))
    rows = [(name, str(used.units), str(used.calls), format_usd(used.usd)) for name, used in ordered]
    other = totals.usd - sum((used.usd for used in totals.providers.values()), _NOTHING)
    if other > 0:
        rows.append((OTHER, "", "", format_usd(other)))
    return tuple(rows)


def render(
    totals: Totals,
    *,
    budget: Decimal | None,
    earlier: Decimal = _NOTHING,
    title: str = "cloudoffload",
    status: Status,
    message: str = "",
) -> str:
    """HTML of a cell's figures.

    Parameters
    ----------
    totals : Totals
        Of the cell.
    budget : Decimal or None
        Most that the session may spend, US dollars; None when there is no limit.
    earlier : Decimal
        What earlier cells of the session have spent of it, US dollars.
    title : str
        Heading.
    status : Status
        How the cell ended.
    message : str
        Why it failed; shown under the figures.
    """
    shown = figures(totals, budget=budget, earlier=earlier)
    label = escape(f"{title}: {status}, " + ", ".join(f"{item.name} {item.text}" for item in shown))
    items = " · ".join(f"{escape(item.name)} <b>{escape(item.text)}</b>" for item in shown)
    note = f'<div style="margin-top:4px;white-space:pre-wrap">{escape(message)}</div>' if message else ""
    table = _table(("provider", "units", "calls", "cost"), provider_rows(totals), "Work by provider")
    return _framed(title, status, label, f"<div>{items}</div>{note}{table}")


def render_text(
    totals: Totals,
    *,
    budget: Decimal | None,
    earlier: Decimal = _NOTHING,
    title: str = "cloudoffload",
    status: Status,
    message: str = "",
) -> str:
    """The same figures as :func:`render`, as plain text of one line and one more for each provider."""
    head = f"{title} {MARKS[status]} {status}: " + " · ".join(
        f"{item.name} {item.text}" for item in figures(totals, budget=budget, earlier=earlier)
    )
    rows = [
        f"  {name}: {units} units in {calls} calls, {usd}" if calls else f"  {name}: {usd}"
        for name, units, calls, usd in provider_rows(totals)
    ]
    return "\n".join([head, *([f"  {message}"] if message else []), *rows])


def estimate_figures(estimate: Estimate) -> tuple[Figure, ...]:
    """The numbers of an estimate in the order of their weight for the reader."""
    return (
        Figure("cost", f"{format_usd(estimate.usd_low)} to {format_usd(estimate.usd_high)}"),
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
    # Notebooks typeset what stands between two dollar signs; the classes keep MathJax, old and new, away.
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
