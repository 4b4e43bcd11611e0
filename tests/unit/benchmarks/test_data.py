"""Promises of the data that the workloads read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.data import PARTITIONS, merge_tables


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


def test_data_are_made_once(tmp_path: Path) -> None:
    """The same size again is the same files; nothing half-made lies beside them."""
    folder = merge_tables(100, root=tmp_path)
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert merge_tables(100, root=tmp_path) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    assert list(tmp_path.iterdir()) == [folder]
