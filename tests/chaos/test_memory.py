"""Tasks that take more memory than their worker may have, in whatever way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

import cloudoffload as co
from cloudoffload import errors
from cloudoffload.types import Requirements

LIMIT_MB = 320
GENEROUS = 60.0
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture(scope="module")
def session() -> Iterator[co.Session]:
    with co.Session(providers=("local",), workers=1, memory_mb=LIMIT_MB) as opened:
        yield opened


def compute(session: co.Session, function: Callable[..., Any], *arguments: Any) -> Any:
    (value,) = session.compute(dask.delayed(function)(*arguments), requirements=Requirements(retries=0))
    return value


def runs_out(session: co.Session, match: str, function: Callable[..., Any], *arguments: Any) -> None:
    """The task fails, its reason is memory, and the session goes on."""
    with pytest.raises(errors.WorkerLost, match=match) as caught:
        compute(session, function, *arguments)
    assert isinstance(caught.value.__cause__, errors.OutOfMemory)
    assert compute(session, abs, -1) == 1


def test_one_allocation_that_is_much_too_large(session: co.Session) -> None:
    """It fails inside the worker before a page is touched; the error says how much there may be, and what to do."""
    runs_out(session, rf"Unable to allocate.*may hold {LIMIT_MB} MB; use smaller partitions", np.ones, 1 << 28)


def test_memory_that_is_taken_bit_by_bit(session: co.Session) -> None:
    """Each allocation is small; together they are too many."""

    def hoard() -> None:
        held = []
        for _ in range(10 * LIMIT_MB):
            held.append(b"x" * (1 << 20))

    runs_out(session, f"more than the {LIMIT_MB} MB.*use smaller partitions|may hold {LIMIT_MB} MB", hoard)


def test_memory_of_what_a_task_starts(session: co.Session) -> None:
    """A process that a task starts counts like the task itself, and ends with it."""

    def start(mb: int) -> int:
        code = f"held = b'x' * ({mb} << 20); input()"
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
            return process.wait()

    runs_out(session, f"more than the {LIMIT_MB} MB that a worker may have", start, LIMIT_MB)


def test_the_advice_is_given_once(session: co.Session) -> None:
    """Whoever lost a task to its memory is told once what to do."""

    def hold(mb: int) -> None:
        held = [b"x" * (1 << 20) for _ in range(mb)]
        time.sleep(len(held))

    with pytest.raises(errors.WorkerLost, match="that a worker may have") as caught:
        compute(session, hold, LIMIT_MB + 64)
    assert str(caught.value).count("use smaller partitions") == 1


def test_forked_processes_share_what_they_were_born_with(session: co.Session) -> None:
    """A task may fork: memory that nobody has written to since is one memory."""

    def fork(mb: int) -> int:
        held = b"x" * (mb << 20)
        children = []
        for _ in range(3):
            if (child := os.fork()) == 0:
                time.sleep(1)
                os._exit(0)
            children.append(child)
        for child in children:
            os.waitpid(child, 0)
        return len(held)

    assert compute(session, fork, LIMIT_MB // 2) == LIMIT_MB // 2 << 20


def test_what_a_worker_may_have_it_gets(session: co.Session) -> None:
    """Half of the limit is no reason to end anybody, however fast it is taken."""
    assert compute(session, lambda mb: len(b"x" * (mb << 20)), LIMIT_MB // 2) == LIMIT_MB // 2 << 20


def test_inputs_larger_than_the_limit_can_be_read(session: co.Session) -> None:
    """They lie in the store and are mapped; a sum over them takes no memory."""
    parts = [dask.delayed(np.ones)(1 << 24) for _ in range(4)]  # 128 MB each

    def total(parts: list[np.ndarray]) -> float:
        return float(sum(part.sum() for part in parts))

    assert compute(session, total, parts) == 4 << 24


@pytest.mark.skipif(not os.access(SHARED_MEMORY, os.W_OK), reason="this system has no folder in memory")
def test_a_store_in_memory_counts() -> None:
    """What it takes is taken off what each worker may have: a task that fits beside an empty store then doesn't."""
    with (
        dask.config.set({"cloudoffload.local.folder": str(SHARED_MEMORY)}),
        co.Session(providers=("local",), workers=2, memory_mb=LIMIT_MB) as session,
    ):

        def fill(mb: int) -> np.ndarray:
            return np.ones(mb << 17)

        def hold(mb: int) -> int:
            held = b"x" * (mb << 20)
            time.sleep(1)
            return len(held)

        fitting = LIMIT_MB // 2
        assert compute(session, hold, fitting) == fitting << 20
        kept = session.persist(*[dask.delayed(fill)(100) for _ in range(3)])
        left = r"more than the 170 MB.*320 MB less 150 MB, its share of what the store takes.*cloudoffload.local.folder"
        with pytest.raises(errors.WorkerLost, match=left):
            compute(session, hold, fitting)
        del kept
        deadline = time.monotonic() + GENEROUS
        while session.stats()["store_bytes"]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert compute(session, hold, fitting) == fitting << 20


@pytest.mark.skipif(not os.access(SHARED_MEMORY, os.W_OK), reason="this system has no folder in memory")
def test_a_store_in_memory_leaves_workers_half() -> None:
    """However much it takes, each worker may have half of its memory: small tasks go on."""
    with (
        dask.config.set({"cloudoffload.local.folder": str(SHARED_MEMORY)}),
        co.Session(providers=("local",), workers=1, memory_mb=100) as session,
    ):

        def fill(mb: int) -> bytes:
            return bytes(mb << 20)

        def wait() -> int:
            time.sleep(0.5)
            return 1

        kept = [session.persist(dask.delayed(fill, pure=False)(5)) for _ in range(24)]
        assert session.stats()["store_bytes"] > 100 << 20
        assert compute(session, wait) == 1
        del kept
