"""A cloud that does nothing but take its time: what is measured on it is how well the client keeps it busy."""

from __future__ import annotations

import threading
from dataclasses import replace
from threading import Event

from cloudoffload.errors import Cancelled, Throttled
from cloudoffload.providers import rates
from cloudoffload.types import Call, Outcome, Ref, Resources
from cloudoffload.wire.codecs import encode_result
from cloudoffload.wire.outcome import open_outcome, seal_outcome
from cloudoffload.wire.values import pack_value

SECONDS = 10.0
"""How long each call lasts."""

VALUE = 1
"""What every unit answers."""

_REGION = "us-east-1"


class Sleeper:
    """Sleeps where a cloud would compute; implements :class:`cloudoffload.interfaces.Provider`.

    Calls come to it signed and priced as they do to any cloud, and its outcomes are authenticated and opened as they
    are. Like a cloud it refuses what exceeds its concurrency.

    Parameters
    ----------
    concurrency : int
        Calls at once.
    seconds : float
        How long each call lasts.

    Attributes
    ----------
    busy : int
        Calls at this moment.
    """

    name = f"sleeper:{_REGION}"
    runs = frozenset({"python"})

    def __init__(self, concurrency: int, seconds: float = SECONDS) -> None:
        self.card = replace(rates.load("aws", _REGION), provider=self.name, concurrency=concurrency)
        self._seconds = seconds
        self._lock = threading.Lock()
        self.busy = 0
        packed = pack_value(encode_result(VALUE, "verified"), b"b")
        place = (packed.span.offset, packed.span.length)
        self._ref = Ref("", "", place, packed.nbytes, packed.span.digest, data=b"".join(packed.pieces))

    def invoke(self, call: Call, cancelled: Event) -> Outcome:
        """Wait, then answer :data:`VALUE` for each unit; see :meth:`cloudoffload.interfaces.Provider.invoke`."""
        with self._lock:
            if self.busy >= self.card.concurrency:
                raise Throttled("the sleeping cloud takes no more calls at once")
            self.busy += 1
        try:
            if cancelled.wait(self._seconds):
                raise Cancelled("the call was cancelled")
        finally:
            with self._lock:
                self.busy -= 1
        count = len(call.units)
        used = Resources(
            seconds=self._seconds,
            memory_mb=self.card.memory_mb[0],
            requests=1,
            bytes_out={"client": count * self._ref.nbytes},
        )
        outcome = Outcome((self._ref,) * count, (self._seconds / count,) * count, used, worker="sleeper")
        return open_outcome(seal_outcome(outcome, call.id, call.answer_key), call)

    def close(self) -> None:
        """Nothing is held."""
