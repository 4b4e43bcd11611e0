"""Whether and when a unit runs again: arithmetic on plain values."""

from __future__ import annotations

import hashlib

from cloudoffload.errors import (
    OutOfMemory,
    PayloadTooLarge,
    ProviderDown,
    ProviderError,
    RemoteTraceback,
    StoreError,
    Throttled,
    TimedOut,
)
from cloudoffload.types import Failure, FailureKind

BASE_SECONDS = 0.1
CAP_SECONDS = 10.0
MAX_REFUSALS = 50
"""Refusals of one unit after which a provider counts as out of reach."""

DEADLINE_GROWTH = 4.0
"""A unit whose deadline passed gets this many times as long on its next try."""


def backoff(tries: int, unit: int) -> float:
    """Seconds to wait before try number ``tries + 1``: exponential, with full jitter.

    The jitter comes from a hash of the unit, so that the same events always lead to the same actions.
    """
    spread = int.from_bytes(hashlib.blake2b(f"{unit}/{tries}".encode(), digest_size=4).digest(), "big") / 2**32
    return min(CAP_SECONDS, BASE_SECONDS * 2.0**tries) * spread


def as_lost(failure: Failure) -> Exception | None:
    """The loss that a failure amounts to, or None where running again would not help."""
    message = f"{failure.message or failure.type_name}"
    lost: Exception
    if failure.kind is FailureKind.DEADLINE:
        lost = TimedOut(message)
    elif failure.kind is FailureKind.OUT_OF_MEMORY:
        lost = OutOfMemory(f"the worker ran out of memory: {message}")
    elif failure.kind is FailureKind.INPUT_LOST:
        lost = ProviderDown(f"an input could not be read: {message}")
    elif failure.kind is FailureKind.STORE:
        lost = StoreError(message)
    else:
        return None
    if failure.traceback:
        lost.__cause__ = RemoteTraceback(failure.traceback)
    return lost


def may_retry(error: BaseException) -> bool:
    """Whether the same unit may succeed when it is sent again."""
    if isinstance(error, ProviderError):
        return error.retryable
    return isinstance(error, StoreError)


def ran_nothing(error: BaseException, units: int) -> bool:
    """Whether a call of so many units was refused before any of them ran; that uses up no try."""
    return isinstance(error, Throttled) or (isinstance(error, PayloadTooLarge) and units > 1)


def advice(error: BaseException) -> str:
    """End of the sentence about a unit that was lost too often: what its owner can do, where that is known."""
    if isinstance(error, TimedOut):
        return "; use smaller partitions, or say with Requirements(seconds=...) how long it takes"
    if isinstance(error, OutOfMemory):
        return "; use smaller partitions or more memory"
    if isinstance(error, ProviderDown):
        return (
            ". If its code ends the process or needs more memory than a worker has, use smaller partitions or more "
            "memory"
        )
    return ""
