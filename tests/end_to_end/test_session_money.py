"""A budget is never passed, and says what it kept: emulated functions at list prices."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import dask
import pytest

import cloudoffload as co
from cloudoffload import errors
from cloudoffload.engine.events import Event, EventKind
from cloudoffload.types import Budget, Requirements

GENEROUS = 60.0


@contextmanager
def aws(budget: str | Budget, memory_mb: int = 512, **arguments: Any) -> Iterator[co.Session]:
    """A session on emulated functions only; small ones, because many run at once."""
    with (
        dask.config.set({"cloudoffload.aws.memory-mb": memory_mb}),
        co.Session(emulate=("aws",), providers=("aws",), budget=budget, **arguments) as session,
    ):
        yield session


def watched(session: co.Session) -> list[Event]:
    """Every event of the session from now on."""
    seen: list[Event] = []
    session.events.subscribe(seen.append)
    return seen


def test_a_budget_too_small_refuses_before_anything_runs() -> None:
    """No call is sent; the message says what a call could cost and what to do."""
    with aws("0.0001 USD") as session:
        seen = watched(session)
        with pytest.raises(errors.BudgetExceeded, match=r"could cost up to .*Raise the budget") as caught:
            dask.delayed(abs)(-1).compute()
        assert caught.value.__notes__ == ["cloudoffload: 0 of 1 tasks are done"]
        assert session.stats()["calls"] == 0
        assert session.ledger.reserved == 0
        assert [event.kind for event in seen] == [EventKind.COMPUTE_STARTED, EventKind.COMPUTE_ENDED]
        assert dask.delayed(abs)(-1).compute(scheduler="sync") == 1


def test_a_budget_holds_with_many_calls_in_flight() -> None:
    """Spent and reserved together never pass it, also when threads compute at the same time; all work gets done."""
    # Room for about two calls at their worst: 120 s x 0.5 GB.
    with aws("0.0025 USD") as session:
        seen = watched(session)

        def compute(start: int) -> Any:
            return session.compute(*[dask.delayed(abs)(-i) for i in range(start, start + 8)])

        assert compute(0) == tuple(range(8))
        assert max(event.totals.in_flight for event in seen) >= 2
        assert all(event.totals.usd + event.totals.usd_reserved <= Decimal("0.0025") for event in seen)
        assert session.ledger.reserved == 0


def test_threads_share_one_budget() -> None:
    """What one has reserved is not there for the other; the sum never passes it."""
    with aws("0.05 USD") as session:
        seen = watched(session)

        def compute(start: int) -> Any:
            return session.compute(*[dask.delayed(abs)(-i) for i in range(start, start + 8)])

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(compute, [0, 10, 20, 30]))
        assert found == [tuple(range(start, start + 8)) for start in (0, 10, 20, 30)]
        assert session.stats()["retries"] == 0, "they share the provider's slots, too: no call is refused"
        assert all(event.totals.usd + event.totals.usd_reserved <= Decimal("0.05") for event in seen)
        assert session.stats()["in_flight"] == 0


def test_each_operation_of_the_client_is_booked_once() -> None:
    """Uploads and downloads of threads that run at the same time are not counted twice."""
    with aws("1 USD") as session:

        def compute(number: int) -> int:
            (value,) = session.compute(dask.delayed(lambda x: x + x)(bytes([number]) * 50_000))
            return len(value)

        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(compute, range(8))) == [100_000] * 8
        booked = [row.resources.store_operations for row in session.ledger.rows() if not row.units]
        usage = session._open().services.clouds.store.usage
        assert sum(item["write"] for item in booked) == usage.writes == 8
        assert sum(item["read"] for item in booked) == usage.reads == 8


def test_a_budget_reached_on_the_way_keeps_what_is_done() -> None:
    """Finished calls keep their values and are on the bill; the others say why they did not run."""

    def work(x: int) -> int:
        time.sleep(0.25)
        return x

    # Thirty calls cost about 0.00009 USD; each reserves 0.00013 before it is sent, for a slow cold start.
    wish = Requirements(seconds=1.0)
    with aws(Budget(Decimal("0.00016"), alerts=(0.1, 1.0))) as session:
        seen = watched(session)
        with session.executor(wish) as executor:
            futures = [executor.submit(work, i) for i in range(30)]
            ended = [(future.exception(GENEROUS) or future.result()) for future in futures]
        done = [value for value in ended if isinstance(value, int)]
        refused = [error for error in ended if isinstance(error, errors.BudgetExceeded)]
        assert len(done) >= 1 and len(refused) >= 1 and len(done) + len(refused) == 30
        assert all(ended[value] == value for value in done)
        assert any(f"{len(done)} of " in note for note in refused[0].__notes__)
        assert all(event.totals.usd + event.totals.usd_reserved <= Decimal("0.00016") for event in seen)
        assert [event for event in seen if event.kind is EventKind.BUDGET_ALERT]


def test_a_cancelled_call_keeps_its_reservation(tmp_path: Path) -> None:
    """The function may run on and be billed: that money is not given out again, and the user is told."""

    def sleep(parts: list[str]) -> None:
        Path(*parts).touch()
        time.sleep(900)

    begun = tmp_path / "begun"
    with aws("0.10 USD") as session:

        def cancel() -> None:
            deadline = time.monotonic() + GENEROUS
            while not begun.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            session.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with pytest.raises(errors.Cancelled) as caught:
            # In parts: a whole path would keep the task on this machine.
            dask.delayed(sleep)(list(begun.parts)).compute()
        thread.join()
        assert session.ledger.abandoned == session.ledger.reserved > 0
        (note,) = caught.value.__notes__
        assert "more for calls that may still run" in note
        assert session.stats()["in_flight"] == 0


def test_retries_are_paid_for_and_reported() -> None:
    """A function that was killed is billed; the report counts it as lost."""

    def die(x: int) -> int:
        import os

        os._exit(3)

    with aws("0.50 USD") as session:
        with pytest.raises(errors.WorkerLost, match="tried 2 times"):
            session.compute(dask.delayed(die)(1), requirements=Requirements(retries=1))
        rows = [row for row in session.ledger.rows() if row.provider == "aws" and row.units]
        assert [row.ok for row in rows] == [False, False]
        assert all(row.total > 0 for row in rows)
        assert session.stats()["retries"] == 1
