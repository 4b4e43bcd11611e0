"""What a worker answers to a call: values where they belong, and what the call used."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dask._task_spec import TaskRef

from cloudoffload.types import Assignment, Edge, Emit, FailureKind, Ref, StoreAccess
from cloudoffload.wire.digest import digest
from cloudoffload.wire.parts import PARTITIONS, cut_frame, cut_records, join_frames, join_records
from cloudoffload.wire.program import dump, entry
from cloudoffload.worker.inputs import Inputs
from tests.unit.worker.conftest import PREFIX, Desk, failure, raises, task

LARGE = 100_000


def test_units_run_in_order_and_each_has_its_own_value(desk: Desk) -> None:
    """One call, several units: results stand in the order of the units, each with its seconds."""
    outcome = desk.run(task(lambda: 1), task(lambda: "two"), task(lambda: [3.0]))
    assert [desk.value(ref) for ref in outcome.results] == [1, "two", [3.0]]
    assert len(outcome.unit_seconds) == 3 and min(outcome.unit_seconds) > 0


def test_inputs_are_read_wherever_they_lie(desk: Desk) -> None:
    """From the store, from inside the call, and an item of a value that was written whole."""
    stored, inline = desk.put(np.arange(LARGE)), desk.put(3, inline=True)
    whole = desk.put({"a": 4, "b": 5})
    item = Ref(whole.store, whole.key, whole.span, whole.nbytes, whole.digest, part="b")
    total = task(lambda x, y, z: x.sum() + y + z, "x", "y", "z")
    (ref,) = desk.run(total, inputs=[[stored, inline, item]]).results
    assert desk.value(ref) == sum(range(LARGE)) + 3 + 5


@pytest.mark.parametrize("limit", [0, 10_000])
def test_a_unit_reads_what_an_earlier_one_of_the_call_made(desk: Desk, limit: int) -> None:
    """Whole or in part, beside inputs from elsewhere, and however far such a chain goes."""
    outcome = desk.run(
        task(lambda: {"a": 1, "b": 2}, emit=Emit.PARTS),
        task(lambda b, stored, whole: (b, stored, whole), "x", "y", "z"),
        task(len, "x"),
        inputs=[(), (Edge(0, "b"), desk.put(7), Edge(0)), (Edge(1),)],
        inline_limit=limit,
    )
    assert [desk.value(ref) for ref in outcome.results[1:]] == [(2, 7, {"a": 1, "b": 2}), 3]


def test_a_unit_gets_its_own_copy_of_what_an_earlier_one_made(desk: Desk) -> None:
    """Who writes into it changes it for nobody else, as if it had come from another worker."""

    def spoil(array: Any) -> float:
        array[:] = 9.0
        return float(array.sum())

    made = task(lambda: np.ones(3))
    outcome = desk.run(made, task(spoil, "x"), task(spoil, "x"), task(np.sum, "x"), inputs=[(), *[(Edge(0),)] * 3])
    assert [desk.value(ref) for ref in outcome.results[1:]] == [27.0, 27.0, 3.0]
    assert list(desk.value(outcome.results[0])) == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("source", [0, 1, 2, 99])
def test_without_the_value_of_an_earlier_unit_the_input_is_lost(desk: Desk, source: int) -> None:
    """That unit failed, is the same one, comes later, or is none of the call's: the others still run."""
    entries = raises(ValueError("no")), task(abs, "x"), task(lambda: 3)
    outcome = desk.run(*entries, inputs=[(), (Edge(source),), ()])
    assert failure(outcome, 1).kind is FailureKind.INPUT_LOST
    assert desk.value(outcome.results[2]) == 3


@pytest.mark.parametrize("inline", [False, True])
def test_inputs_can_be_changed_in_place(desk: Desk, inline: bool) -> None:
    """A task may write into what it got; the stored value stays as it was."""

    def change(array: Any) -> int:
        array[:] = 7
        return int(array.sum())

    ref = desk.put(np.zeros(LARGE), inline=inline)
    outcome = desk.run(task(change, "x"), task(lambda x: x.sum(), "x"), inputs=[[ref], [ref]])
    assert [desk.value(result) for result in outcome.results] == [7 * LARGE, 0]


