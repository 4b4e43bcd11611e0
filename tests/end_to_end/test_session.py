"""The Session as Dask's scheduler: blocks, threads, overlapping, cancelling, closing."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest
from dask.base import get_scheduler

import cloudoffload as co
from cloudoffload import errors
from cloudoffload.engine import scheduler
from cloudoffload.graph import collecting
from cloudoffload.providers.local import Local
from cloudoffload.types import Call, Outcome

GENEROUS = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where local stores lie during the test."""
    with dask.config.set({"cloudoffload.local.folder": str(tmp_path)}):
        yield tmp_path


def local(**arguments: Any) -> co.Session:
    """A session with one worker process."""
    return co.Session(**{"providers": ("local",), "workers": 1, **arguments})


@dask.delayed  # type: ignore[untyped-decorator]
def inc(x: int) -> int:
    return x + 1


def total(count: int) -> Any:
    """Delayed sum of 1 to ``count``."""
    return dask.delayed(sum)([inc(i) for i in range(count)])


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for something; generous, because only a hang should fail."""
    deadline = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dask.delayed  # type: ignore[untyped-decorator]
def wait_for(go: str, begun: str) -> str:
    """A task that says that it runs, and goes on until it may end."""
    Path(begun).touch()
    while not Path(go).exists():
        time.sleep(0.02)
    return "done"


def test_a_block_is_dasks_scheduler() -> None:
    """Inside it plain ``compute()`` runs on the session's providers, afterwards as before."""
    before = get_scheduler()
    with local() as session:
        assert total(10).compute() == 55
        assert session.stats()["units"] > 0
    assert get_scheduler() == before
    assert "scheduler" not in dask.config.config


def test_a_long_computation_lets_the_collector_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits while a graph is planned and begins to run, and not for the hours that follow."""
    monkeypatch.setattr(collecting, "MOST_SECONDS", 0.1)
    go, begun = tmp_path / "go", tmp_path / "begun"
    with local() as session, ThreadPoolExecutor(1) as threads:
        answer = threads.submit(session.compute, wait_for(str(go), str(begun)))
        try:
            until(begun.exists, "the task did not begin")
            until(gc.isenabled, "the collector stayed off")
        finally:
            go.touch()
        answer.result(GENEROUS)
    assert gc.isenabled()


def test_a_scheduler_that_was_set_before_is_set_again() -> None:
    """Whatever the user had chosen."""
    with dask.config.set(scheduler="synchronous"):
        with local():
            assert dask.config.get("scheduler") == "cloudoffload"
        assert dask.config.get("scheduler") == "synchronous"


def test_a_scheduler_that_was_set_inside_stays() -> None:
    """The user's last word counts."""
    with local():
        dask.config.set(scheduler="threads")
    assert dask.config.get("scheduler") == "threads"


@pytest.mark.parametrize("first_in_first_out", [True, False])
def test_sessions_overlap_in_threads(first_in_first_out: bool) -> None:
    """Each thread computes in its own session, in whatever order they close; the last one restores Dask's scheduler."""
    entered, computed, leave = threading.Barrier(2), threading.Barrier(2), [threading.Event(), threading.Event()]

    def work(place: int) -> tuple[int, int]:
        with local() as session:
            entered.wait(GENEROUS)
            value = total(10 * (place + 1)).compute()
            units = session.stats()["units"]
            computed.wait(GENEROUS)
            leave[place].wait(GENEROUS)
        return value, units

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(work, place) for place in (0, 1)]
        order = (0, 1) if first_in_first_out else (1, 0)
        leave[order[0]].set()
        first = futures[order[0]].result(GENEROUS)
        assert dask.config.get("scheduler") == "cloudoffload", "the other session is still open"
        leave[order[1]].set()
        second = futures[order[1]].result(GENEROUS)
    assert {first, second} == {(55, 11), (210, 21)}
    assert dask.config.get("scheduler", None) is None


