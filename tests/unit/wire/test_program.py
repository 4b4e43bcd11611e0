"""A program: what a plan's units do, shipped once and run by a worker."""

from __future__ import annotations

import copyreg
import gc
import weakref
from typing import Any

from dask._task_spec import List, Task, TaskRef

from cloudoffload.types import Emit
from cloudoffload.wire.program import dump, entry, load, run_steps


def add(x: int, y: int = 0) -> int:
    return x + y


def run(*steps: Any, out: str, **inputs: Any) -> Any:
    """The value after a trip through bytes, as a worker runs it."""
    program = load(memoryview(dump([entry(steps, out, tuple(inputs), Emit.VALUE)])))
    loaded, key, names, emit = program.entries[0]
    assert names == tuple(inputs) and emit == "value"
    return run_steps(loaded, key, dict(zip(names, inputs.values(), strict=True)))


def test_steps_run_over_the_inputs_in_order() -> None:
    """Plain calls, arguments and keywords that refer to other values, and an input as it is."""
    total = run(
        ("a", add, (1,), None, False, ()),
        ("b", add, (TaskRef("a"), TaskRef("x")), None, True, ()),
        ("c", add, (TaskRef("b"),), {"y": TaskRef("a")}, True, ()),
        ("d", add, (2,), {"y": 3}, False, ()),
        ("e", sum, (List(TaskRef("c"), TaskRef("d"), 100),), None, True, ()),
        out="e",
        x=10,
    )
    assert total == 100 + (11 + 1) + 5


def test_a_node_of_dask_can_be_a_step() -> None:
    """What has no short form runs as the node that it is."""
    node = Task("b", add, TaskRef("x"), y=5)
    assert run(("b", None, (node,), None, True, ()), out="b", x=1) == 6


def test_functions_that_exist_nowhere_else_travel_by_value() -> None:
    """Such as those of a notebook."""
    step = 7
    assert run(("a", lambda x: x + step, (1,), None, False, ()), out="a") == 8


class Block:
    pass


def test_a_value_is_freed_after_its_last_use() -> None:
    """A unit of many steps holds only what later steps need."""
    seen: list[weakref.ref[Block]] = []

    def make() -> Block:
        block = Block()
        seen.append(weakref.ref(block))
        return block

    def alive(_: Any) -> bool:
        gc.collect()
        return seen[0]() is not None

    steps: Any = (
        ("a", make, (), None, False, ()),
        ("b", type, (TaskRef("a"),), None, True, ("a",)),
        ("c", alive, (TaskRef("b"),), None, True, ()),
    )
    assert run_steps(steps, "c", {}) is False


def test_the_size_of_a_program_is_known() -> None:
    """A worker bounds the programs that it keeps by their bytes."""
    data = dump([entry((), "x", ("x",), Emit.VALUE)])
    assert load(memoryview(data)).nbytes == len(data)


class Registered:
    """A class whose instances pickle by a function that was registered for it."""


def test_types_that_were_registered_lately_are_pickled_as_told() -> None:
    """``copyreg`` tells pickle how to write a type; a program asks anew each time."""
    dump([])
    copyreg.pickle(Registered, lambda value: (str, ("registered",)))
    try:
        step = ("value", print, (Registered(),), None, False, ())
        loaded = load(memoryview(dump([entry((step,), "value", (), Emit.VALUE)])))
    finally:
        del copyreg.dispatch_table[Registered]
    assert loaded.entries[0][0][0][2] == ("registered",)
