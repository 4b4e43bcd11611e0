"""Users' scripts in processes of their own, which the tests then disturb."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

GENEROUS = 60.0
"""Seconds after which something hangs; every wait ends as soon as what it waits for is there."""


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@dataclass
class Script:
    """A script under way."""

    process: subprocess.Popen[str]
    folder: Path

    def has_made(self, name: str) -> None:
        """Wait until the script, or one of its tasks, has made a file in its folder."""

        def made() -> bool:
            assert self.process.poll() is None or (self.folder / name).exists(), self.process.communicate()
            return (self.folder / name).exists()

        until(made, f"nobody made {name}")

    def go_on(self) -> None:
        """Let a script that waits for a line of input go on."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def family(self) -> list[psutil.Process]:
        """All processes that it has started, and theirs."""
        return list(psutil.Process(self.process.pid).children(recursive=True))

    def ended(self) -> tuple[int, str, str]:
        """Wait for its end; its status, and what it said."""
        out, err = self.process.communicate(timeout=GENEROUS)
        return self.process.returncode, out, err

    def stores(self) -> list[Path]:
        """Folders of its local stores."""
        return list((self.folder / "local").glob("*/*/"))

    def scratch(self) -> list[Path]:
        """What it left in the folder for temporary files."""
        return list((self.folder / "tmp").iterdir())


def are_gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them runs; one that nobody has waited for yet does not."""
    return not [item for item in processes if item.is_running() and item.status() != psutil.STATUS_ZOMBIE]


@contextmanager
def script(folder: Path, code: str, *arguments: str) -> Iterator[Script]:
    """Start a script; its stores lie in ``folder/local``, its temporary files in ``folder/tmp``."""
    path = folder / "script.py"
    path.write_text(textwrap.dedent(code))
    (folder / "tmp").mkdir(exist_ok=True)
    environment = os.environ | {
        "DASK_CLOUDOFFLOAD__LOCAL__FOLDER": str(folder / "local"),
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "TMPDIR": str(folder / "tmp"),
    }
    process = subprocess.Popen(
        [sys.executable, str(path), str(folder), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        yield Script(process, folder)
    finally:
        process.kill()
        process.communicate()
