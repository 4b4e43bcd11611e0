"""User code that ends its process, or eats its memory: the unit runs again, or one error says what happened."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

import cloudoffload as co
from cloudoffload import errors
from cloudoffload.engine.events import Event, EventKind
from cloudoffload.types import Requirements

GENEROUS = 60.0
MEMORY_MB = 384
ONCE_MORE = Requirements(retries=1)


@pytest.fixture(scope="module", params=("local", "aws"))
def session(request: pytest.FixtureRequest) -> Iterator[co.Session]:
    """Two small workers: processes on this machine, or functions on emulated AWS."""
    emulate = () if request.param == "local" else ("aws",)
    with (
        dask.config.set({"cloudoffload.aws.memory-mb": MEMORY_MB}),
        co.Session(providers=(request.param,), emulate=emulate, workers=2, memory_mb=MEMORY_MB) as opened,
    ):
        yield opened


def die(signum: int) -> None:
    """End this process as a crash does: at once."""
    os.kill(os.getpid(), signum)
    time.sleep(GENEROUS)


def die_once(parts: tuple[str, ...]) -> int:
    """End the first process that runs this."""
    mark = Path(*parts)
    if not mark.exists():
        mark.touch()
        die(signal.SIGKILL)
    return 0


def hold(mb: int) -> int:
    """Fill memory, and keep it."""
    held = b"x" * (mb << 20)
    time.sleep(GENEROUS)
    return len(held)


def compute(session: co.Session, function: Any, *arguments: Any) -> Any:
    (value,) = session.compute(dask.delayed(function)(*arguments), requirements=ONCE_MORE)
    return value


def test_a_worker_killed_in_a_task_is_replaced_and_the_task_runs_again(session: co.Session, tmp_path: Path) -> None:
    """The result is right, listeners learn why the call was lost, and the retry is counted."""
    retries = session.stats()["retries"]
    seen: list[Event] = []
    end = session.events.subscribe(seen.append)
    # In parts, because a whole path of this machine would keep the task here.
    killer = dask.delayed(die_once)((tmp_path / "mark").parts)
    others = [dask.delayed(abs)(-i) for i in range(1, 20)]
    assert session.compute(dask.delayed(sum)([killer, *others])) == (sum(range(20)),)
    end()
    (lost,) = [event for event in seen if event.kind is EventKind.CALL_LOST]
    assert "killed" in lost.message.lower()
    assert session.stats()["retries"] > retries
    assert session.stats()["in_flight"] == 0


@pytest.mark.parametrize(
    ("signum", "reason"), [(signal.SIGKILL, "killed"), (signal.SIGSEGV, "segmentation fault")], ids=["kill", "segv"]
)
def test_code_that_ends_every_worker_fails(session: co.Session, signum: int, reason: str) -> None:
    """After the allowed tries, with the task's name, how often it was tried and why; others don't suffer."""
    with pytest.raises(errors.WorkerLost, match=rf"task 'die' was tried 2 times.*(?i:{reason})") as caught:
        compute(session, die, signum)
    assert isinstance(caught.value.__cause__, errors.ProviderDown)
    assert compute(session, abs, -1) == 1


def test_a_segfault_in_compiled_code(session: co.Session) -> None:
    """As a broken extension module makes it."""

    def read_nothing() -> bytes:
        return ctypes.string_at(0)

    with pytest.raises(errors.WorkerLost, match="task 'read_nothing' was tried 2 times"):
        compute(session, read_nothing)
    assert compute(session, abs, -1) == 1


def test_a_task_that_needs_more_memory_than_a_worker_has(session: co.Session) -> None:
    """The error is typed, names the limit, and says that memory was the reason."""
    with pytest.raises(
        errors.WorkerLost,
        match=rf"task 'hold' was tried 2 times.*memory.*{MEMORY_MB} MB|"
        rf"task 'hold' was tried 2 times.*more than the {MEMORY_MB} MB",
    ) as caught:
        compute(session, hold, 2 * MEMORY_MB)
    assert isinstance(caught.value.__cause__, errors.OutOfMemory)
    assert compute(session, abs, -1) == 1


def test_a_memory_error_of_the_users_code(session: co.Session) -> None:
    """Raised by Python itself, for example because an array is absurdly large: the same reason."""

    def absurd() -> bytearray:
        return bytearray(1 << 60)

    with pytest.raises(errors.WorkerLost, match=r"task 'absurd' was tried 2 times.*memory") as caught:
        compute(session, absurd)
    assert isinstance(caught.value.__cause__, errors.OutOfMemory)


def test_neighbours_of_a_killer_get_their_values(session: co.Session) -> None:
    """Of many independent calls only the one that ends its worker fails, whatever shared a request with it."""

    def work(i: int) -> int:
        if i == 7:
            die(signal.SIGKILL)
        return i

    with session.executor(ONCE_MORE) as executor:
        futures = [executor.submit(work, i) for i in range(40)]
        ended = [future.exception(GENEROUS) or future.result() for future in futures]
    assert [value for value in ended if not isinstance(value, BaseException)] == [i for i in range(40) if i != 7]
    assert isinstance(ended[7], errors.WorkerLost)
