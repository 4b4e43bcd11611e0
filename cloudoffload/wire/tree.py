"""Plain data as a tree: one msgpack document, and large buffers that are kept apart from it.

msgpack's own types stand for themselves: None, truth values, numbers of up to 64 bits, text, bytes, lists, mappings.
Everything else is a *node*: a list that begins with a mark, an extension type which no value can hold, and goes on with
parts that are values themselves. What a mark means is said by the tables of :mod:`~cloudoffload.wire.plain`,
:mod:`~cloudoffload.wire.arrays` and :mod:`~cloudoffload.wire.frames`; their decoders make values of known types and run
no foreign code.

A tree is read in one go by msgpack itself, so that depth and lengths are bounded by the bytes that came. Buffers stand
apart in the order of their nodes; each is used once, so that few bytes can't ask for many copies of a large one.
"""

from __future__ import annotations

import gc
import itertools
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import msgpack

from cloudoffload.interfaces import Buffer
from cloudoffload.wire.tags import Decoder, Encoder, NotData, Tag

APART_FROM = 1024
"""Buffers from this size on are kept apart, bytes; the place of a smaller one costs more than its copy."""

_LEVELS = 250
"""Deepest nesting of lists and the like; msgpack itself ends at about a thousand levels."""

_REPEATS = 1_000_000
"""Most items of tuples that are written again where a tuple stands in several places: doubled at each of sixty levels,
one would fill any disk."""

_NATIVE = frozenset((type(None), bool, int, float, str, bytes))
_CONTAINERS = frozenset((list, dict, tuple, set, frozenset))

_HOMES = {"builtins": "plain", "numpy": "arrays", "pandas": "frames"}
"""Which module knows the types of which package; those that a value does not need are not imported."""

_encoders: dict[type, Encoder] = {}
_mutable: set[type] = {list, dict}
_decoders: dict[Tag, Decoder] = {}

_MARKS: Mapping[int, Any] = {tag: msgpack.ExtType(tag, b"") for tag in Tag}
_TAGS: Mapping[int, Tag] = {int(tag): tag for tag in Tag}
_TUPLE = _MARKS[Tag.TUPLE]


def write(value: Any) -> tuple[bytes, list[Buffer]]:
    """Document and buffers of a value.

    Raises
    ------
    NotData
        Something in it would not come back as it is.
    """
    try:
        return _write(value, "strict")
    except UnicodeEncodeError:  # a text with half of a surrogate pair; msgpack writes other texts faster
        return _write(value, "surrogatepass")


