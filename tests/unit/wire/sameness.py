"""What the tests of codecs share: values through bytes, and whether two values are the same in all that can be told."""

from __future__ import annotations

import datetime
import struct
from typing import Any

import numpy as np
import pandas as pd

from cloudoffload.types import Ref
from cloudoffload.wire.codecs import Encoded, encode_data, encode_pickle
from cloudoffload.wire.digest import BLAKE3
from cloudoffload.wire.values import pack_value, unpack_value


def stored(encoded: Encoded) -> Ref:
    """A value as it lies in an outcome, with its digest."""
    packed = pack_value(encoded, BLAKE3)
    span = (packed.span.offset, packed.span.length)
    return Ref("", "", span, packed.nbytes, packed.span.digest, data=b"".join(packed.pieces))


def through_bytes(encoded: Encoded | None, *, pickles: bool) -> Any:
    """The value after it was laid out as stored bytes and read from them."""
    assert encoded is not None, "no data-only codec took the value"
    data = stored(encoded).data
    assert data is not None
    return unpack_value(memoryview(bytearray(data)), pickles=pickles)[1]


def as_data(value: Any) -> Any:
    return through_bytes(encode_data(value), pickles=False)


def as_pickle(value: Any) -> Any:
    return through_bytes(encode_pickle(value), pickles=True)


def assert_same(again: Any, value: Any) -> None:
    """Equal in all that can be told apart: types all the way down, bits of numbers, order, names, dtypes."""
    assert type(again) is type(value)
    for kinds, check in _CHECKS:
        if isinstance(value, kinds):
            check(again, value)
            return
    assert repr(again) == repr(value)


def _items(again: Any, value: Any) -> None:
    assert len(again) == len(value)
    for one, other in zip(again, value, strict=True):
        assert_same(one, other)


def _mapping(again: Any, value: Any) -> None:
    _items(list(again.items()), list(value.items()))


def _set(again: Any, value: Any) -> None:
    _items(sorted(again, key=_order), sorted(value, key=_order))


def _order(item: Any) -> str:
    """Text of an item of a set; that of a set depends on how it came to be."""
    if isinstance(item, frozenset):
        return f"frozenset{sorted(map(_order, item))}"
    return f"tuple{list(map(_order, item))}" if isinstance(item, tuple) else repr(item)


def _float(again: Any, value: Any) -> None:
    assert struct.pack("<d", again) == struct.pack("<d", value)


def _complex(again: Any, value: Any) -> None:
    _items((again.real, again.imag), (value.real, value.imag))


def _moment(again: Any, value: Any) -> None:
    assert (repr(again) == repr(value) and again.tzinfo is value.tzinfo) or again.tzinfo == value.tzinfo
    assert again.fold == value.fold


def _array(again: Any, value: Any) -> None:
    assert again.shape == value.shape
    assert again.dtype == value.dtype and repr(again.dtype) == repr(value.dtype)
    if value.dtype.hasobject:
        _items(again.reshape(-1).tolist(), value.reshape(-1).tolist())
    else:
        assert again.tobytes() == value.tobytes()  # bit for bit: NaN payloads and -0.0 too
    assert again.flags.writeable


def _masked(again: Any, value: Any) -> None:
    assert_same(again.data, value.data)
    assert (again.mask is np.ma.nomask) == (value.mask is np.ma.nomask)
    assert_same(np.asarray(again.mask), np.asarray(value.mask))
    assert repr(again.fill_value) == repr(value.fill_value) and again.hardmask == value.hardmask


def _scalar(again: Any, value: Any) -> None:
    assert again.dtype == value.dtype and np.asarray(again).tobytes() == np.asarray(value).tobytes()


def _dtype(again: Any, value: Any) -> None:
    assert again == value and repr(again) == repr(value) and type(again) is type(value)
    for name in ("storage", "unit", "pyarrow_dtype", "closed"):
        assert getattr(again, name, None) == getattr(value, name, None)


