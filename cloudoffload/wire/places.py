"""Where in a value something lies: for the message that refuses it."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

_MOST = 200_000
"""Items to look at; a message is not worth more."""


class _Step(NamedTuple):
    """How something is reached: the item ``key`` of what ``holder`` leads to."""

    holder: _Step | None
    label: str
    key: Any
    item: Any


def place(value: Any, item: Any) -> str:
    """Where an item of a value is found first, such as ``item 3 of a list``; empty for the value itself.

    Empty too where it is nothing that the value holds, but a part of how it is written.
    """
    seen: dict[int, Any] = {}  # things with their identities: those of things that are gone are given to others
    pending = [_Step(None, "", None, value)]
    for _ in range(_MOST):
        if not pending:
            break
        step = pending.pop()
        if step.item is item:
            return _told(step)
        if seen.setdefault(id(step.item), step) is step:
            pending.extend(_Step(step, *child) for child in reversed(list(_children(step.item))))
    return ""


def _told(step: _Step) -> str:
    words = []
    while step.holder is not None:
        words.append(step.label.format(step.key if type(step.key) is int else reprlib.repr(step.key)))
        step = step.holder
    name = type(step.item).__name__
    return " of ".join([*words, f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"]) if words else ""


def _children(holder: Any) -> Iterator[tuple[str, Any, Any]]:
    """What something holds: in which words, under which key, and the thing itself."""
    if isinstance(holder, (list, tuple)):
        yield from (("item {}", n, item) for n, item in enumerate(holder))
    elif isinstance(holder, dict):
        yield from (("the value of {}", key, item) for key, item in holder.items())
        yield from (("a key", None, key) for key in holder)
    elif isinstance(holder, (set, frozenset)):
        yield from (("an item", None, item) for item in holder)
    elif _is(holder, "numpy", "ndarray") and holder.dtype.kind == "O":
        yield from (("element {}", n, item) for n, item in enumerate(holder.reshape(-1)))
    elif _is(holder, "pandas", "DataFrame"):
        from cloudoffload.wire.frames import blocks_of

        for places, values in blocks_of(holder):
            rows = values if _is(values, "numpy", "ndarray") else [values]
            yield from (("column {}", holder.columns[n], row) for n, row in zip(places, rows, strict=True))
        yield "the index", None, holder.index
        yield "the columns", None, holder.columns
    elif _is(holder, "pandas", "Series", "Index"):
        from cloudoffload.wire.extension import values_of

        yield "the name", None, holder.name
        yield "the values", None, values_of(holder)
        if _is(holder, "pandas", "Series"):
            yield "the index", None, holder.index


def _is(holder: Any, package: str, *names: str) -> bool:
    module = sys.modules.get(package)
    return module is not None and isinstance(holder, tuple(getattr(module, name) for name in names))
