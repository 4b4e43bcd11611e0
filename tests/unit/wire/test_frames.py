"""Frames, series, indexes and scalars of pandas as data: exactly what they were, or not taken."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.tseries.frequencies import to_offset
from pandas.tseries.offsets import CustomBusinessDay

from cloudoffload.errors import Corrupt, ResultTypeRefused
from cloudoffload.wire import arrow
from cloudoffload.wire.codecs import decode, encode_data, encode_result
from cloudoffload.wire.tags import Tag
from cloudoffload.wire.tree import APART_FROM
from tests.unit.wire.pandas_values import PERIODS, UNITS, ZONES, frames, indexes_of, labels, values_of
from tests.unit.wire.sameness import as_data, assert_same


@given(frames())
def test_frames_come_back_exactly(frame: pd.DataFrame) -> None:
    """Values, dtypes with their units, both indexes of any kind, their names; without rows or without columns too."""
    assert_same(as_data(frame), frame)


@given(st.integers(0, 5).flatmap(lambda rows: st.tuples(values_of(rows), indexes_of(rows))), labels)
def test_series_indexes_and_arrays_come_back_exactly(both: Any, name: Any) -> None:
    """The same for a series of any dtype, for an index by itself, and for the values by themselves."""
    values, index = both
    series = pd.Series(values, index=index, name=name, dtype=values.dtype)
    assert_same(as_data(series), series)
    assert_same(as_data(index), index)
    assert_same(as_data(values), np.array(values) if isinstance(values, np.ndarray) else values)


@given(frames())
def test_views_come_back_as_the_rows_that_they_show(frame: pd.DataFrame) -> None:
    """Every second row, in reverse, is no contiguous memory; only what it shows is carried."""
    for view in (frame.iloc[::-2], frame.iloc[1:3], frame.iloc[:, ::-1], frame.iloc[:, 1:], frame.T):
        assert_same(as_data(view), view)


@given(st.integers(1, 5).flatmap(lambda rows: values_of(rows, labelling=True)))
def test_results_can_be_written_to(values: Any) -> None:
    """Users assign into what they computed: single values of series, frames and arrays, and new columns."""
    frame = as_data(pd.DataFrame({"a": values, "b": values}))
    series, array = as_data(frame["a"]), as_data(frame["a"]).array
    frame.loc[0, "a"] = frame["b"].iloc[-1]
    series.iloc[0] = series.iloc[-1]
    array[0] = array[-1]
    frame["new"] = 1
    for written in (frame["a"], series, pd.Series(array)):
        assert repr(written.iloc[0]) == repr(written.iloc[-1])


def test_values_of_a_block_can_be_written_to() -> None:
    """In place, where several columns lie in the memory that came; also if it was read-only before it travelled."""
    values = np.arange(6.0).reshape(3, 2)
    values.flags.writeable = False
    again = as_data(pd.DataFrame(values, columns=["a", "b"], copy=False))
    again.loc[0, "a"] = 9.0
    assert again["a"].tolist() == [9.0, 2.0, 4.0]


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(pd.DataFrame(np.zeros((APART_FROM, 2))), id="columns of one array"),
        pytest.param(pd.DataFrame({"a": np.zeros(APART_FROM), "b": np.zeros(APART_FROM)}), id="arrays of their own"),
        pytest.param(pd.DataFrame({"a": np.zeros(APART_FROM, "M8[ns]")}), id="moments"),
    ],
)
def test_a_frame_lies_in_the_memory_that_came(frame: pd.DataFrame) -> None:
    """Numbers and moments are written without a copy, and read without one."""
    encoded = encode_data(frame)
    assert encoded is not None and encoded.buffers
    for buffer in encoded.buffers:
        assert any(np.shares_memory(np.asarray(buffer), frame.iloc[:, n].to_numpy()) for n in range(frame.shape[1]))
    came = [memoryview(bytearray(buffer)) for buffer in encoded.buffers]
    again = decode(encoded.codec, encoded.head, came)
    for n in range(frame.shape[1]):
        assert any(np.shares_memory(np.asarray(buffer), again.iloc[:, n].to_numpy()) for buffer in came)


scalars = st.one_of(
    st.sampled_from([pd.NaT, pd.NA]),
    st.builds(
        lambda number, unit, zone: (
            pd.Timestamp(np.datetime64(number, "s").astype(f"M8[{unit}]")).tz_localize("UTC").tz_convert(zone)
        ),
        st.integers(-(10**9), 2 * 10**9),
        st.sampled_from(UNITS),
        st.none() | st.sampled_from(ZONES),
    ),
    st.builds(
        lambda number, unit: pd.Timedelta(np.timedelta64(number, unit)),
        st.integers(-(10**9), 10**9),
        st.sampled_from(UNITS),
    ),
    st.builds(lambda number, freq: pd.Period(ordinal=number, freq=freq), st.integers(0, 999), st.sampled_from(PERIODS)),
    st.builds(pd.Interval, st.integers(0, 5), st.floats(5, 9), st.sampled_from(["left", "right", "both", "neither"])),
)


@given(scalars)
def test_scalars_come_back_exactly(scalar: Any) -> None:
    """Units and time zones of moments, frequencies, missing values; alone, in a list, as a key."""
    again = as_data([scalar, {scalar: 1}])[0]
    assert_same(again, scalar)
    assert getattr(again, "unit", None) == getattr(scalar, "unit", None)


def test_a_repeated_hour_stays_the_one_that_it_was() -> None:
    """When clocks go back, two moments have the same time of day."""
    first = pd.Timestamp("2026-10-25 00:30", tz="UTC").tz_convert("Europe/Paris")
    for moment in (first, first + pd.Timedelta("1h")):
        again = as_data(moment)
        assert again == moment and again.fold == moment.fold and str(again) == str(moment)


@pytest.mark.parametrize("freq", ["D", "2h", "MS", "QE-JAN", "W-TUE", "B", "-1D", "15min"])
def test_the_frequency_of_an_index_is_kept(freq: str) -> None:
    """Of moments, in a time zone too, and of durations."""
    for index in (pd.date_range("2026-01-01", periods=4, freq=freq, tz="Europe/Paris"), _durations(freq)):
        assert_same(as_data(index), index)
        assert as_data(pd.Series(1, index)).index.freq == index.freq


def _durations(freq: str) -> pd.Index[Any]:
    steady = isinstance(to_offset(freq), pd.offsets.Tick)
    return pd.timedelta_range("1h", periods=4, freq=freq if steady else "h")


@pytest.mark.parametrize("index", [pd.MultiIndex.from_product([range(3), ["a", None]]), pd.Index(["a", "a"])])
def test_labels_that_look_like_others_stay_themselves(index: Any) -> None:
    """A column "0" is not the first column, and two of one name are two."""
    frame = pd.DataFrame(np.arange(2 * len(index)).reshape(2, -1))
    frame.columns = index
    assert_same(as_data(frame), frame)
    for odd in (
        pd.Index(["1", "0"]),
        pd.Index([1, 0]),
        pd.Index(["1", 1], dtype=object),
        pd.Index([1, 2], dtype=object),
    ):
        frame = pd.DataFrame(np.arange(4).reshape(2, 2))
        frame.columns = odd
        assert_same(as_data(frame), frame)


def test_levels_that_nobody_uses_any_more_are_kept() -> None:
    """An index of levels that was filtered holds all that it could say, and by how many levels it is sorted."""
    index = pd.MultiIndex.from_product([["x", "y"], range(5)], sortorder=2)
    for some in (index, index[3:4]):
        assert_same(as_data(some), some)


def test_an_ordered_category_keeps_its_order() -> None:
    """Which is not that of its names, and decides what is larger."""
    sizes = pd.Series(pd.Categorical(["small", "large"], ["small", "medium", "large"], ordered=True))
    again = as_data(sizes)
    assert_same(again, sizes)
    assert again.max() == "large"


class Subframe(pd.DataFrame):
    @property
    def _constructor(self) -> Any:
        return Subframe


def with_attrs() -> pd.Series[Any]:
    series = pd.Series([1.0])
    series.attrs["unit"] = "m"
    return series


class Text(str):
    pass


def with_subclass() -> pd.Series[Any]:
    return pd.Series(pd.arrays.StringArray(np.array([Text("a")], object)))


WORKDAYS = CustomBusinessDay(holidays=["2026-01-02"])


def arrow_of(array: Any) -> pd.Series[Any]:
    return pd.Series(pd.arrays.ArrowExtensionArray(array))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        pytest.param(pd.Series(pd.arrays.SparseArray([0, 0, 1])), "SparseArray", id="sparse"),
        pytest.param(Subframe({"a": [1]}), "Subframe", id="subclass"),
        pytest.param(pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False), "duplicate labels", id="flags"),
        pytest.param(with_attrs(), "attrs", id="attrs"),
        pytest.param(pd.Timestamp("2026").replace(fold=1), "repeated", id="fold without a time zone"),
        pytest.param(pd.Timestamp("2026", tz="dateutil/Europe/Paris"), "tzfile", id="time zone of dateutil"),
        pytest.param(pd.Series(pd.date_range("2026", periods=1, tz="dateutil/Europe/Paris")), "tzfile", id="zoned"),
        pytest.param(
            pd.date_range("2026", periods=2, freq=CustomBusinessDay(holidays=["2026-01-02"])),
            "frequency",
            id="holidays",
        ),
        pytest.param(pd.offsets.MonthEnd(), "MonthEnd", id="offset"),
        pytest.param(with_subclass(), "subclass of str", id="texts of a subclass"),
        pytest.param(arrow_of(pa.array(["a", "a"]).dictionary_encode()), "dictionary", id="Arrow dictionary"),
        pytest.param(arrow_of(pa.nulls(2)), "null", id="Arrow nulls"),
        pytest.param(arrow_of(pa.array([{}, {}], pa.struct([]))), "struct", id="Arrow structs of nothing"),
        pytest.param(arrow_of(pa.array([[], []], pa.list_(pa.int8(), 0))), "list", id="Arrow lists of nothing"),
        pytest.param(arrow_of(pa.array([[None]], pa.list_(pa.null()))), "null", id="Arrow lists of nulls"),
        pytest.param(arrow_of(pa.array([b""], pa.binary(0))), "binary", id="Arrow bytes of no width"),
    ],
)
def test_what_would_not_come_back_is_pickled_or_refused(value: Any, why: str) -> None:
    """The codec takes nothing that it would return as something else; the message says what it is."""
    assert encode_result(value, "verified").codec == "pickle"
    with pytest.raises(ResultTypeRefused, match=why):
        encode_result(value, "data")


def corrupted(series: pd.Series[Any], old: bytes, new: bytes) -> None:
    encoded = encode_data(series)
    assert encoded is not None and encoded.head.count(old) == 1
    with pytest.raises(Corrupt):
        decode(encoded.codec, encoded.head.replace(old, new), [])


def test_offsets_that_point_outside_are_corrupt() -> None:
    """Texts lie where offsets say; made-up ones must not show the client's other memory."""
    corrupted(pd.Series(["a", "bc"]), struct.pack("<qqq", 0, 1, 3), struct.pack("<qqq", 0, 1, 1 << 40))


