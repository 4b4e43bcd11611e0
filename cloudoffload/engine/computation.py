"""One computation: the thin driver that gives the loop its threads, its clock and its I/O."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from queue import Empty, SimpleQueue

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
    Wake,
    Woken,
)
from cloudoffload.engine.replay import replay
from cloudoffload.engine.sealing import seal_draft
from cloudoffload.engine.services import Services
from cloudoffload.engine.storing import metered, store_data, store_program
from cloudoffload.errors import BudgetExceeded, Cancelled
from cloudoffload.types import Failure, Plan, Ref

STOP_SECONDS = 1.0
"""How long a stopped computation waits for its calls to notice."""

_INLINE_ANYWAY = 512
"""Values up to this size travel inside messages however many units read them, bytes: a request costs about as much."""


class Computation:
    """Runs one plan and says where its results lie.

    Parameters
    ----------
    services : Services
        Of the session.
    plan : Plan
        What to run.
    isolated : bool
        Units are independent: one that fails does not end the others.
    on_result : callable, optional
        Called with the number of a requested unit and its ref or failure, as soon as it is known.
    """

    def __init__(
        self,
        services: Services,
        plan: Plan,
        *,
        isolated: bool = False,
        on_result: Callable[[int, Ref | Failure | BaseException], None] | None = None,
    ) -> None:
        self._services = services
        self._plan = plan
        self._isolated = isolated
        self._on_result = on_result
        self._number = services.next_computation()
        self._booking = Booking(services, self._number)
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self._stop = threading.Event()
        self._delivered: dict[int, Ref] = {}
        self._finish: Finish | None = None
        self._wake: float | None = None
        self._callbacks = DaskCallbacks(plan)
        self._readers = _readers(plan)

    def run(self) -> dict[int, Ref]:
        """Run to the end; returns the ref of each requested unit, and of each datum, by number.

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
        try:
            self._callbacks.start()
            with metered(services, "upload"):
                self._graph = store_program(services, plan.program, len(plan.units))
                data = self._data()
            self._drive(data)
            return self._delivered | dict(enumerate(data, len(plan.units)))
        except BaseException as raised:
            error = raised
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

    def cancel(self) -> None:
        """End the computation from another thread; it raises :class:`~cloudoffload.errors.Cancelled`."""
        self._inbox.put(Stopped(Cancelled("the computation was cancelled")))

    def _data(self) -> list[Ref]:
        plan = self._plan
        fresh = [i for i in range(len(plan.data)) if i not in plan.known]
        refs = dict(plan.known)
        refs.update(zip(fresh, store_data(self._services, [plan.data[i] for i in fresh]), strict=True))
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
        )
        try:
            self._react(loop)
        except BaseException:
            services.trash.add(loop.stored)  # nobody gets to know them
            raise

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
            timeout = None if self._wake is None else max(0.0, self._wake - time.monotonic())
            try:
                return self._inbox.get(timeout=timeout)
            except Empty:
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
                if isinstance(action.result, Ref):
                    self._delivered[action.number] = action.result
                if self._on_result is not None:
                    self._on_result(action.number, action.result)
            elif isinstance(action, Free):
                self._services.trash.add([ref.key for ref in action.refs])
            elif isinstance(action, Wake):
                self._wake = action.at
            else:
                self._finish = action

    def _send(self, draft: Draft) -> None:
        self._booking.sent(draft)
        self._callbacks.started(draft)
        self._services.pool.submit(lambda: self._invoke(draft))

    def _invoke(self, draft: Draft) -> None:
        """On a thread of the pool: sign, send, wait, tell the loop."""
        services = self._services
        try:
            with services.slot(draft.provider, self._stop):
                call = seal_draft(services, self._number, draft, self._graph, self._inline_limit(draft))
                self._booking.invoked(draft)
                outcome = services.clouds.providers[draft.provider].invoke(call, self._stop)
        except BaseException as error:  # noqa: BLE001 - whatever a provider raises, the loop must learn it
            self._inbox.put(Lost(draft.number, error))
        else:
            self._inbox.put(Answered(draft.number, outcome))

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
                late = [ref for ref in event.outcome.results if isinstance(ref, Ref) and ref.data is None]
                self._services.trash.add([ref.key for ref in late])  # nobody gets to know them
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
