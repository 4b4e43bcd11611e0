"""Plain data as a tree: every type comes back as itself, and what would not is not taken."""

from __future__ import annotations

import datetime
import decimal
import uuid
import zoneinfo
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import ResultTypeRefused
from cloudoffload.wire.codecs import DATA, decode, encode_data, encode_result
from cloudoffload.wire.tags import Tag
from tests.unit.wire.sameness import as_data, assert_same

texts = st.text(st.characters())  # halves of surrogate pairs too
offsets = st.builds(
    datetime.timezone, st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)), st.just("here")
)
zones = st.none() | st.just(datetime.UTC) | offsets | st.timezones()
whole = st.integers() | st.integers(-(1 << 70), 1 << 70)
atoms = st.one_of(
    *[st.none(), st.booleans(), whole, st.floats(), st.complex_numbers(), texts, st.binary(), st.uuids()],
    *[st.just(...), st.just(zoneinfo.ZoneInfo("Europe/Paris")), offsets],
    *[st.dates(), st.times(timezones=zones), st.datetimes(timezones=zones), st.timedeltas()],
    st.decimals(),
    st.builds(range, whole, whole, st.integers(1, 1 << 70)),
)
keys = st.recursive(
    atoms.filter(lambda atom: not (isinstance(atom, decimal.Decimal) and atom.is_snan())),  # it can't be a key
    lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3),
    max_leaves=4,
)
slices = st.builds(slice, whole | texts, st.none() | st.lists(whole, max_size=2), whole)
values = st.recursive(
    atoms | slices | st.binary().map(bytearray),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
        st.sets(keys, max_size=4),
    ),
    max_leaves=20,
)


@given(values)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    """Every type all the way down, every bit of a number, the order of mappings; keys may be anything hashable."""
    assert_same(as_data(value), value)


few = st.recursive(atoms | st.binary().map(bytearray), lambda inner: st.tuples(inner) | st.lists(inner), max_leaves=3)


@given(st.lists(st.tuples(few, few), min_size=1, max_size=4) | st.lists(st.tuples(few), max_size=4))
def test_lists_of_tuples_come_back(rows: list[Any]) -> None:
    """What a bag's partition is mostly made of is written without a node for each of its items."""
    assert_same(as_data(rows), rows)


@pytest.mark.parametrize("rows", [[(1,), ()], [(), ()], [(1, 2), (3,)], [(1, 2), [3, 4]]])
def test_lists_of_unlike_items_come_back(rows: list[Any]) -> None:
    """Tuples of several lengths, empty ones, or not only tuples."""
    assert_same(as_data(rows), rows)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([True, 1, 1.0, np.True_, np.int64(1), np.float64(1)], id="ones"),
        pytest.param(["a", np.str_("a"), b"a", np.bytes_(b"a"), bytearray(b"a")], id="texts"),
        pytest.param({1: True, "1": 1.0, (1,): None, None: "1"}, id="keys"),
        pytest.param([None, float("nan"), pd.NA, pd.NaT, np.datetime64("NaT")], id="missing"),
        pytest.param([0.0, -0.0, 5e-324], id="zeros"),
        pytest.param([(1 << 64) - 1, 1 << 64, -(1 << 63), -(1 << 63) - 1], id="ends of 64 bits"),
        pytest.param(
            [decimal.Decimal("-0.00"), decimal.Decimal("sNaN12"), decimal.Decimal("1E+999999")], id="decimals"
        ),
        pytest.param([pd.DataFrame({"a": [1]}), {"b": np.arange(3), "c": (pd.Series([1.5]),)}], id="frames in it"),
        pytest.param(uuid.UUID(int=7, is_safe=uuid.SafeUUID.safe), id="safe UUID"),
    ],
)
def test_what_looks_alike_is_not_confused(value: Any) -> None:
    """Types that are equal, or print alike, stay what they are."""
    assert_same(as_data(value), value)


def test_a_safe_uuid_stays_safe() -> None:
    """What a UUID says of how it was made is no part of its text."""
    assert as_data(uuid.UUID(int=7, is_safe=uuid.SafeUUID.safe)).is_safe is uuid.SafeUUID.safe


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda inner: [inner], id="lists"),
        pytest.param(lambda inner: (inner,), id="tuples"),
        pytest.param(lambda inner: {"a": inner}, id="mappings"),
        pytest.param(lambda inner: [bytearray(b"x"), inner], id="bytearrays"),
        pytest.param(lambda inner: np.array([inner, None], object), id="arrays"),
    ],
)
def test_deep_values_come_back_or_are_refused(make: Any) -> None:
    """A value that would be too deep to be read is not written; one of two hundred levels is."""
    value: Any = None
    deepest = 0
    for depth in range(1, 1100):
        value = make(value)
        encoded = encode_data(value) if depth % 50 in (0, 1) else None
        if encoded is not None:
            decode(DATA, encoded.head, [])
            deepest = depth
    assert 200 <= deepest < 1000


