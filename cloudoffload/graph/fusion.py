"""Cutting a graph into groups of tasks that run in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

from dask._task_spec import Alias, GraphNode, Task, _execute_subgraph
from dask.utils import key_split

from cloudoffload.graph.steps import flatten, topological
from cloudoffload.types import Key


@dataclass(slots=True)
class Group:
    """Tasks that become one unit."""

    key: Key  # of the value that it makes
    nodes: list[tuple[Key, GraphNode]]  # in topological order
    members: list[Key]  # keys of the graph's tasks in it
    taken: set[Key] | None = None  # names in use inside; made when a second task joins a plain first one
    made: set[Key] | None = None  # names of its nodes; made when a second task may join
    bundled: str = ""  # names of all that is in it, when it is a bundle

    @property
    def prefix(self) -> str:
        """What tasks of its kind are called."""
        return self.bundled or key_split(self.key)


def fuse_chains(
    tasks: Mapping[Key, GraphNode],
    dependencies: Mapping[Key, Set[Key]],
    resolve: Callable[[Key], Key],
    protected: Set[Key],
) -> list[Group]:
    """Fuse each chain of tasks in which one feeds the next and nothing else.

    That takes no parallelism away and saves a stored value for each link.

    Parameters
    ----------
    tasks : mapping
        Tasks by key, aliases and data left out.
    dependencies : mapping
        For each task, the tasks that it needs, aliases resolved.
    resolve : callable
        Key of the task behind an alias.
    protected : set
        Tasks whose own value somebody needs: nothing may be appended to their group.
    """
    readers: dict[Key, int] = {}
    for needed in dependencies.values():
        for key in needed:
            readers[key] = readers.get(key, 0) + 1
    groups: dict[Key, Group] = {}
    for key in topological(dependencies):
        node, needed = tasks[key], dependencies[key]
        if len(needed) == 1:
            (before,) = needed
            if readers[before] == 1 and before not in protected and _fits(groups[before], key, node, resolve):
                group = groups.pop(before)
                _append(group, key, node, resolve)
                groups[key] = group
                continue
        if type(node) is Task and node.func is not _execute_subgraph:
            groups[key] = Group(key, [(key, node)], [key])
            continue
        taken = set(node.dependencies)
        groups[key] = Group(key, flatten(key, node, taken), [key], taken)
    return list(groups.values())


def _fits(group: Group, key: Key, node: GraphNode, resolve: Callable[[Key], Key]) -> bool:
    """Whether a task can join a group: no name may mean two things there.

    Names inside of a fused task are its own, and may be those of other tasks and of data outside.
    """
    if group.made is None:
        group.made = {name for name, _ in group.nodes}
    made, last = group.made, group.nodes[-1][1]
    # What Dask fuses keeps its name inside, while an alias outside says so of the whole.
    same = last.target if isinstance(last, Alias) else group.key
    return key not in made and all(
        name == group.key or name not in made or (name == same and resolve(name) == group.key)
        for name in node.dependencies
    )


def _append(group: Group, key: Key, node: GraphNode, resolve: Callable[[Key], Key]) -> None:
    assert group.made is not None
    if group.taken is None:
        group.taken = {group.key, *group.nodes[0][1].dependencies}
    count = len(group.nodes)
    for name in node.dependencies:
        if name not in group.taken and resolve(name) == group.key and name != group.key:
            group.nodes.append((name, Alias(name, group.key)))
        group.taken.add(name)
    group.nodes += flatten(key, node, group.taken)
    group.made.update(name for name, _ in group.nodes[count:])
    group.members.append(key)
    group.key = key
