"""Run Dask's own tests on this package: ``python -m tests.dask_suite [MODULE ...]``."""

from __future__ import annotations

import argparse
import datetime
import sys
from pathlib import Path

import pytest

from tests.dask_suite.modules import PACKAGES, everything, modules_of

HERE = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Run what the arguments say; returns pytest's exit code, not 0 as well when the run proves nothing."""
    parser = argparse.ArgumentParser(prog="python -m tests.dask_suite", description=__doc__)
    parser.add_argument("modules", nargs="*", help="such as dask/bag/tests/test_bag.py; default: all")
    parser.add_argument("--day", type=datetime.date.fromisoformat, help="only that day's slice, such as 2026-12-31")
    parser.add_argument("--tests", type=int, default=40, help="how many tests of each module a slice has (%(default)s)")
    parser.add_argument("--emulate", action="store_true", help="on an emulated AWS, not on this machine's processes")
    parser.add_argument("--stock", action="store_true", help="on Dask's own schedulers, to compare")
    parser.add_argument("--check-skips", action="store_true", help="run what is skipped: who passes needs no skip")
    options, for_pytest = parser.parse_known_args(arguments)
    modules = options.modules or (modules_of(options.day) if options.day else everything())
    command = [
        *("-c", str(HERE / "pytest.ini"), "--rootdir", str(PACKAGES), "-p", "tests.dask_suite.plugin"),
        *for_pytest,
        *(str(PACKAGES / module) for module in modules),
    ]
    if options.day:
        command += [f"--cloudoffload-day={options.day}", f"--cloudoffload-tests={options.tests}"]
    for name in ("emulate", "stock", "check_skips"):
        if getattr(options, name):
            command.append(f"--cloudoffload-{name.replace('_', '-')}")
    return int(pytest.main(command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
