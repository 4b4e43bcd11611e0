"""Random graphs of Dask tasks, in every form that Dask and its users write them, and keys asked of them."""

from __future__ import annotations

import operator
import zlib
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from dask._task_spec import (
    Alias,
    DataNode,
    GraphNode,
    Task,
    TaskRef,
    _execute_subgraph,
    cull,
    fuse_linear_task_spec,
    parse_input,
)
from hypothesis import strategies as st

from cloudoffload.graph.expression import materialize
from cloudoffload.types import Key

Point = namedtuple("Point", "x y")

RAN: list[int] = []
"""Marks of the tasks that have run, in their order."""

KEYS: tuple[Key, ...] = (
    *("a", "b-1", "c", "d", "e", ("x", 0), ("x", 1), ("x", ("y", 2), 1.5), b"raw", "", 7, 2.5, 1, ("x", 0, 0)),
    *("f", "g", "h-i", ("z", "a"), 0, -3),
)
_TWINS: dict[Key, list[Key]] = {1: [True, 1.0], 0: [False, 0.0], ("x", 1): [("x", True), ("x", 1.0)]}
"""Keys that are equal to another one."""

_PLAIN: tuple[Any, ...] = (
    *(None, False, True, 0, 1, -7, 2.5, "", "text", b"", (), [], {}, [1, [2, "b-1"]], (1, 2, 3), {"a": 1, 1: 2}, ...),
    *(slice(1, 3), np.int64(3), np.arange(5), Point(1, 2)),
)
_LARGE: tuple[Any, ...] = (
    *(list(range(1000)), "y" * 5000, b"x" * 5000, tuple(range(600)), dict.fromkeys(range(500))),
    *(np.arange(600.0), np.arange(900).reshape(30, 30)),
)
_VALUES = st.sampled_from([*_PLAIN, *_LARGE])
_ARRAYS = st.sampled_from([value for value in (*_PLAIN, *_LARGE) if isinstance(value, np.ndarray)])
_MARKS = 10_000  # from here on: no literal and no key is such a number


def told(mark: int, *items: Any, **named: Any) -> str:
    """Short text that depends on every bit of all arguments."""
    RAN.append(mark)
    return f"{zlib.crc32(described((items, named)).encode()):x}"


def three(mark: int, *items: Any) -> tuple[Any, ...]:
    """A tuple of values, one of them an argument as it came."""
    return told(mark, *items), None, items[-1] if items else 0


def table(mark: int, *items: Any) -> dict[Any, Any]:
    """A mapping with names of several types."""
    return {"a": told(mark, *items), 1: False, "": [], "large": "z" * 3000}


def row(mark: int, *items: Any) -> list[Any]:
    """A list with a large item."""
    return [told(mark, *items), np.arange(700), ()]


def passed(mark: int, *items: Any) -> Any:
    """The last argument as it came."""
    RAN.append(mark)
    return items[-1] if items else None


def lazy(mark: int, *items: Any) -> Iterator[Any]:
    """An iterator, as a bag's partition may be; its items are made when they are asked for."""
    RAN.append(mark)
    return (described(item) for item in (1, *items, None))


def drained(mark: int, items: Any) -> str:
    """The only reader of an iterator."""
    return told(mark, list(items))


_ITEMS: dict[Any, tuple[Any, ...]] = {
    three: (0, 1, 2, -1, slice(2)),
    table: ("a", 1, "", True, "large"),
    row: (0, 1, 2, -2),
}
"""What can be read of the values that these make."""


def described(value: Any) -> str:
    """Text that two values share only if they are equal in type and content."""
    kind = type(value).__name__
    if isinstance(value, np.ndarray):
        return f"{kind} {value.dtype} {value.shape} {value.tolist()}"
    if isinstance(value, dict):
        return f"{kind}{[(described(name), described(item)) for name, item in value.items()]}"
    if isinstance(value, (set, frozenset)):
        return f"{kind}{sorted(map(described, value))}"
    if isinstance(value, (list, tuple, Iterator)):
        return f"{'list' if isinstance(value, Iterator) else kind}{[described(item) for item in value]}"
    return f"{kind} {value!r}"


