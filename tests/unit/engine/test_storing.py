"""Transfers of the client: side by side where they take time, and not a thread too many where they don't."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from cloudoffload.engine import storing
from cloudoffload.engine.storing import PARALLEL, in_parallel
from cloudoffload.engine.threads import DaemonPool

PATIENCE = 30.0


@pytest.fixture
def services() -> Iterator[Any]:
    """The part of a session's services that transfers use."""
    pool = DaemonPool("test")
    yield SimpleNamespace(pool=pool)
    pool.close(PATIENCE)


def test_results_stand_in_the_order_of_the_items(services: Any) -> None:
    """However many there are."""
    assert in_parallel(services, lambda n: n * n, list(range(100))) == [n * n for n in range(100)]
    assert in_parallel(services, abs, []) == []


def test_what_takes_time_runs_side_by_side(services: Any) -> None:
    """As many at once as there may be: each of these waits until all of them have begun."""
    together = threading.Barrier(PARALLEL)
    in_parallel(services, lambda _: together.wait(PATIENCE), list(range(PARALLEL)))


def test_one_thread_does_what_is_done_in_a_moment(services: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Others are woken only when a moment has passed; it is a long one here."""
    monkeypatch.setattr(storing, "_ALONE_SECONDS", PATIENCE)

    def work(_: int) -> int:
        time.sleep(0.01)
        return threading.get_ident()

    assert len(set(in_parallel(services, work, list(range(20))))) == 1


def test_the_caller_does_none_of_it(services: Any) -> None:
    """It must hear Ctrl-C."""
    assert threading.get_ident() not in in_parallel(services, lambda _: threading.get_ident(), list(range(50)))


@pytest.mark.parametrize("alone", [0.0, PATIENCE])
def test_an_error_is_raised_when_all_have_ended(services: Any, monkeypatch: pytest.MonkeyPatch, alone: float) -> None:
    """Whether one thread was at work or many; what was not begun is left."""
    monkeypatch.setattr(storing, "_ALONE_SECONDS", alone)

    def fail(number: int) -> None:
        if number == 1:
            raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        in_parallel(services, fail, list(range(10)))
