"""The money and the counts of one computation's calls: reserved before they are sent, booked when they end."""

from __future__ import annotations

import time
from dataclasses import replace

from cloudoffload.engine.events import EventKind
from cloudoffload.engine.messages import Draft
from cloudoffload.engine.services import Services
from cloudoffload.errors import Cancelled, ProviderError
from cloudoffload.ledger.money import format_usd
from cloudoffload.types import Outcome, Ref, Resources


class Booking:
    """Every call that is reserved is booked exactly once, whatever becomes of it.

    Parameters
    ----------
    services : Services
        Of the session.
    computation : int
        Number of the computation.

    Attributes
    ----------
    open : dict of Draft
        Calls that are reserved and not booked yet, by number.
    """

    def __init__(self, services: Services, computation: int) -> None:
        self._services = services
        self._computation = computation
        self._sent: dict[int, float] = {}  # calls that were announced, and when
        self._invoked: set[int] = set()  # calls that a provider may have begun
        self.open: dict[int, Draft] = {}

    def reserve(self, draft: Draft) -> None:
        """Set a call's worst case aside, or raise BudgetExceeded."""
        self._services.reserve(self._computation, draft)
        self.open[draft.number] = draft

    def sent(self, draft: Draft) -> None:
        """The call is on its way."""
        self._sent[draft.number] = time.monotonic()
        self._services.counters.add(in_flight=1)
        self._publish(EventKind.CALL_STARTED, draft)

    def invoked(self, draft: Draft) -> None:
        """From now on the call may cost money, also when nobody waits for it."""
        self._invoked.add(draft.number)

    def answered(self, call: int, outcome: Outcome) -> Draft:
        """Book what the outcome says was used."""
        services, draft = self._services, self.open.pop(call)
        used = outcome.resources
        charge = services.ledger.settle(self._id(draft), used, ok=True, units=len(draft.units))
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
        seconds = time.monotonic() - self._sent.pop(call)
        self._publish(EventKind.CALL_ENDED, draft, seconds=seconds, usd=charge.total)
        for share in services.ledger.crossed():
            text = f"{share:.0%} of the budget of {format_usd(services.ledger.budget.usd or charge.total)} is spent"
            services.publish(EventKind.BUDGET_ALERT, self._computation, message=text)
        return draft

    def lost(self, call: int, error: BaseException) -> None:
        """Book a call that has no outcome."""
        services, draft = self._services, self.open.pop(call)
        if isinstance(error, ProviderError) and error.billed:
            used = services.worst_case(draft)
            if error.billed_seconds is not None:
                used = replace(used, seconds=error.billed_seconds)
            services.ledger.settle(self._id(draft), used, ok=False, units=len(draft.units))
        elif (
            isinstance(error, Cancelled) and call in self._invoked and not services.clouds.lanes[draft.provider].is_free
        ):
            services.ledger.abandon(self._id(draft))
        else:
            services.ledger.release(self._id(draft))
        if self._sent.pop(call, None) is None:
            return  # stopped between the reservation and the sending
        services.counters.add(provider=draft.provider, in_flight=-1, calls=1)
        self._publish(EventKind.CALL_LOST, draft, message=f"{type(error).__name__}: {error}")

    def _id(self, draft: Draft) -> str:
        return self._services.call_id(self._computation, draft)

    def _publish(self, kind: EventKind, draft: Draft, **fields: object) -> None:
        self._services.publish(
            kind,
            self._computation,
            call=self._id(draft),
            provider=draft.provider,
            units=len(draft.units),
            **fields,
        )
