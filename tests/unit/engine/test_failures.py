"""What a failed unit raises on the client."""

from __future__ import annotations

import pickle

import pytest

from cloudoffload import errors
from cloudoffload.engine.failures import to_exception
from cloudoffload.types import Failure, FailureKind
from tests.unit.engine.driving import unit


def told(
    kind: FailureKind = FailureKind.EXCEPTION,
    name: str = "ValueError",
    *,
    arguments: tuple[object, ...] | None = ("bad", 3),
    pickled: bytes | None = None,
    message: str = "bad",
) -> Failure:
    return Failure(kind, name, message, "Traceback: in f", arguments, pickled)


def raised(failure: Failure, results: str = "verified") -> BaseException:
    return to_exception(failure, unit(0, prefix="load"), results)


class Exploding:
    """Unpickling it is what must not happen."""

    def __reduce__(self) -> tuple[object, ...]:
        return pytest.fail, ("a pickle of the worker was read",)


def test_an_exception_arrives_as_it_was_raised() -> None:
    """Its own type and arguments, with the worker's traceback below."""
    error = raised(told(pickled=pickle.dumps(KeyError("k"))))
    assert type(error) is KeyError and error.args == ("k",)
    assert isinstance(error.__cause__, errors.RemoteTraceback)
    assert "in task 'load' on the worker" in str(error.__cause__) and "in f" in str(error.__cause__)


def test_data_only_sessions_read_no_pickle() -> None:
    """Built-in exceptions are rebuilt from plain arguments."""
    error = raised(told(pickled=pickle.dumps(Exploding())), results="data")
    assert type(error) is ValueError and error.args == ("bad", 3)


@pytest.mark.parametrize(
    "failure",
    [
        told(name="mypackage.Odd"),
        told(arguments=None),
        told(name="UnicodeDecodeError"),
        told(name="SystemExit"),
        told(name="print"),
    ],
    ids=["foreign class", "no plain arguments", "other arguments", "no Exception", "no class"],
)
def test_what_can_not_be_rebuilt_is_told(failure: Failure) -> None:
    """Name and message of the worker's exception, never a lookup of something else by that name."""
    error = raised(failure, results="data")
    assert isinstance(error, errors.RemoteError)
    assert error.type_name == failure.type_name
    assert str(error) == f"{failure.type_name}: bad"


@pytest.mark.parametrize("pickled", [b"not a pickle", pickle.dumps("no exception")])
def test_a_pickle_that_does_not_hold_an_exception_is_passed_over(pickled: bytes) -> None:
    """Name and arguments still do."""
    assert type(raised(told(pickled=pickled))) is ValueError


@pytest.mark.parametrize(
    ("kind", "expected", "advice"),
    [
        (FailureKind.MISSING_PACKAGE, errors.MissingPackage, "install it where the worker runs"),
        (FailureKind.VERSION, errors.VersionMismatch, "deploy the worker with"),
        (FailureKind.UNPICKLABLE_GRAPH, errors.UnpicklableGraph, "can't load the graph"),
        (FailureKind.UNPICKLABLE_RESULT, errors.UnpicklableResult, "'load'"),
        (FailureKind.RESULT_TYPE, errors.ResultTypeRefused, "'load'"),
        (FailureKind.RESULT_TOO_BIG, errors.ResultTooLarge, "'load'"),
    ],
)
def test_each_kind_has_one_error(kind: FailureKind, expected: type[Exception], advice: str) -> None:
    """It names the task or says what to do."""
    error = raised(told(kind, "Anything"))
    assert type(error) is expected
    assert advice in str(error)
