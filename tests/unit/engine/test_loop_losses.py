"""Calls that don't come back: who is tried again, when, how often, and what the user is told."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cloudoffload.engine import retries
from cloudoffload.engine.messages import Finish, Send, Wake, Woken
from cloudoffload.errors import (
    OutOfMemory,
    PayloadTooLarge,
    ProviderDown,
    RemoteTraceback,
    StoreError,
    Throttled,
    TimedOut,
    Unauthorized,
    WorkerLost,
)
from cloudoffload.types import FailureKind, Requirements
from tests.unit.engine.driving import (
    Driven,
    delivered,
    drafts,
    failure,
    freed,
    lane,
    plan,
    ref,
    sent,
    unit,
    wanting,
)

DOWN = ProviderDown("the worker was ended by signal 9")


def test_a_lost_unit_is_sent_again_after_a_while_as_its_next_attempt() -> None:
    """Not at once, and never under the name of the lost attempt, which may still write."""
    driven = Driven(plan(unit(0, requested=True)))
    (first,) = drafts(driven.begin())
    assert drafts(driven.lose(first, DOWN)) == []
    (second,) = drafts(driven.wake())
    assert 0 < driven.now <= retries.BASE_SECONDS * 2
    assert (second.units[0].attempt, second.number) == (2, 2)
    driven.answer(second)
    assert delivered(driven.actions) == {0: ref(0, 2)}


def test_units_of_a_lost_batch_go_on_alone() -> None:
    """One of them may have ended the worker: it must not take the others with it again."""
    driven = Driven(plan(*(unit(i, requested=True) for i in range(4))), lane(slots=1), learned={"inc": 0.0})
    (batch,) = drafts(driven.begin())
    assert len(batch.units) == 4
    driven.lose(batch, DOWN)
    driven.now = 1000.0  # all have waited long enough
    driven.step(Woken())
    driven.finish()
    assert [len(numbers) for numbers in sent(driven.actions)] == [4, 1, 1, 1, 1]
    assert driven.finished == Finish(None)


def test_what_ends_every_worker_fails_with_the_last_reason_and_spares_the_others() -> None:
    """A unit has its allowed tries, the lost batch included; the units beside it get their values."""
    driven = Driven(
        plan(*(unit(i, requested=True) for i in range(4))), lane(slots=1), learned={"inc": 0.0}, isolated=True
    )
    driven.begin()
    while driven.finished is None:
        if not driven.loop.in_flight:
            driven.wake()
            continue
        (draft,) = driven.loop.in_flight
        killer = any(item.number == 2 for item in draft.units)
        driven.lose(draft, DOWN) if killer else driven.answer(draft)
    error = delivered(driven.actions)[2]
    assert isinstance(error, WorkerLost)
    assert "'inc' was tried 4 times" in str(error) and "signal 9" in str(error)
    assert error.__cause__ is DOWN
    assert [item.attempt for draft in drafts(driven.actions) for item in draft.units if item.number == 2] == [
        1,
        2,
        3,
        4,
    ]
    assert sorted(delivered(driven.actions)) == [0, 1, 2, 3]


def test_without_isolation_the_killer_ends_the_computation() -> None:
    """The error names the task, how often it was tried, and the last reason."""
    driven = Driven(plan(unit(0, prefix="load")), tries=1)
    driven.lose(drafts(driven.begin())[0], ProviderDown("first"))
    driven.lose(drafts(driven.wake())[0], OutOfMemory("it held 900 MB"))
    with pytest.raises(WorkerLost, match=r"'load' was tried 2 times .* it held 900 MB"):
        raise driven.error


def test_a_unit_may_state_its_own_tries() -> None:
    """``Requirements(retries=0)`` means once, whatever the setting says."""
    (only,) = wanting(Requirements(retries=0), unit(0))
    driven = Driven(plan(only), tries=3)
    driven.lose(drafts(driven.begin())[0], DOWN)
    assert "was tried once" in str(driven.error)


def test_what_can_not_succeed_is_not_tried_again() -> None:
    """The provider's error reaches the user as it is, also after an earlier loss."""
    refused = Unauthorized("no permission")
    driven = Driven(plan(unit(0)))
    driven.lose(drafts(driven.begin())[0], DOWN)
    driven.lose(drafts(driven.wake())[0], refused)
    assert driven.error is refused


def test_a_bug_in_a_provider_is_shown_as_it_is() -> None:
    """An error that is none of a provider's is not retried and not hidden."""
    bug = KeyError("payload")
    driven = Driven(plan(unit(0)))
    driven.lose(drafts(driven.begin())[0], bug)
    assert driven.error is bug


def test_a_throttled_batch_comes_back_as_a_batch_and_loses_no_try() -> None:
    """Nothing of it ran; in pieces it would press harder on a provider that wants less."""
    driven = Driven(plan(*(unit(i) for i in range(4))), lane(slots=1), learned={"inc": 0.0}, tries=0)
    (batch,) = drafts(driven.begin())
    for _ in range(10):
        driven.lose(batch, Throttled("429"))
        (batch,) = drafts(driven.wake())
        assert len(batch.units) == 4
    driven.answer(batch)
    assert driven.finished == Finish(None)


