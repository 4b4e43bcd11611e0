"""Shuffles in one or two stages: the same partitions, by as many reads and writes as were counted on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.base import collections_to_expr
from dask.core import flatten

import cloudoffload
from cloudoffload.engine.reads import most_reads
from cloudoffload.graph.expression import materialize
from cloudoffload.graph.planner import make_plan
from cloudoffload.graph.shuffle_costs import ShuffleCosts, cheapest
from cloudoffload.store import ObjectStore, open_store
from cloudoffload.types import Assignment, Edge, Emit, Plan, Ref, StoreAccess
from cloudoffload.wire.envelope import Order
from cloudoffload.wire.program import load, run_steps
from cloudoffload.worker.inputs import Inputs
from cloudoffload.worker.outputs import Outputs

ROOT = Path(cloudoffload.__file__).parents[1]
DEAR_READS = ShuffleCosts(read_usd=1.0)
DEAR_WRITES = ShuffleCosts(write_usd=1.0)


def plan_of(collection: Any, costs: ShuffleCosts, only: Sequence[int] | None = None) -> Plan:
    """Plan of a collection whose partitions, or ``only`` some of them, are asked for."""
    expr = collections_to_expr((collection,)).optimize()
    keys = list(flatten(expr.__dask_keys__()))
    wanted = keys if only is None else [keys[i] for i in only]
    return make_plan(*materialize(expr, wanted), shuffle_costs=costs)


def run(plan: Plan, store: ObjectStore) -> list[Any]:
    """Values of a plan's results, every unit run here, by way of a store and as a worker does it."""
    nowhere = Ref("", "", (0, 0), 0, b"")
    order = Order("a", "1", nowhere, (), {}, "main", "runs/a/1/", 60.0, b"", inline_limit=0)
    outputs = Outputs(order, store)
    entries = load(memoryview(plan.program)).entries
    refs: dict[int, Ref] = {}

    def ref_of(edge: Edge) -> Ref:
        ref = refs[edge.source]
        return Ref(ref.store, ref.key, ref.span, ref.nbytes, ref.digest, ref.parted, edge.part, ref.data)

    for unit in sorted(plan.units, key=lambda unit: unit.priority):
        inputs = Inputs({"main": store})  # each in a call of its own: nothing is known yet
        steps, out, names, emit = entries[unit.number]
        assignment = Assignment(unit.number, 1, tuple(map(ref_of, unit.inputs)))
        if emit == Emit.INDEX:
            refs[unit.number] = outputs.write_index(assignment, inputs)
        else:
            values = {name: inputs.value(ref) for name, ref in zip(names, assignment.inputs, strict=True)}
            refs[unit.number] = outputs.write(assignment, run_steps(steps, out, values), emit)
    return [Inputs({"main": store}).value(ref_of(edge)) for edge in plan.results]


def make(number: int) -> pd.DataFrame:
    """One of many partitions: every output partition gets some of its rows."""
    return pd.DataFrame({"k": np.arange(400), "x": float(number), "s": f"from {number}"})


def many(number: int) -> pd.DataFrame:
    """A partition whose rows are most of what is written."""
    return pd.DataFrame({"k": np.arange(8000), "x": float(number)})


def shuffled(inputs: int, outputs: int) -> Any:
    """A dataframe whose rows all move."""
    return dd.from_map(make, range(inputs), meta=make(0)).shuffle("k", npartitions=outputs)


def grouped(inputs: int, outputs: int) -> Any:
    """A bag whose records all move."""
    return db.from_delayed([number(i) for i in range(inputs)]).groupby(lambda item: item % 50, npartitions=outputs)


def number(start: int) -> Any:
    """Two hundred numbers, made by a task."""
    import dask

    return dask.delayed(lambda: list(range(start, start + 200)))()


@pytest.mark.parametrize("url", ["memory://", "file://{}"])
@pytest.mark.parametrize("build", [shuffled, grouped])
@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (12, 5), (5, 12), (2, 2), (3, 1)])
def test_one_and_two_stages_give_the_same_partitions(
    build: Any, inputs: int, outputs: int, url: str, tmp_path: Path
) -> None:
    """The rows of each partition, and their order, do not depend on how they came there."""
    once, twice = plan_of(build(inputs, outputs), DEAR_WRITES), plan_of(build(inputs, outputs), DEAR_READS)
    store = open_store(StoreAccess(url.format(tmp_path)))
    for one, other in zip(run(once, store), run(twice, store), strict=True):
        if build is shuffled:
            pd.testing.assert_frame_equal(one, other)
        else:
            assert one == other


