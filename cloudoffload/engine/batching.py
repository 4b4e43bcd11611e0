"""How many units share the next call, and how long it may run: arithmetic on plain values."""

from __future__ import annotations

import math

from cloudoffload.engine import retries
from cloudoffload.engine.learned import Record
from cloudoffload.engine.messages import Lane

_ROUND_TRIPS = 4.0
"""Work worth a call of its own, in latencies of its lane: smaller shares would spend their gain on the way."""

_MIN_DEADLINE = 30.0
_DEADLINE_MARGIN = 10.0


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
    worth = lane.latency * _ROUND_TRIPS
    sharing = free + busy if free > 0 else lane.slots
    if worth > 0:
        sharing = min(sharing, int(left * seconds / worth))
    of_free, of_all = math.ceil(waiting / max(1, free)), math.ceil(left / max(1, sharing))
    return max(1, min(lane.batch, fitting, of_free, of_all))


def deadline(
    units: int, record: Record | None, lane: Lane, *, stated: float | None, first: float, timeouts: int
) -> float:
    """Seconds after which the worker ends a call; where time costs money it is what is reserved for.

    Parameters
    ----------
    units : int
        In the call.
    record : Record, optional
        What such units have taken on this lane.
    lane : Lane
        Where the call goes.
    stated : float, optional
        Seconds that each of them takes, as the user says.
    first : float
        Seconds when neither is known.
    timeouts : int
        How often an earlier deadline was too short.
    """
    if lane.is_free:
        return lane.card.max_seconds
    if stated is not None:
        seconds = stated * units
    elif record is not None:
        seconds = max(_MIN_DEADLINE, _DEADLINE_MARGIN * record.longest * units)
    else:
        seconds = first
    return float(min(lane.card.max_seconds, seconds * retries.DEADLINE_GROWTH**timeouts))