def test_an_endless_list_is_refused_not_followed() -> None:
    """A list that holds itself ends the look at its items, also by way of a tuple or an array."""
    direct: list[Any] = []
    direct.append(direct)
    around: tuple[list[Any]] = ([],)
    around[0].append(around)
    array = np.array([None], object)
    array[0] = array
    for endless in (direct, around, array):
        with pytest.raises(ResultTypeRefused, match="in two places"):
            encode_result(endless, "data")


shared = [
    pytest.param([1], id="list"),
    pytest.param({"a": 1}, id="dict"),
    pytest.param({1}, id="set"),
    pytest.param(bytearray(b"x"), id="bytearray"),
    pytest.param(np.zeros(2), id="array"),
    pytest.param(pd.DataFrame({"a": [1]}), id="frame"),
    pytest.param(pd.Series([1]), id="series"),
    pytest.param(pd.array([1, None], dtype="Int64"), id="pandas array"),
]


@pytest.mark.parametrize("inner", shared)
@pytest.mark.parametrize(
    "outer",
    [
        pytest.param(lambda inner: [inner, inner], id="side by side"),
        pytest.param(lambda inner: [inner, {"a": (inner,)}], id="at two levels"),
        pytest.param(lambda inner: (lambda both: [both, both])((inner,)), id="in a tuple that stands in two places"),
        pytest.param(lambda inner: [(1, inner), (2, inner)], id="in rows"),
        pytest.param(lambda inner: [inner, objects(inner)], id="and in an array"),
        pytest.param(lambda inner: pd.DataFrame({"a": objects(inner), "b": objects(inner)}), id="in two columns"),
    ],
)
def test_what_can_be_changed_stands_in_one_place(outer: Any, inner: Any) -> None:
    """A list that came back as two would no longer show a change of one in the other: it is pickled, or refused."""
    value = outer(inner)
    assert encode_result(value, "verified").codec == "pickle"
    with pytest.raises(ResultTypeRefused, match="in two places"):
        encode_result(value, "data")


def objects(item: Any) -> Any:
    array = np.empty(1, object)
    array[0] = item
    return array


def test_what_can_not_be_changed_may_stand_anywhere() -> None:
    """Tuples, texts, scalars and indexes can be written twice: nobody can tell."""
    pair, text, index = (1, ("a", 2)), "text" * 3, pd.Index([1.5])
    value = [pair, pair, {pair: text}, (text, index), [index, pd.Timestamp("2026")]]
    assert_same(as_data(value), value)
    assert_same(as_data([pair] * 1000), [pair] * 1000)


def test_a_tuple_that_doubles_at_every_level_is_refused() -> None:
    """Sixty lines of code make a tuple of 2**60 items out of sixty objects; no attempt is made to write them."""
    value: Any = (1,)
    for _ in range(60):
        value = (value, value)
    with pytest.raises(ResultTypeRefused, match="very many places"):
        encode_result(value, "data")


@pytest.mark.parametrize(
    "item", [msgpack.ExtType(Tag.TUPLE, b""), msgpack.Timestamp(1), memoryview(b"abc")], ids=["mark", "time", "memory"]
)
@pytest.mark.parametrize(
    "around", [lambda item: [item], lambda item: pd.Series([1], name=item), lambda item: pd.Index([1], name=item)]
)
def test_what_the_format_itself_is_made_of_is_no_value(item: Any, around: Any) -> None:
    """msgpack would write its own types without a question; a value that holds them must not become another one."""
    with pytest.raises(ResultTypeRefused, match=type(item).__name__):
        encode_result(around(item), "data")


def test_a_time_zone_that_only_bears_a_name_is_refused() -> None:
    """One that was read from a file may have other rules than the one of that name."""
    places = [Path(folder) / "Europe" / "Paris" for folder in zoneinfo.TZPATH]
    with next(place for place in places if place.exists()).open("rb") as file:
        zone = zoneinfo.ZoneInfo.from_file(file, key="UTC")
    with pytest.raises(ResultTypeRefused, match="time zone"):
        encode_result([datetime.datetime(2026, 1, 1, tzinfo=zone)], "data")
