"""The program of a plan: its units as a worker runs them, pickled once and shipped once.

A unit is a list of steps, in an order that respects their dependencies. A step is a plain tuple rather than Dask's
``Task``: a tuple pickles in C, and a graph of many small tasks is mostly pickling.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import cloudpickle
from dask._task_spec import GraphNode, TaskRef

from cloudoffload.types import Emit, Key

Step: TypeAlias = tuple[Key, Any, tuple[Any, ...], "dict[str, Any] | None", bool, tuple[Key, ...]]
"""(key, function, arguments, keyword arguments, whether arguments refer to other values, values no longer needed).

A step whose function is None holds a graph node as its only argument, which is called with the values.
"""

Entry: TypeAlias = tuple[tuple[Step, ...], Key, tuple[Key, ...], str]
"""(steps, key of the value, names of the inputs in the order of the call's refs, Emit)."""


class Loaded(NamedTuple):
    """A program in a worker."""

    entries: list[Entry]
    nbytes: int


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Finds functions like cloudpickle, and types faster."""

    def __init__(self, stream: io.BytesIO) -> None:
        # cloudpickle looks every type up in a chain of dictionaries, in Python; a plain one is looked up in C. It is
        # made anew each time, because anybody may register a type meanwhile, and before pickle asks for it, once.
        self.dispatch_table: dict[type, Any] = {}
        for table in reversed(cloudpickle.Pickler.dispatch_table.maps):
            self.dispatch_table.update(table)
        super().__init__(stream, 5)


def dump(entries: list[Entry]) -> bytes:
    """Pickle a program; functions of ``__main__`` travel by value, once."""
    stream = io.BytesIO()
    _Pickler(stream).dump(entries)
    return stream.getvalue()


def load(data: memoryview) -> Loaded:
    """Unpickle a program whose digest was verified."""
    return Loaded(pickle.loads(data), len(data))


def run_steps(steps: tuple[Step, ...], out: Key, values: dict[Key, Any]) -> Any:
    """Run a unit's steps over its inputs.

    Parameters
    ----------
    steps : tuple of Step
        In topological order.
    out : Key
        Whose value is wanted.
    values : dict
        The inputs by key; used as scratch.
    """
    for key, function, arguments, keywords, refers, done in steps:
        if function is None:
            node: GraphNode = arguments[0]
            values[key] = node(values)
        elif not refers:
            values[key] = function(*arguments, **keywords) if keywords else function(*arguments)
        else:
            actual = [_argument(item, values) for item in arguments]
            if keywords:
                values[key] = function(*actual, **{name: _argument(item, values) for name, item in keywords.items()})
            else:
                values[key] = function(*actual)
            del actual
        for name in done:
            del values[name]
    return values[out]


def settled(value: Any) -> Any:
    """The value, or all that an iterator yields: a lazy partition of a bag can't cross the wire, nor be read twice."""
    return list(value) if isinstance(value, Iterator) and not isinstance(value, io.IOBase) else value


def gathered(*values: Any) -> tuple[Any, ...]:
    """Several values of one unit."""
    return tuple(map(settled, values))


def _argument(item: Any, values: dict[Key, Any]) -> Any:
    if isinstance(item, TaskRef):
        return values[item.key]
    if isinstance(item, GraphNode):
        return item({key: values[key] for key in item.dependencies})
    return item


def entry(steps: tuple[Step, ...], out: Key, names: tuple[Key, ...], emit: Emit) -> Entry:
    """One unit of a program."""
    return steps, out, names, emit._value_  # `value` is a property, ten times as slow
