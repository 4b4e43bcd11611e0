"""Reading the parts of a shuffle: side by side where each read waits, and never anything that is not a part."""

from __future__ import annotations

import threading
from typing import Any

import pandas as pd
import pytest

from cloudoffload.errors import Corrupt, ObjectMissing
from cloudoffload.store import ObjectStore
from cloudoffload.types import PartName, Ref, StoreAccess
from cloudoffload.wire.codecs import Encoded, encode_pickle
from cloudoffload.wire.index import IndexBuilder
from cloudoffload.wire.parts import EMPTY, PARTITIONS, cut_frame
from cloudoffload.wire.values import pack_parts
from cloudoffload.worker.inputs import Inputs

INPUTS = 4


class TwoAtOnce(ObjectStore):
    """Objects in memory. A read of one of the shuffle's inputs ends only when another one has begun."""

    def __init__(self) -> None:
        super().__init__(StoreAccess("memory://"))
        self._meeting = threading.Barrier(2, timeout=30)
        self.is_written = False

    def get(self, ref: Ref) -> memoryview:
        if self.is_written and ref.key.endswith("-1"):
            self._meeting.wait()
        return super().get(ref)


def write(store: ObjectStore, key: str, parts: Any, container: str = "dict", part: PartName | None = None) -> Ref:
    """Ref of a value in parts."""
    packed = pack_parts(parts, container, store.algorithm)
    store.put(key, packed.pieces)
    span = (packed.span.offset, packed.span.length)
    return Ref("main", key, span, packed.nbytes, packed.span.digest, parted=True, part=part)


def index_of(store: ObjectStore, refs: list[Ref]) -> dict[PartName, Encoded]:
    """What a barrier over these inputs writes."""
    inputs = Inputs({"main": store})
    index = IndexBuilder(inputs.span)
    for ref in refs:
        index.add(ref, inputs.footer(ref))
    return dict(index.parts())


def cuts(store: ObjectStore) -> list[Ref]:
    """Inputs of a shuffle, each with one row for partition 0."""
    frame = pd.DataFrame({PARTITIONS: [0], "x": [1.5]})
    return [write(store, f"runs/a/{i}-1", cut_frame(frame, PARTITIONS, 2).encoded()) for i in range(INPUTS)]


def test_parts_are_read_side_by_side_where_a_read_waits() -> None:
    """Behind a network each read waits, but they need not wait for each other."""
    store = TwoAtOnce()
    gate = write(store, "runs/a/gate", index_of(store, cuts(store)).items(), "index", part=0)
    store.is_written = True
    assert [len(part) for part in Inputs({"main": store}).value(gate)] == [1] * INPUTS


def test_a_lost_part_is_a_lost_input() -> None:
    """Whichever of the parts it is, in whatever order they are read."""
    store = ObjectStore(StoreAccess("memory://"))
    refs = cuts(store)
    gate = write(store, "runs/a/gate", index_of(store, refs).items(), "index", part=0)
    store.delete([refs[2].key])
    with pytest.raises(ObjectMissing):
        Inputs({"main": store}).value(gate)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        pytest.param(0, encode_pickle(["no index"]), id="no index"),
        pytest.param(EMPTY, encode_pickle(7), id="no templates"),
        pytest.param(EMPTY, Encoded("spans", b"", []), id="too few templates"),
        pytest.param(EMPTY, None, id="templates left out"),
    ],
)
def test_a_made_up_barrier_is_corrupt(name: PartName, wrong: Encoded | None) -> None:
    """Rows are not read without what they mean, nor is anything taken for an index that is none."""
    store = ObjectStore(StoreAccess("memory://"))
    parts = index_of(store, cuts(store))
    good = write(store, "runs/a/gate", parts.items(), "index", part=0)
    assert len(Inputs({"main": store}).value(good)) == INPUTS
    if wrong is None:
        del parts[name]
    else:
        parts[name] = wrong
    with pytest.raises(Corrupt):
        Inputs({"main": store}).value(write(store, "runs/a/bad", parts.items(), "index", part=0))


def test_cuts_can_be_read_without_a_barrier() -> None:
    """Somebody may ask for a split itself: its parts are frames, alone and all together."""
    store = ObjectStore(StoreAccess("memory://"))
    frame = pd.DataFrame({PARTITIONS: [1, 0, 1], "x": [1.5, 2.5, 3.5]})
    ref = write(store, "runs/a/1-1", cut_frame(frame, PARTITIONS, 2).encoded())
    whole = Inputs({"main": store}).value(ref)
    assert {name: part["x"].tolist() for name, part in whole.items()} == {0: [2.5], 1: [1.5, 3.5], EMPTY: []}
    one = Inputs({"main": store}).value(Ref(ref.store, ref.key, ref.span, ref.nbytes, ref.digest, ref.parted, 1))
    pd.testing.assert_frame_equal(one, frame.take([0, 2]))
