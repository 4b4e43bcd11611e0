"""Transfers run beside the user's code, and nothing is lost or mixed up by that."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cloudoffload.errors import ObjectMissing, StoreError
from cloudoffload.interfaces import Buffer
from cloudoffload.store import ObjectStore
from cloudoffload.types import Assignment, Edge, Failure, FailureKind, Ref, StoreAccess
from cloudoffload.wire.digest import BLAKE3, digest
from cloudoffload.wire.envelope import Order
from cloudoffload.wire.program import Loaded
from cloudoffload.worker import overlap, run
from cloudoffload.worker.overlap import Overlapped, Transfers, overlapped

PATIENCE = 30.0


class Watched(ObjectStore):
    """A store in memory that can be held up, and knows what was asked of it."""

    def __init__(self) -> None:
        super().__init__(StoreAccess("memory:///"))
        self.asked: list[str] = []
        self.reading = threading.Event()
        self.may_write = threading.Event()
        self.may_write.set()
        self.refuses: set[str] = set()

    def get(self, ref: Ref) -> memoryview:
        self.asked.append(ref.key)
        self.reading.set()
        return super().get(ref)

    def put(self, key: str, pieces: Sequence[Buffer]) -> int:
        assert self.may_write.wait(PATIENCE)
        if key in self.refuses:
            raise StoreError(f"no room for {key}")
        return super().put(key, pieces)

    def holding(self, key: str, content: bytes) -> Ref:
        """Ref of an object that lies in the store."""
        super().put(key, [content])
        return Ref("main", key, (0, len(content)), len(content), digest((content,), BLAKE3))


@pytest.fixture
def store() -> Watched:
    return Watched()


@pytest.fixture
def transfers(store: Watched) -> Iterator[Transfers]:
    with overlapped({"main": store}) as found:
        yield found


def unit(*refs: Ref) -> Assignment:
    return Assignment(0, 1, refs)


def test_inputs_are_on_their_way_before_they_are_asked_for(store: Watched, transfers: Transfers) -> None:
    """All inputs of the named units are read by themselves, and each is read once."""
    refs = [store.holding(f"runs/a/{i}", b"%d" % i) for i in range(3)]
    transfers.fetch([unit(refs[0], refs[1]), unit(refs[2])])
    assert store.reading.wait(PATIENCE)
    assert [bytes(transfers.stores["main"].get(ref)) for ref in refs] == [b"0", b"1", b"2"]
    assert sorted(store.asked) == [ref.key for ref in refs]


def test_nobody_gets_bytes_that_another_has_written_into(store: Watched, transfers: Transfers) -> None:
    """A value that two units read is fetched again for the second: the first may have changed it."""
    ref = store.holding("runs/a/0", b"shared")
    transfers.fetch([unit(ref), unit(ref)])
    first = transfers.stores["main"].get(ref)
    first[:] = b"SPOILT"
    assert bytes(transfers.stores["main"].get(ref)) == b"shared"


def test_a_lost_input_is_told_to_its_reader(store: Watched, transfers: Transfers) -> None:
    """Reading ahead hides no error and raises none before its time."""
    lost = Ref("main", "runs/a/lost", (0, 4), 4, digest((b"lost",), BLAKE3))
    transfers.fetch([unit(lost)])
    with pytest.raises(ObjectMissing):
        transfers.stores["main"].get(lost)


def test_no_more_is_read_ahead_than_there_is_room_for(
    store: Watched, transfers: Transfers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inputs beyond the bound wait until they are asked for."""
    monkeypatch.setattr(overlap, "AHEAD_BYTES", 10)
    small, large = store.holding("runs/a/small", b"123456"), store.holding("runs/a/large", b"1234567")
    transfers.fetch([unit(small, large)])
    assert bytes(transfers.stores["main"].get(small)) == b"123456"
    assert store.asked == ["runs/a/small"]
    assert bytes(transfers.stores["main"].get(large)) == b"1234567"


def test_the_next_unit_does_not_wait_for_a_write(store: Watched, transfers: Transfers) -> None:
    """A value is taken over at once; later it is there, as it was then."""
    store.may_write.clear()
    value = bytearray(b"before")
    transfers.stores["main"].put("runs/a/1", [value])
    value[:] = b"after!"  # the user's code goes on with an array that it has returned
    result = Ref("main", "runs/a/1", (0, 6), 6, digest((b"before",), BLAKE3))
    assert transfers.is_pending(result)
    store.may_write.set()
    assert transfers.failure(result) is None and not transfers.is_pending(result)
    assert bytes(store.get(result)) == b"before"


