"""How often a unit may have to read the store: what a reservation and an estimate must allow for."""

from __future__ import annotations

from collections.abc import Sequence

from cloudoffload.types import Emit, Unit


def most_reads(unit: Unit, units: Sequence[Unit]) -> int:
    """Most reads of one run of a unit.

    One for each whole input; for a part of one the footer and the part; for a part of a barrier, besides, a part of
    every write that the barrier has waited for, and what the rows in them mean. A barrier itself reads that from each
    write, besides its footer.

    Parameters
    ----------
    unit : Unit
        One of the plan's.
    units : sequence of Unit
        All of them, by number.
    """
    reads = 0
    for edge in unit.inputs:
        reads += 1 if edge.part is None else 2
        if edge.source < len(units) and units[edge.source].emit is Emit.INDEX:
            reads += 1 + len(units[edge.source].inputs)
    return 2 * reads if unit.emit is Emit.INDEX else reads
