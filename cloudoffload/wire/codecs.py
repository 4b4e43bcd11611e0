"""Values as bytes: each codec turns a value into buffers, and buffers into an equal value.

``pickle`` (protocol 5, large buffers kept apart) carries intermediates: it alone returns every Python object as it was.
The others hold data only. They carry requested results, so that a client that reads ``results="data"`` never unpickles
what a worker made: ``raw`` is bytes, ``data`` a tree (:mod:`~cloudoffload.wire.tree`) of plain Python, arrays and
frames. It takes only types and dtypes that it is proven to return unchanged.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cloudpickle

from cloudoffload.errors import Corrupt, ResultTypeRefused, UnpicklableResult
from cloudoffload.interfaces import Buffer
from cloudoffload.wire import tree
from cloudoffload.wire.tags import NotData

PICKLE, RAW, DATA = "pickle", "raw", "data"
COLUMNS, INDEX, SPANS = "columns", "index", "spans"  # of shuffles: rows of a frame, where parts lie, values as they lie

_APART_FROM = 1024
"""Buffers of a pickle from this size on are kept apart, bytes; the place of a smaller one costs more than its copy."""


class Encoded(NamedTuple):
    """A value as bytes."""

    codec: str
    head: bytes  # what describes the buffers
    buffers: Sequence[Buffer]  # contiguous, written at 64-byte boundaries


def type_name(value: Any) -> str:
    """Qualified name of a value's type, for messages."""
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__qualname__


def encode_pickle(value: Any) -> Encoded:
    """Any Python object, its large buffers out of band.

    Raises
    ------
    UnpicklableResult
        Neither pickle nor cloudpickle can write it.
    """
    try:
        encoded = _pickled(pickle.dumps, value)
        # What pickle names "__main__.x" is found in this process only; cloudpickle sends it along.
        if b"__main__" not in encoded.head:
            return encoded
    except Exception:  # noqa: BLE001, S110 - lambdas, local classes; cloudpickle's own error is the one to report
        pass
    try:
        return _pickled(cloudpickle.dumps, value)
    except Exception as error:
        raise UnpicklableResult(
            f"a value of type {type_name(value)} can't be pickled ({type(error).__name__}: {error}); "
            "return plain data, or open files, connections and locks inside the function that uses them"
        ) from error


def encode_data(value: Any) -> Encoded | None:
    """A value in the data-only codec that returns it unchanged, or None where there is no such codec."""
    try:
        return _encode_data(value)
    except NotData:
        return None


def encode_result(value: Any, results: str) -> Encoded:
    """A requested value, as ``results`` allows.

    Raises
    ------
    ResultTypeRefused
        ``results="data"`` and no data-only codec fits.
    """
    if results == "pickle":
        return encode_pickle(value)
    try:
        return _encode_data(value)
    except NotData as refusal:
        if results != "data":
            return encode_pickle(value)
        raise ResultTypeRefused(
            f'results="data" allows plain data only, and {_told(value, refusal)} would need a pickle; '
            'reduce it to frames, arrays or plain data, or set results="verified"'
        ) from None


def decode(codec: str, head: Buffer, buffers: Sequence[memoryview], *, pickles: bool = True) -> Any:
    """Value of its bytes; arrays share the given buffers and are writable where those are.

    Parameters
    ----------
    codec : str
        Tag under which it was written.
    head, buffers
        As written.
    pickles : bool
        False refuses to unpickle.

    Raises
    ------
    ResultTypeRefused
        It is a pickle, and those are refused.
    Corrupt
        The tag is unknown or the bytes can't be decoded.
    """
    if codec == PICKLE and not pickles:
        raise ResultTypeRefused('results="data" and the worker answered with a pickle; it was not read')
    decoder = _DECODERS.get(codec)
    if decoder is None:
        raise Corrupt(f"unknown codec {codec!r}: the worker runs another version of cloudoffload")
    if codec == PICKLE:
        return decoder(head, buffers)  # what a user's __setstate__ raises is the user's
    try:
        return decoder(head, buffers)
    except MemoryError:
        raise  # of this machine: decoders of data need no more memory than the bytes that came
    except Exception as error:
        # Decoders of data run no foreign code: whatever they raise, the bytes are to blame.
        raise Corrupt(f"a {codec} value can't be decoded: {error}") from error


def _pickled(dumps: Callable[..., bytes], value: Any) -> Encoded:
    apart: list[Buffer] = []

    def stays_inside(buffer: pickle.PickleBuffer) -> bool:
        view = buffer.raw()
        if view.nbytes < _APART_FROM:
            return True
        apart.append(view)
        return False

    return Encoded(PICKLE, dumps(value, 5, buffer_callback=stays_inside), apart)


def _encode_data(value: Any) -> Encoded:
    if type(value) is bytes:
        return Encoded(RAW, b"", [value])
    return Encoded(DATA, *tree.write(value))


def _told(value: Any, refusal: NotData) -> str:
    """What does not fit, and where it lies in a value."""
    from cloudoffload.wire.places import place

    what = refusal.why or f"a value of type {type_name(refusal.item)}"
    where = place(value, refusal.item)
    return f"{what} ({where})" if where else what


def _decode_columns(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    from cloudoffload.wire.columns import decode_rows

    return decode_rows(head, buffers)


def _decode_index(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    from cloudoffload.wire.index import decode_index

    return decode_index(head)


_DECODERS: dict[str, Callable[[Buffer, Sequence[memoryview]], Any]] = {
    PICKLE: lambda head, buffers: pickle.loads(head, buffers=buffers),
    RAW: lambda head, buffers: bytes(buffers[0]),
    DATA: tree.read,
    COLUMNS: _decode_columns,
    INDEX: _decode_index,
    SPANS: lambda head, buffers: buffers,
}
