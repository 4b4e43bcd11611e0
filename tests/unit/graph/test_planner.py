"""Plans: every unit can run, nothing is lost, and what travels is as little as it can be."""

from __future__ import annotations

import itertools
import operator
import threading
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Task, TaskRef, convert_legacy_graph
from dask.local import get_sync
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import CredentialsInGraph, MalformedGraph, UnpicklableGraph
from cloudoffload.graph.annotations import dropped, of_tasks
from cloudoffload.graph.expression import materialize
from cloudoffload.graph.planner import make_plan
from cloudoffload.types import Edge, Emit, Plan, Requirements
from cloudoffload.wire.parts import EMPTY
from cloudoffload.wire.program import load, run_steps


def plan_of(*collections: Any, **options: Any) -> Plan:
    """The plan of what Dask hands a scheduler for these collections."""
    plans: list[Plan] = []

    def get(graph: Any, keys: Any, **_: Any) -> Any:
        plans.append(make_plan(*materialize(graph, keys), **options))
        return dask.get(graph, keys)

    dask.compute(*collections, scheduler=get)
    return plans[-1]


def interpret(plan: Plan) -> list[Any]:
    """Values of a plan's results, its units run one after the other in this process."""
    entries = load(memoryview(plan.program)).entries
    values: dict[int, Any] = dict(enumerate(plan.data, len(plan.units)))

    def value(edge: Edge) -> Any:
        whole = values[edge.source]
        if edge.part is None:
            return whole
        if edge.source < len(plan.units) and plan.units[edge.source].emit is Emit.INDEX:
            return [parts[edge.part] for parts in whole if edge.part in parts] or [
                parts[EMPTY] for parts in whole[:1] if EMPTY in parts
            ]
        return whole[edge.part]

    for unit in sorted(plan.units, key=lambda unit: unit.priority):
        steps, out, names, emit = entries[unit.number]
        inputs = {name: value(edge) for name, edge in zip(names, unit.inputs, strict=True)}
        values[unit.number] = list(inputs.values()) if emit == Emit.INDEX else run_steps(steps, out, inputs)
    return [value(edge) for edge in plan.results]


def add(*items: Any) -> Any:
    """Sum of all numbers, however nested."""
    return sum(add(*item) if isinstance(item, (list, tuple)) else item for item in items)


def pair(item: Any) -> tuple[Any, Any]:
    """Two values in one."""
    return add(item), 1


@st.composite
def graphs(draw: st.DrawFn) -> tuple[dict[str, Any], list[str]]:
    """Graphs with data, aliases, fan-in, fan-out, nested tasks and items of pairs, and keys asked of them."""
    graph: dict[str, Any] = {"k0": draw(st.integers(-5, 5)), "k1": (pair, 3)}
    for i in range(2, draw(st.integers(3, 14))):
        earlier = st.sampled_from(sorted(graph))
        names = draw(st.lists(earlier, min_size=1, max_size=4))
        nested = (add, names[0], 1)
        pairs = [name for name, task in graph.items() if isinstance(task, tuple) and task[0] is pair]
        graph[f"k{i}"] = draw(
            st.sampled_from(
                [
                    (add, *names),
                    (add, nested, names[-1]),
                    (pair, names[0]),
                    names[0],
                    (operator.getitem, pairs[-1], 0),
                    (operator.getitem, pairs[-1], 1),
                    (add, names),
                    list(range(1000)),
                ]
            )
        )
    wanted = draw(st.lists(st.sampled_from(sorted(graph)), min_size=1, max_size=5))
    return graph, wanted


@given(graphs())
def test_every_plan_gives_what_dask_gives(case: tuple[dict[str, Any], list[str]]) -> None:
    """Whatever the shape of a graph: all inputs exist when a unit runs, and every requested value is right."""
    graph, wanted = case
    plan = make_plan(*materialize(graph, wanted))
    assert interpret(plan) == list(get_sync(graph, wanted))


@given(graphs())
def test_units_come_after_what_they_need(case: tuple[dict[str, Any], list[str]]) -> None:
    """Priorities are a topological order of the units, each place once."""
    plan = make_plan(*materialize(*case))
    places = [unit.priority for unit in plan.units]
    assert len(set(places)) == len(places)
    for unit in plan.units:
        for edge in unit.inputs:
            assert edge.source >= len(plan.units) or places[edge.source] < places[unit.number]


def frame(n: int = 60) -> pd.DataFrame:
    """n rows."""
    return pd.DataFrame({"a": np.arange(n) % 7, "b": np.arange(float(n))})


