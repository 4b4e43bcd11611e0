"""A value that stays in the store between computations: what ``persist`` leaves in a collection's graph."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from typing import Any

from dask._task_spec import DataNode, GraphNode, Task, TaskRef, _execute_subgraph

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


class RemoteNode(Task):  # type: ignore[misc]
    """Graph node of a persisted value."""

    __slots__ = ()

    def result(self) -> Any:
        """Download the value: who looks into a persisted graph expects values there, or futures with this method."""
        return self.args[0].load()

    def __reduce__(self) -> Any:
        # A collection that leaves this process takes its values with it: nobody elsewhere can reach the store.
        return DataNode, (self.key, self.result())


def node(key: Key, remote: RemoteValue) -> RemoteNode:
    """Graph node of a persisted value."""
    return RemoteNode(key, load, remote)


def holds_remote(node: GraphNode) -> bool:
    """Whether this is the node of a persisted value; Dask's optimizer of bags copies it as a plain task."""
    return isinstance(node, Task) and node.func is load


def lifted(tasks: Mapping[Key, GraphNode]) -> dict[Key, GraphNode]:
    """The graph with every persisted value as a node of its own, also where Dask has fused it into a reader of it."""
    result: dict[Key, GraphNode] = {}
    for key, task in tasks.items():
        result[key] = _without(key, task, result)
    return result


def _without(key: Key, task: GraphNode, lifted: dict[Key, GraphNode]) -> GraphNode:
    if type(task) is not Task or task.func is not _execute_subgraph:
        return task
    inner, out, in_keys, *arguments = task.args
    kept: dict[Key, GraphNode] = {}
    moved: dict[Key, TaskRef] = {}
    changed = False
    for name, item in inner.items():
        if holds_remote(item):
            # Names inside of a fused task are its own: they may mean something else outside.
            place = ("persisted", key, name)
            lifted[place] = item
            moved[name] = TaskRef(place)
            continue
        kept[name] = _without((key, name), item, lifted)
        changed = changed or kept[name] is not item
    if not moved and not changed:
        return task
    if changed:
        # What was lifted out of an inner fused task is an input of this one now.
        fresh = {name for item in kept.values() for name in item.dependencies if name in lifted}
        moved |= {name: TaskRef(name) for name in fresh if name not in in_keys}
    return Task(task.key, _execute_subgraph, kept, out, (*in_keys, *moved), *arguments, *moved.values())
