"""A value that stays in the store between computations: what ``persist`` leaves in a collection's graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from dask._task_spec import GraphNode, Task

from cloudoffload.types import Key, Ref


class RemoteValue:
    """Handle of a stored value; when the last one is gone the object is deleted.

    Parameters
    ----------
    ref : Ref
        Where the value lies.
    load : callable
        Downloads it; used when another scheduler computes the collection.
    release : callable
        Deletes the object; must not refer to this handle.
    """

    def __init__(self, ref: Ref, load: Callable[[Ref], Any], release: Callable[[], None]) -> None:
        self.ref = ref
        self._load = load
        weakref.finalize(self, release).atexit = False

    def __dask_tokenize__(self) -> tuple[str, str, bytes]:
        # The same bytes are the same value; Dask names collections built on it by this.
        return "cloudoffload-remote", self.ref.key, self.ref.digest

    def __repr__(self) -> str:
        return f"RemoteValue({self.ref.nbytes} bytes)"

    def __reduce__(self) -> Any:
        raise TypeError("a value persisted by cloudoffload lives in its Session and can't be pickled; compute it first")

    def load(self) -> Any:
        """Download the value."""
        return self._load(self.ref)


def load(remote: RemoteValue) -> Any:
    """Task of a persisted value: the planner turns it into a ref, any other scheduler downloads it."""
    return remote.load()


def node(key: Key, remote: RemoteValue) -> GraphNode:
    """Graph node of a persisted value."""
    return Task(key, load, remote)
