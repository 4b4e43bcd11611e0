"""Persisted values stay in the store, serve later computations, and go when nobody holds them."""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import dask
import dask.array as da
import pytest

import cloudoffload as co
from cloudoffload import errors
from cloudoffload.graph.remote import RemoteValue

GENEROUS = 60.0


def opened(folder: Path) -> co.Session:
    return co.Session(providers=("local",), workers=1, store=str(folder))


def objects(folder: Path) -> int:
    """Objects in the store."""
    return sum(path.is_file() for path in folder.rglob("*"))


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def ones() -> Any:
    """Three blocks of 80 kB: too large to travel inside an outcome."""
    return da.ones(30_000, chunks=10_000) + 1


def test_values_stay_in_the_store(tmp_path: Path) -> None:
    """What is persisted is a handle; computing on it runs only what is new."""
    with opened(tmp_path) as session:
        kept = ones().persist()
        assert objects(tmp_path) == 3
        handles = [value for node in dict(kept.dask).values() for value in node.args]
        assert {type(value) for value in handles} == {RemoteValue}
        before = session.stats()["units"]
        assert kept.sum().compute() == 60_000
        assert session.stats()["units"] - before <= 4
        assert objects(tmp_path) == 3


def test_a_look_into_the_graph_finds_values(tmp_path: Path) -> None:
    """Who reads a persisted graph finds futures there, as a cluster leaves them: ``result()`` downloads a block."""
    with opened(tmp_path):
        kept = ones().persist()
        assert [kept.dask[kept.name, i].result().tolist() for i in range(3)] == [[2.0] * 10_000] * 3


@pytest.mark.parametrize("pickler", [pickle, cloudpickle])
def test_a_pickled_collection_has_its_values_with_it(tmp_path: Path, pickler: Any) -> None:
    """What is unpickled is an ordinary collection, which also lives after the session."""
    with opened(tmp_path):
        pickled = pickler.dumps(ones().persist())
    assert pickle.loads(pickled).sum().compute(scheduler="sync") == 60_000


def test_values_go_with_the_last_collection_that_needs_them(tmp_path: Path) -> None:
    """Also a collection that was built on the persisted one needs its values."""
    with opened(tmp_path):
        kept = ones().persist()
        built = kept[:5]
        del kept
        gc.collect()
        assert built.compute().sum() == 10
        del built
        gc.collect()
        until(lambda: objects(tmp_path) == 0, "nobody can name the values any more")


def test_what_is_persisted_twice_lives_as_long_as_either(tmp_path: Path) -> None:
    """Persisting a persisted collection copies nothing, and does not let go of it early."""
    with opened(tmp_path):
        first = ones().persist()
        (second,) = dask.persist(first)
        assert objects(tmp_path) == 3
        del first
        gc.collect()
        assert second.sum().compute() == 60_000
        del second
        gc.collect()
        until(lambda: objects(tmp_path) == 0, "nobody can name the values any more")


def test_one_value_under_two_names(tmp_path: Path) -> None:
    """The object goes when the last of them is gone, not the first."""
    with opened(tmp_path) as session:
        x = ones()
        one, other = session.persist(x, x)
        del one
        gc.collect()
        assert other.sum().compute() == 60_000


def test_other_schedulers_can_load_them(tmp_path: Path) -> None:
    """Inside and outside of the block, while the session is open."""
    session = opened(tmp_path)
    (kept,) = dask.persist(ones(), scheduler=session)
    assert kept.sum().compute(scheduler="sync") == 60_000
    assert kept.sum().compute(scheduler="threads") == 60_000
    with dask.config.set(scheduler="threads"):
        assert kept.sum().compute() == 60_000
    session.close()


def test_they_end_with_their_session(tmp_path: Path) -> None:
    """The error says so; letting go of the collection later is harmless."""
    with opened(tmp_path):
        kept = ones().persist()
    assert objects(tmp_path) == 0
    with pytest.raises(errors.SessionClosed):
        kept.sum().compute(scheduler="sync")
    del kept
    gc.collect()


def test_they_keep_a_session_that_nobody_else_holds(tmp_path: Path) -> None:
    """Without a block the session ends with the last collection that needs it."""
    (kept,) = dask.persist(ones(), scheduler=opened(tmp_path))
    gc.collect()
    assert kept.sum().compute(scheduler="sync") == 60_000
    del kept
    gc.collect()
    until(lambda: objects(tmp_path) == 0, "the session is closed")


def test_another_session_loads_them_too(tmp_path: Path) -> None:
    """Its workers can't reach them: they go through this machine, once."""
    with opened(tmp_path / "one") as one:
        kept = ones().persist()
        with opened(tmp_path / "two") as two:
            assert kept.sum().compute() == 60_000
            assert two.stats()["units"] > 0
        assert one.stats()["client_bytes_in"] > 240_000
