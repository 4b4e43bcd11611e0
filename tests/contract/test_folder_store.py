"""A store in a folder: private, and tidy when the disk is full."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cloudoffload
from cloudoffload.errors import ObjectMissing, StoreError
from cloudoffload.store import open_store
from cloudoffload.store.folder import _write_all
from cloudoffload.types import Ref, StoreAccess
from cloudoffload.wire.codecs import encode_pickle
from cloudoffload.wire.values import pack_value, unpack_value

ROOT = Path(cloudoffload.__file__).parents[1]

WRITE_TOO_MUCH = """
import sys
from pathlib import Path
from cloudoffload.errors import StoreError
from cloudoffload.store import open_store
from cloudoffload.types import StoreAccess
store = open_store(StoreAccess(sys.argv[1]))
store.put("runs/a/small", [b"x"])
for write in (store.put, store.put_if_absent):
    try:
        write("runs/a/large", [bytes(1 << 20)] * 4)
    except StoreError as error:
        print(error)
print(sorted(path.name for path in Path(store._root).rglob("*") if path.is_file()), store.usage.read())
"""


def write_too_much(folder: Path, command: Sequence[str] = (), **options: object) -> str:
    ended: subprocess.CompletedProcess[str] = subprocess.run(
        [*command, sys.executable, "-c", WRITE_TOO_MUCH, folder.as_uri()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        **options,  # type: ignore[call-overload]
    )
    return ended.stdout


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_nobody_else_can_read(tmp_path: Path, umask: int) -> None:
    """Every folder that the store makes has mode 0700 and every file 0600, whatever the user's umask allows."""
    previous = os.umask(umask)
    try:
        store = open_store(StoreAccess((tmp_path / "above" / "store").as_uri()))
        store.put("runs/a/1/object", [b"x"])
        store.put_if_absent("runs/a/once", [b"x"])
    finally:
        os.umask(previous)
    made = list(tmp_path.rglob("*"))
    assert {mode(path) for path in made if path.is_dir()} == {0o700}
    assert {mode(path) for path in made if path.is_file()} == {0o600}


@pytest.mark.parametrize("length", [1, 1 << 20])
def test_a_folder_is_no_object(tmp_path: Path, length: int) -> None:
    """A key that other keys lie below is missing, however many bytes of it are asked for."""
    store = open_store(StoreAccess(tmp_path.as_uri()))
    store.put("runs/a", [b"x"])
    with pytest.raises(ObjectMissing):
        store.read("runs", 0, length)


@pytest.mark.parametrize("ending", ["", "/"])
def test_keys_are_told_as_they_were_given(tmp_path: Path, ending: str) -> None:
    """Also in folders below folders, and when the store's URL ends in a slash."""
    store = open_store(StoreAccess(tmp_path.as_uri() + ending))
    keys = ["top", "runs/a/1/object", "runs/a/once"]
    for key in keys:
        store.put(key, [b"x"])
    assert sorted(store.keys()) == sorted(keys)
    assert sorted(store.keys("runs/a/")) == sorted(keys[1:])


