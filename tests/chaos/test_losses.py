"""Losses that are not the code's fault, or that must not become somebody else's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import dask
import psutil
import pytest

import cloudoffload as co
from cloudoffload import errors
from cloudoffload.types import Requirements
from tests.chaos.scripts import until


def four() -> list[object]:
    """Work for both workers."""
    return [dask.delayed(abs)(-i) for i in range(4)]


def has_ended(child: int) -> bool:
    """Whether a child is gone with all its threads; its parent may still ask how it ended."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def test_workers_that_died_while_idle_are_replaced_without_a_loss() -> None:
    """The machine's own memory killer takes what it likes; no task pays for it."""
    with co.Session(providers=("local",), workers=2) as session:
        assert session.compute(*four()) == (0, 1, 2, 3)
        mine = psutil.Process().children()
        for worker in mine:
            worker.kill()
        until(lambda: all(has_ended(worker.pid) for worker in mine), "they are killed")
        assert session.compute(*four()) == (0, 1, 2, 3)
        assert session.stats()["retries"] == 0


def test_a_failure_frees_the_other_workers(tmp_path: Path) -> None:
    """A task that sleeps for hours holds up neither the error of its neighbour nor what is computed next."""

    def fail(begun: str) -> float:
        while not Path(begun).exists():
            time.sleep(0.02)
        return 1 / 0

    def sleep(begun: str) -> None:
        Path(begun).touch()
        time.sleep(10_000)

    begun = str(tmp_path / "begun")
    with co.Session(providers=("local",), workers=2) as session:
        with pytest.raises(ZeroDivisionError):
            session.compute(dask.delayed(sleep)(begun), dask.delayed(fail)(begun))
        assert session.stats()["in_flight"] == 0
        assert session.compute(*four()) == (0, 1, 2, 3)


def test_a_lost_input_is_said(tmp_path: Path) -> None:
    """Somebody deleted an object of the run: the computation ends with what is missing, and does not hang."""

    def delete(made: bytes, folder: str) -> int:
        for path in Path(folder).rglob("*"):
            if path.is_file():
                path.unlink()
        return 1

    store = tmp_path / "store"
    with co.Session(providers=("local",), workers=1, store=str(store)) as session:
        made = dask.delayed(bytes)(100_000)
        gone = dask.delayed(delete)(made, str(store))
        with pytest.raises(errors.WorkerLost, match="input could not be read"):
            session.compute(dask.delayed(lambda a, b: len(a))(made, gone), requirements=Requirements(retries=1))


def test_an_exit_status_of_0_is_no_answer() -> None:
    """Code that ends its process in peace has no value either."""
    with (
        co.Session(providers=("local",), workers=1) as session,
        pytest.raises(errors.WorkerLost, match=r"tried once .*status 0"),
    ):
        session.compute(dask.delayed(os._exit)(0), requirements=Requirements(retries=0))


def test_code_that_leaves_by_an_exception() -> None:
    """``sys.exit`` in a task is the task's exception, as with Dask's own schedulers; the worker lives on."""
    with co.Session(providers=("local",), workers=1) as session:
        with pytest.raises(SystemExit, match="7"):
            session.compute(dask.delayed(exit)(7))
        assert session.compute(*four()) == (0, 1, 2, 3)
        assert session.stats()["retries"] == 0
