"""Where in a value something lies: for the message that refuses it."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterator
from typing import Any

_MOST = 1_000_000
"""Items to look at; a message is not worth more."""


def place(value: Any, item: Any) -> str:
    """Where an item of a value is found first, such as ``item 3 of a list``; empty for the value itself.

    Empty too where it is nothing that the value holds, but a part of how it is written.
    """
    seen: set[int] = set()
    pending: list[tuple[Any, str]] = [(value, "")]
    for _ in range(_MOST):
        if not pending:
            break
        holder, where = pending.pop()
        if holder is item:
            return where
        if id(holder) in seen:
            continue
        seen.add(id(holder))
        within = where or _name(holder)
        pending.extend(reversed([(child, f"{label} of {within}") for label, child in _children(holder)]))
    return ""


def _children(holder: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(holder, (list, tuple)):
        yield from ((f"item {n}", item) for n, item in enumerate(holder))
    elif isinstance(holder, dict):
        for key, item in holder.items():
            yield f"the value of {reprlib.repr(key)}", item
            yield "a key", key
    elif isinstance(holder, (set, frozenset)):
        yield from (("an item", item) for item in holder)
    elif _is(holder, "numpy", "ndarray") and holder.dtype.kind == "O":
        yield from ((f"element {n}", item) for n, item in enumerate(holder.reshape(-1)))
    elif _is(holder, "pandas", "DataFrame"):
        from cloudoffload.wire.frames import blocks_of

        for places, values in blocks_of(holder):
            rows = values if len(places) > 1 or getattr(values, "ndim", 1) > 1 else [values]
            yield from ((f"column {reprlib.repr(holder.columns[n])}", row) for n, row in zip(places, rows, strict=True))
        yield "the index", holder.index
    elif _is(holder, "pandas", "Series", "Index"):
        yield "the name", holder.name
        yield "the values", holder.array if not _is_numpy(holder) else holder.to_numpy()
        if _is(holder, "pandas", "Series"):
            yield "the index", holder.index


def _is_numpy(holder: Any) -> bool:
    return isinstance(holder.dtype, sys.modules["numpy"].dtype)


def _is(holder: Any, package: str, *names: str) -> bool:
    module = sys.modules.get(package)
    return module is not None and isinstance(holder, tuple(getattr(module, name) for name in names))


def _name(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"
