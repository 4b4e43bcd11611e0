"""What becomes of a lost unit: may it run again, when, and what its owner is told."""

from __future__ import annotations

import pytest

from cloudoffload.engine import retries
from cloudoffload.errors import OutOfMemory, ProviderDown, StoreError, Throttled, TimedOut, Unauthorized


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (TimedOut("late"), "Requirements(seconds=...)"),
        (OutOfMemory("full"), "more memory"),
        (ProviderDown("gone"), "If its code ends the process"),
    ],
    ids=["time", "memory", "crash"],
)
def test_the_advice_follows_from_the_reason(error: Exception, says: str) -> None:
    """A task that took too long needs other measures than one that needs too much memory."""
    assert says in retries.advice(error)


def test_no_advice_about_the_code_where_the_store_is_at_fault() -> None:
    """The error itself says what could not be reached."""
    assert retries.advice(StoreError("could not write 'x'")) == ""


def test_only_trouble_that_may_pass_is_tried_again() -> None:
    """A missing permission stays missing; what the user's code raised is no trouble of a cloud."""
    again = [TimedOut(""), OutOfMemory(""), ProviderDown(""), StoreError(""), Throttled("")]
    assert all(map(retries.may_retry, again))
    never = [Unauthorized(""), ProviderDown("", retryable=False), ValueError()]
    assert not any(map(retries.may_retry, never))


def test_waits_grow_up_to_a_limit_and_are_spread() -> None:
    """The same unit always waits the same; units that were lost together don't come back together."""
    waits = [[retries.backoff(tries, unit) for unit in range(200)] for tries in range(1, 12)]
    for tries, of_units in enumerate(waits, 1):
        most = min(retries.CAP_SECONDS, retries.BASE_SECONDS * 2.0**tries)
        assert 0 <= min(of_units) < most * 0.05 and most * 0.95 < max(of_units) <= most
    assert waits[3][7] == retries.backoff(4, 7)