def read(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    """Value of its document and buffers; arrays share the buffers.

    Raises
    ------
    Exception
        Of any kind: the bytes are no value.
    """
    return Reader(buffers).read(head)


class Writer:
    """Turns the things that msgpack does not know into nodes, while it writes a document."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []
        self._seen: set[int] = set()
        self._repeats = 0
        self._wraps = False

    def look(self, items: Sequence[Any]) -> None:
        """Make sure that everything in these items may be written; msgpack itself would not notice.

        A list that stands in two places would come back as two, and a change of one would no longer show in the other;
        so would any other thing that can be changed.

        Raises
        ------
        NotData
            Of an unknown type, in two places, or too deep.
        """
        for _ in range(_LEVELS):
            kinds = set(map(type, items)) - _NATIVE
            if not kinds:
                return
            if unknown := [kind for kind in kinds if kind not in _encoders and kind not in _mutable and not _met(kind)]:
                raise NotData(next(item for item in items if type(item) in unknown))
            kinds &= _CONTAINERS | _mutable
            found = [item for item in items if type(item) in kinds]
            self._note(found)
            self._wraps = self._wraps or bytearray in kinds
            # Children of all of them at once, at the speed of C.
            items = gc.get_referents(*[item for item in found if type(item) in _CONTAINERS])
        if items:
            raise NotData(items[0], f"a value more than {_LEVELS} levels deep")

    def wrapped(self, value: Any) -> Any:
        """The value, in a form in which msgpack asks for every bytearray instead of writing it as bytes."""
        if not self._wraps:
            return value
        kind = type(value)
        if kind is bytearray:
            return Wrapped(value)
        if kind in (list, tuple):
            return kind(map(self.wrapped, value))
        return {name: self.wrapped(item) for name, item in value.items()} if kind is dict else value

    def apart(self, view: memoryview) -> bytes | None:
        """A buffer as the part of a node: its bytes when they are few, otherwise None, and it is kept apart."""
        if view.nbytes < APART_FROM:
            return view.tobytes()
        self.buffers.append(view)
        return None

    def node(self, value: Any) -> list[Any]:
        """What stands for a value that msgpack does not know."""
        if type(value) is tuple:
            return [_TUPLE, *value]
        if type(value) not in _encoders and not _met(type(value)):
            raise NotData(value)
        tag, *parts = _encoders[type(value)](value, self)
        return [_MARKS[tag], *parts]

    def _note(self, found: Sequence[Any]) -> None:
        identities = set(map(id, found))
        if len(identities) < len(found) or not identities.isdisjoint(self._seen):
            for item in found:
                if id(item) not in self._seen:
                    self._seen.add(id(item))
                elif type(item) in _mutable:
                    raise NotData(item, f"one {type(item).__name__} in two places")
                else:
                    self._repeats += len(item)
            if self._repeats > _REPEATS:
                raise NotData(found[-1], "a tuple that stands in very many places")
        self._seen |= identities


class Reader:
    """Turns nodes into values while msgpack reads a document."""

    def __init__(self, buffers: Sequence[memoryview]) -> None:
        self._buffers = iter(buffers)
        self._open = 0  # marks that were read and belong to no node yet

    def read(self, head: Buffer) -> Any:
        """Value of a whole document, which uses every buffer."""
        value = msgpack.unpackb(
            head, list_hook=self._made, ext_hook=self._mark, strict_map_key=False, unicode_errors="surrogatepass"
        )
        if self._open:
            raise ValueError("a mark stands where no node begins")
        if next(self._buffers, None) is not None:
            raise ValueError("a buffer belongs to no node")
        return value

    def buffer(self, part: bytes | None) -> memoryview:
        """Memory of a buffer, writable where the bytes that came are."""
        if part is None:
            return next(self._buffers)
        if type(part) is not bytes:
            raise TypeError("a buffer is bytes")
        return memoryview(bytearray(part))

    def _mark(self, code: int, data: bytes) -> Tag:
        self._open += 1
        return _TAGS[code]

    def _made(self, items: list[Any]) -> Any:
        if not items or type(items[0]) is not Tag:
            return items
        self._open -= 1
        tag = items.pop(0)
        if tag is Tag.TUPLE:
            return tuple(items)
        return (_decoders.get(tag) or _loaded(tag))(items, self)


class Wrapped:
    """A bytearray, see :meth:`Writer.wrapped`."""

    def __init__(self, value: bytearray) -> None:
        self.value = value


class Rows:
    """A list of tuples of one length, such as what a bag's partition is: three times faster without a node for each."""

    def __init__(self, value: list[tuple[Any, ...]]) -> None:
        self.width = len(value[0])
        self.items = list(itertools.chain.from_iterable(value))

    @staticmethod
    def are(value: Any) -> bool:
        """Whether a value is one."""
        if type(value) is not list or set(map(type, value)) != {tuple}:
            return False
        widths = set(map(len, value))
        return len(widths) == 1 and 0 not in widths


def _write(value: Any, unicode_errors: str) -> tuple[bytes, list[Buffer]]:
    writer = Writer()
    if Rows.are(value):
        value = Rows(value)
        writer.look(value.items)
    else:
        writer.look((value,))
    try:
        head: bytes = msgpack.packb(
            writer.wrapped(value), default=writer.node, strict_types=True, unicode_errors=unicode_errors
        )
    except UnicodeEncodeError:
        raise
    except ValueError as error:  # its own limits of depth and length
        raise NotData(value, f"a value that msgpack can't write ({error})") from error
    return head, writer.buffers


def _met(kind: type) -> bool:
    """Whether a type is known, after its home was imported."""
    package = str(kind.__module__).partition(".")[0]
    _load(_HOMES.get(package, "plain"))
    return kind in _encoders


def _loaded(tag: Tag) -> Decoder:
    """Decoder of a node, after the home of its tag was imported."""
    _load("plain" if tag < Tag.ARRAY else "arrays" if tag < Tag.MOMENTS else "frames")
    return _decoders[tag]


def _load(home: str) -> None:
    module = import_module(f"cloudoffload.wire.{home}")
    _encoders.update(module.ENCODERS)
    _mutable.update(module.MUTABLE)
    _decoders.update(module.DECODERS)
