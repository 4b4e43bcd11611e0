"""The outcome of a call as bytes, authenticated by the key that travelled inside the signed call."""

from __future__ import annotations

import hmac
from typing import Any

import blake3
import msgpack

from cloudoffload.errors import BadSignature, Corrupt
from cloudoffload.types import Call, Failure, FailureKind, Message, Outcome, Ref, Resources
from cloudoffload.wire.envelope import prefix_of
from cloudoffload.wire.refs import unpack

_MAC_BYTES = 32
_REF_FIELDS = len(Ref._fields)


def seal_outcome(outcome: Outcome, call: str, answer_key: bytes) -> bytes:
    """Outcome as bytes, with a MAC (keyed BLAKE3) over them and the call's id."""
    resources = outcome.resources
    body: bytes = msgpack.packb(
        [
            [item if isinstance(item, Ref) else _pack_failure(item) for item in outcome.results],
            list(outcome.unit_seconds),
            [
                resources.seconds,
                resources.init_seconds,
                resources.cpu_seconds,
                resources.memory_mb,
                resources.peak_memory_mb,
                resources.requests,
                dict(resources.store_operations),
                resources.bytes_in,
                dict(resources.bytes_out),
            ],
            [[m.source, m.text, m.level, m.name, m.filename, m.lineno] for m in outcome.messages],
            outcome.worker,
        ],
        unicode_errors="surrogatepass",
    )
    return body + _mac(body, call, answer_key)


def open_outcome(raw: bytes, call: Call) -> Outcome:
    """Check and read the outcome of a call.

    Raises
    ------
    BadSignature
        It does not come from the worker that got this call, or it was altered.
    Corrupt
        It is authentic but can't be read, does not answer every unit, or names objects of another run.
    """
    body, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(body, call.id, call.answer_key)):
        raise BadSignature(
            "the outcome is not authenticated by the call's key; it was altered, or answers another call"
        )
    try:
        results, unit_seconds, resources, messages, worker = msgpack.unpackb(
            body, use_list=False, strict_map_key=True, unicode_errors="surrogatepass"
        )
        outcome = Outcome(
            results=tuple([_result(item) for item in results]),
            unit_seconds=tuple(unit_seconds),
            resources=Resources(*resources),
            messages=tuple([Message(*message) for message in messages]),
            worker=worker,
        )
    except (TypeError, ValueError, msgpack.UnpackException) as error:
        raise Corrupt(f"the outcome can't be read: {error}") from error
    if not len(outcome.results) == len(outcome.unit_seconds) == len(call.units):
        raise Corrupt("the outcome does not answer every unit of its call")
    # The client reads what refs name, and deletes it in the end, with credentials that reach beyond the run.
    prefix = prefix_of(call.run)
    if any(isinstance(item, Ref) and item.store and not item.key.startswith(prefix) for item in outcome.results):
        raise Corrupt("the outcome names objects of another run")
    return outcome


def _mac(body: bytes, call: str, answer_key: bytes) -> bytes:
    return blake3.blake3(call.encode() + b"\0" + body, key=answer_key).digest()


def _pack_failure(failure: Failure) -> list[Any]:
    arguments = None if failure.arguments is None else list(failure.arguments)
    kind = failure.kind.value
    return [kind, failure.type_name, failure.message, failure.traceback, arguments, failure.pickled, failure.unit_key]


def _result(fields: tuple[Any, ...]) -> Ref | Failure:
    if len(fields) == _REF_FIELDS:
        return unpack(fields)
    kind, type_name, message, traceback, arguments, pickled, unit_key = fields
    return Failure(FailureKind(kind), type_name, message, traceback, arguments, pickled, unit_key)
