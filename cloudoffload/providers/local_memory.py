"""How much memory a worker process of this machine holds."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def held(pid: int) -> int:
    """Memory that a process holds alone, bytes; 0 when it is gone.

    Pages of files don't count: mapped inputs belong to the store until they are written to.
    """
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/statm").read_bytes().split()
        return (int(fields[1]) - int(fields[2])) * _PAGE  # resident less shared, pages
    return 0


def children(pid: int) -> list[int]:
    """Processes that a process has started, and those that they have."""
    family = [pid]
    for parent in family:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                family.extend(int(child) for child in (thread / "children").read_bytes().split())
    return family[1:]
