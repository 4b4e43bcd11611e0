"""Stored objects: one or more values, each readable and verifiable by one ranged request.

Layout of one value, the *span* that a ref names::

    buffer | buffer | ... | head | table | length of table, 4 bytes

Buffers start at multiples of 64 bytes, so that a mapped file gives aligned arrays. The table (msgpack) names the codec
and where the head and each buffer lie. A value written in parts is a row of such spans and a footer that lists each
part's name, span and digest; its ref names the footer.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
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
    rows: list[list[Any]] = []
    offset = 0
    for name, encoded in parts:
        first = len(pieces)
        length = _lay(encoded, pieces)
        rows.append([name, offset, length, digest(pieces[first:], algorithm)])
        padding = -length % ALIGNMENT
        pieces.append(_PADDING[:padding])
        offset += length + padding
    footer: bytes = msgpack.packb((container, rows))
    pieces.append(footer)
    return Packed(pieces, Span(offset, len(footer), digest((footer,), algorithm)), offset + len(footer))


class Footer(NamedTuple):
    """What a value in parts is made of."""

    container: str
    parts: Mapping[PartName, Span]


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
        It can't be read, or names an impossible part.
    """
    try:
        container, rows = msgpack.unpackb(footer, use_list=False)
        if container not in CONTAINERS:
            raise Corrupt(f"a value in parts claims to be a {container!r}")
        parts = {name: Span(offset, length, digest) for name, offset, length, digest in rows}
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise Corrupt(f"the footer of a value in parts can't be read: {error}") from error
    for name, span in parts.items():
        if not (type(name) in (int, str) and _within(span.offset, span.length, start) and type(span.digest) is bytes):
            raise Corrupt("the footer of a value in parts names an impossible part")
    return Footer(container, parts)


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
