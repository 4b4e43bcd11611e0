"""What stands around a computation: folders, import paths, deadlines, what other code leaves behind."""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pandas as pd
import psutil
import pytest

import cloudoffload as co


def test_relative_paths_follow_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a change of folder a relative name means the file that the client sees, not the one of the old folder."""
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        pd.DataFrame({"a": [name]}).to_csv(tmp_path / name / "f.csv")
    monkeypatch.chdir(tmp_path / "old")
    with co.Session(workers=1) as session:
        first = session.compute(dask.delayed(pd.read_csv)("f.csv"))[0].a[0]
        monkeypatch.chdir(tmp_path / "new")
        second = session.compute(dask.delayed(pd.read_csv)("f.csv"))[0].a[0]
    assert (first, second) == ("old", "new")


def test_modules_found_later_are_found_by_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that joins the import path while workers run is on theirs at the next call."""
    (tmp_path / "found_later.py").write_text("def double(x):\n    return 2 * x\n")
    with co.Session(workers=1) as session:
        session.compute(dask.delayed(abs)(-1))
        monkeypatch.syspath_prepend(tmp_path)
        import found_later  # type: ignore[import-not-found]

        assert session.compute(dask.delayed(found_later.double)(21)) == (42,)
    sys.modules.pop("found_later")


def test_a_worker_that_a_deadline_has_struck_is_not_used_again(tmp_path: Path) -> None:
    """It may have been stopped in the middle of an import: the next call gets a fresh process, and the right answer."""
    mark = tmp_path / "pid"

    def sleep(parts: list[str]) -> None:  # a path would keep the call on this machine
        Path(*parts).write_text(str(os.getpid()))
        time.sleep(30)

    with co.Session(emulate=("aws",), providers=("aws",)) as session:
        with pytest.raises(co.errors.WorkerLost):
            session.compute(dask.delayed(sleep)(list(mark.parts)), requirements=co.Requirements(seconds=5.0, retries=0))
        after = {session.compute(dask.delayed(os.getpid)())[0] for _ in range(4)}
    assert int(mark.read_text()) not in after


@dataclasses.dataclass
class Adder:
    """A callable without a hash, as an ordinary dataclass is."""

    n: int

    def __call__(self, x: int) -> int:
        return x + self.n


class Odd:
    """An object whose properties raise."""

    @property
    def nbytes(self) -> int:
        raise ValueError("not now")

    @property
    def fs(self) -> Any:
        raise ValueError("not now")


def test_callables_and_arguments_may_be_odd() -> None:
    """Planning asks objects nothing that they may refuse to answer."""
    with co.Session(workers=1) as session:
        assert session.compute(dask.delayed(Adder(3))(4)) == (7,)
        assert session.compute(dask.delayed(isinstance)(Odd(), object)) == (True,)


def test_storing_into_memory_is_refused() -> None:
    """A worker would fill a copy, and the user's object would stay empty without a word."""

    class Sink:
        def __setitem__(self, key: object, value: object) -> None: ...

    with co.Session(workers=1):
        for target in (np.zeros(4), Sink()):
            with pytest.raises(co.errors.UnsupportedGraph, match="in this process's memory"):
                da.store(da.ones(4, chunks=2), target)  # type: ignore[no-untyped-call]


def test_what_user_code_started_ends_with_its_worker(tmp_path: Path) -> None:
    """A cancelled call leaves no child processes behind."""
    mark = tmp_path / "pid"

    def start_child() -> None:
        import subprocess
        import time

        child = subprocess.Popen(["sleep", "300"])
        mark.write_text(str(child.pid))
        time.sleep(300)

    with co.Session(workers=1) as session, session.executor() as executor:
        future = executor.submit(start_child)
        while not mark.exists() or not mark.read_text():
            time.sleep(0.05)
        session.cancel()
        with pytest.raises(co.errors.Cancelled):
            future.result(timeout=60)
    while psutil.pid_exists(int(mark.read_text())):
        time.sleep(0.05)  # the test's own time limit is the bound


@pytest.mark.parametrize("run_id", ["", ".", "..", "../../victim", "a/b", "-x", "x" * 65])
def test_a_run_id_is_a_plain_name(run_id: str) -> None:
    """It becomes part of paths whose contents are deleted at the end."""
    with pytest.raises(co.errors.SettingsError, match="run_id"):
        co.Session(run_id=run_id)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"store": "memory://"}, "out of reach for workers"),
        ({"store": "s3://elsewhere", "emulate": ("aws",)}, "its own bucket only"),
    ],
)
def test_a_store_that_workers_cannot_use_is_refused(arguments: dict[str, Any], said: str) -> None:
    """It is said when the session starts, not by lost inputs."""
    with pytest.raises(co.errors.SettingsError, match=said), co.Session(**arguments):
        pass


def test_rules_are_checked_at_once() -> None:
    """A rule that is none is said when the session is made, not when nothing obeys it."""
    with pytest.raises(co.errors.SettingsError, match="rules"):
        co.Session(rules={"sum": "aws"})  # type: ignore[dict-item]


def test_a_dry_run_spends_nothing_however_it_is_asked() -> None:
    """Named schedulers, plain maps and persisting are estimated too."""
    from cloudoffload.engine.estimating import Estimated

    with co.Session(workers=1) as session:
        ways = [
            lambda: dask.delayed(abs)(-1).compute(),
            lambda: dask.delayed(abs)(-1).compute(scheduler="cloudoffload"),
            lambda: dask.persist(dask.delayed(abs)(-1), scheduler=session),
            lambda: co.offload(abs, over=[-1]),
        ]
        for ask in ways:
            with pytest.raises(Estimated) as caught, session.dry_run():
                ask()
            assert caught.value.estimate.units == 1
        assert session.stats()["calls"] == 0
        assert co.offload(abs, over=[-1]) == [1], "afterwards it runs"


def test_a_session_that_has_not_run_has_used_nothing() -> None:
    """Its counts are zeros, not an error."""
    assert co.Session().stats()["calls"] == 0