def test_a_refused_write_fails_its_own_value(store: Watched, transfers: Transfers) -> None:
    """The error belongs to the value that could not be written, and to no other."""
    store.refuses.add("runs/a/1")
    results = [Ref("main", f"runs/a/{i}", (0, 1), 1, b"") for i in range(3)]
    for result in results:
        transfers.stores["main"].put(result.key, [b"x"])
    errors = [transfers.failure(result) for result in results]
    assert errors[0] is None and errors[2] is None
    assert isinstance(errors[1], StoreError) and "no room" in str(errors[1])


@pytest.mark.parametrize("refused", [True, False], ids=["refused", "under way"])
def test_a_deadline_leaves_no_value_that_is_not_written(
    store: Watched, transfers: Transfers, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    """What was refused while a later unit ran is told so, and what is still under way when the time is over is late."""
    steps = [("value", bytes, (100_000,)), ("sleep", time.sleep, (PATIENCE,))]
    entries = [(((key, function, args, None, False, ()),), key, (), "value") for key, function, args in steps]
    monkeypatch.setattr(run, "_program", lambda order, inputs: Loaded(entries, 1))
    monkeypatch.setattr(run, "_stopped_by_deadline", threading.Event())
    if refused:
        store.refuses.add("runs/r/1/0-1")
    else:
        store.may_write.clear()
    units = (Assignment(0, 1, ()), Assignment(1, 1, ()))
    order = Order("r", "c", Ref("", "", (0, 1), 1, b"", data=b"x"), units, {}, "main", "runs/r/1/", 0.3, b"k" * 32)
    results, _, _ = run._run_all(order, transfers, 0.3, never_frozen=True)
    store.may_write.set()
    kinds = [result.kind for result in results if isinstance(result, Failure)]
    assert kinds == [FailureKind.STORE if refused else FailureKind.DEADLINE, FailureKind.DEADLINE]


def test_writes_under_way_are_bounded(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit beside the writes under way waits for room; what fits nowhere is written in the foreground."""
    monkeypatch.setattr(overlap, "BEHIND_BYTES", 10)
    writing = Overlapped(store)
    store.may_write.clear()
    writing.put("runs/a/1", [b"123456"])
    second = threading.Thread(target=writing.put, args=("runs/a/2", [b"123456"]), daemon=True)
    second.start()
    second.join(0.2)
    assert second.is_alive() and not writing.is_pending("runs/a/2")
    store.may_write.set()
    second.join(PATIENCE)
    assert writing.failed("runs/a/2") is None
    writing.put("runs/a/3", [b"12345678901"])
    assert not writing.is_pending("runs/a/3") and sorted(store.keys("runs/a/")) == [f"runs/a/{i}" for i in (1, 2, 3)]


def test_values_inside_the_outcome_have_nothing_to_wait_for(transfers: Transfers) -> None:
    """Neither an inline value nor a failure is looked for in a store."""
    results: list[Any] = [Ref("", "", (0, 1), 1, b"", data=b"x"), Failure(FailureKind.EXCEPTION, "ValueError", "", "")]
    for result in results:
        assert transfers.failure(result) is None and not transfers.is_pending(result)


def test_what_is_being_written_can_be_read_once_it_is_there(store: Watched, transfers: Transfers) -> None:
    """A unit of the same call reads what an earlier one has made, although nobody waited for its writing."""
    store.may_write.clear()
    content = b"made a moment ago"
    transfers.stores["main"].put("runs/a/1", [content])
    ref = Ref("main", "runs/a/1", (0, len(content)), len(content), digest((content,), BLAKE3))
    reader = ThreadPoolExecutor(1).submit(transfers.stores["main"].get, ref)
    assert not reader.done()
    store.may_write.set()
    assert bytes(reader.result(PATIENCE)) == content


def test_what_could_not_be_written_can_not_be_read(store: Watched, transfers: Transfers) -> None:
    """The reader hears why."""
    store.refuses.add("runs/a/1")
    transfers.stores["main"].put("runs/a/1", [b"x"])
    with pytest.raises(StoreError, match="no room for runs/a/1"):
        transfers.stores["main"].get(Ref("main", "runs/a/1", (0, 1), 1, digest((b"x",), BLAKE3)))


def test_only_what_lies_somewhere_is_fetched_ahead(store: Watched, transfers: Transfers) -> None:
    """What the call itself will make is not there yet."""
    ref = store.holding("runs/a/0", b"0")
    transfers.fetch([Assignment(1, 1, (Edge(0), ref))])
    assert bytes(transfers.stores["main"].get(ref)) == b"0"
    assert store.asked == ["runs/a/0"]
