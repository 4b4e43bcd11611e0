"""The parent's side of an emulated cloud: start a child process, wait until it serves, keep its last words, end it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cloudoffload.errors import EmulatorError

LOG_LINES = 400
STOP_SECONDS = 5.0
PACKAGE_ROOT = Path(__file__).resolve().parents[2]


def bind_loopback() -> socket.socket:
    """A socket listening on a free loopback port.

    The parent binds and the child inherits: the address is known before the child runs, and nobody can take it.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    listener.set_inheritable(True)
    return listener


class Service:
    """One child process that serves on a loopback port until :meth:`stop`, or until its parent is gone.

    Parameters
    ----------
    module : str
        What ``python -m`` runs.
    scratch : Path
        Working and temporary folder of the child, which it removes when it ends.
    """

    def __init__(self, module: str, scratch: Path) -> None:
        self._module = module
        self._scratch = scratch
        self._listener = bind_loopback()
        self.port: int = self._listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None
        self._log: deque[str] = deque(maxlen=LOG_LINES)
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where the service answers."""
        return f"http://127.0.0.1:{self.port}"

    def launch(self, settings: Mapping[str, Any]) -> None:
        """Start the process and hand it its settings; returns at once."""
        self._scratch.mkdir(mode=0o700, parents=True)
        process = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(self._scratch),
            cwd=self._scratch,
            pass_fds=[self._listener.fileno()],
            start_new_session=True,  # Ctrl-C reaches the user's program first, which then ends us in order
        )
        self._process = process
        line = json.dumps({**settings, "listener": self._listener.fileno(), "scratch": str(self._scratch)})
        assert process.stdin is not None
        with suppress(BrokenPipeError):  # it died at once: wait_ready says why
            process.stdin.write(line.encode() + b"\n")
            process.stdin.flush()
        self._listener.close()
        self._reader = threading.Thread(target=self._keep_log, name=f"log of {self._module}", daemon=True)
        self._reader.start()

    def wait_ready(self, seconds: float) -> None:
        """Wait until the child serves.

        Raises
        ------
        EmulatorError
            It ended, or did not become ready in time; the message holds its last lines.
        """
        process = self._process
        assert process is not None and process.stdout is not None
        deadline = time.monotonic() + seconds
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if readable and process.stdout.readline() == b"ready\n":
            return
        if readable:
            process.wait()
            why = f"ended with exit status {process.returncode}"
        else:
            why = f"was not ready after {seconds:g} seconds"
        if self._reader is not None:
            self._reader.join(1.0)  # its last words may still be in the pipe
        raise EmulatorError(f"{self._module} {why}. Its last lines:\n{self.log_tail(20) or '(none)'}")

    def log_tail(self, lines: int = LOG_LINES) -> str:
        """Last lines that the child, and what it runs, wrote."""
        return "\n".join(list(self._log)[-lines:])

    def request_stop(self) -> None:
        """Ask the child to end, without waiting."""
        self._listener.close()
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    def stop(self) -> None:
        """End the child and wait until it is gone; harmless when called twice."""
        self.request_stop()
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if self._reader is not None:
            self._reader.join(1.0)
        if process.stdout is not None:
            process.stdout.close()

    def _keep_log(self) -> None:
        process = self._process
        assert process is not None and process.stderr is not None
        with process.stderr as stream:
            for line in stream:
                self._log.append(line.decode(errors="replace").rstrip("\n"))


def _environment(scratch: Path) -> dict[str, str]:
    """The parent's environment less its AWS account, so that nothing in a child can reach a real cloud."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    paths = [str(PACKAGE_ROOT), *filter(None, [kept.get("PYTHONPATH")])]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "TMPDIR": str(scratch)}