@dataclass(frozen=True)
class Case:
    """A graph, and what is asked of it."""

    tasks: dict[Key, GraphNode]
    wanted: list[Key]

    def __repr__(self) -> str:
        lines = [f"{key!r}: {_shown(node)}" for key, node in self.tasks.items()]
        return f"{self.wanted} of\n    " + "\n    ".join(lines)


class _Growing:
    """A graph while it is drawn; each of its nodes refers to earlier ones."""

    def __init__(self, draw: st.DrawFn, keys: list[Key]) -> None:
        self.draw = draw
        self.keys = keys  # of the graph, when it is complete
        self.graph: dict[Key, Any] = {}
        self.texts: list[Key] = []  # values that are texts, which a set can hold
        self.items: dict[Key, list[Any]] = {}  # which items a value has
        self.readable: list[Key] = []
        self.asked: list[Key] = []  # what the caller wants in any case
        self._marks = _MARKS

    def mark(self) -> int:
        self._marks += 1
        return self._marks

    def key(self) -> Key:
        """Some earlier key, often the latest, so that there are chains; or one that is equal to it."""
        key = self.draw(st.sampled_from([*self.readable, *self.readable[-1:] * 4]))
        chosen: Key = self.draw(st.sampled_from([key, key, key, *_TWINS.get(key, ())]))
        return chosen

    def argument(self, depth: int = 2) -> Any:
        """A value, a reference, or a collection of such."""
        kind = self.draw(st.sampled_from(["ref"] * 5 + ["value", "list", "tuple", "dict", "set", "point", "task"]))
        if kind == "value" or not self.readable:
            return self.draw(_VALUES)
        if kind == "ref" or not depth:
            return TaskRef(self.key())
        if kind == "dict":
            return parse_input({name: self.argument(depth - 1) for name in self.draw(_names(["k", 1, 2.5, "b-1"]))})
        if kind == "set":
            return parse_input({"s", *(TaskRef(key) for key in self.draw(_names(self.texts)))})
        if kind == "point":
            return parse_input(Point(self.argument(0), self.argument(depth - 1)))
        if kind == "task":
            return Task(
                None, self.draw(st.sampled_from([told, three, passed])), self.mark(), *self.arguments(depth - 1)
            )
        items = self.arguments(depth - 1)
        return parse_input(items if kind == "list" else tuple(items))

    def arguments(self, depth: int = 2) -> list[Any]:
        return [self.argument(depth) for _ in range(self.draw(st.sampled_from([1, 1, 2, 3, 0])))]

    def add(self, key: Key, node: Any, items: list[Any] | None = None) -> None:
        self.graph[key] = node
        self.readable.append(key)
        if items is not None:
            self.items[key] = items

    # What a node may be

    def data(self, key: Key) -> None:
        value = self.draw(_VALUES)
        self.add(key, DataNode(key, value), _items_of(value))

    def call(self, key: Key) -> None:
        named = {name: self.argument(1) for name in self.draw(_names(["part", "key", "typ"]))}
        self.add(key, Task(key, told, self.mark(), *self.arguments(), **named))
        self.texts.append(key)

    def several(self, key: Key) -> None:
        function = self.draw(st.sampled_from([three, table, row]))
        self.add(key, Task(key, function, self.mark(), *self.arguments()), list(_ITEMS[function]))

    def split(self, key: Key) -> None:
        """Items of a value and one who reads them; who only reads items may get them without the others."""
        function = self.draw(st.sampled_from([three, table, row]))
        self.graph[source := ("source", key)] = Task(("source", key), function, self.mark(), *self.arguments())
        items = self.draw(st.lists(st.sampled_from(_ITEMS[function]), min_size=2, max_size=3))
        for i, item in enumerate(items):
            self.add(("item", key, i), Task(("item", key, i), operator.getitem, TaskRef(source), item))
        self.add(key, Task(key, told, self.mark(), *(TaskRef(("item", key, i)) for i in range(len(items)))))
        if self.draw(st.integers(0, 3)) == 0:
            self.readable.append(source)
        if self.draw(st.integers(0, 3)) == 0:
            # Who asks for an item under another name gets it of the whole value.
            self.add(("asked", key), Alias(("asked", key), ("item", key, 0)))
            self.asked.append(("asked", key))

    def same(self, key: Key) -> None:
        target = self.key()
        node: Any = Alias(key, target) if self.draw(st.booleans()) else Task(key, passed, self.mark(), TaskRef(target))
        self.add(key, node, self.items.get(target))

    def item(self, key: Key) -> None:
        sources = [source for source in self.items if self.items[source]]
        if not sources:
            return self.several(key)
        source = self.draw(st.sampled_from(sources))
        item = self.draw(st.sampled_from(self.items[source]))
        reference = self.draw(st.sampled_from([TaskRef(source), Alias(source)]))
        self.add(key, Task(key, operator.getitem, reference, item))
        return None

    def container(self, key: Key) -> None:
        node = parse_input([TaskRef(self.key()), *self.arguments()])
        node.key = key
        self.add(key, node, [0])

    def legacy(self, key: Key) -> None:
        names = [self.key() for _ in range(2)]
        nested = (told, self.mark(), names[0], [names[1], "text"])
        self.add(
            key,
            self.draw(
                st.sampled_from(
                    [
                        (told, self.mark(), nested, {"k": names[0]}, names[1]),
                        [names[0], names, nested],
                        (three, self.mark(), names),
                        names[0],
                    ]
                )
            ),
        )

    def fused(self, key: Key) -> None:
        """A chain of tasks in one, whose inner names may be those of other tasks outside, or inside of others."""
        count = self.draw(st.integers(2, 4))
        pool = [*self.keys, "__dask_blockwise__0", "__dask_blockwise__1", "inner"]
        names = self.draw(st.lists(st.sampled_from(pool), min_size=count, max_size=count, unique=True))
        if self.draw(st.booleans()) and key not in names:
            names[-1] = key
        outside = [name for name in [*self.readable, *self.readable[-1:] * 4] if name not in names]
        inner: list[GraphNode] = []
        for i, name in enumerate(names):
            before = TaskRef(names[i - 1])
            reads: bool = self.draw(st.booleans())
            read = [TaskRef(self.draw(st.sampled_from(outside)))] if outside and reads else []
            if not i:
                data = DataNode(name, self.draw(st.one_of(_VALUES, _ARRAYS)))
                inner.append(self.draw(st.sampled_from([data, Task(name, row, self.mark(), *read)])))
            elif i == 1 and isinstance(inner[0], DataNode) and isinstance(inner[0].value, np.ndarray):
                inner.append(
                    Task(name, operator.getitem, before, self.draw(st.sampled_from([slice(3), slice(1, None)])))
                )
            elif self.draw(st.integers(0, 4)) == 0:
                inner.append(Alias(name, names[i - 1]))
            else:
                inner.append(
                    Task(name, three, self.mark(), before, *read, TaskRef(names[self.draw(st.integers(0, i - 1))]))
                )
        whole = isinstance(inner[-1], Task) and inner[-1].func is three
        self.add(key, GraphNode.fuse(*inner, key=key), [0, 2, slice(2)] if whole else None)

    def lazily(self, key: Key) -> None:
        """An iterator and its only reader."""
        self.graph[name := ("lazy", key)] = Task(("lazy", key), lazy, self.mark(), *self.arguments(1))
        if self.draw(st.booleans()):
            self.graph[other := ("lazy-alias", key)] = Alias(("lazy-alias", key), name)
            name = other
        self.add(key, Task(key, drained, self.mark(), TaskRef(name)))
        self.texts.append(key)

    def spread(self, key: Key) -> None:
        """A value that several tasks read and nobody else, with the same names inside, and one who reads these."""
        source = TaskRef(("spread", key))
        self.add(source.key, Task(source.key, self.draw(st.sampled_from([three, row])), self.mark()))
        self.readable.remove(source.key)
        readers = [("reader", key, i) for i in range(self.draw(st.integers(2, 3)))]
        for reader in readers:
            inner = self.draw(st.sampled_from(["__dask_blockwise__0", "inner", source.key, *readers, *self.keys]))
            own = self.draw(_VALUES)
            forms: list[GraphNode] = [
                Task(reader, told, self.mark(), source, own),
                GraphNode.fuse(
                    Task(inner, three, self.mark(), source, own),
                    Task("last", told, self.mark(), TaskRef(inner)),
                    key=reader,
                ),
            ]
            self.graph[reader] = self.draw(st.sampled_from(forms if inner not in (source.key, reader) else forms[:1]))
        self.add(key, Task(key, told, self.mark(), *map(TaskRef, readers)))
        self.texts.append(key)


