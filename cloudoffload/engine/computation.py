"""One computation: the thin driver that gives the loop its threads, its clock and its I/O."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import Any

from cloudoffload.engine.booking import Booking
from cloudoffload.engine.callbacks import DaskCallbacks
from cloudoffload.engine.events import EventKind
from cloudoffload.engine.failures import to_exception
from cloudoffload.engine.loop import Loop, UnitFailed
from cloudoffload.engine.messages import (
    Action,
    Answered,
    Begun,
    Deliver,
    Draft,
    Event,
    Finish,
    Free,
    Lost,
    Send,
    Stopped,
    Taken,
    Wake,
    Woken,
)
from cloudoffload.engine.objects import Belongings, handed_over
from cloudoffload.engine.replay import replay
from cloudoffload.engine.sealing import output_keys, seal_draft, spilled_key
from cloudoffload.engine.services import OVERRUN_SECONDS, Services
from cloudoffload.engine.storing import metered, store_data, store_program
from cloudoffload.engine.window import Window
from cloudoffload.errors import BudgetExceeded, Cancelled
from cloudoffload.graph.collecting import patience
from cloudoffload.types import Call, Failure, FailureKind, Key, Outcome, Plan, Ref

STOP_SECONDS = 1.0
"""How long a stopped computation waits for its calls to notice."""

_INLINE_ANYWAY = 512
"""Values up to this size travel inside messages however many units read them, bytes: a request costs about as much."""

_STILL_WRITING = (FailureKind.DEADLINE, FailureKind.STORE)
"""Why a unit has no value although its worker may be writing it: behind its answer, or in a request that it gave up."""


class Computation:
    """Runs one plan and says where its results lie.

    Parameters
    ----------
    services : Services
        Of the session.
    plan : Plan
        What to run.
    tasks : mapping, optional
        The graph that it was made of, for Dask's callbacks.
    isolated : bool
        Units are independent: one that fails does not end the others.
    on_result : callable, optional
        Called with the number of a requested unit and its ref or failure, as soon as it is known.
    ahead : int, optional
        Results are read in their order: at most so many are worked on, or wait, before they are :meth:`taken`.
    """

    def __init__(
        self,
        services: Services,
        plan: Plan,
        *,
        tasks: Mapping[Key, Any] | None = None,
        isolated: bool = False,
        on_result: Callable[[int, Ref | Failure | BaseException], None] | None = None,
        ahead: int | None = None,
    ) -> None:
        self._services = services
        self._plan = plan
        self._isolated = isolated
        self._on_result = on_result
        self._window = None if ahead is None else Window(plan, ahead)
        self._number = services.next_computation()
        self._booking = Booking(services, self._number)
        self._objects = Belongings(services.clouds.inventory, services.trash.add)
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self._stop = threading.Event()
        self._delivered: dict[int, Ref] = {}
        self._finish: Finish | None = None
        self._wake: float | None = None
        self._callbacks = DaskCallbacks(plan, tasks or {})
        self._readers = _readers(plan)

    def run(self) -> dict[int, Ref]:
        """Run to the end; returns the ref of each requested unit, and of each datum, by number.

        Results that hold their value are left out when each was told to ``on_result``.

        Objects of what was asked for are the caller's to let go, and so are those of results that ``on_result`` got
        before an error. All other objects are gone when this ends, or soon after.

        Raises
        ------
        BaseException
            What the user's code raised, or a :class:`~cloudoffload.errors.CloudoffloadError`.
        """
        services, plan = self._services, self._plan
        services.counters.add(units_total=len(plan.units))
        services.publish(EventKind.COMPUTE_STARTED, self._number, units=len(plan.units))
        began = time.monotonic()
        error: BaseException | None = None
        kept: list[str] = []
        try:
            self._callbacks.start()
            with metered(services, "upload"):
                self._graph = store_program(services, self._objects, plan.program, len(plan.units))
                data = self._data()
            self._drive(data)
            refs = self._delivered | dict(enumerate(data, len(plan.units)))
            kept = handed_over(plan, refs)
            return refs
        except BaseException as raised:
            error = raised
            kept = handed_over(plan, self._delivered) if self._on_result is not None else []
            self._halt()
            raise
        finally:
            services.publish(
                EventKind.COMPUTE_ENDED,
                self._number,
                units=len(plan.units),
                seconds=time.monotonic() - began,
                message="" if error is None else f"{type(error).__name__}: {error}",
            )
            self._callbacks.finish(failed=error is not None)
            self._objects.close(kept)

    def cancel(self) -> None:
        """End the computation from another thread; it raises :class:`~cloudoffload.errors.Cancelled`."""
        self._inbox.put(Stopped(Cancelled("the computation was cancelled")))

    def taken(self, results: int) -> None:
        """The reader has taken further results: as many more may be worked on."""
        self._inbox.put(Taken(results))

    def _data(self) -> list[Ref]:
        plan = self._plan
        fresh = [i for i in range(len(plan.data)) if i not in plan.known]
        refs = dict(plan.known)
        refs.update(zip(fresh, store_data(self._services, self._objects, [plan.data[i] for i in fresh]), strict=True))
        return [refs[i] for i in range(len(plan.data))]

    def _drive(self, data: list[Ref]) -> None:
        services, plan = self._services, self._plan
        if not plan.units:
            return
        loop = Loop(
            plan,
            data,
            services.clouds.lanes,
            route=services.router(),
            reserve=self._booking.reserve,
            learned=services.learned,
            tries=services.settings.retries,
            first_deadline=services.settings.call.seconds,
            isolated=self._isolated,
            window=self._window,
        )
        self._react(loop)

    def _react(self, loop: Loop) -> None:
        services = self._services
        # Behind what is in the inbox already: who cancelled while the data was stored wants nothing sent.
        self._inbox.put(Begun())
        while self._finish is None:
            event, retried = self._next_event(), loop.retried
            self._before(event)
            actions = loop.step(event, time.monotonic())
            services.counters.add(retries=loop.retried - retried)
            self._perform(actions)
        error = self._finish.error
        if isinstance(error, UnitFailed):
            error = to_exception(error.failure, error.unit, services.results)
        if isinstance(error, BudgetExceeded):
            error.add_note(f"cloudoffload: {loop.done} of {len(self._plan.units)} tasks are done")
        if error is not None:
            raise error

    def _next_event(self) -> Event:
        while True:
            waits = [] if self._wake is None else [max(0.0, self._wake - time.monotonic())]
            if (left := patience()) is not None:
                waits.append(left)
            try:
                return self._inbox.get(timeout=min(waits, default=None))
            except Empty:
                if self._wake is not None and self._wake <= time.monotonic():
                    self._wake = None
                    return Woken()

    def _before(self, event: Event) -> None:
        """Book what an event says before the loop acts on it: it may need the room in the budget."""
        if isinstance(event, Answered):
            draft = self._booking.answered(event.call, event.outcome)
            replay(event.outcome.messages)
            self._callbacks.ended(draft, event.outcome)
        elif isinstance(event, Lost):
            self._booking.lost(event.call, event.error)

    def _perform(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self._send(action.draft)
            elif isinstance(action, Deliver):
                self._deliver(action.number, action.result)
            elif isinstance(action, Free):
                self._objects.discard([ref.key for ref in action.refs])
            elif isinstance(action, Wake):
                self._wake = action.at
            else:
                self._finish = action

    def _deliver(self, number: int, result: Ref | Failure | BaseException) -> None:
        # Who is told of each result has its value, too: many hold it inside, and must not pile up here.
        if isinstance(result, Ref) and (self._on_result is None or result.data is None):
            self._delivered[number] = result
        if self._on_result is not None:
            self._on_result(number, result)

    def _send(self, draft: Draft) -> None:
        self._booking.sent(draft)
        self._callbacks.started(draft)
        self._services.pool.submit(lambda: self._invoke(draft))

    def _invoke(self, draft: Draft) -> None:
        """On a thread of the pool: sign, send, wait, tell the loop."""
        services = self._services
        try:
            with services.slot(draft.provider, self._stop):
                limit = self._inline_limit(draft)
                call = seal_draft(services, self._objects, self._number, draft, self._graph, limit)
                self._booking.invoked(draft)
                outcome = self._answer(draft, call)
        except BaseException as error:  # noqa: BLE001 - whatever a provider raises, the loop must learn it
            self._inbox.put(Lost(draft.number, error))
        else:
            self._inbox.put(Answered(draft.number, outcome))

    def _answer(self, draft: Draft, call: Call) -> Outcome:
        """Outcome of a call; whatever becomes of it, the objects that it may leave belong to this computation."""
        services = self._services
        try:
            outcome = services.clouds.providers[draft.provider].invoke(call, self._stop)
        except BaseException:
            keys = output_keys(services, self._number, draft)
            self._objects.may_have_written(keys, time.monotonic(), draft.seconds + OVERRUN_SECONDS)
            raise
        unwritten = []
        for result, key in zip(outcome.results, output_keys(services, self._number, draft), strict=True):
            if isinstance(result, Failure):
                if result.kind in _STILL_WRITING:
                    unwritten.append(key)
            elif result.data is None:
                self._objects.wrote(result.key, result.nbytes)
        if unwritten:
            self._objects.may_have_written(unwritten, time.monotonic(), draft.seconds + OVERRUN_SECONDS)
        # A barrier's readers read its inputs, too.
        if not any(self._plan.units[unit.number].keeps_inputs for unit in draft.units):
            self._objects.discard_if_written(spilled_key(services, self._number, draft))
        return outcome

    def _inline_limit(self, draft: Draft) -> int:
        """Up to which size values come back in the outcome, bytes; each then travels once more for each reader."""
        limit = self._services.settings.inline_limit
        readers = max(self._readers[unit.number] for unit in draft.units)
        return min(limit, max(limit // max(readers, 1), _INLINE_ANYWAY))

    def _halt(self) -> None:
        """End what is under way, and book it."""
        self._stop.set()
        waiting = self._booking.open
        until = time.monotonic() + STOP_SECONDS
        while waiting and (left := until - time.monotonic()) > 0:
            try:
                event = self._inbox.get(timeout=left)
            except Empty:
                break
            if isinstance(event, Answered) and event.call in waiting:
                self._booking.answered(event.call, event.outcome)
            elif isinstance(event, Lost) and event.call in waiting:
                self._booking.lost(event.call, event.error)
        for call in list(waiting):
            self._booking.lost(call, Cancelled("nobody waits for this call any more"))


def _readers(plan: Plan) -> Counter[int]:
    """How many units get each unit's value when it travels in messages; a barrier hands its inputs on to its own."""
    readers = Counter(edge.source for unit in plan.units for edge in unit.inputs)
    for unit in plan.units:
        if unit.keeps_inputs:
            readers.update({edge.source: readers[unit.number] for edge in unit.inputs})
    return readers
