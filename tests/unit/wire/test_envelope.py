"""The signed call: nothing of it is believed, decoded or run before its signature holds."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import BadSignature, Corrupt, Expired, WireError
from cloudoffload.types import Assignment, Edge, Ref, StoreAccess
from cloudoffload.wire.envelope import CLOCK_SKEW, MAGIC, WIRE_VERSION, Order, open_envelope, seal
from cloudoffload.wire.signing import SIGNATURE_BYTES, Signer

NOW = 1_800_000_000.0
LIFETIME = 60.0
SIGNER = Signer()
ORDER = Order(
    run="a",
    call="7",
    graph=Ref("main", "runs/a/graphs/1", (0, 100), 100, b"digest"),
    units=(
        Assignment(0, 1, (Ref("main", "runs/a/1/3-1", (64, 10), 10, b"d", parted=True, part=2),), requested=True),
        Assignment(1, 2, (Ref("", "", (0, 1), 1, b"d", data=b"?"),)),
    ),
    stores={"main": StoreAccess("s3://bucket/prefix", {"secret_access_key": "hidden"})},
    output="main",
    prefix="runs/a/1/",
    seconds=30.0,
    answer_key=b"k" * 32,
    results="data",
    inline_limit=100,
    result_limit=1000,
)
SEALED = seal(ORDER, SIGNER, now=NOW, lifetime=LIFETIME)


def opened(envelope: bytes, *, now: float = NOW) -> Order:
    return open_envelope(envelope, SIGNER.public_keys, now=now)


def signed(header: Any, body: bytes, *, length: int | None = None, magic: bytes = MAGIC) -> bytes:
    """A call whose signature is right, whatever else is wrong with it."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    message = magic + struct.pack("<I", len(head) if length is None else length) + head + body
    return message + SIGNER.sign(message)


def taken_apart() -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and body of a good call, to be spoilt and signed again."""
    (length,) = struct.unpack_from("<I", SEALED, 4)
    return json.loads(SEALED[8 : 8 + length]), msgpack.unpackb(SEALED[8 + length : -SIGNATURE_BYTES])


def test_an_order_arrives_as_it_was_sealed() -> None:
    """Every field of an order travels: refs with parts and inline bytes, stores, limits."""
    assert opened(SEALED) == ORDER


def test_credentials_are_not_shown() -> None:
    """Neither an order's repr nor that of its stores shows a secret."""
    assert "hidden" not in repr(opened(SEALED))


@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
def test_any_flipped_bit_is_a_bad_signature(position: int, bit: int) -> None:
    """There is no byte of a call that can be changed: not in its lengths, its header, its body or its signature."""
    envelope = bytearray(SEALED)
    envelope[position] ^= 1 << bit
    with pytest.raises(BadSignature):
        opened(bytes(envelope))


@given(st.integers(0, len(SEALED) - 1), st.binary(min_size=1, max_size=100))
def test_a_cut_or_longer_call_is_a_bad_signature(length: int, more: bytes) -> None:
    """The signature covers the length too."""
    for envelope in (SEALED[:length], SEALED[length:], SEALED + more, more):
        if envelope != SEALED:
            with pytest.raises(BadSignature):
                opened(envelope)


def test_another_key_is_a_bad_signature() -> None:
    """A worker runs only the calls of keys that it knows, and a known key's name alone is not enough."""
    stranger = Signer()
    with pytest.raises(BadSignature, match="does not know"):
        opened(seal(ORDER, stranger, now=NOW, lifetime=LIFETIME))
    stranger.key_id = SIGNER.key_id
    with pytest.raises(BadSignature, match="signature is wrong"):
        opened(seal(ORDER, stranger, now=NOW, lifetime=LIFETIME))


def bomb(depth: int) -> bytes:
    """A body that any decoder would choke on: arrays in arrays, ending in one that claims four billion items."""
    return b"\x91" * depth + b"\xdd\xff\xff\xff\xff"


