"""Cutting and joining: a shuffle neither loses nor changes a row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Hashable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from dask.dataframe.shuffle import partitioning_index
from hypothesis import given
from hypothesis import strategies as st

import cloudoffload
from cloudoffload.errors import Corrupt
from cloudoffload.wire.parts import (
    EMPTY,
    PARTITIONS,
    cut_frame,
    cut_records,
    join_frames,
    join_records,
    regroup_frames,
    regroup_records,
)
from tests.unit.wire.pandas_values import SHUFFLED, frames
from tests.unit.wire.shelf import Shelf

ROOT = Path(cloudoffload.__file__).parents[1]

numbers = st.lists(st.integers(0, 9), max_size=30)


def frame_of(targets: list[int]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            PARTITIONS: np.array(targets, np.int64),
            "row": np.arange(len(targets)),
            "text": pd.array([f"t{number}" for number in targets], dtype="str"),
        },
        index=pd.Index(np.arange(len(targets)) * 10, name="id"),
    )


@given(numbers, numbers, st.integers(10, 300))
def test_rows_arrive_in_their_partition_in_order(first: list[int], second: list[int], npartitions: int) -> None:
    """Joining part i of every cut gives the rows whose number is i: each once, in the order of the inputs."""
    frames = [frame_of(first), frame_of(second)]
    cuts = [cut_frame(frame, PARTITIONS, npartitions) for frame in frames]
    whole = pd.concat(frames)
    for number in range(10):
        joined = join_frames([cut[number] for cut in cuts if number in cut] or [cuts[0][EMPTY]], frames[0].iloc[:0])
        pd.testing.assert_frame_equal(joined, whole[whole[PARTITIONS] == number])


@given(numbers)
def test_only_partitions_with_rows_have_parts(targets: list[int]) -> None:
    """And one part without rows, which has the columns and dtypes of the frame."""
    frame = frame_of(targets)
    parts = cut_frame(frame, PARTITIONS, 10)
    assert parts.keys() == {*targets, EMPTY}
    pd.testing.assert_frame_equal(parts[EMPTY], frame.iloc[:0])


@given(st.lists(st.integers(-1000, 1000), max_size=30), st.integers(1, 300))
def test_no_number_loses_a_row(targets: list[int], npartitions: int) -> None:
    """Numbers of partitions that don't exist count modulo their number, as Dask's own shuffle takes them."""
    parts = cut_frame(frame_of(targets), PARTITIONS, npartitions)
    rows = {int(row): number for number, part in parts.items() for row in part["row"]}
    assert rows == {row: target % npartitions for row, target in enumerate(targets)}


@pytest.mark.parametrize(
    "column", [pd.Series([0.0, np.nan]), pd.Series([0, None], dtype="Int64"), pd.Series([0, None], dtype=object)]
)
def test_missing_numbers_raise(column: pd.Series[Any]) -> None:
    """A row without a number belongs nowhere; it must not vanish silently."""
    with pytest.raises(ValueError, match="missing values"):
        cut_frame(pd.DataFrame({PARTITIONS: column}), PARTITIONS, 2)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f8", "Int64"])
def test_numbers_of_any_dtype_are_numbers(dtype: str) -> None:
    """What Dask leaves in the column differs by operation."""
    frame = pd.DataFrame({PARTITIONS: pd.Series([1, 0, 1], dtype=dtype), "row": [0, 1, 2]})
    parts = cut_frame(frame, PARTITIONS, 2)
    assert parts[0]["row"].tolist() == [1] and parts[1]["row"].tolist() == [0, 2]


@pytest.mark.parametrize("column", ["text", ["text"], ["text", "row"]])
def test_columns_are_hashed_as_dask_hashes_them(column: Any) -> None:
    """A frame that was cut here can be merged with one that Dask cut."""
    frame = frame_of(list(range(10)))
    targets = partitioning_index(frame[column if isinstance(column, list) else [column]], 4)
    parts = cut_frame(frame, column, 4)
    for number in range(4):
        if number in parts:
            pd.testing.assert_frame_equal(parts[number], frame[targets == number])
    assert sum(len(part) for part in parts.values()) == len(frame)


def test_parts_that_nobody_reads_are_left_out() -> None:
    """``keep`` names the partitions that have a reader."""
    assert cut_frame(frame_of([0, 1, 2, 1]), PARTITIONS, 3, keep={1}).keys() == {1, EMPTY}


def test_rows_are_renumbered_when_the_index_means_nothing() -> None:
    """``ignore_index`` numbers the rows of each part from 0, so that no index travels; joined they keep their order."""
    parts = cut_frame(frame_of([1, 0, 1]), PARTITIONS, 2, ignore_index=True)
    assert parts[1].index.equals(pd.RangeIndex(2))
    joined = join_frames([parts[1], parts[0]], parts[EMPTY], ignore_index=True)
    assert joined["row"].tolist() == [0, 2, 1]


def test_without_parts_the_meta_is_what_an_empty_partition_looks_like() -> None:
    """A partition that no cut knows has no better description than the planner's."""
    meta = frame_of([]).drop(columns="text")
    pd.testing.assert_frame_equal(join_frames([], meta), meta)


