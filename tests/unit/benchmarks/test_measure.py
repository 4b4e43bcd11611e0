"""Promises of measuring a tree of processes."""

from __future__ import annotations

import mmap
import os
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.measure import Peak, cpu_seconds, folder_bytes, is_memory, kill_tree, memory_bytes

MB = 1 << 20
SHARED = Path("/dev/shm")

BURN = "import time\nwhile time.process_time() < 0.3: pass"
FROM_A_CHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}], check=True)"


@contextmanager
def child(code: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has run the code, and waits."""
    waiting = f"{code}\nprint('ready', flush=True)\ninput()"
    process = subprocess.Popen(
        [sys.executable, "-c", waiting], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.communicate("\n")


def test_cpu_of_processes_that_have_ended_counts() -> None:
    """What a child's child burned before it ended is in the sum, while the child lives and afterwards."""
    before = cpu_seconds(os.getpid())
    with child(FROM_A_CHILD):
        assert cpu_seconds(os.getpid()) - before > 0.25
    assert cpu_seconds(os.getpid()) - before > 0.25


def test_memory_of_a_child_counts() -> None:
    """A child's own memory is in the sum over the tree."""
    with child("pass"):
        before = memory_bytes(os.getpid())
    with child(f"held = b'x' * {64 * MB}"):
        assert 60 * MB < memory_bytes(os.getpid()) - before < 90 * MB


@pytest.mark.skipif(not SHARED.is_dir(), reason="no memory file system")
def test_a_file_in_memory_counts_once() -> None:
    """Bytes of files in a memory file system are memory; those that a process maps are not counted again."""
    with tempfile.TemporaryDirectory(dir=SHARED) as name:
        file = Path(name, "data")
        file.write_bytes(b"x" * 32 * MB)
        assert is_memory(Path(name))
        alone = memory_bytes(os.getpid(), folder_bytes(Path(name)))
        with file.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapped:
            assert sum(mapped[::4096]) > 0  # touches every page
            mapped_too = memory_bytes(os.getpid(), folder_bytes(Path(name)))
        assert alone - memory_bytes(os.getpid()) > 30 * MB
        assert abs(mapped_too - alone) < 8 * MB


def test_folders_may_go_while_files_are_counted(tmp_path: Path) -> None:
    """Programs under measurement delete their folders at any moment: the others are counted all the same."""
    (tmp_path / "file").write_bytes(b"x" * MB)
    over = threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            (deep := tmp_path / "a" / "b").mkdir(parents=True)
            deep.rmdir()
            deep.parent.rmdir()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        assert {folder_bytes(tmp_path) for _ in range(5000)} == {MB}
    finally:
        over.set()
        thread.join()


def test_peaks_outlast_what_caused_them(tmp_path: Path) -> None:
    """A file that is gone, and memory that was given back, have been seen."""
    peak = Peak(os.getpid(), tmp_path)
    (tmp_path / "file").write_bytes(held := b"x" * 64 * MB)
    peak.look()
    most = peak.memory
    (tmp_path / "file").unlink()
    del held
    peak.look()
    assert peak.files >= 64 * MB
    assert peak.memory == most > memory_bytes(os.getpid()) + 60 * MB


def test_a_tree_is_watched_while_it_runs(tmp_path: Path) -> None:
    """Nobody has to ask: what a block holds is seen from a thread."""
    (tmp_path / "file").write_bytes(b"x" * MB)
    with Peak(os.getpid(), tmp_path) as peak:
        while not peak.memory:
            pass
    assert peak.files >= MB


def test_ending_a_tree_ends_what_is_below() -> None:
    """Children of children don't outlive a run."""
    lives, held = os.pipe()  # at its end as soon as nobody holds the other end
    os.set_inheritable(held, True)
    code = "import time; print(flush=True); time.sleep(600)"
    for _ in range(2):
        code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}], close_fds=False)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, close_fds=False)
    os.close(held)
    assert process.stdout is not None
    process.stdout.readline()
    kill_tree(process.pid)
    process.wait()
    process.stdout.close()
    assert select.select([lives], [], [], 30)[0], "a child's child still runs"
    os.close(lives)
