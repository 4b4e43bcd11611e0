"""Folders of local stores: private, removed at the end, and swept when their owner was killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from cloudoffload.errors import SettingsError

_LOCK = "owner.lock"
_PATIENCE = 1.0
"""How long a folder's lock may be held by somebody who only looks whether its owner is gone, seconds."""


@contextlib.contextmanager
def local_store_folder(folder: Path) -> Iterator[None]:
    """Own a folder for the block, then remove it.

    The owner holds a lock on a file inside. A lock ends with its process however that ends, so the next run can tell
    folders that were left behind from those in use.

    Raises
    ------
    SettingsError
        Another Session owns the folder, or somebody else could tamper with it.
    """
    _private(folder.parent)
    descriptor, owner = _own(folder), os.getpid()
    try:
        _sweep(folder)
        yield
    finally:
        # A forked child comes here, too, when it ends: the folder stays its parent's.
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(descriptor)


def _private(parent: Path) -> None:
    """Make the folder of all runs; who can rename what is in it could slip values into a run."""
    parent.parent.mkdir(parents=True, exist_ok=True)
    parent.mkdir(mode=0o700, exist_ok=True)
    status = parent.lstat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise SettingsError(f"others may write into {parent}: remove it, or set cloudoffload.local.folder")


def _own(folder: Path) -> int:
    """Descriptor of the folder's lock, which is held."""
    until = time.monotonic() + _PATIENCE
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # swept just now, before it was locked: make it again
            descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            if _locked(descriptor) and _is_there(folder / _LOCK, descriptor):
                return descriptor
            os.close(descriptor)
        if time.monotonic() > until:
            raise SettingsError(f"run {folder.name!r} belongs to another Session that is still open: choose another id")
        time.sleep(0.02)


def _sweep(mine: Path) -> None:
    """Remove folders beside ``mine`` whose owner is gone."""
    for other in mine.parent.iterdir():
        if other == mine:
            continue
        try:
            descriptor = os.open(other / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            continue  # no run's folder, not locked yet, or its owner removes it right now
        try:
            if _locked(descriptor):
                shutil.rmtree(other, ignore_errors=True)
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_there(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
