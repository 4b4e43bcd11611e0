"""What a tree of processes uses: CPU seconds, whoever else uses the machine, and memory, counted once."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

INTERVAL = 0.1
"""Seconds between two looks at a tree's memory."""


def cpu_seconds(pid: int) -> float:
    """User and system CPU seconds of a process and all below it, those included that have ended.

    The kernel counts in steps of 10 ms for each process: take the difference over several runs, not over one short one.
    """
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.Error):
            used = process.cpu_times()
            # Of children that have ended, their parent keeps the sum.
            total += used.user + used.system + used.children_user + used.children_system
    return total


def memory_bytes(pid: int, files: int = 0) -> int:
    """Memory of a process and all below it, bytes: what several share is counted once.

    Parameters
    ----------
    pid : int
        Process at the top.
    files : int
        Bytes of its files in a memory file system: they are memory whether anybody maps them or not, and are not
        counted again where somebody does.
    """
    own = shared = 0
    for process in _tree(pid):
        fields = _rollup(process.pid)
        mapped = fields.get("Pss_Shmem", 0)
        own += fields.get("Pss", 0) - mapped
        shared += mapped
    return own + max(shared, files)


def folder_bytes(folder: Path) -> int:
    """Bytes that the files below a folder take up, however they change meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):  # passes over what is gone when it gets there; globbing raises
        for name in names:
            with suppress(OSError):
                total += Path(place, name).lstat().st_blocks * 512
    return total


def is_memory(folder: Path) -> bool:
    """Whether a folder lies in a memory file system."""
    mounts = {Path(part.mountpoint): part.fstype for part in psutil.disk_partitions(all=True)}
    above = folder.resolve()
    return next((mounts[place] for place in (above, *above.parents) if place in mounts), "") in ("tmpfs", "ramfs")


class Peak:
    """Watches a tree during a block.

    Parameters
    ----------
    pid : int
        Process at the top.
    folder : Path
        Where the tree keeps its files.

    Attributes
    ----------
    memory : int
        Most memory at one moment, bytes, files in memory included.
    files : int
        Most bytes of files at one moment.
    in_memory : bool
        The files lie in a memory file system.
    """

    def __init__(self, pid: int, folder: Path) -> None:
        self._pid = pid
        self._folder = folder
        self.in_memory = is_memory(folder)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="benchmarks-memory")
        self.memory = 0
        self.files = 0

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def look(self) -> None:
        """Take note of what the tree holds now."""
        files = folder_bytes(self._folder)
        self.files = max(self.files, files)
        self.memory = max(self.memory, memory_bytes(self._pid, files if self.in_memory else 0))

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            self.look()


def kill_tree(pid: int) -> None:
    """End a process and all below it."""
    for process in list(_tree(pid))[::-1]:
        with suppress(psutil.Error):
            process.kill()


def _tree(pid: int) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        top = psutil.Process(pid)
        below = top.children(recursive=True)
        yield top
        yield from below


def _rollup(pid: int) -> dict[str, int]:
    """Sums over all mappings of a process, bytes; nothing when it has ended."""
    fields: dict[str, int] = {}
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, size = line.split(":")
            fields[name] = int(size.split()[0]) * 1024
    return fields
