"""What each answer of Lambda means: its REPORT line, its refusals, its functions' failures."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from dataclasses import replace
from threading import Event
from typing import Any

import boto3
import pytest
from botocore import exceptions

from cloudoffload.errors import (
    OutOfMemory,
    PayloadTooLarge,
    ProviderDown,
    ProviderError,
    Throttled,
    TimedOut,
    Unauthorized,
)
from cloudoffload.interfaces import Provider
from cloudoffload.providers.aws_lambda import AwsLambda
from cloudoffload.providers.lambda_errors import from_boto, from_function
from cloudoffload.providers.lambda_report import Report, parse_report
from cloudoffload.providers.rates import load
from cloudoffload.types import Call

CARD = load("aws")
CALL = Call(id="c1", run="r1", provider="aws", units=(), seconds=1, memory_mb=1769, envelope=b"x" * 300)

# As printed in AWS Lambda developer guide, "Working with Lambda function logs".
AWS_LOG = (
    b"START RequestId: 8f507cfc-xmpl-4697-b07a-ac58fc914c95 Version: $LATEST\n"
    b"END RequestId: 8f507cfc-xmpl-4697-b07a-ac58fc914c95\n"
    b"REPORT RequestId: 8f507cfc-xmpl-4697-b07a-ac58fc914c95\tDuration: 15.74 ms\tBilled Duration: 147 ms\t"
    b"Memory Size: 128 MB\tMax Memory Used: 56 MB\tInit Duration: 130.49 ms\t\n"
    b"XRAY TraceId: 1-5e34a614-10bdxmplf1fb44f07bc535a1\tSegmentId: 07f5xmpl2d1f6f85\tSampled: true\n"
)


def provider(**changes: Any) -> AwsLambda:
    """A provider whose function is not there: its endpoint is a port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    session = boto3.Session(aws_access_key_id="AKIAKNOWN", aws_secret_access_key="hidden-secret")
    settings: dict[str, Any] = {
        "card": CARD,
        "region": "us-east-1",
        "memory_mb": 1769,
        "session": session,
        "endpoint_url": f"http://127.0.0.1:{port}",
    }
    return AwsLambda("f", **{**settings, **changes})


def test_it_is_a_provider() -> None:
    """It keeps the contract's attributes: a name, a rate card, and Python."""
    aws = provider(name="aws:us-east-1")
    assert isinstance(aws, Provider)
    assert (aws.name, aws.card, aws.runs) == ("aws:us-east-1", CARD, frozenset({"python"}))


def test_the_report_line_is_read_whole() -> None:
    """Duration, billed duration, memory and the start of the environment come from the cloud."""
    report = parse_report(AWS_LOG)
    assert report == Report("8f507cfc-xmpl-4697-b07a-ac58fc914c95", 15.74, 147, 128, 56, 130.49)
    assert (report.billed_seconds, report.billed_init_seconds) == (0.147, 0.131)


def test_a_start_that_is_not_charged_costs_nothing() -> None:
    """Where the billed duration does not hold the start, none of it is billed."""
    assert Report("id", 15.74, 16, 128, 56, init_ms=130.49).billed_init_seconds == 0
    assert Report("id", 15.74, 16, 128, 56).billed_init_seconds == 0


def test_a_function_can_not_forge_its_bill() -> None:
    """A line like it that the function printed comes before Lambda's own and is not believed."""
    forged = AWS_LOG.replace(b"147 ms", b"1 ms")
    report = parse_report(forged + AWS_LOG)
    assert report is not None
    assert report.billed_ms == 147


def test_a_log_without_a_report_is_none() -> None:
    """No line, no claim: the worker's own measurement then stands."""
    assert parse_report(b"START RequestId: 1\nREPORT nothing") is None


@pytest.mark.parametrize(
    ("status", "code", "expected", "retryable"),
    [
        (429, "TooManyRequestsException", Throttled, True),
        (400, "ThrottlingException", Throttled, True),
        (502, "EC2ThrottledException", Throttled, True),
        (413, "RequestTooLargeException", PayloadTooLarge, False),
        (404, "ResourceNotFoundException", ProviderDown, False),
        (403, "AccessDeniedException", Unauthorized, False),
        (403, "UnrecognizedClientException", Unauthorized, False),
        (403, "ExpiredTokenException", Unauthorized, False),
        (400, "IncompleteSignature", Unauthorized, False),
        (400, "InvalidParameterValueException", ProviderDown, False),
        (500, "ServiceException", ProviderDown, True),
    ],
)
def test_a_refused_invoke(status: int, code: str, expected: type[ProviderError], retryable: bool) -> None:
    """Nothing ran, so nothing is billed; only what may change by itself is tried again."""
    response: Any = {
        "Error": {"Code": code, "Message": "as AWS says"},
        "ResponseMetadata": {"HTTPStatusCode": status},
        "Reason": "ConcurrentInvocationLimitExceeded",
    }
    error = from_boto(exceptions.ClientError(response, "Invoke"), "f")
    assert type(error) is expected
    assert (error.retryable, error.billed) == (retryable, False)
    if expected is Throttled:
        assert "ConcurrentInvocationLimitExceeded" in str(error)


