"""Data that the workloads read, made once and kept in the folder for temporary files."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

PARTITIONS = 10

_STEP = 2.0**-14
"""All values are multiples of this, so that sums of products are exact in any order: answers can be compared as they
are."""


def cache() -> Path:
    """Where generated data lies."""
    return Path(tempfile.gettempdir()) / f"cloudoffload-benchmarks-{os.getuid()}"


def merge_tables(rows: int, *, root: Path | None = None) -> Path:
    """Two tables of so many rows, in ten Parquet files each, that join one to one.

    Returns
    -------
    Path
        Folder that holds ``left`` (k, x) and ``right`` (k, y). There is no column that nobody asks for: Dask reads
        several files as one partition where columns are left out, and partitions are what is measured.
    """
    folder = (root or cache()) / f"merge-{rows}"
    if folder.exists():
        return folder
    # Written beside its place and renamed, so that a folder of this name is always whole.
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        random = np.random.default_rng(1)
        for side, value in (("left", "x"), ("right", "y")):
            _write(fresh / side, rows, value, random)
        fresh.rename(folder)
    except OSError:
        if not folder.exists():  # else another process was first
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _write(folder: Path, rows: int, value: str, random: np.random.Generator) -> None:
    folder.mkdir()
    for number, keys in enumerate(np.array_split(random.permutation(rows), PARTITIONS)):
        table = pa.table({"k": keys, value: random.integers(0, 1 << 14, len(keys)) * _STEP})
        pq.write_table(table, folder / f"part-{number:02d}.parquet", row_group_size=max(len(keys), 1))
