"""Promises of the data that the workloads read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.data import (
    PARTITIONS,
    STEP,
    grouped_table,
    long_column,
    long_column_files,
    merge_tables,
    shuffled_table,
)


def test_tables_join_one_to_one(tmp_path: Path) -> None:
    """Each key is on both sides once, in another order, spread over the promised number of files."""
    folder = merge_tables(1000, root=tmp_path)
    left, right = (pd.read_parquet(folder / side) for side in ("left", "right"))
    assert len(list(folder.glob("left/*.parquet"))) == len(list(folder.glob("right/*.parquet"))) == PARTITIONS
    assert sorted(left.k) == sorted(right.k) == list(range(1000))
    assert list(left.k) != list(right.k)


def test_sums_do_not_depend_on_order(tmp_path: Path) -> None:
    """Adding products in any order gives the same number to the last bit, so that answers can be compared exactly."""
    folder = merge_tables(1000, root=tmp_path)
    joined = pd.read_parquet(folder / "left").merge(pd.read_parquet(folder / "right"), on="k")
    products = (joined.x * joined.y).to_list()
    assert sum(products) == sum(sorted(products)) == sum(sorted(products, reverse=True))
    assert len(set(products)) > 900


def test_tables_have_the_rows_that_were_asked_for(tmp_path: Path) -> None:
    """Also numbers that the files can't share evenly; every value is a multiple of the step that keeps sums exact."""
    for make, value in ((shuffled_table, "x"), (grouped_table, "v3")):
        folder = make(1003, root=tmp_path)
        table = pd.read_parquet(folder)
        assert (len(table), len(list(folder.iterdir()))) == (1003, PARTITIONS)
        assert (table[value] % STEP == 0).all()


def test_a_long_column_is_cut_into_files(tmp_path: Path) -> None:
    """Two million rows to a file, the rest in the last one, and no file repeats another."""
    rows = 4_000_001
    parts = [pd.read_parquet(file).x for file in sorted(long_column(rows, root=tmp_path).iterdir())]
    assert [len(part) for part in parts] == [2_000_000, 2_000_000, 1]
    assert long_column_files(rows) == 3
    assert not parts[0].equals(parts[1])


def test_data_are_made_once(tmp_path: Path) -> None:
    """The same size again is the same files; nothing half-made lies beside them."""
    folder = merge_tables(100, root=tmp_path)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert merge_tables(100, root=tmp_path) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    assert list(tmp_path.iterdir()) == [folder]
