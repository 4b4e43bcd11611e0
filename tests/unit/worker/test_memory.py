"""A worker's own limit: an allocation that is too large fails at once, whatever it is used for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BEGIN = """
import resource
from cloudoffload.worker import memory

MB = 1 << 20

def fits(mb):
    try:
        return len(bytearray(mb * MB)) == mb * MB
    except MemoryError:
        return False
"""


def run(code: str) -> None:
    """Run code in a process of its own: a limit can't be taken back everywhere."""
    ran = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_what_is_far_too_large_fails_at_once() -> None:
    """Before any page of it is touched; what the worker may have, it gets."""
    run("memory.limit_to(200 * MB)\nmemory.restrain()\nassert fits(150)\nassert not fits(200 + memory.SLACK // MB)\n")


def test_what_is_held_already_counts() -> None:
    """The limit is for all that a worker holds, not for each call."""
    run(
        "memory.limit_to(400 * MB)\n"
        "held = b'x' * (300 * MB)\n"
        "memory.restrain()\n"
        "assert not fits(200 + memory.SLACK // MB)\n"
        "del held\n"
        "memory.restrain()\n"
        "assert fits(200 + memory.SLACK // MB)\n"
    )


def test_what_is_reserved_and_not_used_does_not_count() -> None:
    """Allocators and threads reserve much more than they touch."""
    run(
        "import mmap\n"
        "reserved = mmap.mmap(-1, 2000 * MB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "memory.limit_to(200 * MB)\n"
        "memory.restrain()\n"
        "assert fits(150)\n"
    )


def test_mapped_inputs_don_t_count(tmp_path: Path) -> None:
    """A worker may read more than it may hold: pages of the store are not its own until it writes to them."""
    run(
        "from cloudoffload.store import open_store\n"
        "from cloudoffload.types import StoreAccess\n"
        f"store = open_store(StoreAccess({tmp_path.as_uri()!r}))\n"
        "store.put('large', [bytes(600 * MB)])\n"
        "memory.limit_to(100 * MB)\n"
        "memory.restrain()\n"
        "views = [store.read('large', 0, 600 * MB) for _ in range(3)]\n"
        "assert fits(80)\n"
        "assert not fits(100 + memory.SLACK // MB)\n"
        "assert store.read('large', 0, 600 * MB).nbytes == 600 * MB\n"
    )


def test_nothing_is_limited_where_nobody_said_how_much() -> None:
    """Such as on Lambda, which limits its functions itself."""
    run(
        "memory.restrain()\n"
        "assert memory.limit() is None\n"
        "assert resource.getrlimit(resource.RLIMIT_DATA)[0] == resource.RLIM_INFINITY\n"
    )


def test_a_stricter_limit_of_somebody_else_stays() -> None:
    """As set by ``ulimit -d`` or a batch system."""
    run(
        "resource.setrlimit(resource.RLIMIT_DATA, (300 * MB, 300 * MB))\n"
        "memory.limit_to(10_000 * MB)\n"
        "memory.restrain()\n"
        "assert resource.getrlimit(resource.RLIMIT_DATA) == (300 * MB, 300 * MB)\n"
    )
