"""Nothing of an emulated cloud outlives the process that started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from cloudoffload.emulator.aws import EmulatedAws
from cloudoffload.emulator.lifecycle import PACKAGE_ROOT, Service
from cloudoffload.errors import EmulatorError

HANDLER = """
import subprocess, time

def handler(event, context):
    if event.get("sleep"):
        subprocess.Popen(["sleep", "600"])
        time.sleep(event["sleep"])
    return "served"
"""

PROGRAM = """
import json, multiprocessing, os, sys, threading, time
from pathlib import Path
from cloudoffload.emulator.aws import EmulatedAws

aws = EmulatedAws(public_keys={}, handler="function.handler", task_root=Path(sys.argv[1])).start()
client = aws.boto3_session().client("lambda", endpoint_url=aws.lambda_url)

def invoke(**event):
    return client.invoke(FunctionName=aws.function, Payload=json.dumps(event))["Payload"].read().decode()
"""


@contextmanager
def program(folder: Path, rest: str) -> Iterator[subprocess.Popen[str]]:
    """A user's program in its own process group, as a terminal would start it; its scratch lies in ``folder``."""
    (folder / "function.py").write_text(HANDLER)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM + rest, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE_ROOT), "TMPDIR": str(folder)},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a program prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def until(condition: Callable[[], bool]) -> bool:
    """Whether something becomes true; generous, because only a hang should fail."""
    for _ in range(600):
        if condition():
            return True
        time.sleep(0.05)
    return False


def gone(process: psutil.Process) -> bool:
    """It ended; a zombie that nobody reaps has ended too."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def scratch(folder: Path) -> list[Path]:
    """What emulated clouds left in a temporary folder."""
    return list(folder.glob("cloudoffload-aws-*"))


BUSY = """
threading.Thread(target=invoke, kwargs={"sleep": 600}, daemon=True).start()
"""


def with_a_busy_function(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait until the program's function runs, with its own child; all descendants of the program."""
    main = psutil.Process(process.pid)
    assert until(lambda: any(child.name() == "sleep" for child in main.children(recursive=True)))
    descendants: list[psutil.Process] = main.children(recursive=True)
    return descendants


def test_killing_the_program_ends_everything(tmp_path: Path) -> None:
    """After kill -9 no process is left, not even one that a running function started, and no file."""
    with program(tmp_path, BUSY + "time.sleep(600)") as process:
        started = with_a_busy_function(process)
        assert scratch(tmp_path)
        process.kill()
    assert len(started) >= 4  # the front, the storage, the environment and what its function started
    assert until(lambda: all(gone(each) for each in started))
    assert until(lambda: not scratch(tmp_path))


def test_functions_end_with_their_front(tmp_path: Path) -> None:
    """A front that is killed can't end its functions any more: the kernel does, however busy they are."""
    with program(tmp_path, BUSY + "time.sleep(600)") as process:
        started = with_a_busy_function(process)
        (front,) = (each for each in started if "cloudoffload.emulator.lambda_front" in each.cmdline())
        (function,) = (each for each in started if "awslambdaric" in each.cmdline())
        (sleeper,) = (each for each in started if each.name() == "sleep")
        front.kill()
        sleeper.kill()  # what a function started is its own to end, or its front's
        assert until(lambda: gone(function))


def test_a_forked_process_does_not_keep_it_alive(tmp_path: Path) -> None:
    """Processes that the program forked hold copies of its pipes; the cloud ends with the program all the same."""
    fork = """
sleeper = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
sleeper.start()
print(sleeper.pid, flush=True)
time.sleep(600)
"""
    with program(tmp_path, fork) as process:
        forked = psutil.Process(int(line_of(process)))
        cloud = [each for each in psutil.Process(process.pid).children() if each != forked]
        process.kill()
        process.wait()
        try:
            assert len(cloud) == 2
            assert until(lambda: all(gone(each) for each in cloud))
            assert not gone(forked)
        finally:
            forked.kill()


def test_interrupting_the_program_does_not_reach_the_cloud(tmp_path: Path) -> None:
    """Ctrl-C goes to the program's whole process group; the cloud still answers while the program winds up."""
    interrupted = """
try:
    print("ready", flush=True)
    time.sleep(600)
except KeyboardInterrupt:
    print(invoke(), flush=True)
"""
    with program(tmp_path, interrupted) as process:
        assert line_of(process) == "ready"
        os.killpg(process.pid, signal.SIGINT)
        assert line_of(process) == '"served"'


def test_stop_ends_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After stop() no process and no file is left; stopping again does no harm."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "function.py").write_text(HANDLER)
    before = psutil.Process().children(recursive=True)
    aws = EmulatedAws(public_keys={}, handler="function.handler", task_root=tmp_path).start()
    client = aws.boto3_session().client("lambda", endpoint_url=aws.lambda_url)
    client.invoke(FunctionName=aws.function, Payload=b"{}")
    started = [each for each in psutil.Process().children(recursive=True) if each not in before]
    assert len(started) >= 3
    aws.stop()
    aws.stop()
    assert all(gone(each) for each in started)
    assert scratch(tmp_path) == []


def test_a_child_ends_in_order_when_it_is_asked(tmp_path: Path) -> None:
    """The end of its input is enough: it deletes its folder and goes, and nothing has to kill it."""
    before = psutil.Process().children()
    service = Service("cloudoffload.emulator.storage", tmp_path / "scratch" / "storage")
    service.launch({})
    service.wait_ready(60)
    (child,) = (each for each in psutil.Process().children() if each not in before)
    service.request_stop()
    assert until(lambda: gone(child))
    assert not (tmp_path / "scratch").exists()
    service.stop()


def test_using_it_before_start_says_what_to_do() -> None:
    """There is no address before start(); the error says how to get one."""
    with pytest.raises(EmulatorError, match=r"start\(\)"):
        _ = EmulatedAws(public_keys={}).lambda_url


def test_a_child_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    """A start that fails names the process, its exit status and the lines that say why."""
    service = Service("cloudoffload.emulator.no_such_module", tmp_path / "scratch")
    service.launch({})
    with pytest.raises(
        EmulatorError, match=r"exit status 1(.|\n)*No module named cloudoffload.emulator.no_such_module"
    ):
        service.wait_ready(60)
    service.stop()


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without moto nothing is started, and the error holds the command that brings it."""
    monkeypatch.setattr("cloudoffload.emulator.aws.NEEDED", ("aiohttp", "no_such_package"))
    with pytest.raises(EmulatorError, match=r"no_such_package.*pip install 'cloudoffload\[emulate\]'"):
        EmulatedAws(public_keys={}).start()
