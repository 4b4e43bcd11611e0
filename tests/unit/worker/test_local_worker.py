"""The worker process of this machine: ends with its client, and refuses what it must not run."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cloudoffload.wire.envelope import seal
from cloudoffload.wire.signing import Signer
from tests.unit.worker.conftest import ROOT, Desk, Ended, WorkerProcess, task

IN_TIME = 30.0
"""Seconds after which a process that should have ended is a failure; far more than it takes."""


@pytest.fixture
def own_worker(signer: Signer) -> Iterator[WorkerProcess]:
    """A process that the test may end."""
    worker = WorkerProcess(signer)
    yield worker
    worker.close()


@pytest.fixture
def own_desk(own_worker: WorkerProcess, signer: Signer, tmp_path: Path) -> Desk:
    return Desk(own_worker, signer, tmp_path)


def begun(path: Path) -> Any:
    """Tells the test that the user's code runs."""
    path.touch()


def spin(path: Path) -> None:
    begun(path)
    while True:
        pass


def sleep(path: Path) -> None:
    begun(path)
    while True:
        try:
            time.sleep(3600)
        except BaseException:
            continue


def hold_the_interpreter(path: Path) -> None:
    begun(path)
    sum(itertools.repeat(0))


def start_a_thread(path: Path) -> None:
    threading.Thread(target=time.sleep, args=(3600,)).start()
    begun(path)
    time.sleep(3600)


@pytest.mark.parametrize("function", [spin, sleep, hold_the_interpreter, start_a_thread])
def test_it_ends_with_its_client_however_busy_it_is(own_desk: Desk, tmp_path: Path, function: Any) -> None:
    """A client that was killed leaves no process behind: not in a loop, not in C code, not with threads of its own."""
    mark = tmp_path / "mark"
    own_desk.worker.send(own_desk.sealed(own_desk.order(task(lambda: function(mark)), seconds=3600.0)))
    while not mark.exists():
        assert own_desk.worker.process.poll() is None
        time.sleep(0.01)
    own_desk.worker.let_go()
    own_desk.worker.process.wait(IN_TIME)


def test_it_ends_with_its_client_when_idle(own_worker: WorkerProcess) -> None:
    """The same between calls."""
    own_worker.let_go()
    own_worker.process.wait(IN_TIME)


