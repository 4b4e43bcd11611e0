"""Promises of the cloud that takes its time."""

from __future__ import annotations

import threading
from threading import Event

import pytest

from benchmarks.engines import remote
from benchmarks.sleeper import Sleeper
from benchmarks.workloads.remote import independent
from cloudoffload.errors import Cancelled, Throttled
from cloudoffload.interfaces import Provider
from cloudoffload.types import Assignment, Call

CALL = Call("call", "run", Sleeper.name, (Assignment(0, 1, ()), Assignment(1, 1, ())), 60.0, 128, answer_key=bytes(32))


def test_it_is_a_provider() -> None:
    """Nothing but the protocol joins it to a session."""
    assert isinstance(Sleeper(1), Provider)


def test_calls_go_the_way_of_any_cloud() -> None:
    """A session routes units to it, one a call, reserves and settles their price, and opens the values it answers."""
    with remote(3, None, seconds=0.0) as opened:
        assert independent(None, "", 7)() == [7]
        spent = opened.tool.stats()["providers"][Sleeper.name]
    assert spent["units"] == spent["calls"] == 7
    request = Sleeper(1).card.prices["request"]
    assert spent["usd"] > 7 * request.rate / request.per, "seven requests, and the bytes of their answers"


def test_every_unit_has_its_part_of_the_time() -> None:
    """An outcome answers all units of its call, whose seconds add up to the call's."""
    outcome = Sleeper(1, seconds=0.5).invoke(CALL, Event())
    assert len(outcome.results) == 2
    assert sum(outcome.unit_seconds) == outcome.resources.seconds == 0.5


def test_what_exceeds_its_concurrency_is_refused() -> None:
    """As a cloud does: a client that sends too much finds out. A cancelled call ends, and makes room."""
    sleeper, cancelled = Sleeper(1, seconds=600.0), Event()
    ended: list[BaseException] = []

    def call() -> None:
        try:
            sleeper.invoke(CALL, cancelled)
        except Cancelled as error:
            ended.append(error)

    waiting = threading.Thread(target=call, daemon=True)
    waiting.start()
    while sleeper.busy == 0:
        pass
    impatient = Event()
    impatient.set()
    with pytest.raises(Throttled):
        sleeper.invoke(CALL, impatient)
    assert sleeper.busy == 1
    cancelled.set()
    waiting.join()
    assert len(ended) == 1
    assert sleeper.busy == 0
