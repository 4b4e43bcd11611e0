"""What the ledger keeps of its rows: sums of like rows for reports, and each row packed, for who wants them all.

A row as an object takes two kilobytes. Of a million calls that would be gigabytes in the client; packed they are 80 MB.
"""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal

from cloudoffload.ledger.money import EXACT, total
from cloudoffload.types import Charge

BLOCK = 256
"""How many rows are packed together: so many are objects at a time."""

_QUICK = 1
"""Level of zlib: a higher one takes half as long again, and saves a tenth."""


class Rows:
    """All rows, in the order of booking."""

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._latest: list[Charge] = []

    def append(self, row: Charge) -> None:
        """Keep one more."""
        self._latest.append(row)
        if len(self._latest) == BLOCK:
            self._packed.append(zlib.compress(pickle.dumps(self._latest, pickle.HIGHEST_PROTOCOL), _QUICK))
            self._latest = []

    def read(self) -> Iterator[Charge]:
        """The rows that are there now, unpacked as they are read."""
        return _unpacked(tuple(self._packed), tuple(self._latest))


def _unpacked(packed: tuple[bytes, ...], latest: tuple[Charge, ...]) -> Iterator[Charge]:
    for block in packed:
        yield from pickle.loads(zlib.decompress(block))
    yield from latest


@dataclass(slots=True)
class Sum:
    """Like rows, added up: of one provider at one price list, with the same tags, and alike in the two below."""

    provider: str
    price_version: str
    tags: tuple[tuple[str, str], ...]  # by name
    ok: bool  # the attempts' values were used
    layers: tuple[str, ...]  # each of them cost something in these, and in no other
    calls: int = 0  # attempts, and operations of the client
    units: int = 0
    seconds: float = 0.0  # of functions, initialisation included
    usd: dict[str, Decimal] = field(default_factory=dict)  # by layer

    @property
    def total(self) -> Decimal:
        """Dollars of all layers."""
        return total(self.usd.values())


class Sums:
    """Sums of like rows; there are as many as kinds of rows, however many calls there were."""

    def __init__(self) -> None:
        self._sums: dict[tuple[object, ...], Sum] = {}

    def add(self, row: Charge) -> None:
        """Add a row to those that are like it."""
        paid = tuple(layer for layer, usd in row.usd.items() if usd)
        kind = (row.provider, row.price_version, tuple(sorted(row.tags.items())), row.ok, paid)
        found = self._sums.get(kind)
        if found is None:
            found = self._sums[kind] = Sum(*kind, usd=dict.fromkeys(paid, Decimal(0)))
        found.calls += 1
        found.units += row.units
        found.seconds += row.resources.seconds + row.resources.init_seconds
        for layer in paid:
            found.usd[layer] = EXACT.add(found.usd[layer], row.usd[layer])

    def read(self) -> tuple[Sum, ...]:
        """The sums as they are now."""
        return tuple([replace(found, usd=dict(found.usd)) for found in self._sums.values()])


def added_up(rows: Iterable[Charge]) -> tuple[Sum, ...]:
    """Sums of these rows."""
    sums = Sums()
    for row in rows:
        sums.add(row)
    return sums.read()
