"""Reading a unit's inputs: refs become values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cloudoffload.errors import Corrupt
from cloudoffload.store import ObjectStore
from cloudoffload.types import PartName, Ref
from cloudoffload.wire.codecs import COLUMNS, SPANS
from cloudoffload.wire.digest import verify
from cloudoffload.wire.index import Located, part_of
from cloudoffload.wire.parts import EMPTY, give_templates
from cloudoffload.wire.values import Footer, unpack_footer, unpack_value
from cloudoffload.worker.caches import Recent

_FOOTER_BYTES = 16 << 20
_FOOTER_GROWTH = 5
"""How many times its bytes a footer takes when its names can be looked up (about 180 bytes for a part of 36)."""


class Inputs:
    """Reads refs through the stores of one call; footers stay known between the units of the call."""

    def __init__(self, stores: Mapping[str, ObjectStore], *, pickles: bool = True) -> None:
        self._stores = stores
        self._pickles = pickles
        self._footers: Recent[tuple[str, str, int, bytes], Footer] = Recent(lambda: _FOOTER_BYTES)

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
            value = self._unpack(ref)[1]
            return value if ref.part is None else value[ref.part]
        footer = self._footer(ref)
        if footer.container == "index" and ref.part is not None:
            return self._located(footer, ref)
        if ref.part is not None:
            return self._item(footer, ref, _name(footer, ref.part))
        values = {name: self._item(footer, ref, name) for name in footer}
        if footer.container == "dict":
            return values
        return tuple(values.values()) if footer.container == "tuple" else list(values.values())

    def footer(self, ref: Ref) -> Footer:
        """Footer of a value in parts."""
        # Read once, by a barrier of very many: not kept.
        return unpack_footer(self.span(ref), ref.span[0])

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

    def _unpack(self, ref: Ref) -> tuple[str, Any]:
        return unpack_value(self.span(ref), pickles=self._pickles)

    def _item(self, footer: Footer, ref: Ref, name: PartName) -> Any:
        """One item of a value in parts."""
        codec, value = self._unpack(part_of(ref, footer[name]))
        if codec != COLUMNS:
            return value
        give_templates([(value, 0)], {0: self._unpack(part_of(ref, footer[EMPTY]))[1]})
        return value.frame()

    def _located(self, footer: Footer, ref: Ref) -> list[Any]:
        """The parts of one output partition of a shuffle, from all its inputs; one without rows when it has none."""
        assert ref.part is not None
        where: Any = Located((), ())
        if ref.part in footer:
            where = self._unpack(part_of(ref, footer[ref.part]))[1]
            if type(where) is not Located:
                raise Corrupt("a barrier's value is no index")
        # What an index names are values: one that leads to a further index is left as it is, or a few bytes could ask
        # for endless reads.
        found = [unpack_value(span, pickles=self._pickles) for span in self._spans(where.parts)]
        values = [value for _, value in found]
        rows = [
            (value, place) for (codec, value), place in zip(found, where.template_of, strict=True) if codec == COLUMNS
        ]
        if values and not rows:
            return values
        templates = self._templates(footer, ref)
        if not values:
            return [self._template(template) for template in templates[:1]]
        if not all(0 <= place < len(templates) for _, place in rows):
            raise Corrupt("rows of a frame lack their template")
        give_templates(rows, {place: self._template(templates[place]) for place in {place for _, place in rows}})
        return values

    def _templates(self, footer: Footer, ref: Ref) -> Sequence[memoryview]:
        """What the rows of a shuffle's inputs mean: frames without rows."""
        if EMPTY not in footer:
            return ()
        codec, value = self._unpack(part_of(ref, footer[EMPTY]))
        if codec != SPANS:
            raise Corrupt("a barrier has no list of templates")
        spans: Sequence[memoryview] = value
        return spans

    def _template(self, span: memoryview) -> Any:
        return unpack_value(span, pickles=self._pickles)[1]

    def _spans(self, refs: Sequence[Ref]) -> Iterable[memoryview]:
        """Verified bytes of many refs; side by side where each read waits for a network."""
        names = {ref.store for ref in refs if ref.data is None}
        at_once = max((self._stores[name].reads_at_once for name in names if name in self._stores), default=1)
        if at_once == 1 or len(refs) == 1:
            return map(self.span, refs)
        pool = ThreadPoolExecutor(min(at_once, len(refs)), thread_name_prefix="cloudoffload-read")
        try:
            return list(pool.map(self.span, refs))
        finally:
            # A deadline or a lost input ends this now; what is under way ends by itself.
            pool.shutdown(wait=False, cancel_futures=True)

    def _footer(self, ref: Ref) -> Footer:
        if ref.data is not None:
            return unpack_footer(self.span(ref), ref.span[0])
        key = (ref.store, ref.key, ref.span[0], ref.digest)
        footer = self._footers.get(key)
        if footer is None:
            footer = unpack_footer(self.span(ref), ref.span[0])
            self._footers.put(key, footer, ref.span[1] * _FOOTER_GROWTH)
        return footer


def _name(footer: Footer, item: PartName) -> PartName:
    """Name of an item, by the rules of its container."""
    if footer.container == "dict":
        return item
    positions: Any = list(footer)
    return positions[item]  # type: ignore[no-any-return]  # negative positions and wrong types as the list itself
