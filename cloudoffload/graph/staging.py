"""Shuffles through the store once or twice, as it costs less: rewritten on the graph, wherever they came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from dask._task_spec import GraphNode, Task
from dask.tokenize import tokenize

from cloudoffload.graph import shuffle
from cloudoffload.graph.shuffle_costs import Form, ShuffleCosts, cheapest, one_stage
from cloudoffload.types import Key

T = TypeVar("T")


@dataclass(slots=True)
class _Shuffle:
    gate: Key  # of its barrier
    splits: list[Key]
    joins: dict[Key, int]  # output partition by key


def staged(
    tasks: dict[Key, GraphNode], wanted: Set[Key], costs: ShuffleCosts
) -> tuple[dict[Key, GraphNode], tuple[str, ...]]:
    """The graph with each shuffle in the form that costs least.

    Parameters
    ----------
    tasks : dict of key to GraphNode
        With shuffles in one stage, as :mod:`cloudoffload.graph.shuffle` makes them.
    wanted : set of keys
        What is asked for; those nodes stay what they are.
    costs : ShuffleCosts
        Of the store.

    Returns
    -------
    tasks : dict of key to GraphNode
        The same object where there is no shuffle.
    notes : tuple of str
        What was chosen, and why: a sentence for each shuffle.
    """
    found = _shuffles(tasks)
    notes = []
    for item in found:
        outputs = sorted(set(item.joins.values()))
        form = cheapest(len(item.splits), len(outputs), costs)
        if not _is_open(tasks, item, wanted):
            form = one_stage(len(item.splits), len(outputs), costs)
        elif form.stages > 1:
            tasks = {**tasks, **dict(_in_two_stages(tasks, item, outputs, form))}
            del tasks[item.gate]
        else:
            tasks = {**tasks, **{key: shuffle.narrowed(tasks[key], outputs) for key in item.splits}}
        notes.append(_note(item, outputs, form, costs))
    return tasks, tuple(notes)


def _shuffles(tasks: Mapping[Key, GraphNode]) -> list[_Shuffle]:
    found = {
        key: _Shuffle(key, [reference.key for reference in node.args], {})
        for key, node in tasks.items()
        if type(node) is Task and node.func is shuffle.wait_for_all
    }
    if found:
        for key, node in tasks.items():
            if type(node) is Task and shuffle.is_join(node.func) and node.args[0].key in found:
                found[node.args[0].key].joins[key] = node.kwargs["part"]
    return list(found.values())


def _is_open(tasks: Mapping[Key, GraphNode], item: _Shuffle, wanted: Set[Key]) -> bool:
    """Whether nobody but this shuffle reads its splits and its barrier."""
    inside = {item.gate, *item.splits}
    splits = [tasks[key] for key in item.splits]
    if not inside.isdisjoint(wanted) or not all(type(node) is Task and shuffle.is_cut(node.func) for node in splits):
        return False
    readers = {item.gate, *item.joins}
    return all(key in readers or inside.isdisjoint(node.dependencies) for key, node in tasks.items())


def _in_two_stages(
    tasks: Mapping[Key, GraphNode], item: _Shuffle, outputs: Sequence[int], form: Form
) -> Iterator[tuple[Key, GraphNode]]:
    """New nodes, and those that take the place of old ones."""
    name = tokenize(item.gate)
    blocks = list(_shares(item.splits, form.blocks))
    groups = list(_shares(outputs, form.groups))
    firsts = tuple(group[0] for group in groups)  # one object: it is pickled once
    for key in item.splits:
        yield key, shuffle.narrowed(tasks[key], outputs, firsts)
    for b, block in enumerate(blocks):
        yield (gate := (f"shuffle-block-{name}", b)), shuffle.barrier(gate, block)
        for g in range(len(groups)):
            key = (f"shuffle-regroup-{name}", b, g)
            yield key, shuffle.regroup(key, gate, g, like=tasks[item.splits[0]])
    gate_of = {}
    for g, group in enumerate(groups):
        yield (
            (gate := (f"shuffle-barrier-{name}", g)),
            shuffle.barrier(gate, [(f"shuffle-regroup-{name}", b, g) for b in range(len(blocks))]),
        )
        gate_of.update(dict.fromkeys(group, gate))
    for key, part in item.joins.items():
        yield key, tasks[key].substitute({item.gate: gate_of[part]})


def _shares(items: Sequence[T], count: int) -> Iterator[Sequence[T]]:
    """Runs of items whose lengths differ by one at most."""
    for start, stop in pairwise(len(items) * i // count for i in range(count + 1)):
        yield items[start:stop]


def _note(item: _Shuffle, outputs: Sequence[int], form: Form, costs: ShuffleCosts) -> str:
    size = f"a shuffle of {len(item.splits):,} partitions to {len(outputs):,}"
    if form.stages == 1:
        return f"{size} goes through the store once: {form.reads:,} reads and {form.writes:,} writes"
    once = one_stage(len(item.splits), len(outputs), costs)
    return (
        f"{size} goes through the store twice, by {form.blocks} x {form.groups} regrouping units: {form.reads:,} reads "
        f"and {form.writes:,} writes instead of {once.reads:,} and {once.writes:,}"
    )
