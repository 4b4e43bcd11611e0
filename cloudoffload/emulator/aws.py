"""AWS on this machine: Lambda around AWS's own runtime client, and S3, STS and IAM by moto."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import secrets
import shutil
import string
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from cloudoffload.emulator.function import FunctionSettings
from cloudoffload.emulator.lifecycle import PACKAGE_ROOT, Service
from cloudoffload.errors import EmulatorError

if TYPE_CHECKING:
    import boto3

START_SECONDS = 60.0
HANDLER = "cloudoffload.worker.aws_lambda.handler"
NEEDED = ("aiohttp", "awslambdaric", "boto3", "moto", "werkzeug")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A throw-away key pair that opens the emulated cloud and nothing else."""

    access_key: str
    secret_key: str = field(repr=False)


class EmulatedAws:
    """One function and one bucket, behind the protocols of AWS; ends with the process that started it.

    Parameters
    ----------
    public_keys : mapping of str to bytes
        Keys whose calls the function runs: key id to raw Ed25519 public key.
    memory_mb : int
        Memory of an execution environment, MB; a function that holds more is killed.
    timeout : float
        Longest invocation, seconds; one that takes longer is killed.
    concurrency : int, optional
        Environments at once; more invocations are refused with status 429. Default: processors, at least 2.
    environment : mapping of str to str, optional
        Further environment variables of the function.
    handler : str
        What the function runs, ``"module.function"``.
    task_root : Path, optional
        Folder of the function's code, first on its import path. Default: where this package lies.

    Attributes
    ----------
    region, bucket, function : str
        Names in the emulated account.
    credentials : Credentials
        What its caller signs with.
    """

    region = "us-east-1"
    bucket = "cloudoffload"
    function = "cloudoffload"

    def __init__(
        self,
        *,
        public_keys: Mapping[str, bytes],
        memory_mb: int = 1769,
        timeout: float = 900,
        concurrency: int | None = None,
        environment: Mapping[str, str] | None = None,
        handler: str = HANDLER,
        task_root: Path | None = None,
    ) -> None:
        self.credentials = _throw_away("AKIA")
        self.memory_mb = memory_mb
        self.timeout = timeout
        self.concurrency = concurrency or max(2, os.cpu_count() or 2)
        self._public_keys = dict(public_keys)
        self._environment = dict(environment or {})
        self._handler = handler
        self._task_root = (task_root or PACKAGE_ROOT).resolve()
        self._scratch: Path | None = None
        self._front: Service | None = None
        self._storage: Service | None = None

    def __repr__(self) -> str:
        state = f"lambda {self.lambda_url}, s3 {self.s3_url}" if self._front else "not started"
        return f"<EmulatedAws {self.memory_mb} MB x {self.concurrency}, {state}>"

    @property
    def lambda_url(self) -> str:
        """Endpoint of Lambda's Invoke API."""
        return self._running(self._front).url

    @property
    def s3_url(self) -> str:
        """Endpoint of S3, STS and IAM."""
        return self._running(self._storage).url

    @property
    def store_url(self) -> str:
        """URL of the bucket."""
        return f"s3://{self.bucket}"

    @property
    def store_options(self) -> dict[str, str]:
        """How obstore opens the bucket; holds the throw-away secret."""
        return {
            "access_key_id": self.credentials.access_key,
            "secret_access_key": self.credentials.secret_key,
            "region": self.region,
            "endpoint": self.s3_url,
            "allow_http": "true",
        }

    def client_environment(self) -> dict[str, str]:
        """Environment variables with which any AWS client of the user talks to the emulated account."""
        return {
            "AWS_ACCESS_KEY_ID": self.credentials.access_key,
            "AWS_SECRET_ACCESS_KEY": self.credentials.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.s3_url,
            "AWS_ENDPOINT_URL_LAMBDA": self.lambda_url,
            "AWS_ALLOW_HTTP": "true",  # obstore and other clients built on object_store refuse plain HTTP otherwise
        }

    def boto3_session(self) -> boto3.Session:
        """Session with the throw-away credentials; its clients still need ``endpoint_url``."""
        import boto3

        return boto3.Session(
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            region_name=self.region,
        )

    def start(self) -> EmulatedAws:
        """Start the processes; returns when functions can be invoked and the bucket is there.

        Raises
        ------
        EmulatorError
            A package is missing, or a process did not start; the message says what to do or what it said.
        """
        if self._front is not None:
            return self
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise EmulatorError(
                f"the emulated AWS needs {', '.join(missing)}: run pip install 'cloudoffload[emulate]' and start again"
            )
        self._scratch = Path(tempfile.mkdtemp(prefix="cloudoffload-aws-"))
        self._storage = Service("cloudoffload.emulator.storage", self._scratch / "storage")
        self._front = Service("cloudoffload.emulator.lambda_front", self._scratch / "lambda")
        try:
            self._storage.launch({})
            self._front.launch(self._front_settings())
            self._storage.wait_ready(START_SECONDS)
            self._create_bucket()
            self._front.wait_ready(START_SECONDS)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End every process and delete what they wrote; harmless when called twice."""
        services = [service for service in (self._front, self._storage) if service is not None]
        for service in services:
            service.request_stop()
        for service in services:
            service.stop()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._front = self._storage = self._scratch = None

    def log_tail(self, lines: int = 50) -> str:
        """Last lines that functions, and the processes around them, wrote."""
        return self._running(self._front).log_tail(lines)

    def __enter__(self) -> EmulatedAws:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _create_bucket(self) -> None:
        from botocore.config import Config

        # The user's proxy does not lead to this machine.
        client = self.boto3_session().client("s3", endpoint_url=self.s3_url, config=Config(proxies={}))
        client.create_bucket(Bucket=self.bucket)
        client.close()

    def _front_settings(self) -> dict[str, object]:
        role = _throw_away("ASIA")
        keys = {name: base64.b64encode(key).decode() for name, key in self._public_keys.items()}
        settings = FunctionSettings(
            name=self.function,
            handler=self._handler,
            task_root=str(self._task_root),
            memory_mb=self.memory_mb,
            timeout=self.timeout,
            concurrency=self.concurrency,
            region=self.region,
            storage_url=self.s3_url,
            role={
                "AWS_ACCESS_KEY_ID": role.access_key,
                "AWS_SECRET_ACCESS_KEY": role.secret_key,
                "AWS_SESSION_TOKEN": secrets.token_urlsafe(64),
            },
            environment={**self._environment, "CLOUDOFFLOAD_PUBLIC_KEYS": json.dumps(keys)},
        )
        return {
            "function": settings.to_dict(),
            "access_key": self.credentials.access_key,
            "secret_key": self.credentials.secret_key,
        }

    def _running(self, service: Service | None) -> Service:
        if service is None:
            raise EmulatorError("the emulated AWS is not running: call start(), or use it in a with block")
        return service


def _throw_away(prefix: str) -> Credentials:
    """A key pair in the shape of AWS's own, so that clients which check the shape accept it."""
    alphabet = string.ascii_uppercase + "234567"
    return Credentials(prefix + "".join(secrets.choice(alphabet) for _ in range(16)), secrets.token_urlsafe(30))
