"""Why a unit has no value: each reason has its kind, and never harms the other units of the call."""

from __future__ import annotations

import os
import pickle
import threading
from typing import Any

import pytest

from cloudoffload.types import Emit, Failure, FailureKind
from cloudoffload.wire.program import entry
from tests.unit.worker.conftest import Desk, failure, raises, task


def exception(found: Failure) -> BaseException:
    """The exception that the client rebuilds."""
    assert found.kind is FailureKind.EXCEPTION and found.pickled is not None
    error = pickle.loads(found.pickled)
    assert isinstance(error, BaseException)
    return error


def test_an_exception_travels_whole(desk: Desk) -> None:
    """Type, message, arguments, notes and the user's part of the traceback; the exception itself pickled."""
    error = ValueError("bad", 7)
    error.add_note("see the manual")
    found = failure(desk.run(raises(error)))
    assert (found.type_name, found.message, found.arguments) == ("ValueError", "('bad', 7)", ("bad", 7))
    again = exception(found)
    assert type(again) is ValueError and again.args == ("bad", 7) and again.__notes__ == ["see the manual"]
    assert "in user_function" in found.traceback and "ValueError: ('bad', 7)" in found.traceback
    assert "cloudoffload/worker" not in found.traceback and "run_steps" not in found.traceback


def test_other_units_keep_their_values(desk: Desk) -> None:
    """One unit's exception is that unit's result; those before and behind it are as they would be without."""
    outcome = desk.run(task(lambda: 1), raises(KeyError("x")), task(lambda: 3))
    assert failure(outcome, 1).type_name == "KeyError"
    assert [desk.value(outcome.results[i]) for i in (0, 2)] == [1, 3]


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class NeedsMore(Exception):
    """Pickles well and fails to load: its constructor wants what ``args`` does not have."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (Unpicklable(), "Unpicklable", "holds a lock"),
        (NeedsMore(7, "too far"), "NeedsMore", "too far (7)"),
        (ValueError("x" * 400_000), "ValueError", "x" * 50_000),
    ],
)
def test_an_exception_that_does_not_survive_pickling_travels_as_text(
    desk: Desk, error: Exception, name: str, message: str
) -> None:
    """Classes that can't be written or loaded again, and exceptions too large to send: name and message remain."""
    found = failure(desk.run(task(make_and_raise(error))))
    assert found.kind is FailureKind.EXCEPTION and found.pickled is None
    assert found.type_name.endswith(name) and found.message == message and name in found.traceback


def make_and_raise(error: Exception) -> Any:
    """A function that raises an equal exception, made on the worker."""
    cls, arguments = type(error), (7, "too far") if isinstance(error, NeedsMore) else error.args
    if isinstance(error, Unpicklable):
        arguments = ()

    def user_function() -> None:
        raise cls(*arguments)

    return user_function


def test_an_exception_without_a_message_still_arrives(desk: Desk) -> None:
    """A ``__str__`` that raises does not turn one failure into another."""
    found = failure(desk.run(raises(Mute())))
    assert found.type_name.endswith("Mute") and found.message == "<its message can't be shown>"


@pytest.mark.parametrize("arguments", [(1 << 80,), ([1],), (object,), (b"x" * 300_000,)])
def test_only_plain_and_small_arguments_travel_as_data(desk: Desk, arguments: tuple[Any, ...]) -> None:
    """Others come back inside the pickle, or not at all."""
    assert failure(desk.run(raises(RuntimeError(*arguments)))).arguments is None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")])
def test_what_ends_other_programs_does_not_end_the_worker(desk: Desk, error: BaseException) -> None:
    """``sys.exit`` in a task is that task's failure."""
    outcome = desk.run(raises(error), task(os.getpid))
    assert type(exception(failure(outcome))) is type(error)
    assert desk.value(outcome.results[1]) == desk.worker.process.pid


def test_an_exception_inside_a_lazy_partition_is_the_users(desk: Desk) -> None:
    """A generator runs the user's code when it is made real."""

    def partition() -> Any:
        yield 1
        raise LookupError("half way")

    assert isinstance(exception(failure(desk.run(task(partition)))), LookupError)


def test_an_exception_of_a_notebook_can_be_rebuilt(desk: Desk) -> None:
    """A class that exists in the client's ``__main__`` only travels by value, both ways."""

    class Refused(Exception):
        pass

    Refused.__module__ = "__main__"
    again = exception(failure(desk.run(raises(Refused("no")))))
    assert type(again) is Refused


def test_an_import_of_the_users_code_is_the_users_exception(desk: Desk) -> None:
    """A function that imports what is not there raised by itself, as it would at home."""

    def function() -> None:
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401

    assert isinstance(exception(failure(desk.run(task(function)))), ModuleNotFoundError)


def test_a_node_of_dask_reports_the_users_frames(desk: Desk) -> None:
    """Dask's own frames are left out of the traceback as well."""
    from dask._task_spec import Task

    def user_function() -> None:
        raise ValueError("deep")

    node = Task("value", user_function)
    found = failure(desk.run(entry((("value", None, (node,), None, True, ()),), "value", (), Emit.VALUE)))
    assert "user_function" in found.traceback and "_task_spec" not in found.traceback
