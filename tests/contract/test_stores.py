"""What every store promises: memory, a folder, and S3 over HTTP pass the same suite."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloudoffload.errors import Corrupt, ObjectMissing, StoreError
from cloudoffload.interfaces import Buffer, Store
from cloudoffload.store import ObjectStore, open_store
from cloudoffload.types import Ref, StoreAccess
from cloudoffload.wire.codecs import encode_pickle
from cloudoffload.wire.digest import digest
from cloudoffload.wire.values import pack_parts, pack_value, unpack_footer, unpack_value

# Each example overwrites the object of the one before; each subclass runs the same examples over its own store.
over_one_store = settings(
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
)


class StoreSuite:
    """Subclasses give a fixture ``opened``: a function that opens the same objects anew."""

    @pytest.fixture
    def store(self, opened: Callable[[], ObjectStore]) -> ObjectStore:
        return opened()

    def ref(self, store: ObjectStore, key: str, data: bytes, span: tuple[int, int] | None = None) -> Ref:
        offset, length = span or (0, len(data))
        found = digest([data[offset : offset + length]], store.algorithm)
        return Ref("main", key, (offset, length), length, found)

    def test_it_is_a_store(self, store: ObjectStore) -> None:
        """It has all that the protocol asks for."""
        assert isinstance(store, Store)

    def test_pieces_come_back_end_to_end(self, store: ObjectStore) -> None:
        """One object of many pieces of any bytes-like type, more than one system call takes; its size is returned."""
        pieces: list[Buffer] = [
            b"head",
            bytearray(b"-"),
            memoryview(b"view"),
            b"",
            np.arange(3, dtype="u1").data,
            *[b"x"] * 3000,
        ]
        assert store.put("a/object", pieces) == 4 + 1 + 4 + 3 + 3000
        whole = b"head-view\0\1\2" + b"x" * 3000
        assert store.get(self.ref(store, "a/object", whole)) == whole

    def test_a_ranged_read_gets_the_range(self, store: ObjectStore) -> None:
        """Any span of an object is read on its own, and verified on its own."""
        data = bytes(range(256)) * 2000
        store.put("object", [data])
        for span in [(0, 1), (511_999, 1), (300, 5000), (5, 200_000), (65_536, 131_072)]:
            assert store.get(self.ref(store, "object", data, span)) == data[span[0] : span[0] + span[1]]

    def test_a_write_replaces_what_was_there(self, opened: Callable[[], ObjectStore], store: ObjectStore) -> None:
        """Whoever reads next reads the new object, through this store or another one on the same objects."""
        store.put("object", [b"old and long"])
        store.put("object", [b"new"])
        assert opened().get(self.ref(store, "object", b"new")).tobytes() == b"new"
        with pytest.raises(Corrupt):
            store.read("object", 0, 12)

    def test_what_is_not_there_is_missing(self, store: ObjectStore) -> None:
        """Also below an object, and where only a folder would be."""
        store.put("a/b", [b"x"])
        for key in ("nothing", "a", "a/b/c"):
            with pytest.raises(ObjectMissing, match=key):
                store.read(key, 0, 1)

    @pytest.mark.parametrize(
        "span", [(0, 6), (5, 1), (6, 1), (4, 1 << 40), (1 << 40, 1), (1 << 40, 1 << 40), (-1, 2), (0, -1), (0, 0)]
    )
    def test_a_range_that_is_not_there_is_corrupt(self, store: ObjectStore, span: tuple[int, int]) -> None:
        """Beyond the end, negative, empty or of a terabyte: Corrupt, and nothing of that size is allocated."""
        store.put("object", [b"hello"])
        with pytest.raises(Corrupt):
            store.read("object", *span)

    @over_one_store
    @given(position=st.integers(0, 9_999), bit=st.integers(0, 7))
    def test_any_flipped_bit_is_corrupt(self, store: ObjectStore, position: int, bit: int) -> None:
        """A value is delivered as it was written, or not at all."""
        packed = pack_value(encode_pickle([np.arange(1000.0), "text" * 500]), store.algorithm)
        data = bytearray(b"".join(packed.pieces))
        ref = Ref("main", "value", (0, packed.span.length), packed.nbytes, packed.span.digest)
        data[position % len(data)] ^= 1 << bit
        store.put("value", [data])
        with pytest.raises(Corrupt):
            store.get(ref)

    @over_one_store
    @given(cut=st.integers(0, 9_999))
    def test_any_cut_is_corrupt(self, store: ObjectStore, cut: int) -> None:
        """An object that was cut short anywhere is not delivered."""
        packed = pack_value(encode_pickle([np.arange(1000.0), "text" * 500]), store.algorithm)
        data = b"".join(packed.pieces)
        store.put("value", [data[: cut % len(data)]])
        with pytest.raises(Corrupt):
            store.get(Ref("main", "value", (0, packed.span.length), packed.nbytes, packed.span.digest))

    def test_parts_are_read_and_verified_one_by_one(self, store: ObjectStore) -> None:
        """The footer leads to each part; damage to one part leaves the others readable, damage to the footer none."""
        packed = pack_parts([(n, encode_pickle(np.full(500, n))) for n in range(3)], "list", store.algorithm)
        data = bytearray(b"".join(packed.pieces))
        offset, length, footer_digest = packed.span
        store.put("parts", [data])
        footer = unpack_footer(store.get(Ref("", "parts", (offset, length), 0, footer_digest)), offset)
        refs = [Ref("", "parts", (span.offset, span.length), 0, span.digest) for span in footer.values()]
        assert [unpack_value(store.get(ref))[1][0] for ref in refs] == [0, 1, 2]
        data[refs[1].span[0]] ^= 1
        data[offset] ^= 1
        store.put("parts", [data])
        assert unpack_value(store.get(refs[2]))[1][0] == 2
        for damaged in (refs[1], Ref("", "parts", (offset, length), 0, footer_digest)):
            with pytest.raises(Corrupt):
                store.get(damaged)

    @pytest.mark.parametrize("size", [100, 300_000])
    def test_what_is_read_can_be_written_to_and_is_nobody_elses(self, store: ObjectStore, size: int) -> None:
        """Users change what they got in place; neither the object nor another reader sees that."""
        data = bytes(size)
        store.put("object", [data])
        first, second = (store.get(self.ref(store, "object", data)) for _ in range(2))
        first[:3] = b"abc"
        assert bytes(second) == data and store.get(self.ref(store, "object", data)) == data

    def test_what_was_read_outlives_the_object(self, store: ObjectStore) -> None:
        """A value stays whole when its object is overwritten or deleted behind it."""
        data = bytes(range(250)) * 2000
        store.put("object", [data])
        view = store.get(self.ref(store, "object", data))
        store.put("object", [b"other"])
        store.delete(["object"])
        assert view == data

    @pytest.mark.slow
    def test_a_large_object(self, store: ObjectStore) -> None:
        """64 MB in two pieces come back whole, and by range."""
        data = np.random.default_rng(0).integers(0, 256, 64 << 20, dtype="u1")
        pieces = [data[: 40 << 20].data, data[40 << 20 :].data]
        assert store.put("large", pieces) == 64 << 20
        whole = Ref("main", "large", (0, 64 << 20), 64 << 20, digest(pieces, store.algorithm))
        assert np.array_equal(np.frombuffer(store.get(whole), "u1"), data)
        assert store.read("large", 50 << 20, 1000) == data[50 << 20 : (50 << 20) + 1000].tobytes()

    def test_put_if_absent_writes_once(self, store: ObjectStore) -> None:
        """The second writer is told that there was one, and changes nothing."""
        assert store.put_if_absent("object", [b"fir", b"st"]) is True
        assert store.put_if_absent("object", [b"second"]) is False
        assert store.read("object", 0, 5).tobytes() == b"first"

    def test_one_of_many_racing_writers_wins(self, opened: Callable[[], ObjectStore]) -> None:
        """Sixteen writers at once, each through a store of its own: one is told that it wrote, and its bytes stay."""
        stores = [opened() for _ in range(16)]
        start = threading.Barrier(16)

        def write(number: int) -> bool:
            start.wait()
            return stores[number].put_if_absent("object", [b"%02d" % number * 1000])

        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(write, range(16)))
        assert Counter(won) == {True: 1, False: 15}
        assert stores[0].read("object", 0, 2000) == b"%02d" % won.index(True) * 1000

    def test_no_reader_sees_half_a_write(self, opened: Callable[[], ObjectStore]) -> None:
        """While two writers overwrite an object, every read is wholly the one's or wholly the other's."""
        size = 200_000
        store = opened()
        store.put("object", [b"a" * size])
        done = threading.Event()

        def write(letter: bytes) -> None:
            mine = opened()
            while not done.is_set():
                mine.put("object", [letter * (size // 2), letter * (size // 2)])

        with ThreadPoolExecutor(2) as pool:
            writers = [pool.submit(write, letter) for letter in (b"a", b"b")]
            try:
                seen = {bytes(store.read("object", 0, size)) for _ in range(100)}
            finally:
                done.set()
            for writer in writers:
                writer.result()
        assert seen <= {b"a" * size, b"b" * size}

    def test_deleting_what_is_not_there_is_no_error(self, store: ObjectStore) -> None:
        """And does not keep the others of the same request alive."""
        store.put("there/1", [b"x"])
        store.put("there/2", [b"x"])
        store.delete(["missing", "there/1", "there", "there/1/below", "there/2"])
        store.delete([])
        assert list(store.keys()) == []

    @pytest.mark.parametrize(
        ("prefix", "left"),
        [
            ("runs/a/", {"runs/a", "runs/ab", "runs/ab/1", "runs/b"}),
            ("runs/ab", {"runs/a/1", "runs/a/2/3", "runs/b", "runs/a"}),
            ("runs/a", {"runs/b"}),
            ("runs/a/2/", {"runs/a/1", "runs/a", "runs/ab", "runs/ab/1", "runs/b"}),
            ("nothing/", {"runs/a/1", "runs/a/2/3", "runs/a", "runs/ab", "runs/ab/1", "runs/b"}),
            ("", set()),
        ],
    )
    def test_a_prefix_is_deleted_and_nothing_else(self, store: ObjectStore, prefix: str, left: set[str]) -> None:
        """A prefix is the beginning of a key: ``runs/a/`` is not the beginning of ``runs/ab``; the count comes back."""
        keys = self.some_keys()
        for key in keys:
            store.put(key, [b"x"])
        assert store.delete_prefix(prefix) == len(keys - left)
        assert set(store.keys()) == keys & left
        assert {key for key in keys if self.exists(store, key)} == keys & left

    def some_keys(self) -> set[str]:
        return {"runs/a/1", "runs/a/2/3", "runs/a", "runs/ab", "runs/ab/1", "runs/b"}

    def exists(self, store: ObjectStore, key: str) -> bool:
        try:
            return store.read(key, 0, 1).tobytes() == b"x"
        except ObjectMissing:
            return False

    def test_a_prefix_can_be_written_again(self, store: ObjectStore) -> None:
        """Deleting everything below a prefix leaves nothing in the way of new objects there."""
        store.put("runs/a/1", [b"x"])
        store.delete_prefix("runs/a/")
        store.put("runs/a/1", [b"y"])
        assert list(store.keys("runs/a/")) == ["runs/a/1"]

    def test_more_objects_than_one_request_deletes(self, store: ObjectStore) -> None:
        """Listings and deletions go on beyond a page of 1,000."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: store.put(f"many/{n}", [b"x"]), range(1_050)))
        assert store.delete_prefix("many/") == 1_050
        assert list(store.keys()) == []

    @pytest.mark.parametrize(
        "key",
        ["a b", "ü/日本", "%41", "a%2Fb", "a#b", "a?b=c", "a+b&c", "~x", "x.part", "a\\b", "a:b*", "..a/b..", "'"],
    )
    def test_keys_with_odd_characters_are_keys(self, store: ObjectStore, key: str) -> None:
        """A key is read, listed and deleted as it was written."""
        store.put(key, [b"x"])
        assert store.read(key, 0, 1).tobytes() == b"x" and list(store.keys()) == [key]
        store.delete([key])
        assert list(store.keys()) == []

    @pytest.mark.parametrize("key", ["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../../b", "./a", "a\0b"])
    def test_what_is_no_key_is_refused_by_every_operation(self, store: ObjectStore, key: str) -> None:
        """Nothing leads out of a store, and no key means one object here and another there."""
        operations: list[Callable[[], Any]] = [
            lambda: store.put(key, [b"x"]),
            lambda: store.put_if_absent(key, [b"x"]),
            lambda: store.read(key, 0, 1),
            lambda: store.delete([key]),
        ]
        for operation in operations:
            with pytest.raises(StoreError, match="not a key"):
                operation()

    @pytest.mark.parametrize("prefix", ["../", "/", "a/../", "../outside/x"])
    def test_a_prefix_leads_nowhere_else(self, store: ObjectStore, prefix: str) -> None:
        """Deleting a prefix that climbs out of the store is refused, and leaves everything."""
        store.put("a/1", [b"x"])
        with pytest.raises(StoreError, match="not a key"):
            store.delete_prefix(prefix)
        assert list(store.keys()) == ["a/1"]

    def test_what_a_cloud_bills_is_counted(self, store: ObjectStore) -> None:
        """Writes, reads and their bytes; a write that lost is billed too, a deletion is not."""
        store.put("a", [b"12345"])
        store.put_if_absent("b", [b"123"])
        before = store.usage.read()
        assert before == (2, 0, 8, 0)
        store.put_if_absent("b", [b"123"])
        lost = store.usage.read()
        assert lost[1:] == before[1:] and lost[0] >= before[0]
        store.read("a", 1, 3)
        store.delete(["a"])
        assert store.usage.read() == (lost[0], 1, 8, 3)

    def test_counts_are_right_when_many_threads_count(self, store: ObjectStore) -> None:
        """No operation is lost between threads."""
        store.put("a", [b"12345"])
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: store.read("a", 0, 5), range(200)))
        assert store.usage.read() == (1, 200, 5, 1000)

    def test_its_repr_names_the_url(self, store: ObjectStore) -> None:
        """And nothing of its credentials."""
        assert store.url in repr(store) and "secret" not in repr(store)