def test_a_shuffle_has_a_write_per_input_a_barrier_and_a_read_per_output() -> None:
    """N + 1 + M units, and edges in proportion: no task for any of the N * M pieces."""
    plan = plan_of(dd.from_pandas(frame(), npartitions=6).shuffle("a", npartitions=5))
    by_emit = {emit: [unit for unit in plan.units if unit.emit is emit] for emit in Emit}
    assert len(by_emit[Emit.PARTS]) == 5, "Dask itself repartitions 6 partitions to 5 first"
    (barrier,) = by_emit[Emit.INDEX]
    assert barrier.keeps_inputs, "readers of the barrier read the writes, too"
    read = [edge.part for unit in plan.units for edge in unit.inputs if edge.source == barrier.number]
    assert sorted(str(part) for part in read) == ["0", "1", "2", "3", "4"]
    assert sum(len(unit.inputs) for unit in plan.units) < 25


@pytest.mark.parametrize("method", ["disk", "tasks", "p2p"])
def test_no_shuffle_method_survives(method: str) -> None:
    """Dask's own shuffles need a shared disk, N * M tasks or a cluster: each becomes the one through the store."""
    table = frame()
    shuffled = dd.from_pandas(table, npartitions=4).shuffle("a", npartitions=3, shuffle_method=method)
    plan = make_plan(*materialize(shuffled.optimize(fuse=False).expr, shuffled.optimize(fuse=False).__dask_keys__()))
    assert sum(unit.emit is Emit.INDEX for unit in plan.units) == 1
    found = pd.concat(interpret(plan))
    pd.testing.assert_frame_equal(found.sort_values("b").reset_index(drop=True), table)


def test_shuffles_of_many_partitions_are_planned_at_their_size() -> None:
    """300 x 300 partitions are about 1,000 units, not 90,000 tasks."""
    big = dd.from_pandas(frame(3000), npartitions=300)
    plan = plan_of(big.merge(big, on="a", npartitions=300).b_x.sum())
    assert len(plan.units) < 1300


def test_collections_of_one_compute_share_what_they_read() -> None:
    """Fusion runs over the whole sequence: two questions about one table read it once."""
    table = dd.from_pandas(frame(), npartitions=3)
    mapped = table.map_partitions(lambda part: part.assign(c=part.a + 1))
    plan = plan_of(mapped.c.sum(), mapped.b.sum())
    readers = [unit for unit in plan.units if any(edge.source >= len(plan.units) for edge in unit.inputs)]
    touched = [edge.source for unit in readers for edge in unit.inputs if edge.source >= len(plan.units)]
    assert len(set(touched)) == 3, "each partition of the data is stored once"


def test_a_chain_of_tasks_is_one_unit() -> None:
    """Tasks that feed only each other never store what is between them."""
    chain: Any = dask.delayed(add)(1)
    for _ in range(40):
        chain = dask.delayed(add)(chain, 1)
    assert len(plan_of(chain).units) == 1


def test_data_travels_once_and_apart_from_the_program() -> None:
    """A large argument of many tasks is one datum, and the program stays small."""
    table = np.arange(100_000)
    plan = plan_of([dask.delayed(add)(table, i) for i in range(20)])
    assert len(plan.data) == 1
    assert plan.data[0] is table
    assert len(plan.program) < 10_000


def test_small_data_stays_in_the_program() -> None:
    """Numbers and short texts are not worth a stored object."""
    assert plan_of([dask.delayed(add)(i, 1) for i in range(20)]).data == ()


def test_blocks_of_an_array_are_cut_here() -> None:
    """A worker that needs one block of an array gets the block, not the array."""
    array = np.arange(1_000_000.0)
    plan = plan_of(da.from_array(array, chunks=100_000).sum())
    assert [value.nbytes for value in plan.data] == [800_000] * 10


def test_data_that_is_asked_for_needs_no_unit() -> None:
    """What lies on the client is not sent away to be fetched back."""
    assert plan_of(dask.delayed([1, 2, 3])).units == ()


def test_items_of_a_value_are_parts_of_it() -> None:
    """``nout`` results are read by range: no unit per item."""
    first, second = dask.delayed(pair, nout=2)(5)
    plan = plan_of(dask.delayed(add)(first, second))
    assert sorted(unit.emit for unit in plan.units) == [Emit.PARTS, Emit.VALUE]
    assert interpret(plan) == [6]


def test_a_bag_is_grouped_through_the_store() -> None:
    """``Bag.groupby`` uses a local folder by default; its plan does not."""
    plan = plan_of(db.from_sequence(range(20), npartitions=4).groupby(lambda n: n % 3))
    assert sum(unit.emit is Emit.INDEX for unit in plan.units) == 1
    assert b"partd" not in plan.program


def _with_barriers() -> list[Any]:
    with dask.config.set({"dataframe.shuffle.method": "disk"}):
        frames = dd.from_pandas(frame(), npartitions=3).shuffle("a").optimize(fuse=False)
    return [pytest.param(item, id=type(item).__name__) for item in (db.range(20, 4).groupby(_modulo_3), frames)]


