"""What reads a single value runs where that value is made, as long as there are enough of a kind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from dask._task_spec import Alias, DataNode, GraphNode, Task, TaskRef

from cloudoffload.graph.planner import make_plan
from cloudoffload.types import Emit, Key, Plan, Requirements
from tests.unit.graph.executing import Bench


def load(number: int) -> list[int]:
    """A partition."""
    return [number, 10 * number]


def lazy(number: int) -> Iterator[int]:
    """A partition whose items are made when they are asked for."""
    return iter(load(number))


def from_file(path: str, number: int) -> list[int]:
    """A partition from a file."""
    return load(number)


def total(items: Any) -> int:
    """One reader's answer."""
    return sum(items)


def most(items: Any) -> int:
    """Another one's."""
    return max(items)


def added(*items: Any) -> int:
    """What several values come to, numbers or lists of them."""
    return sum(item if isinstance(item, int) else sum(item) for item in items)


def partitions(count: int, make: Any = load) -> dict[Key, GraphNode]:
    """Partitions that two tasks read each, whose answers are added up by kind."""
    tasks: dict[Key, GraphNode] = {}
    for i in range(count):
        tasks["load", i] = Task(("load", i), make, i)
        tasks["total", i] = Task(("total", i), total, TaskRef(("load", i)))
        tasks["most", i] = Task(("most", i), most, TaskRef(("load", i)))
    for name in ("total", "most"):
        tasks[f"all-{name}"] = Task(f"all-{name}", added, *(TaskRef((name, i)) for i in range(count)))
    return tasks


WANTED: list[Key] = ["all-total", "all-most"]


def prefixes(plan: Plan) -> set[str]:
    """Of all units."""
    return {unit.prefix for unit in plan.units}


def answers(plan: Plan, folder: Path) -> list[Any]:
    """The values that were asked for."""
    return Bench(folder).run(plan, sorted(range(len(plan.units)), key=lambda i: plan.units[i].priority), 100)


def test_readers_run_where_their_value_is_made(tmp_path: Path) -> None:
    """One unit for each partition; who reads an answer takes its part."""
    plan = make_plan(partitions(4), WANTED, width=4)
    assert [unit.prefix for unit in plan.units].count("load+most+total") == 4
    assert len(plan.units) == 4 + len(WANTED)
    assert {unit.emit for unit in plan.units if unit.prefix == "load+most+total"} == {Emit.PARTS}
    assert answers(plan, tmp_path) == [66, 60]


@pytest.mark.parametrize(("count", "bundled"), [(63, 0), (64, 64)])
def test_where_very_many_run_at_a_time_fewer_are_enough(count: int, bundled: int) -> None:
    """A cloud of a thousand functions need not be full."""
    plan = make_plan(partitions(count), WANTED, width=1000)
    assert [unit.prefix for unit in plan.units].count("load+most+total") == bundled


def test_equal_names_are_told_apart_by_their_tokens(tmp_path: Path) -> None:
    """What Dask calls ``load-<token>`` is the same only if the token is."""
    tasks: dict[Key, GraphNode] = {}
    for token, factor in (("0123456789abcdef", 1), ("fedcba9876543210", 100)):
        graph = partitions(2)
        for i in range(2):
            graph["load", i] = Task(("load", i), load, factor * i)
        names = {key: (f"{key[0]}-{token}", *key[1:]) if isinstance(key, tuple) else f"{key}-{token}" for key in graph}
        tasks |= {names[key]: node.substitute(names, key=names[key]) for key, node in graph.items()}
    wanted: list[Key] = ["all-total-0123456789abcdef", "all-most-fedcba9876543210"]
    tasks["end"] = Task("end", added, *map(TaskRef, [key for key in tasks if "all" in str(key)]))
    plan = make_plan(tasks, [*wanted, "end"], width=4)
    assert [unit.prefix for unit in plan.units].count("load+most+total") == 4
    assert answers(plan, tmp_path) == [11, 1000, 11 + 10 + 1100 + 1000]


def test_few_stay_apart(tmp_path: Path) -> None:
    """Workers that have nothing else to do run the readers of one value side by side."""
    plan = make_plan(partitions(4), WANTED, width=5)
    assert prefixes(plan) == {"load", "total", "most", "all-total", "all-most"}
    assert answers(plan, tmp_path) == [66, 60]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(Task("other", added, TaskRef(("load", 0)), TaskRef(("load", 1))), id="read with another one"),
        pytest.param(Alias("other", ("load", 0)), id="asked for"),
    ],
)
def test_a_value_that_somebody_else_needs_is_stored_for_all(other: GraphNode, tmp_path: Path) -> None:
    """It is written then in any case, and reading it side by side costs little more."""
    plan = make_plan(partitions(2) | {"other": other}, [*WANTED, "other"], width=1)
    assert "load+most+total" not in prefixes(plan) or [unit.prefix for unit in plan.units].count("load") == 1
    assert "load" in prefixes(plan)
    values = answers(plan, tmp_path)
    assert values[:2] == [11, 10]


