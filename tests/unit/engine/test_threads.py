"""Threads for blocking calls, and the deletion of what nobody needs."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterable

import pytest

from cloudoffload.engine.threads import DaemonPool, Trash
from cloudoffload.errors import SessionClosed, StoreError

GENEROUS = 30.0


def test_every_job_has_a_thread_of_its_own_while_it_runs() -> None:
    """Fifty jobs that wait for each other all end: none is queued behind another."""
    pool = DaemonPool("test")
    together = threading.Barrier(50)
    ended: list[int] = []

    def job() -> None:
        together.wait(GENEROUS)
        ended.append(1)

    for _ in range(50):
        pool.submit(job)
    pool.close(GENEROUS)
    assert len(ended) == 50


def test_threads_are_used_again() -> None:
    """Jobs that follow each other share one thread."""
    pool = DaemonPool("test")
    names: set[str] = set()
    done = threading.Semaphore(0)

    def job() -> None:
        names.add(threading.current_thread().name)
        done.release()

    for _ in range(20):
        pool.submit(job)
        assert done.acquire(timeout=GENEROUS)
        pool.submit(done.release)
        assert done.acquire(timeout=GENEROUS)
    pool.close(GENEROUS)
    assert len(names) <= 3, "a thread may still be on its way back when the next job comes"


def test_closing_waits_for_jobs_and_takes_no_more() -> None:
    """What was taken is done; what comes later is refused, because nobody would run it."""
    pool = DaemonPool("test")
    go, ended = threading.Event(), threading.Event()

    def job() -> None:
        go.wait(GENEROUS)
        ended.set()

    pool.submit(job)
    threading.Timer(0.1, go.set).start()
    pool.close(GENEROUS)
    assert ended.is_set()
    with pytest.raises(SessionClosed):
        pool.submit(job)


def test_closing_does_not_wait_for_ever() -> None:
    """A job that hangs keeps its daemon thread, and nothing else."""
    pool = DaemonPool("test")
    never = threading.Event()

    def job() -> None:
        never.wait()

    pool.submit(job)
    pool.close(0.01)


def test_a_job_that_raises_is_logged_and_the_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a job must not take a thread away."""
    pool = DaemonPool("test")

    def job() -> None:
        raise ZeroDivisionError

    pool.submit(job)
    pool.close(GENEROUS)
    assert "ZeroDivisionError" in caplog.text


def test_a_thread_that_waits_keeps_nothing_alive() -> None:
    """What a job was about is free when the job is done, not when the next one comes."""

    class Large:
        pass

    pool, large = DaemonPool("test"), Large()
    gone = threading.Event()
    weakref.finalize(large, gone.set)

    def job(large: Large = large) -> None:
        pass

    pool.submit(job)
    del large, job
    assert gone.wait(GENEROUS)
    pool.close(GENEROUS)


def test_no_thread_keeps_the_interpreter() -> None:
    """A script ends although its pool was not closed and a job hangs."""
    script = """
        import threading
        from cloudoffload.engine.threads import DaemonPool, Trash
        DaemonPool("test").submit(threading.Event().wait)
        Trash(lambda keys: None)
    """
    code = "\n".join(line.strip() for line in script.splitlines())
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=GENEROUS * 2).returncode == 0


class Recorder:
    """A store that takes note of what it is told to delete; the first request waits until it may go on."""

    def __init__(self) -> None:
        self.requests: list[list[str]] = []
        self.begun, self.go = threading.Event(), threading.Event()

    def delete(self, keys: Iterable[str]) -> None:
        self.requests.append(sorted(keys))
        self.begun.set()
        self.go.wait(GENEROUS)


def until_requests(recorder: Recorder, count: int) -> None:
    ticks = threading.Event()
    for _ in range(600):
        if len(recorder.requests) >= count:
            return
        ticks.wait(0.05)
    raise AssertionError(f"there were {len(recorder.requests)} requests")


def test_deletions_share_requests() -> None:
    """What comes while a request is under way goes together in the next one."""
    recorder = Recorder()
    trash = Trash(recorder.delete)
    trash.add(["a"])
    assert recorder.begun.wait(GENEROUS)
    for name in "bcd":
        trash.add([name])
    recorder.go.set()
    until_requests(recorder, 2)
    trash.close(GENEROUS)
    assert recorder.requests == [["a"], ["b", "c", "d"]]


def test_closing_forgets_what_waits() -> None:
    """The end of a run deletes all of it at once; a late deletion would meet a closed cloud."""
    recorder = Recorder()
    trash = Trash(recorder.delete)
    trash.add(["a"])
    assert recorder.begun.wait(GENEROUS)
    trash.add(["b"])
    threading.Timer(0.1, recorder.go.set).start()
    trash.close(GENEROUS)
    trash.add(["c"])
    assert recorder.requests == [["a"]]


def test_a_store_that_refuses_is_no_noise(caplog: pytest.LogCaptureFixture) -> None:
    """It is no error of the computation: no warning, no traceback, and the next deletion is tried."""
    refused, done = threading.Event(), threading.Event()

    def delete(keys: Iterable[str]) -> None:
        if not refused.is_set():
            refused.set()
            raise StoreError("403")
        done.set()

    trash = Trash(delete)
    with caplog.at_level(logging.WARNING):
        trash.add(["a"])
        assert refused.wait(GENEROUS)
        trash.add(["b"])
        assert done.wait(GENEROUS)
        trash.close(GENEROUS)
    assert caplog.text == ""


def test_a_finalizer_may_throw_away_at_any_moment() -> None:
    """Garbage collection runs in the middle of anything, also of another ``add``: it must not deadlock."""
    recorder = Recorder()
    recorder.go.set()
    trash = Trash(recorder.delete)

    class Cycle:
        def __init__(self, name: str) -> None:
            self.me = self
            weakref.finalize(self, trash.add, [name])

    old = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(300):
            Cycle(f"cycle-{number}")
            trash.add([f"direct-{number}"])
    finally:
        gc.set_threshold(*old)
    gc.collect()
    ticks = threading.Event()
    for _ in range(600):
        if sum(map(len, recorder.requests)) == 600:
            break
        ticks.wait(0.05)
    trash.close(GENEROUS)
    assert len({key for request in recorder.requests for key in request}) == 600
