"""What goes wrong in the user's code arrives as it was raised, or as one typed error that says what to do."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest

import cloudoffload as co
from cloudoffload import errors

PROVIDERS = ("local", "aws")


@pytest.fixture(scope="module", params=PROVIDERS)
def session(request: pytest.FixtureRequest) -> Iterator[co.Session]:
    """Worker processes, and functions on emulated AWS."""
    emulate = () if request.param == "local" else ("aws",)
    with co.Session(providers=(request.param,), emulate=emulate, workers=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def data_only() -> Iterator[co.Session]:
    """A session that reads no pickle of a worker."""
    with co.Session(providers=("local",), workers=1, results="data") as opened:
        yield opened


class Strange(Exception):
    """Of this module, with arguments of its own."""

    def __init__(self, code: int, *, hint: str) -> None:
        super().__init__(code)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (self.args[0], self.hint)


def rebuild(code: int, hint: str) -> Strange:
    return Strange(code, hint=hint)


def compute(session: co.Session, function: Any, *arguments: Any) -> Any:
    (value,) = session.compute(dask.delayed(function)(*arguments))
    return value


def test_an_exception_arrives_with_its_type_and_the_remote_traceback(session: co.Session) -> None:
    """The traceback shows the user's own lines on the worker, and the session goes on."""

    def parse(text: str) -> int:
        return int(text)

    with pytest.raises(ValueError, match="invalid literal for int") as caught:
        compute(session, parse, "seven")
    shown = "".join(traceback.format_exception(caught.value))
    assert "in task 'parse' on the worker" in shown
    assert "return int(text)" in shown
    assert compute(session, parse, "7") == 7


def test_an_exception_of_ones_own_arrives_with_all_that_it_holds(session: co.Session) -> None:
    """Also one whose constructor wants more than ``args``."""

    def fail() -> None:
        raise Strange(7, hint="look here")

    with pytest.raises(Strange) as caught:
        compute(session, fail)
    assert (caught.value.args, caught.value.hint) == ((7,), "look here")


def test_an_exception_that_can_not_travel_is_told(session: co.Session) -> None:
    """Name, message and traceback come, under one type."""

    def fail() -> None:
        class Local(Exception):
            lock = None

        error = Local("held")
        error.lock = threading.Lock()  # type: ignore[assignment]
        raise error

    with pytest.raises(errors.RemoteError, match="Local: held") as caught:
        compute(session, fail)
    assert caught.value.type_name.endswith("Local")
    assert "raise error" in str(caught.value.__cause__)


def test_an_error_deep_in_a_graph_ends_all_of_it(session: co.Session) -> None:
    """What depends on the failed task does not run; the next computation is not disturbed."""

    def half(x: int) -> Any:
        return dask.delayed(lambda y: 1 / y)(x)

    total = dask.delayed(sum)([half(x) for x in (1, 2, 0, 4)])
    with pytest.raises(ZeroDivisionError):
        session.compute(total)
    assert session.compute(dask.delayed(sum)([half(x) for x in (1, 2, 4)])) == (1.75,)


def test_data_only_sessions_rebuild_builtin_exceptions(data_only: co.Session) -> None:
    """By name, from plain arguments; all others are told as a RemoteError."""

    def fail(kind: str) -> None:
        raise KeyError("k", 3) if kind == "builtin" else Strange(7, hint="h")

    with pytest.raises(KeyError) as caught:
        compute(data_only, fail, "builtin")
    assert caught.value.args == ("k", 3)
    with pytest.raises(errors.RemoteError, match="Strange: 7") as told:
        compute(data_only, fail, "own")
    assert "on the worker" in str(told.value.__cause__)


def test_data_only_sessions_refuse_results_that_need_a_pickle(data_only: co.Session) -> None:
    """The message names the type; a value between tasks may be anything."""
    with pytest.raises(errors.ResultTypeRefused, match="Path"):
        compute(data_only, Path, "x")
    assert data_only.compute(dask.delayed(str)(dask.delayed(Path)("x"))) == ("x",)


