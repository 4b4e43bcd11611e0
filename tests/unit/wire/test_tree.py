"""Plain data as a tree: every type comes back as itself, and no bytes do more than make plain data, or fail."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import pickle
import sys
import tracemalloc
import uuid
import zoneinfo
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import Corrupt, ResultTypeRefused
from cloudoffload.wire.codecs import DATA, decode, encode_data, encode_result
from cloudoffload.wire.tags import Tag
from cloudoffload.worker.inputs import Inputs
from tests.unit.wire.sameness import as_data, assert_same, stored

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


TOKYO = zoneinfo.ZoneInfo("Asia/Tokyo")
EVERYTHING = [
    (1, [2.5, None, {"a": {3}}], bytearray(b"x")),
    [1 << 70, 1j, range(3), slice(1, 2), ..., decimal.Decimal("1.5"), uuid.UUID(int=1)],
    [
        datetime.date(2026, 1, 1),
        datetime.time(1),
        datetime.datetime(2026, 1, 1, tzinfo=zoneinfo.ZoneInfo("Asia/Tokyo")),
    ],
    [np.arange(200.0), np.array(["a", None], object), np.float32(1), np.ma.masked_array([1, 2], [0, 1])],
    pd.DataFrame(
        {
            "number": [1.5, 2.5],
            "text": ["a", "b"],
            "moment": pd.date_range("2026", periods=2, tz="Asia/Tokyo"),
            "category": pd.Categorical(["x", "y"]),
            "nullable": pd.array([1, None], dtype="Int64"),
            "period": pd.period_range("2026", periods=2, freq="M"),
            "object": pd.Series([1, "a"], dtype=object),
            "interval": pd.interval_range(0, 2),
        },
        index=pd.MultiIndex.from_tuples([(1, "a"), (2, None)], names=["n", None]),
    ),
    [pd.Timestamp("2026"), pd.Timedelta(1), pd.Period("2026", "D"), pd.Interval(0, 1), pd.NaT, pd.NA],
    pd.Series([1, 2], index=pd.date_range("2026", periods=2, freq="D"), name="n"),
    [(1, "a"), (2, "b")],
]
encoded_values = st.sampled_from(EVERYTHING).map(encode_data)


@given(encoded_values, st.data())
def test_truncated_documents_are_corrupt(encoded: Any, data: st.DataObject) -> None:
    """No beginning of a document is a document, and no beginning of a buffer is enough."""
    buffers = [memoryview(bytearray(buffer)) for buffer in encoded.buffers]
    cut = data.draw(st.integers(0, len(encoded.head) - 1))
    with pytest.raises(Corrupt):
        decode(DATA, encoded.head[:cut], buffers)
    for place, buffer in enumerate(buffers):
        with pytest.raises(Corrupt):
            decode(DATA, encoded.head, [*buffers[:place], buffer[: cut % len(buffer)], *buffers[place + 1 :]])
        with pytest.raises(Corrupt):
            decode(DATA, encoded.head, buffers[:place] + buffers[place + 1 :])


@given(encoded_values, st.data())
def test_what_was_stored_is_read_whole_and_unchanged_or_not_at_all(encoded: Any, data: st.DataObject) -> None:
    """One flipped bit, or a missing end, anywhere in the stored bytes: the digest tells."""
    ref = stored(encoded)
    assert ref.data is not None
    wrong = bytearray(ref.data)
    wrong[data.draw(st.integers(0, len(wrong) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    reader = Inputs({}, pickles=False)
    reader.value(ref)
    for damaged in (bytes(wrong), ref.data[: data.draw(st.integers(0, len(ref.data) - 1))]):
        with pytest.raises(Corrupt):
            reader.value(ref._replace(data=damaged))


PLAIN = ("builtins", "datetime", "decimal", "uuid", "zoneinfo", "numpy", "pandas", "msgpack")


@pytest.mark.filterwarnings("ignore")
@given(encoded_values, st.data())
def test_damaged_documents_are_corrupt_or_plain_data(encoded: Any, data: st.DataObject) -> None:
    """Should a digest be forged: whatever stands in the bytes, nothing is run, and no other types are made."""
    head = bytearray(encoded.head)
    buffers = [bytearray(buffer) for buffer in encoded.buffers]
    for _ in range(data.draw(st.integers(1, 4))):
        target = data.draw(st.sampled_from([head, head, *buffers]))
        target[data.draw(st.integers(0, len(target) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(Corrupt), nothing_is_run():
        value = decode(DATA, bytes(head), [memoryview(buffer) for buffer in buffers])
        assert type(value).__module__.partition(".")[0] in PLAIN


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_corrupt_or_plain_data(head: bytes, buffer: bytes) -> None:
    """The same for bytes that never were a value."""
    with contextlib.suppress(Corrupt), nothing_is_run():
        decode(DATA, head, [memoryview(bytearray(buffer))])


def node(tag: int, *parts: Any) -> list[Any]:
    return [msgpack.ExtType(tag, b""), *parts]


ZERO = np.zeros(1, np.int64).tobytes()
ones = node(Tag.ARRAY, "<i8", [1], False, ZERO)
labels = node(Tag.RANGE_INDEX, 0, 1, 1, None)
block = node(Tag.ARRAY, "<i8", [1, 1], False, ZERO)
HUGE = 1 << 40
endless, empty = (node(Tag.RANGE_INDEX, 0, stop, 1, None) for stop in (HUGE, 0))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(node(Tag.ARRAY, "<i8", [HUGE], False, ZERO), id="array of a terabyte"),
        pytest.param(node(Tag.ARRAY, "|O", [1], False, ZERO), id="array of pointers"),
        pytest.param(node(Tag.ARRAY, [["a", "|O"]], [1], False, ZERO), id="fields that are lists"),
        pytest.param(node(Tag.ARRAY, [node(Tag.TUPLE, "a", "|O")], [1], False, ZERO), id="field of pointers"),
        pytest.param(node(Tag.ARRAY, "T", [1], False, ZERO), id="array of texts that lie elsewhere"),
        pytest.param(node(Tag.ARRAY, {"names": ["a"], "formats": ["|O"]}, [1], False, ZERO), id="dtype as a mapping"),
        pytest.param(node(Tag.ARRAY, "<i8", [1], False, ZERO * 2), id="array that leaves bytes over"),
        pytest.param(node(Tag.ARRAY, "<i8", [1], False, 8), id="array of a number of bytes"),
        pytest.param(node(Tag.ARRAY, "i" * 1000, [1], False, ZERO), id="dtype of a thousand letters"),
        pytest.param(node(Tag.ARRAY, "<i8", [1], False, None), id="array without its buffer"),
        pytest.param(node(Tag.SCALAR, "|O", ZERO), id="scalar pointer"),
        pytest.param(node(Tag.SCALAR, "<i8", ZERO[:4]), id="half a scalar"),
        pytest.param(node(Tag.SCALAR, None, HUGE), id="text that is a number"),
        pytest.param(node(Tag.OBJECTS, [HUGE], [None]), id="more elements than there are"),
        pytest.param(node(Tag.OBJECTS, [1], HUGE), id="elements that are a number"),
        pytest.param(node(Tag.MASKED, ones, block, None, False), id="mask of another shape"),
        pytest.param(node(Tag.BYTEARRAY, HUGE), id="bytearray of a number of bytes"),
        pytest.param(node(Tag.INTEGER, [1]), id="integer of a list"),
        pytest.param(node(Tag.DECIMAL, 5), id="decimal of a number"),
        pytest.param(node(Tag.ROWS, 3, [1, 2]), id="half a row"),
        pytest.param(node(Tag.ROWS, HUGE, []), id="rows of a terabyte"),
        pytest.param(node(Tag.SET, [1]), id="set of lists"),
        pytest.param(node(Tag.DATE, 2026, 13, 1), id="thirteenth month"),
        pytest.param(node(Tag.ZONE, "../../etc/passwd"), id="time zone elsewhere"),
        pytest.param(node(Tag.ZONE, "No/Where"), id="no time zone"),
        pytest.param(node(Tag.ZONED, ones, "ns", "dateutil//dev/zero"), id="moments in a file's time zone"),
        pytest.param(node(Tag.TIMESTAMP, 0, "ns", "dateutil//dev/zero"), id="moment in a file's time zone"),
        pytest.param(node(Tag.ZONED, block, "ns", node(Tag.ZONE, "UTC")), id="moments in two dimensions"),
        pytest.param(node(Tag.MOMENTS, ones), id="moments that are numbers"),
        pytest.param(node(Tag.PERIODS, ones, "int64"), id="periods that are numbers"),
        pytest.param(node(Tag.PERIODS, labels, "period[D]"), id="periods that are a range"),
        pytest.param(node(Tag.PERIOD, 0, "1" * 100_000), id="frequency of a hundred thousand digits"),
        pytest.param(node(Tag.PERIODS, ones, "period[" + "1" * 100_000 + "]"), id="periods of as many digits"),
        pytest.param(node(Tag.INDEX, ones, None, "1" * 100_000), id="index of as many digits"),
        pytest.param(node(Tag.INDEX, ones, None, "D"), id="numbers with a frequency"),
        pytest.param(node(Tag.INDEX, ones, [], None), id="name that is a list"),
        pytest.param(node(Tag.INDEX, labels, None, None), id="index of an index"),
        pytest.param(node(Tag.INTERVALS, endless, ones, "left"), id="endless intervals"),
        pytest.param(node(Tag.INTERVALS, ones, ones, "middle"), id="intervals open nowhere"),
        pytest.param(node(Tag.CATEGORIES, ones, ones, False), id="categories that are an array"),
        pytest.param(node(Tag.CATEGORIES, ones, empty, False), id="code of no category"),
        pytest.param(node(Tag.NULLABLE, ones, ones), id="mask of numbers"),
        pytest.param(node(Tag.NULLABLE, ones, node(Tag.ARRAY, "|b1", [2], False, b"\0\0")), id="mask that is too long"),
        pytest.param(node(Tag.TEXTS, "str", [1]), id="texts that are numbers"),
        pytest.param(node(Tag.TEXTS, "strange", ["a"]), id="texts of an unknown kind"),
        pytest.param(node(Tag.ARROW, "arrow", b"", b""), id="Arrow without a schema"),
        pytest.param(node(Tag.LEVELS, [labels], [ones, ones], [None], None), id="more codes than levels"),
        pytest.param(node(Tag.LEVELS, [], [], [], None), id="no levels"),
        pytest.param(node(Tag.LEVELS, [empty], [ones], [None], None), id="code of nothing"),
        pytest.param(node(Tag.LEVELS, [ones], [ones], [None], None), id="level that is an array"),
        pytest.param(node(Tag.SERIES, [1], labels, None), id="series of a list"),
        pytest.param(node(Tag.SERIES, 1, endless, None), id="endless series"),
        pytest.param(node(Tag.SERIES, ones, endless, None), id="long labels"),
        pytest.param(node(Tag.SERIES, ones, [0], None), id="labels that are a list"),
        pytest.param(node(Tag.SERIES, block, labels, None), id="series in two dimensions"),
        pytest.param(node(Tag.FRAME, labels, labels, [7], block), id="column outside of the frame"),
        pytest.param(node(Tag.FRAME, labels, labels, [-1], block), id="column before the frame"),
        pytest.param(node(Tag.FRAME, labels, labels), id="column without values"),
        pytest.param(node(Tag.FRAME, labels, labels, [0], block, [0], block), id="column twice"),
        pytest.param(node(Tag.FRAME, labels, labels, [0], ones), id="block without columns"),
        pytest.param(node(Tag.FRAME, labels, labels, [0], 1), id="block that is a number"),
        pytest.param(node(Tag.FRAME, labels, labels, [0]), id="no block"),
        pytest.param(node(Tag.FRAME, labels, endless), id="endless columns"),
        pytest.param(node(Tag.FRAME, endless, labels, [0], block), id="endless rows"),
        pytest.param(node(Tag.FRAME, [0], labels, [0], block), id="frame without an index"),
        pytest.param(node(99), id="unknown frequency"),
        pytest.param(node(55), id="unknown tag"),
        pytest.param(node(Tag.ELLIPSIS)[0], id="mark alone"),
        pytest.param([1, *node(Tag.ELLIPSIS)], id="mark in the middle"),
        pytest.param({"a": node(Tag.ELLIPSIS)[0]}, id="mark as a value"),
        pytest.param(node(Tag.TUPLE, *node(Tag.TUPLE)), id="mark as a part"),
    ],
)
def test_made_up_nodes_are_corrupt_and_allocate_nothing(content: Any) -> None:
    """Sizes are those of the bytes that came; what does not fit together is refused before pandas or numpy trust it."""
    head = msgpack.packb(content)
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt), nothing_is_run():
            decode(DATA, head, [])
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("opening", [b"\x91", b"\xdd\x00\x00\x80\x00", b"\x81", b"\x92\xc7\x00\x01"])
def test_endless_nesting_is_corrupt(opening: bytes) -> None:
    """Ten thousand openings end neither the stack nor the memory."""
    with pytest.raises(Corrupt):
        decode(DATA, opening * 10_000 + bytes(0x8000), [])


def test_a_buffer_is_used_once() -> None:
    """Two arrays on one buffer, or copies of it without end, are asked for by no value."""
    encoded = encode_data(np.zeros(200))
    assert encoded is not None
    buffers = [memoryview(bytearray(buffer)) for buffer in encoded.buffers]
    twice = b"\x92" + encoded.head + encoded.head
    assert len(decode(DATA, twice, buffers * 2)) == 2
    for wrong in (buffers, buffers * 3):
        with pytest.raises(Corrupt):
            decode(DATA, twice, wrong)


_FORBIDDEN = ("pickle.find_class", "exec", "compile", "os.system", "os.exec", "subprocess.Popen", "socket.connect")
_run: list[str] | None = None


def _watch(event: str, arguments: Any) -> None:
    if _run is not None and event in _FORBIDDEN:
        _run.append(event)


sys.addaudithook(_watch)


@contextlib.contextmanager
def nothing_is_run() -> Iterator[None]:
    """Nothing inside makes Python run or unpickle anything; modules are imported already."""
    global _run
    _run = events = []
    try:
        yield
    finally:
        _run = None
        assert not events


def test_the_watch_sees_what_is_run() -> None:
    """A pickle's look-up of a class, or a line of code, would be noticed."""
    for run in (lambda: pickle.loads(pickle.dumps(decimal.Decimal)), lambda: exec("1")):
        with pytest.raises(AssertionError), nothing_is_run():
            run()
