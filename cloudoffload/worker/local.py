"""A worker process on this machine: ``python -m cloudoffload.worker.local``.

It reads signed calls from one inherited descriptor and answers on another, each message behind its length (8 bytes,
little-endian). ``CLOUDOFFLOAD_MEMORY`` says how many bytes it may hold. It ends when its client ends, also when that
was killed: the leash descriptor then reads end-of-file.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import struct
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress

from cloudoffload.errors import WireError
from cloudoffload.worker import memory
from cloudoffload.worker.run import answer

LENGTH = struct.Struct("<q")
REFUSED = -1
"""Length that announces a refusal: the next message is the sentence that says why."""


def main() -> None:
    """Serve until the client closes its end."""
    read_fd, write_fd, leash_fd = map(int, sys.argv[1:4])
    if limit := os.environ.pop("CLOUDOFFLOAD_MEMORY", ""):
        memory.limit_to(int(limit))
    keys = {name: base64.b64decode(key) for name, key in json.loads(os.environ.pop("CLOUDOFFLOAD_PUBLIC_KEYS")).items()}
    threading.Thread(target=_end_with_client, args=(leash_fd,), name="cloudoffload-leash", daemon=True).start()
    memory.restrain()
    with suppress(BrokenPipeError):  # the client has ended, and its worker quietly does, too
        _serve(read_fd, write_fd, keys)
    os._exit(0)  # threads of the user's code must not keep the process


def _serve(read_fd: int, write_fd: int, keys: Mapping[str, bytes]) -> None:
    write_all(write_fd, LENGTH.pack(0))  # ready
    with os.fdopen(read_fd, "rb", buffering=1 << 16) as calls:
        while len(prefix := calls.read(LENGTH.size)) == LENGTH.size:
            envelope = calls.read(LENGTH.unpack(prefix)[0])
            try:
                outcome = answer(envelope, keys, worker=f"local pid {os.getpid()}")
            except WireError as error:
                sentence = f"{type(error).__name__}: {error}".encode()
                write_all(write_fd, LENGTH.pack(REFUSED) + LENGTH.pack(len(sentence)) + sentence)
            else:
                write_all(write_fd, LENGTH.pack(len(outcome)) + outcome)
            memory.restrain()  # for the next call, while nobody waits


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of ``data``, however little the pipe takes at a time."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _end_with_client(leash_fd: int) -> None:
    # The kernel ends this process by SIGIO, also while code in C keeps all other threads from running; where it does
    # not, this thread does.
    fcntl.fcntl(leash_fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(leash_fd, fcntl.F_SETFL, fcntl.fcntl(leash_fd, fcntl.F_GETFL) | os.O_ASYNC)
    os.read(leash_fd, 1)
    os._exit(0)


if __name__ == "__main__":
    main()
