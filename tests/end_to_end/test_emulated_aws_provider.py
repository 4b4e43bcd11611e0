"""The provider of AWS Lambda on the emulated cloud: every failure reaches the loop as what it is, and is paid once."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import boto3
import pytest
from botocore.exceptions import ReadTimeoutError

from cloudoffload.emulator.aws import EmulatedAws
from cloudoffload.errors import (
    Cancelled,
    OutOfMemory,
    PayloadTooLarge,
    ProviderDown,
    ProviderError,
    Throttled,
    TimedOut,
    Unauthorized,
)
from cloudoffload.providers.aws_lambda import AwsLambda
from cloudoffload.providers.rates import load
from cloudoffload.store import open_store
from cloudoffload.types import Assignment, Call, Emit, Outcome, Ref, StoreAccess
from cloudoffload.wire.digest import digest
from cloudoffload.wire.envelope import Order, prefix_of, seal
from cloudoffload.wire.program import dump, entry
from cloudoffload.wire.signing import Signer

CODE = Path(__file__).parent / "lambda_function"
CARD = load("aws")
ANSWER_KEY = b"k" * 32


@pytest.fixture(scope="module")
def aws() -> Iterator[EmulatedAws]:
    """A small function: 128 MB, 4 seconds, 2 environments."""
    with EmulatedAws(
        public_keys={},
        memory_mb=128,
        timeout=4,
        concurrency=2,
        handler="function.handler",
        task_root=CODE,
    ) as cloud:
        yield cloud


def provider(aws: EmulatedAws, **changes: Any) -> AwsLambda:
    """The product's provider, pointed at the emulated cloud."""
    settings: dict[str, Any] = {
        "card": CARD,
        "region": aws.region,
        "memory_mb": aws.memory_mb,
        "session": aws.boto3_session(),
        "endpoint_url": aws.lambda_url,
    }
    return AwsLambda(changes.pop("function", aws.function), **{**settings, **changes})


def call(seconds: float = 30, **order: Any) -> Call:
    """A call that the function above understands."""
    envelope = json.dumps(order).encode()
    return Call("c1", "r1", "aws", (), seconds, 128, envelope=envelope, answer_key=ANSWER_KEY)


def until_lines(mark: Path, count: int) -> list[str]:
    """Lines of a file once there are so many; generous, because only a hang should fail."""
    for _ in range(600):
        if mark.exists() and len(lines := mark.read_text().split()) >= count:
            return lines
        time.sleep(0.05)
    raise AssertionError(f"{mark.name} did not get {count} lines")


def test_the_bill_is_the_clouds_own(aws: EmulatedAws) -> None:
    """What the REPORT line says outranks what the worker measured (it claims 99 seconds)."""
    outcome = provider(aws).invoke(call(), Event())
    resources = outcome.resources
    assert 0 < resources.seconds < 99
    assert round((resources.seconds + resources.init_seconds) * 1000, 6).is_integer()
    assert (resources.memory_mb, resources.requests) == (128, 1)
    assert resources.peak_memory_mb > 0


def test_a_proxy_of_the_user_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emulated cloud is on this machine: it starts and answers behind any proxy."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with EmulatedAws(public_keys={}, handler="function.handler", task_root=CODE) as cloud:
        assert isinstance(provider(cloud).invoke(call(), Event()), Outcome)


@pytest.mark.parametrize(
    ("order", "expected", "message"),
    [
        ({"sleep": 60}, TimedOut, "timed out after 4.00 seconds"),
        ({"hold": 400, "sleep": 60}, OutOfMemory, "128 MB"),
        ({"exit": 3}, ProviderDown, "exit status 3"),
        ({"raise": True}, ProviderDown, "of the function"),
        ({"call": "another"}, ProviderDown, "nonsense"),  # an outcome that is not authenticated for this call
    ],
)
def test_a_call_that_ran_without_an_outcome_was_paid(
    aws: EmulatedAws, order: dict[str, Any], expected: type[ProviderError], message: str
) -> None:
    """It may be tried again, and the attempt counts."""
    with pytest.raises(expected, match=message) as caught:
        provider(aws).invoke(call(**order), Event())
    assert (caught.value.retryable, caught.value.billed) == (True, True)


def test_calls_over_the_concurrency_are_throttled(aws: EmulatedAws, tmp_path: Path) -> None:
    """With both environments at work a third call is refused with the reason, for nothing."""
    mark, go = tmp_path / "mark", tmp_path / "go"
    lambda_ = provider(aws)
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(lambda_.invoke, call(mark=str(mark), until=str(go)), Event()) for _ in range(2)]
        until_lines(mark, 2)
        with pytest.raises(Throttled, match="ReservedFunctionConcurrentInvocationLimitExceeded") as caught:
            lambda_.invoke(call(), Event())
        go.touch()
        assert all(isinstance(future.result(), Outcome) for future in running)
    assert (caught.value.retryable, caught.value.billed) == (True, False)


