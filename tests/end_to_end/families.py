"""Dask collections of every family, small, with partitions that differ; each builds the same values every time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd

Build = Callable[[], tuple[Any, ...]]

FAMILIES: dict[str, Build] = {}
UNORDERED: set[str] = set()
"""Families in which Dask leaves the order of rows open."""

RENUMBERED: set[str] = set()
"""Those among them in which a merge numbers its rows in that order."""


def family(build: Build) -> Build:
    """Register a family under the function's name."""
    FAMILIES[build.__name__] = build
    return build


def unordered(build: Build) -> Build:
    """Register a family whose rows may come in any order."""
    UNORDERED.add(build.__name__)
    return family(build)


def renumbered(build: Build) -> Build:
    """Register a family whose rows may come in any order and are numbered in it."""
    RENUMBERED.add(build.__name__)
    return unordered(build)


def frame(n: int = 500) -> pd.DataFrame:
    """n rows: integers, floats with gaps, text, dates and a category."""
    rng = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "k": rng.integers(0, 20, n),
            "x": np.where(rng.random(n) < 0.1, np.nan, rng.random(n)),
            "n": rng.integers(-5, 5, n),
            "s": rng.choice(["alpha", "Beta", "gamma", ""], n),
            "t": pd.Timestamp("2013-01-01") + pd.to_timedelta(rng.integers(0, 10_000, n), unit="h"),
            "c": pd.Categorical(rng.choice(["low", "mid", "high"], n), categories=["low", "mid", "high"], ordered=True),
        }
    )


def left() -> dd.DataFrame:
    """The frame in seven partitions."""
    return dd.from_pandas(frame(), npartitions=7)


def right() -> dd.DataFrame:
    """A smaller table whose keys only partly match, in three partitions."""
    table = pd.DataFrame({"k": np.arange(10, 40), "y": np.arange(30.0), "z": list("abcdefghij" * 3)})
    return dd.from_pandas(table, npartitions=3)


def spread(part: pd.DataFrame) -> float:
    """Range of a group's x: a user function for ``apply``."""
    return float(part.x.max() - part.x.min())


@unordered
def groupby_agg() -> tuple[Any, ...]:
    grouped = left().groupby("k")
    return (
        grouped.agg({"x": ["mean", "sum", "count"], "n": ["min", "max"]}),
        grouped.x.std(),
        grouped.x.mean(split_out=3),
    )


@unordered
def groupby_apply() -> tuple[Any, ...]:
    return (left().groupby("k").apply(spread, meta=(None, "f8")),)


@unordered
def groupby_nunique() -> tuple[Any, ...]:
    return left().groupby("k").s.nunique(), left().groupby(["k", "s"]).n.sum()


@renumbered
def merge_inner() -> tuple[Any, ...]:
    return (left().merge(right(), on="k"),)


@renumbered
def merge_left() -> tuple[Any, ...]:
    return (left().merge(right(), on="k", how="left"),)


@renumbered
def merge_outer() -> tuple[Any, ...]:
    return (left().merge(right(), on="k", how="outer"),)


@renumbered
def merge_index() -> tuple[Any, ...]:
    indexed = right().set_index("k")
    return left().merge(indexed, left_on="k", right_index=True), indexed.join(indexed, rsuffix="_2")


@unordered
def shuffle() -> tuple[Any, ...]:
    return left().shuffle("k", npartitions=4), left().shuffle(["s", "n"]).x.sum()


@unordered
def shuffled_partitions() -> tuple[Any, ...]:
    shuffled = left().shuffle("k", npartitions=5)
    return shuffled.partitions[2], shuffled.get_partition(0)


@unordered
def set_index() -> tuple[Any, ...]:
    return left().set_index("t"), left().set_index("t").loc["2013-03-01":"2013-06-01"]


@unordered
def sort_values() -> tuple[Any, ...]:
    return left().sort_values("t").t, left().sort_values("x", ascending=False).x


@renumbered
def drop_duplicates() -> tuple[Any, ...]:
    return left()[["k", "s"]].drop_duplicates(), left().k.unique(), left().s.nunique()


@unordered
def value_counts() -> tuple[Any, ...]:
    return left().s.value_counts(), left().k.value_counts(normalize=True)


@family
def rolling() -> tuple[Any, ...]:
    return left().x.rolling(5).mean(), left().n.cumsum(), left().x.diff(), left().x.ffill()


@family
def categoricals() -> tuple[Any, ...]:
    known = left().assign(c2=left().s.astype("category").cat.as_known())
    return left().c.cat.codes, left().groupby("c", observed=True).n.sum(), known.groupby("c2", observed=False).n.sum()


