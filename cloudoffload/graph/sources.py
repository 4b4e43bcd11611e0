"""Telling apart what runs in a graph from what only names a value, or a part of one."""

from __future__ import annotations

import operator
from dataclasses import dataclass, field
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef

from cloudoffload.graph import remote, shuffle
from cloudoffload.graph.steps import topological
from cloudoffload.types import Key, PartName


@dataclass(slots=True)
class Sources:
    """Where each key's value comes from."""

    tasks: dict[Key, GraphNode]
    aliases: dict[Key, Key] = field(default_factory=dict)
    values: dict[Key, Any] = field(default_factory=dict)  # data nodes
    remotes: dict[Key, remote.RemoteValue] = field(default_factory=dict)
    parts: dict[Key, tuple[Key, PartName]] = field(default_factory=dict)  # part of a task's value

    def resolve(self, key: Key) -> Key:
        """Key behind a chain of aliases."""
        while key in self.aliases:
            key = self.aliases[key]
        return key

    def task_of(self, key: Key) -> Key | None:
        """Task that must run before a key's value is there, or None for data."""
        key = self.resolve(key)
        if key in self.parts:
            key = self.resolve(self.parts[key][0])
        return key if key in self.tasks else None


def sort_out(tasks: dict[Key, GraphNode], wanted: set[Key]) -> Sources:
    """Tell apart what runs from what only names a value."""
    sources = Sources({})
    for key, node in tasks.items():
        if isinstance(node, Alias):
            sources.aliases[key] = node.target
        elif type(node) is DataNode:
            sources.values[key] = node.value
        elif remote.holds_remote(node):
            sources.remotes[key] = node.args[0]
        elif type(node) is Task and shuffle.is_join(node.func) and "part" in node.kwargs:
            part = ("shuffle-part", key)
            sources.parts[part] = (node.args[0].key, node.kwargs["part"])
            sources.tasks[key] = Task(key, node.func, TaskRef(part), *node.args[1:])
        else:
            sources.tasks[key] = node
    for _ in topological({key: (target,) for key, target in sources.aliases.items()}):
        pass  # a circle of aliases would be resolved forever
    _find_items(sources, wanted)
    return sources


def _find_items(sources: Sources, wanted: set[Key]) -> None:
    """Turn ``value[i]`` of values that are only ever read so into parts: a byte range instead of a task."""
    items: dict[Key, list[Key]] = {}
    for key, node in sources.tasks.items():
        if (
            type(node) is Task
            and node.func is operator.getitem
            and len(node.args) == 2
            and type(node.args[1]) in (int, str)
            and isinstance(node.args[0], (TaskRef, Alias))
            and key not in wanted
        ):
            items.setdefault(_referred(node.args[0]), []).append(key)
    if not items:
        return
    readers: dict[Key, int] = {}
    for node in sources.tasks.values():
        for name in node.dependencies:
            readers[name] = readers.get(name, 0) + 1
    for name in sources.aliases.values():
        readers[name] = readers.get(name, 0) + 1
    for source, takers in items.items():
        if len(takers) > 1 and readers[source] == len(takers) and source in sources.tasks and source not in wanted:
            for key in takers:
                node = sources.tasks.pop(key)
                assert isinstance(node, Task)
                sources.parts[key] = (source, node.args[1])


def _referred(reference: TaskRef | Alias) -> Key:
    return reference.target if isinstance(reference, Alias) else reference.key  # type: ignore[no-any-return]
