"""One computation: the thin driver that gives the loop its threads, its clock and its I/O."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue

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
from cloudoffload.engine.services import STORE, Services
from cloudoffload.engine.storing import Metered, store_data, store_program
from cloudoffload.errors import Cancelled, ProviderError
from cloudoffload.ledger.money import format_usd
from cloudoffload.types import Assignment, Call, Failure, Outcome, Plan, Ref, Resources
from cloudoffload.wire.envelope import Order, prefix_of, seal

LIFETIME_MARGIN = 900.0
"""Seconds beyond its deadline for which a call may still be accepted: queues and clocks are not exact."""

STOP_SECONDS = 1.5
"""How long a stopped computation waits for its calls to notice."""


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
        self._inbox: SimpleQueue[Event] = SimpleQueue()
        self._stop = threading.Event()
        self._started: dict[int, float] = {}
        self._delivered: dict[int, Ref] = {}
        self._finish: Finish | None = None
        self._wake: float | None = None
        self._callbacks = DaskCallbacks(plan)

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
        self._callbacks.start()
        try:
            with Metered(services, "upload"):
                self._graph = store_program(services, plan.program)
                data = self._data()
            self._loop = Loop(
                plan,
                data,
                services.clouds.lanes,
                route=services.router(),
                reserve=lambda draft: services.reserve(self._number, draft),
                learned=services.learned,
                tries=services.settings.retries,
                first_deadline=services.settings.call.seconds,
                isolated=self._isolated,
            )
            self._drive()
            return self._delivered | dict(enumerate(data, len(plan.units)))
        except BaseException as raised:
            error = raised
            self._halt(raised)
            raise
        finally:
            self._callbacks.finish(failed=error is not None)
            services.publish(
                EventKind.COMPUTE_ENDED,
                self._number,
                units=len(plan.units),
                seconds=time.monotonic() - began,
                message="" if error is None else f"{type(error).__name__}: {error}",
            )

    def cancel(self) -> None:
        """End the computation from another thread; it raises :class:`~cloudoffload.errors.Cancelled`."""
        self._inbox.put(Stopped(Cancelled("the computation was cancelled")))

    def _data(self) -> list[Ref]:
        plan = self._plan
        fresh = [i for i in range(len(plan.data)) if i not in plan.known]
        refs = dict(plan.known)
        refs.update(zip(fresh, store_data(self._services, [plan.data[i] for i in fresh]), strict=True))
        return [refs[i] for i in range(len(plan.data))]

    def _drive(self) -> None:
        self._perform(self._loop.step(Begun(), time.monotonic()))
        if not self._plan.units:
            return
        while self._finish is None:
            event = self._next_event()
            self._before(event)
            self._perform(self._loop.step(event, time.monotonic()))
        error = self._finish.error
        if isinstance(error, UnitFailed):
            error = to_exception(error.failure, error.unit, self._services.results)
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
            draft = self._draft(event.call)
            self._settle(draft, event.outcome)
            replay(event.outcome.messages)
            self._callbacks.ended(draft)
        elif isinstance(event, Lost):
            self._settle_lost(self._draft(event.call), event.error)

    def _draft(self, call: int) -> Draft:
        return next(draft for draft in self._loop.in_flight if draft.number == call)

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
                self._services.pool.submit(partial(self._delete, [ref.key for ref in action.refs]))
            elif isinstance(action, Wake):
                self._wake = action.at
            else:
                self._finish = action

    def _delete(self, keys: list[str]) -> None:
        self._services.clouds.store.delete(keys)

    def _send(self, draft: Draft) -> None:
        services = self._services
        self._started[draft.number] = time.monotonic()
        services.counters.add(in_flight=1)
        self._callbacks.started(draft)
        services.publish(
            EventKind.CALL_STARTED,
            self._number,
            call=services.call_id(self._number, draft),
            provider=draft.provider,
            units=len(draft.units),
        )
        services.pool.submit(lambda: self._invoke(draft))

    def _invoke(self, draft: Draft) -> None:
        """On a thread of the pool: sign, send, wait, tell the loop."""
        try:
            call = self._sealed(draft)
            outcome = self._services.clouds.providers[draft.provider].invoke(call, self._stop)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises, the loop must learn that the call is lost
            self._inbox.put(Lost(draft.number, error))
        else:
            self._inbox.put(Answered(draft.number, outcome))

    def _sealed(self, draft: Draft) -> Call:
        services = self._services
        call_id = services.call_id(self._number, draft)
        order = Order(
            run=services.run,
            call=call_id,
            graph=self._graph,
            units=self._spilled(draft),
            stores={STORE: services.clouds.worker_access()},
            output=STORE,
            prefix=f"{prefix_of(services.run)}{self._number}/",
            seconds=draft.seconds,
            answer_key=secrets.token_bytes(32),
            results=services.results,
            inline_limit=services.settings.inline_limit,
            result_limit=services.settings.result_limit,
        )
        envelope = seal(order, services.signer, now=time.time(), lifetime=draft.seconds + LIFETIME_MARGIN)
        services.counters.add(client_bytes_out=len(envelope))
        return Call(
            call_id,
            services.run,
            draft.provider,
            draft.units,
            draft.seconds,
            draft.memory_mb,
            envelope,
            order.answer_key,
        )

    def _spilled(self, draft: Draft) -> tuple[Assignment, ...]:
        """The call's units; small values that are too many for one request go through the store after all."""
        limit = self._services.clouds.lanes[draft.provider].card.request_bytes // 4
        inline = {ref.digest: ref.data for unit in draft.units for ref in unit.inputs if ref.data is not None}
        if sum(map(len, inline.values())) <= limit:
            return draft.units
        key = f"{prefix_of(self._services.run)}{self._number}/call-{draft.number}"
        with Metered(self._services, "spill"):
            self._services.clouds.store.put(key, list(inline.values()))
        starts = dict(zip(inline, _offsets(list(inline.values())), strict=True))

        def moved(ref: Ref) -> Ref:
            if ref.data is None:
                return ref
            offset, length = ref.span
            place = (starts[ref.digest] + offset, length)
            return Ref(STORE, key, place, ref.nbytes, ref.digest, ref.parted, ref.part)

        return tuple(
            Assignment(unit.number, unit.attempt, tuple(map(moved, unit.inputs)), unit.requested)
            for unit in draft.units
        )

    def _settle(self, draft: Draft, outcome: Outcome) -> None:
        services = self._services
        used = outcome.resources
        call_id = services.call_id(self._number, draft)
        charge = services.ledger.settle(call_id, used, ok=True, units=len(draft.units))
        lane, store_card = services.clouds.lanes[draft.provider], services.clouds.store_card
        if lane.is_free and store_card.provider != lane.card.provider:
            # A worker on this machine that uses a cloud's store is billed by that cloud.
            through = Resources(store_operations=used.store_operations, bytes_out={"client": used.bytes_in})
            services.ledger.record(store_card, through, what="storage")
        services.counters.add(
            provider=draft.provider,
            units=len(draft.units),
            usd=charge.total,
            in_flight=-1,
            calls=1,
            units_done=sum(isinstance(result, Ref) for result in outcome.results),
            bytes_processed=used.bytes_in + used.bytes_out.get("store", 0),
            client_bytes_in=used.bytes_out.get("client", 0),
        )
        seconds = time.monotonic() - self._started[draft.number]
        services.publish(
            EventKind.CALL_ENDED,
            self._number,
            call=call_id,
            provider=draft.provider,
            units=len(draft.units),
            seconds=seconds,
            usd=charge.total,
        )
        for share in services.ledger.crossed():
            text = f"{share:.0%} of the budget of {format_usd(services.ledger.budget.usd or charge.total)} is spent"
            services.publish(EventKind.BUDGET_ALERT, self._number, message=text)

    def _settle_lost(self, draft: Draft, error: BaseException) -> None:
        services = self._services
        call_id = services.call_id(self._number, draft)
        if isinstance(error, ProviderError) and error.billed:
            used = services.worst_case(draft)
            if error.billed_seconds is not None:
                used = replace(used, seconds=error.billed_seconds)
            services.ledger.settle(call_id, used, ok=False, units=len(draft.units))
        elif isinstance(error, Cancelled) and not services.clouds.lanes[draft.provider].is_free:
            services.ledger.abandon(call_id)
        else:
            services.ledger.release(call_id)
        services.counters.add(provider=draft.provider, in_flight=-1, calls=1, retries=1)
        services.publish(
            EventKind.CALL_LOST,
            self._number,
            call=call_id,
            provider=draft.provider,
            units=len(draft.units),
            message=f"{type(error).__name__}: {error}",
        )

    def _halt(self, reason: BaseException) -> None:
        """End what is under way, book it, and say what was spent when the user interrupted."""
        self._stop.set()
        loop = getattr(self, "_loop", None)
        waiting = set() if loop is None else {draft.number for draft in loop.in_flight}
        until = time.monotonic() + STOP_SECONDS
        while waiting and (left := until - time.monotonic()) > 0:
            try:
                event = self._inbox.get(timeout=left)
            except Empty:
                break
            if isinstance(event, (Answered, Lost)) and event.call in waiting:
                waiting.discard(event.call)
                self._before(event)
        ledger = self._services.ledger
        if isinstance(reason, (KeyboardInterrupt, Cancelled)):
            spent = f"{format_usd(ledger.committed)} spent"
            if ledger.reserved:
                spent += f", up to {format_usd(ledger.reserved)} more for calls that may still run"
            reason.add_note(f"cloudoffload: stopped; {spent}")


def _offsets(pieces: list[bytes]) -> list[int]:
    offsets, offset = [], 0
    for piece in pieces:
        offsets.append(offset)
        offset += len(piece)
    return offsets