@pytest.mark.parametrize(
    ("raised", "expected", "billed"),
    [
        (exceptions.ReadTimeoutError(endpoint_url="u"), TimedOut, True),
        (exceptions.ConnectTimeoutError(endpoint_url="u"), ProviderDown, False),
        (exceptions.EndpointConnectionError(endpoint_url="u"), ProviderDown, False),
        (exceptions.ConnectionClosedError(endpoint_url="u"), ProviderDown, True),
        (exceptions.NoCredentialsError(), Unauthorized, False),
    ],
)
def test_an_invoke_without_an_answer(raised: Exception, expected: type[ProviderError], billed: bool) -> None:
    """What may have reached the function counts as billed."""
    error = from_boto(raised, "f")
    assert type(error) is expected
    assert error.billed is billed


@pytest.mark.parametrize(
    ("kind", "message", "expected", "retryable"),
    [
        ("Sandbox.Timedout", "RequestId: 1 Error: Task timed out after 3.00 seconds", TimedOut, True),
        ("", "2026-11-24T05:46:00.000Z 1 Task timed out after 3.00 seconds", TimedOut, True),
        ("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: exit status 124", TimedOut, True),
        ("Function.ResponseSizeTooLarge", "Response payload size exceeded", PayloadTooLarge, False),
        ("Runtime.OutOfMemory", "RequestId: 1 Error: Runtime exited with error: signal: killed", OutOfMemory, True),
        ("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: exit status 1", ProviderDown, True),
        ("Runtime.ExitError", "RequestId: 1 Error: Runtime exited with error: signal: killed", ProviderDown, True),
        ("Runtime.ImportModuleError", "Unable to import module 'cloudoffload'", ProviderDown, False),
        ("BadSignature", "not the key", Unauthorized, False),
        ("Expired", "too old", ProviderDown, False),
        ("Corrupt", "wrong layout", ProviderDown, False),
        ("KeyError", "'envelope'", ProviderDown, True),
    ],
)
def test_a_function_that_did_not_return(
    kind: str, message: str, expected: type[ProviderError], retryable: bool
) -> None:
    """It ran, so it is billed; what a new try can't change is not tried again."""
    payload = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    error = from_function(payload, Report("1", 10, 10, memory_mb=128, peak_memory_mb=60), "f")
    assert type(error) is expected
    assert (error.retryable, error.billed) == (retryable, True)


def test_a_kill_at_the_limit_is_out_of_memory() -> None:
    """A killed function whose memory was full was killed for it, although Lambda says no more than 'killed'."""
    payload = b'{"errorType": "Runtime.ExitError", "errorMessage": "Runtime exited with error: signal: killed"}'
    error = from_function(payload, Report("1", 10, 10, memory_mb=128, peak_memory_mb=128), "f")
    assert type(error) is OutOfMemory
    assert "128 MB" in str(error)


def test_an_error_without_json_is_still_told() -> None:
    """Whatever a broken function answers ends up in the message."""
    assert "not json" in str(from_function(b"not json", None, "f"))


def test_a_call_over_the_limit_is_not_sent() -> None:
    """The size is known before: no request is made, nothing is billed."""
    aws = provider(card=replace(CARD, request_bytes=400))
    with pytest.raises(PayloadTooLarge, match="accepts 400") as caught:
        aws.invoke(CALL, Event())
    assert caught.value.billed is False


def test_an_unreachable_endpoint_is_down() -> None:
    """Nobody listens: another try, or another provider, may do."""
    with pytest.raises(ProviderDown, match="can't be reached") as caught:
        provider().invoke(CALL, Event())
    assert (caught.value.retryable, caught.value.billed) == (True, False)


def test_no_secret_is_shown() -> None:
    """A repr in a log or a notebook holds neither key."""
    shown = repr(provider())
    assert "'f'" in shown
    assert "hidden-secret" not in shown
    assert "AKIAKNOWN" not in shown


def test_closing_twice_is_harmless() -> None:
    """A Session may close what its user closed already."""
    aws = provider()
    aws.close()
    aws.close()


def test_without_boto3_the_extra_is_named() -> None:
    """The module can be imported without the AWS SDK; making a provider says how to get it."""
    code = """
import sys
sys.modules["boto3"] = None  # as if it were not installed
from cloudoffload.providers.aws_lambda import AwsLambda
from cloudoffload.providers.rates import load
AwsLambda("f", card=load("aws"), region="us-east-1", memory_mb=128)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "SettingsError" in done.stderr
    assert "pip install 'cloudoffload[aws]'" in done.stderr
