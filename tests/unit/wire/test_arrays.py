"""NumPy arrays and scalars as data: bit for bit what they were, or not taken."""

from __future__ import annotations

from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import ResultTypeRefused
from cloudoffload.wire.codecs import encode_data, encode_result
from cloudoffload.wire.tree import APART_FROM
from tests.unit.wire.sameness import as_data, as_pickle, assert_same

element_types = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.floating_dtypes(),
    hnp.complex_number_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.byte_string_dtypes(),
    hnp.unicode_string_dtypes(),
    hnp.array_dtypes(allow_subarrays=True),
)
arrays = hnp.arrays(element_types, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))
things = st.none() | st.text() | st.integers() | st.lists(st.floats()) | st.tuples(st.text(), st.binary())


@given(arrays, st.sampled_from(["C", "F"]))
def test_arrays_come_back_bit_for_bit(array: np.ndarray[Any, Any], order: Any) -> None:
    """Shape, dtype, byte order, memory order and every bit of an array are kept, and the result can be written to."""
    array = np.asarray(array, order=order)
    again = as_data(array)
    assert_same(again, array)
    assert again.flags.f_contiguous == array.flags.f_contiguous


@given(arrays)
def test_views_come_back_as_the_elements_that_they_show(array: np.ndarray[Any, Any]) -> None:
    """Strided, reversed and broadcast arrays carry their own elements, not the memory around them."""
    for view in (array[..., None][..., ::-1], np.broadcast_to(array, (2, *array.shape)), array.T):
        assert_same(as_data(view), np.array(view))


@given(hnp.arrays(object, hnp.array_shapes(min_dims=0, min_side=0, max_side=3), elements=things))
def test_arrays_of_objects_come_back(array: np.ndarray[Any, Any]) -> None:
    """Texts, None and whatever else is data, where an array has numpy refer to Python's own objects."""
    assert_same(as_data(array), array)


def test_items_that_look_like_rows_stay_items() -> None:
    """Lists of one length, inside an array of objects, don't become its second dimension."""
    array = np.empty(2, object)
    array[:] = [[1, 2], [3, 4]]
    assert_same(as_data(array), array)
    assert_same(as_data(array.reshape(2, 1)), array.reshape(2, 1))


@given(hnp.arrays(element_types, 1))
def test_numpy_scalars_come_back(array: np.ndarray[Any, Any]) -> None:
    """A scalar stays a scalar of its type; a structured one too."""
    scalar = array[0]
    if isinstance(scalar, np.generic):  # a dtype that is itself a subarray has arrays as items
        assert_same(as_data(scalar), scalar)
        assert_same(as_data({"a": [scalar, (scalar,)]}), {"a": [scalar, (scalar,)]})


TEXTS = [np.str_("a\0"), np.str_(""), np.str_("\ud800"), np.bytes_(b"a\0"), np.bytes_(b"\0")]


@pytest.mark.parametrize("text", TEXTS)
def test_zeros_at_the_end_of_a_text_are_kept(text: Any) -> None:
    """An array would lose them."""
    again = as_data(text)
    assert type(again) is type(text) and again == text and len(again) == len(text)


def test_fields_of_a_structured_scalar_can_be_written_to() -> None:
    """As those of the one that was computed."""
    again = as_data(np.zeros(1, [("a", "i4")])[0])
    again["a"] = 7
    assert again["a"] == 7


masked = st.builds(
    np.ma.MaskedArray,
    hnp.arrays(st.sampled_from(["i4", "f8", "U3", "M8[s]"]), 3),
    mask=st.just(np.ma.nomask) | hnp.arrays(bool, 3),
    hard_mask=st.booleans(),
)


@given(masked, st.booleans())
def test_masked_arrays_come_back(array: Any, chosen: bool) -> None:
    """Values, what lies under the mask, the mask, its hardness, and the fill value where one was chosen."""
    if chosen:
        array.fill_value = array.data[0]
    again = as_data(array)
    assert_same(again, array)
    again[0] = again.data[1]


@pytest.mark.parametrize("array", [np.zeros(APART_FROM, np.uint8), np.zeros((2, APART_FROM))])
def test_large_arrays_lie_in_the_memory_that_came(array: Any) -> None:
    """Their elements are written without a copy, and read without one."""
    encoded = encode_data(array)
    assert encoded is not None
    (buffer,) = encoded.buffers
    assert np.shares_memory(np.asarray(buffer), array)
    assert as_data(array).base is not None and not as_data(array).flags.owndata


class Labelled(np.ndarray):
    pass


class Ratio(np.float64):
    pass


def deep(levels: int) -> Any:
    dtype: Any = "i4"
    for _ in range(levels):
        dtype = np.dtype([("a", dtype)])
    return np.zeros(1, dtype)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(np.zeros(2).view(Labelled), id="subclass of ndarray"),
        pytest.param(np.ma.masked_array(np.zeros(2).view(Labelled), [True, False]), id="masked subclass"),
        pytest.param(np.ma.masked, id="the masked value itself"),
        pytest.param(Ratio(2), id="subclass of a scalar"),
        pytest.param(np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0], id="record"),
        pytest.param(np.zeros(2, np.dtype((np.record, [("a", "i4")]))).view(np.ndarray), id="array of records"),
        pytest.param(np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)), id="aligned fields"),
        pytest.param(np.zeros(1, {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 0]}), id="overlap"),
        pytest.param(np.zeros(1, [("a", np.dtype("i4", metadata={"unit": "m"}))]), id="metadata of a field"),
        pytest.param(np.zeros(1, np.dtype("i4", metadata={"unit": "m"})), id="metadata"),
        pytest.param(np.zeros(1, [("a", "O")]), id="field of objects"),
        pytest.param(deep(40), id="fields in forty fields"),
        pytest.param(np.array(["a", "longer text"], np.dtypes.StringDType()), id="StringDType"),
    ],
)
def test_arrays_that_plain_data_can_not_tell_in_full_are_left_to_pickle(value: Any) -> None:
    """No data codec takes what it would return as something else."""
    assert encode_data(value) is None
    assert encode_result(value, "verified").codec == "pickle"
    with pytest.raises(ResultTypeRefused):
        encode_result([value], "data")


@pytest.mark.parametrize(
    "dtype", [[("日", "i4")], [(f"f{i:05}", "i4") for i in range(900)], [(("title", "name"), "i4")], deep(10).dtype]
)
def test_odd_fields_come_back(dtype: Any) -> None:
    """Names beyond Latin-1, very many of them, titles, fields in fields."""
    array = np.ones(2, dtype)
    assert_same(as_data(array), array)
    assert as_data(array).dtype.fields == array.dtype.fields


@given(arrays)
def test_pickled_arrays_are_equal_and_writable(array: np.ndarray[Any, Any]) -> None:
    """An intermediate array, small or large, may be changed in place by the next task."""
    again, large = as_pickle((array, np.zeros(1000)))
    assert again.shape == array.shape and again.flags.writeable
    # numpy itself pickles big-endian times as little-endian ones.
    assert again.tobytes() == array.astype(again.dtype).tobytes()
    large[0] = 1


def test_read_only_arrays_stay_read_only_in_a_pickle() -> None:
    """A pickle returns an array as it was."""
    array = np.arange(1000)
    array.flags.writeable = False
    assert not as_pickle(array).flags.writeable
