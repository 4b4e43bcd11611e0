"""Garbage collection waits while a graph is planned.

Planning makes many objects at once, and nearly all of them stay: to look through them, and with them through everything
that Dask and pandas keep, again and again as they grow in number takes as long as the planning itself.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_inside = 0
_was_enabled = False


@contextmanager
def collection_paused() -> Iterator[None]:
    """Keep the cyclic collector from running by itself until every thread has left such a block."""
    global _inside, _was_enabled
    with _lock:
        if not _inside:
            _was_enabled = gc.isenabled()
            gc.disable()
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside and _was_enabled:
                gc.enable()