def test_it_ends_when_its_client_ended_before_it_began() -> None:
    """The kernel tells of a leash that closes, not of one that is closed; no process is left all the same."""
    leash, client = os.pipe()
    os.close(client)
    calls, no_calls = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "cloudoffload.worker.local", str(calls), "1", str(leash)],
        pass_fds=(calls, leash),
        env={**os.environ, "CLOUDOFFLOAD_PUBLIC_KEYS": "{}", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    try:
        process.wait(IN_TIME)
    finally:
        process.kill()
        process.wait()
        for descriptor in (leash, calls, no_calls):
            os.close(descriptor)


def test_it_ends_quietly_when_nobody_takes_its_answers() -> None:
    """A client that ended while its worker began has said its own last line: no traceback follows it."""
    leash, client = os.pipe()
    calls, no_calls = os.pipe()
    reader, answers = os.pipe()
    os.close(reader)
    process = subprocess.Popen(
        [sys.executable, "-m", "cloudoffload.worker.local", str(calls), str(answers), str(leash)],
        pass_fds=(calls, answers, leash),
        env={**os.environ, "CLOUDOFFLOAD_PUBLIC_KEYS": "{}", "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    try:
        assert process.communicate(timeout=IN_TIME) == (None, b"")
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        for descriptor in (leash, client, calls, no_calls, answers):
            os.close(descriptor)


def test_it_ends_when_no_more_calls_can_come(own_desk: Desk) -> None:
    """A closed pipe of calls ends it in peace, also when the user's code left a thread running."""
    own_desk.run(task(lambda: threading.Thread(target=time.sleep, args=(3600,)).start()))
    own_desk.worker.hang_up()
    assert own_desk.worker.process.wait(IN_TIME) == 0


def test_it_dies_when_its_client_is_killed(tmp_path: Path) -> None:
    """Nobody closes the leash of a killed process but the kernel."""
    client = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from cloudoffload.wire.signing import Signer
from tests.unit.worker.conftest import Desk, WorkerProcess, task
from tests.unit.worker.test_local_worker import spin
signer = Signer()
worker = WorkerProcess(signer)
print(worker.process.pid, flush=True)
folder = Path(sys.argv[1])
desk = Desk(worker, signer, folder)
worker.send(desk.sealed(desk.order(task(lambda: spin(folder / "mark")), seconds=3600.0)))
time.sleep(3600)
"""
    process = subprocess.Popen([sys.executable, "-c", client, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        worker = int(process.stdout.readline())
        while not (tmp_path / "mark").exists():
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    until = time.monotonic() + IN_TIME
    while is_running(worker):
        assert time.monotonic() < until, "the worker outlived its client"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process that is not ours runs; a zombie that nobody waits for has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_it_refuses_what_is_not_signed_and_goes_on(desk: Desk) -> None:
    """Garbage, an unknown key's call, an altered and an old one: each is refused with a sentence, and none ends it."""
    order = desk.order(task(os.getpid))
    good = desk.sealed(order)
    altered = bytearray(good)
    altered[len(altered) // 2] ^= 1
    refused = {
        b"": "BadSignature",
        b"garbage" * 1000: "BadSignature",
        b"COF1\xa0\x0f\x00\x00" + b"[" * 4000 + bytes(64): "BadSignature",
        seal(order, Signer(), now=time.time(), lifetime=60): "BadSignature: the call is signed by a key",
        bytes(altered): "BadSignature",
        good[:-1]: "BadSignature",
        seal(order, desk.signer, now=time.time() - 10_000, lifetime=60): "Expired",
        seal(replace(order, prefix="runs/b/"), desk.signer, now=time.time(), lifetime=60): "Expired",
        seal(replace(order, output="elsewhere"), desk.signer, now=time.time(), lifetime=60): "Corrupt",
    }
    for envelope, reason in refused.items():
        desk.worker.send(envelope)
        answer = desk.worker.receive()
        assert isinstance(answer, str) and answer.startswith(reason)
    assert desk.value(desk.run(task(os.getpid)).results[0]) == desk.worker.process.pid


def test_calls_and_answers_larger_than_a_pipe_go_through(desk: Desk) -> None:
    """Megabytes inside a call and inside its outcome."""
    data = os.urandom(900_000)
    refs = [desk.put(data, inline=True) for _ in range(3)]
    (ref,) = desk.run(task(lambda *parts: parts[0], "a", "b", "c"), inputs=[refs], inline_limit=1 << 20).results
    assert desk.value(ref) == data and ref.data is not None  # type: ignore[union-attr]


def test_the_users_code_does_not_see_the_keys(desk: Desk) -> None:
    """They leave the environment before any call runs."""
    (ref,) = desk.run(task(lambda: [name for name in os.environ if "CLOUDOFFLOAD" in name])).results
    assert "CLOUDOFFLOAD_PUBLIC_KEYS" not in desk.value(ref)


def test_a_process_that_the_users_code_ends_is_noticed(own_desk: Desk) -> None:
    """The pipe of answers closes, so that the client never waits for a dead worker."""
    with pytest.raises(Ended) as ended:
        own_desk.run(task(lambda: os._exit(7)))
    assert ended.value.status == 7


def test_a_worker_loads_no_client() -> None:
    """It starts fast and needs little memory: neither pandas nor anything of the client is imported up front."""
    script = """
import sys
import cloudoffload.worker.local
print(*sys.modules)
"""
    process = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded = process.stdout.split()
    ours = {name.split(".")[1] for name in loaded if name.startswith("cloudoffload.")}
    assert ours == {"worker", "wire", "store", "interfaces", "types", "errors"}
    assert not {"pandas", "pyarrow", "boto3", "botocore"} & set(loaded)
