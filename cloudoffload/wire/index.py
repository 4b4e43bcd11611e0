"""What a barrier leaves: for each output partition of a shuffle, where its parts lie in every input.

N inputs and M output partitions make N * M places. One entry of an input's footer is taken over as the few bytes that
it is, without being read: only who reads the part looks into it. The templates, which say what the rows of each input
mean, are copied into one part of their own, each different one once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgpack

from cloudoffload.errors import Corrupt
from cloudoffload.interfaces import Buffer
from cloudoffload.types import PartName, Ref
from cloudoffload.wire.codecs import INDEX, SPANS, Encoded
from cloudoffload.wire.parts import EMPTY
from cloudoffload.wire.refs import is_key
from cloudoffload.wire.values import Footer, Span, read_entry

NO_TEMPLATE = -1


@dataclass(frozen=True, slots=True)
class Located:
    """Where the parts of one output partition lie."""

    parts: tuple[Ref, ...]  # in the order of the inputs
    template_of: tuple[int, ...]  # for each part the place of its template in the list; NO_TEMPLATE if it has none


class IndexBuilder:
    """Collects the footers of a shuffle's inputs, in their order.

    Parameters
    ----------
    read : callable
        ``read(ref)`` gives the verified bytes of a part.
    """

    def __init__(self, read: Callable[[Ref], Buffer]) -> None:
        self._read = read
        self._sources: list[str | bytes] = []
        self._entries: dict[PartName, list[bytes]] = {}
        self._inputs: dict[PartName, list[int]] = {}
        self._templates: list[Buffer] = []
        self._places: dict[bytes, int] = {}  # of templates in that list, by digest
        self._template_of: list[int] = []  # by input

    def add(self, ref: Ref, footer: Footer) -> None:
        """Add the next input: a value in parts, and its footer, which was verified."""
        number = len(self._sources)
        self._sources.append(f"{ref.store}\0{ref.key}" if ref.data is None else ref.data)
        self._template_of.append(self._template(part_of(ref, footer[EMPTY])) if EMPTY in footer else NO_TEMPLATE)
        for name, entry in footer.entries():
            if name != EMPTY:
                self._entries.setdefault(name, []).append(entry)
                self._inputs.setdefault(name, []).append(number)

    def parts(self) -> Iterator[tuple[PartName, Encoded]]:
        """Each output partition's places; and, as :data:`~cloudoffload.wire.parts.EMPTY`, the list of templates."""
        folders = {source.rpartition("/")[0] for source in self._sources if type(source) is str}
        prefix = folders.pop() if len(folders) == 1 else ""  # a run's objects lie side by side
        for name, entries in self._entries.items():
            inputs = self._inputs[name]
            sources = [self._source(number, len(prefix), entry) for number, entry in zip(inputs, entries, strict=True)]
            content = (prefix, sources, entries, [self._template_of[number] for number in inputs])
            yield name, Encoded(INDEX, msgpack.packb(content), [])
        if self._templates:
            yield EMPTY, Encoded(SPANS, b"", self._templates)

    def _template(self, ref: Ref) -> int:
        place = self._places.setdefault(ref.digest, len(self._templates))
        if place == len(self._templates):
            self._templates.append(self._read(ref))
        return place

    def _source(self, number: int, known: int, entry: bytes) -> str | bytes:
        """The object that an entry is of; the part itself where its input travelled inside of messages."""
        source = self._sources[number]
        if isinstance(source, str):
            return source[known:]
        span = read_entry(entry)
        return source[span.offset : span.offset + span.length]


def part_of(ref: Ref, span: Span) -> Ref:
    """Ref of one part of a value in parts."""
    if ref.data is None:
        return Ref(ref.store, ref.key, (span.offset, span.length), span.length, span.digest)
    data = bytes(memoryview(ref.data)[span.offset : span.offset + span.length])
    return Ref("", "", (0, span.length), span.length, span.digest, data=data)


def decode_index(head: Buffer) -> Located:
    """Places of their bytes.

    Raises
    ------
    Corrupt, ValueError, TypeError, AttributeError
        They make no sense.
    """
    prefix, sources, entries, template_of = msgpack.unpackb(head, use_list=False)
    parts = tuple([_ref(prefix, source, entry) for source, entry in zip(sources, entries, strict=True)])
    if len(template_of) != len(parts) or not all(type(place) is int and place >= NO_TEMPLATE for place in template_of):
        raise Corrupt("an index has not one template for each part")
    return Located(parts, tuple(template_of))


def _ref(prefix: str, source: Any, entry: bytes) -> Ref:
    span = read_entry(entry)
    if type(source) is bytes:
        return Ref("", "", (0, span.length), span.length, span.digest, data=source)
    store, _, key = (prefix + source).partition("\0")
    if not is_key(key):
        raise Corrupt("an index names a key outside its store")
    return Ref(store, key, (span.offset, span.length), span.length, span.digest)
