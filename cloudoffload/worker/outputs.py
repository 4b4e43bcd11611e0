"""Writing a unit's value: inside the outcome when it is small, else as an object named by (unit, attempt)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudoffload.errors import ResultTooLarge
from cloudoffload.store import ObjectStore
from cloudoffload.types import Assignment, Emit, PartName, Ref
from cloudoffload.wire.codecs import Encoded, encode_pickle, encode_result, type_name
from cloudoffload.wire.envelope import Order
from cloudoffload.wire.index import IndexBuilder
from cloudoffload.wire.parts import FrameCut
from cloudoffload.wire.refs import refs_of
from cloudoffload.wire.values import Packed, pack_parts, pack_value
from cloudoffload.worker.inputs import Inputs

INLINE_TOTAL = 1 << 20
"""Most bytes of values inside one outcome; responses of functions are limited."""


class Outputs:
    """Writes the values of one call."""

    def __init__(self, order: Order, store: ObjectStore) -> None:
        self._order = order
        self._store = store
        self.inline_bytes = 0

    def write(self, unit: Assignment, value: Any, emit: str) -> Ref:
        """Write one value as its unit wants it.

        Raises
        ------
        UnpicklableResult, ResultTypeRefused, ResultTooLarge
            The value can't be, or may not be, written.
        StoreError
            The store refused it.
        """
        if emit == Emit.PARTS and isinstance(value, FrameCut):
            return self._place(unit, pack_parts(value.encoded(), "dict", self._store.algorithm), value, parted=True)
        if emit == Emit.PARTS and (parts := _named(value)) is not None:
            rows = [(name, self._encode(part, unit)) for name, part in parts.items()]
            packed = pack_parts(rows, type(value).__name__, self._store.algorithm)
            return self._place(unit, packed, value, parted=True)
        packed = pack_value(self._encode(value, unit), self._store.algorithm)
        return self._place(unit, packed, value, parted=False)

    def write_index(self, unit: Assignment, inputs: Inputs) -> Ref:
        """Write where each part of each input lies: the barrier of a shuffle."""
        index = IndexBuilder(inputs.span)
        for source in refs_of([unit]):
            index.add(source, inputs.footer(source))
        return self._place(unit, pack_parts(index.parts(), "index", self._store.algorithm), index, parted=True)

    def _encode(self, value: Any, unit: Assignment) -> Encoded:
        return encode_result(value, self._order.results) if unit.requested else encode_pickle(value)

    def _place(self, unit: Assignment, packed: Packed, value: Any, *, parted: bool) -> Ref:
        limit = self._order.result_limit
        if packed.nbytes > limit:
            raise ResultTooLarge(
                f"a value of type {type_name(value)} takes {packed.nbytes:,} bytes, more than the {limit:,} that one "
                "value may have; use more and smaller partitions, or raise cloudoffload.result-limit"
            )
        place = (packed.span.offset, packed.span.length)
        if packed.nbytes <= self._order.inline_limit and self.inline_bytes + packed.nbytes <= INLINE_TOTAL:
            self.inline_bytes += packed.nbytes
            data = b"".join(packed.pieces)
            return Ref("", "", place, packed.nbytes, packed.span.digest, parted, data=data)
        key = f"{self._order.prefix}{unit.number}-{unit.attempt}"
        self._store.put(key, packed.pieces)
        return Ref(self._order.output, key, place, packed.nbytes, packed.span.digest, parted)


def _named(value: Any) -> Mapping[PartName, Any] | None:
    """Parts by name, or None for what is written whole: other types, and names that a footer can't hold."""
    if type(value) in (list, tuple):
        return dict(enumerate(value))
    return value if type(value) is dict and all(map(_is_name, value)) else None


def _is_name(name: Any) -> bool:
    if type(name) is str:
        return name.encode(errors="ignore").decode() == name  # false for half of a surrogate pair
    return type(name) is int and -(1 << 63) <= name < 1 << 63
