"""How much memory a process of this machine holds: a worker, or an emulated function."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def held(pid: int, *, family: bool) -> int:
    """Memory that a process holds alone, bytes; with its ``family``, also what it has started. 0 once they are gone.

    Pages of files don't count: libraries are mapped once for all processes, and mapped inputs belong to the store until
    they are written to.
    """
    return sum(map(_private, _family(pid) if family else [pid]))


def _private(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/statm").read_bytes().split()
        return (int(fields[1]) - int(fields[2])) * _PAGE  # resident less shared, pages
    return 0


def _family(pid: int) -> list[int]:
    """The process and its descendants, from the kernel's own lists: walking all of /proc every 20 ms is too slow."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found.extend(int(child) for child in (thread / "children").read_bytes().split())
    return found
