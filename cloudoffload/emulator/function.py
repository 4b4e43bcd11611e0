"""What a deployed function is: its limits, and the environment variables that Lambda gives it."""

from __future__ import annotations

import dataclasses
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cloudoffload.emulator.lifecycle import PACKAGE_ROOT

ACCOUNT = "123456789012"
REQUEST_BYTES = 6 * 1024 * 1024
"""Largest request of a synchronous invocation, bytes (AWS Lambda quotas, November 2026)."""
RESPONSE_BYTES = 6_291_556
"""Largest response of a synchronous invocation, bytes, as AWS's own error message names it."""
INIT_SECONDS = 10.0
"""How long an environment may start before the wait counts as part of the invocation (AWS Lambda runtime guide)."""
MB_PER_VCPU = 1769
"""Memory that brings one vCPU (AWS Lambda quotas, November 2026)."""


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """One function, as its front runs it."""

    name: str
    handler: str  # "module.function"
    task_root: str  # folder of the function's code
    memory_mb: int
    timeout: float  # seconds
    concurrency: int  # environments at once
    region: str
    storage_url: str  # where its S3, STS and IAM answer
    role: Mapping[str, str] = field(repr=False)  # credentials of its execution role, as environment variables
    environment: Mapping[str, str] = field(default_factory=dict)  # variables set by the deployer

    @property
    def arn(self) -> str:
        """Amazon's name of the function."""
        return f"arn:aws:lambda:{self.region}:{ACCOUNT}:function:{self.name}"

    def variables(self, runtime_api: str, log_stream: str, scratch: Path) -> dict[str, str]:
        """Environment variables of one execution environment.

        Only what Lambda gives, but for a home and a temporary folder inside ``scratch``: the function must see neither
        the user's files nor the user's configuration of AWS.

        Parameters
        ----------
        runtime_api : str
            Host and port of the Runtime API.
        log_stream : str
            Name that stands for the environment in logs.
        scratch : Path
            Folder that is deleted with the environment.
        """
        vcpus = str(math.ceil(self.memory_mb / MB_PER_VCPU))
        return {
            "OMP_NUM_THREADS": vcpus,
            **self.environment,
            **self.role,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.storage_url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_python{sys.version_info.major}.{sys.version_info.minor}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(self.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": self.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{self.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
            "AWS_LAMBDA_RUNTIME_API": runtime_api,
            "AWS_REGION": self.region,
            "HOME": str(scratch),
            "LAMBDA_TASK_ROOT": self.task_root,
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "PYTHONPATH": os.pathsep.join(dict.fromkeys((self.task_root, str(PACKAGE_ROOT)))),
            "TMPDIR": str(scratch),
            "TZ": ":UTC",
            "_HANDLER": self.handler,
        }

    def to_dict(self) -> dict[str, object]:
        """Plain data, from which ``FunctionSettings(**data)`` makes it again."""
        return dataclasses.asdict(self)
