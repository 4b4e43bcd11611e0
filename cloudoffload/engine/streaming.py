"""Results one after the other, while the next ones are computed: memory here does not grow with their number."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Generator, Iterable
from typing import Any

from cloudoffload.engine.computation import STOP_SECONDS, Computation
from cloudoffload.engine.objects import handed_over
from cloudoffload.engine.runner import Runner
from cloudoffload.engine.storing import fetch, metered
from cloudoffload.errors import Cancelled, SettingsError
from cloudoffload.types import Edge, Failure, Plan, Ref
from cloudoffload.wire.refs import part_of

MOST_AHEAD = 256
"""Results under way when nobody says how many: one client seldom reads faster than so many calls compute."""

_PATIENCE = STOP_SECONDS + 1.0
"""How long the end of a stream waits until what was under way is booked, seconds."""


class Stream:
    """One plan's results in their order, for one reader.

    A computation runs in the background and leaves its results in the store. A second job downloads them, never more
    than one ahead of the reader.

    Parameters
    ----------
    runner : Runner
        Of the session.
    plan : Plan
        What to run.
    ahead : int or None
        How many results may be worked on, or wait in the store, before they are downloaded; None for as many as keep
        the providers busy.
    bytes_read : int
        What its units read from files, bytes; for a dry run.

    Raises
    ------
    SettingsError
        ``ahead`` is not a number from 1.
    """

    def __init__(self, runner: Runner, plan: Plan, *, ahead: int | None = None, bytes_read: int = 0) -> None:
        if ahead is not None and (type(ahead) is not int or ahead < 1):
            raise SettingsError(f"ahead must be a whole number from 1, not {ahead!r}")
        self._runner = runner
        self._plan = plan
        self._ahead = ahead or _enough(runner)
        self._bytes_read = bytes_read
        self._computation: Computation | None = None
        self._refs: dict[int, Ref] = {}  # units that are computed, until they are downloaded for the last time
        self._ready: list[tuple[Any, BaseException | None]] = []  # at most one, until the reader takes it
        self._over = False
        self._failure: BaseException | None = None  # why the computation ended
        self._closed = False
        self._changed = threading.Condition()  # guards all of these

    def values(self) -> Generator[Any, None, None]:
        """The results; who closes this early ends the computation."""
        pool, complete = self._runner.services.pool, False
        with self._runner.working():
            pool.submit(self._compute)
            try:
                pool.submit(self._download)
                for _ in self._plan.results:
                    yield self._take()
                complete = True
            finally:
                self._close(cancel=not complete)

    def _take(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._ready)
            value, error = self._ready.pop()
            self._changed.notify_all()
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # its traceback leads here: together they would keep each other

    def _close(self, *, cancel: bool) -> None:
        with self._changed:
            self._closed = True
            rest, self._refs = list(self._refs.values()), {}
            self._ready.clear()
            self._changed.notify_all()
        self._let_go(rest)
        if cancel and self._computation is not None:
            self._computation.cancel()
        with self._changed:
            self._changed.wait_for(lambda: self._over, timeout=_PATIENCE)

    def _compute(self) -> None:
        """On a thread of the pool: run the plan."""
        failure: BaseException | None = None
        try:
            refs = self._runner.run(
                self._plan,
                bytes_read=self._bytes_read,
                on_result=self._computed,
                started=self._started,
                ahead=self._ahead,
            )
            # What the graph held inline is at hand here; units' values were handed over one by one.
            data = {number: ref for number, ref in refs.items() if number >= len(self._plan.units)}
            self._runner.services.trash.add(handed_over(self._plan, data))
        except BaseException as error:  # noqa: BLE001 - raised where the reader waits
            failure = error
        with self._changed:
            self._failure, self._over = failure, True
            self._changed.notify_all()

    def _started(self, computation: Computation) -> None:
        with self._changed:
            self._computation = computation
            self._changed.notify_all()
            if self._closed:
                computation.cancel()

    def _computed(self, number: int, result: Ref | Failure | BaseException) -> None:
        assert isinstance(result, Ref), "a unit that fails ends the computation"
        with self._changed:
            if not self._closed:
                self._refs[number] = result
                self._changed.notify_all()
                return
        self._let_go([result])

    def _download(self) -> None:
        """On a thread of the pool: lay each result ready when the reader has taken the one before."""
        readers = Counter(edge.source for edge in self._plan.results)
        try:
            for edge in self._plan.results:
                computation, ref = self._wait_for(edge.source)
                value = self._value(edge, ref)
                readers[edge.source] -= 1
                if ref is not None and not readers[edge.source]:
                    self._refs.pop(edge.source, None)
                    self._let_go([ref])
                computation.taken(1)
                self._lay_ready(value, None)
                del value  # the reader's alone
        except BaseException as error:  # noqa: BLE001 - raised where the reader waits
            self._lay_ready(None, error)

    def _wait_for(self, source: int) -> tuple[Computation, Ref | None]:
        """Return when the reader wants a further result and this one is there; its ref, when a unit makes it."""

        def is_there() -> bool:
            return source in self._refs or (source >= len(self._plan.units) and self._computation is not None)

        with self._changed:
            self._changed.wait_for(lambda: self._closed or (not self._ready and (self._over or is_there())))
            if self._computation is None or self._closed or not is_there():
                raise self._failure or Cancelled("the stream was closed")
            return self._computation, self._refs.get(source)

    def _value(self, edge: Edge, ref: Ref | None) -> Any:
        if ref is None:
            datum = edge.source - len(self._plan.units)
            if datum not in self._plan.known:
                return self._plan.data[datum]
            ref = self._plan.known[datum]
        with metered(self._runner.services, "download"):
            return fetch(self._runner.services, part_of(ref, edge))

    def _lay_ready(self, value: Any, error: BaseException | None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._ready)
            if not self._closed:
                self._ready.append((value, error))
                self._changed.notify_all()

    def _let_go(self, refs: Iterable[Ref]) -> None:
        if keys := [ref.key for ref in refs if ref.data is None]:
            self._runner.services.trash.add(keys)


def _enough(runner: Runner) -> int:
    """Twice as many results as there may be calls at a time: some wait while the next ones are worked on."""
    return min(MOST_AHEAD, 2 * sum(lane.slots for lane in runner.services.clouds.lanes.values()))
