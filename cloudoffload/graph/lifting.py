"""Data that a graph holds inline is stored once, and units refer to it.

A DataFrame inside a task would otherwise be pickled into the program that every worker reads whole. Slices of an array
are cut here, so that a worker fetches its block and not the array.
"""

from __future__ import annotations

import operator
from typing import Any

from dask._task_spec import DataNode, GraphNode, Task, TaskRef
from dask.sizeof import sizeof

from cloudoffload.types import Key

SMALL = 2048
"""Values up to this size stay in the program, bytes: a reference costs nearly as much."""

SCALARS = frozenset({int, float, bool, complex, type(None), slice})
"""Types of which every value is small, and refers to nothing."""

_SLICERS = frozenset({"getter", "getter_nofancy", "getter_inline"})


class Data:
    """Data of a plan, each value once.

    Attributes
    ----------
    values : list
        In the order of their numbers.
    """

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[int, int] = {}

    def number(self, value: Any) -> int:
        """Number of a value; the same object has one number."""
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self.values)
            self.values.append(value)  # also keeps the object alive, so that its id stays its own
        return number


def is_small(value: Any) -> bool:
    """Whether a value may travel inside the program."""
    kind = type(value)
    if kind in SCALARS:
        return True
    if kind in (str, bytes, bytearray):
        return len(value) <= SMALL
    if kind in (list, tuple, set, frozenset, dict) and not value:
        return True
    try:
        if hasattr(kind, "dtypes") and not len(value):
            return True  # the ``meta`` of a frame: nearly every task of a dataframe carries one
        nbytes = getattr(value, "nbytes", None)
        if type(nbytes) is int and nbytes > SMALL:
            return False
        return int(sizeof(value)) <= SMALL
    except Exception:  # noqa: BLE001 - a user's own property may raise anything; such an object stays where it is
        return True


def nbytes_of(value: Any) -> int:
    """Estimated size of a value, bytes."""
    return int(sizeof(value))


def lift(nodes: list[tuple[Key, GraphNode]], data: Data) -> tuple[list[tuple[Key, GraphNode]], dict[Key, int]]:
    """Take the data out of a unit's nodes.

    Returns
    -------
    nodes : list of (key, node)
        With references instead of data.
    inputs : dict
        Number of the datum behind each new name.
    """
    kept: list[tuple[Key, GraphNode]] = []
    inputs: dict[Key, int] = {}
    arrays: dict[Key, Any] = {}
    for key, node in nodes:
        if type(node) is DataNode:
            if is_small(node.value):
                kept.append((key, node))
            else:
                arrays[key] = node.value
            continue
        if arrays and (block := _slice_of(node, arrays)) is not None:
            node = DataNode(key, block)
            if is_small(block):
                kept.append((key, node))
            else:
                inputs[key] = data.number(block)
            continue
        for name in node.dependencies & arrays.keys():
            inputs[name] = data.number(arrays[name])
        kept.append((key, _without_literals(node, data, inputs)))
    last = nodes[-1][0]
    if last in arrays:
        inputs[last] = data.number(arrays[last])
    return kept, inputs


def _slice_of(node: GraphNode, arrays: dict[Key, Any]) -> Any:
    """The block that a slicing task takes of an array that lies here, or None."""
    if type(node) is not Task or node.kwargs or len(node.args) < 2 or not isinstance(node.args[0], TaskRef):
        return None
    array = arrays.get(node.args[0].key)
    if type(array).__module__ != "numpy" or isinstance(node.args[1], (GraphNode, TaskRef)):
        return None
    if node.func is operator.getitem or getattr(node.func, "__name__", "") in _SLICERS:
        return node.func(array, *node.args[1:])
    return None


def _without_literals(node: GraphNode, data: Data, inputs: dict[Key, int]) -> GraphNode:
    if type(node) is not Task:
        return node
    if not any(_is_large(item) for item in (*node.args, *node.kwargs.values())):
        return node

    def replaced(item: Any) -> Any:
        if not _is_large(item):
            return item
        number = data.number(item)
        name = ("cloudoffload-datum", number)
        inputs[name] = number
        return TaskRef(name)

    arguments = [replaced(item) for item in node.args]
    keywords = {name: replaced(item) for name, item in node.kwargs.items()}
    return Task(node.key, node.func, *arguments, **keywords)


def _is_large(item: Any) -> bool:
    kind = type(item)
    if kind in SCALARS or isinstance(item, (GraphNode, TaskRef)) or callable(item):
        return False  # a callable may be large too, but functions travel with the program
    # Looked up on the type: an object's own property may compute, or raise.
    plain = kind in (bytes, bytearray, str, list, dict) or hasattr(kind, "nbytes") or hasattr(kind, "memory_usage")
    return plain and not is_small(item)