@st.composite
def inputs(draw: st.DrawFn) -> list[pd.DataFrame]:
    """Some frames of one kind with partition numbers; some may have no rows."""
    frame = draw(frames(kinds=SHUFFLED))
    # The numbers' column needs a name beside the others: pandas finds none beside intervals, levels or lists.
    labels = [label if isinstance(label, Hashable) else str(label) for label in frame.columns.to_flat_index()]
    frame.columns = pd.Index(labels, dtype=object, tupleize_cols=False)
    shares = draw(st.lists(st.lists(st.integers(0, max(len(frame) - 1, 0)), max_size=6), min_size=1, max_size=4))
    parts = [frame.take(share if len(frame) else []) for share in shares]
    for part in parts:
        numbers = draw(st.lists(st.integers(0, 9), min_size=len(part), max_size=len(part)))
        part[PARTITIONS] = np.array(numbers, np.int64)
    return parts


def one_stage(parts: list[pd.DataFrame], ignore_index: bool = False) -> dict[int, pd.DataFrame]:
    """Partitions of a shuffle whose joins read from every cut, by way of stored bytes."""
    shelf = Shelf()
    gate = shelf.shuffled(cut_frame(part, PARTITIONS, 10, None, ignore_index) for part in parts)
    return {number: join_frames(shelf.parts(gate, number), None, ignore_index) for number in range(10)}


def two_stages(
    parts: list[pd.DataFrame], firsts: list[int], blocks: int, ignore_index: bool
) -> dict[int, pd.DataFrame]:
    """The same by way of groups of partitions, gathered from blocks of inputs."""
    shelf = Shelf()
    size = -(-len(parts) // blocks)
    gates = [
        shelf.shuffled(
            cut_frame(part, PARTITIONS, 10, None, ignore_index, firsts) for part in parts[start : start + size]
        )
        for start in range(0, len(parts), size)
    ]
    found = {}
    for group, first in enumerate(firsts):
        gate = shelf.shuffled(regroup_frames(shelf.parts(gate, group), ignore_index) for gate in gates)
        for number in range(first, [*firsts, 10][group + 1]):
            found[number] = join_frames(shelf.parts(gate, number), None, ignore_index)
    return found


def same(found: pd.DataFrame, expected: pd.DataFrame, ignore_index: bool) -> None:
    """Equal, but for an index that means nothing."""
    if ignore_index:
        found, expected = found.reset_index(drop=True), expected.reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_freq=False)


@given(inputs(), st.booleans())
def test_a_shuffled_partition_is_its_rows_of_every_input(parts: list[pd.DataFrame], ignore_index: bool) -> None:
    """Whatever the columns, the index and the labels are: each row once, in order, as pandas would concatenate them."""
    for number, partition in one_stage(parts, ignore_index).items():
        masks = [part[PARTITIONS].to_numpy() == number for part in parts]
        rows = [part[mask] for part, mask in zip(parts, masks, strict=True)]
        expected = join_frames([item for item in rows if len(item)] or rows, None, ignore_index)
        if parts[0].index.nlevels == 1 and parts[0].index.dtype == object and not ignore_index and len(expected):
            # Here pandas would guess anew what the objects are.
            labels = [part.index.to_numpy()[mask] for part, mask in zip(parts, masks, strict=True)]
            expected.index = pd.Index(np.concatenate(labels), dtype=object, name=expected.index.name)
        same(partition, expected, ignore_index)


@given(inputs(), st.sets(st.integers(1, 9)), st.integers(1, 3), st.booleans())
def test_two_stages_give_what_one_gives(
    parts: list[pd.DataFrame], firsts: set[int], blocks: int, ignore_index: bool
) -> None:
    """However partitions are grouped and inputs are divided into blocks, every partition is the same, in order."""
    once = one_stage(parts, ignore_index)
    twice = two_stages(parts, [0, *sorted(firsts)], blocks, ignore_index)
    for number in range(10):
        same(twice[number], once[number], ignore_index)


