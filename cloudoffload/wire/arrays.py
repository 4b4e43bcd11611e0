"""NumPy arrays and scalars as data: the header of the ``.npy`` format, and the elements as they lie in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from cloudoffload.interfaces import Buffer

_ARRAY, _SCALAR = b"a", b"s"


def encode_array(value: Any) -> tuple[bytes, list[Buffer]] | None:
    """Header and elements of an array or scalar, or None where the format would not return it unchanged.

    Object arrays, the variable-length string dtype and dtypes with metadata are left to pickle.
    """
    scalar = isinstance(value, np.generic)
    if not scalar and type(value) is not np.ndarray:
        return None
    dtype = value.dtype
    if dtype.hasobject or dtype.metadata is not None or dtype.char == "T":
        return None
    array = np.asarray(value)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    descr = np.lib.format.dtype_to_descr(dtype)
    if np.lib.format.descr_to_dtype(descr) != dtype:
        return None
    header = io.BytesIO()
    np.lib.format.write_array_header_2_0(header, {"descr": descr, "fortran_order": bool(fortran), "shape": array.shape})
    if array.size == 0 or dtype.itemsize == 0:
        return (_SCALAR if scalar else _ARRAY) + header.getvalue(), []
    flat = (array.T if fortran else np.ascontiguousarray(array)).reshape(-1).view(np.uint8)
    return (_SCALAR if scalar else _ARRAY) + header.getvalue(), [flat.data]


def decode_array(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    """Array or scalar of its header and elements; the array shares the buffer."""
    stream = io.BytesIO(bytes(head))
    scalar = stream.read(1) == _SCALAR
    np.lib.format.read_magic(stream)
    shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    if not buffers:
        array: Any = np.empty(shape, dtype)
    else:
        flat = np.frombuffer(buffers[0], np.uint8).view(dtype)
        array = flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)
    return array[()] if scalar else array
