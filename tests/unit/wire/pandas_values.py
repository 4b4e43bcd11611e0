"""Values of every kind that pandas has, for property tests."""

from __future__ import annotations

import datetime
import decimal
import zoneinfo
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

UNITS = ("s", "ms", "us", "ns")
NUMBERS = ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")
ODD = ("f2", "c8", "c16")
SWAPPED = (">i4", ">f8")
TIMES = tuple(f"{kind}8[{unit}]" for kind in "Mm" for unit in UNITS)
ZONES = (datetime.UTC, datetime.timezone(datetime.timedelta(hours=2)), zoneinfo.ZoneInfo("Europe/Paris"))
NULLABLE = ("Int8", "UInt16", "Int64", "Float32", "Float64", "boolean")
STRINGS = tuple(pd.StringDtype(storage, missing) for storage in ("python", "pyarrow") for missing in (np.nan, pd.NA))
PERIODS = ("M", "D", "Q-JAN", "W-TUE", "15min", "ns", "2h")
ARROW = {
    pa.int16(): st.integers(-100, 100),
    pa.float32(): st.floats(width=32),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(st.characters(exclude_categories=["Cs"])),
    pa.large_binary(): st.binary(),
    pa.binary(2): st.binary(min_size=2, max_size=2),
    pa.decimal128(6, 2): st.integers(-9999, 9999).map(lambda n: decimal.Decimal(n).scaleb(-2)),
    pa.date32(): st.dates(),
    pa.time64("us"): st.times(),
    pa.timestamp("us", "Europe/Paris"): st.datetimes(
        datetime.datetime(1990, 1, 1), datetime.datetime(2030, 1, 1), timezones=st.just(datetime.UTC)
    ),
    pa.duration("ms"): st.integers(0, 10**6).map(lambda n: datetime.timedelta(milliseconds=n)),
    pa.list_(pa.int64()): st.lists(st.none() | st.integers(0, 9), max_size=3),
    pa.list_(pa.int8(), 2): st.lists(st.integers(0, 9), min_size=2, max_size=2),
    pa.struct({"a": pa.int64(), "b": pa.list_(pa.string())}): st.fixed_dictionaries(
        {"a": st.none() | st.integers(0, 9), "b": st.lists(st.text("xyz"), max_size=2)}
    ),
    pa.map_(pa.string(), pa.int32()): st.dictionaries(st.text("xyz"), st.integers(0, 9), max_size=2).map(
        lambda pairs: list(pairs.items())
    ),
}

labels = st.none() | st.integers() | st.text(max_size=5) | st.tuples(st.text(max_size=2), st.integers()) | st.dates()
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
objects = st.none() | st.integers() | st.text(max_size=3) | st.just(pd.NA) | st.just(pd.NaT) | st.lists(st.booleans())


def lists_of(items: st.SearchStrategy[Any], rows: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(items, min_size=rows, max_size=rows)


def _numbers(draw: st.DrawFn, rows: int) -> Any:
    return draw(hnp.arrays(st.sampled_from((*NUMBERS, *TIMES)), rows))


def _odd_numbers(draw: st.DrawFn, rows: int) -> Any:
    return draw(hnp.arrays(st.sampled_from(ODD), rows))


def _swapped_numbers(draw: st.DrawFn, rows: int) -> Any:
    return draw(hnp.arrays(st.sampled_from(SWAPPED), rows))


def objects_of(draw: st.DrawFn, rows: int) -> Any:
    return draw(hnp.arrays(object, rows, elements=objects))


def _strings(draw: st.DrawFn, rows: int) -> Any:
    return pd.array(draw(lists_of(st.none() | texts, rows)), dtype=draw(st.sampled_from(STRINGS)))


def _nullable(draw: st.DrawFn, rows: int) -> Any:
    items = draw(lists_of(st.none() | st.integers(0, 1), rows))
    return pd.array(items, dtype=draw(st.sampled_from(NULLABLE)))


def _zoned(draw: st.DrawFn, rows: int) -> Any:
    seconds = draw(hnp.arrays("i8", rows, elements=st.integers(-8 * 10**9, 8 * 10**9) | st.just(pd.NaT._value)))
    moments = pd.DatetimeIndex(seconds.view("M8[s]"))
    return (
        moments.tz_localize("UTC").tz_convert(draw(st.sampled_from(ZONES))).as_unit(draw(st.sampled_from(UNITS))).array
    )


def _periods(draw: st.DrawFn, rows: int) -> Any:
    ordinals = draw(hnp.arrays("i8", rows, elements=st.integers(-500, 500) | st.just(pd.NaT.value)))
    return pd.PeriodIndex.from_ordinals(ordinals, freq=draw(st.sampled_from(PERIODS))).array


def _categories(draw: st.DrawFn, rows: int) -> Any:
    names = index_of(draw(values_of(draw(st.integers(1, 3)), labelling=True)), None).dropna().unique()
    codes = draw(hnp.arrays("i1", rows, elements=st.integers(-1, len(names) - 1)))
    return pd.Categorical.from_codes(codes, names, ordered=draw(st.booleans()))


def intervals_of(draw: st.DrawFn, rows: int) -> Any:
    left = draw(hnp.arrays(st.sampled_from(["i8", "f8"]), rows, elements=st.integers(0, 9)))
    if draw(st.booleans()):
        left = pd.DatetimeIndex(left.astype("i8")).tz_localize("UTC")
        right = left + pd.Timedelta("1h")
    else:
        right = left + 1
    return pd.arrays.IntervalArray.from_arrays(left, right, closed=draw(st.sampled_from(["left", "neither"])))


def _arrow(draw: st.DrawFn, rows: int) -> Any:
    kind = draw(st.sampled_from(list(ARROW)))
    array = pa.array(draw(lists_of(st.none() | ARROW[kind], rows)), kind)
    cut = draw(st.integers(0, rows))
    return pd.arrays.ArrowExtensionArray(pa.chunked_array([array[:cut], array[cut:]], kind))


def dictionaries_of(draw: st.DrawFn, rows: int) -> Any:
    array = pa.array(draw(lists_of(st.none() | st.sampled_from("pq"), rows)), pa.string())
    return pd.array(array.dictionary_encode(), dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())))


