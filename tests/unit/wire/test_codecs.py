"""Values as bytes: what each codec takes comes back unchanged, and what none of them returns unchanged is pickled."""

from __future__ import annotations

import collections
import contextlib
import datetime
import enum
import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloudoffload
from cloudoffload.errors import Corrupt, ResultTypeRefused, UnpicklableResult
from cloudoffload.wire.codecs import Encoded, decode, encode_data, encode_pickle, encode_result
from cloudoffload.wire.digest import BLAKE3
from cloudoffload.wire.values import pack_value, unpack_value


def through_bytes(encoded: Encoded | None, *, pickles: bool) -> Any:
    """The value after it was laid out as stored bytes and read from them."""
    assert encoded is not None, "no data-only codec took the value"
    stored = bytearray(b"".join(pack_value(encoded, BLAKE3).pieces))
    return unpack_value(memoryview(stored), pickles=pickles)[1]


def as_data(value: Any) -> Any:
    return through_bytes(encode_data(value), pickles=False)


def as_pickle(value: Any) -> Any:
    return through_bytes(encode_pickle(value), pickles=True)


class Colour(enum.IntEnum):
    RED = 1


class Meters(int):
    pass


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 64) + 1, (1 << 64) - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(plain)
def test_plain_data_comes_back_with_its_exact_types(value: Any) -> None:
    """Nested lists and mappings of texts, numbers and None are data; NaN, infinities and -0.0 included."""
    assert repr(as_data(value)) == repr(value)


@given(st.binary())
def test_bytes_come_back(value: bytes) -> None:
    """Bytes are data, the empty ones too."""
    assert as_data(value) == value


LOSSY = [
    pytest.param((1, 2), "tuple", id="tuple"),
    pytest.param([1, (2,)], "list", id="tuple in a list"),
    pytest.param(Colour.RED, "Colour", id="enum"),
    pytest.param(Meters(3), "Meters", id="subclass of int"),
    pytest.param([np.float64(1.5)], "list", id="numpy scalar in a list"),
    pytest.param({1: "a"}, "dict", id="key that is no text"),
    pytest.param({"a": Colour.RED}, "dict", id="enum in a dict"),
    pytest.param(collections.OrderedDict(a=1), "collections.OrderedDict", id="OrderedDict"),
    pytest.param("\ud800", "str", id="half a surrogate pair"),
    pytest.param({"\udc00": 1}, "dict", id="half a surrogate pair as key"),
    pytest.param(1 << 64, "int", id="more than 64 bits"),
    pytest.param([-(1 << 64)], "list", id="less than -64 bits"),
    pytest.param(bytearray(b"x"), "bytearray", id="bytearray"),
    pytest.param({1, 2}, "set", id="set"),
    pytest.param(1 + 2j, "complex", id="complex"),
    pytest.param(datetime.date(2026, 1, 1), "datetime.date", id="date"),
]


@pytest.mark.parametrize(("value", "name"), LOSSY)
def test_what_json_would_change_is_pickled_or_refused_by_name(value: Any, name: str) -> None:
    """``verified`` pickles a value that no data codec returns unchanged; ``data`` refuses it and names its type."""
    encoded = encode_result(value, "verified")
    assert encoded.codec == "pickle"
    again = through_bytes(encoded, pickles=True)
    assert again == value and type(again) is type(value)
    with pytest.raises(ResultTypeRefused, match=name):
        encode_result(value, "data")


def test_a_list_that_stands_in_two_places_stays_one_list() -> None:
    """JSON would make two lists of it, and a change of one would no longer show in the other."""
    inner = [1]
    encoded = encode_result([inner, inner], "verified")
    first, second = through_bytes(encoded, pickles=True)
    assert first is second


def test_an_endless_list_is_refused_not_followed() -> None:
    """A list that holds itself ends the look at its items."""
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ResultTypeRefused, match="list"):
        encode_result(endless, "data")


