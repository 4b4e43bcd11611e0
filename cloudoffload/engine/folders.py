"""Folders of local stores: private, removed at the end, and swept when their owner was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

_LOCK = "owner.lock"


@contextlib.contextmanager
def local_store_folder(folder: Path) -> Iterator[None]:
    """Own a folder for the block, then remove it.

    The owner holds a lock on a file inside. A lock ends with its process however that ends, so the next run can tell
    folders that were left behind from those in use.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        _sweep(folder)
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _sweep(mine: Path) -> None:
    """Remove folders beside ``mine`` whose owner is gone."""
    for other in mine.parent.iterdir():
        if other == mine or not (other / _LOCK).exists():
            continue
        try:
            descriptor = os.open(other / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # its owner removes it right now
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(other, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)