def test_a_request_that_aws_refuses_for_its_size(aws: EmulatedAws) -> None:
    """Where the rate card is wrong AWS's own limit still holds."""
    generous = provider(aws, card=replace(CARD, request_bytes=10**8))
    with pytest.raises(PayloadTooLarge, match="must be smaller than 6291456") as caught:
        generous.invoke(call(padding="x" * 6_291_456), Event())
    assert caught.value.billed is False


def test_an_unknown_function(aws: EmulatedAws) -> None:
    """Nothing is deployed under that name: no try will change that."""
    with pytest.raises(ProviderDown, match=r"not deployed.*other") as caught:
        provider(aws, function="other").invoke(call(), Event())
    assert caught.value.retryable is False


@pytest.mark.parametrize("field", ["key", "secret"])
def test_wrong_credentials(aws: EmulatedAws, field: str) -> None:
    """Only the emulated account's own key is accepted."""
    keys = {"key": aws.credentials.access_key, "secret": aws.credentials.secret_key, field: "wrong"}
    session = boto3.Session(aws_access_key_id=keys["key"], aws_secret_access_key=keys["secret"])
    with pytest.raises(Unauthorized):
        provider(aws, session=session).invoke(call(), Event())


def test_a_broken_package_is_not_tried_again() -> None:
    """A deployment that can't be imported needs another deployment, not another call."""
    with (
        EmulatedAws(public_keys={}, handler="broken.handler", task_root=CODE) as cloud,
        pytest.raises(ProviderDown, match="deploy again") as caught,
    ):
        provider(cloud).invoke(call(), Event())
    assert caught.value.retryable is False


def test_a_late_answer_is_paid_once(aws: EmulatedAws, tmp_path: Path) -> None:
    """When the connection's time is over the call is not sent again, and the function runs on to its end."""
    mark, go = tmp_path / "mark", tmp_path / "go"
    impatient = provider(aws, card=replace(CARD, max_seconds=0.1), margin_seconds=0.3)
    with pytest.raises(TimedOut, match="connection's time") as caught:
        impatient.invoke(call(mark=str(mark), until=str(go)), Event())
    assert isinstance(caught.value.__cause__, ReadTimeoutError)
    assert caught.value.billed is True
    go.touch()
    assert until_lines(mark, 2) == ["begun", "ended"]


def test_a_call_past_its_deadline_is_given_up(aws: EmulatedAws, tmp_path: Path) -> None:
    """No answer within the call's own seconds and the margin: timed out, whatever the connection does."""
    mark, go = tmp_path / "mark", tmp_path / "go"
    with pytest.raises(TimedOut, match=r"within its 0\.1 seconds"):
        provider(aws, margin_seconds=0.1).invoke(call(seconds=0.1, mark=str(mark), until=str(go)), Event())
    go.touch()
    assert until_lines(mark, 2) == ["begun", "ended"]


def test_cancelling_ends_the_wait_and_not_the_function(aws: EmulatedAws, tmp_path: Path) -> None:
    """The caller is free while the function, which nothing can stop, still runs to its end."""
    mark, go, cancelled = tmp_path / "mark", tmp_path / "go", Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(provider(aws).invoke, call(mark=str(mark), until=str(go)), cancelled)
        until_lines(mark, 1)
        cancelled.set()
        with pytest.raises(Cancelled):
            waiting.result()
    go.touch()
    assert until_lines(mark, 2) == ["begun", "ended"]


def signed_call(aws: EmulatedAws, signer: Signer) -> Call:
    """A real call: one unit, whose value is large enough to be stored."""
    run = "r1"
    program = dump([entry((("x", bytes, (100_000,), None, False, ()),), "x", (), Emit.VALUE)])
    key = f"{prefix_of(run)}program"
    access = StoreAccess(aws.store_url, aws.store_options)
    open_store(access).put(key, [program])
    units = (Assignment(0, 1, ()),)
    order = Order(
        run=run,
        call="c1",
        graph=Ref("main", key, (0, len(program)), len(program), digest([program])),
        units=units,
        stores={"main": access},
        output="main",
        prefix=f"{prefix_of(run)}out/",
        seconds=60,
        answer_key=ANSWER_KEY,
    )
    envelope = seal(order, signer, now=time.time(), lifetime=600)
    return Call("c1", run, "aws", units, 60, 1769, envelope=envelope, answer_key=ANSWER_KEY)


def test_the_products_own_worker_runs_signed_calls_only() -> None:
    """A call of a known key is run and its value lies in S3; one that another key signed is refused."""
    signer = Signer()
    with EmulatedAws(public_keys=signer.public_keys) as cloud:
        aws = provider(cloud)
        outcome = aws.invoke(signed_call(cloud, signer), Event())
        (ref,) = outcome.results
        assert isinstance(ref, Ref)
        assert bytes(100_000) in bytes(open_store(StoreAccess(cloud.store_url, cloud.store_options)).get(ref))
        with pytest.raises(Unauthorized, match="deploy again"):
            aws.invoke(signed_call(cloud, Signer()), Event())