@pytest.mark.parametrize("costs", [DEAR_WRITES, DEAR_READS])
def test_reads_and_writes_are_those_that_were_counted(costs: ShuffleCosts, tmp_path: Path) -> None:
    """The choice rests on what happens: each request that was priced is made, and no other."""
    inputs, outputs = 9, 16
    form = cheapest(inputs, outputs, costs)
    assert form.stages == (2 if costs is DEAR_READS else 1)
    plan = plan_of(shuffled(inputs, outputs), costs)
    store = open_store(StoreAccess(tmp_path.as_uri()))
    run(plan, store)
    writes, reads, *_ = store.usage.read()
    joins = results = outputs
    assert writes == form.writes + joins
    assert reads == form.reads + results
    assert f"{form.reads:,} reads" in plan.notes[0]


@pytest.mark.parametrize("costs", [DEAR_WRITES, DEAR_READS])
def test_no_unit_reads_more_than_is_reserved_for_it(costs: ShuffleCosts) -> None:
    """What a call may cost is set aside before it is sent."""
    plan = plan_of(shuffled(9, 16), costs)
    form = cheapest(9, 16, costs)
    assert sum(most_reads(unit, plan.units) for unit in plan.units) >= form.reads


def test_the_plan_says_what_was_chosen() -> None:
    """One sentence for each shuffle."""
    (once,), (twice,) = plan_of(shuffled(9, 16), DEAR_WRITES).notes, plan_of(shuffled(9, 16), DEAR_READS).notes
    assert "9 partitions to 16" in once and "once" in once
    assert "twice" in twice and "instead of" in twice
    assert plan_of(dd.from_map(make, range(3), meta=make(0)), DEAR_READS).notes == ()


@pytest.mark.parametrize("by_key", [False, True])
def test_only_partitions_that_are_asked_for_travel(by_key: bool) -> None:
    """Two partitions of sixteen, chosen by the expression or by their keys: no unit writes the rows of the others."""
    store, everything = open_store(StoreAccess("memory://")), open_store(StoreAccess("memory://"))
    few, whole = (2, 7), dd.from_map(many, range(9), meta=many(0)).shuffle("k", npartitions=16)
    plan = plan_of(whole, DEAR_READS, few) if by_key else plan_of(whole.partitions[list(few)], DEAR_READS)
    partitions = run(plan_of(whole, DEAR_READS), everything)
    for one, number in zip(run(plan, store), few, strict=True):
        pd.testing.assert_frame_equal(one, partitions[number])
    assert store.usage.read()[2] < everything.usage.read()[2] / 4


@pytest.mark.parametrize("places", [(3, 0), (2,), (1, 1, 0, 2, 3)])
def test_keys_stand_for_what_was_asked_for(places: tuple[int, ...]) -> None:
    """A few partitions, in any order and more than once: their keys are renamed, never mixed up."""
    table = shuffled(3, 4).assign(y=1)
    whole = run(plan_of(table, DEAR_WRITES), open_store(StoreAccess("memory://")))
    found = run(plan_of(table, DEAR_WRITES, places), open_store(StoreAccess("memory://")))
    for one, place in zip(found, places, strict=True):
        pd.testing.assert_frame_equal(one, whole[place])


def test_both_shuffles_of_a_merge_are_staged() -> None:
    """Each by itself; the rows that meet are those that meet in one stage."""
    table = dd.from_map(make, range(9), meta=make(0))
    merged = table.merge(table.rename(columns={"x": "y"})[["k", "y"]], on="k", npartitions=16)
    once, twice = plan_of(merged, DEAR_WRITES), plan_of(merged, DEAR_READS)
    assert ["twice" in note for note in twice.notes] == [True, True]
    for one, other in zip(
        run(once, open_store(StoreAccess("memory://"))), run(twice, open_store(StoreAccess("memory://"))), strict=True
    ):
        pd.testing.assert_frame_equal(one, other)


MEASURE = """
import resource
import dask.dataframe as dd, pandas as pd
from cloudoffload.graph.expression import materialize
from cloudoffload.graph.planner import make_plan
from cloudoffload.graph.shuffle_costs import ShuffleCosts
from dask.base import collections_to_expr
from dask.core import flatten

def make(number):
    return pd.DataFrame({"k": [1], "x": [1.0]})

def plan(n, costs):
    table = dd.from_map(make, range(n), meta=make(0))
    other = dd.from_map(make, range(n), meta=make(0)).assign(x=2.0)
    expr = collections_to_expr((table.merge(other, on="k", npartitions=n),)).optimize()
    return make_plan(*materialize(expr, expr.__dask_keys__()), shuffle_costs=costs)

plan(10, COSTS)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
units = plan(1000, COSTS).units
print(len(units), sum(len(unit.inputs) for unit in units), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("costs", ["ShuffleCosts()", "ShuffleCosts(read_usd=1.0)"])
def test_a_thousand_by_a_thousand_partitions_are_planned_in_little_memory(costs: str) -> None:
    """Two shuffles of a million parts each: a few thousand units and edges, and less than 200 MB."""
    script = MEASURE.replace("COSTS", costs)
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True)
    units, edges, kilobytes = map(int, done.stdout.split())
    assert units < 8000 and edges < 12_000
    assert kilobytes < 200 * 1024
