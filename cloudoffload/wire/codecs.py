"""Values as bytes: each codec turns a value into buffers, and buffers into an equal value.

``pickle`` (protocol 5, large buffers kept apart) carries intermediates: it alone returns every Python object as it was.
The others hold data only. They carry requested results, so that a client that reads ``results="data"`` never unpickles
what a worker made; each takes only types and dtypes that it is proven to return unchanged.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cloudpickle

from cloudoffload.errors import Corrupt, ResultTypeRefused, UnpicklableResult
from cloudoffload.interfaces import Buffer

PICKLE, RAW, JSON, NUMPY, ARROW = "pickle", "raw", "json", "numpy", "arrow"
COLUMNS, INDEX, SPANS = "columns", "index", "spans"  # of shuffles: rows of a frame, where parts lie, values as they lie

_APART_FROM = 1024
"""Buffers of a pickle from this size on are kept apart, bytes; the place of a smaller one costs more than its copy."""

_JSON_ITEMS = 10_000
"""Larger lists and mappings are pickled where that is allowed: looking at every item costs more."""

_JSON_DEPTH = 64
_JSON_SCALARS = (str, bool, float, type(None))


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


def encode_data(value: Any, *, most: float = _JSON_ITEMS) -> Encoded | None:
    """A value in the data-only codec that returns it unchanged, or None where there is no such codec.

    Parameters
    ----------
    value : object
        What to write.
    most : float
        Items of lists and mappings that are looked at before they are left to pickle.
    """
    if type(value) is bytes:
        return Encoded(RAW, b"", [value])
    if _is_json(value, most):
        return _encode_json(value)
    module = type(value).__module__.partition(".")[0]
    if module == "numpy":
        return _encode_numpy(value)
    if module == "pandas":
        return _encode_pandas(value)
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
    encoded = encode_data(value, most=math.inf if results == "data" else _JSON_ITEMS)
    if encoded is not None:
        return encoded
    if results == "data":
        raise ResultTypeRefused(
            f'results="data" allows plain data only, and a value of type {type_name(value)} would need a pickle; '
            'reduce it to frames, arrays or plain data, or set results="verified"'
        )
    return encode_pickle(value)


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


def _is_json(value: Any, most: float) -> bool:
    # Exact types: a subclass (an enum, a numpy scalar) would come back as its base. No list or mapping twice: it would
    # come back as two.
    pending = [(value, 0)]
    seen: set[int] = set()
    while pending:
        item, depth = pending.pop()
        kind = type(item)
        if kind in _JSON_SCALARS or (kind is int and abs(item) < 1 << 64):
            continue
        if kind not in (list, dict) or depth == _JSON_DEPTH or id(item) in seen:
            return False
        seen.add(id(item))
        most -= len(item)
        if most < 0 or (kind is dict and not all(type(name) is str for name in item)):
            return False
        pending.extend((child, depth + 1) for child in (item.values() if kind is dict else item))
    return True


def _encode_json(value: Any) -> Encoded | None:
    try:
        return Encoded(JSON, json.dumps(value, ensure_ascii=False).encode(), [])
    except UnicodeEncodeError:
        return None  # half of a surrogate pair


def _encode_numpy(value: Any) -> Encoded | None:
    from cloudoffload.wire.arrays import encode_array

    encoded = encode_array(value)
    return None if encoded is None else Encoded(NUMPY, *encoded)


def _decode_numpy(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    from cloudoffload.wire.arrays import decode_array

    return decode_array(head, buffers)


def _encode_pandas(value: Any) -> Encoded | None:
    from cloudoffload.wire.frames import encode_frame

    encoded = encode_frame(value)
    return None if encoded is None else Encoded(ARROW, *encoded)


def _decode_arrow(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    from cloudoffload.wire.frames import decode_frame

    return decode_frame(head, buffers)


def _decode_columns(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    from cloudoffload.wire.columns import decode_rows

    return decode_rows(head, buffers)


def _decode_index(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    from cloudoffload.wire.index import decode_index

    return decode_index(head)


_DECODERS: dict[str, Callable[[Buffer, Sequence[memoryview]], Any]] = {
    PICKLE: lambda head, buffers: pickle.loads(head, buffers=buffers),
    RAW: lambda head, buffers: bytes(buffers[0]),
    JSON: lambda head, buffers: json.loads(bytes(head)),
    NUMPY: _decode_numpy,
    ARROW: _decode_arrow,
    COLUMNS: _decode_columns,
    INDEX: _decode_index,
    SPANS: lambda head, buffers: buffers,
}