def sparse_of(draw: st.DrawFn, rows: int) -> Any:
    return pd.arrays.SparseArray(draw(lists_of(st.integers(0, 2), rows)), dtype="Sparse[int64, 0]")


_LABELS = (_numbers, _strings, _nullable, _zoned, _periods, intervals_of)
KINDS = (*_LABELS, _odd_numbers, _categories, objects_of, _arrow)
"""What all of pandas works with, and so does all of this package."""

_KINDS = (*KINDS, _swapped_numbers)


@st.composite
def values_of(draw: st.DrawFn, rows: int, labelling: bool = False, kinds: Any = _KINDS) -> Any:
    """Values of one column, of any kind that pandas has; or only of those that it can sort and find as labels."""
    kind = draw(st.sampled_from(_LABELS if labelling else kinds))
    return kind(draw, rows)


def index_of(values: Any, name: Any) -> pd.Index[Any]:
    """An index of values, unless pandas has none of that kind."""
    if getattr(values.dtype, "kind", "") == "f" and values.dtype == np.float16:
        values = values.astype("f4")
    return pd.Index(values, name=name, dtype=values.dtype if values.dtype == object else None)


@st.composite
def indexes_of(draw: st.DrawFn, rows: int, kinds: Any = _KINDS) -> Any:
    name = draw(labels)
    match draw(st.integers(0, 3)):
        case 0:
            start, step = draw(st.integers(-5, 5)), draw(st.sampled_from([-7, -1, 1, 3]))
            return pd.RangeIndex(start, start + rows * step, step, name=name)
        case 1:
            levels = [index_of(draw(values_of(rows, labelling=True)), None), pd.RangeIndex(rows)]
            return pd.MultiIndex.from_arrays(levels, names=[name, draw(labels)])
        case 2:
            return index_of(draw(values_of(rows, labelling=True)), name)
        case _:
            return index_of(draw(values_of(rows, kinds=kinds)), name)


@st.composite
def frames(draw: st.DrawFn, least: int = 0, most: int = 5, kinds: Any = _KINDS) -> pd.DataFrame:
    """Frames of so many rows, with columns, an index and labels of any kind."""
    rows, width = draw(st.integers(least, most)), draw(st.integers(0, 4))
    columns = [draw(values_of(rows, kinds=kinds)) for _ in range(width)]
    frame = pd.DataFrame(dict(enumerate(columns)), index=draw(indexes_of(rows, kinds)))
    if draw(st.booleans()):
        frame = frame.copy()  # columns of one dtype become one block
    frame.columns = draw(indexes_of(width, kinds))
    return frame


SHUFFLED = (*KINDS, dictionaries_of, sparse_of)
"""What rows of shuffled frames hold: pandas can't even take rows of numbers in foreign byte order."""

PICKLED = (objects_of, intervals_of, sparse_of, dictionaries_of)
"""What has no plain form in a shuffle."""
