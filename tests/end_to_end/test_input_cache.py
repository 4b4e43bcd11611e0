"""What many units read is fetched from a cloud's store once or twice by each warm worker, not for every unit."""

from __future__ import annotations

import dask
import numpy as np

import cloudoffload as co

UNITS = 200


def test_a_table_that_every_unit_reads() -> None:
    """Reads cost money and time; each unit still gets a table of its own."""
    table = np.random.default_rng(1).random(25_000)

    def look_up(place: int, table: np.ndarray) -> float:
        value = float(table[place])
        table[:] = 0
        return value

    with co.Session(providers=("aws",), emulate=("aws",)) as session:
        values = session.compute(*[dask.delayed(look_up)(place, table) for place in range(UNITS)])
        assert list(values) == table[:UNITS].tolist()
        assert session.stats()["bytes_processed"] < UNITS / 5 * table.nbytes