def test_a_unit_runs_a_chain_of_steps(desk: Desk) -> None:
    """Fused tasks run in one go, and only the last value leaves."""
    steps = (
        ("a", np.arange, (TaskRef("n"),), None, True, ("n",)),
        ("b", np.sum, (TaskRef("a"),), None, True, ("a",)),
    )
    (ref,) = desk.run(entry(steps, "b", ("n",), Emit.VALUE), inputs=[[desk.put(10)]]).results
    assert desk.value(ref) == 45


def test_large_values_are_objects_named_by_unit_and_attempt(desk: Desk) -> None:
    """Another attempt writes another object, so a retry harms nothing."""
    order = desk.order(task(lambda: bytes(LARGE)), units=(Assignment(0, 3, ()),))
    (ref,) = desk.answer(order).results
    assert isinstance(ref, Ref) and ref.key == f"{PREFIX}0-3" and ref.store == "main" and ref.data is None
    assert list(desk.store.keys()) == [f"{PREFIX}0-3"]


@pytest.mark.parametrize(("limit", "inline"), [(0, False), (1000, False), (1200, True)])
def test_values_up_to_the_limit_travel_in_the_outcome(desk: Desk, limit: int, inline: bool) -> None:
    """A small value needs no object; the order says what is small."""
    (ref,) = desk.run(task(lambda: b"x" * 1100), inline_limit=limit).results
    assert isinstance(ref, Ref) and (ref.data is not None) == inline
    assert desk.value(ref) == b"x" * 1100
    assert bool(list(desk.store.keys())) != inline


def test_many_small_values_do_not_make_the_outcome_large(desk: Desk) -> None:
    """A megabyte of values travels in one outcome; the rest is stored, however small each is."""
    outcome = desk.run(*[task(lambda: b"x" * 400_000)] * 4, inline_limit=500_000)
    refs: Any = outcome.results
    assert [ref.data is not None for ref in refs] == [True, True, False, False]
    assert all(desk.value(ref) == b"x" * 400_000 for ref in refs)


def test_lazy_partitions_are_made_real(desk: Desk) -> None:
    """A generator can't cross the wire; its items can."""
    outcome = desk.run(task(lambda: (n * n for n in range(3))), task(lambda: map(str, [1, 2])))
    assert [desk.value(ref) for ref in outcome.results] == [[0, 1, 4], ["1", "2"]]


def test_parts_of_any_container_are_read_one_by_one(desk: Desk) -> None:
    """A dict, a list or a tuple in parts: each item alone, by its own rules, and all of them together."""
    values: list[Any] = [{"a": 1, 2: "b", -1: None}, [10, 20, 30], (1.5, "x"), {}, []]
    outcome = desk.run(*[task(lambda value=value: value, emit=Emit.PARTS) for value in values], inline_limit=0)
    for ref, value in zip(outcome.results, values, strict=True):
        assert isinstance(ref, Ref) and ref.parted
        assert desk.value(ref) == value and type(desk.value(ref)) is type(value)
    mapping, sequence, *_ = outcome.results
    assert [desk.value(part(mapping, name)) for name in ("a", 2, -1)] == [1, "b", None]
    assert [desk.value(part(sequence, name)) for name in (0, 2, -1)] == [10, 30, 30]


def part(ref: Any, name: int | str) -> Ref:
    return Ref(ref.store, ref.key, ref.span, ref.nbytes, ref.digest, ref.parted, name, ref.data)


@pytest.mark.parametrize(
    ("value", "name", "error"),
    [({"a": 1}, "b", KeyError), ([1], 1, IndexError), ([1], -2, IndexError), ((1,), "a", TypeError)],
)
@pytest.mark.parametrize("limit", [0, 10_000])
def test_an_item_that_is_not_there_raises_what_the_container_raises(
    desk: Desk, value: Any, name: int | str, error: type[Exception], limit: int
) -> None:
    """The user's mistake looks as it would at home."""
    (ref,) = desk.run(task(lambda: value, emit=Emit.PARTS), inline_limit=limit).results
    with pytest.raises(error):
        desk.value(part(ref, name))


class Labels(dict[str, int]):
    """A mapping that is more than its items."""


