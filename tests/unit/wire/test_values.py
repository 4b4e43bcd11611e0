"""Stored values: aligned, readable part by part, and never taken for what they are not."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import Corrupt
from cloudoffload.types import Ref
from cloudoffload.wire.codecs import encode_data, encode_pickle
from cloudoffload.wire.digest import BLAKE3, XXH3, digest, verify
from cloudoffload.wire.refs import is_key, unpack
from cloudoffload.wire.values import (
    ALIGNMENT,
    CONTAINERS,
    Packed,
    pack_parts,
    pack_value,
    unpack_footer,
    unpack_value,
)


def stored(packed: Packed) -> bytearray:
    data = bytearray(b"".join(packed.pieces))
    assert len(data) == packed.nbytes
    return data


values = st.lists(st.integers(0, 3000).map(np.arange) | st.text() | st.integers(), max_size=4)
names = st.integers(-(1 << 63), (1 << 63) - 1) | st.text(st.characters(exclude_categories=["Cs"]))


@given(values)
def test_large_buffers_lie_at_aligned_offsets(value: list[Any]) -> None:
    """An array over a mapped file begins where the processor likes it, whatever stands before it."""
    encoded = encode_pickle(value)
    data = stored(pack_value(encoded, BLAKE3))
    for buffer in encoded.buffers:
        wanted = bytes(buffer)
        assert any(data[at : at + len(wanted)] == wanted for at in range(0, len(data), ALIGNMENT))


@given(st.dictionaries(names, st.binary(max_size=200), max_size=5), st.sampled_from(CONTAINERS))
def test_each_part_is_found_and_verified_on_its_own(parts: dict[Any, bytes], container: str) -> None:
    """The footer says where each part lies, in the order of writing; each part begins at an aligned offset."""
    packed = pack_parts(
        [(name, encode_data(part) or encode_pickle(part)) for name, part in parts.items()], container, BLAKE3
    )
    data = memoryview(stored(packed))
    offset, length, footer_digest = packed.span
    assert offset + length == len(data)
    footer_bytes = data[offset:]
    verify(footer_bytes, footer_digest, "the footer")
    footer = unpack_footer(footer_bytes, offset)
    assert footer.container == container and list(footer) == list(parts)
    for name, span in footer.items():
        part = data[span.offset : span.offset + span.length]
        verify(part, span.digest, "the part")
        assert unpack_value(part)[1] == parts[name] and span.offset % ALIGNMENT == 0


@pytest.mark.parametrize("algorithm", [BLAKE3, XXH3])
@given(data=st.binary(min_size=1, max_size=300), position=st.data())
def test_a_digest_finds_any_change(algorithm: bytes, data: bytes, position: st.DataObject) -> None:
    """One flipped bit, a missing end or an added byte makes the bytes corrupt; the right bytes pass."""
    expected = digest([data[:10], data[10:]], algorithm)
    verify(data, expected, "the value")
    at = position.draw(st.integers(0, len(data) - 1))
    flipped = bytearray(data)
    flipped[at] ^= 1 << position.draw(st.integers(0, 7))
    for wrong in (flipped, data[:at], data + b"\0"):
        with pytest.raises(Corrupt):
            verify(wrong, expected, "the value")


@pytest.mark.parametrize(
    "expected", [b"", b"b", b"?" + bytes(32), digest([b"data"])[:-1], b"x" + digest([b"data"])[1:]]
)
def test_an_impossible_digest_is_corrupt(expected: bytes) -> None:
    """A cut digest, or one of an unknown algorithm, verifies nothing."""
    with pytest.raises(Corrupt):
        verify(b"data", expected, "the value")


@given(values, st.data())
def test_a_damaged_value_without_its_digest_is_corrupt_or_a_value(value: list[Any], data: st.DataObject) -> None:
    """The layout alone is checked too: a table never points outside of its value."""
    encoded = encode_data([str(item) for item in value])
    assert encoded is not None
    span = stored(pack_value(encoded, BLAKE3))
    at = data.draw(st.integers(0, len(span) - 1))
    span[at] ^= 1 << data.draw(st.integers(0, 7))
    for damaged in (span, span[:at], span[at:]):
        with contextlib.suppress(Corrupt):
            unpack_value(memoryview(damaged), pickles=False)


def table(content: Any) -> memoryview:
    """A value of eight bytes whose table is made up."""
    packed = msgpack.packb(content)
    return memoryview(bytearray(8) + packed + struct.pack("<I", len(packed)))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(("raw", (0, 0), [(0, 1 << 40)]), id="terabyte"),
        pytest.param(("raw", (0, 0), [(-8, 8)]), id="before the value"),
        pytest.param(("raw", (0, 0), [(8, -8)]), id="negative length"),
        pytest.param(("raw", (0, 0), [(0.0, 1.0)]), id="fractions"),
        pytest.param(("raw", (0, 0), ["ab"]), id="texts"),
        pytest.param(("raw", (1 << 40, 8), [(0, 8)]), id="head outside"),
        pytest.param(({}, (0, 0), [(0, 8)]), id="codec that can't be looked up"),
        pytest.param(("raw", (0, 0)), id="no buffers"),
        pytest.param(("raw", None, [(0, 8)]), id="no head"),
        pytest.param(7, id="number"),
    ],
)
def test_a_made_up_table_is_corrupt(content: Any) -> None:
    """Offsets and lengths are checked before anything is read or allocated."""
    with pytest.raises(Corrupt):
        unpack_value(table(content))


@pytest.mark.parametrize("span", [b"", b"abc", b"\xff\xff\xff\xff", bytes(4)])
def test_too_few_bytes_are_corrupt(span: bytes) -> None:
    """A value shorter than its own table is cut short."""
    with pytest.raises(Corrupt):
        unpack_value(memoryview(span))


def test_a_table_that_begins_before_its_value_is_corrupt() -> None:
    """Python counts negative positions from the end, where a table that would be believed may stand."""
    packed = msgpack.packb(("raw", (0, 0), [(0, 8)]))
    good, stop = table(("raw", (0, 0), [(0, 8)])), 8 + len(packed)
    assert unpack_value(good) == ("raw", bytes(8))
    with pytest.raises(Corrupt):
        unpack_value(memoryview(bytes(good[:stop]) + struct.pack("<I", stop + len(packed) + 4)))


START = 4096


def entry(offset: int, length: int) -> bytes:
    return struct.pack("<QQ", offset, length) + b"digest"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(("dict", ["a"], 22, entry(0, 1 << 40)), id="terabyte"),
        pytest.param(("dict", ["a"], 22, entry(START - 5, 10)), id="over the footer"),
        pytest.param(("dict", ["a"], 22, entry((1 << 64) - 8, 10)), id="beyond every object"),
        pytest.param(("dict", ["a"], 10, bytes(10)), id="half a place"),
        pytest.param(("dict", ["a"], 0, b""), id="no place"),
        pytest.param(("dict", ["a", "b"], 22, entry(0, 10)), id="fewer places than names"),
        pytest.param(("dict", ["a"], -22, entry(0, 10)), id="negative size"),
        pytest.param(("dict", ["a"], 22.0, entry(0, 10)), id="fraction"),
        pytest.param(("dict", ["a"], 22, "t" * 22), id="places that are a text"),
        pytest.param(("dict", [None], 22, entry(0, 10)), id="no name"),
        pytest.param(("dict", [True], 22, entry(0, 10)), id="name that is a truth value"),
        pytest.param(("dict", [{}], 22, entry(0, 10)), id="name that can't be looked up"),
        pytest.param(("dict", 7, 22, entry(0, 10)), id="names that are a number"),
        pytest.param(("set", [], 0, b""), id="unknown container"),
        pytest.param(([], [], 0, b""), id="container that is a list"),
        pytest.param("dict", id="no parts"),
    ],
)
def test_a_made_up_footer_is_corrupt(content: Any) -> None:
    """Parts lie before their footer, have a name and a place, or the footer is not believed."""
    with pytest.raises(Corrupt):
        dict(unpack_footer(msgpack.packb(content), START))


FOOTER = msgpack.packb(("dict", ["a", 7], 22, entry(0, 1 << 10) + entry(1 << 10, 3 << 10)))


@given(st.integers(0, len(FOOTER) - 1), st.binary(max_size=9))
def test_a_damaged_footer_is_corrupt_or_names_what_lies_before_it(position: int, wrong: bytes) -> None:
    """Whatever bytes stand in a footer: no part is ever looked for elsewhere."""
    footer = FOOTER[:position] + wrong + FOOTER[position + len(wrong) :]
    try:
        parts = dict(unpack_footer(footer, START))
    except Corrupt:
        return
    assert all(0 <= span.offset <= span.offset + span.length <= START for span in parts.values())


refs = st.builds(
    Ref,
    store=st.just("main"),
    key=st.from_regex(r"runs/[a-z0-9]+/[0-9]+-[0-9]+", fullmatch=True),
    span=st.tuples(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 48) - 1)),
    nbytes=st.integers(0, (1 << 48) - 1),
    digest=st.binary(max_size=33),
    parted=st.booleans(),
    part=st.none() | st.integers(-100, 100) | st.text(max_size=3),
    data=st.none() | st.binary(max_size=10),
)


@given(refs)
def test_refs_come_back_from_their_bytes(ref: Ref) -> None:
    """Every field of a ref travels."""
    assert unpack(msgpack.unpackb(msgpack.packb(ref))) == ref


GOOD: list[Any] = ["main", "runs/a/1-1", [0, 10], 10, b"digest", False, None, None]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *[(0, wrong) for wrong in (None, 1, b"main")],
        *[(1, wrong) for wrong in ("../a", "runs/../../a", "/etc/passwd", "a//b", "a/.", "", "a\0b", 7, None)],
        *[(2, [wrong, 10]) for wrong in (-1, 1 << 48, 1.0, True, "1", None)],
        *[(2, [0, wrong]) for wrong in (-1, 1 << 48, 1.0, True, "1", None)],
        *[(2, wrong) for wrong in ([], [0], [0, 1, 2], 0, None)],
        *[(3, wrong) for wrong in (-1, 1 << 48, 1.0, True, "1", None)],
        *[(4, wrong) for wrong in ("text", None)],
        *[(5, wrong) for wrong in (0, None)],
        *[(6, wrong) for wrong in (1.0, True, ["a"])],
        *[(7, wrong) for wrong in ("text", 0)],
    ],
)
def test_a_made_up_ref_is_corrupt(field: int, wrong: Any) -> None:
    """Keys outside of the store, impossible spans and wrong types are refused before anything is read."""
    assert unpack(GOOD)
    with pytest.raises(Corrupt):
        unpack([*GOOD[:field], wrong, *GOOD[field + 1 :]])


@pytest.mark.parametrize("fields", [[], GOOD[:-1], [*GOOD, None], None, 3, "eight ch"])
def test_anything_but_eight_fields_is_no_ref(fields: Any) -> None:
    """The number of fields is part of the format."""
    with pytest.raises(Corrupt):
        unpack(fields)


def test_keys_with_odd_characters_are_keys() -> None:
    """Only what could lead out of a store, or names nothing, is no key."""
    assert all(map(is_key, ["a b", "ü/日", "%2e%2e/a", "a#b?c", "..a/b..", "a\\b"]))
    assert not any(map(is_key, ["", "/", "a/", "/a", "a//b", ".", "..", "a/../b", "./a", "\0"]))