def test_a_provider_that_refuses_for_ever_is_given_up() -> None:
    """Waits grow to a cap, and end."""
    driven = Driven(plan(unit(0)), tries=0)
    driven.begin()
    while driven.finished is None:
        driven.lose(driven.loop.in_flight[0], Throttled("429"))
        if driven.finished is None:
            driven.wake()
    assert len(driven.all(Send)) == retries.MAX_REFUSALS + 1
    assert isinstance(driven.error, WorkerLost)
    moments = [0.0, *(wake.at for wake in driven.all(Wake))]
    waits = [later - sooner for sooner, later in pairwise(moments)]
    assert max(waits) <= retries.CAP_SECONDS


def test_units_too_big_together_go_alone_at_once() -> None:
    """A refused request costs no try and no time; a single unit that is too big is an error."""
    driven = Driven(plan(*(unit(i) for i in range(3))), lane(slots=1), learned={"inc": 0.0}, tries=0)
    (batch,) = drafts(driven.begin())
    too_big = PayloadTooLarge("7 MB")
    (alone,) = drafts(driven.lose(batch, too_big))
    assert len(alone.units) == 1
    driven.lose(alone, too_big)
    assert driven.error is too_big


def test_a_timeout_gives_the_unit_more_time() -> None:
    """Each deadline that passes makes the next one longer, up to the provider's limit."""
    driven = Driven(plan(unit(0)), lane(most=900))
    deadlines = [(draft := drafts(driven.begin())[0]).seconds]
    for _ in range(3):
        driven.lose(draft, TimedOut("late"))
        draft = drafts(driven.wake())[0]
        deadlines.append(draft.seconds)
    assert deadlines == [60.0, 240.0, 900.0, 900.0]


def test_a_deadline_told_by_the_worker_counts_as_a_timeout() -> None:
    """Units that the worker did not get to go on alone; what was done stays done."""
    driven = Driven(plan(*(unit(i) for i in range(3))), lane(slots=1), learned={"inc": 0.001})
    (batch,) = drafts(driven.begin())
    late = failure(FailureKind.DEADLINE, "passed")
    driven.answer(batch, ref(0), late, late)
    (again,) = drafts(driven.wake())
    assert again.seconds == batch.seconds * retries.DEADLINE_GROWTH
    driven.finish()
    assert sorted(number for numbers in sent(driven.actions)[1:] for number in numbers) == [1, 2]


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FailureKind.OUT_OF_MEMORY, OutOfMemory),
        (FailureKind.INPUT_LOST, ProviderDown),
        (FailureKind.STORE, StoreError),
        (FailureKind.DEADLINE, TimedOut),
    ],
)
def test_trouble_of_the_worker_is_tried_again(kind: FailureKind, error: type[Exception]) -> None:
    """Then it is said with the worker's own traceback."""
    driven = Driven(plan(unit(0)), tries=1)
    driven.answer(drafts(driven.begin())[0], failure(kind))
    driven.answer(drafts(driven.wake())[0], failure(kind))
    lost = driven.error
    assert isinstance(lost, WorkerLost) and "2 times" in str(lost) and "boom" in str(lost)
    assert isinstance(lost.__cause__, error)
    assert isinstance(lost.__cause__.__cause__, RemoteTraceback)


@pytest.mark.parametrize(
    "kind", [item for item in FailureKind if item.value not in {"deadline", "out-of-memory", "input-lost", "store"}]
)
def test_what_the_code_itself_does_is_not_tried_again(kind: FailureKind) -> None:
    """An exception, a missing package, a value that can't be written: the same would happen again."""
    driven = Driven(plan(unit(0)))
    driven.answer(drafts(driven.begin())[0], failure(kind))
    assert driven.finished is not None
    assert len(driven.all(Send)) == 1


def test_a_lost_reader_keeps_its_inputs() -> None:
    """They are read again, and freed once."""
    driven = Driven(plan(unit(0), unit(1, 0, requested=True)))
    driven.begin()
    (reader,) = drafts(driven.answer(driven.loop.in_flight[0]))
    assert freed(driven.lose(reader, DOWN)) == []
    assert freed(driven.finish()) == ["0-1"]


def test_tries_are_counted() -> None:
    """The session's statistics say how many units were sent again."""
    driven = Driven(plan(*(unit(i) for i in range(4))), lane(slots=1), learned={"inc": 0.0})
    driven.lose(drafts(driven.begin())[0], DOWN)
    driven.finish()
    assert driven.loop.retried == 4


def test_waits_differ_between_units_and_are_the_same_in_every_run() -> None:
    """Jitter without randomness: the same events always lead to the same actions."""
    waits = [retries.backoff(1, number) for number in range(50)]
    assert len(set(waits)) > 40
    assert waits == [retries.backoff(1, number) for number in range(50)]
    assert all(0 <= retries.backoff(tries, 7) <= retries.CAP_SECONDS for tries in range(60))
