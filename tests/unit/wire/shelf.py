"""Objects in a dict: what a shuffle writes and reads, without a store."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from cloudoffload.types import PartName, Ref
from cloudoffload.wire.codecs import COLUMNS, Encoded
from cloudoffload.wire.digest import XXH3, verify
from cloudoffload.wire.index import IndexBuilder, Located, part_of
from cloudoffload.wire.parts import EMPTY, FrameCut, give_templates
from cloudoffload.wire.values import Footer, pack_parts, unpack_footer, unpack_value


class Shelf:
    """Keeps objects under numbers and reads their verified spans, writable, as a worker does."""

    def __init__(self) -> None:
        self.objects: dict[str, bytearray] = {}
        self._numbers = itertools.count()

    def write(self, parts: Iterable[tuple[PartName, Encoded]], container: str = "dict") -> Ref:
        """Ref of a value in parts."""
        packed = pack_parts(parts, container, XXH3)
        key = f"runs/a/{next(self._numbers)}-1"
        self.objects[key] = bytearray(b"".join(packed.pieces))
        span = (packed.span.offset, packed.span.length)
        return Ref("main", key, span, packed.nbytes, packed.span.digest, parted=True)

    def read(self, ref: Ref) -> memoryview:
        """Verified bytes of a ref."""
        offset, length = ref.span
        whole = self.objects[ref.key] if ref.data is None else ref.data
        span = memoryview(bytearray(whole[offset : offset + length]))
        verify(span, ref.digest, ref.key)
        return span

    def footer(self, ref: Ref) -> Footer:
        """Footer of a value in parts."""
        return unpack_footer(self.read(ref), ref.span[0])

    def barrier(self, refs: Iterable[Ref]) -> Ref:
        """Ref of the index of some cuts."""
        index = IndexBuilder(self.read)
        for ref in refs:
            index.add(ref, self.footer(ref))
        return self.write(index.parts(), "index")

    def parts(self, gate: Ref, number: int) -> list[Any]:
        """What a join gets for one output partition, or group of these."""
        footer = self.footer(gate)
        templates = unpack_value(self.read(part_of(gate, footer[EMPTY])))[1] if EMPTY in footer else []
        frames = [unpack_value(span)[1] for span in templates]
        if number not in footer:
            return frames[:1]
        where = unpack_value(self.read(part_of(gate, footer[number])))[1]
        assert isinstance(where, Located)
        found = [unpack_value(self.read(ref)) for ref in where.parts]
        rows = [(value, of) for (codec, value), of in zip(found, where.template_of, strict=True) if codec == COLUMNS]
        give_templates(rows, dict(enumerate(frames)))
        return [value for _, value in found]

    def shuffled(self, cuts: Iterable[FrameCut]) -> Ref:
        """Ref of the index of cuts that were written."""
        return self.barrier([self.write(cut.encoded()) for cut in cuts])
