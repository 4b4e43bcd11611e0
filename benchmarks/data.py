"""Data that the workloads read, made once and kept in the folder for temporary files."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PARTITIONS = 10
"""Files of a table."""

STEP = 2.0**-14
"""All values are multiples of this, so that sums, also of products, are exact in any order: answers can be compared as
they are."""


_LONG_FILE = 2_000_000  # rows


def cache() -> Path:
    """Where generated data lies."""
    return Path(tempfile.gettempdir()) / f"cloudoffload-benchmarks-{os.getuid()}"


def made_once(name: str, write: Callable[[Path], None], root: Path | None = None) -> Path:
    """The folder of this name, written the first time that it is asked for.

    Parameters
    ----------
    name : str
        Says what lies there, its size included.
    write : callable
        Fills an empty folder.
    root : Path, optional
        Where the folder lies; default: :func:`cache`.
    """
    folder = (root or cache()) / name
    if folder.exists():
        return folder
    # Written beside its place and renamed, so that a folder of this name is always whole.
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=folder.parent))
    try:
        write(fresh)
        fresh.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was first
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def merge_tables(rows: int, *, root: Path | None = None) -> Path:
    """Two tables of so many rows, in ten Parquet files each, that join one to one.

    Returns
    -------
    Path
        Folder that holds ``left`` (k, x) and ``right`` (k, y). There is no column that nobody asks for: Dask reads
        several files as one partition where columns are left out, and partitions are what is measured.
    """

    def write(folder: Path) -> None:
        random = np.random.default_rng(1)
        for side, value in (("left", "x"), ("right", "y")):
            (folder / side).mkdir()
            for number, keys in enumerate(np.array_split(random.permutation(rows), PARTITIONS)):
                _write(folder / side, number, {"k": keys, value: _values(random, len(keys))})

    return made_once(f"merge-{rows}", write, root)


def shuffled_table(rows: int, *, root: Path | None = None) -> Path:
    """A table of so many rows in ten Parquet files: a key that comes ten times (k), anywhere, and a value (x)."""

    def write(folder: Path) -> None:
        random = np.random.default_rng(2)
        for number in range(PARTITIONS):
            count = _share(rows, number)
            _write(folder, number, {"k": random.integers(0, max(rows // 10, 1), count), "x": _values(random, count)})

    return made_once(f"shuffle-{rows}", write, root)


def grouped_table(rows: int, *, root: Path | None = None) -> Path:
    """A table of so many rows in ten Parquet files, with few and with many groups, much like h2o.ai's benchmark.

    Returns
    -------
    Path
        Folder of files with ``id1`` (text, 100 groups), ``id3`` (text) and ``id6`` (a number; rows / 100 groups each),
        ``v1`` and ``v2`` (small whole numbers) and ``v3``.
    """

    def write(folder: Path) -> None:
        random = np.random.default_rng(3)
        groups = max(rows // 100, 1)
        few = pa.array([f"id{number:03d}" for number in range(1, 101)])
        many = pa.array([f"id{number:010d}" for number in range(1, groups + 1)])
        for number in range(PARTITIONS):
            count = _share(rows, number)
            columns = {
                "id1": few.take(pa.array(random.integers(0, 100, count))),
                "id3": many.take(pa.array(random.integers(0, groups, count))),
                "id6": random.integers(0, groups, count),
                "v1": random.integers(1, 6, count),
                "v2": random.integers(1, 16, count),
                "v3": _values(random, count),
            }
            _write(folder, number, columns)

    return made_once(f"groupby-{rows}", write, root)


def long_column_files(rows: int) -> int:
    """Files that :func:`long_column` writes."""
    return max(math.ceil(rows / _LONG_FILE), 1)


def long_column(rows: int, *, root: Path | None = None) -> Path:
    """One column (x) of so many rows, 16 MB of memory to a file; on the disk it takes less than a third of that."""

    def write(folder: Path) -> None:
        for number in range(long_column_files(rows)):
            random = np.random.default_rng([5, number])
            _write(folder, number, {"x": _values(random, min(_LONG_FILE, rows - number * _LONG_FILE))})

    return made_once(f"long-{rows}", write, root)


def _share(rows: int, number: int) -> int:
    """Rows of one file."""
    return rows // PARTITIONS + (number < rows % PARTITIONS)


def _values(random: np.random.Generator, count: int) -> Any:
    return random.integers(0, 1 << 14, count) * STEP


def _write(folder: Path, number: int, columns: dict[str, object]) -> None:
    table = pa.table(columns)
    pq.write_table(table, folder / f"part-{number:04d}.parquet", row_group_size=max(table.num_rows, 1))
