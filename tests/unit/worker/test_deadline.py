"""A worker ends its own call when the time that was paid for is over, whatever the user's code does."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from cloudoffload.types import Failure, FailureKind, StoreAccess
from cloudoffload.worker.deadline import EXIT_STATUS, DeadlinePassed, deadline
from tests.unit.worker.conftest import PREFIX, ROOT, Desk, Ended, task

LONG = 3600.0
SHORT = 0.5


def nothing() -> None:
    pass


@pytest.fixture
def desk(desk: Desk) -> Desk:
    """A client of a worker that has imported this module, which may take longer than :data:`SHORT`."""
    desk.run(task(nothing))
    return desk


def sleep() -> None:
    time.sleep(LONG)


def spin() -> None:
    while True:
        pass


def wait() -> None:
    threading.Event().wait(LONG)


def careful() -> None:
    try:
        time.sleep(LONG)
    except Exception:
        time.sleep(LONG)


def lazy() -> Any:
    for number in itertools.count():
        time.sleep(0.01)
        yield number


@pytest.mark.parametrize("function", [sleep, spin, wait, careful, lazy])
def test_the_unit_that_runs_over_its_time_is_stopped(desk: Desk, function: Any) -> None:
    """What is done stays done; the unit that was running, and those behind it, are late. The worker lives on."""
    outcome = desk.run(task(lambda: 1), task(function), task(lambda: 3), seconds=SHORT)
    done, *late = outcome.results
    assert desk.value(done) == 1
    assert [result.kind for result in late if isinstance(result, Failure)] == [FailureKind.DEADLINE] * 2
    assert "0.5 s" in late[0].message  # type: ignore[union-attr]
    assert len(outcome.unit_seconds) == 3
    assert desk.value(desk.run(task(lambda: 4)).results[0]) == 4


def test_a_value_that_could_not_be_written_is_not_done(desk: Desk) -> None:
    """Nobody waits for its writing when the time is over, and yet its unit says what became of it."""
    nowhere: dict[str, Any] = {"stores": {"main": StoreAccess("memory:///")}, "prefix": f"{PREFIX}/"}
    refused, late = desk.run(task(lambda: bytes(100_000)), task(sleep), seconds=SHORT, **nowhere).results
    assert isinstance(refused, Failure) and refused.kind is FailureKind.STORE and "is not a key" in refused.message
    assert isinstance(late, Failure) and late.kind is FailureKind.DEADLINE


def test_the_stopped_code_is_named(desk: Desk) -> None:
    """The traceback shows where the time went."""
    (late,) = desk.run(task(sleep), seconds=SHORT).results
    assert isinstance(late, Failure) and "in sleep" in late.traceback


def test_reading_and_loading_count_too(desk: Desk) -> None:
    """The time is that of the call, not of the user's function."""

    class LoadsForever:
        def __reduce__(self) -> Any:
            return time.sleep, (LONG,)

    (late,) = desk.run(task(print, "x"), inputs=[[desk.put(LoadsForever())]], seconds=SHORT).results
    assert isinstance(late, Failure) and late.kind is FailureKind.DEADLINE


def test_code_that_swallows_the_deadline_gets_no_further_unit(desk: Desk) -> None:
    """A unit that caught everything may keep its value, if it ends soon; the next one does not start."""

    def stubborn() -> str:
        try:
            time.sleep(LONG)
        except BaseException:
            return "caught"
        return "slept"

    first, second = desk.run(task(stubborn), task(lambda: 2), seconds=SHORT).results
    assert desk.value(first) == "caught"
    assert isinstance(second, Failure) and second.kind is FailureKind.DEADLINE


def never_gives_up() -> None:
    while True:
        try:
            time.sleep(LONG)
        except BaseException:
            continue


def sits_in_c() -> None:
    lock = threading.Lock()
    lock.acquire()
    while True:
        try:
            lock.acquire()
        except BaseException:
            continue


@pytest.mark.slow
@pytest.mark.parametrize("function", [never_gives_up, sits_in_c])
def test_code_that_never_gives_up_ends_the_process(desk: Desk, function: Any) -> None:
    """Its status says that it was the deadline."""
    with pytest.raises(Ended) as ended:
        desk.run(task(function), seconds=SHORT)
    assert ended.value.status == EXIT_STATUS


def holds_the_interpreter() -> None:
    sum(itertools.repeat(0))


@pytest.mark.slow
def test_code_that_lets_nothing_else_run_ends_the_process_too(desk: Desk) -> None:
    """C code that keeps the interpreter's lock stops every thread of Python; the stack tells where it was."""
    with pytest.raises(Ended) as ended:
        desk.run(task(holds_the_interpreter), seconds=SHORT)
    assert ended.value.status == 1
    assert desk.worker.process.stderr is not None
    assert b"holds_the_interpreter" in desk.worker.process.stderr.read()


@pytest.mark.slow
def test_code_that_lets_nothing_else_run_ends_the_process_behind_quick_calls_too(desk: Desk) -> None:
    """What ends it is armed once for several calls, and strikes for the last of them."""
    for seconds in (LONG, SHORT, SHORT):
        desk.run(task(nothing), seconds=seconds)
    with pytest.raises(Ended) as ended:
        desk.run(task(holds_the_interpreter), seconds=SHORT)
    assert ended.value.status == 1


WORKS_IN_TIME = """
import time
from cloudoffload.worker import deadline
deadline.GRACE = 0.2
for pause in {pauses}:
    with deadline.deadline(0.2, never_frozen={never_frozen}) as check:
        check()
    time.sleep(pause)
"""


@pytest.mark.parametrize("pauses", [[1.5], [0.01] * 100, [0.07] * 20])
@pytest.mark.parametrize("never_frozen", [False, True])
def test_work_in_time_leaves_nothing_that_strikes(pauses: list[float], never_frozen: bool) -> None:
    """Neither the alarm nor what comes after it ends a worker that did its work in time: when no call follows, and when
    many do."""
    code = WORKS_IN_TIME.format(pauses=pauses, never_frozen=never_frozen)
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


FREEZES = """
import itertools, os, signal, subprocess, sys
from cloudoffload.worker import deadline
deadline.GRACE = 0.2
thaw = f"import os, signal, time; time.sleep(1); os.kill({os.getpid()}, signal.SIGCONT)"
subprocess.Popen([sys.executable, "-c", thaw])
with deadline.deadline(0.2):
    pass
os.kill(os.getpid(), signal.SIGSTOP)
sum(itertools.repeat(0, 10**8))  # no thread of Python gets a chance to disarm anything
"""


def test_a_process_that_is_frozen_between_calls_is_not_ended_when_it_goes_on() -> None:
    """Time passes while it stands still."""
    subprocess.run([sys.executable, "-c", FREEZES], cwd=ROOT, check=True)


def test_outside_of_the_main_thread_the_time_can_be_asked_for() -> None:
    """Python delivers no signals there; code between units still learns that its time is over."""
    raised: list[bool] = []

    def thread() -> None:
        with deadline(0.1) as check:
            check()
            time.sleep(0.2)
            try:
                check()
            except DeadlinePassed:
                raised.append(True)

    running = threading.Thread(target=thread)
    running.start()
    running.join()
    assert raised == [True]


def test_the_deadline_is_no_ordinary_exception() -> None:
    """``except Exception`` in the user's code lets it pass."""
    assert not issubclass(DeadlinePassed, Exception)