def _texts(again: Any, value: Any) -> None:
    _dtype(again.dtype, value.dtype)
    _items(again.to_numpy(object).tolist(), value.to_numpy(object).tolist())


def _arrow(again: Any, value: Any) -> None:
    _dtype(again.dtype, value.dtype)
    assert again.__arrow_array__().type == value.__arrow_array__().type
    _items(again.__arrow_array__().to_pylist(), value.__arrow_array__().to_pylist())


def _nullable(again: Any, value: Any) -> None:
    _dtype(again.dtype, value.dtype)
    assert again.isna().tolist() == value.isna().tolist()
    assert again.dropna().to_numpy().tobytes() == value.dropna().to_numpy().tobytes()


def _categories(again: Any, value: Any) -> None:
    assert_same(again.categories, value.categories)
    assert again.ordered == value.ordered
    assert again.codes.tolist() == value.codes.tolist() and again.codes.dtype == value.codes.dtype


def _intervals(again: Any, value: Any) -> None:
    _dtype(again.dtype, value.dtype)
    assert_same(again.left, value.left)
    assert_same(again.right, value.right)


def _moments(again: Any, value: Any) -> None:
    _dtype(again.dtype, value.dtype)
    assert getattr(again, "tz", None) == getattr(value, "tz", None)
    assert again.view("i8").tolist() == value.view("i8").tolist()


def _index(again: Any, value: Any) -> None:
    pd.testing.assert_index_equal(again, value, exact=True, check_exact=True)
    if isinstance(value, pd.MultiIndex):
        _items(list(again.levels), list(value.levels))
        _items([np.array(codes) for codes in again.codes], [np.array(codes) for codes in value.codes])
        _items(list(again.names), list(value.names))
        assert again.sortorder == value.sortorder
        return
    assert_same(again.name, value.name)
    assert getattr(again, "freq", None) == getattr(value, "freq", None)
    if isinstance(value, pd.RangeIndex):
        assert (again.start, again.stop, again.step) == (value.start, value.stop, value.step)
    else:
        _values(again, value)


def _values(again: Any, value: Any) -> None:
    if isinstance(value.dtype, np.dtype):
        assert_same(np.array(again), np.array(value))
    else:
        assert_same(again.array, value.array)


def _series(again: Any, value: Any) -> None:
    assert_same(again.name, value.name)
    assert_same(again.index, value.index)
    assert again.attrs == value.attrs and again.flags == value.flags
    _values(again, value)


def _frame(again: Any, value: Any) -> None:
    assert_same(again.index, value.index)
    assert_same(again.columns, value.columns)
    assert again.attrs == value.attrs and again.flags == value.flags
    if object not in value.dtypes.tolist():  # of some objects pandas can't say whether they are equal
        pd.testing.assert_frame_equal(again, value, check_exact=True, check_freq=True, check_flags=True)
    for position in range(value.shape[1]):
        _values(again.iloc[:, position], value.iloc[:, position])


_CHECKS: tuple[tuple[Any, Any], ...] = (
    (pd.DataFrame, _frame),
    (pd.Series, _series),
    (pd.Index, _index),
    (np.ma.MaskedArray, _masked),
    (np.ndarray, _array),
    (np.generic, _scalar),
    ((pd.arrays.ArrowStringArray, pd.arrays.ArrowExtensionArray), _arrow),
    (pd.arrays.StringArray, _texts),
    ((pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray), _nullable),
    (pd.Categorical, _categories),
    (pd.arrays.IntervalArray, _intervals),
    ((pd.arrays.DatetimeArray, pd.arrays.TimedeltaArray, pd.arrays.PeriodArray), _moments),
    ((list, tuple), _items),
    (dict, _mapping),
    ((set, frozenset), _set),
    (float, _float),
    (complex, _complex),
    ((datetime.datetime, datetime.time), _moment),
)
