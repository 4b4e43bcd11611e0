"""Reads ``skips.toml``: which of Dask's tests and modules don't apply, and why."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("skips.toml")


@dataclass(frozen=True)
class Skips:
    """What ``skips.toml`` says.

    Attributes
    ----------
    reasons : mapping of str to str
        Why a test does not apply, by its id; an id without parameters means all of them.
    left_out : mapping of str to str
        Why a module does not run, by its path below the folder of installed packages. Elsewhere it is an error when not
        one test reaches our scheduler.
    """

    reasons: Mapping[str, str]
    left_out: Mapping[str, str]

    def matching(self, test: str) -> str | None:
        """Id in the file that means this test, or None."""
        return next((name for name in (test, test.partition("[")[0]) if name in self.reasons), None)

    @classmethod
    def read(cls, file: Path) -> Skips:
        """Read a file of skips."""
        content = tomllib.loads(file.read_text())
        skips = content["skips"].items()
        reasons = {f"{module}::{test}": reason for module, tests in skips for test, reason in tests.items()}
        return cls(reasons, content["left_out"])
