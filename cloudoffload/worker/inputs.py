"""Reading a unit's inputs: refs become values."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from cloudoffload.errors import Corrupt
from cloudoffload.store import ObjectStore
from cloudoffload.types import PartName, Ref
from cloudoffload.wire.codecs import REFS
from cloudoffload.wire.digest import verify
from cloudoffload.wire.parts import EMPTY
from cloudoffload.wire.values import Footer, unpack_footer, unpack_value

_MAX_FOOTERS = 4096


class Inputs:
    """Reads refs through the stores of one call; footers stay known between the units of the call."""

    def __init__(self, stores: Mapping[str, ObjectStore], *, pickles: bool = True) -> None:
        self._stores = stores
        self._pickles = pickles
        self._footers: OrderedDict[tuple[str, str, int], Footer] = OrderedDict()
        self.nbytes = 0

    def value(self, ref: Ref) -> Any:
        """Value of a ref, of its part, or of all its parts put together.

        Raises
        ------
        ObjectMissing, Corrupt
            The input is lost.
        KeyError
            The user's code asked for an item that the value does not have.
        """
        if not ref.parted:
            value = self._unpack(self.span(ref))
            return value if ref.part is None else value[ref.part]
        parts, container = self.parts(ref)
        if ref.part is not None:
            if container == "index":
                row = parts.get(ref.part) or parts.get(EMPTY)
                return self._unpack(self.span(row)) if row is not None else []
            return self._unpack(self.span(parts[ref.part]))
        values = {name: self._unpack(self.span(part)) for name, part in parts.items()}
        if container == "dict":
            return values
        return tuple(values.values()) if container == "tuple" else list(values.values())

    def parts(self, ref: Ref) -> tuple[dict[PartName, Ref], str]:
        """Refs of all parts of a value in parts, and what they make up."""
        footer = self._footer(ref)
        return {name: self._part(ref, span) for name, span in footer.parts.items()}, footer.container

    def span(self, ref: Ref) -> memoryview:
        """Verified bytes of a ref's span; the footer's for a value in parts."""
        self.nbytes += ref.span[1]
        if ref.data is None:
            store = self._stores.get(ref.store)
            if store is None:
                raise Corrupt(f"the call names a store {ref.store!r} that it gives no access to")
            return store.get(ref)
        offset, length = ref.span
        data = memoryview(bytearray(ref.data))[offset : offset + length]
        verify(data, ref.digest, "a value inside the call")
        return data

    def _unpack(self, span: memoryview) -> Any:
        codec, value = unpack_value(span, pickles=self._pickles)
        if codec == REFS:
            return [self._unpack(self.span(ref)) for ref in value]
        return value

    def _part(self, ref: Ref, span: Any) -> Ref:
        data = None if ref.data is None else bytes(memoryview(ref.data)[span.offset : span.offset + span.length])
        place = (0, span.length) if data is not None else (span.offset, span.length)
        return Ref(ref.store, ref.key, place, span.length, span.digest, data=data)

    def _footer(self, ref: Ref) -> Footer:
        key = (ref.store, ref.key, ref.span[0])
        footer = self._footers.get(key) if ref.data is None else None
        if footer is None:
            footer = unpack_footer(self.span(ref))
            if ref.data is None:
                self._footers[key] = footer
                if len(self._footers) > _MAX_FOOTERS:
                    self._footers.popitem(last=False)
        return footer
