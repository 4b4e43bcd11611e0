"""Transfers beside the user's code: the next unit's inputs are fetched while one runs, its value is written behind it.

Only where a transfer waits for a network: a folder of this machine is mapped, and written at the speed of memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, cast

from cloudoffload.interfaces import Buffer
from cloudoffload.store import ObjectStore
from cloudoffload.types import Assignment, Failure, Ref
from cloudoffload.wire.refs import refs_of

AHEAD_BYTES = 64 << 20
"""Most bytes of inputs that wait for the next unit."""

BEHIND_BYTES = 64 << 20
"""Most bytes of values that are being written while the user's code runs."""


class Overlapped:
    """A store for the length of one call, which reads ahead and writes behind.

    It stands in for an :class:`~cloudoffload.store.ObjectStore` where inputs are read and values are written; what it
    does not do itself, the store does.

    Parameters
    ----------
    store : ObjectStore
        Where the objects are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(store.reads_at_once, thread_name_prefix="cloudoffload-transfer")
        self._ahead: dict[tuple[str, tuple[int, int]], Future[memoryview]] = {}
        self._behind: dict[str, tuple[int, Future[int]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def fetch(self, refs: Iterable[Ref]) -> None:
        """Begin to read what will be asked for, as far as there is room; what is not asked for is dropped."""
        wanted = {(ref.key, ref.span): ref for ref in refs if ref.data is None}
        for place in self._ahead.keys() - wanted.keys():
            self._ahead.pop(place).cancel()
        room = AHEAD_BYTES
        for place, ref in wanted.items():
            room -= ref.span[1]
            if room < 0:
                break
            if place not in self._ahead:
                self._ahead[place] = self._pool.submit(self._store.get, ref)

    def get(self, ref: Ref) -> memoryview:
        """Bytes of the ref's span, writable, digest verified; see :meth:`cloudoffload.interfaces.Store.get`."""
        # Handed out once: who reads it again may find that the user's code has written into the first copy.
        begun = self._ahead.pop((ref.key, ref.span), None)
        if begun is not None:
            return begun.result()
        if (error := self.failed(ref.key)) is not None:  # an earlier unit of the call has made it
            raise error
        return self._store.get(ref)

    def put(self, key: str, pieces: Sequence[Buffer]) -> int:
        """Begin to write an object; :meth:`failed` says whether it was. Returns its bytes."""
        size = sum(memoryview(piece).nbytes for piece in pieces)
        if size > BEHIND_BYTES:
            return self._store.put(key, pieces)
        while (begun := self._unfinished()) and size + sum(begun.values()) > BEHIND_BYTES:
            wait(begun, return_when=FIRST_COMPLETED)
        # A copy, which uploads need anyway: the user's code may keep the value and change it.
        self._behind[key] = size, self._pool.submit(self._store.put, key, [b"".join(pieces)])
        return size

    def failed(self, key: str) -> BaseException | None:
        """Wait until an object is written; returns why it could not be."""
        begun = self._behind.get(key)
        return None if begun is None else begun[1].exception()

    def is_pending(self, key: str) -> bool:
        """Whether an object is being written."""
        begun = self._behind.get(key)
        return begun is not None and not begun[1].done()

    def close(self) -> None:
        """Begin nothing more; harmless when called twice."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _unfinished(self) -> dict[Future[int], int]:
        return {write: size for size, write in self._behind.values() if not write.done()}


class Transfers:
    """The stores of one call, those behind a network overlapped.

    Parameters
    ----------
    stores : mapping of str to ObjectStore
        By name.
    """

    def __init__(self, stores: Mapping[str, ObjectStore]) -> None:
        self._overlapped = {name: Overlapped(store) for name, store in stores.items() if store.reads_at_once > 1}
        # An Overlapped does all that Inputs and Outputs ask of a store.
        self.stores = cast(Mapping[str, ObjectStore], {**stores, **self._overlapped})

    def fetch(self, units: Sequence[Assignment]) -> None:
        """Begin to read the inputs of these units; values in parts are left to their readers."""
        for name, store in self._overlapped.items():
            store.fetch(ref for ref in refs_of(units) if ref.store == name and not ref.parted)

    def failure(self, result: Ref | Failure) -> BaseException | None:
        """Wait until a value is written; returns why it could not be."""
        store = self._store_of(result)
        return None if store is None else store.failed(cast(Ref, result).key)

    def is_pending(self, result: Ref | Failure) -> bool:
        """Whether a value is still being written."""
        store = self._store_of(result)
        return store is not None and store.is_pending(cast(Ref, result).key)

    def close(self) -> None:
        """Begin nothing more."""
        for store in self._overlapped.values():
            store.close()

    def _store_of(self, result: Ref | Failure) -> Overlapped | None:
        return self._overlapped.get(result.store) if isinstance(result, Ref) and result.data is None else None


@contextmanager
def overlapped(stores: Mapping[str, ObjectStore]) -> Iterator[Transfers]:
    """Transfers of one call."""
    transfers = Transfers(stores)
    try:
        yield transfers
    finally:
        transfers.close()
