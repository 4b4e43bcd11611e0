"""Reading a unit's inputs: refs become values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cloudoffload.errors import Corrupt
from cloudoffload.store import ObjectStore
from cloudoffload.types import PartName, Ref
from cloudoffload.wire.codecs import REFS
from cloudoffload.wire.digest import verify
from cloudoffload.wire.parts import EMPTY
from cloudoffload.wire.values import Footer, Span, unpack_footer, unpack_value

_MAX_FOOTERS = 256


class Inputs:
    """Reads refs through the stores of one call; footers stay known between the units of the call."""

    def __init__(self, stores: Mapping[str, ObjectStore], *, pickles: bool = True) -> None:
        self._stores = stores
        self._pickles = pickles
        self._footers: dict[tuple[str, str, int, bytes], Footer] = {}

    def value(self, ref: Ref) -> Any:
        """Value of a ref, of its part, or of all its parts put together.

        Raises
        ------
        ObjectMissing, Corrupt
            The input is lost.
        LookupError, TypeError
            The user's code asked for an item that the value does not have.
        """
        if not ref.parted:
            value = self._unpack(self.span(ref))
            return value if ref.part is None else value[ref.part]
        footer = self._footer(ref)
        if ref.part is not None:
            span = _item(footer, ref.part)
            return [] if span is None else self._unpack(self.span(_part(ref, span)))
        values = {name: self._unpack(self.span(_part(ref, span))) for name, span in footer.parts.items()}
        if footer.container == "dict":
            return values
        return tuple(values.values()) if footer.container == "tuple" else list(values.values())

    def parts(self, ref: Ref) -> dict[PartName, Ref]:
        """Refs of all parts of a value in parts."""
        # Read once, by a barrier of very many: not kept.
        footer = unpack_footer(self.span(ref), ref.span[0])
        return {name: _part(ref, span) for name, span in footer.parts.items()}

    def span(self, ref: Ref) -> memoryview:
        """Verified bytes of a ref's span; the footer's for a value in parts."""
        if ref.data is None:
            store = self._stores.get(ref.store)
            if store is None:
                raise Corrupt(f"the call names a store {ref.store!r} that it gives no access to")
            return store.get(ref)
        offset, length = ref.span
        data = memoryview(bytearray(memoryview(ref.data)[offset : offset + length]))
        if len(data) != length:
            raise Corrupt("a value inside the call is shorter than its reference says")
        verify(data, ref.digest, "a value inside the call")
        return data

    def _unpack(self, span: memoryview) -> Any:
        codec, value = unpack_value(span, pickles=self._pickles)
        if codec == REFS:
            # What a barrier wrote names values; refs to further refs would let a few bytes ask for endless reads.
            return [unpack_value(self.span(ref), pickles=self._pickles)[1] for ref in value]
        return value

    def _footer(self, ref: Ref) -> Footer:
        if ref.data is not None:
            return unpack_footer(self.span(ref), ref.span[0])
        key = (ref.store, ref.key, ref.span[0], ref.digest)
        footer = self._footers.get(key)
        if footer is None:
            footer = self._footers[key] = unpack_footer(self.span(ref), ref.span[0])
            if len(self._footers) > _MAX_FOOTERS:
                del self._footers[next(iter(self._footers))]
        return footer


def _item(footer: Footer, name: PartName) -> Span | None:
    """Where an item lies, by the rules of its container; None for an output partition of a shuffle without any part."""
    if footer.container == "index":
        return footer.parts.get(name) or footer.parts.get(EMPTY)
    if footer.container == "dict":
        return footer.parts[name]
    positions: Any = list(footer.parts.values())
    return positions[name]  # type: ignore[no-any-return]  # negative positions and wrong types as the list itself


def _part(ref: Ref, span: Span) -> Ref:
    if ref.data is None:
        return Ref(ref.store, ref.key, (span.offset, span.length), span.length, span.digest)
    data = bytes(memoryview(ref.data)[span.offset : span.offset + span.length])
    return Ref("", "", (0, span.length), span.length, span.digest, data=data)
