"""pandas' own arrays as nodes of a tree of plain data: what they mean, and the NumPy or Arrow arrays that they hold."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.tseries.frequencies import to_offset

from cloudoffload.wire import arrow
from cloudoffload.wire.tags import Decoder, Encoder, NotData, Tag
from cloudoffload.wire.tree import Reader, Writer

Values = Any  # a one-dimensional NumPy array, or an extension array

_UNITS = ("s", "ms", "us", "ns")
_TEXTS: Mapping[str, Any] = {
    "str": pd.StringDtype("pyarrow", np.nan),
    "str in Python": pd.StringDtype("python", np.nan),
    "string": pd.StringDtype("pyarrow", pd.NA),
    "string in Python": pd.StringDtype("python", pd.NA),
}
_ARROW = "arrow"

_LONGEST = 100
"""Characters of the name of a frequency."""


def values_of(holder: Any) -> Values:
    """Values of a series or an index, in the form in which they are written."""
    return holder.to_numpy() if isinstance(holder.dtype, np.dtype) else holder.array


def is_values(values: Any) -> bool:
    """Whether pandas can hold a decoded value as a column, without a look at what else it might mean."""
    if type(values) is np.ndarray:
        return values.ndim == 1 and holds(values.dtype)
    return isinstance(values, pd.api.extensions.ExtensionArray)


def holds(dtype: np.dtype[Any]) -> bool:
    """Whether pandas keeps arrays of a NumPy dtype as they are."""
    if dtype.kind in "mM":
        return dtype.isnative and np.datetime_data(dtype) in [(unit, 1) for unit in _UNITS]
    return dtype.kind in "biufcO"


def frequency(offset: Any, item: Any) -> str | None:
    """Text of a frequency.

    Raises
    ------
    NotData
        The text does not tell all of it.
    """
    if offset is None:
        return None
    text: str = offset.freqstr
    with contextlib.suppress(ValueError):  # the offset's own name may be none that pandas reads
        if to_offset(short(text)) == offset:
            return text
    raise NotData(item, f"the frequency {offset!r}")


def short(text: str) -> str:
    """A text that pandas may parse: of a very long one it would take hours."""
    if type(text) is not str or len(text) > _LONGEST:
        raise ValueError("no name of a frequency")
    return text


def _moments(value: Any, writer: Writer) -> tuple[Any, ...]:
    if getattr(value, "freq", None) is not None:  # pandas 3.0 keeps it here, later ones in the index only
        raise NotData(value, "an array with a frequency")
    if isinstance(value.dtype, pd.DatetimeTZDtype):
        return Tag.ZONED, value.view("i8"), value.unit, value.tz
    return Tag.MOMENTS, np.asarray(value)


def _periods(value: Any, writer: Writer) -> tuple[Any, ...]:
    if pd.PeriodDtype.construct_from_string(str(value.dtype)) != value.dtype:
        raise NotData(value, f"the frequency {value.dtype.freq!r}")
    return Tag.PERIODS, value.view("i8"), str(value.dtype)


def _categories(value: Any, writer: Writer) -> tuple[Any, ...]:
    return Tag.CATEGORIES, value.codes, value.categories, value.ordered


def _intervals(value: Any, writer: Writer) -> tuple[Any, ...]:
    return Tag.INTERVALS, values_of(value.left), values_of(value.right), value.closed


def _nullable(value: Any, writer: Writer) -> tuple[Any, ...]:
    return Tag.NULLABLE, value._data, value._mask


def _texts(value: Any, writer: Writer) -> tuple[Any, ...]:
    name = _text_name(value)
    items = value.to_numpy(object, na_value=None).tolist()
    if not set(map(type, items)) <= {str, type(None)}:
        raise NotData(value, "texts of a subclass of str")
    return Tag.TEXTS, name, items


def _arrow(value: Any, writer: Writer) -> tuple[Any, ...]:
    name = _text_name(value) if type(value) is pd.arrays.ArrowStringArray else _ARROW
    array = value.__arrow_array__()
    if not arrow.carries(array.type):
        raise NotData(value, f"values of dtype {value.dtype}")
    schema, batches = arrow.pieces_of(array)
    return Tag.ARROW, name, schema, *map(writer.apart, batches)


def _text_name(value: Any) -> str:
    return next(name for name, dtype in _TEXTS.items() if dtype == value.dtype)


def _made_moments(parts: list[Any], reader: Reader) -> Values:
    (values,) = parts
    if type(values) is not np.ndarray or values.dtype.kind not in "mM" or not is_values(values):
        raise TypeError("values are no moments")
    return pd.array(values, dtype=values.dtype, copy=False)


def _made_zoned(parts: list[Any], reader: Reader) -> Values:
    values, unit, zone = parts
    if not isinstance(zone, datetime.tzinfo):  # texts may name files
        raise TypeError("moments in a time zone lack the zone")
    return pd.array(_whole(values), dtype=pd.DatetimeTZDtype(unit, zone), copy=False)


def _made_periods(parts: list[Any], reader: Reader) -> Values:
    ordinals, name = parts
    dtype: Any = pd.PeriodDtype.construct_from_string(short(name))
    return pd.arrays.PeriodArray(_whole(ordinals), dtype=dtype)


def _whole(numbers: Any) -> Values:
    if type(numbers) is not np.ndarray or numbers.dtype != np.int64 or numbers.ndim != 1:
        raise TypeError("moments are no whole numbers")
    return numbers


def _made_categories(parts: list[Any], reader: Reader) -> Values:
    codes, categories, ordered = parts
    if not is_values(codes) or not isinstance(categories, pd.Index):
        raise TypeError("categories lack their codes, or their values")
    return pd.Categorical.from_codes(codes, dtype=pd.CategoricalDtype(categories, bool(ordered)))


def _made_nullable(parts: list[Any], reader: Reader) -> Values:
    values, mask = parts
    if not is_values(values):
        raise TypeError("nullable values are none")
    kind = {"b": pd.arrays.BooleanArray, "f": pd.arrays.FloatingArray}.get(values.dtype.kind, pd.arrays.IntegerArray)
    return kind(values, mask)


def _made_intervals(parts: list[Any], reader: Reader) -> Values:
    left, right, closed = parts
    if not is_values(left) or not is_values(right):
        raise TypeError("intervals lack their ends")
    return pd.arrays.IntervalArray.from_arrays(left, right, closed)


def _made_texts(parts: list[Any], reader: Reader) -> Values:
    name, items = parts
    if type(items) is not list or not set(map(type, items)) <= {str, type(None)}:
        raise TypeError("texts are no list of texts")
    return pd.array(items, dtype=_TEXTS[name])


def _made_arrow(parts: list[Any], reader: Reader) -> Values:
    name, schema, *batches = parts
    array = arrow.array_of(schema, [reader.buffer(batch) for batch in batches])
    dtype: Any = pd.ArrowDtype(array.type) if name == _ARROW else _TEXTS[name]
    return dtype.__from_arrow__(array)


ENCODERS: Mapping[type, Encoder] = {
    pd.arrays.DatetimeArray: _moments,
    pd.arrays.TimedeltaArray: _moments,
    pd.arrays.PeriodArray: _periods,
    pd.arrays.IntervalArray: _intervals,
    pd.Categorical: _categories,
    pd.arrays.IntegerArray: _nullable,
    pd.arrays.FloatingArray: _nullable,
    pd.arrays.BooleanArray: _nullable,
    pd.arrays.StringArray: _texts,
    pd.arrays.ArrowStringArray: _arrow,
    pd.arrays.ArrowExtensionArray: _arrow,
}

DECODERS: Mapping[Tag, Decoder] = {
    Tag.MOMENTS: _made_moments,
    Tag.ZONED: _made_zoned,
    Tag.PERIODS: _made_periods,
    Tag.INTERVALS: _made_intervals,
    Tag.CATEGORIES: _made_categories,
    Tag.NULLABLE: _made_nullable,
    Tag.TEXTS: _made_texts,
    Tag.ARROW: _made_arrow,
}
