"""Digests of stored bytes: one byte that names the algorithm, then the digest."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

import blake3
import xxhash

from cloudoffload.errors import Corrupt
from cloudoffload.interfaces import Buffer

BLAKE3 = b"b"
"""Cryptographic, 32 bytes: whoever can write the bucket can't pass off other bytes."""

XXH3 = b"x"
"""Fast, 16 bytes: finds accidents, for private folders of this machine only."""


def digest(pieces: Iterable[Buffer], algorithm: bytes = BLAKE3) -> bytes:
    """Digest of pieces laid end to end.

    Parameters
    ----------
    pieces : iterable of bytes-like
        Contiguous buffers.
    algorithm : bytes
        :data:`BLAKE3` or :data:`XXH3`.
    """
    state = blake3.blake3() if algorithm == BLAKE3 else xxhash.xxh3_128()
    for piece in pieces:
        state.update(piece)
    return algorithm + state.digest()


def verify(data: Buffer, expected: bytes, what: str) -> None:
    """Raise :class:`~cloudoffload.errors.Corrupt` unless ``data`` has the digest ``expected``."""
    algorithm = expected[:1]
    if algorithm not in (BLAKE3, XXH3) or not hmac.compare_digest(digest((data,), algorithm), expected):
        raise Corrupt(f"{what} does not have the digest that its reference names; it was altered or cut short")