def test_an_unsigned_body_is_never_decoded() -> None:
    """A bomb fails in the decoder only when it is signed; unsigned, it never gets there."""
    header, _ = taken_apart()
    body = bomb(5000)
    envelope = signed({**header, "bytes": len(body)}, body)
    with pytest.raises(Corrupt):
        opened(envelope)
    with pytest.raises(BadSignature):
        opened(envelope[:-1] + bytes([envelope[-1] ^ 1]))


HOSTILE = [b"[" * 4000, b'{"a":' * 800, b"1" * 4096, b"\xff\xfe", b"[]", b"null", b'"text"', b""]


@pytest.mark.parametrize(
    "header", [b"[" * 4000, b'{"a":' * 800, b"1" * 4096, b"\xff\xfe", b"[]", b"null", b'"text"', b""]
)
def test_a_hostile_header_is_a_bad_signature(header: bytes) -> None:
    """The header alone is read before the signature is checked; nothing in it may raise anything else."""
    message = MAGIC + struct.pack("<I", len(header)) + header
    with pytest.raises(BadSignature):
        opened(message + bytes(SIGNATURE_BYTES))


@pytest.mark.parametrize("length", [0, 4097, 1 << 31, (1 << 32) - 1])
def test_a_header_that_lies_about_its_length_is_refused(length: int) -> None:
    """A length beyond the limit, or beyond the call, is refused before it is used, also when it is signed."""
    header, body = taken_apart()
    with pytest.raises(BadSignature):
        opened(signed(header, msgpack.packb(body), length=length))


def test_a_header_over_the_limit_is_refused() -> None:
    """What is read before the signature is checked is small, whoever signed it."""
    header, body = taken_apart()
    assert opened(signed(json.dumps(header).encode().ljust(4096), msgpack.packb(body))) == ORDER
    with pytest.raises(BadSignature, match="longer"):
        opened(signed(json.dumps(header).encode().ljust(4097), msgpack.packb(body)))


@pytest.mark.parametrize("magic", [b"COF2", b"PK\x03\x04"])
def test_other_formats_are_refused(magic: bytes) -> None:
    """Bytes that don't begin like a call are none."""
    header, body = taken_apart()
    with pytest.raises(BadSignature, match="not a signed call"):
        opened(signed(header, msgpack.packb(body), magic=magic))


@pytest.mark.parametrize(
    ("now", "fits"),
    [
        (NOW - CLOCK_SKEW - 1, False),
        (NOW - CLOCK_SKEW, True),
        (NOW + LIFETIME + CLOCK_SKEW, True),
        (NOW + LIFETIME + CLOCK_SKEW + 1, False),
    ],
)
def test_a_call_is_good_for_its_lifetime_within_the_clocks_skew(now: float, fits: bool) -> None:
    """Calls of the past, and of a future that no clock's error explains, are refused."""
    if fits:
        assert opened(SEALED, now=now) == ORDER
    else:
        with pytest.raises(Expired):
            opened(SEALED, now=now)


@pytest.mark.parametrize("expires", [float("nan"), float("-inf")])
def test_a_call_without_an_end_is_refused(expires: float) -> None:
    """NaN compares with nothing, so nothing is within it."""
    header, body = taken_apart()
    with pytest.raises(Expired):
        opened(signed({**header, "expires": expires}, msgpack.packb(body)))


def test_another_wire_version_is_refused_by_number() -> None:
    """The message names both versions and what to do."""
    header, body = taken_apart()
    with pytest.raises(Corrupt, match=f"version {WIRE_VERSION + 1}.*{WIRE_VERSION}; deploy again"):
        opened(signed({**header, "version": WIRE_VERSION + 1}, msgpack.packb(body)))


@pytest.mark.parametrize("difference", [-1, 1])
def test_a_body_that_is_not_as_long_as_its_header_says_is_corrupt(difference: int) -> None:
    """Also when both are signed."""
    header, body = taken_apart()
    with pytest.raises(Corrupt, match="length"):
        opened(signed({**header, "bytes": header["bytes"] + difference}, msgpack.packb(body)))


OTHER = Ref("main", "runs/b/1/3-1", (0, 10), 10, b"d")


