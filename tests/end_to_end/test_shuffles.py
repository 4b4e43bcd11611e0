"""Every row of a shuffle arrives where Dask would bring it, in one stage and in two, whatever the frames hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import dask
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import cloudoffload as co
from cloudoffload.engine import runner
from cloudoffload.graph.shuffle_costs import ShuffleCosts

INPUTS = 12
FORMS = {"once": ShuffleCosts(write_usd=1.0), "twice": ShuffleCosts(read_usd=1.0)}


@pytest.fixture(scope="module", params=["local"])
def session(request: pytest.FixtureRequest) -> Iterator[co.Session]:
    """A session that has only worker processes, or only functions on emulated AWS."""
    emulate = () if request.param == "local" else (request.param,)
    with co.Session(providers=(request.param,), emulate=emulate, workers=2) as opened:
        yield opened


@pytest.fixture(params=sorted(FORMS))
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How often rows go through the store: prices are such that the other form would cost more."""
    monkeypatch.setattr(runner, "shuffle_costs", lambda services, graph: FORMS[request.param])
    return str(request.param)


def rows(number: int) -> pd.DataFrame:
    """Partition of a table; the third has no rows, the last has many."""
    n = {2: 0, INPUTS - 1: 200}.get(number, 20)
    at = np.arange(n)
    return pd.DataFrame({"row": 1000 * number + at, "k": at * 7 % 23, "x": np.where(at % 5 == 0, np.nan, at * 0.5)})


def categories(number: int) -> pd.DataFrame:
    """Categories that each partition has in its own order, and some that no other has."""
    part = rows(number)
    names = ["a", "b", f"only {number}"]
    return part.assign(c=pd.Categorical.from_codes(part.row % 3, categories=names[number % 3 :] + names[: number % 3]))


def zones(number: int) -> pd.DataFrame:
    """Times with a zone, periods, nullable numbers, and an index of times."""
    part = rows(number)
    times = pd.Timestamp("2020", tz="Europe/Zurich") + pd.to_timedelta(part.row, unit="h")
    return part.assign(
        t=times,
        p=pd.PeriodIndex.from_ordinals(part.row, freq="D"),
        n=part.row.astype("Int64").mask(part.row % 4 == 0),
    ).set_axis(pd.DatetimeIndex(times, name="when"))


def nested(number: int) -> pd.DataFrame:
    """Lists and structures in Arrow, objects and texts."""
    part = rows(number)
    lists = pa.array([[i, i + 1] if i % 3 else None for i in part.row], pa.list_(pa.int64()))
    pairs = pa.array([{"a": i, "b": str(i)} for i in part.row], pa.struct({"a": pa.int64(), "b": pa.string()}))
    return part.assign(
        lists=pd.array(lists, dtype=pd.ArrowDtype(lists.type)),
        pairs=pd.array(pairs, dtype=pd.ArrowDtype(pairs.type)),
        o=pd.Series([(i, str(i)) if i % 2 else None for i in part.row], dtype=object, index=part.index),
        s=pd.array([f"text {i}" if i % 4 else None for i in part.row], dtype="str"),
    )


def levels(number: int) -> pd.DataFrame:
    """An index of two levels."""
    part = rows(number)
    return part.set_index(pd.MultiIndex.from_arrays([part.k % 3, part.row.astype(str)], names=["m", "id"]))


def table(make: Callable[[int], pd.DataFrame]) -> dd.DataFrame:
    """The dataframe of such partitions."""
    return dd.from_map(make, range(INPUTS), meta=make(2), enforce_metadata=False)


SHUFFLES: dict[str, Callable[[], dd.DataFrame]] = {
    "skewed": lambda: table(rows).shuffle("k", npartitions=16),
    "all in one partition": lambda: table(rows).assign(k=1).shuffle("k", npartitions=16),
    "no rows at all": lambda: table(rows).loc[lambda frame: frame.row < 0].shuffle("k", npartitions=16),
    "several columns": lambda: table(rows).shuffle(["k", "x"], npartitions=16),
    "index ignored": lambda: table(rows).shuffle("k", npartitions=16, ignore_index=True),
    "on the index": lambda: table(rows).shuffle(on_index=True, npartitions=16),
    "categories": lambda: table(categories).shuffle("k", npartitions=16),
    "zones": lambda: table(zones).shuffle("k", npartitions=16),
    "nested": lambda: table(nested).shuffle("s", npartitions=16),
    "levels": lambda: table(levels).shuffle("k", npartitions=16),
    "sorted by a column": lambda: table(rows).set_index("k", divisions=list(range(0, 24, 2)), sort=True),
}


