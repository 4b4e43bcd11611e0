"""The child's side of an emulated cloud: take settings from the parent, say ready, and end with it."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.5


def settings_from_parent() -> dict[str, Any]:
    """Settings that the parent wrote as one line of JSON to standard input; secrets stay off the command line."""
    settings: dict[str, Any] = json.loads(sys.stdin.readline())
    return settings


def listener(settings: dict[str, Any]) -> socket.socket:
    """The socket that the parent bound, already listening."""
    return socket.socket(fileno=settings["listener"])


def say_ready() -> None:
    """Tell the parent that requests are answered from now on."""
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def when_parent_ends(callback: Callable[[], object]) -> None:
    """Call ``callback`` on a thread of its own once the parent closed our standard input, or is gone.

    A pipe's end alone would not do: processes that the parent forked keep its other end open after the parent's death.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            readable, _, _ = select.select([sys.stdin.fileno()], [], [], POLL_SECONDS)
            if readable and not os.read(sys.stdin.fileno(), 4096):
                break
        callback()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def remove_scratch(folder: Path) -> None:
    """Delete this child's folder, and the folder around it once no sibling needs it."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        folder.parent.rmdir()
