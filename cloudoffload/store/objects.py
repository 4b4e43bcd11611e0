"""One store over obstore: memory, S3, GCS and R2 differ by their URL only."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import from_url

from cloudoffload.errors import Corrupt, ObjectMissing, StoreError
from cloudoffload.interfaces import Buffer
from cloudoffload.types import Ref, StoreAccess
from cloudoffload.wire.digest import BLAKE3, verify
from cloudoffload.wire.refs import is_key

_DELETE_BATCH = 1000
_RETRY = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}
_ERRORS = (BaseError, FileNotFoundError)
"""What obstore raises; the latter, and not its own NotFoundError, for an object or a bucket that is not there."""

_OUTSIDE = ("416 Range Not Satisfiable", "Invalid range")
"""How HTTP and memory say that an object ends before the range begins."""

_MULTIPART_FROM = 1 << 30
"""A multipart upload is billed as several requests, and pays only for objects larger than these, bytes."""


@dataclass(slots=True)
class Usage:
    """What a store was used for since it was opened; operations are the ones that a cloud bills."""

    writes: int = 0
    reads: int = 0
    bytes_written: int = 0
    bytes_read: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, writes: int = 0, reads: int = 0, bytes_written: int = 0, bytes_read: int = 0) -> None:
        """Count operations and bytes."""
        with self._lock:
            self.writes += writes
            self.reads += reads
            self.bytes_written += bytes_written
            self.bytes_read += bytes_read

    def read(self) -> tuple[int, int, int, int]:
        """Writes, reads, bytes written and bytes read so far."""
        with self._lock:
            return self.writes, self.reads, self.bytes_written, self.bytes_read


class ObjectStore:
    """A store on object storage; implements :class:`cloudoffload.interfaces.Store`.

    Parameters
    ----------
    access : StoreAccess
        URL (``s3://bucket/prefix``, ``gs://``, ``memory://``) and obstore's options for it.
    """

    algorithm = BLAKE3
    reads_at_once = 16
    """How many reads side by side hide that each waits for the network."""

    lies_in_memory = False
    """Whether its objects take memory of this machine."""

    def __init__(self, access: StoreAccess) -> None:
        self.access = access
        self.url = access.url
        self.usage = Usage()
        self._store = _connect(access)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def put(self, key: str, pieces: Sequence[Buffer]) -> int:
        """Write an object from pieces laid end to end; visible whole or not at all. Returns its bytes."""
        data = _joined(pieces)
        self._put(key, data, mode="overwrite")
        return len(data)

    def put_if_absent(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Write an object unless there is one; False when there was. For content-addressed keys only."""
        try:
            self._put(key, _joined(pieces), mode="create")
        except AlreadyExistsError:
            return False
        return True

    def get(self, ref: Ref) -> memoryview:
        """Bytes of the ref's span, writable, digest verified."""
        data = self.read(ref.key, *ref.span)
        verify(data, ref.digest, f"object {ref.key!r}")
        return data

    def read(self, key: str, offset: int, length: int) -> memoryview:
        """Bytes of a range, writable, not verified.

        Raises
        ------
        ObjectMissing
            There is no such object.
        Corrupt
            The object is shorter, or the range is impossible.
        """
        self._check(key)
        if offset < 0 or length <= 0:
            raise Corrupt(f"no object has {length} bytes at {offset}")
        try:
            data: Any = memoryview(obstore.get_range(self._store, key, start=offset, length=length))
        except FileNotFoundError as error:
            self.usage.add(reads=1)
            raise ObjectMissing(f"object {key!r} is not in {self.url}") from error
        except BaseError as error:
            if any(words in str(error) for words in _OUTSIDE):
                raise _too_short(key) from None
            raise _failed("read", key, self.url, error) from None
        self.usage.add(reads=1, bytes_read=len(data))
        if len(data) != length:
            raise _too_short(key)
        # Users write into what they computed, and the client's buffer must not be changed behind its back.
        return memoryview(bytearray(data))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is missing already is no error."""
        batch = list(keys)
        for key in batch:
            self._check(key)
        for start in range(0, len(batch), _DELETE_BATCH):
            try:
                obstore.delete(self._store, batch[start : start + _DELETE_BATCH])
            except _ERRORS as error:
                raise _failed("delete", batch[start], self.url, error) from None

    def delete_prefix(self, prefix: str) -> int:
        """Delete every object whose key begins with ``prefix``; returns how many."""
        keys = list(self.keys(prefix))
        self.delete(keys)
        return len(keys)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of all objects that begin with a prefix."""
        folder, slash, _ = prefix.rpartition("/")
        if slash:
            self._check(folder)
        try:
            for page in obstore.list(self._store, prefix=folder or None, chunk_size=_DELETE_BATCH):
                self.usage.add(writes=1)  # clouds bill a listing like a write
                yield from (item["path"] for item in page if item["path"].startswith(prefix))
        except _ERRORS as error:
            raise _failed("list", prefix, self.url, error) from None

    def _check(self, key: str) -> None:
        if not is_key(key):
            raise StoreError(f"{key!r} is not a key inside {self.url}")

    def _put(self, key: str, data: bytes, *, mode: Any) -> None:
        self._check(key)
        multipart = mode == "overwrite" and len(data) > _MULTIPART_FROM
        try:
            obstore.put(self._store, key, data, mode=mode, use_multipart=multipart)
        except _ERRORS as error:
            if mode == "create" and isinstance(error, AlreadyExistsError):
                self.usage.add(writes=1)  # a lost conditional write is billed too
                raise
            raise _failed("write", key, self.url, error) from None
        self.usage.add(writes=1, bytes_written=len(data))


def open_store(access: StoreAccess) -> ObjectStore:
    """Open the store of a URL.

    Parameters
    ----------
    access : StoreAccess
        ``s3://``, ``gs://``, ``r2://account/bucket``, ``memory://`` or ``file:///folder``, with obstore's options
        (``access_key_id``, ``endpoint``, ...).

    Raises
    ------
    StoreError
        The URL is not one of those, or its options are wrong.
    """
    if urlsplit(access.url).scheme == "file":
        from cloudoffload.store.folder import FolderStore

        return FolderStore(access)
    return ObjectStore(access)


def _connect(access: StoreAccess) -> Any:
    url, config = access.url, dict(access.options)
    client: Any = {"allow_http": True} if config.pop("allow_http", "") == "true" else None
    if url.startswith("r2://"):
        account, _, rest = url.removeprefix("r2://").partition("/")
        url = f"s3://{rest}"
        config = {"endpoint": f"https://{account}.r2.cloudflarestorage.com", "region": "auto", **config}
    try:
        if url.startswith("memory:"):
            return from_url(url)
        return from_url(url, config=config or None, client_options=client, retry_config=_RETRY)  # type: ignore[call-overload]
    except (BaseError, ValueError) as error:
        raise StoreError(
            f"{access.url!r} is not a store: {_reason(error)}; use s3://bucket/prefix, gs://bucket, "
            "r2://account/bucket or file:///folder"
        ) from None


def _joined(pieces: Sequence[Buffer]) -> bytes:
    return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)


def _too_short(key: str) -> Corrupt:
    return Corrupt(f"object {key!r} is shorter than its reference says")


def _failed(verb: str, key: str, url: str, error: Exception) -> StoreError:
    return StoreError(f"could not {verb} {key!r} in {url}: {_reason(error)}")


def _reason(error: Exception) -> str:
    """What happened, without the rest of the answer: S3 repeats session tokens that it refuses, obstore shows them.

    For the same reason errors of obstore are not chained as causes.
    """
    text = str(error)
    code = re.search(r"<Code>(\w+)</Code>", text)
    return text.strip().partition("\n")[0].partition("<")[0].rstrip(" :-") + (f" ({code[1]})" if code else "")
