"""What a warm worker keeps: bounded in bytes, and never what somebody may still write into."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cloudoffload.store import ObjectStore, open_store
from cloudoffload.types import Assignment, Ref, StoreAccess
from cloudoffload.wire.digest import BLAKE3, XXH3, digest
from cloudoffload.worker import caches, memory
from cloudoffload.worker.caches import InputCache, Recent, cache_bytes

LIMIT = 64 << 20


@pytest.fixture(autouse=True)
def small_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker of 64 MB: each cache may hold 4."""
    monkeypatch.setattr(memory, "_limit", LIMIT)
    yield


@pytest.fixture
def store() -> ObjectStore:
    return open_store(StoreAccess("memory://"))


def put(store: ObjectStore, data: bytes, algorithm: bytes = BLAKE3) -> Ref:
    key = f"object-{data[:8].hex()}-{len(data)}"
    store.put(key, [data])
    return Ref("main", key, (0, len(data)), len(data), digest((data,), algorithm))


def reads(store: ObjectStore) -> int:
    """How often the store was asked so far."""
    return store.usage.read()[1]


def test_what_was_used_last_stays() -> None:
    """The one that was not used longest goes first, and as many as it takes."""
    kept: Recent[str, int] = Recent(lambda: 10)
    for i, name in enumerate("abc"):
        kept.put(name, i, 3)
    assert kept.get("a") == 0
    kept.put("d", 3, 6)
    assert [kept.get(name) for name in "abcd"] == [0, None, None, 3]


def test_replacing_an_entry_counts_it_once() -> None:
    """Else a cache would shrink with every replacement."""
    kept: Recent[str, int] = Recent(lambda: 10)
    for i in range(5):
        kept.put("a", i, 6)
    kept.put("b", 1, 4)
    assert (kept.get("a"), kept.get("b")) == (4, 1)


def test_the_newest_entry_stays_however_large() -> None:
    """It is in use at this moment, whether it is kept or not."""
    kept: Recent[str, int] = Recent(lambda: 10)
    kept.put("small", 0, 1)
    kept.put("large", 1, 1000)
    assert (kept.get("small"), kept.get("large")) == (None, 1)
    kept.put("next", 2, 1)
    assert (kept.get("large"), kept.get("next")) == (None, 2)


def test_a_cache_takes_a_small_part_of_the_workers_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever started it, or Lambda, says how much that is; it never takes more than 256 MB."""
    assert cache_bytes() == LIMIT // 16
    monkeypatch.setattr(memory, "_limit", 1 << 40)
    assert cache_bytes() == 256 << 20
    monkeypatch.setattr(memory, "_limit", None)
    assert cache_bytes() == 256 << 20
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
    assert cache_bytes() == 32 << 20


def test_an_input_is_kept_when_it_is_read_again(store: ObjectStore) -> None:
    """Most are read once; the second reading shows that it is one of those that many units need."""
    cached, ref = InputCache().before(store), put(store, b"x" * 1000)
    assert [bytes(cached.get(ref)) for _ in range(4)] == [b"x" * 1000] * 4
    assert reads(store) == 2


def test_an_input_of_several_units_is_kept_at_once(store: ObjectStore) -> None:
    """A call says itself what will be read again."""
    cache, ref, once = InputCache(), put(store, b"x" * 1000), put(store, b"y" * 1000)
    cache.expect([Assignment(0, 1, (ref, once)), Assignment(1, 1, (ref,))])
    cached = cache.before(store)
    for _ in range(3):
        cached.get(ref)
    assert reads(store) == 1
    cached.get(once)
    cached.get(once)
    assert reads(store) == 3


def test_each_reader_gets_bytes_of_its_own(store: ObjectStore) -> None:
    """Users write into what they read: the next unit must not see that."""
    cached, ref = InputCache().before(store), put(store, b"x" * 1000)
    for _ in range(4):
        view = cached.get(ref)
        assert bytes(view) == b"x" * 1000
        view[:] = b"y" * 1000


def test_large_inputs_are_read_each_time(store: ObjectStore) -> None:
    """One of them would drive out all the others."""
    cached, ref = InputCache().before(store), put(store, bytes(cache_bytes() // 4 + 1))
    for _ in range(3):
        cached.get(ref)
    assert reads(store) == 3


def test_only_cryptographic_digests_stand_for_bytes(store: ObjectStore) -> None:
    """Of the fast ones somebody could make two alike."""
    cached, ref = InputCache().before(store), put(store, b"x" * 1000, XXH3)
    for _ in range(3):
        cached.get(ref)
    assert reads(store) == 3


def test_the_bytes_that_are_kept_are_bounded(store: ObjectStore) -> None:
    """What no longer fits is read from the store again."""
    cached = InputCache().before(store)
    refs = [put(store, bytes([i]) * 1_000_000) for i in range(8)]
    for ref in [ref for ref in refs for _ in range(2)]:
        cached.get(ref)
    before = reads(store)
    cached.get(refs[-1])
    assert reads(store) == before
    cached.get(refs[0])
    assert reads(store) == before + 1


def test_a_folder_of_this_machine_is_read_without_a_cache(tmp_path: object) -> None:
    """Mapping a file costs nothing, and takes no memory."""
    folder = open_store(StoreAccess(f"file://{tmp_path}"))
    assert caches.InputCache().before(folder) is folder
