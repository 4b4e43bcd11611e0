"""What a warm worker keeps between units and calls: bounded in bytes, and a small part of what it may hold."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

from cloudoffload.store import ObjectStore
from cloudoffload.types import Assignment, Ref
from cloudoffload.wire.digest import BLAKE3
from cloudoffload.wire.refs import refs_of
from cloudoffload.worker import memory

K = TypeVar("K")
V = TypeVar("V")

_SHARE = 16
_MOST = 256 << 20
_REMEMBERED = 4096
"""Inputs of which a worker knows that it has read them before."""


def cache_bytes() -> int:
    """Most bytes that one cache may hold: a sixteenth of the worker's memory, 256 MB where that is not known."""
    limit = memory.limit()
    return _MOST if limit is None else min(_MOST, limit // _SHARE)


class Recent(Generic[K, V]):
    """Keeps what was used last; thread-safe.

    Parameters
    ----------
    most : callable
        How many bytes may be kept. The newest entry stays in any case.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._entries: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._nbytes = 0

    def get(self, key: K) -> V | None:
        """What is kept under a key."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._entries.move_to_end(key)
            return entry[0]

    def put(self, key: K, value: V, nbytes: int) -> None:
        """Keep a value that takes so many bytes."""
        with self._lock:
            _, before = self._entries.pop(key, (None, 0))
            self._entries[key] = value, nbytes
            self._nbytes += nbytes - before
            while self._nbytes > self._most() and len(self._entries) > 1:
                _, (_, dropped) = self._entries.popitem(last=False)
                self._nbytes -= dropped


class InputCache:
    """Bytes of inputs that a worker reads again and again, such as the small side of a join."""

    def __init__(self) -> None:
        self._spans: Recent[bytes, bytes] = Recent(cache_bytes)
        self._known: Recent[bytes, bool] = Recent(lambda: _REMEMBERED)  # digests that are worth keeping next time

    def before(self, store: ObjectStore) -> ObjectStore:
        """The store behind this cache. One whose reads wait for nothing is returned as it is."""
        return store if store.reads_at_once == 1 else cast(ObjectStore, _Cached(store, self))

    def expect(self, units: Sequence[Assignment]) -> None:
        """Keep, when they are first read, inputs that several of these units name."""
        readers = Counter(ref.digest for ref in refs_of(units) if ref.data is None)
        for digest, count in readers.items():
            if count > 1:
                self._known.put(digest, True, 1)

    def read(self, ref: Ref, load: Callable[[Ref], memoryview]) -> memoryview:
        """Bytes of a ref's span, writable and verified: from here, or loaded, and kept from the second time on."""
        # Equal digests are equal bytes only where nobody can make them so.
        if ref.digest[:1] != BLAKE3 or ref.span[1] > cache_bytes() // 4:
            return load(ref)
        kept = self._spans.get(ref.digest)
        if kept is not None:
            return memoryview(bytearray(kept))
        data = load(ref)
        if self._known.get(ref.digest):
            self._spans.put(ref.digest, bytes(data), len(data))
        else:
            self._known.put(ref.digest, True, 1)
        return data


class _Cached:
    """A store whose ``get`` goes through a cache; the rest is the store's."""

    def __init__(self, store: ObjectStore, cache: InputCache) -> None:
        self._store = store
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def get(self, ref: Ref) -> memoryview:
        """Bytes of the ref's span; see :meth:`cloudoffload.interfaces.Store.get`."""
        return self._cache.read(ref, self._store.get)
