"""Exceptions as plain failures that travel back to the client."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import Any

import cloudpickle

from cloudoffload.errors import (
    Corrupt,
    ObjectMissing,
    ResultTooLarge,
    ResultTypeRefused,
    StoreError,
    UnpicklableResult,
)
from cloudoffload.types import Failure, FailureKind
from cloudoffload.worker import memory
from cloudoffload.worker.deadline import DeadlinePassed

_KINDS: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (ObjectMissing, FailureKind.INPUT_LOST),
    (Corrupt, FailureKind.INPUT_LOST),
    (StoreError, FailureKind.STORE),
    (UnpicklableResult, FailureKind.UNPICKLABLE_RESULT),
    (ResultTypeRefused, FailureKind.RESULT_TYPE),
    (ResultTooLarge, FailureKind.RESULT_TOO_BIG),
    (DeadlinePassed, FailureKind.DEADLINE),
    (ModuleNotFoundError, FailureKind.MISSING_PACKAGE),  # of the class of an input
)
_MAX_PICKLE = 256 * 1024
_MAX_TEXT = 50_000
_OUR_FRAMES = ("cloudoffload/worker/", "cloudoffload/wire/program.py", "dask/_task_spec.py")


def of_machinery(error: BaseException) -> Failure:
    """Failure of reading inputs or writing outputs."""
    if isinstance(error, MemoryError):
        return _out_of_memory(error)
    kind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), FailureKind.EXCEPTION)
    return _failure(kind, error, message=_module(error))


def of_user_code(error: BaseException) -> Failure:
    """Failure of the user's own code, with the exception itself where it can be pickled."""
    if isinstance(error, DeadlinePassed):
        return _failure(FailureKind.DEADLINE, error)
    if isinstance(error, MemoryError):
        return _out_of_memory(error)
    return replace(_failure(FailureKind.EXCEPTION, error), pickled=_pickle(error))


def of_loading(error: BaseException) -> Failure:
    """Failure of reading and unpickling the program."""
    if isinstance(error, ModuleNotFoundError):
        return _failure(FailureKind.MISSING_PACKAGE, error, message=_module(error))
    if isinstance(error, MemoryError):
        return _out_of_memory(error)
    return _failure(FailureKind.UNPICKLABLE_GRAPH, error)


def _out_of_memory(error: MemoryError) -> Failure:
    """Python's own says nothing, numpy's and Arrow's how much was asked for: the limit explains both."""
    limit = memory.limit()
    allowed = "" if limit is None else f"; this worker may hold {limit >> 20} MB"
    return _failure(FailureKind.OUT_OF_MEMORY, error, message=f"{str(error) or 'MemoryError'}{allowed}")


def _module(error: BaseException) -> str:
    """Name of the module that an import did not find, "" for all other errors."""
    return error.name or "" if isinstance(error, ModuleNotFoundError) else ""


def wrong_version(client: str, worker: str) -> Failure:
    """Failure of a worker whose Python can't read what the client pickled."""
    return Failure(FailureKind.VERSION, "VersionMismatch", f"client {client}, worker {worker}", "")


def _failure(kind: FailureKind, error: BaseException, *, message: str = "") -> Failure:
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    try:
        message = message or str(error)
    except Exception:  # noqa: BLE001 - a user's __str__ may raise; the failure must travel all the same
        message = "<its message can't be shown>"
    return Failure(kind, name, message[:_MAX_TEXT], _traceback(error), _plain(error.args))


def _traceback(error: BaseException) -> str:
    # The reader wants the frames of the user's code, not of the machinery that called it.
    tb = error.__traceback__
    while tb is not None and any(part in tb.tb_frame.f_code.co_filename for part in _OUR_FRAMES):
        tb = tb.tb_next
    text = "".join(traceback.format_exception(type(error), error, tb or error.__traceback__))
    half = _MAX_TEXT // 2
    return text if len(text) <= _MAX_TEXT else f"{text[:half]}\n[...]\n{text[-half:]}"


def _plain(arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
    plain = all(type(item) in (str, bytes, int, float, bool, type(None)) for item in arguments)
    small = sum(len(item) for item in arguments if isinstance(item, (str, bytes))) < _MAX_PICKLE
    in_range = all(type(item) is not int or abs(item) < 1 << 63 for item in arguments)
    return arguments if plain and small and in_range else None


def _pickle(error: BaseException) -> bytes | None:
    # Frames travel as text: some packages (tblib) make tracebacks picklable, with all that they hold.
    error.__traceback__ = None
    try:
        data = bytes(cloudpickle.dumps(error, 5))
        # An exception with its own __init__ often pickles well and fails to load; find out here.
        cloudpickle.loads(data)
    except Exception:  # noqa: BLE001 - any class may misbehave here; name, message and traceback travel without it
        return None
    return data if len(data) <= _MAX_PICKLE else None