def test_sessions_nest() -> None:
    """The innermost one computes; when it closes, the outer one does again, whatever other threads have opened."""
    with local() as outer, ThreadPoolExecutor(1) as elsewhere:
        with local() as inner:
            other = local()
            elsewhere.submit(other.__enter__).result(GENEROUS)
            total(3).compute()
        assert (inner.stats()["units"], outer.stats()["units"]) == (4, 0)
        total(5).compute()
        assert outer.stats()["units"] == 6
        other.close()


def test_an_outer_session_may_close_first() -> None:
    """The inner one stays this thread's session, and is the last to restore the configuration."""
    outer, inner = local(), local()
    outer.__enter__()
    inner.__enter__()
    outer.close()
    assert scheduler.current() is inner
    total(3).compute()
    assert inner.stats()["units"] == 4
    inner.close()
    assert dask.config.get("scheduler", None) is None


def test_closing_in_another_thread_leaves_that_threads_session_alone() -> None:
    """Each thread keeps what it entered."""
    with local() as mine:

        def other() -> co.Session:
            with local() as theirs:
                mine.close()
                assert scheduler.current() is theirs
                return theirs

        with ThreadPoolExecutor(1) as pool:
            theirs = pool.submit(other).result(GENEROUS)
        assert theirs.closed and scheduler.current() not in (mine, theirs)


def test_the_scheduler_by_name_needs_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """``scheduler="cloudoffload"`` makes a local session, and uses it again."""
    monkeypatch.setattr(scheduler, "_default", None)
    with dask.config.set({"cloudoffload.local.workers": 1}):
        assert total(4).compute(scheduler="cloudoffload") == 10
        first = scheduler.current()
        assert total(4).compute(scheduler="cloudoffload") == 10
        assert scheduler.current() is first
        assert first.stats()["units"] == 10
        first.close()
        assert total(4).compute(scheduler="cloudoffload") == 10, "one that was closed is replaced"
        scheduler.current().close()


def test_a_session_is_a_scheduler_without_a_block() -> None:
    """``scheduler=session`` starts it, and changes no configuration."""
    session = local()
    assert total(4).compute(scheduler=session) == 10
    assert dask.config.get("scheduler", None) is None
    (kept,) = dask.persist(total(4), scheduler=session)
    assert kept.compute(scheduler=session) == 10
    session.close()


def test_a_session_that_nobody_holds_any_more_is_closed(folder: Path) -> None:
    """Its processes and its folder go with the last reference."""
    before = children()
    assert total(4).compute(scheduler=local()) == 10
    gc.collect()
    assert children() == before
    assert not list(folder.glob("*/*/"))


def test_a_closed_session_says_so() -> None:
    """Closing twice does nothing."""
    with local() as session:
        executor = session.executor()
        total(2).compute()
    session.close()
    uses: list[Callable[[], Any]] = [
        lambda: total(2).compute(scheduler=session),
        lambda: session.compute(total(2)),
        lambda: session.persist(total(2)),
        lambda: session.estimate(total(2)),
        lambda: session.__enter__(),
        lambda: executor.submit(abs, 1),
    ]
    for use in uses:
        with pytest.raises(errors.SessionClosed, match="closed"):
            use()
    assert session.report().usd == 0
    assert session.stats()["units"] == 3


def test_computing_goes_on_after_an_error() -> None:
    """A session is not spoilt by what failed in it."""
    with local() as session:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                dask.delayed(divmod)(1, 0).compute()
            assert total(3).compute() == 6
        assert session.stats()["in_flight"] == 0


