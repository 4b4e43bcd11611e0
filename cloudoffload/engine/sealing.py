"""From a draft to the signed call that travels."""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path
from typing import Any

from cloudoffload.engine.messages import Draft
from cloudoffload.engine.objects import Belongings
from cloudoffload.engine.services import STORE, Services
from cloudoffload.engine.storing import metered
from cloudoffload.routing.route import LOCAL
from cloudoffload.types import Assignment, Call, Edge, Ref
from cloudoffload.wire.envelope import Order, prefix_of, seal
from cloudoffload.wire.refs import refs_of

LIFETIME_MARGIN = 900.0
"""Seconds beyond its deadline for which a call may still be accepted: queues and clocks are not exact."""


def seal_draft(
    services: Services, objects: Belongings, computation: int, draft: Draft, graph: Ref, inline_limit: int
) -> Call:
    """The signed call of a draft.

    Parameters
    ----------
    services : Services
        Of the session.
    objects : Belongings
        Of the computation.
    computation : int
        Its number.
    draft : Draft
        What to send.
    graph : Ref
        Where the program lies.
    inline_limit : int
        Up to which size values come back in the outcome, bytes.
    """
    call_id = services.call_id(computation, draft)
    order = Order(
        run=services.run,
        call=call_id,
        graph=graph,
        units=_spilled(services, objects, computation, draft),
        stores={STORE: services.clouds.worker_access()},
        output=STORE,
        prefix=_folder(services, computation),
        seconds=draft.seconds,
        answer_key=secrets.token_bytes(32),
        results=services.results,
        inline_limit=inline_limit,
        result_limit=services.settings.result_limit,
        **_surroundings(draft.provider),
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


def spilled_key(services: Services, computation: int, draft: Draft) -> str:
    """Key of the object that holds a call's small inputs when they are too many for one request."""
    return f"{_folder(services, computation)}call-{draft.number}"


def output_keys(services: Services, computation: int, draft: Draft) -> list[str]:
    """Keys of the objects that the call of a draft may write."""
    folder = _folder(services, computation)
    return [f"{folder}{unit.number}-{unit.attempt}" for unit in draft.units]


def _folder(services: Services, computation: int) -> str:
    return f"{prefix_of(services.run)}{computation}/"


def _spilled(services: Services, objects: Belongings, computation: int, draft: Draft) -> tuple[Assignment, ...]:
    """The call's units; small values that are too many for one request go through the store after all."""
    limit = services.clouds.lanes[draft.provider].card.request_bytes // 4
    inline = {ref.digest: ref.data for ref in refs_of(draft.units) if ref.data is not None}
    if sum(map(len, inline.values())) <= limit:
        return draft.units
    key = spilled_key(services, computation, draft)
    with metered(services, "spill"):
        objects.wrote(key, services.clouds.store.put(key, list(inline.values())))
    starts = dict(zip(inline, _offsets(list(inline.values())), strict=True))

    def moved(ref: Ref | Edge) -> Ref | Edge:
        if isinstance(ref, Edge) or ref.data is None:
            return ref
        offset, length = ref.span
        place = (starts[ref.digest] + offset, length)
        return Ref(STORE, key, place, ref.nbytes, ref.digest, ref.parted, ref.part)

    return tuple(
        Assignment(unit.number, unit.attempt, tuple(map(moved, unit.inputs)), unit.requested) for unit in draft.units
    )


def _surroundings(provider: str) -> dict[str, Any]:
    """Where the client stands: said to workers of this machine only, it is nobody else's business."""
    if provider != LOCAL:
        return {}
    return {"folder": str(Path.cwd()), "paths": tuple(path for path in sys.path if path)}


def _offsets(pieces: list[bytes]) -> list[int]:
    offsets, offset = [], 0
    for piece in pieces:
        offsets.append(offset)
        offset += len(piece)
    return offsets