@pytest.mark.parametrize("groups", [None, [0, 2]])
def test_inputs_whose_categories_differ_get_all_of_them(groups: list[int] | None) -> None:
    """Unknown categories are those that each input happened to meet."""
    parts = [
        pd.DataFrame({PARTITIONS: [0, 1], "c": pd.Categorical(["a", "b"])}),
        pd.DataFrame({PARTITIONS: [1, 3], "c": pd.Categorical(["c", "b"])}),
    ]
    found = one_stage(parts) if groups is None else two_stages(parts, groups, 2, False)
    assert found[1]["c"].tolist() == ["b", "c"] and sorted(found[1]["c"].cat.categories) == ["a", "b", "c"]
    assert found[0]["c"].tolist() == ["a"] and found[3]["c"].tolist() == ["b"]


class Labelled(pd.DataFrame):
    """A frame that is more than its columns."""

    _metadata: ClassVar = ["label"]

    @property
    def _constructor(self) -> type[Labelled]:
        return Labelled


@pytest.mark.parametrize("groups", [None, [0, 2]])
def test_kin_of_frames_stay_what_they_are(groups: list[int] | None) -> None:
    """Only frames of pandas are taken apart into columns."""
    parts = [Labelled({PARTITIONS: [0, 2, 0], "row": [1, 2, 3]}), Labelled({PARTITIONS: [2, 3], "row": [4, 5]})]
    found = one_stage(parts) if groups is None else two_stages(parts, groups, 2, False)
    assert {number: frame["row"].tolist() for number, frame in found.items() if len(frame)} == {
        0: [1, 3],
        2: [2, 4],
        3: [5],
    }
    assert all(type(frame) is Labelled for frame in found.values())


def test_partitions_that_nobody_reads_do_not_travel_with_their_group() -> None:
    """``keep`` holds for groups too."""
    cut = cut_frame(frame_of([0, 1, 2, 1]), PARTITIONS, 3, keep={0, 2}, groups=[0, 2])
    assert {name: sorted(part) for name, part in cut.items() if name != EMPTY} == {0: [0], 1: [2]}


def test_rows_of_a_group_without_partitions_are_corrupt() -> None:
    """A part of one partition is none of a group: its rows must not be lost, or guessed."""
    shelf = Shelf()
    gate = shelf.shuffled([cut_frame(frame_of([0, 1]), PARTITIONS, 2)])
    with pytest.raises(Corrupt):
        regroup_frames(shelf.parts(gate, 0))


def last_digit(record: int) -> int:
    return record % 10


@given(st.lists(st.lists(st.integers(0, 200), max_size=20), max_size=4), st.integers(1, 7))
def test_records_of_a_group_meet(partitions: list[list[int]], npartitions: int) -> None:
    """Every record is in exactly one group, in its order, and a group is in one partition only."""
    cuts = [cut_records(iter(partition), last_digit, npartitions) for partition in partitions]
    groups = [
        pair
        for number in range(npartitions)
        for pair in join_records([cut[number] for cut in cuts if number in cut], last_digit)
    ]
    everything = [record for partition in partitions for record in partition]
    assert len(groups) == len(dict(groups))
    assert dict(groups) == {
        group: [record for record in everything if last_digit(record) == group] for group in map(last_digit, everything)
    }


@given(st.lists(st.lists(st.integers(0, 200), max_size=20), max_size=4), st.sets(st.integers(1, 6)))
def test_records_meet_in_two_stages_too(partitions: list[list[int]], firsts: set[int]) -> None:
    """Each partition has the same records in the same order, whatever groups it came through."""
    groups = [0, *sorted(firsts)]
    once = [cut_records(iter(partition), last_digit, 7) for partition in partitions]
    twice = [cut_records(iter(partition), last_digit, 7, groups) for partition in partitions]
    regrouped = [regroup_records([cut[group] for cut in twice if group in cut]) for group in range(len(groups))]
    for number in range(7):
        expected = [record for cut in once for record in cut.get(number, [])]
        (found,) = [cut[number] for cut in regrouped if number in cut] or [[]]
        assert found == expected


def test_records_are_cut_alike_in_every_process() -> None:
    """Python's hash of a text differs from process to process; the cut must not."""
    script = "from cloudoffload.wire.parts import cut_records; print(cut_records(list('abcdefgh'), str, 5))"
    printed = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, cwd=ROOT, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1
