"""How much memory a process holds."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cloudoffload.providers import process_memory
from cloudoffload.providers.process_memory import held

MB = 1 << 20

FORKS = 3
FORKING = f"""
import os, signal
held = bytearray(b"x" * (64 << 20))
read, write = os.pipe()
for _ in range({FORKS}):
    if os.fork() == 0:
        os.read(read, 1)
        held[::4096] = bytes(len(held) // 4096)
        os.write(1, b"written\\n")
        signal.pause()
print("ready", flush=True)
input()
os.write(write, bytes({FORKS}))
signal.pause()
"""
"""Holds 64 MB, forks, and lets each child write to all of them when it is told to."""


@contextmanager
def running(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process that has run so far as to print a line."""
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1, text=True, process_group=0) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def test_what_a_process_fills_counts() -> None:
    """And nothing once it is gone."""
    with running("b = b'x' * (64 << 20); print('ready', flush=True); input()") as process:
        assert 64 * MB <= held(process.pid, family=False) < 96 * MB
    assert held(process.pid, family=False) == 0


def test_a_mapped_file_counts_when_it_is_written_to(tmp_path: Path) -> None:
    """Inputs that are only read lie in the store, whose bytes count elsewhere."""
    path = tmp_path / "input"
    path.write_bytes(bytes(64 * MB))
    code = (
        "import mmap\n"
        f"f = open({str(path)!r}, 'rb')\n"
        f"m = mmap.mmap(f.fileno(), 0, access={mmap.ACCESS_COPY})\n"
        "n = sum(m[i] for i in range(0, len(m), 4096))\n"
        "print('ready', flush=True); input()\n"
        "for i in range(0, len(m), 4096): m[i] = 1\n"
        "print('written', flush=True); input()"
    )
    with running(code) as process:
        assert held(process.pid, family=False) < 32 * MB
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "written\n"
        assert held(process.pid, family=False) >= 64 * MB


def test_what_a_process_starts_counts_with_its_family() -> None:
    """Children and theirs, started from whichever thread: memory can't be hidden in a process of one's own."""
    holder = "b = b'x' * (64 << 20); print('ready', flush=True); input()"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {holder!r}])"
    code = (
        "import subprocess, sys, threading\n"
        f"threading.Thread(target=subprocess.run, args=([sys.executable, '-c', {inner!r}],)).start()"
    )
    with running(code) as process:
        assert held(process.pid, family=True) >= 64 * MB
        assert held(process.pid, family=False) < 64 * MB
    assert held(process.pid, family=True) == 0


def test_what_forked_processes_share_counts_once() -> None:
    """They hold it together, until they write to it: then each has its own."""
    with running(FORKING) as process:
        assert 64 * MB <= held(process.pid, family=True) < 96 * MB
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        for _ in range(FORKS):
            assert process.stdout.readline() == "written\n"
        assert held(process.pid, family=True) >= (1 + FORKS) * 64 * MB


def test_what_is_shared_is_told_apart_where_it_matters() -> None:
    """Below what somebody asks about, the quick count will do; it is never less than what is held."""
    with running(FORKING) as process:
        assert 64 * MB <= held(process.pid, family=True, over=128 * MB) < 96 * MB
        assert held(process.pid, family=True, over=1024 * MB) >= (1 + FORKS) * 64 * MB


def test_a_system_that_does_not_tell_what_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the quick count stands: nobody escapes a limit."""
    monkeypatch.setattr(process_memory, "_ROLLUP", "no_such_file")
    with running(FORKING) as process:
        assert held(process.pid, family=True) >= (1 + FORKS) * 64 * MB
