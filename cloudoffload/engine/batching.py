"""What goes into one call: how many units, who rides along, and how long it may take. Decisions only."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from cloudoffload.engine import retries
from cloudoffload.engine.learned import Learned, Record
from cloudoffload.engine.messages import Draft, Lane
from cloudoffload.engine.ready import Kind
from cloudoffload.types import Assignment, Unit

_ROUND_TRIPS = 4.0
"""Work worth a call of its own, in latencies of its lane: smaller shares would spend their gain on the way."""

_MIN_DEADLINE = 30.0
_DEADLINE_MARGIN = 10.0


class Batches:
    """Fills the calls of one computation.

    Parameters
    ----------
    units : sequence of Unit
        The plan's, by number.
    readers : sequence of list of int
        Units that read each unit's value, by number.
    missing : sequence of int
        How many inputs of each unit have no value yet, as the loop counts them down.
    learned : Learned
        What units have taken so far.
    route : callable
        ``route(unit) -> name of a lane``.
    first_deadline : float
        Seconds that a call of unknown length gets where time costs money.
    """

    def __init__(
        self,
        units: Sequence[Unit],
        readers: Sequence[Sequence[int]],
        missing: Sequence[int],
        learned: Learned,
        route: Callable[[Unit], str],
        first_deadline: float,
    ) -> None:
        self._units = units
        self._readers = readers
        self._missing = missing
        self._learned = learned
        self._route = route
        self._first_deadline = first_deadline
        self._own: set[tuple[str, str]] = set()  # prefixes and lanes of which this computation knows by itself
        self._unsent = Counter(unit.prefix for unit in units)

    def size(self, kind: Kind, lane: Lane, *, free: int, busy: int) -> int:
        """Units in the next call: see :func:`batch_size`; what failed before goes in a call of its own."""
        if kind.alone:
            return 1
        record = self._record(self._units[kind.head], lane)
        # What comes later is left for the slots that are busy now.
        left = max(len(kind), self._unsent[kind.prefix])
        return batch_size(len(kind), left, record, lane, free=free, busy=busy)

    def answered(self, draft: Draft, seconds: Mapping[str, list[float]]) -> None:
        """A call has told what its units have taken, by prefix."""
        for prefix, times in seconds.items():
            self._learned.add(prefix, draft.provider, times)
            self._own.add((prefix, draft.provider))
        self._learned.saw([self._units[assignment.number].key for assignment in draft.units], draft.provider)

    def sent(self, assignments: Sequence[Assignment]) -> None:
        """A call is under way."""
        for assignment in assignments:
            if assignment.attempt == 1:
                self._unsent[self._units[assignment.number].prefix] -= 1

    def riders(self, numbers: Sequence[int], lane: Lane) -> list[int]:
        """Units that lack nothing but what a call makes: they go along behind its own units, in the order of need.

        Together they are shorter than the way to the lane, so that none of them would come sooner from another slot.
        """
        head = self._units[numbers[0]]
        members = list(numbers)
        lacking: dict[int, int] = {}
        left = lane.latency
        for number in members:  # which grows meanwhile: who rides may make what others lack
            for reader in self._readers[number]:
                lacks = lacking[reader] = lacking.get(reader, self._missing[reader]) - 1
                if lacks or len(members) >= lane.batch:
                    continue
                unit = self._units[reader]
                record = self._record(unit, lane)
                if record is not None and record.recent < left and self._may_share(unit, head, lane):
                    left -= record.recent
                    members.append(reader)
        return members[len(numbers) :]

    def deadline(self, numbers: Sequence[int], lane: Lane, timeouts: int) -> float:
        """Seconds after which the worker ends a call; where time costs money it is what is reserved for.

        Parameters
        ----------
        numbers : sequence of int
            Its units.
        lane : Lane
            Where it goes.
        timeouts : int
            How often one of them has had too little time.
        """
        if lane.is_free:
            return lane.card.max_seconds
        stated = self._units[numbers[0]].requirements.seconds
        records = [self._learned.get(self._units[number].prefix, lane.name) for number in numbers]
        known = [record.longest for record in records if record is not None]
        if stated is not None:
            seconds = stated * len(numbers)
        elif len(known) == len(numbers):
            seconds = max(_MIN_DEADLINE, _DEADLINE_MARGIN * sum(known))
        else:
            seconds = self._first_deadline
        return float(min(lane.card.max_seconds, seconds * retries.DEADLINE_GROWTH**timeouts))

    def _record(self, unit: Unit, lane: Lane) -> Record | None:
        """What such units take, if that can be relied on.

        What other computations say of units with the same name does not count: a function that was tried on little is
        run on much next.
        """
        if (unit.prefix, lane.name) in self._own or self._learned.has_seen(unit.key, lane.name):
            return self._learned.get(unit.prefix, lane.name)
        return None

    def _may_share(self, unit: Unit, head: Unit, lane: Lane) -> bool:
        """Whether a unit may ride in a call that begins with another: where and how it runs is the same."""
        return (
            not unit.keeps_inputs
            and unit.requirements is head.requirements
            and unit.here_because == head.here_because
            and self._route(unit) == lane.name
        )


def batch_size(waiting: int, left: int, record: Record | None, lane: Lane, *, free: int, busy: int) -> int:
    """Units in the next call: one when their length is unknown, else as many as make up the aimed length.

    Towards the end batches shrink, so that all slots end together: what is left is shared by those that are free, and
    by those that are about to be as far as it is worth a call to them (guided self-scheduling: Polychronopoulos and
    Kuck, IEEE Transactions on Computers C-36, 1987).

    Parameters
    ----------
    waiting : int
        Like units that may run now, 1 or more.
    left : int
        Those, and the like that will be able to run later.
    record : Record, optional
        What such units have taken on this lane.
    lane : Lane
        Where the call goes.
    free : int
        Its slots without a call; 0 or less when the call has to wait for one.
    busy : int
        Its slots that work on something else and will come for more.
    """
    if record is None:
        return 1
    seconds = record.recent
    fitting = int(lane.target_seconds / seconds) if seconds > 0 else lane.batch
    # Less work than the way to a further slot takes would only come back later from there.
    worthwhile = math.ceil(lane.latency / seconds) if seconds > 0 else 1
    worth = lane.latency * _ROUND_TRIPS
    sharing = free + busy if free > 0 else lane.slots
    if worth > 0:
        sharing = min(sharing, int(left * seconds / worth))
    of_free, of_all = math.ceil(waiting / max(1, free)), math.ceil(left / max(1, sharing))
    return max(1, min(lane.batch, fitting, waiting, max(worthwhile, min(of_free, of_all))))
