"""Shuffles through local disk inside of graphs that were made before the planner saw them.

``bag.groupby``, and dataframes turned into delayed objects or graphs, hold tasks that write into one file on local disk
(partd) and read it back. On machines that share no disk those reads find nothing, and rows are lost without any error.
Here they become the shuffle through the store; what can't be rewritten is refused.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, NestedContainer, Task, TaskRef, _execute_subgraph
from dask.utils import key_split

from cloudoffload.errors import UnsupportedGraph
from cloudoffload.graph import shuffle
from cloudoffload.types import Key

_FILE, _P2P = "file", "p2p"
_ROLES = {
    ("dask.dataframe.shuffle", "maybe_buffered_partd"): _FILE,
    ("dask.dataframe.dask_expr._shuffle", "DiskShuffle._shuffle_group"): "split frame",
    ("dask.dataframe.shuffle", "barrier"): "barrier",
    ("dask.dataframe.shuffle", "collect"): "join frames",
    ("dask.bag.core", "partition"): "split bag",
    ("dask.bag.chunk", "barrier"): "barrier",
    ("dask.bag.core", "collect"): "join bag",
    ("dask.dataframe.dask_expr._shuffle", "_shuffle_transfer"): _P2P,
    (
        "dask.dataframe.dask_expr._merge",
        "create_assign_index_merge_transfer.<locals>.assign_index_merge_transfer",
    ): _P2P,
}
# A filtered shuffle doesn't say how many partitions there were before the filter: more than any graph has.
_UNKNOWN = 2**31 - 1


def rewrite(graph: dict[Key, GraphNode]) -> dict[Key, GraphNode]:
    """Replace shuffles through local disk by shuffles through the store.

    Parameters
    ----------
    graph : dict of key to GraphNode
        As ``convert_legacy_graph`` gives it, fused or not.

    Returns
    -------
    dict of key to GraphNode
        The same object when it holds no such shuffle; otherwise a new one with the same keys, without the nodes of the
        files, and with further nodes: of the barriers, and of fused tasks that had to be taken apart.

    Raises
    ------
    UnsupportedGraph
        It holds a P2P shuffle of ``distributed``, or uses partd in a way that is unknown here.
    """
    if not holds_shuffle(graph.values()):
        return graph
    roles = _Roles()
    return _Rewriter(_Spreader(graph, roles), roles).rewritten()


def holds_shuffle(nodes: Iterable[GraphNode]) -> bool:
    """Whether any of these nodes is, or holds, a part of a shuffle through local disk.

    Raises
    ------
    UnsupportedGraph
        One of them is part of a P2P shuffle of ``distributed``.
    """
    roles = _Roles()
    return any(roles.inside(node) for node in nodes)


class _Roles:
    """What part a function plays in a shuffle; remembered by identity, as most tasks share their function."""

    def __init__(self) -> None:
        self._known: dict[int, str] = {}

    def of(self, node: Any) -> str:
        """Role of a task, "" when it is no part of a shuffle."""
        if not isinstance(node, Task):
            return _FILE if isinstance(node, DataNode) and type(node.value).__module__.startswith("partd") else ""
        role = self._known.get(id(node.func))
        if role is None:
            role = self._known[id(node.func)] = _role(node.func)
        if role is _P2P:
            raise UnsupportedGraph(
                f"tasks {key_split(node.key)!r} are a P2P shuffle, which only runs on a distributed cluster. Compute "
                "the lazily built collection instead of its graph, or set dataframe.shuffle.method (for arrays: "
                "array.rechunk.method) to None, 'disk' or 'tasks' before persisting or optimizing it."
            )
        return role

    def inside(self, node: Any) -> bool:
        """Whether the node is, or holds, a part of a shuffle."""
        if self.of(node):
            return True
        if not isinstance(node, Task):
            return False
        if node.func is _execute_subgraph and any(map(self.inside, node.args[0].values())):
            return True
        return any(isinstance(item, GraphNode) and self.inside(item) for item in (*node.args, *node.kwargs.values()))


def _role(function: Any) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    module = getattr(named, "__module__", None) or ""  # methods of built-in types, such as str.upper, have none
    if module.partition(".")[0] == "partd":
        return _FILE
    return _P2P if module.startswith("distributed.shuffle") else _ROLES.get((module, named.__qualname__), "")


class _Spreader:
    """Takes fused and nested tasks apart until every part of a shuffle is a node of its own."""

    def __init__(self, graph: dict[Key, GraphNode], roles: _Roles) -> None:
        self._roles = roles
        self._taken = set(graph)
        self.graph: dict[Key, GraphNode] = {}
        for key, node in graph.items():
            self._place(key, node)

    def _place(self, key: Key, node: Any) -> None:
        if not isinstance(node, GraphNode):
            node = DataNode(key, node)
        if not isinstance(node, Task) or self._roles.of(node) == _FILE or not self._roles.inside(node):
            self.graph[key] = node
        elif node.func is _execute_subgraph:
            self._unfuse(key, node)
        else:
            self.graph[key] = self._without_nested(key, node)

    def _unfuse(self, key: Key, task: Task) -> None:
        inner, output, inputs, *values = task.args
        names: dict[Key, Key] = {name: self.reference(key, value) for name, value in zip(inputs, values, strict=True)}
        names |= {name: key if name == output else self.fresh(name) for name in inner}
        for name, node in inner.items():
            self._place(names[name], node.substitute(names, key=names[name]))

    def _without_nested(self, key: Key | None, task: Task) -> Task:
        """The task with references instead of the parts of a shuffle that stand inside of its arguments."""
        args = [self._argument(key, item) for item in task.args]
        if isinstance(task, NestedContainer):
            return type(task)(*args)
        kwargs = {name: self._argument(key, item) for name, item in task.kwargs.items()}
        return Task(key, task.func, *args, _data_producer=task.data_producer, **kwargs)

    def _argument(self, key: Key | None, item: Any) -> Any:
        if not isinstance(item, GraphNode) or not self._roles.inside(item):
            return item
        if self._roles.of(item) or item.func is _execute_subgraph:
            return TaskRef(self.reference(key, item))
        return self._without_nested(key, item)

    def reference(self, key: Key | None, value: Any) -> Key:
        """Key of a value that stands inside of the node ``key``: it becomes a node when it is none."""
        if isinstance(value, TaskRef | Alias):
            return _target(value)
        name = self.fresh(key)
        self._place(name, value.substitute({}, key=name) if isinstance(value, GraphNode) else DataNode(name, value))
        return name

    def fresh(self, wish: Any) -> Key:
        """A key that no node has, much like this one."""
        name: Key = wish
        number = 0
        while name in self._taken:
            number += 1
            name = (f"{wish[0]}-{number}", *wish[1:]) if isinstance(wish, tuple) else f"{wish}-{number}"
        self._taken.add(name)
        return name


class _Rewriter:
    """Writes a spread graph anew, with the nodes of a shuffle through the store."""

    def __init__(self, spreader: _Spreader, roles: _Roles) -> None:
        self._spreader = spreader
        self._roles = roles
        self._old = dict(spreader.graph)
        self._files = {key for key in self._old if self._role(key) == _FILE}
        barriers = [key for key, node in self._old.items() if roles.of(node) == "barrier"]
        self._gates = {key: spreader.fresh(key) for key in barriers}

    def rewritten(self) -> dict[Key, GraphNode]:
        """The new graph, checked."""
        for key, node in self._old.items():
            if key in self._files:
                del self._spreader.graph[key]
            elif self._roles.of(node):
                self._spreader.graph[key] = self._replacement(key, node)
        for key, node in self._spreader.graph.items():
            if self._roles.inside(node) or not self._files.isdisjoint(node.dependencies):
                raise _unknown(key)
        return self._spreader.graph

    def _replacement(self, key: Key, task: Task) -> GraphNode:
        match self._roles.of(task), task.args:
            case "split frame", (frame, column, wanted, _file):
                wanted = self._plain(key, wanted)
                # Dask gives the range of all partitions, or the list of those that a filter left. The list doesn't say
                # how many there were.
                keep, count = (None, len(wanted)) if isinstance(wanted, range) else (frozenset(wanted), _UNKNOWN)
                column = self._plain(key, column)
                return shuffle.split_frame(key, self._spreader.reference(key, frame), column, count, keep)
            case "join frames", (_file, part, meta, gate):
                gate = self._barrier(key, gate)
                return shuffle.join_frames(key, gate, self._plain(key, part), self._plain(key, meta), False)
            case "split bag", (grouper, records, count, _file, *_blocksize):
                grouper, count = self._plain(key, grouper), self._plain(key, count)
                return shuffle.split_bag(key, self._spreader.reference(key, records), grouper, count)
            case "join bag", (grouper, part, _file, gate):
                gate = self._barrier(key, gate)
                return shuffle.join_bag(key, gate, self._plain(key, part), self._plain(key, grouper))
            case "barrier", splits:
                gate = self._gates[key]
                self._spreader.graph[gate] = shuffle.barrier(gate, [self._split(key, name) for name in _names(splits)])
                # Who asks for a barrier gets what Dask's own gives, which looks at nothing that it has waited for. The
                # index is for joins alone: it points into the splits, which are gone when the last join has read them.
                return DataNode(key, task.func(()))
        raise _unknown(key)

    def _plain(self, key: Key, argument: Any) -> Any:
        """Value of an argument that must be known now."""
        if isinstance(argument, TaskRef | Alias):
            argument = self._old.get(self._source(_target(argument)))
        if isinstance(argument, DataNode):
            return argument.value
        if isinstance(argument, GraphNode) or argument is None:
            raise _unknown(key)
        return argument

    def _barrier(self, key: Key, argument: Any) -> Key:
        gate = self._gates.get(self._source(self._spreader.reference(key, argument)))
        if gate is None:
            raise _unknown(key)
        return gate

    def _split(self, key: Key, name: Key) -> Key:
        split = self._source(name)
        if not self._role(split).startswith("split"):
            raise _unknown(key)
        return split

    def _role(self, key: Key) -> str:
        return self._roles.of(self._old.get(self._source(key)))

    def _source(self, key: Key) -> Key:
        """The node that an alias, or a chain of them, stands for."""
        node = self._old.get(key)
        while isinstance(node, Alias):
            key = node.target
            node = self._old.get(key)
        return key


def _target(reference: TaskRef | Alias) -> Key:
    key: Key = reference.key if isinstance(reference, TaskRef) else reference.target
    return key


def _names(arguments: Any) -> Iterator[Key]:
    """Keys in possibly nested arguments, in their order."""
    for item in arguments:
        if isinstance(item, TaskRef | Alias):
            yield _target(item)
        elif isinstance(item, Task):
            yield from _names(item.args)
        elif isinstance(item, list | tuple):
            yield from _names(item)


def _unknown(key: Key) -> UnsupportedGraph:
    return UnsupportedGraph(
        f"tasks {key_split(key)!r} use a file on local disk that functions don't share (partd), in a way that can't be "
        "rewritten. Compute the lazily built collection instead of its graph, or choose the shuffle method 'tasks'."
    )
