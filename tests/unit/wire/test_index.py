"""What a barrier leaves: every part of every input is found, and nothing else."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import msgpack
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import Corrupt
from cloudoffload.types import Ref
from cloudoffload.wire.codecs import INDEX, decode, encode_pickle
from cloudoffload.wire.index import Located, part_of
from cloudoffload.wire.parts import EMPTY, PARTITIONS, cut_frame
from cloudoffload.wire.values import unpack_value
from tests.unit.wire.shelf import Shelf

cuts = st.lists(st.dictionaries(st.integers(0, 6), st.integers(0, 1000), max_size=7), min_size=1, max_size=5)


@given(cuts)
def test_each_partition_gets_its_part_of_every_input_that_has_one(inputs: list[dict[int, int]]) -> None:
    """In the order of the inputs."""
    shelf = Shelf()
    gate = shelf.barrier([shelf.write((name, encode_pickle(part)) for name, part in cut.items()) for cut in inputs])
    for number in range(7):
        assert shelf.parts(gate, number) == [cut[number] for cut in inputs if number in cut]


@given(cuts, st.data())
def test_inputs_inside_of_messages_are_found_too(inputs: list[dict[int, int]], data: st.DataObject) -> None:
    """Their parts travel inside of the index; the objects are not needed any more."""
    shelf = Shelf()
    refs = [shelf.write((name, encode_pickle(part)) for name, part in cut.items()) for cut in inputs]
    for i, ref in enumerate(refs):
        if data.draw(st.booleans()):
            whole = bytes(shelf.objects.pop(ref.key))
            refs[i] = Ref("", "", ref.span, ref.nbytes, ref.digest, ref.parted, data=whole)
    gate = shelf.barrier(refs)
    footer = shelf.footer(gate)
    for name in footer:
        where = unpack_value(shelf.read(part_of(gate, footer[name])))[1]
        assert all(ref.data is None or len(ref.data) == ref.nbytes for ref in where.parts), "no part carries its input"
    for number in range(7):
        assert shelf.parts(gate, number) == [cut[number] for cut in inputs if number in cut]


def test_an_index_takes_little_more_than_its_digests() -> None:
    """A million parts must fit into a worker: what all parts have in common is said once."""
    shelf = Shelf()
    frame = pd.DataFrame({PARTITIONS: np.arange(200), "x": 1.0})
    gate = shelf.shuffled(cut_frame(frame, PARTITIONS, 200) for _ in range(50))
    place_and_digest = 16 + 17
    assert gate.nbytes < 200 * 50 * (place_and_digest + 14)


def test_templates_are_kept_once_each() -> None:
    """What the rows of all inputs mean is usually the same."""
    shelf = Shelf()
    frame = pd.DataFrame({PARTITIONS: [0], "x": 1.0})
    other = frame.assign(x="text")
    gate = shelf.shuffled(cut_frame(item, PARTITIONS, 2) for item in (frame, frame, other, frame))
    first, second, third, fourth = shelf.parts(gate, 0)
    assert first.template is second.template is fourth.template is not third.template
    kept = unpack_value(shelf.read(part_of(gate, shelf.footer(gate)[EMPTY])))[1]
    assert len(kept) == 2


GOOD: tuple[Any, ...] = ("main\0runs/a", ["/1-1"], [struct.pack("<QQ", 0, 10) + b"digest"], [0])


def decoded(content: Any) -> Located:
    found: Located = decode(INDEX, msgpack.packb(content), [])
    return found


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *[(0, wrong) for wrong in (None, 7, b"main\0runs/a", "main\0runs/..", "main\0", "main")],
        *[(1, wrong) for wrong in ([], ["/1-1", "/2-1"], ["/../b"], [7], [None], 7, ["/1-1\0"])],
        *[(2, wrong) for wrong in ([], [b"short"], ["text" * 10], [None], [struct.pack("<QQ", 1 << 63, 10) + b"d"])],
        *[(3, wrong) for wrong in ([], [0, 0], [-2], [0.0], [True], ["0"], 7, None)],
    ],
)
def test_a_made_up_index_is_corrupt(field: int, wrong: Any) -> None:
    """Keys outside of the store, impossible places and wrong types are refused before anything is read."""
    assert decoded(GOOD).parts == (Ref("main", "runs/a/1-1", (0, 10), 10, b"digest"),)
    with pytest.raises(Corrupt):
        decoded([*GOOD[:field], wrong, *GOOD[field + 1 :]])


PACKED = msgpack.packb(GOOD)


@given(st.integers(0, len(PACKED) - 1), st.binary(max_size=9))
def test_a_damaged_index_is_corrupt_or_names_parts(position: int, wrong: bytes) -> None:
    """Whatever bytes stand in an index: what comes out of it are refs."""
    with contextlib.suppress(Corrupt):
        found = decode(INDEX, PACKED[:position] + wrong + PACKED[position + len(wrong) :], [])
        assert type(found) is Located and all(type(ref) is Ref for ref in found.parts)
