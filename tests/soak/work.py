"""Computations of every kind, each of which knows its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import cycle, islice

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import cloudoffload as co

ROWS = 30_000
FRAME = pd.DataFrame({"key": np.arange(ROWS) % 97, "value": np.arange(ROWS, dtype="float64")})
SUMS = FRAME.groupby("key").value.sum()


class Expected(Exception):
    """What a task raises on purpose."""


def small_tasks(session: co.Session) -> None:
    """Values that travel inside of messages."""
    squares = [dask.delayed(pow)(i, 2) for i in range(20)]
    assert session.compute(dask.delayed(sum)(squares)) == (2470,)


def inline_data(session: co.Session) -> None:
    """Data that the graph holds itself, and that is new each time."""
    data = np.random.default_rng().random(100_000)
    parts = [dask.delayed(np.sum)(data) for _ in range(3)]
    assert session.compute(*parts) == (np.sum(data),) * 3


def bag(session: co.Session) -> None:
    """A bag, grouped through the store."""
    words = db.from_sequence([f"word {i % 11}" for i in range(2000)], npartitions=6)
    assert session.compute(words.frequencies()) == ([(f"word {i}", 2000 // 11 + (i < 2000 % 11)) for i in range(11)],)


def aggregation(session: co.Session) -> None:
    """A dataframe's reduction."""
    (sums,) = session.compute(dd.from_pandas(FRAME, npartitions=6).groupby("key").value.sum())
    pd.testing.assert_series_equal(sums.sort_index(), SUMS)


def shuffle(session: co.Session) -> None:
    """Every partition reads from every other."""
    (count,) = session.compute(dd.from_pandas(FRAME, npartitions=6).shuffle("key").map_partitions(len).sum())
    assert count == ROWS


def merge(session: co.Session) -> None:
    """Two shuffles and a join."""
    left = dd.from_pandas(FRAME, npartitions=4)
    right = dd.from_pandas(pd.DataFrame({"key": range(97), "name": [f"key {i}" for i in range(97)]}), npartitions=3)
    (joined,) = session.compute(left.merge(right, on="key", shuffle_method="disk", broadcast=False).name.count())
    assert joined == ROWS


def array(session: co.Session) -> None:
    """Blocks of 800 kB, multiplied."""
    ones = da.ones((600, 600), chunks=300) * 2
    assert session.compute((ones @ ones.T).sum()) == (600 * 600 * 600 * 4,)


def failure(session: co.Session) -> None:
    """A task that raises, beside others that would go on."""

    def fail(values: list[float]) -> None:
        raise Expected(len(values))

    with pytest.raises(Expected):
        session.compute(dask.delayed(fail)([dask.delayed(np.ones)(100_000) for _ in range(4)]))


def persisted(session: co.Session) -> None:
    """A collection that stays in the store while two computations read it."""
    (kept,) = session.persist(da.ones(200_000, chunks=50_000) + 1)
    assert session.compute(kept.sum()) == session.compute(kept.sum()) == (400_000,)


def executor(session: co.Session) -> None:
    """Plain calls, one of which fails alone."""
    with session.executor() as calls:
        assert [zeros.shape for zeros in calls.map(np.zeros, [50_000] * 3, timeout=60)] == [(50_000,)] * 3
        assert isinstance(calls.submit(divmod, 1, 0).exception(60), ZeroDivisionError)


def whole_stream(session: co.Session) -> None:
    """All blocks, one after the other."""
    assert sum(block.sum() for block in session.stream(da.ones(800_000, chunks=100_000))) == 800_000


def broken_stream(session: co.Session) -> None:
    """The reader leaves while much is under way."""
    with closing(session.stream(da.ones(3_000_000, chunks=100_000))) as blocks:
        assert sum(block.sum() for block in islice(blocks, 2)) == 200_000


KINDS: tuple[Callable[[co.Session], None], ...] = (
    small_tasks,
    inline_data,
    bag,
    aggregation,
    shuffle,
    merge,
    array,
    failure,
    persisted,
    executor,
    whole_stream,
    broken_stream,
)


def computations() -> Iterator[Callable[[co.Session], None]]:
    """One kind after the other, for ever."""
    return cycle(KINDS)
