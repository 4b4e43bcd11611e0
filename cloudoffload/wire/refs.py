"""Refs that come from elsewhere, checked field by field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cloudoffload.errors import Corrupt
from cloudoffload.types import Assignment, Edge, Ref

_LIMIT = 1 << 48
"""No object is as large as this, bytes."""

_EDGE_FIELDS = len(Edge._fields)


def is_key(key: str) -> bool:
    """Whether a text is a key that every store takes: names divided by single slashes, none of them ``.`` or ``..``."""
    return "\0" not in key and not any(name in ("", ".", "..") for name in key.split("/"))


def unpack(fields: Sequence[Any]) -> Ref:
    """Ref of its fields as they travel: msgpack writes a ref as the array of them.

    Raises
    ------
    Corrupt
        A field has the wrong type, or the span makes no sense.
    """
    try:
        store, key, (offset, length), nbytes, digest, parted, part, data = fields
    except (TypeError, ValueError) as error:
        raise Corrupt("a reference does not have its eight fields") from error
    # One expression: there is a reference for every input and every output of a graph.
    if not (
        type(offset) is int
        and type(length) is int
        and type(nbytes) is int
        and 0 <= offset < _LIMIT
        and 0 <= length < _LIMIT
        and 0 <= nbytes < _LIMIT
    ):
        raise Corrupt("a reference names an impossible span")
    if not (
        type(store) is str
        and type(key) is str
        and type(digest) is bytes
        and type(parted) is bool
        and (part is None or type(part) is int or type(part) is str)
        and (data is None or type(data) is bytes)
    ):
        raise Corrupt("a reference has a field of the wrong type")
    if store and not is_key(key):
        raise Corrupt("a reference names a key outside its store")
    return Ref(store, key, (offset, length), nbytes, digest, parted, part, data)


def unpack_input(fields: Sequence[Any]) -> Ref | Edge:
    """Input of a unit as it travels: a ref, or the edge to an earlier unit of the same call.

    Raises
    ------
    Corrupt
        It is neither.
    """
    if len(fields) != _EDGE_FIELDS:
        return unpack(fields)
    source, part = fields
    if type(source) is not int or not (part is None or type(part) is int or type(part) is str):
        raise Corrupt("an edge has a field of the wrong type")
    return Edge(source, part)


def refs_of(units: Iterable[Assignment]) -> Iterator[Ref]:
    """What the units of a call read that lies somewhere already."""
    return (item for unit in units for item in unit.inputs if isinstance(item, Ref))


def part_of(ref: Ref, edge: Edge) -> Ref:
    """Ref of what an edge means of a value: its part, or the whole."""
    if edge.part is None:
        return ref
    return Ref(ref.store, ref.key, ref.span, ref.nbytes, ref.digest, ref.parted, edge.part, ref.data)
