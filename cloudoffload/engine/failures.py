"""What a failed unit raises on the client."""

from __future__ import annotations

import builtins
import pickle
import sys

from dask.utils import key_split

from cloudoffload.errors import (
    CloudoffloadError,
    MissingPackage,
    OutOfMemory,
    RemoteError,
    RemoteTraceback,
    ResultTooLarge,
    ResultTypeRefused,
    UnpicklableGraph,
    UnpicklableResult,
    VersionMismatch,
    WorkerLost,
)
from cloudoffload.types import Failure, FailureKind, Unit


def to_exception(failure: Failure, unit: Unit, results: str) -> BaseException:
    """Exception for a failure, with the worker's traceback as its cause.

    Parameters
    ----------
    failure : Failure
        As it came in an authenticated outcome.
    unit : Unit
        Which unit failed.
    results : str
        ``"data"`` never unpickles: built-in exceptions are rebuilt by name from plain arguments, all others become
        :class:`~cloudoffload.errors.RemoteError`.
    """
    if failure.kind is FailureKind.EXCEPTION:
        error = _user_exception(failure, results)
    else:
        error = _typed(failure, f"task {unit.prefix!r}")
    if failure.traceback:
        error.__cause__ = RemoteTraceback(f"in task {key_split(unit.key)!r} on the worker:\n{failure.traceback}")
    return error


def _user_exception(failure: Failure, results: str) -> BaseException:
    if failure.pickled is not None and results != "data":
        try:
            error = pickle.loads(failure.pickled)
        except Exception:  # noqa: BLE001 - a class that only the worker has; name and message are still worth raising
            error = None
        if isinstance(error, BaseException):
            return error
    cls = getattr(builtins, failure.type_name, None)
    if isinstance(cls, type) and issubclass(cls, Exception) and failure.arguments is not None:
        try:
            return cls(*failure.arguments)
        except TypeError:
            pass  # such as UnicodeDecodeError, which wants its own kinds of arguments
    return RemoteError(f"{failure.type_name}: {failure.message}", type_name=failure.type_name)


def _typed(failure: Failure, task: str) -> CloudoffloadError:
    message = failure.message
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    match failure.kind:
        case FailureKind.MISSING_PACKAGE:
            return MissingPackage(
                f"the worker has no module {message!r}, which the graph imports: install it where the worker runs, or "
                "define the function in the notebook or script itself, from where it is sent along"
            )
        case FailureKind.VERSION:
            return VersionMismatch(
                f"the worker runs another Python than this client ({python}): {message}; deploy the worker with "
                f"Python {python}, or run the client with the worker's"
            )
        case FailureKind.UNPICKLABLE_GRAPH:
            return UnpicklableGraph(f"the worker can't load the graph: {failure.type_name}: {message}")
        case FailureKind.UNPICKLABLE_RESULT:
            return UnpicklableResult(f"{task}: {message}")
        case FailureKind.RESULT_TYPE:
            return ResultTypeRefused(f"{task}: {message}")
        case FailureKind.RESULT_TOO_BIG:
            return ResultTooLarge(f"{task}: {message}")
        case FailureKind.OUT_OF_MEMORY:
            return OutOfMemory(
                f"{task} ran out of memory: {message}; use smaller partitions, or workers with more memory"
            )
        case _:
            return WorkerLost(f"{task}: {message}")
