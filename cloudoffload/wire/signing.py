"""Ed25519 signatures: the client signs, workers hold only public keys."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import blake3
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from cloudoffload.errors import BadSignature
from cloudoffload.interfaces import Buffer

SIGNATURE_BYTES = 64


class Signer:
    """A private key that never leaves the client."""

    def __init__(self) -> None:
        self._private = Ed25519PrivateKey.generate()
        self.public_key = self._private.public_key().public_bytes_raw()
        self.key_id = blake3.blake3(self.public_key).hexdigest(8)

    def sign(self, message: bytes) -> bytes:
        """Signature of a message, 64 bytes."""
        return self._private.sign(message)

    @property
    def public_keys(self) -> Mapping[str, bytes]:
        """What a worker must know: key id to raw public key."""
        return {self.key_id: self.public_key}


def verify_signature(public_key: bytes | None, message: Buffer, signature: Buffer) -> None:
    """Raise :class:`~cloudoffload.errors.BadSignature` unless the key signed exactly this message."""
    if public_key is None:
        raise BadSignature("the call is signed by a key that this worker does not know; deploy or start it again")
    try:
        _loaded(public_key).verify(bytes(signature), bytes(message))
    except InvalidSignature as error:
        raise BadSignature("the call's signature is wrong: it was altered, or another key signed it") from error


@lru_cache(maxsize=16)
def _loaded(public_key: bytes) -> Ed25519PublicKey:
    """The key, ready to use: a worker checks call after call with the same one."""
    return Ed25519PublicKey.from_public_bytes(public_key)