def test_a_long_list_is_pickled_unless_only_data_is_allowed() -> None:
    """Looking at every item costs more than a pickle, so that happens only where a pickle is not allowed."""
    numbers = list(range(20_000))
    assert encode_result(numbers, "verified").codec == "pickle"
    assert through_bytes(encode_result(numbers, "data"), pickles=False) == numbers


def test_pickle_results_are_never_data() -> None:
    """``results="pickle"`` pickles what could be data as well."""
    assert encode_result([1], "pickle").codec == "pickle"


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
    hnp.array_dtypes(allow_subarrays=True).filter(lambda dtype: str(dtype).isascii()),  # names of fields
)
arrays = hnp.arrays(element_types, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))


def assert_same_array(again: np.ndarray[Any, Any], array: np.ndarray[Any, Any]) -> None:
    assert type(again) is np.ndarray and again.shape == array.shape
    assert again.dtype == array.dtype and repr(again.dtype) == repr(array.dtype)
    assert again.tobytes() == array.tobytes()  # bit for bit: NaN payloads and -0.0 too
    assert again.flags.writeable


@given(arrays, st.sampled_from(["C", "F"]))
def test_arrays_come_back_bit_for_bit(array: np.ndarray[Any, Any], order: Any) -> None:
    """Shape, dtype, byte order, memory order and every bit of an array are kept, and the result can be written to."""
    array = np.asarray(array, order=order)
    again = as_data(array)
    assert_same_array(again, array)
    assert again.flags.f_contiguous == array.flags.f_contiguous


@given(arrays)
def test_views_come_back_as_the_elements_that_they_show(array: np.ndarray[Any, Any]) -> None:
    """Strided, reversed and broadcast arrays carry their own elements, not the memory around them."""
    for view in (array[..., None][..., ::-1], np.broadcast_to(array, (2, *array.shape)), array.T):
        assert_same_array(as_data(view), view)


@given(hnp.arrays(element_types, 1))
def test_numpy_scalars_come_back(array: np.ndarray[Any, Any]) -> None:
    """A scalar stays a scalar of its type; a structured one too."""
    scalar = array[0]
    if not isinstance(scalar, np.generic):
        return  # a dtype that is itself a subarray has arrays as items
    again = as_data(scalar)
    assert type(again) is type(scalar) and again.dtype == scalar.dtype
    assert np.asarray(again).tobytes() == np.asarray(scalar).tobytes()


class Labelled(np.ndarray):
    pass


class Ratio(np.float64):
    pass


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(np.array([1, "a", None], object), id="objects"),
        pytest.param(np.zeros(2).view(Labelled), id="subclass of ndarray"),
        pytest.param(np.ma.masked_array([1, 2], [True, False]), id="masked"),
        pytest.param(Ratio(2), id="subclass of a scalar"),
        pytest.param(np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0], id="record"),
        pytest.param(np.zeros(2, np.dtype((np.record, [("a", "i4")]))).view(np.ndarray), id="array of records"),
        pytest.param(np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)), id="aligned fields"),
        pytest.param(np.zeros(1, {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [0, 0]}), id="overlap"),
        pytest.param(np.zeros(1, [("日", "i4")]), id="field that is not Latin-1"),
        pytest.param(np.zeros(1, [(f"f{i:05}", "i4") for i in range(900)]), id="header too long to be read back"),
        pytest.param(np.zeros(1, [("a", np.dtype("i4", metadata={"unit": "m"}))]), id="metadata of a field"),
        pytest.param(np.array(["a", "longer text"], np.dtypes.StringDType()), id="StringDType"),
    ],
)
def test_arrays_that_a_header_can_not_tell_in_full_are_left_to_pickle(value: Any) -> None:
    """No data codec takes what it would return as something else."""
    assert encode_data(value) is None
    assert encode_result(value, "verified").codec == "pickle"