def test_a_reader_that_is_asked_for_stays_a_unit(tmp_path: Path) -> None:
    """A result is data that the client decodes as a whole."""
    plan = make_plan(partitions(2), [*WANTED, ("total", 0)], width=1)
    assert answers(plan, tmp_path) == [11, 10, 0]
    assert {unit.key for unit in plan.units if unit.requested} == {*WANTED, ("total", 0)}


def test_readers_of_a_lazy_partition_each_find_all_of_it(tmp_path: Path) -> None:
    """The first one does not use it up."""
    plan = make_plan(partitions(4, lazy), WANTED, width=1)
    assert "load+most+total" in prefixes(plan)
    assert answers(plan, tmp_path) == [66, 60]


def test_names_inside_of_readers_are_their_own(tmp_path: Path) -> None:
    """Dask calls what it fuses alike everywhere; data outside, and other readers, may have such a name, too."""
    tasks = partitions(2)
    for i in range(2):
        for name in ("total", "most"):
            first = Task("inner", added, TaskRef(("load", i)), TaskRef("five"))
            second = Task(("last", i), added, TaskRef("inner"), 1000 if name == "most" else 1)
            tasks[name, i] = GraphNode.fuse(first, second, key=(name, i))
    tasks["five"] = DataNode("five", 5)
    tasks["inner"] = DataNode("inner", [7] * 500)
    tasks["all-most"] = Task("all-most", added, TaskRef(("most", 0)), TaskRef(("most", 1)), TaskRef("inner"))
    plan = make_plan(tasks, WANTED, width=1)
    assert "load+most+total" in prefixes(plan)
    assert answers(plan, tmp_path) == [11 + 2 * 5 + 2, 11 + 2 * 5 + 2000 + 3500]


def test_a_reader_through_an_alias_is_a_reader(tmp_path: Path) -> None:
    """The name of the value does not matter."""
    tasks = partitions(2)
    for i in range(2):
        tasks["same", i] = Alias(("same", i), ("load", i))
        tasks["most", i] = Task(("most", i), most, TaskRef(("same", i)))
    plan = make_plan(tasks, WANTED, width=1)
    assert "load+most+total" in prefixes(plan)
    assert answers(plan, tmp_path) == [11, 10]


def test_many_readers_stay_apart() -> None:
    """One after the other they would take long."""
    tasks: dict[Key, GraphNode] = {}
    for i in range(4):
        tasks["load", i] = Task(("load", i), load, i)
        for j in range(9):
            tasks["total", i, j] = Task(("total", i, j), total, TaskRef(("load", i)))
    tasks["all"] = Task("all", added, *(TaskRef(key) for key in tasks if key[0] == "total"))  # type: ignore[index]
    assert prefixes(make_plan(tasks, ["all"], width=1)) == {"load", "total", "all"}


@pytest.mark.parametrize("prefix", ["load", "most"])
def test_what_has_requirements_of_its_own_stays_a_unit(prefix: str) -> None:
    """Neither is the demand lost, nor does it hold for others."""
    rules = {prefix: Requirements(memory_mb=2000)}
    plan = make_plan(partitions(4), WANTED, width=1, rules=rules)
    assert {unit.prefix for unit in plan.units if unit.requirements.memory_mb} == {prefix}


def test_what_has_to_run_here_keeps_nobody_else_here(tmp_path: Path) -> None:
    """A partition comes from a file of this machine; what is asked of it may go to a cloud."""
    (tmp_path / "file").touch()
    tasks = partitions(4)
    for i in range(4):
        tasks["load", i] = Task(("load", i), from_file, str(tmp_path / "file"), i)
    plan = make_plan(tasks, WANTED, width=1)
    assert {unit.prefix for unit in plan.units if unit.here_because} == {"load"}
    alone = make_plan(tasks, WANTED, width=1, one_place=True)
    assert {unit.prefix for unit in alone.units if unit.here_because} == {"load+most+total"}


def test_equal_requirements_do_not_keep_anybody_apart() -> None:
    """They hold for the bundle."""
    rules = {name: Requirements(memory_mb=2000) for name in ("load", "most", "total")}
    plan = make_plan(partitions(4), WANTED, width=1, rules=rules)
    assert {unit.requirements.memory_mb for unit in plan.units if "+" in unit.prefix} == {2000}


def test_all_names_stand_in_that_of_the_bundle() -> None:
    """Also names with hyphens, after which Dask's own reading of a key would end."""
    tasks: dict[Key, GraphNode] = {}
    for i in range(2):
        tasks["read-csv-0123456789abcdef", i] = Task(("read-csv-0123456789abcdef", i), load, i)
        for name in ("sum-chunk-0123456789abcdef", "max-chunk-fedcba9876543210"):
            tasks[name, i] = Task((name, i), total, TaskRef(("read-csv-0123456789abcdef", i)))
    tasks["all"] = Task("all", added, *map(TaskRef, [key for key in tasks if "chunk" in str(key)]))
    assert prefixes(make_plan(tasks, ["all"], width=1)) == {"read-csv+max-chunk+sum-chunk", "all"}