def with_place(part: pd.DataFrame, partition_info: dict[str, int] | None = None) -> pd.DataFrame:
    """The rows of a partition, and which one it was."""
    return part.assign(place=-1 if partition_info is None else partition_info["number"])


@cache
def as_dask_has_it(name: str) -> pd.DataFrame:
    """What Dask's synchronous scheduler makes of it, by its own shuffle."""
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        placed = SHUFFLES[name]().map_partitions(with_place, enforce_metadata=False)
        found: pd.DataFrame = placed.compute(scheduler="sync")
        return found


@pytest.mark.parametrize(
    ("session", "name"),
    [*(("local", name) for name in sorted(SHUFFLES)), ("aws", "categories"), ("aws", "nested"), ("aws", "skewed")],
    indirect=["session"],
)
def test_each_row_arrives_where_dask_brings_it(session: co.Session, form: str, name: str) -> None:
    """The same rows in the same partitions as Dask's synchronous scheduler has them, with the same dtypes."""
    placed = SHUFFLES[name]().map_partitions(with_place, enforce_metadata=False)
    assert form in session.plan(placed).notes[0]

    (found,) = dask.compute(placed, scheduler=session)

    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        (expected,) = dask.compute(
            SHUFFLES[name]().map_partitions(with_place, enforce_metadata=False), scheduler="sync"
        )
    found, expected = (
        part.sort_values("row", kind="stable", ignore_index=name == "index ignored") for part in (found, expected)
    )
    pd.testing.assert_frame_equal(found, expected, check_categorical=False)


def test_merges_meet_in_two_stages(session: co.Session, form: str) -> None:
    """Rows of both sides meet, and no others; so do groups of ``apply``."""
    left, right = table(rows), table(nested)[["k", "s"]]
    questions = (
        left.merge(right, on="k", npartitions=16)[["row", "k", "s"]],
        left.groupby("k").apply(lambda group: group.x.sum(), meta=(None, "f8")),
    )
    (joined, applied) = dask.compute(*questions, scheduler=session)
    (theirs, summed) = dask.compute(*questions, scheduler="sync")
    by = ["row", "k", "s"]
    pd.testing.assert_frame_equal(joined.sort_values(by, ignore_index=True), theirs.sort_values(by, ignore_index=True))
    pd.testing.assert_series_equal(applied.sort_index(), summed.sort_index())


@pytest.mark.parametrize("ignore_index", [True, False])
@pytest.mark.parametrize("method", ["disk", "tasks"])
def test_the_index_is_what_the_collection_says(session: co.Session, method: str, ignore_index: bool) -> None:
    """An index that may be ignored is dropped only where Dask's meta says so."""
    frame = pd.DataFrame({"x": range(20)}, index=pd.date_range("2026", periods=20, name="day"))
    with dask.config.set(scheduler=session):
        shuffled = dd.from_pandas(frame, npartitions=4).shuffle("x", shuffle_method=method, ignore_index=ignore_index)
        result = shuffled.compute()
    assert (result.index.name, result.index.dtype) == (shuffled._meta.index.name, shuffled._meta.index.dtype)
    assert sorted(result.x) == list(range(20))


def test_bags_are_grouped_in_two_stages(session: co.Session, form: str) -> None:
    """Each group is complete, and in the partition that Dask puts it in."""
    grouped = db.from_sequence(range(300), npartitions=INPUTS).groupby(lambda number: number % 31, npartitions=16)
    pieces = grouped.map_partitions(lambda part: [sorted((key, sorted(items)) for key, items in part)])
    assert form in session.plan(pieces).notes[0]
    (found,) = dask.compute(pieces, scheduler=session)
    assert found == dask.compute(pieces, scheduler="sync")[0]


def test_shuffles_that_were_built_as_graphs_have_the_same_forms(session: co.Session, form: str) -> None:
    """Delayed partitions hold Dask's own shuffle through local disk; they are rewritten alike."""
    pieces = SHUFFLES["skewed"]().to_delayed()
    assert form in session.plan(*pieces).notes[0]
    found = dask.compute(*pieces, scheduler=session)
    for ours, theirs in zip(found, dask.compute(*pieces, scheduler="sync"), strict=True):
        pd.testing.assert_frame_equal(ours.sort_values("row"), theirs.sort_values("row"))