def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    """A write that does not fit on the disk raises a StoreError that says so; no part of it stays."""
    mount = ["unshare", "--map-root-user", "--mount", "sh", "-c", 'mount -t tmpfs -o size=2m none "$0" && exec "$@"']
    try:
        subprocess.run([*mount, tmp_path, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets no user mount a small disk")
    printed = write_too_much(tmp_path, [*mount, str(tmp_path)]).splitlines()
    assert len(printed) == 3
    for sentence in printed[:2]:
        assert f"the disk of {tmp_path} is full" in sentence and "cloudoffload.local.folder" in sentence
    assert printed[2] == "['small'] (1, 0, 1, 0)"


def test_a_write_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    """The system ends a file at a limit; the error says what happened, and no part of the file stays."""
    limit = 1 << 20
    printed = write_too_much(
        tmp_path, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    ).splitlines()
    assert [line.partition(":")[2] for line in printed[:2]] == [" File too large"] * 2
    assert printed[2] == "['small'] (1, 0, 1, 0)"


def test_a_write_that_was_killed_is_no_object(tmp_path: Path) -> None:
    """What a killed writer left behind is not listed, and goes with its prefix."""
    store = open_store(StoreAccess(tmp_path.as_uri()))
    script = """
import resource, signal, sys
from cloudoffload.store import open_store
from cloudoffload.types import StoreAccess
store = open_store(StoreAccess(sys.argv[1]))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # at the limit the system then kills the writer
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
store.put("runs/a/object", [bytes(1 << 20)] * 4)
"""
    killed = subprocess.run([sys.executable, "-c", script, tmp_path.as_uri()], cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGXFSZ
    assert len(list((tmp_path / "runs" / "a").iterdir())) == 1
    assert list(store.keys()) == []
    assert store.delete_prefix("runs/a/") == 0
    assert not (tmp_path / "runs" / "a").exists()


def test_a_write_leaves_the_object_and_nothing_else(tmp_path: Path) -> None:
    """Also when sixteen writers race for it."""
    store = open_store(StoreAccess(tmp_path.as_uri()))
    store.put("object", [b"x"])
    start = threading.Barrier(16)

    def write(_: int) -> bool:
        start.wait()
        return store.put_if_absent("once", [bytes(100_000)])

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(write, range(16))) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["object", "once"]


def test_a_write_that_the_system_interrupts_goes_on() -> None:
    """A signal may end a system call with a part of the bytes written; the rest follows, nothing twice."""
    read_end, write_end = os.pipe()
    pieces = [os.urandom(size) for size in (70_000, 1, 0, 300_000, 50_000)]
    received = bytearray()
    writer = threading.get_ident()
    previous = signal.signal(signal.SIGUSR1, lambda *_: None)

    def read() -> None:
        while chunk := os.read(read_end, 1000):
            received.extend(chunk)
            if len(received) < 300_000:
                signal.pthread_kill(writer, signal.SIGUSR1)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert _write_all(write_end, pieces) == 420_001
    finally:
        os.close(write_end)
        reader.join()
        os.close(read_end)
        signal.signal(signal.SIGUSR1, previous)
    assert received == b"".join(pieces)


def test_a_folder_that_somebody_removed_is_made_again(tmp_path: Path) -> None:
    """Another process may have deleted the run's prefix since the last write."""
    first, second = (open_store(StoreAccess(tmp_path.as_uri())) for _ in range(2))
    first.put("runs/a/1", [b"x"])
    second.delete_prefix("runs/a/")
    first.put("runs/a/2", [b"x"])
    assert list(second.keys()) == ["runs/a/2"]


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    """The path and the system's reason are in the message."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"could not create .*file.*"):
        open_store(StoreAccess((tmp_path / "file").as_uri()))


def test_large_values_are_mapped_and_aligned(tmp_path: Path) -> None:
    """A large array lies at a multiple of 64 bytes, over the file's own pages: reading it copies nothing."""
    store = open_store(StoreAccess(tmp_path.as_uri()))
    packed = pack_value(encode_pickle(["before", np.arange(1 << 20)]), store.algorithm)
    store.put("value", [bytes(64), *packed.pieces])
    span = store.get(Ref("", "value", (64, packed.span.length), packed.nbytes, packed.span.digest))
    array = unpack_value(span)[1][1]
    assert array.ctypes.data % 64 == 0 and array[-1] == (1 << 20) - 1
    maps = Path("/proc/self/maps")
    if maps.exists():
        lines = [line for line in maps.read_text().splitlines() if line.endswith(str(tmp_path / "value"))]
        bounds = [[int(end, 16) for end in line.split()[0].split("-")] for line in lines]
        assert any(low <= array.ctypes.data < high for low, high in bounds)
