"""Rows of frames as plain columns: whatever pandas holds comes back as it was."""

from __future__ import annotations

import contextlib
import itertools
import pickle
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from cloudoffload.errors import Corrupt
from cloudoffload.wire.codecs import COLUMNS as CODEC
from cloudoffload.wire.codecs import Encoded, decode
from cloudoffload.wire.columns import FrameRows, Template, encode_rows, joined
from tests.unit.wire.pandas_values import PICKLED, SHUFFLED, frames, indexes_of


def opened(encoded: Encoded, template: Template) -> FrameRows:
    """Rows as a reader gets them, in memory of their own."""
    assert encoded.codec == CODEC
    rows: FrameRows = decode(CODEC, encoded.head, [memoryview(bytearray(buffer)) for buffer in encoded.buffers])
    rows.template = template
    return rows


def same(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Equal in values, dtypes, labels, index and attributes."""
    pd.testing.assert_frame_equal(found, expected, check_freq=False, check_flags=True)
    assert found.attrs == expected.attrs and found.columns.names == expected.columns.names


@given(frames(1, 12, SHUFFLED), st.data())
def test_ranges_of_rows_come_back_in_the_order_that_was_asked_for(frame: pd.DataFrame, data: st.DataObject) -> None:
    """A range of any order of rows is what pandas itself takes at those positions."""
    order = data.draw(st.lists(st.integers(0, len(frame) - 1), min_size=1, max_size=15))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(order)), min_size=2, max_size=4)))
    ranges = [(start, stop, (), ()) for start, stop in itertools.pairwise(cuts)]
    template = Template.of(frame, ignore_index=False)
    encoded = list(encode_rows(frame, template, np.array(order), ranges))
    for (start, stop, *_), item in zip(ranges, encoded, strict=True):
        same(opened(item, template).frame(), frame.take(order[start:stop]))


@given(frames(1, 12, SHUFFLED), st.data())
def test_joined_rows_are_what_concatenating_them_gives(frame: pd.DataFrame, data: st.DataObject) -> None:
    """Parts of several frames of one kind, one behind the other, with their index or numbered anew."""
    orders = data.draw(st.lists(st.lists(st.integers(0, len(frame) - 1), min_size=1), min_size=1, max_size=4))
    ignore_index = data.draw(st.booleans())
    template = Template.of(frame, ignore_index=ignore_index)
    parts = [
        opened(item, template)
        for order in orders
        for item in encode_rows(frame, template, np.array(order), [(0, len(order), (), ())])
    ]
    expected = pd.concat([frame.take(order) for order in orders], ignore_index=ignore_index)
    if frame.index.dtype == object and frame.index.nlevels == 1 and not ignore_index:
        # Here pandas would guess anew what the objects are.
        labels = np.concatenate([frame.index.to_numpy()[order] for order in orders])
        expected.index = pd.Index(labels, dtype=object, name=frame.index.name)
    same(joined(parts, ignore_index=ignore_index), expected)


@given(st.data(), st.sampled_from(SHUFFLED), st.integers(1, 2))
def test_every_kind_of_column_can_be_written_to(data: st.DataObject, kind: Any, parts: int) -> None:
    """The user's code changes what it was given: nothing it gets is read-only."""
    frame = pd.DataFrame({"a": kind(data.draw, 6)})
    expected = pd.concat([frame] * parts, ignore_index=True)
    try:
        expected.iloc[0, 0] = frame.iloc[3, 0]
    except (TypeError, ValueError, NotImplementedError):
        reject()  # pandas itself can't: sparse columns, and many that hold lists
    template = Template.of(frame, ignore_index=True)
    (encoded,) = encode_rows(frame, template, np.arange(6), [(0, 6, (), ())])
    found = joined([opened(encoded, template)] * parts)
    found.iloc[0, 0] = frame.iloc[3, 0]
    same(found, expected)


@given(st.data(), st.sampled_from([kind for kind in SHUFFLED if kind not in PICKLED]))
def test_plain_columns_are_not_pickled(data: st.DataObject, kind: Any) -> None:
    """Only what has no plain form costs a pickle for each part."""
    assert Template(pd.DataFrame({"a": kind(data.draw, 0)})).pickled == []


def with_attributes(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with an attribute."""
    frame = frame.copy()
    frame.attrs = {"unit": "m"}
    return frame


CATEGORIES = pd.CategoricalDtype(["x", "y"])
MEANING = pd.DataFrame({"a": [1], "c": pd.Categorical(["x"], dtype=CATEGORIES)}, index=pd.Index([5], name="id"))


def test_equal_templates_mean_the_same_whatever_their_bytes_are() -> None:
    """A frame that came through a pickle has the same columns as one that did not."""
    again = pickle.loads(pickle.dumps(MEANING))
    one, other = Template.of(MEANING, ignore_index=False), Template.of(again, ignore_index=False)
    assert one.means_the_same(other) and other.means_the_same(one)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(MEANING.astype({"a": "int32"}), id="dtype"),
        pytest.param(MEANING.assign(c=pd.Categorical(["x"], categories=["y", "x"])), id="order of categories"),
        pytest.param(MEANING.assign(c=pd.Categorical(["x"], categories=["x", "z"])), id="categories"),
        pytest.param(MEANING.rename(columns={"a": "b"}), id="label"),
        pytest.param(MEANING[["c", "a"]], id="order of columns"),
        pytest.param(MEANING[["a"]], id="fewer columns"),
        pytest.param(MEANING.rename_axis(columns="labels"), id="name of the labels"),
        pytest.param(MEANING.rename_axis("other"), id="name of the index"),
        pytest.param(MEANING.reset_index(drop=True), id="index"),
        pytest.param(MEANING.set_axis(pd.Index([0.5], name="id")), id="dtype of the index"),
        pytest.param(MEANING.set_axis(pd.MultiIndex.from_arrays([[5]], names=["id"])), id="levels"),
        pytest.param(MEANING.set_flags(allows_duplicate_labels=False), id="flag"),
        pytest.param(with_attributes(MEANING), id="attributes"),
    ],
)
def test_templates_that_differ_are_told_apart(other: pd.DataFrame) -> None:
    """Whatever differs would come back wrong if the rows were joined as they are stored."""
    assert not Template.of(MEANING, ignore_index=False).means_the_same(Template.of(other, ignore_index=False))


def test_columns_of_one_dtype_become_one_block() -> None:
    """Joined frames are as compact as those that pandas makes."""
    frame = pd.DataFrame({"a": [1, 2], "t": pd.to_datetime(["2020", "2021"]), "b": [3, 4], "x": [0.5, 1.5]})
    template = Template.of(frame, ignore_index=False)
    (encoded,) = encode_rows(frame, template, np.arange(2), [(0, 2, (), ())])
    found = joined([opened(encoded, template)] * 2)
    assert len(found._mgr.blocks) == 3  # type: ignore[attr-defined]  # no public name tells


@given(frames(1, 6, SHUFFLED), st.data())
def test_damaged_rows_are_corrupt_or_a_frame(frame: pd.DataFrame, data: st.DataObject) -> None:
    """Whatever stands in the buffers or the head: no crash, and no memory beyond what was given."""
    template = Template.of(frame, ignore_index=False)
    if template.pickled:
        return  # what unpickling runs is the user's own code: only its digest speaks for it
    (encoded,) = encode_rows(frame, template, np.arange(len(frame)), [(0, len(frame), (), ())])
    pieces = [bytearray(piece) for piece in (encoded.head, *encoded.buffers)]
    piece = pieces[data.draw(st.integers(0, len(pieces) - 1))]
    if piece and data.draw(st.booleans()):
        piece[data.draw(st.integers(0, len(piece) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del piece[data.draw(st.integers(0, len(piece))) :]
    with contextlib.suppress(Corrupt):
        head, *buffers = pieces
        rows = opened(Encoded(CODEC, bytes(head), buffers), template)
        assert len(rows.frame()) == len(rows)


@pytest.mark.parametrize(
    ("head", "buffers"),
    [
        pytest.param((1 << 40, (), ()), [bytes(16)], id="terabyte"),
        pytest.param((3, (), ()), [bytes(16)], id="fewer numbers than rows"),
        pytest.param((2, (), ()), [], id="no buffer"),
        pytest.param((2, (), ()), [bytes(16), bytes(16)], id="one buffer too many"),
        pytest.param((2, (0,), (1,)), [bytes(16)], id="fewer rows than counted"),
        pytest.param((2, (0, 1), (2,)), [bytes(16)], id="partition without a count"),
        pytest.param((-2, (), ()), [bytes(16)], id="negative"),
        pytest.param((2.0, (), ()), [bytes(16)], id="fraction"),
        pytest.param((2,), [bytes(16)], id="no counts"),
        pytest.param(2, [bytes(16)], id="number"),
    ],
)
def test_made_up_rows_are_corrupt(head: Any, buffers: list[bytes]) -> None:
    """Counts are checked against the bytes that are there."""
    template = Template(pd.DataFrame({"a": np.arange(0)}))
    assert opened(Encoded(CODEC, msgpack.packb((2, (), ())), [bytes(16)]), template).frame()["a"].tolist() == [0, 0]
    with pytest.raises(Corrupt):
        opened(Encoded(CODEC, msgpack.packb(head), buffers), template).frame()


def test_texts_that_would_be_read_outside_of_their_buffer_are_corrupt() -> None:
    """Arrow follows offsets wherever they point; they are checked first."""
    template = Template(pd.DataFrame({"a": pd.array([], dtype="str")}))
    batch = pa.record_batch([pa.array(["a", "b"], pa.large_string())], ["0"]).serialize().to_pybytes()
    offsets = np.array([0, 1, 2]).tobytes()
    assert batch.count(offsets) == 1
    batch = batch.replace(offsets, np.array([0, 1 << 40, 2]).tobytes())
    with pytest.raises(Corrupt):
        opened(Encoded(CODEC, msgpack.packb((2, (), ())), [batch]), template).frame()


def test_an_index_with_another_number_of_texts_is_corrupt() -> None:
    """A frame without columns has as many rows as its index, which must be those that were counted."""
    template = Template(pd.DataFrame(index=pd.Index([], dtype="str")))
    batch = pa.record_batch([pa.array(["a", "b"], pa.large_string())], ["0"]).serialize().to_pybytes()
    assert len(opened(Encoded(CODEC, msgpack.packb((2, (), ())), [batch]), template).frame()) == 2
    with pytest.raises(Corrupt):
        opened(Encoded(CODEC, msgpack.packb((3, (), ())), [batch]), template).frame()


@pytest.mark.parametrize("code", [-2, 3, 100])
def test_codes_without_a_category_are_corrupt(code: int) -> None:
    """So are codes of an index without a value in its levels."""
    template = Template(pd.DataFrame({"a": pd.Categorical([], categories=["x", "y", "z"])}))
    with pytest.raises(Corrupt):
        opened(Encoded(CODEC, msgpack.packb((1, (), ())), [np.array([code], "i1").tobytes()]), template).frame()
    levels = Template(pd.DataFrame(index=pd.MultiIndex.from_arrays([list("xyz"), list("xyz")])[:0]))
    good, bad = np.array([[0], [2]], "i1"), np.array([[0], [code]], "i1")
    assert opened(Encoded(CODEC, msgpack.packb((1, (), ())), [good.tobytes()]), levels).frame().index[0] == ("z", "x")
    with pytest.raises(Corrupt):
        opened(Encoded(CODEC, msgpack.packb((1, (), ())), [bad.tobytes()]), levels).frame()


@given(indexes_of(3))
def test_an_index_is_kept_or_left_out(index: pd.Index[Any]) -> None:
    """A template of each kind can be made, with and without its index."""
    frame = pd.DataFrame({"a": np.arange(3)}, index=index)
    assert type(Template.of(frame, ignore_index=True).frame.index) is pd.RangeIndex
    assert type(Template.of(frame, ignore_index=False).frame.index) is not pd.RangeIndex
