"""A cloud that dies or freezes under a computation: a typed error or an orderly end, never a hang."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dask
import psutil
import pytest

import cloudoffload as co
from cloudoffload import errors
from cloudoffload.types import Requirements
from tests.chaos.scripts import GENEROUS, are_gone, until

AWS = ("aws",)


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    """Where a test computes while it does harm."""
    pool = ThreadPoolExecutor(1)
    yield pool
    pool.shutdown(wait=False)


def sleep(parts: tuple[str, ...]) -> None:
    """Say that the task runs, and don't end."""
    Path(*parts, "begun").touch()
    time.sleep(900)


def stuck(session: co.Session, folder: Path, pool: ThreadPoolExecutor) -> Future[Any]:
    """A computation whose task runs by now."""
    # In parts, because a whole path of this machine would keep the task here.
    future = pool.submit(session.compute, dask.delayed(sleep)(folder.parts))
    until(lambda: (folder / "begun").exists() or future.done(), "the task begins")
    return future


def processes(module: str) -> list[psutil.Process]:
    """Processes below this one that run a module."""
    return [item for item in psutil.Process().children(recursive=True) if module in item.cmdline()]


def kill(module: str) -> None:
    """End a part of an emulated cloud as a failing machine does."""
    (process,) = processes(module)
    process.kill()
    until(lambda: are_gone([process]), "it ends")


def test_lambda_dies_while_a_call_is_under_way(tmp_path: Path, background: ThreadPoolExecutor) -> None:
    """After the allowed tries the error says that Lambda can't be reached; the next computation says it again."""
    with co.Session(emulate=AWS, providers=AWS) as session:
        future = stuck(session, tmp_path, background)
        functions = processes("awslambdaric")
        kill("cloudoffload.emulator.lambda_front")
        for compute in (lambda: future.result(GENEROUS), lambda: session.compute(dask.delayed(abs)(-1))):
            with pytest.raises(errors.WorkerLost, match="Lambda can't be reached") as caught:
                compute()
            assert isinstance(caught.value.__cause__, errors.ProviderDown)
        until(lambda: are_gone(functions), "functions end with their cloud")
        assert session.stats()["in_flight"] == 0
        assert session.ledger.reserved == 0


def test_s3_dies_while_values_lie_in_it() -> None:
    """Whoever reads or writes a value says that the store can't be reached; closing is none the worse."""
    with co.Session(emulate=AWS, providers=AWS) as session:
        (kept,) = session.persist(dask.delayed(bytes)(100_000))
        kill("cloudoffload.emulator.storage")
        once = Requirements(retries=0)
        uses: list[Callable[[], Any]] = [
            lambda: session.compute(kept),
            lambda: session.compute(dask.delayed(len)(kept), requirements=once),
            lambda: session.compute(dask.delayed(bytes)(100_000), requirements=once),
            lambda: session.compute(dask.delayed(len)(b"x" * 100_000)),
        ]
        for use in uses:
            with pytest.raises((errors.StoreError, errors.WorkerLost), match=r"could not (be )?(read|write)"):
                use()
        assert session.stats()["in_flight"] == 0


@pytest.mark.parametrize("cloud", ["local", "aws"])
def test_a_session_closes_while_another_thread_computes(
    tmp_path: Path, background: ThreadPoolExecutor, cloud: str
) -> None:
    """That thread learns it; every process of the session is gone when ``close`` returns."""
    before = psutil.Process().children(recursive=True)
    session = co.Session(emulate=AWS if cloud == "aws" else (), providers=(cloud,), workers=1)
    future = stuck(session, tmp_path, background)
    begun = [item for item in psutil.Process().children(recursive=True) if item not in before]
    assert begun
    session.close()
    assert are_gone(begun)
    with pytest.raises((errors.Cancelled, errors.SessionClosed)):
        future.result(GENEROUS)


@pytest.mark.parametrize(
    ("cloud", "module"), [("local", "cloudoffload.worker.local"), ("aws", "cloudoffload.emulator.lambda_front")]
)
def test_what_has_frozen_can_be_left(tmp_path: Path, background: ThreadPoolExecutor, cloud: str, module: str) -> None:
    """A process that does not even answer signals: cancelling ends the wait, closing ends the process."""
    session = co.Session(emulate=AWS if cloud == "aws" else (), providers=(cloud,), workers=1)
    future = stuck(session, tmp_path, background)
    (frozen,) = processes(module)
    frozen.send_signal(signal.SIGSTOP)
    session.cancel()
    with pytest.raises(errors.Cancelled):
        future.result(GENEROUS)
    session.close()
    assert are_gone([frozen])


def test_no_thread_stays() -> None:
    """Sessions that came and went leave no thread behind, with a cloud or without one."""
    before = set(threading.enumerate())
    for emulate in ((), AWS):
        with co.Session(emulate=emulate, workers=1) as session:
            session.compute(*[dask.delayed(bytes)(100_000) for _ in range(4)])
    until(lambda: set(threading.enumerate()) <= before, "threads end")