class TestMemory(StoreSuite):
    """Objects in this process."""

    @pytest.fixture
    def opened(self) -> Callable[[], ObjectStore]:
        one = open_store(StoreAccess("memory:///"))
        return lambda: one  # each memory store has objects of its own


class TestFolder(StoreSuite):
    """Objects in a folder of this machine."""

    @pytest.fixture
    def opened(self, tmp_path: Path) -> Callable[[], ObjectStore]:
        access = StoreAccess((tmp_path / "a store").as_uri())
        return lambda: open_store(access)

    def some_keys(self) -> set[str]:
        return {"runs/a/1", "runs/a/2/3", "runs/ab/1", "runs/b"}  # a file system has no "a" beside "a/1"

    def test_a_key_below_an_object_is_refused(self, store: ObjectStore) -> None:
        """A file can't hold files; the error says so, and the object stays."""
        store.put("a", [b"x"])
        with pytest.raises(StoreError, match="Not a directory"):
            store.put("a/b", [b"y"])
        assert store.read("a", 0, 1).tobytes() == b"x"

    def test_a_lost_write_costs_nothing_on_this_machine(self, store: ObjectStore) -> None:
        """Nobody bills it."""
        store.put_if_absent("b", [b"123"])
        store.put_if_absent("b", [b"123"])
        assert store.usage.writes == 1


