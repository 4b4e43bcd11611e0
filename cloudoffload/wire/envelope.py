"""The signed call: what travels to a cloud function, and how it is checked there.

Layout::

    magic, 4 bytes | length of header, 4 bytes | header (JSON) | body (msgpack) | Ed25519 signature, 64 bytes

The signature covers everything before it. The header alone names the key, the run and the expiry, so that a runtime in
any language can refuse a call before it decodes the body. Nothing is decompressed or unpickled before all checks hold.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgpack

from cloudoffload.errors import BadSignature, Corrupt, Expired
from cloudoffload.types import Assignment, Ref, StoreAccess
from cloudoffload.wire.refs import refs_of, unpack, unpack_input
from cloudoffload.wire.signing import SIGNATURE_BYTES, Signer, verify_signature

MAGIC = b"COF1"
WIRE_VERSION = 2
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""Pickles hold byte code, so client and worker must agree on it."""

CLOCK_SKEW = 300.0
"""Seconds by which a worker's clock may differ from the client's."""

_LENGTH = struct.Struct("<I")
_MAX_HEADER = 4096
_MAX_UNITS = 100_000


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told to do; the body of a call."""

    run: str
    call: str
    graph: Ref  # the pickled program
    units: tuple[Assignment, ...]
    stores: Mapping[str, StoreAccess]
    output: str  # name of the store that values are written to
    prefix: str  # outputs are written below it, as <unit>-<attempt>
    seconds: float  # deadline, counted from the worker's start
    answer_key: bytes = field(repr=False)  # 32 bytes; authenticates the outcome
    results: str = "verified"
    inline_limit: int = 16384  # values up to this size travel in the outcome, bytes
    result_limit: int = 5 << 30  # largest single value, bytes
    folder: str = ""  # the client's current folder, for workers on its own machine
    paths: tuple[str, ...] = ()  # and its import path
    python: str = PYTHON


def prefix_of(run: str) -> str:
    """Where all objects of a run lie in its store."""
    return f"runs/{run}/"


def seal(order: Order, signer: Signer, *, now: float, lifetime: float) -> bytes:
    """Sign an order.

    Parameters
    ----------
    order : Order
        What to do.
    signer : Signer
        The run's key.
    now, lifetime : float
        Seconds since the epoch, and seconds after which a worker refuses the call.
    """
    body: bytes = msgpack.packb(
        {
            "graph": order.graph,
            "units": order.units,
            "stores": {name: [access.url, dict(access.options)] for name, access in order.stores.items()},
            "output": order.output,
            "prefix": order.prefix,
            "seconds": order.seconds,
            "answer_key": order.answer_key,
            "results": order.results,
            "inline_limit": order.inline_limit,
            "result_limit": order.result_limit,
            "folder": order.folder,
            "paths": list(order.paths),
        }
    )
    header = json.dumps(
        {
            "version": WIRE_VERSION,
            "key": signer.key_id,
            "run": order.run,
            "call": order.call,
            "issued": now,
            "expires": now + lifetime,
            "python": order.python,
            "bytes": len(body),
        }
    ).encode()
    message = b"".join((MAGIC, _LENGTH.pack(len(header)), header, body))
    return message + signer.sign(message)


def open_envelope(envelope: bytes, keys: Mapping[str, bytes], *, now: float) -> Order:
    """Check a call and read its order.

    Raises
    ------
    BadSignature
        No known key signed exactly these bytes.
    Expired
        It is too old, or it names objects of another run.
    Corrupt
        It is signed, but makes no sense.
    """
    view = memoryview(envelope)
    header, start = _header(view)
    verify_signature(keys.get(str(header.get("key"))), view[:-SIGNATURE_BYTES], view[-SIGNATURE_BYTES:])
    if header.get("version") != WIRE_VERSION:
        raise Corrupt(f"the call speaks wire version {header.get('version')}, this worker {WIRE_VERSION}; deploy again")
    try:
        issued, expires, length = float(header["issued"]), float(header["expires"]), header["bytes"]
    except (KeyError, TypeError, ValueError) as error:
        raise Corrupt(f"the header of the call lacks a field: {error}") from error
    if not issued - CLOCK_SKEW <= now <= expires + CLOCK_SKEW:
        raise Expired("the call is older than it may be, or the clocks of client and worker differ; send it again")
    body = view[start:-SIGNATURE_BYTES]
    if length != len(body):
        raise Corrupt("the call's length is not the one that its header names")
    return _order(header, body)


def _header(view: memoryview) -> tuple[dict[str, Any], int]:
    fixed = len(MAGIC) + _LENGTH.size
    if len(view) < fixed + SIGNATURE_BYTES or view[: len(MAGIC)] != MAGIC:
        raise BadSignature("these bytes are not a signed call")
    (length,) = _LENGTH.unpack_from(view, len(MAGIC))
    if length > _MAX_HEADER or fixed + length + SIGNATURE_BYTES > len(view):
        raise BadSignature("the header of the call is longer than the call")
    try:
        header = json.loads(bytes(view[fixed : fixed + length]))
    except (ValueError, RecursionError) as error:
        raise BadSignature("the header of the call can't be read") from error
    if not isinstance(header, dict):
        raise BadSignature("the header of the call can't be read")
    return header, fixed + length


def _order(header: Mapping[str, Any], body: memoryview) -> Order:
    try:
        fields = msgpack.unpackb(body, use_list=True, strict_map_key=True)
        if len(fields["units"]) > _MAX_UNITS:
            raise Corrupt("the call holds more units than any client sends")
        order = Order(
            run=header["run"],
            call=header["call"],
            graph=unpack(fields["graph"]),
            units=tuple(
                Assignment(number, attempt, tuple([unpack_input(item) for item in inputs]), requested)
                for number, attempt, inputs, requested in fields["units"]
            ),
            stores={name: StoreAccess(url, options) for name, (url, options) in fields["stores"].items()},
            output=fields["output"],
            prefix=fields["prefix"],
            seconds=fields["seconds"],
            answer_key=fields["answer_key"],
            results=fields["results"],
            inline_limit=fields["inline_limit"],
            result_limit=fields["result_limit"],
            folder=fields["folder"],
            paths=tuple(fields["paths"]),
            python=header["python"],
        )
    except (AttributeError, KeyError, TypeError, ValueError, msgpack.UnpackException) as error:
        raise Corrupt(f"the body of the call can't be read: {error}") from error
    if order.output not in order.stores:
        raise Corrupt(f"the call writes to a store {order.output!r} that it gives no access to")
    prefix = prefix_of(order.run)
    refs = [order.graph, *refs_of(order.units)]
    if not order.prefix.startswith(prefix) or any(ref.store and not ref.key.startswith(prefix) for ref in refs):
        raise Expired("the call names objects of another run")
    return order