def test_a_call_that_waits_for_a_worker_is_cancelled_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next call waits while the worker runs another; nothing of it has run when the computation is cancelled."""
    invoke, invoked = Local.invoke, []

    def watched(provider: Local, call: Call, cancelled: threading.Event) -> Outcome:
        invoked.append(call)
        return invoke(provider, call, cancelled)

    monkeypatch.setattr(Local, "invoke", watched)
    with local() as session:

        def cancel() -> None:
            try:
                until(lambda: any(tmp_path.glob("begun-*")), "the first task began")
                until(lambda: len(invoked) == 2, "the next call waits")
            finally:
                session.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(errors.Cancelled):
            dask.compute(*(wait_for(str(tmp_path / "go"), str(tmp_path / f"begun-{i}")) for i in range(3)))
        thread.join()
        assert len(invoked) == 2
        assert len(list(tmp_path.glob("begun-*"))) == 1
        assert session.stats()["in_flight"] == 0
        assert total(3).compute() == 6


def test_cancelling_from_a_thread_ends_a_computation(tmp_path: Path) -> None:
    """It raises Cancelled and says what was spent; the session computes on."""
    with local() as session:

        def cancel() -> None:
            until((tmp_path / "begun").exists, "the task began")
            session.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(errors.Cancelled) as caught:
            wait_for(str(tmp_path / "go"), str(tmp_path / "begun")).compute()
        thread.join()
        assert any("spent" in note for note in caught.value.__notes__)
        assert session.stats()["in_flight"] == 0
        assert session.ledger.reserved == 0
        assert total(3).compute() == 6


def test_closing_while_another_thread_computes(tmp_path: Path, folder: Path) -> None:
    """That thread learns it at once; nothing stays behind."""
    before = children()
    session = local()

    def compute() -> Any:
        return wait_for(str(tmp_path / "go"), str(tmp_path / "begun")).compute(scheduler=session)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(compute)
        until((tmp_path / "begun").exists, "the task began")
        session.close()
        with pytest.raises((errors.Cancelled, errors.SessionClosed)):
            future.result(GENEROUS)
    assert children() == before
    assert not list(folder.glob("*/*/"))


def test_many_threads_compute_in_one_session() -> None:
    """Eight at once: each gets its own values, and every call is counted once."""
    with co.Session(providers=("local",), workers=2) as session:

        def compute(n: int) -> list[Any]:
            return [session.compute(total(2 + n + i))[0] for i in range(5)]

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(compute, range(8)))
        assert found == [[sum(range(3 + n + i)) for i in range(5)] for n in range(8)]
        assert session.stats()["units"] == sum(3 + n + i for n in range(8) for i in range(5))


def test_an_error_inside_a_block_closes_the_session(folder: Path) -> None:
    """Like its ordinary end."""
    before = children()
    with pytest.raises(LookupError), local() as session:
        total(3).compute()
        raise LookupError
    assert session.closed
    assert children() == before
    assert not list(folder.glob("*/*/"))
    assert dask.config.get("scheduler", None) is None


def test_what_a_computation_wrote_is_deleted(tmp_path: Path) -> None:
    """Intermediate values as soon as their last reader is done, results when they were fetched, the run at the end."""
    store = tmp_path / "store"
    with local(store=str(store)) as session:
        objects = store / "runs" / session.run_id
        parts = [dask.delayed(bytes)(100_000 + i) for i in range(3)]
        joined = dask.delayed(b"".join)(parts)
        assert len(joined.compute()) == 300_003
        until(lambda: not files(objects), "values go when nobody needs them")
        with pytest.raises(ZeroDivisionError):
            dask.delayed(lambda x, y: 1 / 0)(parts[0], joined).compute()
        until(lambda: not files(objects), "values of a failed computation go, too")
    assert not objects.exists()
    assert store.exists(), "a store of the user's own stays"


def test_a_session_forgets_what_it_computed() -> None:
    """Large arguments are freed with the computation, although the plan can still be explained."""

    with local() as session:
        large = np.ones(1_000_000)
        gone = weakref.ref(large)
        session.compute(dask.delayed(len)(large, dask_key_name="use-1"))
        assert session.explain("use").provider == "local"
        del large
        gc.collect()
        assert gone() is None


def children() -> set[int]:
    """Processes that this one has started."""
    return {process.pid for process in psutil.Process().children(recursive=True)}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