def test_texts_that_are_no_unicode_are_corrupt() -> None:
    """Arrow trusts its bytes to be UTF-8."""
    corrupted(pd.Series(["abcdefgh"]), b"abcdefgh", b"abcdefg\xff")


def test_compressed_batches_are_corrupt() -> None:
    """No bytes are written compressed; a gigabyte of zeros would arrive as a few thousand of them."""
    array = pa.array(np.zeros(100_000))
    schema, (plain,) = arrow.pieces_of(pa.chunked_array([array]))
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema([pa.field("", array.type)]), options=options) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([array], [""]))
    reader = pa.ipc.MessageReader.open_stream(sink.getvalue())
    squeezed = [reader.read_next_message() for _ in range(2)][1].serialize()
    assert squeezed.size < len(plain) / 100
    assert arrow.array_of(schema, [plain]).equals(pa.chunked_array([array]))
    with pytest.raises(ValueError, match="compressed"):
        arrow.array_of(schema, [memoryview(squeezed)])


@pytest.mark.parametrize("fields", [[], [pa.field("", pa.null())], [pa.field("", pa.int64())] * 2])
def test_a_schema_of_anything_but_one_plain_array_is_corrupt(fields: Any) -> None:
    """Of nulls, eight bytes could claim any number."""
    _, (batch,) = arrow.pieces_of(pa.chunked_array([pa.array([1])]))
    schema = pa.schema(fields).serialize().to_pybytes()
    with pytest.raises(ValueError, match="schema"):
        arrow.array_of(schema, [batch])


def test_each_tag_is_made_by_some_value() -> None:
    """No decoder reads what no value is written as: what is not needed can't be abused."""
    from cloudoffload.wire import arrays, frames, plain

    known = {tag for module in (plain, arrays, frames) for tag in module.DECODERS}
    assert known | {Tag.TUPLE} == set(Tag)
