"""A session may be used for days: it leaves nothing behind but its bill."""

from __future__ import annotations

from itertools import islice

import cloudoffload as co
from tests.soak.health import WORKER_MB, look
from tests.soak.work import KINDS, computations


def test_many_computations_leave_nothing_behind() -> None:
    """No memory, descriptors, threads, processes or stored objects, whatever was computed and however it ended."""
    with co.Session(providers=("local",), workers=2, memory_mb=WORKER_MB) as session:
        work = computations()
        for compute in islice(work, 2 * len(KINDS)):
            compute(session)
        before, calls = look(session), session.stats()["calls"]
        for compute in islice(work, 4 * len(KINDS)):
            compute(session)
        after = look(session)
        assert after.growth(before, session.stats()["calls"] - calls) == []
        assert (after.objects, after.store_bytes) == (0, 0)
