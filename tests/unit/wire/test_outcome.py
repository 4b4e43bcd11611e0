"""The outcome of a call: complete, and from the worker that got the call, or not believed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import blake3
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.errors import BadSignature, Corrupt
from cloudoffload.types import Assignment, Call, Failure, FailureKind, Message, Outcome, Ref, Resources
from cloudoffload.wire.outcome import open_outcome, seal_outcome

KEY = b"k" * 32
CALL = Call("7", "a", "local", (Assignment(0, 1, ()), Assignment(1, 1, ())), 10.0, 128, answer_key=KEY)
OUTCOME = Outcome(
    results=(
        Ref("main", "runs/a/1/0-1", (0, 10), 10, b"digest", data=None),
        Failure(FailureKind.EXCEPTION, "ValueError", "no \ud800", "Trace", (1, 2.5, None, b"x", "\ud800"), b"p", "key"),
    ),
    unit_seconds=(0.25, 0.5),
    resources=Resources(1.5, 0.1, 0.7, 128, 99.5, 1, {"write": 1, "read": 2}, 30, {"store": 10, "client": 5}),
    messages=(
        Message("stdout", "half a \ud800 pair\n"),
        Message("log", "text", 30, "name", "file.py", 12),
    ),
    worker="pid 1",
)
SEALED = seal_outcome(OUTCOME, CALL.id, KEY)


def authentic(body: Any) -> bytes:
    """Any body with the right MAC, written here from the format's description."""
    packed: bytes = msgpack.packb(body, unicode_errors="surrogatepass")
    return packed + blake3.blake3(CALL.id.encode() + b"\0" + packed, key=KEY).digest()


def taken_apart() -> list[Any]:
    body: list[Any] = msgpack.unpackb(SEALED[:-32], unicode_errors="surrogatepass")
    return body


def test_an_outcome_arrives_as_it_was_sealed() -> None:
    """Refs, failures with their plain arguments, resources and messages; texts that are no valid Unicode too."""
    assert open_outcome(SEALED, CALL) == OUTCOME
    assert open_outcome(authentic(taken_apart()), CALL) == OUTCOME


@pytest.mark.parametrize("kind", FailureKind)
def test_every_kind_of_failure_travels(kind: FailureKind) -> None:
    """A failure without arguments, pickle and traceback, of any kind."""
    outcome = replace(OUTCOME, results=(Failure(kind, "T", "m", ""),) * 2)
    assert open_outcome(seal_outcome(outcome, CALL.id, KEY), CALL).results[0] == Failure(kind, "T", "m", "")


@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
def test_any_flipped_bit_is_a_bad_signature(position: int, bit: int) -> None:
    """No byte of an outcome can be changed on the way."""
    raw = bytearray(SEALED)
    raw[position] ^= 1 << bit
    with pytest.raises(BadSignature):
        open_outcome(bytes(raw), CALL)


@given(st.integers(0, len(SEALED) - 1), st.binary(min_size=1, max_size=50))
def test_a_cut_or_longer_outcome_is_a_bad_signature(length: int, more: bytes) -> None:
    """The MAC covers the length too; no bytes at all are no outcome."""
    for raw in (SEALED[:length], SEALED + more, more, b""):
        with pytest.raises(BadSignature):
            open_outcome(raw, CALL)


@pytest.mark.parametrize("call", [replace(CALL, id="8"), replace(CALL, answer_key=b"l" * 32)])
def test_the_outcome_of_another_call_is_a_bad_signature(call: Call) -> None:
    """An outcome answers one call: with another's id, or another's key, it is not accepted."""
    with pytest.raises(BadSignature):
        open_outcome(SEALED, call)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_outcome_that_does_not_answer_every_unit_is_corrupt(count: int) -> None:
    """As many results as units, no fewer and no more; and as many times."""
    results, seconds = (OUTCOME.results * 2)[:count], (0.0,) * count
    for outcome in (
        replace(OUTCOME, results=results, unit_seconds=seconds),
        replace(OUTCOME, results=results),
        replace(OUTCOME, unit_seconds=seconds),
    ):
        with pytest.raises(Corrupt, match="every unit"):
            open_outcome(seal_outcome(outcome, CALL.id, KEY), CALL)


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        pytest.param(0, 7, id="results that are a number"),
        pytest.param(0, [7, 7], id="result that is a number"),
        pytest.param(0, [["x"], ["y"]], id="result without fields"),
        pytest.param(0, [["no-such-kind", "T", "m", "", None, None, ""]] * 2, id="unknown kind of failure"),
        pytest.param(0, [["m", "runs/a/../x", 0, 1, 1, b"d", False, None, None]] * 2, id="ref outside of the store"),
        pytest.param(0, [["m", "runs/a/x", 0, 1 << 50, 1, b"d", False, None, None]] * 2, id="ref of a petabyte"),
        pytest.param(0, [["m", "runs/ab/x", 0, 1, 1, b"d", False, None, None]] * 2, id="ref of another run"),
        pytest.param(1, None, id="no times"),
        pytest.param(2, [1] * 12, id="too many resources"),
        pytest.param(3, [[1, 2, 3, 4, 5, 6, 7]], id="message with too many fields"),
    ],
)
def test_an_authentic_outcome_that_makes_no_sense_is_corrupt(place: int, wrong: Any) -> None:
    """What a broken worker answers is refused as a whole."""
    body = taken_apart()
    body[place] = wrong
    with pytest.raises(Corrupt):
        open_outcome(authentic(body), CALL)


@pytest.mark.parametrize("body", [None, [], 7, "text", {"results": []}])
def test_an_authentic_outcome_of_another_form_is_corrupt(body: Any) -> None:
    """Five fields, or no outcome."""
    with pytest.raises(Corrupt):
        open_outcome(authentic(body), CALL)
