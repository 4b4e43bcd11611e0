"""Every family of Dask graphs gives the values that Dask's own synchronous scheduler gives."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest

import cloudoffload as co
from tests.end_to_end.families import FAMILIES, RENUMBERED, UNORDERED, left, right


@pytest.fixture(scope="module", params=["local", "aws"])
def session(request: pytest.FixtureRequest) -> Iterator[co.Session]:
    """A session that has only worker processes, or only functions on emulated AWS."""
    emulate = () if request.param == "local" else (request.param,)
    with co.Session(providers=(request.param,), emulate=emulate, workers=2) as opened:
        yield opened


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.filterwarnings("ignore:Computing mixed collections")
def test_gives_the_values_of_the_synchronous_scheduler(session: co.Session, name: str) -> None:
    """Values, dtypes, index and labels are equal; the order of rows is where Dask promises one."""
    collections = FAMILIES[name]()
    calls = session.stats()["calls"]

    found = dask.compute(*collections, scheduler=session)

    expected = dask.compute(*collections, scheduler="sync")
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs, ordered=name not in UNORDERED, numbered=name in RENUMBERED)
    assert session.stats()["calls"] > calls, "the session's providers did the work"


def test_persisted_values_are_reused(session: co.Session) -> None:
    """A persisted collection stays in the store: later computations start from it and do not compute it again."""
    joined = left().merge(right(), on="k")
    kept = joined.persist(scheduler=session)
    questions = kept.y.count(), kept.groupby("z").x.sum()

    counted, summed = dask.compute(*questions, scheduler=session)

    assert counted == len(joined.compute(scheduler="sync"))
    assert_same(summed, joined.groupby("z").x.sum().compute(scheduler="sync"))
    prefixes = {unit.prefix for unit in session.plan(*questions).units}
    assert not [name for name in prefixes if "merge" in name or "shuffle" in name], "nothing of the merge runs again"


def test_functions_of_a_script_travel_with_the_graph() -> None:
    """Nested functions of ``__main__``, with what they close over, run on workers that can't import the script."""
    script = """
        import dask, cloudoffload as co
        FACTOR = 3
        def outer(x):
            def inner(y):
                return y * FACTOR
            return inner(x) + helper(x)
        def helper(x):
            return x + 1
        if __name__ == "__main__":
            for provider in ("local", "aws"):
                with co.Session(providers=(provider,), emulate=() if provider == "local" else ("aws",)):
                    print(dask.compute(*[dask.delayed(outer)(i) for i in range(5)]))
    """
    ran = subprocess.run(
        [sys.executable, "-"], input=textwrap.dedent(script), capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.stdout.splitlines() == [str(tuple(i * 3 + i + 1 for i in range(5)))] * 2, ran.stderr


def assert_same(ours: Any, theirs: Any, *, ordered: bool = True, numbered: bool = False) -> None:
    """Equal in type, values, dtypes and labels."""
    assert type(ours) is type(theirs)
    if isinstance(theirs, (pd.DataFrame, pd.Series)):
        compare = pd.testing.assert_frame_equal if isinstance(theirs, pd.DataFrame) else pd.testing.assert_series_equal
        compare(ours, theirs) if ordered else compare(by_value(ours, numbered), by_value(theirs, numbered))
    elif isinstance(theirs, np.ndarray):
        np.testing.assert_allclose(ours, theirs)
        assert ours.dtype == theirs.dtype
    elif isinstance(theirs, tuple):
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine, other)
    elif isinstance(theirs, float):
        assert ours == pytest.approx(theirs, nan_ok=True)
    elif isinstance(theirs, list) and not ordered:
        assert sorted(map(group, ours)) == sorted(map(group, theirs))
    else:
        assert ours == theirs


def group(item: Any) -> Any:
    """A group of a bag, its members in order: Dask's own shuffle through disk mixes them."""
    key, members = item
    return key, sorted(members) if isinstance(members, list) else members


def by_value(value: Any, numbered: bool) -> Any:
    """Rows sorted by what they hold; numbers that a merge gave them mean nothing and are left out."""
    numbered = numbered and value.index.dtype.kind == "i" and value.index.name is None
    table = value.to_frame() if isinstance(value, pd.Series) else value
    rows = [*zip(*(table.iloc[:, i].astype(object) for i in range(table.shape[1])), strict=True)]
    labels = [""] * len(rows) if numbered else list(value.index)
    order = sorted(range(len(rows)), key=lambda i: (repr(rows[i]), repr(labels[i])))
    return value.iloc[order].reset_index(drop=True) if numbered else value.iloc[order]
