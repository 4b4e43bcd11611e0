"""From nested, fused Dask tasks to the flat steps that a worker runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, _execute_subgraph

from cloudoffload.errors import MalformedGraph
from cloudoffload.types import Key
from cloudoffload.wire.program import Step


def flatten(key: Key, node: GraphNode, taken: set[Key]) -> list[tuple[Key, GraphNode]]:
    """Nodes that a possibly fused task consists of, in an order that respects their dependencies; ``key`` is last.

    Dask runs a fused task by ordering its inner graph anew at every execution; here it is done once. Names inside of a
    fused task are its own (Dask calls many of them ``__dask_blockwise__0``): where one is ``taken`` already, the task
    stays nested.

    Parameters
    ----------
    key, node
        One task of the graph.
    taken : set
        Names that mean something else in the same unit; extended by those that are used here.
    """
    if type(node) is not Task or node.func is not _execute_subgraph:
        taken.add(key)
        return [(key, node)]
    inner, out, in_keys = node.args[:3]
    # An input of a fused task is nearly always a reference to the very key that the inner graph uses.
    renamed = {
        name: argument
        for name, argument in zip(in_keys, node.args[3:], strict=True)
        if not (isinstance(argument, (TaskRef, Alias)) and _target(argument) == name)
    }
    if any(name in taken and name != key for name in (*inner, *renamed)):
        taken.add(key)
        return [(key, node)]
    taken.update(inner, renamed)
    nodes = [(name, _as_node(name, argument)) for name, argument in renamed.items()]
    for name in topological({name: item.dependencies for name, item in inner.items()}):
        taken.discard(name)
        nodes += flatten(name, inner[name], taken)
    if out != key:
        nodes.append((key, Alias(key, out)))
        taken.add(key)
    return nodes


def to_steps(nodes: list[tuple[Key, GraphNode]], inputs: frozenset[Key]) -> tuple[Step, ...]:
    """Steps of a unit, each saying which values nobody needs after it.

    Parameters
    ----------
    nodes : list of (key, node)
        In topological order; the last makes the unit's value.
    inputs : frozenset
        Keys that come from other units.
    """
    last_use: dict[Key, int] = {}
    for i, (_, node) in enumerate(nodes):
        for name in node.dependencies:
            last_use[name] = i
    done: list[list[Key]] = [[] for _ in nodes]
    made = {name for name, _ in nodes}
    for name, i in last_use.items():
        if name in inputs or name in made:
            done[i].append(name)
    if done:
        done[-1] = []
    return tuple([_step(name, node, tuple(done[i])) for i, (name, node) in enumerate(nodes)])


def _step(key: Key, node: GraphNode, done: tuple[Key, ...]) -> Step:
    if type(node) is Task:
        return key, node.func, node.args, node.kwargs or None, bool(node.dependencies) or _holds_nodes(node), done
    return key, None, (node,), None, True, done


def _holds_nodes(node: Task) -> bool:
    return any(isinstance(item, GraphNode) for item in (*node.args, *node.kwargs.values()))


def topological(dependencies: Mapping[Key, Collection[Key]]) -> Iterator[Key]:
    """Keys so that each comes after those that it depends on; dependencies outside of the mapping are left out.

    Raises
    ------
    MalformedGraph
        A key depends on itself, perhaps through others.
    """
    seen: set[Key] = set()
    waiting: set[Key] = set()  # seen, but what they depend on is not done
    for root in dependencies:
        if root in seen:
            continue
        if not dependencies[root]:
            seen.add(root)
            yield root
            continue
        stack: list[tuple[Key, bool]] = [(root, False)]
        while stack:
            key, ready = stack.pop()
            if ready:
                waiting.remove(key)
                yield key
            elif key in waiting:
                raise MalformedGraph(f"Cycle detected: {key!r} needs itself, perhaps through other tasks")
            elif key not in seen and key in dependencies:
                seen.add(key)
                waiting.add(key)
                stack.append((key, True))
                stack += [(name, False) for name in dependencies[key]]


def _target(reference: Any) -> Key:
    return reference.target if isinstance(reference, Alias) else reference.key  # type: ignore[no-any-return]


def _as_node(key: Key, argument: Any) -> GraphNode:
    if isinstance(argument, TaskRef):
        return Alias(key, argument.key)
    if isinstance(argument, Alias):
        return Alias(key, argument.target)
    if isinstance(argument, GraphNode):
        return argument
    return DataNode(key, argument)
