"""Stored objects: one or more values, each readable and verifiable by one ranged request.

Layout of one value, the *span* that a ref names::

    buffer | buffer | ... | head | table | length of table, 4 bytes

Buffers start at multiples of 64 bytes, so that a mapped file gives aligned arrays. The table (msgpack) names the codec
and where the head and each buffer lie. A value written in parts is a row of such spans and a footer that lists each
part's name, span and digest; its ref names the footer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgpack

from cloudoffload.errors import Corrupt
from cloudoffload.interfaces import Buffer
from cloudoffload.types import PartName
from cloudoffload.wire.codecs import Encoded, decode
from cloudoffload.wire.digest import digest

ALIGNMENT = 64
CONTAINERS = ("dict", "list", "tuple", "index")
"""What parts make up; an index is what a barrier writes: for each part, refs to where it lies in every input."""

_LENGTH = struct.Struct("<I")
_PLACE = struct.Struct("<QQ")  # of a part: offset and length
_LARGEST = 1 << 48  # bytes of an object; larger numbers are no places
_PADDING = bytes(ALIGNMENT)


class Span(NamedTuple):
    """Where one value or part lies inside its object."""

    offset: int
    length: int
    digest: bytes


class Packed(NamedTuple):
    """An object ready to be written."""

    pieces: list[Buffer]
    span: Span  # of the value, or of the footer of a value in parts
    nbytes: int  # of all values, bytes


def pack_value(encoded: Encoded, algorithm: bytes) -> Packed:
    """One value as a whole object."""
    pieces: list[Buffer] = []
    length = _lay(encoded, pieces)
    return Packed(pieces, Span(0, length, digest(pieces, algorithm)), length)


def pack_parts(parts: Iterable[tuple[PartName, Encoded]], container: str, algorithm: bytes) -> Packed:
    """A value in parts as a whole object, with its footer at the end.

    Parameters
    ----------
    parts : iterable of (name, Encoded)
        Names are keys of a mapping, or positions.
    container : str
        What the parts make up: one of :data:`CONTAINERS`.
    algorithm : bytes
        Digest to use.
    """
    pieces: list[Buffer] = []
    names: list[PartName] = []
    entries: list[bytes] = []
    offset = 0
    for name, encoded in parts:
        first = len(pieces)
        length = _lay(encoded, pieces)
        names.append(name)
        entries.append(_PLACE.pack(offset, length) + digest(pieces[first:], algorithm))
        padding = -length % ALIGNMENT
        pieces.append(_PADDING[:padding])
        offset += length + padding
    footer: bytes = msgpack.packb((container, names, len(entries[0]) if entries else 0, b"".join(entries)))
    pieces.append(footer)
    return Packed(pieces, Span(offset, len(footer), digest((footer,), algorithm)), offset + len(footer))


class Footer(Mapping[PartName, Span]):
    """What a value in parts is made of: where each part lies, in the order of writing.

    Parameters
    ----------
    container : str
        What the parts make up: one of :data:`CONTAINERS`.
    names : sequence of int or str
        In the order of writing.
    size : int
        Bytes of one entry.
    table : bytes
        The entries, one after the other: offset and length of a part, and its digest.
    start : int
        Where the footer begins in its object; all parts lie before it.
    """

    __slots__ = ("_places", "_size", "_start", "_table", "container")

    def __init__(self, container: str, names: Sequence[PartName], size: int, table: bytes, start: int) -> None:
        self.container = container
        self._places = dict(zip(names, range(len(names)), strict=True))
        self._size = size
        self._table = table
        self._start = start

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[PartName]:
        return iter(self._places)

    def __contains__(self, name: object) -> bool:
        return name in self._places

    def __getitem__(self, name: PartName) -> Span:
        at = self._places[name] * self._size
        span = read_entry(self._table[at : at + self._size])
        if span.offset + span.length > self._start:
            raise Corrupt("the footer of a value in parts names an impossible part")
        return span

    def entries(self) -> Iterable[tuple[PartName, bytes]]:
        """Every part's name and its entry, unread."""
        size = self._size
        return zip(self._places, [self._table[i * size : i * size + size] for i in self._places.values()], strict=True)


def read_entry(entry: bytes) -> Span:
    """Span of a footer's entry, as it was written.

    Raises
    ------
    Corrupt
        It is too short, or names an impossible place.
    """
    try:
        offset, length = _PLACE.unpack_from(entry)
    except (struct.error, TypeError) as error:
        raise Corrupt(f"where a part lies can't be read: {error}") from error
    if offset + length > _LARGEST:
        raise Corrupt("a part is said to lie behind what any object has")
    return Span(offset, length, entry[_PLACE.size :])


def unpack_footer(footer: Buffer, start: int) -> Footer:
    """Where each part lies.

    Parameters
    ----------
    footer : bytes-like
        As written.
    start : int
        Where the footer begins in its object; all parts lie before it.

    Raises
    ------
    Corrupt
        It can't be read.
    """
    try:
        container, names, size, table = msgpack.unpackb(footer, use_list=False)
        if container not in CONTAINERS:
            raise Corrupt(f"a value in parts claims to be a {container!r}")
        if type(table) is not bytes or type(size) is not int or size < 0:
            raise Corrupt("the footer of a value in parts has no table of places")
        if not all(type(name) in (int, str) for name in names):
            raise Corrupt("the footer of a value in parts has an impossible name")
        return Footer(container, names, size, table, start)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Corrupt(f"the footer of a value in parts can't be read: {error}") from error


def unpack_value(span: memoryview, *, pickles: bool = True) -> tuple[str, Any]:
    """Codec and value of a span; arrays share the memory of the span.

    Raises
    ------
    Corrupt
        The layout is impossible.
    ResultTypeRefused
        It is a pickle and ``pickles`` is False.
    """
    try:
        (length,) = _LENGTH.unpack_from(span, len(span) - _LENGTH.size)
        stop = len(span) - _LENGTH.size
        if length > stop:
            raise Corrupt("the table of a value is longer than the value")
        codec, head, buffers = msgpack.unpackb(span[stop - length : stop], use_list=False)
        if type(codec) is not str or not all(_within(offset, size, stop) for offset, size in (head, *buffers)):
            raise Corrupt("the table of a value points outside of it")
    except (ValueError, TypeError, struct.error, msgpack.UnpackException) as error:
        raise Corrupt(f"the table of a value can't be read: {error}") from error
    views = [span[offset : offset + size] for offset, size in buffers]
    return codec, decode(codec, span[head[0] : head[0] + head[1]], views, pickles=pickles)


def _within(offset: Any, size: Any, stop: int) -> bool:
    return type(offset) is type(size) is int and 0 <= offset <= offset + size <= stop


def _lay(encoded: Encoded, pieces: list[Buffer]) -> int:
    """Append the pieces of one value; returns its length. The value must start at an aligned offset."""
    offset = 0
    spans = []
    for buffer in encoded.buffers:
        size = memoryview(buffer).nbytes
        spans.append((offset, size))
        pieces.append(buffer)
        padding = -size % ALIGNMENT
        if padding:
            pieces.append(_PADDING[:padding])
        offset += size + padding
    pieces.append(encoded.head)
    table: bytes = msgpack.packb((encoded.codec, (offset, len(encoded.head)), spans))
    pieces.append(table + _LENGTH.pack(len(table)))
    return offset + len(encoded.head) + len(table) + _LENGTH.size
