"""What a run has cost, from the ledger's rows: as text, as HTML, as a dataframe."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from cloudoffload.errors import SettingsError
from cloudoffload.ledger.ledger import DAY_TAG
from cloudoffload.ledger.money import format_usd, total
from cloudoffload.ledger.pricing import LAYERS
from cloudoffload.ledger.rows import Sum

if TYPE_CHECKING:
    import pandas as pd

NO_TAGS = "(no tags)"


@dataclass(frozen=True, slots=True)
class Group:
    """All rows that have one thing in common, or one layer of all of them, added up."""

    name: str
    calls: int  # attempts and storage operations of the client
    lost: int  # of them, attempts whose values were not used: retries, hedges, failures
    units: int
    seconds: float  # of functions, initialisation included
    usd: Decimal


@dataclass(frozen=True, repr=False)
class Report:
    """Spend of a run; immutable, a later one is made from the ledger anew.

    Parameters
    ----------
    sums : tuple of Sum
        All rows of the ledger, like ones added up; :meth:`.Ledger.rows` has each of them.
    grouping : str
        How :attr:`groups` divides them: ``"provider"``, ``"layer"``, ``"tag"`` or ``"day"``.
    unsettled : Decimal
        USD reserved for attempts that have no row yet and may still be billed.
    """

    sums: tuple[Sum, ...]
    grouping: str = "provider"
    unsettled: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if self.grouping not in GROUPINGS:
            raise SettingsError(f"a report can't be divided by {self.grouping!r}; it can by {', '.join(GROUPINGS)}")

    def by(self, grouping: str) -> Report:
        """The same report divided by ``"provider"``, ``"layer"``, ``"tag"`` or ``"day"``.

        Every row lies in one group, so the groups add up to the whole: by tag, rows with the same set of tags form a
        group. By layer, seconds are those of the compute layer, and each layer counts the calls that cost something in
        it.

        Raises
        ------
        SettingsError
            There is no such grouping.
        """
        return replace(self, grouping=grouping)

    @property
    def usd(self) -> Decimal:
        """Dollars of all rows."""
        return total(item.total for item in self.sums)

    @property
    def seconds(self) -> float:
        """Seconds of functions, all attempts together, initialisation included."""
        return sum(item.seconds for item in self.sums)

    @property
    def groups(self) -> tuple[Group, ...]:
        """The rows divided, in the order of names; layers in the order of a bill."""
        return GROUPINGS[self.grouping](self.sums)

    @property
    def price_versions(self) -> tuple[str, ...]:
        """Which price lists were used, such as ``"aws 2026-11"``."""
        return tuple(sorted({f"{item.provider} {item.price_version}" for item in self.sums}))

    def to_pandas(self) -> pd.DataFrame:
        """One line per group: columns `calls`, `lost`, `units`, `seconds`, `usd`, indexed by the grouping.

        `usd` is a float, for plots and further arithmetic; :attr:`groups` holds the exact decimals.
        """
        import pandas as pd

        groups = self.groups
        index = pd.Index([group.name for group in groups], name=self.grouping)
        columns = {column: [getattr(group, column) for group in groups] for column in _COLUMNS[:-1]}
        return pd.DataFrame({**columns, "usd": [float(group.usd) for group in groups]}, index=index)

    def __str__(self) -> str:
        table = [[self.grouping, *_COLUMNS], *self._cells()]
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        lines = [
            "  ".join(
                [
                    line[0].ljust(widths[0]),
                    *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)),
                ]
            )
            for line in table
        ]
        return "\n".join([*lines, *self._notes()])

    def __repr__(self) -> str:
        # At a prompt a report is the table, as a frame is, not a list of every attempt.
        return str(self)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in (self.grouping, *_COLUMNS))
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in self._cells()
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self._notes())
        # Two dollar signs would be typeset as a formula between them.
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'<div class="tex2jax_ignore mathjax_ignore">{table}{notes}</div>'

    def _cells(self) -> list[list[str]]:
        whole = _group("total", self.sums)
        return [
            [
                group.name,
                str(group.calls),
                str(group.lost),
                str(group.units),
                f"{group.seconds:.3f}",
                format_usd(group.usd),
            ]
            for group in (*self.groups, whole)
        ]

    def _notes(self) -> list[str]:
        versions = ", ".join(self.price_versions) or "none used yet"
        notes = [f"Amounts are estimates at list prices, before free tiers and taxes (prices: {versions})."]
        if self.unsettled:
            notes.append(f"Up to {format_usd(self.unsettled)} more may be billed for calls without an answer.")
        return notes


_COLUMNS = ("calls", "lost", "units", "seconds", "usd")


def _group(name: str, sums: Iterable[Sum], layer: str | None = None) -> Group:
    """These rows as a group, or what they took of one layer."""
    sums = tuple(sums)
    return Group(
        name,
        calls=sum(item.calls for item in sums),
        lost=sum(item.calls for item in sums if not item.ok),
        units=sum(item.units for item in sums),
        seconds=sum(item.seconds for item in sums if layer in (None, "compute")),
        usd=total(item.total if layer is None else item.usd[layer] for item in sums),
    )


def _group_by(name_of: Callable[[Sum], str]) -> Callable[[tuple[Sum, ...]], tuple[Group, ...]]:
    def divide(sums: tuple[Sum, ...]) -> tuple[Group, ...]:
        members: dict[str, list[Sum]] = {}
        for item in sums:
            members.setdefault(name_of(item), []).append(item)
        return tuple(_group(name, members[name]) for name in sorted(members))

    return divide


def _layers(sums: tuple[Sum, ...]) -> tuple[Group, ...]:
    return tuple(_group(layer, [item for item in sums if layer in item.layers], layer) for layer in LAYERS)


def _tags(item: Sum) -> str:
    return ", ".join(f"{name}={value}" for name, value in item.tags if name != DAY_TAG) or NO_TAGS


GROUPINGS: dict[str, Callable[[tuple[Sum, ...]], tuple[Group, ...]]] = {
    "provider": _group_by(lambda item: item.provider),
    "layer": _layers,
    "tag": _group_by(_tags),
    "day": _group_by(lambda item: dict(item.tags).get(DAY_TAG, "unknown")),
}
"""How a report may be divided."""
