"""Check of AWS Signature Version 4, so that wrong credentials fail on the emulated cloud as they do on the real one."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, *"
    r"SignedHeaders=(?P<signed>[^,]+), *Signature=(?P<signature>[0-9a-f]{64})"
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not authentic, in Lambda's words; all of them answer status 403."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Verifier:
    """Knows the one access key that may call."""

    access_key: str
    secret_key: str = field(repr=False)

    def refusal(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Refusal | None:
        """None when the request is signed by the key.

        Parameters
        ----------
        method, url : str
            As the client sent them; the host of the URL is signed too.
        headers : mapping
            Names must be found whatever their case.
        body : bytes
            The payload.
        """
        found = AUTHORIZATION.fullmatch(headers.get("Authorization", ""))
        if found is None:
            return Refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
        if found["key"] != self.access_key:
            return Refusal("UnrecognizedClientException", "The security token included in the request is invalid.")
        signed = {name: headers.get(name, "") for name in found["signed"].split(";") if name != "host"}
        request = AWSRequest(method, url, headers=signed, data=body)
        request.context["timestamp"] = headers.get("X-Amz-Date", "")
        auth = SigV4Auth(Credentials(self.access_key, self.secret_key), found["service"], found["region"])
        expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        if not hmac.compare_digest(expected, found["signature"]):
            return Refusal(
                "InvalidSignatureException",
                "The request signature we calculated does not match the signature you provided. "
                "Check your AWS Secret Access Key and signing method.",
            )
        return None
