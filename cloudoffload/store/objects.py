"""One store over obstore: folders, memory, S3, GCS and R2 differ by their URL only."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import from_url

from cloudoffload.errors import Corrupt, ObjectMissing, StoreError
from cloudoffload.interfaces import Buffer
from cloudoffload.types import Ref, StoreAccess
from cloudoffload.wire.digest import BLAKE3, verify

_DELETE_BATCH = 1000
_RETRY = {"max_retries": 6, "retry_timeout": timedelta(seconds=60)}


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
        """Bytes of a range, writable, not verified."""
        try:
            data: Any = obstore.get_range(self._store, key, start=offset, length=length) if length else b""
        except NotFoundError as error:
            raise ObjectMissing(f"object {key!r} is not in {self.url}") from error
        except BaseError as error:
            raise _failed("read", key, self.url, error) from error
        self.usage.add(reads=1, bytes_read=length)
        if len(data) != length:
            raise Corrupt(f"object {key!r} is shorter than its reference says")
        # Users write into what they computed, and the client's buffer must not be changed behind its back.
        return memoryview(bytearray(memoryview(data)))

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is missing already is no error."""
        batch = list(keys)
        for start in range(0, len(batch), _DELETE_BATCH):
            try:
                obstore.delete(self._store, batch[start : start + _DELETE_BATCH])
            except NotFoundError:
                continue
            except BaseError as error:
                raise _failed("delete", batch[start], self.url, error) from error

    def delete_prefix(self, prefix: str) -> int:
        """Delete every object whose key begins with ``prefix``; returns how many."""
        count = 0
        batch: list[str] = []
        for key in self.keys(prefix):
            batch.append(key)
            count += 1
            if len(batch) == _DELETE_BATCH:
                self.delete(batch)
                batch.clear()
        if batch:
            self.delete(batch)
        return count

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of all objects below a prefix."""
        try:
            for chunk in obstore.list(self._store, prefix=prefix.rstrip("/") or None, chunk_size=_DELETE_BATCH):
                for item in chunk:
                    if item["path"].startswith(prefix):
                        yield item["path"]
        except BaseError as error:
            raise _failed("list", prefix, self.url, error) from error

    def _put(self, key: str, data: bytes, *, mode: Any) -> None:
        try:
            # One request: a multipart upload is billed as several, and pays only for objects far larger than these.
            obstore.put(self._store, key, data, mode=mode, use_multipart=len(data) > 1 << 30)
        except AlreadyExistsError:
            self.usage.add(writes=1)  # a lost conditional write is billed too
            raise
        except BaseError as error:
            raise _failed("write", key, self.url, error) from error
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
    options: Mapping[str, str] = access.options
    url, config = access.url, {name: value for name, value in options.items() if name != "allow_http"}
    if url.startswith("r2://"):
        account, _, rest = url.removeprefix("r2://").partition("/")
        url = f"s3://{rest}"
        config = {"endpoint": f"https://{account}.r2.cloudflarestorage.com", "region": "auto", **config}
    client: Any = {"allow_http": True} if options.get("allow_http") == "true" else {}
    try:
        if url.startswith(("memory:", "file:")):
            return from_url(url)
        return from_url(url, config=config or None, client_options=client or None, retry_config=_RETRY)  # type: ignore[call-overload]
    except (BaseError, ValueError) as error:
        raise StoreError(
            f"{access.url!r} is not a store: {error}; use s3://bucket/prefix, gs://bucket, "
            "r2://account/bucket or file:///folder"
        ) from error


def _joined(pieces: Sequence[Buffer]) -> bytes:
    return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], bytes) else b"".join(pieces)


def _failed(verb: str, key: str, url: str, error: Exception) -> StoreError:
    # obstore's message may hold the signed request; its first line says what happened.
    reason = str(error).strip().partition("\n")[0][:300]
    return StoreError(f"could not {verb} {key!r} in {url}: {reason}")
