"""What each failure of an Invoke means to the loop: may it be tried again, and does it cost money?

Codes are those of the AWS Lambda API reference (Invoke, Errors) and of its runtimes.
"""

from __future__ import annotations

import json
from typing import Any

from cloudoffload.errors import (
    OutOfMemory,
    PayloadTooLarge,
    ProviderDown,
    ProviderError,
    Throttled,
    TimedOut,
    Unauthorized,
)
from cloudoffload.providers.lambda_report import Report
from cloudoffload.worker.deadline import EXIT_STATUS

UNAUTHORIZED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidSignatureException",
        "MissingAuthenticationTokenException",
        "UnrecognizedClientException",
    }
)
BROKEN_DEPLOYMENT = frozenset(
    {
        "Runtime.BuiltInModuleConflict",
        "Runtime.HandlerNotFound",
        "Runtime.ImportModuleError",
        "Runtime.InvalidEntrypoint",
        "Runtime.MalformedHandlerName",
        "Runtime.UserCodeSyntaxError",
    }
)


def from_boto(error: Exception, function: str) -> ProviderError:
    """The error for an Invoke that was refused, or that got no answer.

    Parameters
    ----------
    error : Exception
        What boto3 raised.
    function : str
        Name of the function, for the message.
    """
    from botocore import exceptions

    if isinstance(error, exceptions.ClientError):
        return _refused(error.response, function)
    if isinstance(error, exceptions.ReadTimeoutError):
        return TimedOut(f"function {function!r} did not answer before the connection's time was over")
    if isinstance(
        error,
        (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.TokenRetrievalError,
            exceptions.ProfileNotFound,
        ),
    ):
        return Unauthorized(f"no usable AWS credentials: {error}")
    # A connection that broke may have carried the request: whoever counts money must assume that it ran.
    broke = isinstance(error, (exceptions.ConnectionClosedError, exceptions.ResponseStreamingError))
    return ProviderDown(f"Lambda can't be reached: {error}", billed=broke)


def from_function(payload: bytes, report: Report | None, function: str) -> ProviderError:
    """The error for an Invoke that Lambda answered with ``FunctionError``: the function did not return.

    Parameters
    ----------
    payload : bytes
        JSON with ``errorType`` and ``errorMessage``.
    report : Report or None
        What the invocation used.
    function : str
        Name of the function, for the message.
    """
    error = _of_function(payload, report, function)
    if report is not None and error.billed:
        error.billed_seconds = report.billed_seconds
    return error


def _of_function(payload: bytes, report: Report | None, function: str) -> ProviderError:
    kind, message = _error_of(payload)
    said = f"function {function!r}: {message}"
    if kind == "Sandbox.Timedout" or "Task timed out after" in message:
        return TimedOut(said)
    if kind == "Runtime.ExitError" and message.endswith(f"exit status {EXIT_STATUS}"):
        return TimedOut(f"function {function!r} ended itself: the call's deadline had passed")
    if kind == "Function.ResponseSizeTooLarge":
        return PayloadTooLarge(said, billed=True)
    full = report is not None and report.peak_memory_mb >= report.memory_mb
    if kind == "Runtime.OutOfMemory" or ("signal: killed" in message and full):
        size = f" ({report.memory_mb} MB)" if report is not None else ""
        return OutOfMemory(f"function {function!r} was killed for its memory{size}")
    if kind == "BadSignature":
        return Unauthorized(
            f"{said} It does not know this run's key: deploy again with the key of this session", billed=True
        )
    if kind in ("Expired", "Corrupt", "WireError"):
        return ProviderDown(f"{said} The function refused the call", retryable=False, billed=True)
    if kind in BROKEN_DEPLOYMENT:
        return ProviderDown(f"{said}. Its package is incomplete: deploy again", retryable=False, billed=True)
    return ProviderDown(f"{said} ({kind})", billed=True)


def _refused(response: Any, function: str) -> ProviderError:
    code = response.get("Error", {}).get("Code", "")
    message = response.get("Error", {}).get("Message", "") or response.get("message", "")
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status == 429 or code in ("ThrottlingException", "EC2ThrottledException"):
        reason = response.get("Reason", "")
        return Throttled(f"function {function!r} is at its limit of calls: {reason or message or code}")
    if status == 413 or code == "RequestTooLargeException":
        return PayloadTooLarge(f"function {function!r}: {message}")
    if code == "ResourceNotFoundException":
        return ProviderDown(f"not deployed: {message or function}", retryable=False)
    if status in (401, 403) or code in UNAUTHORIZED:
        return Unauthorized(f"AWS refused the call ({code}): {message}")
    return ProviderDown(f"Lambda answered {status} {code}: {message}", retryable=status >= 500)


def _error_of(payload: bytes) -> tuple[str, str]:
    try:
        fields = json.loads(payload)
        return str(fields.get("errorType", "")), str(fields.get("errorMessage", ""))
    except (ValueError, AttributeError):
        return "", payload[:300].decode(errors="replace")
