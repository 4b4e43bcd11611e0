"""AWS Lambda, called by boto3; the emulated cloud differs by its endpoint only."""

from __future__ import annotations

import base64
import dataclasses
import json
import threading
import time
from dataclasses import dataclass, field
from threading import Event
from typing import TYPE_CHECKING

from cloudoffload.errors import Cancelled, PayloadTooLarge, ProviderDown, SettingsError, TimedOut, WireError
from cloudoffload.providers.lambda_errors import from_boto, from_function
from cloudoffload.providers.lambda_report import Report, parse_report
from cloudoffload.types import Call, Outcome, RateCard, Resources
from cloudoffload.wire.outcome import open_outcome

if TYPE_CHECKING:
    import boto3

LOOK_SECONDS = 0.2
"""How often a waiting call looks whether it was cancelled, seconds."""
CONNECT_SECONDS = 10.0


class AwsLambda:
    """One deployed function in one region; implements :class:`cloudoffload.interfaces.Provider`.

    Parameters
    ----------
    function : str
        Name or ARN of the function.
    card : RateCard
        Prices and limits of the region.
    region : str
        Such as ``"us-east-1"``.
    memory_mb : int
        Memory that the function was deployed with, MB.
    session : boto3.Session, optional
        Where credentials come from. Default: boto3's own search.
    endpoint_url : str, optional
        Where Lambda answers; only for an emulated cloud.
    margin_seconds : float
        How long after a call's own deadline its answer is waited for: the start of an environment is not part of the
        deadline.
    name : str
        The provider's name.

    Raises
    ------
    SettingsError
        boto3 is not installed.
    """

    runs = frozenset({"python"})

    def __init__(
        self,
        function: str,
        *,
        card: RateCard,
        region: str,
        memory_mb: int,
        session: boto3.Session | None = None,
        endpoint_url: str | None = None,
        margin_seconds: float = 30.0,
        name: str = "aws",
    ) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError as error:
            raise SettingsError("provider 'aws' needs boto3: run pip install 'cloudoffload[aws]'") from error
        self.name = name
        self.card = card
        self._function = function
        self._region = region
        self._memory_mb = memory_mb
        self._margin_seconds = margin_seconds
        config = Config(
            # botocore would silently run, and pay, a call again whose answer is late: retries are the loop's.
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=card.max_seconds + margin_seconds,
            tcp_keepalive=True,  # a long call is a silent connection, which gateways cut
            max_pool_connections=card.concurrency,
            proxies={} if endpoint_url else None,  # an emulated cloud is on this machine, where no proxy leads
        )
        self._client = (session or boto3.Session()).client(
            "lambda", region_name=region, endpoint_url=endpoint_url, config=config
        )

    def __repr__(self) -> str:
        return f"AwsLambda({self._function!r}, region={self._region!r}, memory_mb={self._memory_mb})"

    def invoke(self, call: Call, cancelled: Event) -> Outcome:
        """Send one call and wait for its outcome; see :meth:`cloudoffload.interfaces.Provider.invoke`."""
        body = json.dumps({"envelope": base64.b64encode(call.envelope).decode("ascii")}).encode()
        if len(body) > self.card.request_bytes:
            raise PayloadTooLarge(
                f"call {call.id} takes {len(body):,} bytes and {self.name} accepts {self.card.request_bytes:,}"
            )
        sent = _Sent()
        # A thread of its own, because boto3 can't be interrupted: a wait that is given up leaves it to end by itself.
        threading.Thread(target=self._send, args=(body, sent), name=f"invoke {call.id}", daemon=True).start()
        deadline = time.monotonic() + call.seconds + self._margin_seconds
        while not sent.done.wait(LOOK_SECONDS):
            if cancelled.is_set():
                raise Cancelled(
                    f"call {call.id} to {self.name} was cancelled; the function may still run, and be billed"
                )
            if time.monotonic() > deadline:
                raise TimedOut(f"{self.name} did not answer call {call.id} within its {call.seconds:g} seconds")
        if sent.error is not None:
            raise from_boto(sent.error, self._function) from sent.error
        return self._outcome(call, sent)

    def close(self) -> None:
        """Close the connections; harmless when called twice."""
        self._client.close()

    def _send(self, body: bytes, sent: _Sent) -> None:
        try:
            response = self._client.invoke(FunctionName=self._function, Payload=body, LogType="Tail")
            sent.payload = response["Payload"].read()
            sent.function_error = response.get("FunctionError", "")
            sent.report = parse_report(base64.b64decode(response.get("LogResult", "")))
        except Exception as error:  # noqa: BLE001 - it is raised again where the call waits
            sent.error = error
        finally:
            sent.done.set()

    def _outcome(self, call: Call, sent: _Sent) -> Outcome:
        if sent.function_error:
            raise from_function(sent.payload, sent.report, self._function)
        try:
            raw = base64.b64decode(json.loads(sent.payload)["outcome"], validate=True)
            outcome = open_outcome(raw, call)
        except (ValueError, TypeError, KeyError, WireError) as error:
            raise ProviderDown(f"{self.name} answered call {call.id} with nonsense: {error}", billed=True) from error
        return dataclasses.replace(outcome, resources=self._billed(outcome.resources, sent.report))

    def _billed(self, measured: Resources, report: Report | None) -> Resources:
        """What Lambda says it bills outranks what the worker measured."""
        if report is None:
            return dataclasses.replace(measured, memory_mb=self._memory_mb, requests=1)
        return dataclasses.replace(
            measured,
            seconds=report.billed_seconds - report.billed_init_seconds,
            init_seconds=report.billed_init_seconds,
            memory_mb=report.memory_mb,
            peak_memory_mb=float(report.peak_memory_mb),
            requests=1,
        )


@dataclass(slots=True)
class _Sent:
    """One request under way: its thread fills it in and sets ``done`` last."""

    done: Event = field(default_factory=Event)
    payload: bytes = b""
    function_error: str = ""
    report: Report | None = None
    error: Exception | None = None