@pytest.mark.parametrize("value", [Labels(a=1), {(1, 2): 3}, {1.5: 1}, {"\ud800": 1}, {1 << 70: 1}, {True: 1}, 7])
def test_what_a_footer_can_not_name_is_written_whole(desk: Desk, value: Any) -> None:
    """The value arrives all the same, and an item of it can be taken."""
    (ref,) = desk.run(task(lambda: value, emit=Emit.PARTS)).results
    assert isinstance(ref, Ref) and not ref.parted
    assert desk.value(ref) == value and type(desk.value(ref)) is type(value)


@pytest.mark.parametrize("limit", [0, 1 << 20])
def test_a_shuffle_brings_each_row_to_its_partition(desk: Desk, limit: int) -> None:
    """Splits write parts, a barrier indexes them, each join reads only its own; with objects and with inline values."""
    frames = [
        pd.DataFrame({PARTITIONS: [0, 2, 0], "row": [1, 2, 3]}),
        pd.DataFrame({PARTITIONS: pd.Series([], dtype="int64"), "row": pd.Series([], dtype="int64")}),
        pd.DataFrame({PARTITIONS: [2, 1], "row": [4, 5]}),
    ]
    splits = desk.run(
        *[task(lambda frame: cut_frame(frame, PARTITIONS, 4), "frame", emit=Emit.PARTS)] * 3,
        inputs=[[desk.put(frame)] for frame in frames],
        inline_limit=limit,
        prefix=f"{PREFIX}splits/",
    ).results
    gate = desk.run(
        task(print, "a", "b", "c", emit=Emit.INDEX), inputs=[splits], inline_limit=limit, prefix=f"{PREFIX}gate/"
    ).results[0]
    join = task(lambda parts: join_frames(parts, None), "parts")
    joined = desk.run(*[join] * 4, inputs=[[part(gate, number)] for number in range(4)]).results
    got: list[pd.DataFrame] = [desk.value(ref) for ref in joined]
    assert [frame["row"].tolist() for frame in got] == [[1, 3], [5], [2, 4], []]
    assert all(frame.dtypes.equals(frames[0].dtypes) for frame in got)  # the empty partition's too


def test_a_barrier_keeps_one_empty_part(desk: Desk) -> None:
    """What an output partition without rows looks like is said once, not by every input."""
    frame = pd.DataFrame({PARTITIONS: [0], "row": [1]})
    splits = desk.run(
        *[task(lambda: cut_frame(frame, PARTITIONS, 2), emit=Emit.PARTS)] * 3, prefix=f"{PREFIX}splits/"
    ).results
    (gate,) = desk.run(task(print, "a", "b", "c", emit=Emit.INDEX), inputs=[splits]).results
    assert len(desk.value(part(gate, 0))) == 3
    (empty,) = desk.value(part(gate, 1))
    pd.testing.assert_frame_equal(empty, frame.iloc[:0], check_index_type=False)


def test_a_bag_is_grouped_through_parts(desk: Desk) -> None:
    """The same way for records; an output partition without records has no groups."""
    npartitions = 5
    splits = desk.run(
        *[task(lambda records: cut_records(records, len, npartitions), "records", emit=Emit.PARTS)] * 2,
        inputs=[[desk.put(["a", "bb"])], [desk.put(["cc"])]],
        prefix=f"{PREFIX}splits/",
    ).results
    (gate,) = desk.run(task(print, "a", "b", emit=Emit.INDEX), inputs=[splits]).results
    join = task(lambda parts: join_records(parts, len), "parts")
    joined = desk.run(*[join] * npartitions, inputs=[[part(gate, n)] for n in range(npartitions)]).results
    assert sorted(itertools.chain(*map(desk.value, joined))) == [(1, ["a"]), (2, ["bb", "cc"])]


def test_requested_values_are_data_where_that_fits(desk: Desk) -> None:
    """What the client asked for can be read without unpickling, whole or in parts; intermediates are pickled."""
    frame = pd.DataFrame({"x": [1.5]})
    entries = [task(lambda: frame), task(lambda: [frame, 1], emit=Emit.PARTS)]
    careful = Inputs({"main": desk.store}, pickles=False)
    whole, parted = desk.run(*entries, requested=True).results
    assert isinstance(whole, Ref) and isinstance(parted, Ref)
    pd.testing.assert_frame_equal(careful.value(whole), frame)
    assert careful.value(part(parted, 1)) == 1


