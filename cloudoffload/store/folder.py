"""A store in a folder of this machine: values are mapped, not copied."""

from __future__ import annotations

import errno
import mmap
import os
import resource
import shutil
import stat
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
_WRITING = ".writing-"
"""What the name of a file begins with until it is whole; no key may have a name that begins so."""

_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
"""File systems whose files take memory."""

_NO_FILE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


class FolderStore(ObjectStore):
    """A private folder (mode 0700); implements :class:`cloudoffload.interfaces.Store`.

    A mapping is copy-on-write: it costs no memory until somebody writes into the value, and outlives the deletion of
    the file.
    """

    algorithm = XXH3
    reads_at_once = 1  # a read waits for nothing

    def __init__(self, access: StoreAccess) -> None:
        self.access = access
        self.url = access.url
        self.usage = Usage()
        # Text: as objects of pathlib, paths would take a third of a read.
        self._root = unquote(urlsplit(access.url).path).rstrip("/") or "/"
        try:
            _make(self._root)
        except OSError as error:
            raise self._failed("create", "", error) from error
        self.lies_in_memory = _file_system(self._root) in _IN_MEMORY

    def put(self, key: str, pieces: Sequence[Buffer]) -> int:
        """Write an object from pieces laid end to end; visible whole or not at all. Returns its bytes."""
        path = self._path(key)
        try:
            writing, size = _write_beside(path, pieces)
            try:
                os.replace(writing, path)
            except BaseException:
                os.unlink(writing)
                raise
        except OSError as error:
            raise self._failed("write", key, error) from error
        self.usage.add(writes=1, bytes_written=size)
        return size

    def put_if_absent(self, key: str, pieces: Sequence[Buffer]) -> bool:
        """Write an object unless there is one; False when there was. For content-addressed keys only."""
        path = self._path(key)
        if os.path.isfile(path):
            return False
        try:
            writing, size = _write_beside(path, pieces)
            try:
                os.link(writing, path)
            except FileExistsError:
                return False
            finally:
                os.unlink(writing)
        except OSError as error:
            raise self._failed("write", key, error) from error
        self.usage.add(writes=1, bytes_written=size)
        return True

    def read(self, key: str, offset: int, length: int) -> memoryview:
        """Bytes of a range, writable, not verified; see :meth:`ObjectStore.read`."""
        path = self._path(key)
        if offset < 0 or length <= 0:
            raise Corrupt(f"no object has {length} bytes at {offset}")
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                found = os.fstat(descriptor)
                if stat.S_ISDIR(found.st_mode):
                    raise IsADirectoryError
                if found.st_size < offset + length:
                    raise Corrupt(f"object {key!r} is shorter than its reference says")
                view = (_mapped if length >= _MAP_FROM else _copied)(descriptor, offset, length)
            finally:
                os.close(descriptor)
        except _NO_FILE as error:
            raise ObjectMissing(f"object {key!r} is not in {self.url}") from error
        except OSError as error:
            raise self._failed("read", key, error) from error
        self.usage.add(reads=1, bytes_read=length)
        return view

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; one that is missing already is no error."""
        for key in keys:
            try:
                os.unlink(self._path(key))
            except _NO_FILE:
                pass
            except OSError as error:
                raise self._failed("delete", key, error) from error

    def delete_prefix(self, prefix: str) -> int:
        """Delete every object whose key begins with ``prefix``; returns how many."""
        keys = list(self.keys(prefix))
        if prefix.endswith("/"):
            shutil.rmtree(self._top(prefix), ignore_errors=True)  # with what killed writers left behind
        else:
            self.delete(keys)
        return len(keys)

    def keys(self, prefix: str = "") -> Iterator[str]:
        """Keys of all objects that begin with a prefix."""
        for folder, _, names in os.walk(self._top(prefix)):
            for name in names:
                key = f"{folder}/{name}".removeprefix(self._root).lstrip("/")
                if key.startswith(prefix) and not name.startswith(_WRITING):
                    yield key

    def _top(self, prefix: str) -> str:
        """The deepest folder that holds every object of a prefix."""
        folder, slash, _ = prefix.rpartition("/")
        return self._path(folder) if slash else self._root

    def _path(self, key: str) -> str:
        self._check(key)
        return f"{self._root}/{key}"

    def _failed(self, verb: str, key: str, error: OSError) -> StoreError:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreError(
                f"the disk of {self._root} is full; free some space or set cloudoffload.local.folder to a larger disk"
            )
        return StoreError(f"could not {verb} {key!r} in {self._root}: {error.strerror}")


def _make(folder: str) -> None:
    """Create a folder and the missing ones above it, all private: ``os.makedirs`` would give those the usual mode."""
    try:
        os.mkdir(folder, 0o700)
    except FileNotFoundError:
        _make(os.path.dirname(folder))
        _make(folder)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise


def _write_beside(path: str, pieces: Sequence[Buffer]) -> tuple[str, int]:
    """Write a file beside ``path``; returns it and its bytes. A write that fails leaves nothing."""
    folder = os.path.dirname(path)
    writing = f"{folder}/{_WRITING}{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(writing, flags, 0o600)
    except FileNotFoundError:
        _make(folder)
        descriptor = os.open(writing, flags, 0o600)
    try:
        return writing, _write_all(descriptor, pieces)
    except BaseException:
        os.unlink(writing)
        raise
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, pieces: Sequence[Buffer]) -> int:
    views = [view.cast("B") for piece in pieces if (view := memoryview(piece)).nbytes]
    size, first = 0, 0
    while first < len(views):
        written = os.writev(descriptor, views[first : first + _IOV_MAX])
        size += written
        while first < len(views) and written >= len(views[first]):
            written -= len(views[first])
            first += 1
        if written:
            views[first] = views[first][written:]
    return size


def _mapped(descriptor: int, offset: int, length: int) -> memoryview:
    _make_room(length)
    start = offset - offset % mmap.ALLOCATIONGRANULARITY
    mapping = mmap.mmap(descriptor, offset - start + length, access=mmap.ACCESS_COPY, offset=start)
    return memoryview(mapping)[offset - start :]


def _make_room(length: int) -> None:
    """Lift the limit of private memory that a worker has set for itself by what it is about to map.

    The kernel counts a private mapping in full (getrlimit(2), ``RLIMIT_DATA``), though a page of it takes no memory
    until it is written to.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft != resource.RLIM_INFINITY:
        more = soft + length if hard == resource.RLIM_INFINITY else min(soft + length, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (more, hard))


def _file_system(folder: str) -> str:
    """Type of the file system that a folder lies in, such as ``tmpfs``; "" where the system doesn't tell (proc(5))."""
    device = os.stat(folder).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in mounts:
        fields = line.split()
        if fields[2] == number:
            return fields[fields.index("-") + 1]
    return ""


def _copied(descriptor: int, offset: int, length: int) -> memoryview:
    data = bytearray(length)
    if os.preadv(descriptor, [data], offset) != length:
        raise OSError(errno.EIO, "the file was cut short while it was read")
    return memoryview(data)
