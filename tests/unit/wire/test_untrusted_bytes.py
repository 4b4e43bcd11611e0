"""Bytes that nobody should believe: whatever they say, they make plain data or are corrupt, and nothing is run."""

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
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import Corrupt
from cloudoffload.types import Ref
from cloudoffload.wire.codecs import DATA, decode, encode_data
from cloudoffload.wire.tags import Tag
from cloudoffload.worker.inputs import Inputs
from tests.unit.wire.sameness import stored

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
            reader.value(Ref("", "", ref.span, ref.nbytes, ref.digest, data=damaged))


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
twice = node(Tag.INDEX, node(Tag.ARRAY, "<i8", [2], False, ZERO * 2), None, None)
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
        pytest.param(node(Tag.ARRAY, "(1,)i8", [1], False, ZERO), id="dtype that is parsed as Python"),
        pytest.param(node(Tag.ARRAY, [node(Tag.TUPLE, "a", "1i8")], [1], False, ZERO), id="field that is parsed so"),
        pytest.param(node(Tag.ARRAY, "<i4,<i4", [1], False, ZERO), id="dtype that is a list"),
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
        pytest.param(node(Tag.ZONED, ones, "ns", "UTC"), id="moments in what pandas takes for a time zone"),
        pytest.param(node(Tag.TIMESTAMP, 0, "ns", "UTC"), id="moment in what pandas takes for a time zone"),
        pytest.param(node(Tag.ZONED, block, "ns", node(Tag.ZONE, "UTC")), id="moments in two dimensions"),
        pytest.param(node(Tag.MOMENTS, ones), id="moments that are numbers"),
        pytest.param(node(Tag.MOMENTS, node(Tag.ARRAY, "<M8[s]", [1, 1], False, ZERO)), id="rows of moments"),
        pytest.param(node(Tag.PERIODS, ones, "int64"), id="periods that are numbers"),
        pytest.param(node(Tag.PERIODS, labels, "period[D]"), id="periods that are a range"),
        pytest.param(node(Tag.PERIOD, 0, "1" * 100_000), id="frequency of a hundred thousand digits"),
        pytest.param(node(Tag.PERIODS, ones, "period[" + "1" * 100_000 + "]"), id="periods of as many digits"),
        pytest.param(node(Tag.INDEX, ones, None, "1" * 100_000), id="index of as many digits"),
        pytest.param(node(Tag.INDEX, ones, None, "D"), id="numbers with a frequency"),
        pytest.param(node(Tag.INDEX, ones, [], None), id="name that is a list"),
        pytest.param(node(Tag.INDEX, labels, None, None), id="index of an index"),
        pytest.param(node(Tag.INTERVALS, endless, endless, "left"), id="endless intervals"),
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
        pytest.param(node(Tag.LEVELS, [twice], [ones], [None], None), id="level that says one thing twice"),
        pytest.param(node(Tag.SERIES, [1], labels, None), id="series of a list"),
        pytest.param(node(Tag.SERIES, 1, endless, None), id="endless series"),
        pytest.param(node(Tag.SERIES, ones, endless, None), id="long labels"),
        pytest.param(node(Tag.SERIES, ones, [0], None), id="labels that are a list"),
        pytest.param(node(Tag.SERIES, block, labels, None), id="series in two dimensions"),
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


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        pytest.param([labels, labels, [7], block], "not the columns", id="column outside of the frame"),
        pytest.param([labels, labels, [-1], block], "not the columns", id="column before the frame"),
        pytest.param([labels, labels], "not the columns", id="column without values"),
        pytest.param([labels, labels, [0], block, [0], block], "not the columns", id="column twice"),
        pytest.param([labels, labels, [0], block, [1], block], "not the columns", id="one column more"),
        pytest.param([labels, endless], "not the columns", id="endless columns"),
        pytest.param([endless, labels, [0], block], "frame's shape", id="endless rows"),
        pytest.param([labels, labels, [0], ones], "frame's shape", id="block without columns"),
        pytest.param([labels, labels, [0], 1], "frame's shape", id="block that is a number"),
        pytest.param([labels, labels, [0], node(Tag.TEXTS, "str", [])], "frame's shape", id="column without rows"),
        pytest.param([labels, labels, [0]], "argument", id="no block"),
    ],
)
def test_blocks_that_are_not_those_of_their_frame_are_never_given_to_pandas(parts: Any, why: str) -> None:
    """It writes outside of its memory where places of columns are wrong."""
    with pytest.raises(Corrupt, match=why):
        decode(DATA, msgpack.packb(node(Tag.FRAME, *parts)), [])


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(node(Tag.LEVELS, [endless], [ones], [None], None), id="level"),
        pytest.param(node(Tag.CATEGORIES, ones, endless, False), id="categories"),
        pytest.param(node(Tag.FRAME, endless, empty), id="index"),
    ],
)
def test_a_range_of_any_length_takes_no_memory(content: Any) -> None:
    """Its labels are not written out, neither to read it nor to make sure that it makes sense."""
    tracemalloc.start()
    try:
        decode(DATA, msgpack.packb(content), [])
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