def test_what_a_call_used_is_measured(desk: Desk) -> None:
    """Operations and bytes of the store, bytes in the outcome, seconds, CPU and memory."""
    stored, inline = desk.put(bytes(LARGE)), desk.put(b"inline", inline=True)
    outcome = desk.run(
        task(lambda x: x, "x"), task(lambda x: x, "x"), task(lambda: sum(range(300_000))), inputs=[[stored], [inline]]
    )
    large, small, number = outcome.results
    assert isinstance(large, Ref) and isinstance(small, Ref) and isinstance(number, Ref)
    used = outcome.resources
    assert used.store_operations == {"write": 1, "read": 1}
    assert used.bytes_in == stored.nbytes
    assert used.bytes_out == {"store": large.nbytes, "client": small.nbytes + number.nbytes}
    assert used.requests == 1 and 0 < sum(outcome.unit_seconds) <= used.seconds
    assert used.cpu_seconds > 0 and used.peak_memory_mb > 10
    assert outcome.worker == f"local pid {desk.worker.process.pid}"


def test_each_call_is_measured_from_its_own_start(desk: Desk) -> None:
    """A warm worker does not charge a call for the ones before it."""
    ref = desk.put(bytes(LARGE))
    first, second = (desk.run(task(len, "x"), inputs=[[ref]]).resources for _ in range(2))
    assert first.store_operations == second.store_operations == {"write": 0, "read": 1}
    assert first.bytes_in == second.bytes_in


class LeavesMark:
    """Leaves a line in a file whenever it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return leave_mark, (self.path,)


def leave_mark(path: Path) -> None:
    with path.open("a") as file:
        file.write("loaded\n")


def marked(path: Path) -> bytes:
    """A program that leaves a mark when it is loaded."""
    return dump([entry((("value", print, (LeavesMark(path),), None, False, ()),), "value", (), Emit.VALUE)])


def test_a_warm_worker_keeps_the_program(desk: Desk, tmp_path: Path) -> None:
    """The second call of a run neither reads nor unpickles the program again."""
    mark = tmp_path / "mark"
    program = marked(mark)
    desk.store.put(f"{PREFIX}graph", [program])
    graph = Ref("main", f"{PREFIX}graph", (0, len(program)), len(program), digest([program]))
    outcomes = [desk.answer(desk.order(graph=graph, units=(Assignment(0, 1, ()),))) for _ in range(3)]
    assert mark.read_text() == "loaded\n"
    assert [outcome.resources.store_operations["read"] for outcome in outcomes] == [1, 0, 0]


def test_an_unsigned_program_is_never_unpickled(desk: Desk, tmp_path: Path) -> None:
    """The very program that leaves a mark when its call is signed leaves none when its signature is wrong."""
    mark = tmp_path / "mark"
    envelope = desk.sealed(desk.order(program=marked(mark), units=(Assignment(0, 1, ()),)))
    desk.worker.send(envelope[:-1] + bytes([envelope[-1] ^ 1]))
    refusal = desk.worker.receive()
    assert isinstance(refusal, str) and refusal.startswith("BadSignature")
    assert not mark.exists()
    desk.worker.send(envelope)
    assert isinstance(desk.worker.receive(), bytes)
    assert mark.exists()


def test_two_names_of_one_store_are_counted_once(desk: Desk) -> None:
    """Both open the same objects; the bill has each operation once."""
    stores = {"main": desk.store.access, "again": StoreAccess(desk.store.url)}
    outcome = desk.run(task(lambda: bytes(LARGE)), stores=stores)
    assert outcome.resources.store_operations == {"write": 1, "read": 0}


def endless() -> Iterator[int]:
    yield from itertools.count()


def test_a_unit_may_use_part_of_an_endless_generator(desk: Desk) -> None:
    """Only what a unit returns is made real, not what it uses."""
    (ref,) = desk.run(task(lambda: list(itertools.islice(endless(), 3)))).results
    assert desk.value(ref) == [0, 1, 2]
