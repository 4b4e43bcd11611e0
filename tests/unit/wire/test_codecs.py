"""Values as bytes: data where it comes back unchanged; what would not is pickled, or refused by name."""

from __future__ import annotations

import collections
import enum
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cloudoffload
from cloudoffload.errors import Corrupt, ResultTypeRefused, UnpicklableResult
from cloudoffload.wire.codecs import decode, encode_pickle, encode_result
from tests.unit.wire.sameness import as_data, as_pickle, through_bytes

ROOT = Path(cloudoffload.__file__).parents[1]


class Colour(enum.IntEnum):
    RED = 1


class Meters(int):
    pass


Point = collections.namedtuple("Point", "x y")
Strange = type("Strange", (), {"__module__": None})


@given(st.binary())
def test_bytes_come_back(value: bytes) -> None:
    """Bytes are data, the empty ones too."""
    assert as_data(value) == value


LABELS = pd.Index([Meters(1)], dtype=object)
SPARSE = pd.arrays.SparseArray([0, 1])
REFUSED = [
    pytest.param(Path("x"), "PosixPath", "", id="path"),
    pytest.param(Colour.RED, "Colour", "", id="enum"),
    pytest.param(Meters(3), "Meters", "", id="subclass of int"),
    pytest.param(Point(1, 2), "Point", "", id="named tuple"),
    pytest.param(collections.OrderedDict(a=1), "collections.OrderedDict", "", id="OrderedDict"),
    pytest.param(collections.Counter("a"), "collections.Counter", "", id="Counter"),
    pytest.param(int, "type", "", id="class"),
    pytest.param([1, {"a": ({}, Meters(3))}], "Meters", "item 1 of the value of 'a' of item 1 of a list", id="inside"),
    pytest.param([(1, Colour.RED)], "Colour", "item 1 of item 0 of a list", id="in a row"),
    pytest.param({"a": Colour.RED}, "Colour", "the value of 'a' of a dict", id="value"),
    pytest.param({"b" * 1000: Colour.RED}, "Colour", "...bbb", id="value of a very long key"),
    pytest.param({(1, Colour.RED): 1}, "Colour", "item 1 of a key of a dict", id="key"),
    pytest.param((frozenset([Colour.RED]),), "Colour", "an item of item 0 of a tuple", id="in a set"),
    pytest.param([np.array([1, Meters(2)], object)], "Meters", "element 1 of item 0 of a list", id="in an array"),
    pytest.param(
        [pd.DataFrame({"a": [1], "b": [2], "c": [Meters(2)]}, dtype=object)],
        "Meters",
        "element 0 of column 'c' of item 0 of a list",
        id="in a column",
    ),
    pytest.param(pd.DataFrame({"a": SPARSE}), "pandas.arrays.SparseArray", "column 'a' of a DataFrame", id="column"),
    pytest.param(pd.Series(SPARSE), "pandas.arrays.SparseArray", "the values of a Series", id="series"),
    pytest.param(
        pd.Series([1], pd.Index([1], name=Colour.RED)), "Colour", "the name of the index of a Series", id="name"
    ),
    pytest.param(pd.DataFrame(columns=LABELS), "Meters", "the values of the columns of a DataFrame", id="label"),
]


@pytest.mark.parametrize(("value", "name", "where"), REFUSED)
def test_what_is_no_data_is_pickled_or_refused_by_name_and_place(value: Any, name: str, where: str) -> None:
    """``verified`` pickles what would not come back unchanged; ``data`` says which type it is, and where it lies."""
    encoded = encode_result(value, "verified")
    assert encoded.codec == "pickle"
    again = through_bytes(encoded, pickles=True)
    assert type(again) is type(value) and repr(again) == repr(value)
    with pytest.raises(ResultTypeRefused) as told:
        encode_result(value, "data")
    assert name in str(told.value) and where in str(told.value)
    assert where or "(" not in str(told.value)


def test_a_refused_value_among_very_many_is_refused_without_its_place() -> None:
    """A message is not worth the look at hundreds of thousands of items."""
    value = [[0] * 50_000 for _ in range(6)]
    value[-1][-1] = Meters(1)
    with pytest.raises(ResultTypeRefused, match=r"Meters would need"):
        encode_result(value, "data")


def test_a_type_whose_module_is_unknown_is_refused_like_any_other() -> None:
    """Types say themselves where they come from."""
    with pytest.raises(ResultTypeRefused, match="Strange"):
        encode_result([Strange()], "data")


def test_long_lists_are_data_too() -> None:
    """Size decides nothing: to look at a hundred thousand numbers takes a few milliseconds."""
    for value in ([*range(100_000)], [(n, str(n)) for n in range(50_000)], [{"a": n} for n in range(50_000)]):
        encoded = encode_result(value, "verified")
        assert encoded.codec == "data"
        assert through_bytes(encoded, pickles=False) == value


def test_pickle_results_are_never_data() -> None:
    """``results="pickle"`` pickles what could be data as well."""
    assert encode_result([1], "pickle").codec == "pickle"


def test_an_unknown_codec_is_corrupt() -> None:
    """Bytes of a newer version are refused by the name of their codec."""
    with pytest.raises(Corrupt, match="data2"):
        decode("data2", b"", [])


class Explodes:
    def __reduce__(self) -> Any:
        return pytest.fail, ("a pickle was read",)


def test_a_pickle_is_not_read_where_only_data_is_allowed() -> None:
    """``pickles=False`` refuses before a byte of the pickle is looked at."""
    with pytest.raises(ResultTypeRefused):
        through_bytes(encode_pickle(Explodes()), pickles=False)


def test_large_buffers_are_kept_apart_and_small_ones_are_not() -> None:
    """Large buffers are read in place; a list of many small arrays does not become a table of many buffers."""
    small = [np.zeros(3) for _ in range(1000)]
    for encode in (encode_pickle, lambda value: encode_result(value, "data")):
        assert len(encode(np.zeros(1 << 20, np.uint8)).buffers) == 1
        assert not encode(small).buffers


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
    head = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True).stdout
    assert pickle.loads(head)[0].x == 7


def test_plain_data_needs_neither_numpy_nor_pandas() -> None:
    """A worker that returns a number has not to wait for their import, nor to have them."""
    script = """
import datetime, sys
from cloudoffload.wire.codecs import decode, encode_result
encoded = encode_result([1, (2.5, {"a": {3}}), datetime.date(2026, 1, 1)], "data")
assert decode(encoded.codec, encoded.head, []) == [1, (2.5, {"a": {3}}), datetime.date(2026, 1, 1)]
assert not {"numpy", "pandas", "pyarrow"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
