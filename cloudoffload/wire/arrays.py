"""NumPy arrays and scalars as nodes of a tree of plain data: what their dtype is, and the elements as they lie."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from cloudoffload.wire.tags import Decoder, Encoder, NotData, Tag
from cloudoffload.wire.tree import Reader, Writer

Array: TypeAlias = "np.ndarray[Any, Any]"

_NAME = re.compile(r"[<>|][biufcmMSUV][0-9]{1,10}(\[[0-9]{0,10}[a-zA-Z]{1,2}\])?")
"""What numpy calls a dtype whose elements are nothing but their bytes: byte order, kind, size, the unit of moments."""

_DEEPEST = 16
"""Levels of fields inside fields; numpy itself follows any number of them."""


def elements(array: Array) -> tuple[memoryview, bool]:
    """Memory of an array's elements, copied only where they don't lie end to end; and whether columns come first."""
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    flat = (array.T if fortran else np.ascontiguousarray(array)).reshape(-1)
    return (flat.view(np.uint8).data if array.nbytes else memoryview(b"")), bool(fortran)


def describe(value: Array | np.generic) -> Any:
    """Plain data from which the dtype of an array or scalar is made again: a text, or a list of fields.

    Raises
    ------
    NotData
        It would be another one: records, metadata, alignment, overlapping fields, numbers that are not numpy's own.
    """
    dtype = value.dtype
    descr: Any = dtype.str
    try:
        if np.lib.format.drop_metadata(dtype) is not dtype:
            raise ValueError("numpy's descriptions don't tell metadata")
        if dtype.names is not None or dtype.subdtype is not None:
            descr = np.lib.format.dtype_to_descr(dtype)
        again = described(descr)
    except ValueError as error:  # fields that overlap, or lie too deep
        raise NotData(value, f"an array of dtype {dtype!r}") from error
    # Dtypes are equal although one of them makes records or is aligned; their repr tells.
    if again != dtype or (dtype.kind == "V" and repr(again) != repr(dtype)):
        raise NotData(value, f"an array of dtype {dtype!r}")
    return descr


def described(descr: Any) -> np.dtype[Any]:
    """The dtype of a description.

    Raises
    ------
    ValueError, TypeError
        There is none, or its elements are more than their bytes, such as pointers.
    """
    if type(descr) is str:
        return _named(descr)
    if type(descr) is not list or _depth(descr) > _DEEPEST:
        raise ValueError("fields inside too many fields")
    _check_names(descr)
    return np.lib.format.descr_to_dtype(descr)


@functools.lru_cache(256)
def _named(descr: str) -> np.dtype[Any]:
    _check_names(descr)
    return np.dtype(descr)


def _check_names(descr: Any) -> None:
    """Make sure that every dtype in a description is called as numpy calls it: it also parses texts as Python."""
    if type(descr) is list:
        for field in descr:
            _check_names(field[1])
    elif type(descr) is tuple:  # an array of these
        _check_names(descr[0])
    elif not _NAME.fullmatch(descr):
        raise ValueError("no dtype whose elements are their bytes")


def _depth(descr: Any) -> int:
    depth = 0
    items = [descr]
    while items := [item for found in items if type(found) in (list, tuple) for item in found]:
        depth += 1
        if depth > 3 * _DEEPEST:
            break
    return depth // 2  # a list of fields, each of which is a tuple


def _array(value: Array, writer: Writer) -> tuple[Any, ...]:
    if value.dtype.kind == "O":
        items = value.reshape(-1).tolist()
        writer.look(items)
        return Tag.OBJECTS, list(value.shape), writer.wrapped(items)
    descr = describe(value)
    memory, fortran = elements(value)
    return Tag.ARRAY, descr, list(value.shape), fortran, writer.apart(memory)


def _scalar(value: np.generic, writer: Writer) -> tuple[Any, ...]:
    if isinstance(value, (np.str_, np.bytes_)):  # an array, and item() too, would lose zeros at their end
        return Tag.SCALAR, None, value[:]
    return Tag.SCALAR, describe(value), value.tobytes()


def _masked(value: Any, writer: Writer) -> tuple[Any, ...]:
    if value._baseclass is not np.ndarray or value._optinfo:
        raise NotData(value)
    mask = None if value.mask is np.ma.nomask else value.mask
    return Tag.MASKED, value.data, mask, value._fill_value, value.hardmask


def _made_array(parts: list[Any], reader: Reader) -> Array:
    descr, shape, fortran, content = parts
    dtype = described(descr)
    buffer = reader.buffer(content)
    # Over the given memory, never over new one: a description may claim any shape.
    array: Array = np.ndarray(shape, dtype, buffer=buffer, order="F" if fortran else "C")
    if array.nbytes != buffer.nbytes:
        raise ValueError("an array does not fill its buffer")
    return array


def _made_objects(parts: list[Any], reader: Reader) -> Array:
    shape, items = parts
    if type(items) is not list:
        raise TypeError("elements are no list")
    return np.fromiter(items, np.dtype(object), len(items)).reshape(shape)


def _made_scalar(parts: list[Any], reader: Reader) -> Any:
    descr, content = parts
    if descr is None:
        return np.str_(content) if type(content) is str else np.bytes_(_bytes(content))
    dtype = described(descr)
    if dtype.itemsize != len(_bytes(content)):
        raise ValueError("a scalar does not fill its bytes")
    # A structured scalar is a view of its array, and may be written to.
    return np.ndarray((), dtype, buffer=content if dtype.kind != "V" else bytearray(content))[()]


def _bytes(content: Any) -> bytes:
    if type(content) is not bytes:
        raise TypeError("the content of a scalar is bytes")
    return content


def _made_masked(parts: list[Any], reader: Reader) -> Any:
    data, mask, fill_value, hard = parts
    if type(data) is not np.ndarray or (
        mask is not None and (type(mask) is not np.ndarray or mask.shape != data.shape)
    ):
        raise TypeError("a masked array lacks its arrays")
    array: Any = np.ma.MaskedArray(data, np.ma.nomask if mask is None else mask, hard_mask=bool(hard))
    if fill_value is not None:
        array.fill_value = fill_value
    return array


_SCALARS = frozenset(np.sctypeDict.values()) - {np.object_}

ENCODERS: Mapping[type, Encoder] = {
    np.ndarray: _array,
    np.ma.MaskedArray: _masked,
    **dict.fromkeys(_SCALARS, _scalar),
}

MUTABLE = frozenset((np.ndarray, np.ma.MaskedArray))

DECODERS: Mapping[Tag, Decoder] = {
    Tag.ARRAY: _made_array,
    Tag.OBJECTS: _made_objects,
    Tag.SCALAR: _made_scalar,
    Tag.MASKED: _made_masked,
}
