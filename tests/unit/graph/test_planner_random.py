"""Plans of random graphs: each is complete and in order, and running it gives what Dask's own scheduler gives."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from operator import getitem

import numpy as np
import pytest
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef, cull
from dask.local import get_sync
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from cloudoffload.graph.lifting import is_small
from cloudoffload.graph.planner import make_plan
from cloudoffload.types import Emit, Plan
from tests.unit.graph.executing import Bench
from tests.unit.graph.random_graphs import RAN, Case, described, graphs, three, told

many = settings(
    max_examples=int(os.environ.get("CLOUDOFFLOAD_RANDOM_GRAPHS", "100")),
    suppress_health_check=[HealthCheck.too_slow],
)
"""As many graphs as the environment asks for, in each test."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Where units run in this process."""
    return Bench(tmp_path_factory.mktemp("store"))


def expected(case: Case) -> tuple[list[str], Counter[int]]:
    """What Dask's own scheduler answers, and how often it ran each task."""
    RAN.clear()
    values = [described(value) for value in get_sync(cull(case.tasks, set(case.wanted)), case.wanted)]
    return values, Counter(RAN)


@many
@given(graphs(), st.randoms(use_true_random=False), st.sampled_from([0, 100, 1 << 20]), st.sampled_from([1, 2, 64]))
def test_a_plan_gives_what_dask_gives_and_runs_each_task_once(
    bench: Bench, case: Case, chance: random.Random, inline_limit: int, width: int
) -> None:
    """Whatever the graph and whatever order its inputs allow; values go through the store, or travel inside."""
    values, ran = expected(case)
    plan = make_plan(dict(case.tasks), case.wanted, width=width)
    event("bundled" if any("+" in unit.prefix for unit in plan.units) else "not bundled")
    RAN.clear()
    found = bench.run(plan, any_order(plan, chance), inline_limit)
    assert [described(value) for value in found] == values
    assert Counter(RAN) == ran


@many
@given(graphs())
def test_every_edge_leads_to_a_unit_or_a_datum_and_units_come_after_their_inputs(case: Case) -> None:
    """Units are numbered by their place; their priorities are a permutation that respects the edges."""
    plan = make_plan(dict(case.tasks), case.wanted, width=1)
    total = len(plan.units)
    assert [unit.number for unit in plan.units] == list(range(total))
    assert sorted(unit.priority for unit in plan.units) == list(range(total))
    for unit in plan.units:
        for edge in unit.inputs:
            assert 0 <= edge.source < total + len(plan.data)
            if edge.source < total:
                assert plan.units[edge.source].priority < unit.priority


@many
@given(graphs())
def test_what_is_asked_for_is_marked_and_nothing_else_is_planned(case: Case) -> None:
    """A result for each key in its place; every unit and every datum is needed for one of them."""
    plan = make_plan(dict(case.tasks), case.wanted, width=1)
    total = len(plan.units)
    assert len(plan.results) == len(case.wanted)
    sources = {edge.source for edge in plan.results}
    assert {unit.number for unit in plan.units if unit.requested} == {number for number in sources if number < total}
    needed, stack = set(sources), list(sources)
    while stack:
        number = stack.pop()
        if number < total:
            fresh = {edge.source for edge in plan.units[number].inputs} - needed
            needed |= fresh
            stack += fresh
    assert needed == set(range(total + len(plan.data)))


@many
@given(graphs())
def test_values_are_written_in_parts_where_parts_are_read(case: Case) -> None:
    """A unit whose parts are read writes them apart, unless its whole value is asked for; no other unit does."""
    plan = make_plan(dict(case.tasks), case.wanted)
    total = len(plan.units)
    edges = [edge for unit in plan.units for edge in unit.inputs]
    parted = {edge.source for edge in [*edges, *plan.results] if edge.part is not None}
    assert all(number < total for number in parted)
    for unit in plan.units:
        assert (unit.emit is Emit.PARTS) == (unit.number in parted and not unit.requested)
        event(unit.emit)


@many
@given(graphs())
def test_data_is_stored_only_when_it_is_large(case: Case) -> None:
    """A small value travels in the program of the units that read it; each large one is stored once."""
    plan = make_plan(dict(case.tasks), case.wanted)
    asked = {edge.source - len(plan.units) for edge in plan.results}
    assert not [value for number, value in enumerate(plan.data) if number not in asked and is_small(value)]
    assert len({id(value) for value in plan.data}) == len(plan.data)


def fused(key: str, *tasks: GraphNode) -> GraphNode:
    """Tasks in one, as Dask fuses them."""
    return GraphNode.fuse(*tasks, key=key)


INNER = fused("whole", Task("name", three, 1), Task("last", three, 2, TaskRef("name")))
ARRAY = fused("whole", DataNode("name", np.arange(900.0)), Task("last", three, 2, TaskRef("name")))
SHARED_NAMES: dict[str, tuple[GraphNode, ...]] = {
    "small data": (INNER, DataNode("name", 0), Task("end", told, 3, TaskRef("whole"), TaskRef("name"))),
    "large data": (INNER, DataNode("name", "x" * 5000), Task("end", told, 3, TaskRef("whole"), TaskRef("name"))),
    "data with the name of the last": (
        INNER,
        DataNode("last", 0),
        Task("end", told, 3, *map(TaskRef, ("whole", "last"))),
    ),
    "data that was read before": (
        DataNode("name", 0),
        Task("first", told, 3, TaskRef("name")),
        fused("end", Task("name", three, 4, TaskRef("first")), Task("last", three, 5, TaskRef("name"))),
    ),
    "an alias": (INNER, Alias("name", "whole"), Task("end", told, 3, TaskRef("name"))),
    "a task": (INNER, Task("name", three, 3, TaskRef("whole")), Task("end", told, 4, TaskRef("name"))),
    "an alias, read by item": (ARRAY, Alias("name", "whole"), Task("end", getitem, TaskRef("name"), slice(2))),
    "a task, read by item": (
        ARRAY,
        Task("name", three, 3, TaskRef("whole")),
        Task("end", getitem, TaskRef("name"), slice(2)),
    ),
}


@pytest.mark.parametrize("outside", SHARED_NAMES)
def test_names_inside_of_a_fused_task_are_its_own(bench: Bench, outside: str) -> None:
    """Something else outside may have the same name, and be read further down the chain."""
    case = Case({node.key: node for node in SHARED_NAMES[outside]}, ["end"])
    values, ran = expected(case)
    plan = make_plan(dict(case.tasks), case.wanted)
    RAN.clear()
    found = bench.run(plan, range(len(plan.units)), 100)
    assert [described(value) for value in found] == values
    assert Counter(RAN) == ran


def test_what_dask_fuses_and_gives_its_old_name_outside_stays_one_unit() -> None:
    """An alias with the name of the last task inside means the same value: no chain is cut for it."""
    tasks = {node.key: node for node in (INNER, Alias("last", "whole"), Task("end", told, 3, TaskRef("last")))}
    assert len(make_plan(tasks, ["end"]).units) == 1


def any_order(plan: Plan, chance: random.Random) -> Iterator[int]:
    """Units in a random order that their inputs allow."""
    missing = [{edge.source for edge in unit.inputs if edge.source < len(plan.units)} for unit in plan.units]
    waiting = set(range(len(plan.units)))
    while waiting:
        ready = sorted(number for number in waiting if not missing[number])
        assert ready, "units wait for each other"
        number = chance.choice(ready)
        waiting.discard(number)
        for sources in missing:
            sources.discard(number)
        yield number
