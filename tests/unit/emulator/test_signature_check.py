"""The emulated Lambda runs only what its account's key has signed."""

from __future__ import annotations

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from multidict import CIMultiDict

from cloudoffload.emulator.signature import Verifier

URL = "http://127.0.0.1:9/2015-03-31/functions/f/invocations"
VERIFIER = Verifier("AKIAEXAMPLE", "right")


def signed(secret: str = "right", key: str = "AKIAEXAMPLE", body: bytes = b"{}") -> CIMultiDict[str]:
    """Headers of a request as botocore signs it."""
    request = AWSRequest("POST", URL, headers={"X-Amz-Log-Type": "Tail"}, data=body)
    SigV4Auth(Credentials(key, secret), "lambda", "us-east-1").add_auth(request)
    return CIMultiDict(request.headers.items())


def test_a_request_signed_by_the_key_is_accepted() -> None:
    """What botocore signs with the right secret is authentic."""
    assert VERIFIER.refusal("POST", URL, signed(), b"{}") is None


@pytest.mark.parametrize(
    ("headers", "body", "code"),
    [
        (signed(secret="wrong"), b"{}", "InvalidSignatureException"),
        (signed(), b'{"altered": 1}', "InvalidSignatureException"),
        (CIMultiDict({**signed(), "X-Amz-Log-Type": "None"}), b"{}", "InvalidSignatureException"),
        (signed(key="AKIAOTHER"), b"{}", "UnrecognizedClientException"),
        (CIMultiDict(), b"{}", "MissingAuthenticationTokenException"),
    ],
)
def test_anything_else_is_refused_as_lambda_refuses_it(headers: CIMultiDict[str], body: bytes, code: str) -> None:
    """A wrong secret, another key, no signature or an altered request is not run."""
    refusal = VERIFIER.refusal("POST", URL, headers, body)
    assert refusal is not None
    assert refusal.code == code


def test_the_secret_is_not_shown() -> None:
    """A repr in a log gives nothing away."""
    assert "right" not in repr(VERIFIER)
