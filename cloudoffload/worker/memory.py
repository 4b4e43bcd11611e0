"""How much memory this worker may hold: its caches keep to it, its errors name it, and here it is enforced.

Whoever started the worker watches it from outside and ends it when it holds too much. That takes a moment, in which a
single allocation could bring the machine down. So the process also limits itself: by ``RLIMIT_DATA``, which counts
private memory whether it is used or not (getrlimit(2)), and needs no privileges.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from pathlib import Path

SLACK = 256 << 20
"""Private memory beyond the limit that may be reserved, bytes. Libraries reserve more than they use: pandas, pyarrow
and OpenBLAS together 110 MB (measured), each thread another 8 MB for its stack."""

_STATM = Path("/proc/self/statm")  # Linux: pages in all, resident, shared, of code, -, of private data
_PAGE = os.sysconf("SC_PAGE_SIZE")

_limit: int | None = None


def limit() -> int | None:
    """Most memory of its own that this worker may hold, bytes; None when nobody said."""
    if _limit is not None:
        return _limit
    lambda_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
    return int(lambda_mb) << 20 if lambda_mb else None


def limit_to(nbytes: int) -> None:
    """Say how much memory of its own this worker may hold, bytes."""
    global _limit
    _limit = nbytes


def restrain() -> None:
    """Let the process reserve what it may still hold from here on, and :data:`SLACK`; beyond it allocations fail.

    Called before each call, so that memory which earlier ones reserved and do not use is not held against it.
    """
    if _limit is None or not _STATM.exists():
        return
    _, resident, shared, _, _, data, *_ = map(int, _STATM.read_bytes().split())
    left = max(0, _limit - (resident - shared) * _PAGE)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    with suppress(ValueError):  # somebody has limited the process more strictly than that
        resource.setrlimit(resource.RLIMIT_DATA, (data * _PAGE + left + SLACK, hard))