@family
def strings() -> tuple[Any, ...]:
    return (
        left().s.str.upper(),
        left().s.str.len().sum(),
        left()[left().s.str.contains("a")].k,
        left().s.str.cat(left().s),
    )


@family
def frame_reductions() -> tuple[Any, ...]:
    return left()[["k", "x", "n"]].describe(), left().x.quantile(0.5), left().n.nlargest(7), len(left().n + 1)


@family
def array_matmul() -> tuple[Any, ...]:
    a = da.arange(600, chunks=100).reshape(20, 30).rechunk((7, 11)).astype("f8")
    return a @ a.T, da.tensordot(a, a, axes=((1,), (1,)))


@family
def rechunk() -> tuple[Any, ...]:
    a = da.from_array(np.arange(900.0).reshape(30, 30), chunks=(10, 7))
    return a.rechunk((4, 30)), a.T.rechunk(9)[3:20, ::2], a.reshape(900).rechunk(100)


@family
def array_reductions() -> tuple[Any, ...]:
    a = da.from_array(np.arange(900.0).reshape(30, 30), chunks=(10, 7))
    return (
        a.sum(),
        a.mean(axis=0),
        a.std(),
        a.argmax(),
        da.percentile(a.ravel(), 50),
        da.histogram(a, bins=5, range=(0, 900)),
    )


@family
def array_overlap() -> tuple[Any, ...]:
    a = da.from_array(np.arange(400.0).reshape(20, 20), chunks=7)
    return a.map_overlap(lambda block: block * 2 + np.roll(block, 1, 0), depth=1, boundary="reflect"), da.cumsum(
        a, axis=1
    )


@family
def bag_fold() -> tuple[Any, ...]:
    bag = db.from_sequence(range(100), npartitions=6)
    return bag.fold(lambda a, b: a + b), bag.sum(), bag.map(str).frequencies(), bag.topk(3)


@unordered
def bag_groupby() -> tuple[Any, ...]:
    words = db.from_sequence(["a", "bb", "cc", "ddd", "e", "ff"] * 9, npartitions=5)
    return (
        words.groupby(len),
        words.groupby(lambda word: word[0]),
        words.foldby(len, lambda n, _: n + 1, 0, lambda a, b: a + b),
    )


@family
def bag_lazy() -> tuple[Any, ...]:
    bag = db.from_sequence(range(40), npartitions=4)
    lazy = bag.map_partitions(lambda part: (item * 2 for item in part))
    return lazy.filter(lambda item: item % 3 == 0), bag.map(lambda item: (item, 1)).to_dataframe(
        meta={"a": int, "b": int}
    )


@dask.delayed
def increment(x: int) -> int:
    """One more."""
    return x + 1


@dask.delayed
def total(items: list[int]) -> int:
    """Sum."""
    return sum(items)


@dask.delayed(nout=2)
def halves(items: list[int]) -> tuple[list[int], list[int]]:
    """A list in two."""
    return items[::2], items[1::2]


@family
def delayed_fan() -> tuple[Any, ...]:
    even, odd = halves(list(range(11)))
    chain: Any = 1
    for _ in range(30):
        chain = increment(chain)
    return total([increment(i) for i in range(60)]), total(even) + total(odd), chain, increment(1)


@family
def delayed_frames() -> tuple[Any, ...]:
    pieces = [dask.delayed(frame)(20 + i) for i in range(3)]
    return (dd.from_delayed(pieces, meta=frame(1)).n.sum(),)


@family
def mixed() -> tuple[Any, ...]:
    return left().x.sum(), da.ones((10, 10), chunks=3).sum(), db.from_sequence([1, 2, 3]).sum(), total([1, 2])


@renumbered
def empty_partitions() -> tuple[Any, ...]:
    none, few = left()[left().k > 1000], left()[left().k == 3]
    return (
        none,
        none.groupby("k").x.sum(),
        few.merge(right(), on="k", how="left"),
        few.shuffle("s"),
        none.merge(none, on="k"),
    )


@family
def wide_types() -> tuple[Any, ...]:
    raw = frame(60).assign(
        o=[(i, str(i)) for i in range(60)],
        tz=lambda table: table.t.dt.tz_localize("Europe/Zurich"),
        big=pd.array(range(60), dtype="Int64"),
        d=pd.to_timedelta(range(60), unit="s"),
    )
    collection = dd.from_pandas(raw, npartitions=4)
    return collection, collection.shuffle("k").tz.max(), collection.map_partitions(lambda part: part.assign(x=0.0))
