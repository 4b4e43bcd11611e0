"""Dask's own tests pass on this package: a slice of them that changes every day. `make test-dask` runs all."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.dask_suite.modules import FAMILIES, PACKAGES, everything, modules_of, sliced
from tests.dask_suite.skips import FILE, Skips

ROOT = Path(__file__).parents[2]
A_DAY = datetime.date(2026, 1, 1)


def dask_suite(*arguments: str) -> tuple[int, str]:
    """Exit code and output of ``python -m tests.dask_suite``."""
    command = [sys.executable, "-m", "tests.dask_suite", *arguments]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_todays_slice_passes_on_worker_processes() -> None:
    """Bags, delayed values, dataframes and arrays: what passes on threads passes here."""
    code, output = dask_suite(f"--day={datetime.date.today()}")
    assert code == 0, output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_todays_slice_passes_on_an_emulated_aws() -> None:
    """A smaller slice, through Lambda and S3; tests that use this machine's files are refused there and don't count."""
    code, output = dask_suite(f"--day={datetime.date.today()}", "--tests=8", "--emulate")
    assert code == 0, output


def test_every_day_has_all_families_and_another_slice() -> None:
    """The slice depends on the date alone, covers each family, and in a month comes to every module."""
    days = [A_DAY + datetime.timedelta(days=i) for i in range(31)]
    for day in days:
        assert modules_of(day) == modules_of(day)
        assert all(sum(module in family for module in modules_of(day)) == 1 for family in FAMILIES.values())
    assert {module for day in days for module in modules_of(day)} == {m for family in FAMILIES.values() for m in family}
    tests = [f"test_{i}" for i in range(100)]
    slices = [sliced(tests, day, 40) for day in days]
    assert slices[0] == sliced(tests, A_DAY, 40)
    assert {len(part) for part in slices} == {40}
    assert set().union(*slices) == set(tests)


def test_everything_is_all_that_dask_brings_but_what_has_a_reason() -> None:
    """A module of a later version of Dask runs without being named; one that is left out does not."""
    modules = everything()
    assert set(modules).issuperset(module for family in FAMILIES.values() for module in family)
    assert {module.rpartition("/")[0] for module in modules}.issuperset({"dask/bag/tests", "dask/dataframe/io/tests"})
    assert not set(modules) & Skips.read(FILE).left_out.keys()


def test_a_module_that_never_computes_here_fails_the_run(tmp_path: Path) -> None:
    """A green run that did not reach the Session would prove nothing."""
    module = tmp_path / "test_idle.py"
    module.write_text("def test_nothing():\n    pass\n")
    code, output = dask_suite(str(module))
    assert code == 1
    assert "test_idle.py ran without a single computation on cloudoffload" in output
    assert dask_suite(str(module), "--stock")[0] == 0


def test_each_way_to_name_a_scheduler_leads_here(tmp_path: Path) -> None:
    """By name, as a function, and by the default of a collection: no task runs in the process of the tests."""
    module = tmp_path / "test_ways.py"
    module.write_text(WAYS)
    code, output = dask_suite(str(module))
    assert code == 0, output
    assert dask_suite(str(module), "--stock")[0] == 1


WAYS = """
import os, dask, dask.array, dask.bag, dask.dataframe, dask.threaded, dask.multiprocessing, pandas, pytest
from dask.local import get_sync

NAMES = ["sync", "synchronous", "single-threaded", "threads", "threading"]

@pytest.mark.parametrize("scheduler", [*NAMES, dask.get, get_sync, dask.threaded.get, None])
def test_way(scheduler):
    def where(*_):
        return os.getpid()

    frame = dask.dataframe.from_pandas(pandas.DataFrame({"x": [1]}))
    collections = [
        dask.delayed(where)(),
        dask.array.ones(1).map_blocks(lambda block: block * 0 + os.getpid(), dtype=float)[0],
        dask.bag.from_sequence([1]).map(where).min(),
        frame.x.map_partitions(lambda part: part * 0 + os.getpid(), meta=("x", int)).min(),
    ]
    assert os.getpid() not in [item.compute(scheduler=scheduler) for item in collections]
"""


def test_skips_that_are_not_needed_are_told(tmp_path: Path) -> None:
    """A test that passes, or is gone, must not stay on the list."""
    module = tmp_path / "test_some.py"
    module.write_text("def test_passes():\n    pass\n\ndef test_fails():\n    assert False\n")
    name = os.path.relpath(module, PACKAGES)
    skips = tmp_path / "skips.toml"
    skips.write_text(
        "[left_out]\n"
        f'"{name}" = "it is short"\n'
        f'[skips."{name}"]\ntest_passes = "why not"\ntest_fails = "it fails"\ntest_gone = "it was there"\n'
    )
    assert dask_suite(str(module), f"--cloudoffload-skips={skips}")[0] == 0
    code, output = dask_suite(str(module), f"--cloudoffload-skips={skips}", "--check-skips")
    assert code == 1
    told = [line for line in output.splitlines() if "skipped without need" in line]
    assert [line.split("::")[1].split()[0] for line in told] == ["test_passes", "test_gone"]


def test_each_skip_names_a_test_of_dask_and_a_reason() -> None:
    """No line of the list is left over from another version of Dask."""
    skips = Skips.read(FILE)
    for test, reason in skips.reasons.items():
        module, _, name = test.partition("::")
        assert f"def {name.partition('[')[0]}(" in (PACKAGES / module).read_text(), test
        assert len(reason.split()) > 3, test
    assert all((PACKAGES / module).exists() for module in skips.left_out)
