"""What a session has in its store: it says how much, and deletes each object as soon as nobody needs it."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import cloudoffload as co
from cloudoffload.engine.events import Event
from cloudoffload.errors import WorkerLost
from cloudoffload.providers import rates
from cloudoffload.store import ObjectStore, open_store
from cloudoffload.types import (
    Call,
    Failure,
    FailureKind,
    Outcome,
    Requirements,
    Resources,
    StoreAccess,
)
from cloudoffload.wire.envelope import prefix_of

GENEROUS = 60.0
SIZE = 100_000


@pytest.fixture
def session(tmp_path: Path) -> Iterator[co.Session]:
    with co.Session(providers=("local",), workers=2, store=str(tmp_path / "store")) as opened:
        yield opened


def files(tmp_path: Path) -> list[str]:
    """Objects in the store, by the last two parts of their keys."""
    return ["/".join(path.parts[-2:]) for path in (tmp_path / "store").rglob("*") if path.is_file()]


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def is_left_empty(session: co.Session, tmp_path: Path) -> None:
    """Soon there is no object, and the session says so."""
    until(lambda: not files(tmp_path), f"objects stayed: {files(tmp_path)}")
    until(lambda: session.stats()["store_bytes"] == 0, "bytes stayed in the count")


def block(value: float) -> np.ndarray:
    return np.full(SIZE, value)


def test_a_computation_leaves_nothing(session: co.Session, tmp_path: Path) -> None:
    """Neither its values, nor the data that the graph held, nor the program that was too large for messages."""
    data = np.random.default_rng().random(SIZE)

    def program(values: list[np.ndarray], table: bytes = os.urandom(200_000)) -> float:
        return sum(map(np.sum, values)) + len(table)

    parts = [dask.delayed(np.add)(data, dask.delayed(block)(i)) for i in range(4)]
    (total,) = session.compute(dask.delayed(program)(parts))
    assert total == pytest.approx(4 * data.sum() + 6 * SIZE + 200_000)
    is_left_empty(session, tmp_path)


def test_the_session_says_how_much_there_is_and_was(session: co.Session, tmp_path: Path) -> None:
    """In its statistics, and in every event."""
    seen: list[Event] = []
    session.events.subscribe(seen.append)
    kept = session.persist(*[dask.delayed(block)(i) for i in range(3)])
    sizes = [path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file()]
    assert session.stats()["store_bytes"] == sum(sizes) >= 3 * SIZE * 8
    assert seen[-1].totals.store_bytes == sum(sizes)
    del kept
    gc.collect()
    is_left_empty(session, tmp_path)
    assert session.stats()["store_bytes_peak"] == sum(sizes)


def test_a_failed_computation_leaves_nothing(session: co.Session, tmp_path: Path) -> None:
    """Nor does what was under way when it failed."""

    def fail(value: np.ndarray) -> None:
        raise LookupError("on purpose")

    with pytest.raises(LookupError):
        session.compute([dask.delayed(fail)(dask.delayed(block)(i)) for i in range(10)], dask.delayed(block)(11))
    is_left_empty(session, tmp_path)


def test_data_that_is_persisted_stays_with_its_collection(session: co.Session, tmp_path: Path) -> None:
    """Although the computation that stored it is over; the same data may be persisted twice."""
    data = np.random.default_rng().random(SIZE)
    first, second = (session.persist(dask.delayed(data.copy()))[0] for _ in range(2))
    assert session.compute(dask.delayed(np.sum)(first)) == (data.sum(),)
    del first
    gc.collect()
    assert session.compute(dask.delayed(np.sum)(second)) == (data.sum(),)
    del second
    gc.collect()
    is_left_empty(session, tmp_path)


def test_data_that_two_computations_need_stays_until_both_are_over(session: co.Session, tmp_path: Path) -> None:
    """It is stored once; the one that ends first does not take it away."""
    data = np.random.default_rng().random(SIZE)
    gate = tmp_path / "gate"

    def slow(values: np.ndarray, *parts: str) -> float:
        while not Path(*parts).exists():
            time.sleep(0.01)
        return float(values.sum())

    def read_late(value: float, values: np.ndarray) -> float:
        return value + float(values.sum())

    waiting = dask.delayed(read_late)(dask.delayed(slow)(np.ones(3), *gate.parts), data)
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(session.compute(waiting)))
    thread.start()
    until(lambda: session.stats()["in_flight"] == 1, "the first one did not begin")
    assert session.compute(dask.delayed(np.sum)(data)) == (data.sum(),)
    assert len(files(tmp_path)) == 1
    gate.touch()
    thread.join(GENEROUS)
    assert results == [(pytest.approx(3 + data.sum()),)]
    is_left_empty(session, tmp_path)


def test_what_a_killed_worker_had_written_goes(session: co.Session, tmp_path: Path) -> None:
    """Its answer never came, so nobody knows of those objects; they are found by their names."""
    mark = tmp_path / "mark"

    def die_once(i: int, *parts: str) -> np.ndarray:
        if i == 30 and not Path(*parts).exists():
            Path(*parts).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return block(i)

    # In parts, because a whole path of this machine would keep the tasks here.
    values = session.compute(*[dask.delayed(die_once)(i, *mark.parts) for i in range(40)])
    assert [value[0] for value in values] == list(range(40))
    assert session.stats()["retries"] > 0
    is_left_empty(session, tmp_path)


class WritesLate:
    """A provider whose workers answer without a value; the first of them has written it, and goes on to."""

    name = "late"
    card = rates.load("local")
    runs = frozenset({"python"})

    def __init__(self, store: ObjectStore, kind: FailureKind) -> None:
        self._store = store
        self._kind = kind
        self._first: Call | None = None

    def invoke(self, call: Call, cancelled: threading.Event) -> Outcome:
        """Say of each unit why it has no value."""
        if self._first is None:
            self._first = call
            self.write()
        failure = Failure(self._kind, "Exception", "no value", "")
        return Outcome((failure,) * len(call.units), (0.0,) * len(call.units), Resources())

    def write(self) -> None:
        """Write what the first call made, as its worker does."""
        assert self._first is not None
        self._store.put(f"{prefix_of(self._first.run)}1/0-1", [b"late"])

    def close(self) -> None:
        """Nothing is held."""


@pytest.mark.parametrize("kind", [FailureKind.DEADLINE, FailureKind.STORE])
def test_what_was_written_for_a_unit_without_a_value_goes(tmp_path: Path, kind: FailureKind) -> None:
    """Its call was answered, and its write was not waited for or ended in doubt: the object goes, also a late one."""
    folder = tmp_path / "store"
    provider = WritesLate(open_store(StoreAccess(folder.as_uri())), kind)
    with co.Session(providers=(provider,), store=str(folder)) as session:

        def compute() -> None:
            with pytest.raises(WorkerLost):
                session.compute(dask.delayed(block)(1), requirements=Requirements(retries=0))

        compute()
        until(lambda: not files(tmp_path), "the object stayed")
        provider.write()
        assert files(tmp_path) == ["1/0-1"]

        def gone() -> bool:
            compute()
            return not files(tmp_path)

        until(gone, "the late object stayed")


def test_small_inputs_that_went_through_the_store_go_with_their_call() -> None:
    """Too many values for one request are put into one object, which only that call reads."""
    with co.Session(providers=("aws",), emulate=("aws",)) as session:

        def total(before: float, *parts: np.ndarray) -> float:
            time.sleep(0.2)
            return before + float(sum(map(np.sum, parts)))

        sums: list[Any] = [0.0]
        for _ in range(6):
            parts = [np.random.default_rng().random(1500) for i in range(200)]  # 12 kB each; 1.5 MB fit into a request
            sums.append(dask.delayed(total)(sums[-1], *parts))
        session.compute(*sums[1:])
        assert 2_400_000 < session.stats()["store_bytes_peak"] < 3 * 2_500_000
        until(lambda: session.stats()["store_bytes"] == 0, "they stayed")
