"""Values as bytes: each codec turns a value into buffers, and buffers into an equal value.

``pickle`` (protocol 5, large buffers kept apart) carries intermediates: it alone returns every Python object as it was.
The others hold data only. They carry requested results, so that a client that reads ``results="data"`` never unpickles
what a worker made; each takes only types and dtypes that it is proven to return unchanged.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import cloudpickle
import msgpack

from cloudoffload.errors import Corrupt, ResultTypeRefused, UnpicklableResult
from cloudoffload.interfaces import Buffer
from cloudoffload.types import Ref
from cloudoffload.wire.refs import pack, unpack

PICKLE, RAW, JSON, NUMPY, ARROW, REFS = "pickle", "raw", "json", "numpy", "arrow", "refs"


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
    out_of_band: list[pickle.PickleBuffer] = []
    try:
        head = pickle.dumps(value, 5, buffer_callback=out_of_band.append)
    except Exception:  # noqa: BLE001 - objects of __main__ and lambdas; cloudpickle's own error is the one to report
        out_of_band.clear()
        try:
            head = cloudpickle.dumps(value, 5, buffer_callback=out_of_band.append)
        except Exception as error:
            raise UnpicklableResult(
                f"a value of type {type_name(value)} can't be pickled ({type(error).__name__}: {error}); "
                "return plain data, or open files, connections and locks inside the function that uses them"
            ) from error
    return Encoded(PICKLE, head, [buffer.raw() for buffer in out_of_band])


def encode_data(value: Any) -> Encoded | None:
    """A value in the data-only codec that returns it unchanged, or None where there is no such codec."""
    if type(value) is bytes:
        return Encoded(RAW, b"", [value])
    if _is_json(value):
        return Encoded(JSON, json.dumps(value).encode(), [])
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
    encoded = encode_data(value)
    if encoded is not None:
        return encoded
    if results == "data":
        raise ResultTypeRefused(
            f'results="data" allows plain data only, and a value of type {type_name(value)} would need a pickle; '
            'reduce it to frames, arrays or plain data, or set results="verified"'
        )
    return encode_pickle(value)


def encode_refs(refs: Sequence[Ref]) -> Encoded:
    """A list of refs: what a barrier leaves for each of its readers."""
    return Encoded(REFS, msgpack.packb([pack(ref) for ref in refs]), [])


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
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise Corrupt(f"a {codec} value can't be decoded: {error}") from error


def _is_json(value: Any, depth: int = 0) -> bool:
    # Exact types: a subclass (an enum, a numpy scalar) would come back as its base.
    kind = type(value)
    if kind is str:
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    if value is None or kind in (bool, int, float):
        return kind is not int or abs(value) < 1 << 64
    if depth > 8:
        return False
    if kind is list:
        return len(value) <= 10_000 and all(_is_json(item, depth + 1) for item in value)
    if kind is dict:
        return len(value) <= 10_000 and all(
            type(key) is str and _is_json(key) and _is_json(item, depth + 1) for key, item in value.items()
        )
    return False


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


def _decode_refs(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    return [unpack(item) for item in msgpack.unpackb(head, use_list=True)]


_DECODERS: dict[str, Callable[[Buffer, Sequence[memoryview]], Any]] = {
    PICKLE: lambda head, buffers: pickle.loads(head, buffers=buffers),
    RAW: lambda head, buffers: bytes(buffers[0]),
    JSON: lambda head, buffers: json.loads(bytes(head)),
    NUMPY: _decode_numpy,
    ARROW: _decode_arrow,
    REFS: _decode_refs,
}
