"""The emulated AWS enforces what AWS enforces: real boto3, real awslambdaric, real S3 requests."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from cloudoffload.emulator.aws import EmulatedAws
from cloudoffload.providers.lambda_report import Report, parse_report
from cloudoffload.store import open_store
from cloudoffload.types import StoreAccess

CODE = Path(__file__).parent / "lambda_function"


@pytest.fixture(scope="module")
def aws() -> Iterator[EmulatedAws]:
    """A small function: 128 MB, 4 seconds, 2 environments; started by a user who keeps a secret."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MY_OWN_SECRET", "stays here")
        cloud = EmulatedAws(
            public_keys={},
            memory_mb=128,
            timeout=4,
            concurrency=2,
            environment={"CHOSEN": "by the deployer"},
            handler="function.handler",
            task_root=CODE,
        ).start()
    yield cloud
    cloud.stop()


@cache
def client(aws: EmulatedAws) -> Any:
    """Plain boto3, which tries once: one invocation here is one invocation there."""
    config = Config(retries={"total_max_attempts": 1})
    return aws.boto3_session().client("lambda", endpoint_url=aws.lambda_url, config=config)


def invoke(aws: EmulatedAws, **event: Any) -> tuple[Any, str, Report]:
    """Invoke by plain boto3: what the function answered, FunctionError, and the REPORT line."""
    response = client(aws).invoke(FunctionName=aws.function, Payload=json.dumps(event), LogType="Tail")
    report = parse_report(base64.b64decode(response["LogResult"]))
    assert report is not None
    return json.loads(response["Payload"].read()), response.get("FunctionError", ""), report


def until_lines(mark: Path, count: int) -> list[str]:
    """Lines of a file once there are so many; generous, because only a hang should fail."""
    for _ in range(600):
        if mark.exists() and len(lines := mark.read_text().split()) >= count:
            return lines
        time.sleep(0.05)
    raise AssertionError(f"{mark.name} did not get {count} lines")


def test_an_environment_is_reused_and_only_its_start_is_charged_once() -> None:
    """The first invocation starts a process and pays for that; the next ones find it warm."""
    code = Path(os.path.relpath(CODE))  # a folder may be named from where the user stands
    with EmulatedAws(public_keys={}, handler="function.handler", task_root=code) as cloud:
        first, _, cold = invoke(cloud)
        second, _, warm = invoke(cloud)
    assert (first["served"], second["served"]) == (1, 2)
    assert first["pid"] == second["pid"]
    assert cold.init_ms > 0
    assert cold.billed_ms >= cold.duration_ms + cold.init_ms
    assert warm.init_ms == 0


def test_billed_milliseconds_are_whole(aws: EmulatedAws) -> None:
    """A warm invocation is billed its duration, up to the next millisecond."""
    invoke(aws)
    _, _, report = invoke(aws)
    assert 0 <= report.billed_ms - report.duration_ms < 1
    assert (report.memory_mb, report.peak_memory_mb > 0) == (128, True)


def test_the_log_tail_holds_what_the_function_printed(aws: EmulatedAws) -> None:
    """Only the output of this invocation, between START and END; the process's log keeps it for diagnosis."""
    invoke(aws)
    response = client(aws).invoke(FunctionName=aws.function, Payload=b"{}", LogType="Tail")
    number = json.loads(response["Payload"].read())["served"]
    log = base64.b64decode(response["LogResult"]).decode()
    assert log.startswith("START RequestId: ")
    assert log.split("END RequestId")[0].count("served") == 1
    assert f"\nserved {number}\nEND RequestId" in log
    assert "served" in aws.log_tail()


def test_the_function_sees_what_lambda_gives_and_nothing_of_this_machine(aws: EmulatedAws) -> None:
    """Variables of Lambda and of the deployer, a role's credentials, the emulated S3; none of the user's own."""
    seen, _, _ = invoke(aws)
    variables = seen["variables"]
    assert variables["CHOSEN"] == "by the deployer"
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "128"
    assert variables["AWS_ENDPOINT_URL"] == aws.s3_url
    assert variables["AWS_SECRET_ACCESS_KEY"] != aws.credentials.secret_key
    assert variables["HOME"] == variables["TMPDIR"] == seen["cwd"]
    assert "MY_OWN_SECRET" not in variables
    assert 0 < seen["remaining"] <= 4000
    assert seen["arn"].endswith(":function:cloudoffload")


def test_an_exception_of_the_function(aws: EmulatedAws) -> None:
    """Answered with status 200 and FunctionError; the environment stays warm."""
    before, _, _ = invoke(aws)
    answer, error, _ = invoke(aws, **{"raise": True})
    after, _, _ = invoke(aws)
    assert (error, answer["errorType"], answer["errorMessage"]) == ("Unhandled", "ValueError", "of the function")
    assert before["pid"] == after["pid"]


