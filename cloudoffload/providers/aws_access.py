"""Short-lived credentials of one run, limited to its prefix in the bucket."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from typing import Any

from cloudoffload.errors import Unauthorized

LIFETIME = 3600
"""Seconds that a credential lives; one hour is the most that a chained role allows."""

RENEW_BEFORE = 1200
"""Seconds before its end at which a credential is replaced: longer than any function may run."""


def session_policy(bucket: str, prefix: str) -> dict[str, Any]:
    """IAM policy that allows reading, writing and deleting below one prefix of one bucket, and nothing else.

    A session policy never grants more than the role that it is applied to.
    """
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
                "Resource": f"arn:aws:s3:::{bucket}/{prefix}*",
            },
        ],
    }


class RunCredentials:
    """Gets a credential by ``sts:AssumeRole`` with a session policy, and a new one before it ends; thread-safe.

    Parameters
    ----------
    sts : botocore client
        STS of the account.
    role : str
        ARN of the role that may use the bucket.
    bucket, prefix : str
        What the credential is limited to.
    run : str
        Names the role session, so that the account's audit log names the run.
    options : mapping of str to str
        obstore's options of the bucket beside the credential: region, endpoint.
    """

    def __init__(self, sts: Any, *, role: str, bucket: str, prefix: str, run: str, options: Mapping[str, str]) -> None:
        self._sts = sts
        self._role = role
        self._policy = json.dumps(session_policy(bucket, prefix))
        self._run = run
        self._base = dict(options)
        self._lock = threading.Lock()
        self._options: dict[str, str] = {}
        self._renew_at = 0.0

    def options(self) -> Mapping[str, str]:
        """obstore's options with a credential that outlives any call sent now.

        Raises
        ------
        Unauthorized
            STS refused; the message names the role.
        """
        with self._lock:
            if time.monotonic() >= self._renew_at:
                self._options = {**self._base, **self._assume()}
                self._renew_at = time.monotonic() + LIFETIME - RENEW_BEFORE
            return self._options

    def _assume(self) -> dict[str, str]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._sts.assume_role(
                RoleArn=self._role,
                RoleSessionName=f"cloudoffload-{self._run}"[:64],
                Policy=self._policy,
                DurationSeconds=LIFETIME,
            )["Credentials"]
        except (BotoCoreError, ClientError) as error:
            raise Unauthorized(f"AWS gave no credential for role {self._role}: {error}") from error
        return {
            "access_key_id": answer["AccessKeyId"],
            "secret_access_key": answer["SecretAccessKey"],
            "token": answer["SessionToken"],
        }