class TestS3(StoreSuite):
    """Objects behind the S3 protocol."""

    @pytest.fixture
    def opened(self, bucket: StoreAccess, request: pytest.FixtureRequest) -> Callable[[], ObjectStore]:
        name = request.node.name.replace("/", "-")[:60].encode().hex()
        access = StoreAccess(f"{bucket.url}/{name}", bucket.options)
        return lambda: open_store(access)

    def test_a_lost_write_and_a_listing_are_billed(self, store: ObjectStore) -> None:
        """S3 bills a refused conditional PUT and each page of a listing as writes."""
        store.put_if_absent("b", [b"123"])
        store.put_if_absent("b", [b"123"])
        assert store.usage.writes == 2
        assert list(store.keys()) == ["b"]
        assert store.usage.writes == 3

    def test_a_read_of_nothing_is_billed(self, store: ObjectStore) -> None:
        """S3 bills the request that finds nothing."""
        with pytest.raises(ObjectMissing):
            store.read("nothing", 0, 1)
        assert store.usage.read() == (0, 1, 0, 0)

    def test_a_bucket_that_does_not_exist(self, bucket: StoreAccess) -> None:
        """Writing and listing say so in a StoreError."""
        store = open_store(StoreAccess("s3://no-such-bucket", bucket.options))
        operations: list[Callable[[], Any]] = [
            lambda: store.put("a", [b"x"]),
            lambda: store.put_if_absent("a", [b"x"]),
            lambda: list(store.keys()),
        ]
        for operation in operations:
            with pytest.raises(StoreError, match="no-such-bucket"):
                operation()
