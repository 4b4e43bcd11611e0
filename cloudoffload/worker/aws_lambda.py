"""The handler that AWS's Python runtime calls: an envelope in, an outcome back."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Mapping
from functools import cache
from typing import Protocol

from cloudoffload.worker.deadline import EXIT_STATUS
from cloudoffload.worker.run import answer, must_end

PUBLIC_KEYS = "CLOUDOFFLOAD_PUBLIC_KEYS"
"""Environment variable: a JSON object of key ids and base64 raw Ed25519 public keys, whose calls are run."""


class Context(Protocol):
    """What the runtime tells about one invocation (AWS Lambda developer guide, "Lambda context object in Python")."""

    log_stream_name: str

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function is killed."""
        ...


def handler(event: Mapping[str, str], context: Context) -> dict[str, str]:
    """Run one call.

    Parameters
    ----------
    event : mapping
        ``{"envelope": base64 of the signed call}``.
    context : Context
        Given by the runtime.

    Returns
    -------
    dict
        ``{"outcome": base64 of the authenticated outcome}``.

    Raises
    ------
    WireError
        The call must not be trusted; nothing of it was run. The runtime reports it as the function's error.
    """
    outcome = answer(
        base64.b64decode(event["envelope"], validate=True),
        _public_keys(),
        remaining_seconds=context.get_remaining_time_in_millis() / 1000,
        worker=context.log_stream_name,
    )
    if must_end():
        # The environment would be used again. What was done is lost with it, and done once more by the next try.
        os._exit(EXIT_STATUS)
    return {"outcome": base64.b64encode(outcome).decode("ascii")}


@cache
def _public_keys() -> dict[str, bytes]:
    return {name: base64.b64decode(key) for name, key in json.loads(os.environ[PUBLIC_KEYS]).items()}