def _modulo_3(number: int) -> int:
    return number % 3


@pytest.mark.parametrize("collection", _with_barriers())
def test_who_asks_for_a_barrier_gets_what_dask_gives(collection: Any) -> None:
    """Its index is for the joins alone, and goes with them; it points into objects that are gone then."""
    graph = dict(collection.__dask_graph__())
    (barrier,) = [key for key in graph if "barrier" in str(key)]
    keys = collection.__dask_keys__()
    plan = make_plan(*materialize(graph, [barrier, *keys]))
    assert not any(unit.keeps_inputs and unit.requested for unit in plan.units)
    value, *parts = interpret(plan)
    assert value == dask.get(graph, barrier)
    assert list(map(str, parts)) == list(map(str, interpret(make_plan(*materialize(graph, keys)))))
    alone = make_plan(*materialize(graph, [barrier]))
    assert not alone.units and interpret(alone) == [value]


def test_requirements_come_from_rules_annotations_and_arguments() -> None:
    """A rule outranks a task's annotation, which outranks what is asked of the whole computation."""
    with dask.annotate(memory_mb=2000, provider="aws"):
        annotated = dask.delayed(add)(1, dask_key_name="annotated")
    plain = dask.delayed(add)(2, dask_key_name="plain")
    plans: list[Plan] = []

    def get(graph: Any, keys: Any, **_: Any) -> Any:
        plans.append(
            make_plan(
                *materialize(graph, keys),
                requirements=Requirements(memory_mb=500, latency="low"),
                stated=of_tasks(graph),
                rules={"annotated": Requirements(provider="local")},
            )
        )
        return dask.get(graph, keys)

    dask.compute(annotated, plain, scheduler=get)
    wanted = {unit.prefix: unit.requirements for unit in plans[0].units}
    assert wanted["annotated"] == Requirements(provider="local", memory_mb=2000, latency="low")
    assert wanted["plain"] == Requirements(memory_mb=500, latency="low")


def test_an_annotation_that_optimization_lost_is_known() -> None:
    """Arrays lose their annotations; delayed keeps them."""
    with dask.annotate(provider="aws"):
        lost, kept = da.ones(10, chunks=5) + 1, dask.delayed(add)(1)
    found: list[set[str]] = []

    def get(graph: Any, keys: Any, **_: Any) -> Any:
        found.append(dropped(graph))
        return dask.get(graph, keys)

    dask.compute(lost, scheduler=get)
    dask.compute(kept, scheduler=get)
    assert found == [{"provider"}, set()]


def test_what_can_t_be_pickled_is_named() -> None:
    """The error says which task, and what to do."""
    lock = threading.Lock()
    with pytest.raises(UnpicklableGraph, match="task 'add' can't be sent"):
        plan_of(dask.delayed(add)(lock))


@pytest.mark.parametrize(
    "graph",
    [
        {"a": (abs, "a")},
        {"a": (abs, "b"), "b": (abs, "c"), "c": (abs, "a")},
        {"a": (add, "b", "c"), "b": (abs, "c"), "c": (add, "b", 1)},
        {"a": "b", "b": "a"},
        {"a": "b", "b": (abs, "a")},
    ],
)
def test_tasks_in_a_circle_are_refused(graph: dict[str, Any]) -> None:
    """As by Dask itself, with a RuntimeError that names one of them; aliases count."""
    with pytest.raises(MalformedGraph, match=r"Cycle detected: '[abc]' needs itself") as caught:
        make_plan(convert_legacy_graph(graph), ["a"])
    assert isinstance(caught.value, RuntimeError)


def test_a_task_that_needs_what_is_not_there_is_refused() -> None:
    """As by Dask itself, with a ValueError that names it; with a KeyError when nobody but the caller needs it."""
    graph = {"a": Task("a", abs, TaskRef("x"))}
    with pytest.raises(MalformedGraph, match="Missing dependency: 'x'") as caught:
        make_plan(graph, ["a"])
    assert isinstance(caught.value, ValueError)
    with pytest.raises(KeyError, match="'b'"):
        make_plan(graph, ["b"])


def test_credentials_are_never_shipped() -> None:
    """Planning refuses before anything is pickled."""
    options = {"key": "AKIA", "secret": "hidden"}
    with pytest.raises(CredentialsInGraph) as caught:
        make_plan({"a": Task("a", add, storage_options=options)}, ["a"])
    assert "hidden" not in str(caught.value)


def test_like_units_share_one_requirements_object() -> None:
    """The loop tells kinds apart by identity."""
    plan = plan_of([dask.delayed(add)(i) for i in range(4)], rules={"add": Requirements(retries=1)})
    assert all(a.requirements is b.requirements for a, b in itertools.pairwise(plan.units))
