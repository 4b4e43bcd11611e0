"""How much memory a process of this machine holds: a worker, or an emulated function."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_ROLLUP = "smaps_rollup"


def held(pid: int, *, family: bool, over: int = 0) -> int:
    """Memory that a process holds alone, bytes; with its ``family``, also what it has started. 0 once they are gone.

    Pages of files don't count: libraries are mapped once for all processes, and mapped inputs belong to the store until
    they are written to. What forked processes share counts once, unless it is no more than ``over`` bytes even when it
    is counted for each of them: telling it apart takes longer.
    """
    processes = _family(pid) if family else [pid]
    each = sum(map(_private, processes))
    return each if len(processes) == 1 or each <= over else min(each, sum(map(_portion, processes)))


def _private(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/statm").read_bytes().split()
        return (int(fields[1]) - int(fields[2])) * _PAGE  # resident less shared, pages
    return 0


def _portion(pid: int) -> int:
    """What is not of files, each page divided by the processes that have it.

    The kernel walks all pages for it, some 10 ms for each GB; kernels before 5.3 don't tell.
    """
    with suppress(OSError, ValueError, IndexError):
        _, _, rest = Path(f"/proc/{pid}/{_ROLLUP}").read_bytes().partition(b"\nPss_Anon:")
        return int(rest.split(maxsplit=1)[0]) << 10
    return _private(pid)


def _family(pid: int) -> list[int]:
    """The process and its descendants, from the kernel's own lists: walking all of /proc every 20 ms is too slow."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found.extend(int(child) for child in (thread / "children").read_bytes().split())
    return found