def test_remote_prints_logs_and_warnings_appear_here(
    session: co.Session, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """As if the code had run here, also when it then fails."""

    def talk(fail: bool) -> int:
        print("to stdout")
        print("to stderr", file=sys.stderr)
        logging.getLogger("mine").warning("to the log %d", 7)
        warnings.warn("to the filters", RuntimeWarning, stacklevel=1)
        return 1 // (not fail)

    for fail in (False, True):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            if fail:
                with pytest.raises(ZeroDivisionError):
                    compute(session, talk, True)
            else:
                assert compute(session, talk, False) == 1
        shown = capsys.readouterr()
        assert "to stdout\n" in shown.out and "to stderr\n" in shown.err
        assert [(str(w.message), w.category) for w in caught] == [("to the filters", RuntimeWarning)]
    assert [(r.name, r.getMessage()) for r in caplog.records] == [("mine", "to the log 7")] * 2


def test_a_function_or_argument_that_can_not_be_sent(session: co.Session) -> None:
    """Said before anything runs, with the task's name and what to do."""
    calls = session.stats()["calls"]
    lock = threading.Lock()

    def use() -> bool:
        return lock.locked()

    for task in (dask.delayed(use)(), dask.delayed(repr)(lock)):
        with pytest.raises(errors.UnpicklableGraph, match=r"task '(use|repr)' can't be sent .*inside the function"):
            session.compute(task)
    assert session.stats()["calls"] == calls


class Unloadable:
    """Can be pickled, and not be unpickled."""

    def __getstate__(self) -> int:
        return 1

    def __setstate__(self, state: int) -> None:
        raise LookupError("no such thing here")


@pytest.mark.parametrize("graph", [{"x": (bool, Unloadable())}, {"x": (bool, "a"), "a": Unloadable()}])
def test_an_argument_that_can_not_be_loaded(session: co.Session, graph: dict[str, Any]) -> None:
    """A ValueError, whether the argument stands in the task or apart; the message says what its class raised."""
    with pytest.raises(ValueError, match=r"can't load the graph: .*LookupError: no such thing here"):
        session.get(graph, "x")


def test_a_result_that_can_not_be_written(session: co.Session) -> None:
    """Said with the task's name, also when only other tasks would have read it."""
    with pytest.raises(errors.UnpicklableResult, match="task 'guard'"):
        session.compute(dask.delayed(threading.Lock)(dask_key_name="guard-1"))
    shared = dask.delayed(threading.Lock)(dask_key_name="guard-2")
    with pytest.raises(errors.UnpicklableResult, match="task 'guard'"):
        session.compute([dask.delayed(repr)(shared), dask.delayed(id)(shared)])


def test_a_result_too_big_says_how_big_and_what_to_do() -> None:
    """The limit is a setting."""
    with (
        dask.config.set({"cloudoffload.result-limit": "1 MB"}),
        co.Session(providers=("local",), workers=1) as session,
    ):
        with pytest.raises(errors.ResultTooLarge, match=r"task 'bytes': .* cloudoffload.result-limit"):
            compute(session, bytes, 2_000_000)
        assert len(compute(session, bytes, 900_000)) == 900_000


def test_a_package_that_only_the_client_has(session: co.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Functions of a module travel by its name; a worker without the module says so."""
    module = types.ModuleType("only_on_the_client")
    exec("def double(x): return 2 * x", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_on_the_client", module)
    with pytest.raises(errors.MissingPackage, match=r"no module 'only_on_the_client'.*install it where"):
        compute(session, module.double, 2)


def test_a_worker_with_another_python_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickles of code don't cross versions: one clear error instead of a crash somewhere inside."""
    # The worker's interpreter imports this at its start, and believes that it is older than it is.
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, collections\n"
        "Version = collections.namedtuple('Version', 'major minor micro releaselevel serial')\n"
        "sys.version_info = Version(sys.version_info[0], sys.version_info[1] - 1, 0, 'final', 0)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    here, there = (f"{sys.version_info.major}.{sys.version_info.minor - older}" for older in (0, 1))
    with (
        co.Session(providers=("local",), workers=1) as session,
        pytest.raises(errors.VersionMismatch, match=rf"client {here}, worker {there}; deploy the worker with Python"),
    ):
        compute(session, os.getpid)
