"""A real worker process, and a client's side of the calls that it gets."""

from __future__ import annotations

import base64
import itertools
import json
import os
import secrets
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from dask._task_spec import TaskRef

import cloudoffload
from cloudoffload.store import ObjectStore, open_store
from cloudoffload.types import Assignment, Call, Edge, Emit, Failure, Outcome, Ref, StoreAccess
from cloudoffload.wire.codecs import encode_pickle
from cloudoffload.wire.digest import BLAKE3, digest
from cloudoffload.wire.envelope import Order, seal
from cloudoffload.wire.outcome import open_outcome
from cloudoffload.wire.program import Entry, dump, entry
from cloudoffload.wire.signing import Signer
from cloudoffload.wire.values import pack_value
from cloudoffload.worker.inputs import Inputs

ROOT = Path(cloudoffload.__file__).parents[1]
PREFIX = "runs/a/1/"
REFUSED = -1
_LENGTH = struct.Struct("<q")


class Ended(Exception):
    """The worker process ended instead of answering; ``status`` is its exit status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the worker ended with status {status}")
        self.status = status


class WorkerProcess:
    """``python -m cloudoffload.worker.local`` and the three pipes that it talks through."""

    def __init__(self, signer: Signer) -> None:
        calls, self._calls = os.pipe()
        self._answers, answers = os.pipe()
        leash, self.leash = os.pipe()
        inherited = (calls, answers, leash)
        keys = {name: base64.b64encode(key).decode() for name, key in signer.public_keys.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cloudoffload.worker.local", *map(str, inherited)],
            pass_fds=inherited,
            env={**os.environ, "CLOUDOFFLOAD_PUBLIC_KEYS": json.dumps(keys), "PYTHONPATH": str(ROOT)},
            stderr=subprocess.PIPE,
        )
        for descriptor in inherited:
            os.close(descriptor)
        assert self.receive() == b""  # ready

    def send(self, envelope: bytes) -> None:
        """Send a call; large ones while the worker reads."""
        view = memoryview(_LENGTH.pack(len(envelope)) + envelope)
        while view:
            view = view[os.write(self._calls, view) :]

    def receive(self) -> bytes | str:
        """The next answer: bytes of an outcome, or the sentence of a refusal."""
        (length,) = _LENGTH.unpack(self._read(_LENGTH.size))
        if length == REFUSED:
            return self._read(_LENGTH.unpack(self._read(_LENGTH.size))[0]).decode()
        return self._read(length)

    def let_go(self) -> None:
        """Close the leash, as the end of the client does."""
        os.close(self.leash)
        self.leash = -1

    def hang_up(self) -> None:
        """Close the pipe of calls."""
        os.close(self._calls)
        self._calls = -1

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.communicate()
        for descriptor in (self._calls, self._answers, self.leash):
            if descriptor >= 0:
                os.close(descriptor)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = os.read(self._answers, size - len(data))
            if not chunk:
                raise Ended(self.process.wait())
            data += chunk
        return data


def task(function: Callable[..., Any], *inputs: str, emit: Emit = Emit.VALUE) -> Entry:
    """A unit of one step: a function of its inputs."""
    arguments = tuple(TaskRef(name) for name in inputs)
    return entry((("value", function, arguments, None, True, ()),), "value", inputs, emit)


def raises(error: BaseException) -> Entry:
    """A unit that raises."""

    def user_function() -> None:
        raise error

    return task(user_function)


def failure(outcome: Outcome, number: int = 0) -> Failure:
    """The failure of one of the units."""
    result = outcome.results[number]
    assert isinstance(result, Failure), result
    return result


class Desk:
    """The client's side: seals calls, stores inputs, opens outcomes."""

    def __init__(self, worker: WorkerProcess, signer: Signer, folder: Path) -> None:
        self.worker = worker
        self.signer = signer
        self.folder = folder
        self.store: ObjectStore = open_store(StoreAccess(folder.as_uri()))
        self._numbers = itertools.count(1)

    def order(
        self,
        *entries: Entry,
        inputs: Sequence[Sequence[Ref | Edge]] = (),
        requested: bool = False,
        program: bytes | None = None,
        **fields: Any,
    ) -> Order:
        """An order to run every unit of a program once."""
        data = dump(list(entries)) if program is None else program
        graph = Ref("", "", (0, len(data)), len(data), digest([data], BLAKE3), data=data)
        given = [*inputs, *[()] * (len(entries) - len(inputs))]
        units = tuple(Assignment(i, 1, tuple(refs), requested) for i, refs in enumerate(given))
        defaults: dict[str, Any] = {
            "run": "a",
            "call": str(next(self._numbers)),
            "graph": graph,
            "units": units,
            "stores": {"main": self.store.access},
            "output": "main",
            "prefix": PREFIX,
            "seconds": 60.0,
            "answer_key": secrets.token_bytes(32),
        }
        return Order(**{**defaults, **fields})

    def sealed(self, order: Order) -> bytes:
        """The order, signed now."""
        return seal(order, self.signer, now=time.time(), lifetime=60)

    def answer(self, order: Order) -> Outcome:
        """Send an order to the worker and open its outcome."""
        self.worker.send(self.sealed(order))
        raw = self.worker.receive()
        assert isinstance(raw, bytes), raw
        call = Call(order.call, order.run, "local", order.units, order.seconds, 128, answer_key=order.answer_key)
        return open_outcome(raw, call)

    def run(self, *entries: Entry, **more: Any) -> Outcome:
        """Outcome of a call that runs these units."""
        return self.answer(self.order(*entries, **more))

    def put(self, value: Any, *, inline: bool = False) -> Ref:
        """Ref of a value, as another worker would have written it."""
        packed = pack_value(encode_pickle(value), self.store.algorithm)
        span = (0, packed.span.length)
        if inline:
            return Ref("", "", span, packed.nbytes, packed.span.digest, data=b"".join(packed.pieces))
        key = f"{PREFIX}input-{next(self._numbers)}"
        self.store.put(key, packed.pieces)
        return Ref("main", key, span, packed.nbytes, packed.span.digest)

    def value(self, ref: Any) -> Any:
        """The value behind a ref."""
        assert isinstance(ref, Ref), ref
        return Inputs({"main": self.store}).value(ref)


@pytest.fixture(scope="module")
def signer() -> Signer:
    """The key that workers of this module know."""
    return Signer()


@pytest.fixture(scope="module")
def shared_worker(signer: Signer) -> Iterator[list[WorkerProcess]]:
    """One worker for a module's tests, replaced when a test ended it."""
    workers: list[WorkerProcess] = []
    yield workers
    for worker in workers:
        worker.close()


@pytest.fixture
def worker(signer: Signer, shared_worker: list[WorkerProcess]) -> WorkerProcess:
    """A running worker process."""
    if not shared_worker or shared_worker[-1].process.poll() is not None:
        with suppress(IndexError):
            shared_worker.pop().close()
        shared_worker.append(WorkerProcess(signer))
    return shared_worker[-1]


@pytest.fixture
def desk(worker: WorkerProcess, signer: Signer, tmp_path: Path) -> Desk:
    """A client that talks to the running worker."""
    return Desk(worker, signer, tmp_path / "store")
