"""Bundling: what reads one value and nothing else runs where that value is made, which then is never stored.

Several aggregations of one table are the usual case: each partition is read from its files once, aggregated in every
way, and only the small results travel. The readers share the value itself, as they do on Dask's own threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence, Set

from dask._task_spec import GraphNode, Task, TaskRef

from cloudoffload.graph import shuffle
from cloudoffload.graph.fusion import Group
from cloudoffload.types import Key
from cloudoffload.wire.program import gathered, settled

MOST_READERS = 8
"""Readers of one value that run one after the other at most: they might have run side by side."""

_WIDE = 64
"""Bundles that are enough on any cloud: there, a value that is stored for others costs more than it gains."""


def bundle(
    groups: Sequence[Group],
    dependencies: Mapping[Key, Set[Key]],
    resolve: Callable[[Key], Key],
    protected: Set[Key],
    width: int,
    where: Callable[[Group], Hashable],
) -> tuple[list[Group], dict[Key, tuple[Key, int]]]:
    """Put groups that read one value alone into the group that makes it.

    Parameters
    ----------
    groups : sequence of Group
        In topological order.
    dependencies : mapping
        For each task, the tasks that it needs, aliases resolved.
    resolve : callable
        Key of the task behind an alias.
    protected : set
        Tasks whose own value somebody needs.
    width : int
        How many units run at a time. There must be as many bundles of a kind, so that every worker has something to do:
        little is lost then by running the readers of each value one after the other, less than writing it for others
        and reading it there.
    where : callable
        What decides where and how a group runs; in a bundle it is the same for all.

    Returns
    -------
    tuple of list of Group, and dict
        The groups in topological order, and for the key of each one that is in a bundle now: the bundle's key, whose
        value is a tuple, and the place in it.
    """
    bundles = _chosen(_candidates(groups, dependencies, protected), width, where)
    if not bundles:
        return list(groups), {}
    inside = {reader.key for readers in bundles.values() for reader in readers}
    places: dict[Key, tuple[Key, int]] = {}
    found = []
    for group in groups:
        if group.key in inside:
            continue
        readers = bundles.get(group.key)
        if readers is not None:
            group = _joined(group, readers, resolve)
            places.update((reader.key, (group.key, place)) for place, reader in enumerate(readers))
        found.append(group)
    return found, places


def _candidates(
    groups: Sequence[Group], dependencies: Mapping[Key, Set[Key]], protected: Set[Key]
) -> dict[Key, tuple[Group, list[Group]]]:
    """Groups whose value nobody needs but groups that read nothing else, with these."""
    readers: dict[Key, list[Group]] = {}
    refused: set[Key] = set()
    for group in groups:
        needs = dependencies[group.members[0]]
        if len(needs) != 1 or group.key in protected or _goes_in_parts(group):
            refused.update(needs)
        else:
            readers.setdefault(next(iter(needs)), []).append(group)
    if not any(len(found) > 1 for found in readers.values()):
        return {}
    candidates: dict[Key, tuple[Group, list[Group]]] = {}
    for maker in groups:
        found = readers.get(maker.key, ())
        if not 1 < len(found) <= MOST_READERS or maker.key in refused or maker.key in protected:
            continue
        if not _goes_in_parts(maker):
            # In one order for all of a kind: what they are counted and named by.
            candidates[maker.key] = maker, sorted(found, key=lambda reader: (reader.prefix, str(reader.key)))
    return candidates


def _goes_in_parts(group: Group) -> bool:
    """Whether readers take parts of its value, which parts have no parts of their own."""
    node = group.nodes[-1][1]
    return type(node) is Task and (shuffle.is_cut(node.func) or node.func is shuffle.wait_for_all)


def _chosen(
    candidates: Mapping[Key, tuple[Group, list[Group]]], width: int, where: Callable[[Group], Hashable]
) -> dict[Key, list[Group]]:
    """Those that are frequent and run in one way; what reads a value of a bundle makes no bundle of its own."""
    kinds = {key: (maker.prefix, *(item.prefix for item in readers)) for key, (maker, readers) in candidates.items()}
    count = Counter(kinds.values())
    enough = min(width, _WIDE)
    chosen: dict[Key, list[Group]] = {}
    inside: set[Key] = set()
    for key, (maker, readers) in candidates.items():
        if key not in inside and count[kinds[key]] >= enough and len({where(item) for item in (maker, *readers)}) == 1:
            chosen[key] = readers
            inside.update(reader.key for reader in readers)
    return chosen


def _joined(maker: Group, readers: Sequence[Group], resolve: Callable[[Key], Key]) -> Group:
    """One group of all; names that some of them have inside are kept apart."""
    members = [key for group in (maker, *readers) for key in group.members]
    names = list(dict.fromkeys(group.prefix for group in (maker, *readers)))
    key = _key(maker, names[1:])
    taken = {key, *(group.key for group in (maker, *readers))}
    for group in (maker, *readers):
        taken.update(_outside(group))
    value = ("bundled", maker.key)
    nodes = _renamed(maker, 0, taken, {})
    nodes[-1] = (value, nodes[-1][1].substitute({}, key=value))
    # A reader may use up what another one reads, too: a lazy partition of a bag.
    nodes.append((maker.key, Task(maker.key, settled, TaskRef(value))))
    for place, reader in enumerate(readers, 1):
        aliases = {name: maker.key for name in _outside(reader) if name != maker.key and resolve(name) == maker.key}
        nodes += _renamed(reader, place, taken, aliases)
    nodes.append((key, Task(key, gathered, *(TaskRef(reader.key) for reader in readers))))
    return Group(key, nodes, members, bundled="+".join(names))


def _key(maker: Group, names: Sequence[str]) -> Key:
    """Of a bundle: which one it is, and what is in it."""
    head, *rest = maker.key if isinstance(maker.key, tuple) else (maker.key,)
    name = "+".join([str(head), *names])
    return (name, *rest) if rest else name


def _outside(group: Group) -> set[Key]:
    made = {name for name, _ in group.nodes}
    return {name for _, node in group.nodes for name in node.dependencies} - made


def _renamed(group: Group, place: int, taken: set[Key], names: dict[Key, Key]) -> list[tuple[Key, GraphNode]]:
    """Nodes of a group with new names where one is ``taken``, which is extended by the names in use."""
    names = names | {name: ("bundled", place, name) for name, _ in group.nodes if name in taken and name != group.key}
    taken.update(name for name, _ in group.nodes)
    if not names:
        return list(group.nodes)
    return [(names.get(name, name), node.substitute(names, key=names.get(name, name))) for name, node in group.nodes]
