"""Frames, series and indexes as Arrow: returned exactly as they were, or not taken."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import Corrupt, ResultTypeRefused
from cloudoffload.wire.codecs import decode, encode_data, encode_result
from cloudoffload.wire.digest import BLAKE3
from cloudoffload.wire.values import pack_value, unpack_value

UNITS = ("s", "ms", "us", "ns")
NUMBERS = ("bool", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")
TIMES = tuple(f"{kind}8[{unit}]" for kind in "Mm" for unit in UNITS)


def as_data(value: Any) -> Any:
    encoded = encode_data(value)
    assert encoded is not None and encoded.codec == "arrow"
    stored = bytearray(b"".join(pack_value(encoded, BLAKE3).pieces))
    return unpack_value(memoryview(stored), pickles=False)[1]


def assert_same_index(again: pd.Index[Any], index: pd.Index[Any]) -> None:
    pd.testing.assert_index_equal(again, index, exact=True, check_exact=True)
    assert type(again) is type(index) and again.name == index.name
    assert getattr(again.dtype, "storage", None) == getattr(index.dtype, "storage", None)
    assert getattr(again, "freq", None) == getattr(index, "freq", None)
    if isinstance(index, pd.RangeIndex):
        assert (again.start, again.stop, again.step) == (index.start, index.stop, index.step)  # type: ignore[attr-defined]


def assert_same_column(again: pd.Series[Any], column: pd.Series[Any]) -> None:
    assert again.dtype == column.dtype and repr(again.dtype) == repr(column.dtype)
    assert getattr(again.dtype, "storage", None) == getattr(column.dtype, "storage", None)
    if isinstance(column.dtype, np.dtype):
        assert again.to_numpy().tobytes() == column.to_numpy().tobytes()  # NaN payloads and -0.0 too
    else:
        assert again.isna().tolist() == column.isna().tolist()
        assert again.dropna().tolist() == column.dropna().tolist()


def assert_same(again: Any, value: Any) -> None:
    """Equal in all that pandas can tell apart, bit for bit."""
    assert type(again) is type(value)
    if isinstance(value, pd.Index):
        assert_same_index(again, value)
        return
    assert_same_index(again.index, value.index)
    assert again.attrs == value.attrs and again.flags == value.flags
    if isinstance(value, pd.Series):
        assert again.name == value.name
        assert_same_column(again, value)
        return
    assert_same_index(again.columns, value.columns)
    pd.testing.assert_frame_equal(again, value, check_exact=True, check_freq=True, check_flags=True)
    for position in range(value.shape[1]):
        assert_same_column(again.iloc[:, position], value.iloc[:, position])


labels = st.none() | st.text(max_size=5)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@st.composite
def columns_of(draw: st.DrawFn, rows: int) -> Any:
    """Values of one column, as pandas accepts them."""
    kind = draw(st.sampled_from([*NUMBERS, *TIMES, "str", "nothing"]))
    if kind == "str":
        return pd.array(draw(st.lists(st.none() | texts, min_size=rows, max_size=rows)), dtype="str")
    if kind == "nothing":
        return pd.array([None] * rows, dtype="str")
    return draw(hnp.arrays(kind, rows))


@st.composite
def indexes_of(draw: st.DrawFn, rows: int) -> Any:
    name = draw(labels)
    if draw(st.booleans()):
        start, step = draw(st.integers(-5, 5)), draw(st.sampled_from([-7, -1, 1, 3]))
        return pd.RangeIndex(start, start + rows * step, step, name=name)
    return pd.Index(draw(columns_of(rows)), name=name)


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    rows = draw(st.integers(0, 5))
    names = draw(st.lists(texts, unique=True, max_size=4))
    columns = [draw(columns_of(rows)) for _ in names]
    frame = pd.DataFrame(dict(enumerate(columns)), index=draw(indexes_of(rows)))
    frame.columns = pd.Index(names, dtype="str")
    return frame


@given(frames())
def test_frames_come_back_exactly(frame: pd.DataFrame) -> None:
    """Values, dtypes with their units, index, column labels and names; without rows or without columns too."""
    assert_same(as_data(frame), frame)


@given(frames(), labels)
def test_series_and_indexes_come_back_exactly(frame: pd.DataFrame, name: str | None) -> None:
    """The same for a series of any dtype, and for an index by itself."""
    assert_same(as_data(frame.index), frame.index)
    for position in range(frame.shape[1]):
        series = frame.iloc[:, position].rename(name)
        assert_same(as_data(series), series)


@given(frames())
def test_views_come_back_as_the_rows_that_they_show(frame: pd.DataFrame) -> None:
    """Every second row, in reverse, is no contiguous memory; only what it shows is carried."""
    for view in (frame.iloc[::-2], frame.iloc[1:3], frame.iloc[:, ::-1]):
        assert_same(as_data(view), view)


@given(frames())
def test_results_can_be_written_to(frame: pd.DataFrame) -> None:
    """Users assign into what they computed: single values, whole columns and new ones."""
    again = as_data(frame)
    again["new column"] = 1
    if len(again):
        again.iloc[0] = again.iloc[-1]
    for position in range(frame.shape[1]):
        array = as_data(frame.iloc[:, position]).array
        if len(array):
            array[0] = array[-1]


def test_a_read_only_column_comes_back_writable() -> None:
    """The flag belongs to memory that does not travel."""
    values = np.arange(3.0)
    values.flags.writeable = False
    again = as_data(pd.DataFrame({"a": pd.Series(values, copy=False)}))
    again.loc[0, "a"] = 9.0
    assert again["a"].tolist() == [9.0, 1.0, 2.0]


def test_column_labels_that_look_like_positions_stay_texts() -> None:
    """A column named "0" is not the first column."""
    frame = pd.DataFrame({"1": [1], "0": [2]})
    assert_same(as_data(frame), frame)


class Subframe(pd.DataFrame):
    @property
    def _constructor(self) -> Any:
        return Subframe


def with_flags() -> pd.DataFrame:
    return pd.DataFrame({"a": [1]}).set_flags(allows_duplicate_labels=False)


def with_attrs() -> pd.Series[Any]:
    series = pd.Series([1.0])
    series.attrs["unit"] = "m"
    return series


def with_columns(columns: pd.Index[Any]) -> pd.DataFrame:
    frame = pd.DataFrame(np.ones((1, len(columns))))
    frame.columns = columns
    return frame


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(pd.Series(["a", 1, None], dtype=object), id="objects"),
        pytest.param(pd.DataFrame({"a": [1], "b": pd.Series([(1, 2)], dtype=object)}), id="one column of objects"),
        pytest.param(pd.Series(["x", "y"], dtype="category"), id="categories"),
        pytest.param(pd.Series(pd.date_range("2026", periods=2, tz="Europe/Paris")), id="time zone"),
        pytest.param(pd.Series([1], pd.date_range("2026", periods=1, freq="D")), id="index with a frequency"),
        pytest.param(pd.date_range("2026", periods=3, freq="h"), id="frequency"),
        pytest.param(pd.period_range("2026", periods=2, freq="M"), id="periods"),
        pytest.param(pd.Series([1, None], dtype="Int64"), id="nullable integers"),
        pytest.param(pd.Series([True, None], dtype="boolean"), id="nullable booleans"),
        pytest.param(pd.Series([1.5, None], dtype="double[pyarrow]"), id="Arrow's own dtype"),
        pytest.param(pd.Series(["a", None], dtype="string"), id="string with NA"),
        pytest.param(pd.Series(["a", None], dtype=pd.StringDtype("python", na_value=np.nan)), id="str in Python"),
        pytest.param(pd.Series(pd.arrays.SparseArray([0, 0, 1])), id="sparse"),
        pytest.param(pd.Series([1 + 2j]), id="complex"),
        pytest.param(pd.Series([1.5], dtype="f2"), id="half floats"),
        pytest.param(pd.Series(np.array([1, 2], ">i8")), id="big-endian"),
        pytest.param(pd.Series([1], name=3), id="name that is no text"),
        pytest.param(pd.Series([1], pd.Index([1], name=("a", 1))), id="index name that is no text"),
        pytest.param(pd.Series([1], name="\ud800"), id="name with half a surrogate pair"),
        pytest.param(pd.Series([1], pd.MultiIndex.from_tuples([(1, 2)])), id="levels"),
        pytest.param(pd.Series([1], pd.CategoricalIndex(["a"])), id="categories in the index"),
        pytest.param(with_columns(pd.Index(["a", "a"])), id="duplicate columns"),
        pytest.param(with_columns(pd.RangeIndex(2)), id="numbered columns"),
        pytest.param(with_columns(pd.Index(["a", 1], dtype=object)), id="mixed columns"),
        pytest.param(with_columns(pd.Index(["a"], dtype=object)), id="object columns"),
        pytest.param(with_columns(pd.Index(["a"], dtype=pd.StringDtype("python", na_value=np.nan))), id="py columns"),
        pytest.param(with_columns(pd.Index(["a", None], dtype="str")), id="column without a label"),
        pytest.param(with_columns(pd.Index(["a"], name="letters")), id="name of the columns"),
        pytest.param(Subframe({"a": [1]}), id="subclass"),
        pytest.param(with_flags(), id="flags"),
        pytest.param(with_attrs(), id="attrs"),
        pytest.param(pd.Timestamp("2026"), id="timestamp"),
        pytest.param(pd.NaT, id="NaT"),
    ],
)
def test_what_arrow_would_change_is_pickled_or_refused_by_name(value: Any) -> None:
    """The codec takes nothing that it would return as something else."""
    assert encode_result(value, "verified").codec == "pickle"
    with pytest.raises(ResultTypeRefused, match=type(value).__name__):
        encode_result(value, "data")


def test_offsets_that_point_outside_are_corrupt() -> None:
    """Texts lie where offsets say; made-up ones must not show the client's other memory."""
    encoded = encode_data(pd.Series(["a", "bc"]))
    assert encoded is not None
    stream = bytes(encoded.buffers[0])
    offsets = struct.pack("<qqq", 0, 1, 3)
    assert stream.count(offsets) == 1
    stream = stream.replace(offsets, struct.pack("<qqq", 0, 1, 1 << 40))
    with pytest.raises(Corrupt):
        decode("arrow", encoded.head, [memoryview(bytearray(stream))])


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@given(frames(), st.data())
def test_damaged_streams_are_corrupt_or_a_frame(frame: pd.DataFrame, data: st.DataObject) -> None:
    """Digests catch damage; should one be forged, Arrow's reader raises Corrupt and nothing else."""
    encoded = encode_data(frame)
    assert encoded is not None
    stream = bytearray(encoded.buffers[0])
    stream[data.draw(st.integers(0, len(stream) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(Corrupt):
        decode("arrow", encoded.head, [memoryview(stream)])