def test_a_broken_package_fails_with_the_runtimes_reason() -> None:
    """A handler that can't be imported fails each invocation, and says which module is missing."""
    with EmulatedAws(public_keys={}, handler="broken.handler", task_root=CODE) as cloud:
        for answer, error, _ in [invoke(cloud) for _ in range(6)]:
            assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ImportModuleError")
            assert "a_package_that_is_not_there" in answer["errorMessage"]


def test_a_timeout_kills_the_environment(aws: EmulatedAws) -> None:
    """A function that takes too long is killed, billed for its whole time, and the next one starts afresh."""
    answer, error, report = invoke(aws, sleep=60)
    assert (error, answer["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    assert "Task timed out after 4.00 seconds" in answer["errorMessage"]
    assert report.duration_ms == 4000
    assert invoke(aws)[0]["served"] == 1


def test_memory_over_the_limit_kills_the_environment(aws: EmulatedAws) -> None:
    """A function that holds more than it was given is killed, and says it was full; less than that is fine."""
    answer, error, report = invoke(aws, hold=400, sleep=60)
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert "signal: killed" in answer["errorMessage"]
    assert report.peak_memory_mb == report.memory_mb == 128
    assert invoke(aws)[0]["served"] == 1


def test_memory_under_the_limit_is_left_alone(aws: EmulatedAws) -> None:
    """A function that holds 64 of its 128 MB answers, and its bill shows them."""
    _, error, report = invoke(aws, hold=64, sleep=0.1)
    assert error == ""
    assert 64 <= report.peak_memory_mb < 128


def test_a_crash_is_told_with_its_exit_status(aws: EmulatedAws) -> None:
    """A process that ends is no answer, whether it reports success or not."""
    answer, error, _ = invoke(aws, exit=3)
    assert (error, answer["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert answer["errorMessage"].endswith("Runtime exited with error: exit status 3")
    assert invoke(aws, exit=0)[0]["errorMessage"].endswith("Runtime exited without providing a reason")


def test_invocations_over_the_concurrency_are_refused(aws: EmulatedAws, tmp_path: Path) -> None:
    """With both environments at work a third invocation gets status 429 with the reason, and does not run."""
    mark, go = tmp_path / "mark", tmp_path / "go"
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(invoke, aws, mark=str(mark), until=str(go)) for _ in range(2)]
        until_lines(mark, 2)
        with pytest.raises(ClientError, match="TooManyRequestsException") as caught:
            invoke(aws, mark=str(mark))
        go.touch()
        assert [future.result()[1] for future in running] == ["", ""]
    response: dict[str, Any] = {**caught.value.response}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert mark.read_text().count("begun") == 2
    assert invoke(aws)[1] == ""


def test_a_request_over_6_mb_is_refused(aws: EmulatedAws) -> None:
    """The largest request that AWS accepts passes, one byte more gets status 413."""
    frame = len(json.dumps({"padding": ""}))
    assert invoke(aws, padding="x" * (6_291_456 - frame))[1] == ""
    with pytest.raises(ClientError, match="RequestTooLargeException") as caught:
        invoke(aws, padding="x" * (6_291_457 - frame))
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413


def test_a_response_over_6_mb_is_refused(aws: EmulatedAws) -> None:
    """The largest answer that AWS accepts passes, one byte more does not; the next invocation is served."""
    assert invoke(aws, answer=6_291_556)[1] == ""
    answer, error, _ = invoke(aws, answer=6_291_557)
    assert (error, answer["errorType"]) == ("Unhandled", "Function.ResponseSizeTooLarge")
    assert invoke(aws)[1] == ""


def test_a_function_answers_to_its_arn(aws: EmulatedAws) -> None:
    """Amazon's long name of the function works like the short one."""
    seen, _, _ = invoke(aws)
    assert "FunctionError" not in client(aws).invoke(FunctionName=seen["arn"], Payload=b"{}")


def test_only_synchronous_invocations_are_emulated(aws: EmulatedAws) -> None:
    """What is not emulated is refused, never taken for done."""
    with pytest.raises(ClientError, match="InvalidParameterValueException"):
        client(aws).invoke(FunctionName=aws.function, InvocationType="Event", Payload=b"{}")


def test_the_bucket_is_there_for_any_client(aws: EmulatedAws, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store, and user code that knows only environment variables, see the same objects."""
    store = open_store(StoreAccess(aws.store_url, aws.store_options))
    assert store.put_if_absent("runs/r1/x", [b"value"]) is True
    assert store.put_if_absent("runs/r1/x", [b"other"]) is False
    for name, value in aws.client_environment().items():
        monkeypatch.setenv(name, value)
    found = boto3.Session().client("s3").get_object(Bucket=aws.bucket, Key="runs/r1/x")
    assert found["Body"].read() == b"value"
    invoked = boto3.Session().client("lambda").invoke(FunctionName=aws.function, Payload=b"{}")
    assert "FunctionError" not in invoked