@given(st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(["raw", "json", "numpy", "arrow"]))
def test_bytes_that_are_no_value_are_corrupt(head: bytes, buffer: bytes, codec: str) -> None:
    """Whatever a data decoder meets, it returns a value or raises Corrupt."""
    with contextlib.suppress(Corrupt):
        decode(codec, head, [memoryview(bytearray(buffer))], pickles=False)


@pytest.mark.parametrize(
    "descr", ["{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776,)}", "{'descr': '|O', 'shape': (1,)}"]
)
def test_a_lying_array_header_allocates_nothing(descr: str) -> None:
    """A header that claims a terabyte, or objects, is corrupt: arrays lie over the bytes that came, or not at all."""
    text = descr.encode() + b"\n"
    head = b"a\x93NUMPY\x02\x00" + len(text).to_bytes(4, "little") + text
    with pytest.raises(Corrupt):
        decode("numpy", head, [memoryview(bytearray(8))])


def test_deeply_nested_json_is_corrupt() -> None:
    """A thousand brackets don't end the process's patience with recursion."""
    with pytest.raises(Corrupt):
        decode("json", b"[" * 100_000, [])


def test_an_unknown_codec_is_corrupt() -> None:
    """Bytes of a newer version are refused by the name of their codec."""
    with pytest.raises(Corrupt, match="arrow2"):
        decode("arrow2", b"", [])


class Explodes:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle was read",)


def test_a_pickle_is_not_read_where_only_data_is_allowed() -> None:
    """``pickles=False`` refuses before a byte of the pickle is looked at."""
    with pytest.raises(ResultTypeRefused):
        through_bytes(encode_pickle(Explodes()), pickles=False)


@given(arrays)
def test_pickled_arrays_are_equal_and_writable(array: np.ndarray[Any, Any]) -> None:
    """An intermediate array, small or large, may be changed in place by the next task."""
    again, large = as_pickle((array, np.zeros(1000)))
    assert again.shape == array.shape and again.flags.writeable
    # numpy itself pickles big-endian times as little-endian ones.
    assert again.tobytes() == array.astype(again.dtype).tobytes()
    large[0] = 1


def test_read_only_arrays_stay_read_only() -> None:
    """A pickle returns an array as it was."""
    array = np.arange(1000)
    array.flags.writeable = False
    assert not as_pickle(array).flags.writeable


def test_large_buffers_are_kept_apart_and_small_ones_are_not() -> None:
    """Large buffers are read in place; a list of many small arrays does not become a table of many buffers."""
    assert len(encode_pickle(np.zeros(1 << 20, np.uint8)).buffers) == 1
    assert not encode_pickle([np.zeros(3) for _ in range(1000)]).buffers


def test_functions_and_local_classes_are_pickled_by_value() -> None:
    """What plain pickle can't write goes through cloudpickle."""
    offset = 3
    assert as_pickle(lambda x: x + offset)(1) == 4


def test_what_can_not_be_pickled_is_named() -> None:
    """The error names the type and says what to do."""
    with pytest.raises(UnpicklableResult, match=r"generator.*return plain data"):
        encode_pickle(i for i in range(3))


def test_classes_of_a_script_travel_with_their_values() -> None:
    """An object of a class in ``__main__`` is readable in a process that has another ``__main__``, such as a worker."""
    script = """
import sys
from cloudoffload.wire.codecs import encode_pickle
class Point:
    x = 7
encoded = encode_pickle([Point()])
sys.stdout.buffer.write(encoded.head)
"""
    root = Path(cloudoffload.__file__).parents[1]
    head = subprocess.run([sys.executable, "-c", script], cwd=root, check=True, capture_output=True).stdout
    assert pickle.loads(head)[0].x == 7


def test_nan_is_not_confused_with_null() -> None:
    """A missing number and None are different data."""
    number, nothing = as_data([math.nan, None])
    assert math.isnan(number) and nothing is None
