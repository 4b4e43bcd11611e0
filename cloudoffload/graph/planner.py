"""From what Dask hands a scheduler to a plan of units: *what* runs, not when or where."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from dask._task_spec import DataNode, GraphNode, Task, cull
from dask.utils import key_split

from cloudoffload.errors import MalformedGraph, UnpicklableGraph
from cloudoffload.graph import remote, shuffle
from cloudoffload.graph.annotations import FIELDS, has_prefix, with_stated
from cloudoffload.graph.bundling import bundle
from cloudoffload.graph.collecting import collection_paused
from cloudoffload.graph.credentials import refuse_credentials
from cloudoffload.graph.fusion import Group, fuse_chains
from cloudoffload.graph.legacy_shuffle import holds_shuffle, rewrite
from cloudoffload.graph.lifting import SCALARS, Data, is_small, lift
from cloudoffload.graph.local_paths import classify
from cloudoffload.graph.ordering import places
from cloudoffload.graph.shuffle_costs import ShuffleCosts
from cloudoffload.graph.sources import Sources, sort_out
from cloudoffload.graph.staging import staged
from cloudoffload.graph.steps import to_steps
from cloudoffload.types import Edge, Emit, Key, Plan, Requirements, Unit
from cloudoffload.wire.program import Entry, dump, entry

_NONE: frozenset[Key] = frozenset()


@collection_paused()
def make_plan(
    tasks: dict[Key, GraphNode],
    wanted: Sequence[Key],
    *,
    requirements: Requirements = Requirements(),  # noqa: B008 - immutable
    stated: Mapping[Key, Mapping[str, Any]] | None = None,
    rules: Mapping[str, Requirements] | None = None,
    shuffle_costs: ShuffleCosts = ShuffleCosts(),  # noqa: B008 - immutable
    width: int = 64,
    one_place: bool = False,
) -> Plan:
    """Plan a computation.

    Parameters
    ----------
    tasks : dict
        Graph of tasks, as :func:`cloudoffload.graph.expression.materialize` returns it.
    wanted : sequence of keys
        What is asked for.
    requirements : Requirements
        Of every unit.
    stated : mapping, optional
        Fields of requirements that single tasks are annotated with, by key; they outrank ``requirements``.
    rules : mapping of str to Requirements, optional
        For units of tasks whose key begins with that prefix; they outrank both.
    shuffle_costs : ShuffleCosts
        What using the store takes: it decides in how many stages rows are shuffled.
    width : int
        How many units run at a time: with as many like ones, what reads a single value runs where it is made.
    one_place : bool
        There is no other provider than this machine: what must run here may share a unit with what need not.

    Raises
    ------
    PlanError
        The graph can't be run as asked.
    KeyError
        There is no such key as is asked for.
    """
    for key in wanted:
        if key not in tasks:
            raise KeyError(key)
    tasks, notes = staged(remote.lifted(_rewritten(cull(tasks, set(wanted)), set(wanted))), set(wanted), shuffle_costs)
    shipped = {key: node for key, node in tasks.items() if not remote.holds_remote(node)}
    telling = _telling(shipped)
    refuse_credentials(telling)
    here = classify(shipped) if classify(telling) else {}
    sources = sort_out(tasks, set(wanted))
    wishes = _Wishes(requirements, stated or {}, rules or {})

    def where(group: Group) -> tuple[Requirements, str]:
        return wishes.of(group), "" if one_place else _here(group, here)

    groups = _groups(sources, wanted, width, where)
    return _assemble(sources, groups, wanted, here, wishes, notes)


def _rewritten(tasks: dict[Key, GraphNode], wanted: Set[Key]) -> dict[Key, GraphNode]:
    """The graph with legacy shuffles through the store; most graphs have none, which few of their tasks tell."""
    return cull(rewrite(tasks), wanted) if holds_shuffle(_telling(tasks).values()) else tasks


def _telling(tasks: dict[Key, GraphNode]) -> dict[Key, GraphNode]:
    """Without the tasks that call a function with nothing but numbers, if another such task calls the same function.

    What can be said of the others by looking at what they carry holds for these too, and a very large graph has few
    others.
    """
    seen: set[int] = set()
    telling: dict[Key, GraphNode] = {}
    for key, node in tasks.items():
        if type(node) is Task and _is_plain(node):
            if id(node.func) in seen:
                continue
            seen.add(id(node.func))
        telling[key] = node
    return telling


@dataclass(slots=True)
class _Wishes:
    """Requirements by unit; units with equal wishes share one object, which makes them like."""

    base: Requirements
    stated: Mapping[Key, Mapping[str, Any]]
    rules: Mapping[str, Requirements]
    _known: dict[Requirements, Requirements] = field(default_factory=dict)

    def of(self, group: Group) -> Requirements:
        """Requirements of one unit."""
        if not (self.stated or self.rules):
            return self.base
        wanted = self.base
        for key in group.members:
            wanted = with_stated(wanted, self.stated.get(key, {}))
        names = {key_split(name) for name in (*group.members, *(name for name, _ in group.nodes))}
        for prefix, rule in self.rules.items():
            if any(has_prefix(name, prefix) for name in names):
                wanted = with_stated(wanted, {field: getattr(rule, field) for field in FIELDS})
        return self._known.setdefault(wanted, wanted)


def _here(group: Group, here: Mapping[Key, str]) -> str:
    """Why a group has to run on this machine, "" when it need not."""
    return next((here[key] for key in group.members if key in here), "") if here else ""


def _groups(sources: Sources, wanted: Sequence[Key], width: int, where: Callable[[Group], Hashable]) -> list[Group]:
    dependencies = {
        key: frozenset([task for name in node.dependencies if (task := sources.task_of(name)) is not None])
        if node.dependencies
        else _NONE
        for key, node in sources.tasks.items()
    }
    protected = {task for key in wanted if (task := sources.task_of(key)) is not None}
    protected.update(sources.resolve(source) for source, _ in sources.parts.values())
    # A barrier reads footers, not values: its inputs must stay units of their own.
    for key, node in sources.tasks.items():
        if type(node) is Task and node.func is shuffle.wait_for_all:
            protected.update((key, *dependencies[key]))
    groups = fuse_chains(sources.tasks, dependencies, sources.resolve, protected)
    groups, places = bundle(groups, dependencies, sources.resolve, protected, width, where)
    sources.parts.update(places)
    return groups


def _assemble(
    sources: Sources,
    groups: list[Group],
    wanted: Sequence[Key],
    here: Mapping[Key, str],
    wishes: _Wishes,
    notes: tuple[str, ...],
) -> Plan:
    numbers = {group.key: i for i, group in enumerate(groups)}
    data, index = Data(), Emit.INDEX
    total = len(groups)

    def edge(key: Key) -> Edge:
        if (number := numbers.get(key)) is not None:  # most are
            return Edge(number)
        key = sources.resolve(key)
        if key in sources.parts:
            source, part = sources.parts[key]
            return edge(source)._replace(part=part)
        if key in numbers:
            return Edge(numbers[key])
        known = sources.remotes if key in sources.remotes else sources.values
        if key not in known:
            raise MalformedGraph(f"Missing dependency: {key!r} is needed, and is not in the graph")
        return Edge(total + data.number(known[key]))

    results = tuple(edge(key) for key in wanted)
    requested = {item.source for item in results if item.source < total}
    parted = {numbers[sources.resolve(source)] for source, _ in sources.parts.values()}
    entries: list[Entry] = []
    inputs: list[tuple[Edge, ...]] = []
    emits: list[Emit] = []
    for number, group in enumerate(groups):
        names, edges, steps, emit = _program_entry(sources, group, edge, data, total)
        if number in parted and number not in requested and emit is Emit.VALUE:
            emit = Emit.PARTS
        entries.append(entry(steps, group.key, names, emit))
        inputs.append(edges)
        emits.append(emit)
    place = places(
        [{item.source for item in edges if item.source < total} if edges else () for edges in inputs],
        {number for number, emit in enumerate(emits) if emit is index},
    )
    units = [
        Unit(
            number=number,
            key=group.key,
            prefix=group.prefix,
            inputs=inputs[number],
            priority=place[number],
            emit=emit,
            requested=number in requested,
            keeps_inputs=emit is index,
            here_because=_here(group, here) if here else "",
            requirements=wishes.of(group),
            tasks=tuple(group.members),
        )
        for number, (group, emit) in enumerate(zip(groups, emits, strict=True))
    ]
    known = {i: value.ref for i, value in enumerate(data.values) if isinstance(value, remote.RemoteValue)}
    return Plan(tuple(units), _pickled(entries, groups), tuple(data.values), results, known, notes)


def _program_entry(sources: Sources, group: Group, edge: Any, data: Data, total: int) -> Any:
    """Names and edges of a unit's inputs, its steps, and how it writes its value."""
    node = group.nodes[-1][1]
    if type(node) is Task and node.func is shuffle.wait_for_all:
        names = tuple(reference.key for reference in node.args)
        return names, tuple(edge(name) for name in names), (), Emit.INDEX
    if len(group.nodes) == 1 and type(node) is Task and _is_plain(node):
        return (), (), ((group.key, node.func, node.args, None, False, ()),), Emit.VALUE
    made = {name for name, _ in group.nodes}
    outside = [
        name for name in dict.fromkeys([n for _, item in group.nodes for n in item.dependencies]) if name not in made
    ]
    values = sources.values
    small = {
        name: DataNode(name, values[known])
        for name in (outside if values else ())
        if (known := sources.resolve(name)) in values and is_small(values[known])
    }
    nodes, lifted = lift([*small.items(), *group.nodes], data)
    inputs = {name: edge(name) for name in outside if name not in small}
    inputs |= {name: Edge(total + number) for name, number in lifted.items()}
    emit = Emit.PARTS if type(node) is Task and shuffle.is_cut(node.func) else Emit.VALUE
    return tuple(inputs), tuple(inputs.values()), to_steps(nodes, frozenset(inputs)), emit


def _is_plain(task: Task) -> bool:
    """A function of plain numbers: what most tasks of a very large graph are."""
    return not task.kwargs and SCALARS.issuperset(map(type, task.args))


def _pickled(entries: list[Entry], groups: list[Group]) -> bytes:
    try:
        return dump(entries)
    except Exception as error:
        culprit = next((group.key for item, group in zip(entries, groups, strict=True) if not _picklable(item)), None)
        name = "the graph" if culprit is None else f"task {key_split(culprit)!r}"
        raise UnpicklableGraph(
            f"{name} can't be sent to a worker: {type(error).__name__}: {error}; open files, connections, locks and "
            "generators inside the function that uses them"
        ) from error


def _picklable(item: Entry) -> bool:
    try:
        dump([item])
    except Exception:  # noqa: BLE001 - any object may raise anything when pickled; the caller reports the first error
        return False
    return True
