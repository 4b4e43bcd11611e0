"""Which of Dask's tests run: all modules that compute something, and a slice of them for every day."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Sequence
from pathlib import Path

import dask

from tests.dask_suite.skips import FILE, Skips

PACKAGES = Path(dask.__file__).parent.parent
"""Folder of installed packages: modules are named by their path below it."""

FAMILIES = {
    "bag": ("dask/bag/tests/test_bag.py",),
    "delayed": tuple(
        f"dask/tests/test_{name}.py"
        for name in ("delayed", "base", "callbacks", "graph_manipulation", "multiprocessing")
    ),
    "dataframe": tuple(
        f"dask/dataframe/dask_expr/tests/test_{name}.py"
        for name in ("collection", "concat", "datasets", "groupby", "merge", "reductions", "shuffle")
    ),
    "array": tuple(
        f"dask/array/tests/test_{name}.py" for name in ("array_core", "rechunk", "reductions", "routines", "slicing")
    ),
}
"""What a day's slice is cut of: one module of each family."""


def everything() -> list[str]:
    """Modules of Dask's tests that apply, also those that a later version of Dask brings."""
    found = (str(file.relative_to(PACKAGES)) for file in Path(dask.__file__).parent.rglob("tests/test_*.py"))
    return sorted(set(found) - Skips.read(FILE).left_out.keys())


def modules_of(day: datetime.date) -> list[str]:
    """One module of each family, chosen by the date alone."""
    return [min(modules, key=lambda module: _rank(day, module)) for modules in FAMILIES.values()]


def sliced(tests: Sequence[str], day: datetime.date, count: int) -> set[str]:
    """At most ``count`` of the tests with these ids, chosen by the date alone."""
    return set(sorted(tests, key=lambda test: _rank(day, test))[:count])


def _rank(day: datetime.date, name: str) -> bytes:
    return hashlib.sha256(f"{day} {name}".encode()).digest()
