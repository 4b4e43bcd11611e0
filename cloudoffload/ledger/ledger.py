"""Every attempt's money: reserved at its worst case before it is sent, settled at what it used."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

from cloudoffload.errors import BudgetExceeded
from cloudoffload.ledger.money import EXACT, format_usd, total
from cloudoffload.ledger.pricing import charge
from cloudoffload.ledger.rows import Rows, Sum, Sums
from cloudoffload.types import Budget, Charge, RateCard, Resources

DAY_TAG = "cloudoffload:day"
"""Tag that names the day of a row, in UTC as clouds bill it."""


@dataclass(frozen=True, slots=True)
class Balance:
    """Both sums at one moment."""

    committed: Decimal  # USD of settled attempts and of recorded operations
    reserved: Decimal  # USD that what is under way, or abandoned, may cost at worst


@dataclass(frozen=True, slots=True)
class _Reservation:
    card: RateCard
    usd: Decimal


def today() -> date:
    """The day in UTC."""
    return datetime.now(UTC).date()


class Ledger:
    """Spend of one run, held in memory (some 80 bytes a call); thread-safe.

    As long as no attempt uses more than was reserved for it, ``committed + reserved`` never passes the budget, however
    many calls are in flight. An attempt that used more all the same is booked at what it used: the ledger does not
    hide spend, and refuses the next reservation instead.

    Parameters
    ----------
    budget : Budget
        Most that the run may cost, and the shares of it at which to raise an alert.
    tags : mapping of str to str, optional
        Put on every row.
    clock : callable, optional
        Returns the day that a row belongs to.
    """

    def __init__(
        self, budget: Budget, *, tags: Mapping[str, str] | None = None, clock: Callable[[], date] = today
    ) -> None:
        self.budget = budget
        self._tags = dict(tags or {})
        self._clock = clock
        self._lock = threading.RLock()  # a signal handler asks for the balance, perhaps in the middle of a booking
        self._rows = Rows()
        self._sums = Sums()
        self._reservations: dict[str, _Reservation] = {}
        self._committed = Decimal(0)
        self._reserved = Decimal(0)
        self._abandoned: set[str] = set()
        self._alerted: set[float] = set()
        self._operations = 0

    def reserve(self, call_id: str, card: RateCard, worst: Resources) -> Decimal:
        """Set the worst case of an attempt aside, before it is sent; returns it in dollars.

        Parameters
        ----------
        call_id : str
            Names the attempt until it is settled or released.
        card : RateCard
            Prices of the provider that will run it.
        worst : Resources
            The most it can use: its deadline as ``seconds``, every retry of the client library as a request.

        Raises
        ------
        BudgetExceeded
            It could cost more than what is left; nothing was set aside.
        ValueError
            ``call_id`` holds a reservation already.
        """
        usd = total(charge(card, worst).values())
        with self._lock:
            if call_id in self._reservations:
                raise ValueError(f"call {call_id!r} holds a reservation already")
            if not self._has_room(usd):
                error = BudgetExceeded(self._refusal(card, usd))
                error.room_may_come = len(self._reservations) > len(self._abandoned)
                raise error
            self._reservations[call_id] = _Reservation(card, usd)
            self._reserved = EXACT.add(self._reserved, usd)
        return usd

    def fits(self, card: RateCard, worst: Resources) -> bool:
        """Whether :meth:`reserve` would succeed now; another thread may take the room in between."""
        usd = total(charge(card, worst).values())
        with self._lock:
            return self._has_room(usd)

    def settle(
        self,
        call_id: str,
        resources: Resources,
        *,
        ok: bool,
        units: int,
        tags: Mapping[str, str] | None = None,
    ) -> Charge:
        """Book what an attempt used and give the rest of its reservation back.

        Parameters
        ----------
        call_id : str
            An attempt that was reserved, abandoned ones included.
        resources : Resources
            What the cloud reported, or else what was measured. An attempt that was billed without an outcome is booked
            at its worst case.
        ok : bool
            Whether its values were used.
        units : int
            How many units it ran.
        tags : mapping of str to str, optional
            Put on this row beside the ledger's own.

        Raises
        ------
        ValueError
            The call was never reserved, or is settled or released already.
        """
        with self._lock:
            card = self._reservation(call_id).card
            row = self._row(call_id, card, resources, ok=ok, units=units, tags=tags)
            self._book(row)
            self._give_back(call_id)
        return row

    def release(self, call_id: str) -> None:
        """Give back the reservation of an attempt that never ran and is not billed, such as a throttled one.

        Raises
        ------
        ValueError
            The call was never reserved, or is settled or released already.
        """
        with self._lock:
            self._give_back(call_id)

    def abandon(self, call_id: str) -> None:
        """Nobody waits for this attempt any more, but it may run on and be billed: its reservation stays.

        It may still be settled or released when the cloud says what became of it.

        Raises
        ------
        ValueError
            The call was never reserved, or is settled or released already.
        """
        with self._lock:
            self._reservation(call_id)
            self._abandoned.add(call_id)

    def record(
        self, card: RateCard, resources: Resources, *, what: str, tags: Mapping[str, str] | None = None
    ) -> Charge:
        """Book spend that has happened already, such as the client's own uploads, downloads and clean-up.

        It is booked even where it passes the budget. What may still be refused is reserved and settled like a call.

        Parameters
        ----------
        card : RateCard
            Prices of the provider whose store was used.
        resources : Resources
            Store operations, and bytes to ``"client"``.
        what : str
            Such as ``"upload"``; the row is named by it and by a number.
        tags : mapping of str to str, optional
            Put on this row beside the ledger's own.
        """
        with self._lock:
            self._operations += 1
            row = self._row(f"{what}-{self._operations}", card, resources, ok=True, units=0, tags=tags)
            self._book(row)
        return row

    @property
    def balance(self) -> Balance:
        """What is committed and what is reserved, both at the same moment."""
        with self._lock:
            return Balance(self._committed, self._reserved)

    @property
    def committed(self) -> Decimal:
        """Dollars of all rows."""
        return self.balance.committed

    @property
    def reserved(self) -> Decimal:
        """Dollars that attempts without a row may cost at worst: those under way, and those nobody waits for."""
        return self.balance.reserved

    @property
    def abandoned(self) -> Decimal:
        """The part of :attr:`reserved` that belongs to attempts nobody waits for."""
        with self._lock:
            return total(self._reservations[call_id].usd for call_id in self._abandoned)

    def rows(self) -> Iterator[Charge]:
        """Every attempt and operation booked so far, in the order of booking; unpacked as they are read."""
        with self._lock:
            return self._rows.read()

    def sums(self) -> tuple[Sum, ...]:
        """The same added up, all like rows in one: what a :class:`~cloudoffload.ledger.report.Report` is made of."""
        with self._lock:
            return self._sums.read()

    def crossed(self) -> tuple[float, ...]:
        """Shares of the budget that spend has reached since this was last asked, ascending.

        Each share of ``budget.alerts`` is told once, to one caller.
        """
        with self._lock:
            if not self.budget.usd:
                return ()
            share = EXACT.divide(self._committed, self.budget.usd)
            fresh = {alert for alert in self.budget.alerts if Decimal(str(alert)) <= share} - self._alerted
            self._alerted |= fresh
        return tuple(sorted(fresh))

    def _has_room(self, usd: Decimal) -> bool:
        if self.budget.usd is None:
            return True
        return total((self._committed, self._reserved, usd)) <= self.budget.usd

    def _refusal(self, card: RateCard, usd: Decimal) -> str:
        limit = format_usd(self.budget.usd or Decimal(0))
        return (
            f"the budget of {limit} does not allow another call to {card.provider}: {format_usd(self._committed)} is "
            f"spent, {format_usd(self._reserved)} is reserved for calls without an answer yet, and this call could "
            f"cost up to {format_usd(usd)}. Results so far are kept. Raise the budget, or make calls cheaper: a "
            f"shorter deadline (Requirements(seconds=...)), less memory, or a cheaper provider"
        )

    def _reservation(self, call_id: str) -> _Reservation:
        try:
            return self._reservations[call_id]
        except KeyError:
            raise ValueError(f"call {call_id!r} holds no reservation: never reserved, or settled already") from None

    def _give_back(self, call_id: str) -> None:
        self._reserved = EXACT.subtract(self._reserved, self._reservation(call_id).usd)
        del self._reservations[call_id]
        self._abandoned.discard(call_id)

    def _row(
        self,
        call_id: str,
        card: RateCard,
        resources: Resources,
        *,
        ok: bool,
        units: int,
        tags: Mapping[str, str] | None,
    ) -> Charge:
        return Charge(
            call=call_id,
            provider=card.provider,
            price_version=card.version,
            # Copies: a row stays as it was booked, whatever whoever counted does with theirs.
            resources=replace(
                resources, store_operations=dict(resources.store_operations), bytes_out=dict(resources.bytes_out)
            ),
            usd=charge(card, resources),
            units=units,
            ok=ok,
            tags={**self._tags, **(tags or {}), DAY_TAG: self._clock().isoformat()},
        )

    def _book(self, row: Charge) -> None:
        self._rows.append(row)
        self._sums.add(row)
        self._committed = total((self._committed, *row.usd.values()))
