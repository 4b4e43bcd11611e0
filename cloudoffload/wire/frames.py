"""pandas frames, series, indexes and scalars as nodes of a tree of plain data.

A frame is written block by block, as pandas keeps it: all its columns of one NumPy dtype are one array, which travels
without a copy and is the memory of the frame that comes back.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.internals import create_dataframe_from_blocks  # type: ignore[import-not-found]  # stubs lack it

from cloudoffload.wire import arrays, extension
from cloudoffload.wire.extension import frequency, holds, is_values, short, values_of
from cloudoffload.wire.tags import Decoder, Encoder, NotData, Tag
from cloudoffload.wire.tree import Reader, Writer


def blocks_of(frame: pd.DataFrame) -> Iterator[tuple[list[int], Any]]:
    """Columns of a frame by place, and their values: rows of a NumPy array, or one array of pandas."""
    for block in frame._mgr.blocks:  # pandas has a function to make a frame of its blocks, and none to get them
        values, places = block.values, block.mgr_locs.as_array.tolist()
        if isinstance(values.dtype, np.dtype):
            yield places, np.asarray(values)
        elif values.ndim == 1:
            yield places, values
        else:
            yield from (([place], row) for place, row in zip(places, values, strict=True))


def _frame(value: pd.DataFrame, writer: Writer) -> tuple[Any, ...]:
    _only_data(value)
    return Tag.FRAME, value.index, value.columns, *[part for block in blocks_of(value) for part in block]


def _series(value: pd.Series[Any], writer: Writer) -> tuple[Any, ...]:
    _only_data(value)
    writer.look((value.name,))
    return Tag.SERIES, values_of(value), value.index, value.name


def _only_data(value: pd.DataFrame | pd.Series[Any]) -> None:
    if value.attrs:
        raise NotData(value, f"a {type(value).__name__} with attrs")
    if not value.flags.allows_duplicate_labels:
        raise NotData(value, f"a {type(value).__name__} that forbids duplicate labels")


def _index(value: Any, writer: Writer) -> tuple[Any, ...]:
    writer.look((value.name,))
    return Tag.INDEX, values_of(value), value.name, frequency(getattr(value, "freq", None), value)


def _period_index(value: Any, writer: Writer) -> tuple[Any, ...]:
    writer.look((value.name,))
    return Tag.INDEX, value.array, value.name, None  # what they are periods of is said by their dtype


def _range_index(value: pd.RangeIndex, writer: Writer) -> tuple[Any, ...]:
    writer.look((value.name,))
    return Tag.RANGE_INDEX, value.start, value.stop, value.step, value.name


def _levels(value: Any, writer: Writer) -> tuple[Any, ...]:
    names = list(value.names)
    writer.look(names)
    codes = [np.asarray(level) for level in value.codes]
    return Tag.LEVELS, list(value.levels), codes, names, value.sortorder


def _timestamp(value: pd.Timestamp, writer: Writer) -> tuple[Any, ...]:
    if value.tz is None and value.fold:
        raise NotData(value, "a timestamp without a time zone that is marked as repeated")
    return Tag.TIMESTAMP, int(value.asm8.view("i8")), value.unit, value.tz


def _period(value: pd.Period, writer: Writer) -> tuple[Any, ...]:
    if pd.Period(ordinal=value.ordinal, freq=value.freqstr) != value:
        raise NotData(value, f"the frequency {value.freq!r}")
    return Tag.PERIOD, value.ordinal, value.freqstr


def _interval(value: pd.Interval[Any], writer: Writer) -> tuple[Any, ...]:
    writer.look((value.left, value.right))
    return Tag.INTERVAL, value.left, value.right, value.closed


def _made_frame(parts: list[Any], reader: Reader) -> pd.DataFrame:
    index, columns, *rest = parts
    blocks = list(zip(rest[::2], rest[1::2], strict=True))
    if not isinstance(index, pd.Index) or not isinstance(columns, pd.Index):
        raise TypeError("a frame lacks its labels")
    # pandas writes outside of its memory where places are wrong.
    taken = sorted(place for places, _ in blocks for place in places)
    if len(taken) != len(columns) or taken != list(range(len(taken))):
        raise ValueError("blocks are not the columns of their frame")
    if not all(_is_block(values, len(places), len(index)) for places, values in blocks):
        raise ValueError("a block is not of its frame's shape")
    placed = [(values, np.array(places, np.intp)) for places, values in blocks]
    frame: pd.DataFrame = create_dataframe_from_blocks(placed, index=index, columns=columns)
    return frame


def _is_block(values: Any, columns: int, rows: int) -> bool:
    if type(values) is np.ndarray:
        return values.shape == (columns, rows) and holds(values.dtype)
    return is_values(values) and columns == 1 and len(values) == rows and not isinstance(values.dtype, np.dtype)


def _made_series(parts: list[Any], reader: Reader) -> pd.Series[Any]:
    values, index, name = parts
    if not is_values(values) or not isinstance(index, pd.Index):
        raise TypeError("a series lacks values or labels")
    series: pd.Series[Any] = pd.Series(values, index=index, name=name, dtype=values.dtype, copy=False)
    return series


def _made_index(parts: list[Any], reader: Reader) -> pd.Index[Any]:
    values, name, freq = parts
    if not is_values(values):
        raise TypeError("an index lacks its values")
    index: Any = pd.Index(values, dtype=values.dtype, name=name, copy=False)
    if freq is None:
        return index  # type: ignore[no-any-return]
    kind = {pd.DatetimeIndex: pd.DatetimeIndex, pd.TimedeltaIndex: pd.TimedeltaIndex}[type(index)]
    steady: pd.Index[Any] = kind(index, freq=short(freq), name=name)  # which looks whether the values have it
    return steady


def _made_range_index(parts: list[Any], reader: Reader) -> pd.RangeIndex:
    start, stop, step, name = parts
    return pd.RangeIndex(start, stop, step, name=name)


def _made_levels(parts: list[Any], reader: Reader) -> pd.MultiIndex:
    levels, codes, names, sortorder = parts
    if not levels or not all(_is_level(*pair, len(codes[0])) for pair in zip(levels, codes, strict=True)):
        raise TypeError("codes and values of a level don't fit")
    # pandas' own look at them would write out every number of a level that is a range.
    return pd.MultiIndex(levels, codes, names=names, sortorder=sortorder, copy=False, verify_integrity=False)


def _is_level(level: Any, codes: Any, rows: int) -> bool:
    if not isinstance(level, pd.Index) or not level.is_unique:
        return False
    whole = type(codes) is np.ndarray and codes.dtype.kind == "i" and codes.shape == (rows,)
    return whole and (rows == 0 or (int(codes.min()) >= -1 and int(codes.max()) < len(level)))


def _made_timestamp(parts: list[Any], reader: Reader) -> Any:
    number, unit, zone = parts
    moment = pd.Timestamp(np.datetime64(number, unit))
    if zone is None:
        return moment
    if not isinstance(zone, datetime.tzinfo):  # texts may name files
        raise TypeError("a time zone is none")
    return moment.tz_localize("UTC").tz_convert(zone)


def _made_duration(parts: list[Any], reader: Reader) -> Any:
    return pd.Timedelta(np.timedelta64(*parts))


def _made_period(parts: list[Any], reader: Reader) -> Any:
    ordinal, freq = parts
    return pd.Period(ordinal=ordinal, freq=short(freq))


ENCODERS: Mapping[type, Encoder] = {
    **arrays.ENCODERS,
    **extension.ENCODERS,
    pd.DataFrame: _frame,
    pd.Series: _series,
    pd.Index: _index,
    pd.DatetimeIndex: _index,
    pd.TimedeltaIndex: _index,
    pd.CategoricalIndex: _index,
    pd.IntervalIndex: _index,
    pd.PeriodIndex: _period_index,
    pd.RangeIndex: _range_index,
    pd.MultiIndex: _levels,
    pd.Timestamp: _timestamp,
    pd.Timedelta: lambda value, writer: (Tag.DURATION, int(value.asm8.view("i8")), value.unit),
    pd.Period: _period,
    pd.Interval: _interval,
    type(pd.NaT): lambda value, writer: (Tag.NAT,),
    type(pd.NA): lambda value, writer: (Tag.NA,),
}

MUTABLE = frozenset((pd.DataFrame, pd.Series, *extension.ENCODERS, *arrays.MUTABLE))

DECODERS: Mapping[Tag, Decoder] = {
    **extension.DECODERS,
    Tag.FRAME: _made_frame,
    Tag.SERIES: _made_series,
    Tag.INDEX: _made_index,
    Tag.RANGE_INDEX: _made_range_index,
    Tag.LEVELS: _made_levels,
    Tag.TIMESTAMP: _made_timestamp,
    Tag.DURATION: _made_duration,
    Tag.PERIOD: _made_period,
    Tag.INTERVAL: lambda parts, reader: pd.Interval(*parts),
    Tag.NAT: lambda parts, reader: pd.NaT,
    Tag.NA: lambda parts, reader: pd.NA,
}