@pytest.mark.parametrize(
    "order",
    [
        pytest.param(replace(ORDER, graph=OTHER), id="graph"),
        pytest.param(replace(ORDER, units=(Assignment(0, 1, (ORDER.graph, OTHER)),)), id="input"),
        pytest.param(replace(ORDER, prefix="runs/b/1/"), id="outputs"),
        pytest.param(replace(ORDER, prefix="runs/ab/"), id="outputs of a run whose name begins alike"),
        pytest.param(replace(ORDER, graph=OTHER._replace(key="runs/ab/1/3-1")), id="run whose name begins alike"),
    ],
)
def test_objects_of_another_run_are_refused(order: Order) -> None:
    """A call reads and writes below its own run's prefix only."""
    with pytest.raises(Expired, match="another run"):
        opened(seal(order, SIGNER, now=NOW, lifetime=LIFETIME))


@pytest.mark.parametrize("key", ["runs/a/../b/1", "/runs/a/1", "runs/a//1"])
def test_keys_that_climb_out_of_the_run_are_corrupt(key: str) -> None:
    """A key begins with the run's prefix and stays below it."""
    with pytest.raises(Corrupt):
        opened(seal(replace(ORDER, graph=OTHER._replace(key=key)), SIGNER, now=NOW, lifetime=LIFETIME))


@pytest.mark.parametrize("field", ["issued", "expires", "bytes", "run", "call", "python"])
def test_a_signed_header_without_a_field_is_corrupt(field: str) -> None:
    """A client that signs nonsense gets an error that the worker survives."""
    header, body = taken_apart()
    del header[field]
    with pytest.raises(Corrupt):
        opened(signed(header, msgpack.packb(body)))


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("graph", None),
        ("graph", [*ORDER.graph[:3], 1 << 50, *ORDER.graph[4:]]),
        ("units", 7),
        ("units", [[0, 1]]),
        ("units", [[0, 1, [["main"]], True]]),
        ("units", [[0, 1, [], True]] * 100_001),
        ("stores", ["main"]),
        ("stores", {"main": "s3://bucket"}),
        ("output", "elsewhere"),
        ("seconds", ...),
        ("answer_key", ...),
    ],
)
def test_a_signed_body_that_makes_no_sense_is_corrupt(field: str, wrong: Any) -> None:
    """Fields that lack, or have impossible content, are named as such; `...` stands for a field left out."""
    header, body = taken_apart()
    body[field] = wrong
    if wrong is ...:
        del body[field]
    packed = msgpack.packb(body)
    with pytest.raises(Corrupt):
        opened(signed({**header, "bytes": len(packed)}, packed))


@given(st.binary(max_size=200))
def test_a_signed_body_of_any_bytes_raises_a_wire_error(body: bytes) -> None:
    """Even then nothing but a WireError comes out, so that a worker can refuse and go on."""
    header, _ = taken_apart()
    with pytest.raises(WireError):
        opened(signed({**header, "bytes": len(body)}, body))


def test_an_input_may_be_what_an_earlier_unit_of_the_call_makes() -> None:
    """It travels as the edge to that unit, with the part that is meant, between refs of what lies somewhere."""
    unit = Assignment(1, 1, (Edge(0), ORDER.graph, Edge(0, "b"), Edge(0, 3)))
    order = replace(ORDER, units=(Assignment(0, 1, ()), unit))
    assert opened(seal(order, SIGNER, now=NOW, lifetime=LIFETIME)).units == order.units


@pytest.mark.parametrize(
    "edge", [["0", None], [None, None], [True, None], [0, 1.5], [0, b"b"], [0, True], [0], 0, None]
)
def test_an_edge_that_makes_no_sense_is_corrupt(edge: Any) -> None:
    """A unit's number, and nothing or the name of a part."""
    header, body = taken_apart()
    body["units"] = [[0, 1, [edge], True]]
    packed = msgpack.packb(body)
    with pytest.raises(Corrupt):
        opened(signed({**header, "bytes": len(packed)}, packed))
