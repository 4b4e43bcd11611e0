"""One computation on several clouds: rules, requirements, and what must stay on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.dataframe as dd
import pandas as pd
import pytest

import cloudoffload as co
from cloudoffload import errors
from cloudoffload.types import Requirements


@pytest.fixture(scope="module")
def both() -> Iterator[co.Session]:
    """Emulated AWS and this machine, with rules that send tasks to either."""
    rules = {"there": Requirements(provider="aws"), "here": Requirements(provider="local")}
    with co.Session(emulate=("aws",), providers=("aws", "local"), workers=1, rules=rules) as session:
        yield session


def place(*_: Any) -> str:
    """Where this runs."""
    return "aws" if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else "local"


def test_rules_send_each_task_where_it_belongs(both: co.Session) -> None:
    """Values go from one cloud to the other by reference."""
    large = dask.delayed(lambda: b"x" * 100_000)(dask_key_name="there-make")
    shared = [dask.delayed(len)(large, dask_key_name=f"here-{i}") for i in range(2)]
    back = dask.delayed(lambda a, b, c: (len(a), b, c, place()))(large, *shared, dask_key_name="there-back")
    before = both.stats()["providers"]

    assert both.compute(back) == ((100_000, 100_000, 100_000, "aws"),)

    after = both.stats()["providers"]
    for name in ("aws", "local"):
        assert after[name]["units"] - (before[name]["units"] if name in before else 0) == 2


def test_requirements_of_a_computation(both: co.Session) -> None:
    """They hold for all of its tasks."""
    for name in ("aws", "local"):
        assert both.compute(dask.delayed(place)(), requirements=Requirements(provider=name)) == (name,)
        with dask.annotate(provider=name):
            assert both.compute(dask.delayed(place)(name)) == (name,)


def test_local_files_are_read_on_this_machine(both: co.Session, tmp_path: Path) -> None:
    """The rest goes to the cloud; the file's path means nothing there."""
    for i in range(2):
        pd.DataFrame({"a": range(10), "b": range(10)}).to_csv(tmp_path / f"{i}.csv", index=False)
    frame = dd.read_csv(str(tmp_path / "*.csv"))
    units = both.plan(frame.a.sum()).units
    reading = [unit for unit in units if unit.here_because]
    assert reading
    assert {both.explain(str(unit.key)).provider for unit in reading} == {"local"}
    assert both.compute(frame.a.sum()) == (90,)


def test_local_files_without_this_machine(tmp_path: Path) -> None:
    """Refused with the path and what to do, before anything runs."""
    pd.DataFrame({"a": range(10)}).to_csv(tmp_path / "x.csv", index=False)
    with co.Session(emulate=("aws",), providers=("aws",)) as session:
        with pytest.raises(errors.LocalPathError, match=r"x\.csv.*add \"local\""):
            dd.read_csv(str(tmp_path / "x.csv")).a.sum().compute()
        assert session.stats()["calls"] == 0


def test_local_files_with_a_cloud_by_force(both: co.Session, tmp_path: Path) -> None:
    """The same error, also though this machine takes part."""
    pd.DataFrame({"a": range(10)}).to_csv(tmp_path / "x.csv", index=False)
    calls = both.stats()["calls"]
    with pytest.raises(errors.LocalPathError, match=r"x\.csv"):
        both.compute(dd.read_csv(str(tmp_path / "x.csv")).a.sum(), requirements=Requirements(provider="aws"))
    assert both.stats()["calls"] == calls


def test_a_provider_that_does_not_take_part(both: co.Session) -> None:
    """The message names those that do."""
    with pytest.raises(errors.PlanError, match=r"'gcp'.*aws, local"):
        both.compute(dask.delayed(abs)(-1), requirements=Requirements(provider="gcp"))