@st.composite
def graphs(draw: st.DrawFn, *, most: int = 12) -> Case:
    """A graph and the keys that are asked of it, some of them more than once."""
    keys = draw(
        st.lists(st.sampled_from(KEYS), min_size=draw(st.sampled_from([1, most, most])), max_size=most, unique=True)
    )
    growing = _Growing(draw, keys)
    for key in keys:
        kinds = [growing.data, growing.call, growing.several]
        if growing.readable:
            kinds += [growing.fused] * 3 + [growing.call, growing.same, growing.same, growing.item, growing.split]
            kinds += [growing.container, growing.legacy, growing.lazily, growing.data] + [growing.spread] * 2
        draw(st.sampled_from(kinds))(key)
    if draw(st.booleans()):
        growing.add("end", Task("end", told, growing.mark(), *(TaskRef(growing.key()) for _ in range(4))))
    wanted = [
        growing.readable[-1],
        *growing.asked,
        *(growing.key() for _ in range(draw(st.sampled_from([0, 0, 1, 3])))),
    ]
    tasks, wanted = materialize(growing.graph, wanted)
    if draw(st.integers(0, 3)) == 0 and all(map(_has_prefix, tasks)):
        # As Dask's own optimizers do to arrays and bags; it also leaves aliases with the names of what it fused.
        tasks = fuse_linear_task_spec(cull(tasks, set(wanted)), set(wanted))
    return Case(tasks, wanted)


def _has_prefix(key: Key) -> bool:
    """Whether Dask's fusion can name what it fuses after this task."""
    return isinstance(key[0] if isinstance(key, tuple) and key else key, str)


def _shown(node: Any) -> str:
    """A node as it must be seen by whoever looks for what went wrong; Dask's own text leaves much of it out."""
    if not isinstance(node, Task):
        text = repr(node)
        return text if len(text) < 80 else f"{text[:80]}..."
    if node.func is _execute_subgraph:
        inner, out, names, *arguments = node.args
        nodes = ", ".join(f"{name!r}: {_shown(item)}" for name, item in inner.items())
        return f"fused {out!r} of {{{nodes}}} with {dict(zip(names, arguments, strict=True))}"
    arguments = [*map(_shown, node.args), *(f"{name}={_shown(item)}" for name, item in node.kwargs.items())]
    return f"{getattr(node.func, '__name__', node.func)}({', '.join(arguments)})"


def _names(names: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(names), max_size=2, unique=True) if names else st.just([])


def _items_of(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray):
        return [slice(2, None), slice(None, None, 2), 1]
    if isinstance(value, dict):
        return list(value)[:2]
    return [0, -1] if isinstance(value, (list, tuple, str)) and value else []
