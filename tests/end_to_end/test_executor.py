"""Plain Python without Dask: the executor, and a map over items."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, as_completed, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cloudoffload as co
from cloudoffload import errors

GENEROUS = 60.0


@pytest.fixture(scope="module")
def session() -> Iterator[co.Session]:
    """Two worker processes."""
    with co.Session(providers=("local",), workers=2) as opened:
        yield opened


def until(path: Path) -> None:
    deadline = time.monotonic() + GENEROUS
    while not path.exists():
        assert time.monotonic() < deadline, f"nobody made {path.name}"
        time.sleep(0.02)


def square(x: int) -> int:
    return x * x


def blocked(begun: str, go: str) -> str:
    """Runs until it may end."""
    Path(begun).touch()
    while not Path(go).exists():
        time.sleep(0.02)
    return "done"


def test_calls_become_futures(session: co.Session) -> None:
    """Positional and keyword arguments, whatever they are."""
    with session.executor() as executor:
        assert executor.submit(square, 7).result(GENEROUS) == 49
        assert executor.submit(sorted, [3, 1, 2], reverse=True).result(GENEROUS) == [3, 2, 1]
        assert executor.submit(dict, {"a": 1}, b=(2,)).result(GENEROUS) == {"a": 1, "b": (2,)}


def test_map_keeps_the_order(session: co.Session) -> None:
    """With several iterables, like the standard library's."""
    with session.executor() as executor:
        assert list(executor.map(square, range(20))) == [x * x for x in range(20)]
        assert list(executor.map(pow, [2, 3], [5, 2])) == [32, 9]


def test_thousands_of_calls_share_few_requests(session: co.Session) -> None:
    """What is submitted while a batch is under way goes with the next one."""
    before = session.stats()
    with session.executor() as executor:
        futures = [executor.submit(square, i) for i in range(3000)]
        assert [future.result(GENEROUS) for future in futures] == [i * i for i in range(3000)]
    after = session.stats()
    assert after["units"] - before["units"] == 3000
    assert after["calls"] - before["calls"] < 1000


def test_a_call_that_raises_fails_alone(session: co.Session) -> None:
    """With its own exception; the others have their values."""
    with session.executor() as executor:
        futures = {executor.submit(divmod, 6, x): x for x in (1, 0, 2)}
        found = {futures[future]: future.exception(GENEROUS) or future.result() for future in as_completed(futures)}
    assert isinstance(found.pop(0), ZeroDivisionError)
    assert found == {1: (6, 0), 2: (3, 0)}


def test_a_call_that_can_not_be_sent_fails_alone(session: co.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though all calls of a batch travel in one program."""
    module = ModuleType("only_here")
    exec("def double(x): return 2 * x", module.__dict__)
    monkeypatch.setitem(__import__("sys").modules, "only_here", module)
    with session.executor() as executor:
        good = [executor.submit(square, i) for i in range(10)]
        unsendable = executor.submit(repr, threading.Lock())
        missing = executor.submit(module.double, 2)
        good += [executor.submit(square, i) for i in range(10, 20)]
        assert [future.result(GENEROUS) for future in good] == [i * i for i in range(20)]
        assert isinstance(unsendable.exception(GENEROUS), errors.UnpicklableGraph)
        assert isinstance(missing.exception(GENEROUS), errors.MissingPackage)


def test_results_leave_no_objects(tmp_path: Path) -> None:
    """Large results are deleted when they were fetched, not at the end of the session."""
    with co.Session(providers=("local",), workers=1, store=str(tmp_path)) as session:
        with session.executor() as executor:
            assert [len(value) for value in executor.map(bytes, [100_000] * 5)] == [100_000] * 5
        deadline = time.monotonic() + GENEROUS
        while [path for path in tmp_path.rglob("*") if path.is_file()]:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_shutting_down(session: co.Session, tmp_path: Path) -> None:
    """It takes no more calls, and waits for those that were taken."""
    executor = session.executor()
    future = executor.submit(blocked, str(tmp_path / "begun"), str(tmp_path / "go"))
    until(tmp_path / "begun")
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="shut down"):
        executor.submit(square, 2)
    assert not future.done()
    (tmp_path / "go").touch()
    executor.shutdown(wait=True)
    assert future.result(0) == "done"


def test_cancelling_ends_what_is_under_way(session: co.Session, tmp_path: Path) -> None:
    """Only the calls of this executor; they raise Cancelled."""
    one, other = session.executor(), session.executor()
    mine = one.submit(blocked, str(tmp_path / "begun-1"), str(tmp_path / "never"))
    theirs = other.submit(blocked, str(tmp_path / "begun-2"), str(tmp_path / "go"))
    until(tmp_path / "begun-1")
    until(tmp_path / "begun-2")
    one.cancel()
    assert isinstance(mine.exception(GENEROUS), errors.Cancelled)
    (tmp_path / "go").touch()
    assert theirs.result(GENEROUS) == "done"
    other.shutdown()


def test_futures_that_wait_can_be_cancelled(session: co.Session) -> None:
    """As ``shutdown(cancel_futures=True)`` does; each future ends one way or the other."""
    executor = session.executor()
    futures: list[Future[Any]] = [executor.submit(square, i) for i in range(200)]
    executor.shutdown(wait=True, cancel_futures=True)
    done, pending = wait(futures, timeout=GENEROUS)
    assert not pending
    assert all(future.cancelled() or future.result() == i * i for i, future in enumerate(futures))
    assert done == set(futures)


def test_a_session_that_closes_ends_its_futures(tmp_path: Path) -> None:
    """None is left without an answer."""
    with co.Session(providers=("local",), workers=1) as session:
        executor = session.executor()
        futures = [executor.submit(blocked, str(tmp_path / "begun"), str(tmp_path / "never")) for _ in range(3)]
        until(tmp_path / "begun")
    for future in futures:
        assert isinstance(future.exception(GENEROUS), errors.CloudoffloadError)
    executor.shutdown(wait=True)


def test_callbacks_may_submit(session: co.Session) -> None:
    """A future's callback runs on the engine's thread; a call that it submits must not deadlock."""
    later: list[Future[int]] = []
    submitted = threading.Event()
    with session.executor() as executor:

        def more(future: Future[int]) -> None:
            later.append(executor.submit(square, future.result()))
            submitted.set()

        executor.submit(square, 3).add_done_callback(more)
        assert submitted.wait(GENEROUS)
        assert later[0].result(GENEROUS) == 81


def test_offload_maps_in_the_current_session(session: co.Session) -> None:
    """Results in the order of the items; requirements are those of every call."""
    before = session.stats()["units"]
    assert co.offload(square, over=range(50), provider="local") == [x * x for x in range(50)]
    assert session.stats()["units"] - before == 50
    with pytest.raises(errors.PlanError, match="'aws'"):
        co.offload(square, over=[1], provider="aws")


def test_offload_stops_at_the_first_error(session: co.Session) -> None:
    """The other results would be paid for and thrown away."""

    def once(x: int) -> int:
        if x == 0:
            raise LookupError("zero")
        time.sleep(300)
        return x

    with pytest.raises(LookupError, match="zero"):
        co.offload(once, over=range(4))
    assert co.offload(square, over=[2]) == [4], "the workers are free again"
