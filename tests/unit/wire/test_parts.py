"""Cutting and joining: a shuffle neither loses nor changes a row."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from dask.dataframe.shuffle import partitioning_index
from hypothesis import given
from hypothesis import strategies as st

import cloudoffload
from cloudoffload.wire.parts import EMPTY, PARTITIONS, cut_frame, cut_records, join_frames, join_records

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
