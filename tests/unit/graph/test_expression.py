"""Promises of turning what Dask hands a scheduler into a plain graph, for delayed values."""

from __future__ import annotations

from typing import Any

import dask
import dask.bag as db
import pytest
from dask._task_spec import Task
from dask.delayed import Delayed
from dask.highlevelgraph import HighLevelGraph

from cloudoffload.graph.expression import materialize
from cloudoffload.graph.planner import make_plan
from cloudoffload.types import Plan


def add(first: int, second: int) -> int:
    return first + second


def handed(*collections: Any) -> tuple[Any, Any]:
    """What Dask hands a scheduler."""
    seen: list[Any] = []

    def get(graph: Any, keys: Any, **options: Any) -> Any:
        seen.append((graph, keys))
        return [None] * len(keys)  # not computed: Dask would keep the graph that it makes for that

    dask.compute(*collections, scheduler=get)
    (found,) = seen
    return found  # type: ignore[no-any-return]


def plan(*collections: Any) -> Plan:
    return make_plan(*materialize(*handed(*collections)))


def test_delayed_values_are_not_culled_layer_by_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask culls each delayed value against the keys of all: quadratic work that the planner does not need."""
    graph, keys = handed(*[dask.delayed(add)(number, 1) for number in range(3)])
    monkeypatch.setattr(HighLevelGraph, "cull", lambda *_: pytest.fail("Dask culled"))
    tasks, wanted = materialize(graph, keys)
    assert list(tasks) == wanted
    assert [tasks[key]() for key in wanted] == [1, 2, 3]


def test_what_nobody_asked_for_does_not_run() -> None:
    """A graph may hold more than the keys need; the rest becomes no unit."""
    wanted = Delayed("wanted", {"wanted": (add, "needed", 1), "needed": (add, 1, 2), "idle": (add, 3, 4)})
    assert [unit.key for unit in plan(wanted).units] == ["wanted"]
    assert dask.compute(wanted) == (4,)


def test_other_optimizers_of_dask_run() -> None:
    """Bags are fused by their own optimizer, also next to delayed values in one computation."""
    bag = db.from_sequence(range(4), npartitions=2).map(add, 1).map(add, 1)
    tasks, _ = materialize(*handed(bag, dask.delayed(add)(1, 1)))
    fused = [key for key, node in tasks.items() if isinstance(node, Task) and "from_sequence-add" in str(key)]
    assert len(fused) == bag.npartitions


def test_a_small_value_that_tasks_share_travels_in_the_program() -> None:
    """It is no input of theirs: nothing is stored, and no reference is sent with each of them."""
    shared = dask.delayed(7)
    found = plan(*[dask.delayed(add)(shared, number) for number in range(3)])
    assert found.data == ()
    assert [unit.inputs for unit in found.units] == [()] * 3
