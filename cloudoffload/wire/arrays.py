"""NumPy arrays and scalars as data: the header of the ``.npy`` format, and the elements as they lie in memory."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from cloudoffload.interfaces import Buffer

_ARRAY, _SCALAR = b"a", b"s"
_MAX_HEADER = 10_000  # what numpy agrees to read from bytes that it does not trust


def encode_array(value: Any) -> tuple[bytes, list[Buffer]] | None:
    """Header and elements of an array or scalar, or None where the format would not return it unchanged.

    Subclasses, objects, the variable-length string dtype and dtypes that the header can't tell in full (records,
    metadata, alignment, overlapping fields) are left to pickle.
    """
    scalar = isinstance(value, np.generic)
    if type(value) is not (value.dtype.type if scalar else np.ndarray):
        return None
    array = np.asarray(value)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    header = _header(array, fortran)
    if header is None:
        return None
    flat = (array.T if fortran else np.ascontiguousarray(array)).reshape(-1)
    elements = flat.view(np.uint8).data if array.nbytes else b""
    return (_SCALAR if scalar else _ARRAY) + header, [elements]


def decode_array(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    """Array or scalar of its header and elements; the array shares the buffer."""
    stream = io.BytesIO(bytes(head))
    scalar = stream.read(1) == _SCALAR
    np.lib.format.read_magic(stream)
    shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream, max_header_size=_MAX_HEADER)
    # Over the given buffer, never over new memory: a header may claim any shape.
    array: Any = np.ndarray(shape, dtype, buffer=buffers[0], order="F" if fortran else "C")
    return array[()] if scalar else array


def _header(array: Any, fortran: bool) -> bytes | None:
    dtype = array.dtype
    if dtype.hasobject or dtype.char == "T" or np.lib.format.drop_metadata(dtype) is not dtype:
        return None
    stream = io.BytesIO()
    try:
        descr = np.lib.format.dtype_to_descr(dtype)
        again = np.lib.format.descr_to_dtype(descr)
        fields = {"descr": descr, "fortran_order": bool(fortran), "shape": array.shape}
        np.lib.format.write_array_header_2_0(stream, fields)
    except ValueError:
        return None  # fields that overlap, or whose names are not Latin-1
    # Dtypes are equal although one of them makes records or is aligned; their repr tells.
    if again != dtype or repr(again) != repr(dtype) or stream.tell() > _MAX_HEADER:
        return None
    return stream.getvalue()
