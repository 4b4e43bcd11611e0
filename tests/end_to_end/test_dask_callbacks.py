"""Dask's own callbacks keep working: they see every task once."""

from __future__ import annotations

import io
import operator
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from dask.cache import Cache
from dask.callbacks import Callback
from dask.diagnostics import Profiler, ProgressBar, ResourceProfiler

import cloudoffload as co


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[co.Session]:
    """One worker process."""
    with co.Session(providers=("local",), workers=1) as opened:
        yield opened


@pytest.fixture(autouse=True)
def scheduled(session: co.Session) -> Iterator[None]:
    """Dask computes in the session, although the configuration is cleared between tests."""
    with dask.config.set(scheduler=session):
        yield


class Recorder(Callback):  # type: ignore[misc]
    """What a callback is told."""

    def __init__(self) -> None:
        self.told: Counter[tuple[str, Any]] = Counter()
        self.failed: bool | None = None
        self.finished_at_the_end = 0

    def _start(self, dsk: Any) -> None:
        self.told["start", len(dsk)] += 1

    def _start_state(self, dsk: Any, state: Any) -> None:
        self.told["state", len(state["waiting"])] += 1

    def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
        assert key in dsk and key in state["running"]
        self.told["pre", key] += 1

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        assert key in state["finished"]
        self.told["post", key] += 1

    def _finish(self, dsk: Any, state: Any, failed: bool) -> None:
        self.failed = failed
        self.finished_at_the_end = len(state["finished"])


def graph(function: Any = abs) -> Any:
    """Four tasks and one that needs them."""
    parts = [dask.delayed(function)(i, dask_key_name=f"part-{i}") for i in range(4)]
    return dask.delayed(sum)(parts, dask_key_name="total")


def test_a_callback_sees_every_task_once(session: co.Session) -> None:
    """Start, each task before and after, and the end; tasks that run as one unit, too."""
    negated = dask.delayed(operator.neg)(graph(), dask_key_name="negated")
    with Recorder() as recorder:
        assert negated.compute() == -6
    assert len(session.plan(negated).units) == 5
    keys = ["negated", "total", *(f"part-{i}" for i in range(4))]
    expected = Counter([("start", 6), ("state", 6), *(("pre", key) for key in keys), *(("post", key) for key in keys)])
    assert recorder.told == expected
    assert (recorder.failed, recorder.finished_at_the_end) == (False, 6)


def test_a_unit_that_is_sent_again_is_no_news(tmp_path: Path) -> None:
    """A worker that dies is the engine's trouble, not the callback's."""
    marker = tmp_path / "died"

    def once(x: int) -> int:
        if x == 2 and not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    with Recorder() as recorder:
        assert graph(once).compute() == 6
    assert marker.exists()
    assert set(recorder.told.values()) == {1}
    assert recorder.finished_at_the_end == 5


def test_a_callback_hears_of_a_failure() -> None:
    """The failed unit is not among the finished ones, and the callback stays registered."""

    def fail(x: int) -> float:
        return 1 / (x - 3)

    with Recorder() as recorder:
        with pytest.raises(ZeroDivisionError):
            graph(fail).compute()
        assert recorder.failed is True
        assert recorder.told["post", "part-3"] == 0
        assert graph().compute() == 6
        assert recorder.failed is False


def test_a_callback_that_raises_ends_the_computation_and_stays_registered() -> None:
    """As with Dask's own schedulers."""

    class Bad(Callback):  # type: ignore[misc]
        def _pretask(self, key: Any, dsk: Any, state: Any) -> None:
            raise LookupError(key)

    with Bad():
        with pytest.raises(LookupError):
            graph().compute()
        assert len(Callback.active) == 1
    assert graph().compute() == 6


def test_the_progress_bar_is_drawn() -> None:
    """It reaches 100 %."""
    out = io.StringIO()
    with ProgressBar(out=out, dt=0.01):
        graph().compute()
    assert "100% Completed" in out.getvalue()


def test_profilers_profile() -> None:
    """One record for each task, with the task itself; the resources of this machine."""
    with Profiler() as profiler, ResourceProfiler(dt=0.01) as resources:
        graph().compute()
    assert {result.key for result in profiler.results} == {"total", *(f"part-{i}" for i in range(4))}
    assert {result.task.func for result in profiler.results} == {abs, sum}
    assert {result.worker_id for result in profiler.results} == {"local"}
    assert all(result.end_time >= result.start_time for result in profiler.results)
    assert resources.results is not None
    resources.close()


def test_a_cache_of_values_is_left_out_with_a_warning() -> None:
    """Values stay in the store: what it would keep are not values."""
    with Cache(1e6), pytest.warns(UserWarning, match="left out"):
        assert graph().compute() == 6


def test_callbacks_belong_to_the_outermost_computation() -> None:
    """They are registered as before when it is over."""
    with Recorder():
        before = set(Callback.active)
        graph().compute()
        assert Callback.active == before
