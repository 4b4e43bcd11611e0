"""Refs as plain lists, the form in which messages and barriers carry them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cloudoffload.errors import Corrupt
from cloudoffload.types import Ref


def is_key(key: str) -> bool:
    """Whether a text is a key that every store takes: names divided by single slashes, none of them ``.`` or ``..``."""
    return "\0" not in key and not any(name in ("", ".", "..") for name in key.split("/"))


def pack(ref: Ref) -> list[Any]:
    """Ref as a list of plain values."""
    offset, length = ref.span
    return [ref.store, ref.key, offset, length, ref.nbytes, ref.digest, ref.parted, ref.part, ref.data]


def unpack(fields: Sequence[Any]) -> Ref:
    """Ref of its list.

    Raises
    ------
    Corrupt
        A field has the wrong type, or the span makes no sense.
    """
    try:
        store, key, offset, length, nbytes, digest, parted, part, data = fields
    except (TypeError, ValueError) as error:
        raise Corrupt("a reference does not have nine fields") from error
    numbers = offset, length, nbytes
    if not all(type(number) is int and 0 <= number < 1 << 48 for number in numbers):
        raise Corrupt("a reference names an impossible span")
    if not (type(store) is type(key) is str and type(digest) is bytes and type(parted) is bool):
        raise Corrupt("a reference has a field of the wrong type")
    if not (part is None or type(part) in (int, str)) or not (data is None or type(data) is bytes):
        raise Corrupt("a reference has a field of the wrong type")
    if store and not is_key(key):
        raise Corrupt("a reference names a key outside its store")
    return Ref(store, key, (offset, length), nbytes, digest, parted, part, data)
