"""A store in a folder of this machine: values are mapped, not copied."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cloudoffload.errors import Corrupt, ObjectMissing, StoreError
from cloudoffload.interfaces import Buffer
from cloudoffload.store.objects import ObjectStore, Usage
from cloudoffload.types import StoreAccess
from cloudoffload.wire.digest import XXH3

_MAP_FROM = 128 * 1024
"""Spans from this size on are mapped; below it a read costs less than a mapping, bytes."""

_IOV_MAX = 1024


class FolderStore(ObjectStore):
    """A private folder (mode 0700); implements :class:`cloudoffload.interfaces.Store`.

    A mapping is copy-on-write: it costs no memory until somebody writes into the value, and outlives the deletion of
    the file.
    """

    algorithm = XXH3

    def __init__(self, access: StoreAccess) -> None:
        self.access = access
        self.url = access.url
        self.usage = Usage()
        self._root = Path(unquote(urlsplit(access.url).path))
        self._made: set[Path] = set()
        try:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _failed("create", "", self._root, error) from error

    def put(self, key: str, pieces: Sequence[Buffer]) -> int:
        """Write an object from pieces laid end to end; visible whole or not at all. Returns its bytes."""
        path = self._path(key)
        part = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
        size = self._write(part, pieces)
        part.replace(path)
        return size

    def put_if_absent(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Write an object unless there is one; False when there was. For content-addressed keys only."""
        path = self._path(key)
        if path.exists():
            return False
        part = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}.part")
        self._write(part, pieces)
        try:
            os.link(part, path)
        except FileExistsError:
            return False
        finally:
            part.unlink()
        return True

    def read(self, key: str, offset: int, length: int) -> memoryview:
        """Bytes of a range, writable, not verified."""
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise ObjectMissing(f"object {key!r} is not in {self.url}") from error
        except OSError as error:
            raise _failed("read", key, self._root, error) from error
        try:
            if os.fstat(descriptor).st_size < offset + length:
                raise Corrupt(f"object {key!r} is shorter than its reference says")
            if length < _MAP_FROM:
                data = bytearray(length)
                if os.preadv(descriptor, [data], offset) != length:
                    raise Corrupt(f"object {key!r} is shorter than its reference says")
                view = memoryview(data)
            else:
                start = offset - offset % mmap.ALLOCATIONGRANULARITY
                mapped = mmap.mmap(descriptor, offset - start + length, access=mmap.ACCESS_COPY, offset=start)
                view = memoryview(mapped)[offset - start :]
        finally:
            os.close(descriptor)
        self.usage.add(reads=1, bytes_read=length)
        return view

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is missing already is no error."""
        for key in keys:
            self._path(key).unlink(missing_ok=True)

    def delete_prefix(self, prefix: str) -> int:
        """Delete every object whose key begins with ``prefix``; returns how many."""
        keys = list(self.keys(prefix))
        if prefix.endswith("/"):
            folder = self._root / prefix.rstrip("/")
            shutil.rmtree(folder, ignore_errors=True)
            self._made = {made for made in self._made if made != folder and folder not in made.parents}
        else:
            self.delete(keys)
        return len(keys)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of all objects below a prefix."""
        for folder, _, names in os.walk(self._root):
            for name in names:
                key = (Path(folder) / name).relative_to(self._root).as_posix()
                if key.startswith(prefix) and not key.endswith(".part"):
                    yield key

    def _path(self, key: str) -> Path:
        if key.startswith("/") or ".." in key.split("/"):
            raise StoreError(f"{key!r} is not a key inside the store")
        return self._root / key

    def _write(self, path: Path, pieces: Sequence[Buffer]) -> int:
        if path.parent not in self._made:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._made.add(path.parent)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                size = _write_all(descriptor, pieces)
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            finally:
                os.close(descriptor)
        except OSError as error:
            raise _failed("write", path.name, self._root, error) from error
        self.usage.add(writes=1, bytes_written=size)
        return size


def _write_all(descriptor: int, pieces: Sequence[Buffer]) -> int:
    views = [view.cast("B") for piece in pieces if (view := memoryview(piece)).nbytes]
    size = 0
    while views:
        written = os.writev(descriptor, views[:_IOV_MAX])
        size += written
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if written:
            views[0] = views[0][written:]
    return size


def _failed(verb: str, key: str, root: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(
            f"the disk of {root} is full; free some space or set cloudoffload.local.folder to a larger disk"
        )
    return StoreError(f"could not {verb} {key!r} in {root}: {error.strerror}")
