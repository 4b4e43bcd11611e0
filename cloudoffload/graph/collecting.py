"""Garbage collection waits while a graph is planned, and for a moment while it runs.

Both make many objects at once. Those of a plan nearly all stay, and those of its calls die by themselves: to look
through them, and with them through everything that Dask and pandas keep, again and again as they grow in number takes
as long as the work itself.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MOST_SECONDS = 1.0
"""How long a graph may run without collection: what it is worth is small then, and cycles of other code wait."""

_lock = threading.Lock()
_inside = 0
_was_enabled = False
_until = 0.0


@contextmanager
def collection_paused() -> Iterator[None]:
    """Keep the cyclic collector from running by itself until every thread has left such a block.

    What takes long inside of one asks for :func:`patience` now and then.
    """
    global _inside, _was_enabled, _until
    with _lock:
        if not _inside:
            _was_enabled = gc.isenabled()
        if not _inside or gc.isenabled():
            gc.disable()
            _until = time.monotonic() + MOST_SECONDS
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _was_enabled:
                gc.enable()


def patience() -> float | None:
    """How long collection may still wait, seconds; None when it does not, or has waited long enough and now goes on."""
    with _lock:
        if not _inside or not _was_enabled or gc.isenabled():
            return None
        left = _until - time.monotonic()
        if left > 0:
            return left
        gc.enable()
        return None
