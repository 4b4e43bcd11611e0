"""This machine as a provider: warm worker processes behind pipes."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from threading import Event

from cloudoffload.errors import Cancelled, OutOfMemory, ProviderDown, TimedOut, WireError
from cloudoffload.providers.process_memory import held
from cloudoffload.types import Call, Failure, FailureKind, Outcome, RateCard
from cloudoffload.wire.outcome import open_outcome
from cloudoffload.worker.deadline import EXIT_STATUS
from cloudoffload.worker.local import LENGTH, REFUSED, write_all

LOOK_MS = 200
"""How often a waiting call looks whether it was cancelled, milliseconds."""

WATCH_SECONDS = 0.02
"""How often the memory of busy workers is read. In between a worker can't grow by more than it allows itself: see
:mod:`cloudoffload.worker.memory`."""

_FAMILY_EVERY = 5
"""Every how many looks those are counted, too, that a worker has started: finding them takes longer."""

_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_SMALL_RESERVES = {"MIMALLOC_ARENA_RESERVE": "64MiB"}
"""Arrow's allocator reserves 1 GiB unless it is told otherwise; all of it would be held against the worker."""


class Local:
    """Worker processes on this machine; implements :class:`cloudoffload.interfaces.Provider`.

    Parameters
    ----------
    workers : int
        Processes, each running one call at a time.
    memory : int
        Most memory of its own that a worker and what it starts may hold, bytes; one that holds more is ended and
        replaced.
    card : RateCard
        Prices (none) and limits.
    public_keys : mapping of str to bytes
        Keys whose calls the workers run.
    store_memory : callable
        How much of this machine's memory the store takes, bytes: all of it, divided by the workers, is taken off what
        each of them may hold, of which at least half is left.
    """

    name = "local"
    runs = frozenset({"python"})

    def __init__(
        self,
        *,
        workers: int,
        memory: int,
        card: RateCard,
        public_keys: Mapping[str, bytes],
        store_memory: Callable[[], int] = lambda: 0,
    ) -> None:
        self.card = card
        self._workers = workers
        self._memory = memory
        self._store_memory = store_memory
        self._keys = json.dumps({name: base64.b64encode(key).decode() for name, key in public_keys.items()})
        self._closed = Event()
        self._lock = threading.Lock()
        self._busy: set[_Worker] = set()
        # Last in, first out: the worker that ran last has the program and its imports at hand.
        self._idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
        try:
            for _ in range(workers):
                self._idle.put(_Worker(self._keys, self._memory))
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._watch_memory, name="cloudoffload-memory", daemon=True).start()

    def __repr__(self) -> str:
        return f"Local({self._idle.qsize() + len(self._busy)} workers)"

    def invoke(self, call: Call, cancelled: Event) -> Outcome:
        """Send one call and wait for its outcome; see :meth:`cloudoffload.interfaces.Provider.invoke`."""
        worker = self._take(cancelled)
        try:
            outcome = open_outcome(worker.ask(call.envelope, cancelled), call)
            if any(isinstance(item, Failure) and item.kind is FailureKind.DEADLINE for item in outcome.results):
                worker.close()  # stopped anywhere, in the middle of an import too: it is replaced before the next call
            return outcome
        except WireError as error:
            raise ProviderDown(f"a worker on this machine answered with nonsense: {error}") from error
        finally:
            self._give_back(worker)

    def close(self) -> None:
        """End all processes; harmless when called twice."""
        with self._lock:
            self._closed.set()
            for worker in self._busy:
                worker.kill()  # the thread that waits for its answer frees the rest: it may be reading from it now
        with contextlib.suppress(queue.Empty):
            while True:
                self._idle.get_nowait().close()

    def _take(self, cancelled: Event) -> _Worker:
        """A worker that is alive, for this call alone."""
        while not cancelled.is_set() and not self._closed.is_set():
            with contextlib.suppress(queue.Empty):
                worker = self._idle.get(timeout=LOOK_MS / 1000)
                if worker.has_ended():
                    worker = self._replaced(worker)
                with self._lock:
                    self._busy.add(worker)
                    if not self._closed.is_set():
                        return worker
                self._give_back(worker)
        raise Cancelled("the call was cancelled before a worker was free")

    def _replaced(self, worker: _Worker) -> _Worker:
        worker.close()
        try:
            return _Worker(self._keys, self._memory)
        except OSError as error:
            self._idle.put(worker)  # the next call tries again
            raise ProviderDown(f"this machine could not start a worker process: {error}") from error

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
        self._idle.put(worker)
        if self._closed.is_set():
            worker.close()

    def _watch_memory(self) -> None:
        for look in itertools.count():
            if self._closed.is_set():
                return
            with self._lock:
                busy = list(self._busy)
            share = self._share_of_store() if busy else 0
            for worker in busy:
                allowed = self._memory - share
                if (held := worker.memory(family=look % _FAMILY_EVERY == 0, over=allowed)) > allowed:
                    worker.kill_for_memory(self._too_much(held, share))
            time.sleep(WATCH_SECONDS)

    def _share_of_store(self) -> int:
        """What is taken off the memory of each worker, bytes.

        At most half: else a full store would end workers that hold no more than their imports, each as soon as it is
        busy. The machine has room for that, since a tmpfs takes at most half of it unless told otherwise (tmpfs(5)).
        """
        return min(self._store_memory() // self._workers, self._memory // 2)

    def _too_much(self, held: int, share: int) -> str:
        """Why a worker is ended, and what gives workers more; how a task can take less is said by who reports it."""
        memory_mb, share_mb = self._memory >> 20, share >> 20
        reason = f"it held {held >> 20:,} MB, more than the {memory_mb - share_mb:,} MB that a worker may have"
        more = "fewer workers or a higher cloudoffload.local.memory leave more to each"
        if not share_mb:
            return f"{reason}; {more}"
        return (
            f"{reason}: {memory_mb:,} MB less {share_mb:,} MB, its share of what the store takes in memory; "
            f"a cloudoffload.local.folder on a disk, {more}"
        )


class _Worker:
    """One process and its pipes."""

    def __init__(self, keys: str, memory: int) -> None:
        with contextlib.ExitStack() as opened:
            calls_read, self._calls = _pipe(opened)
            self._outcomes, outcomes_write = _pipe(opened)
            leash, self._leash = _pipe(opened)
            self._process = _start(keys, memory, (calls_read, outcomes_write, leash))
            opened.pop_all()
        for descriptor in (calls_read, outcomes_write, leash):
            os.close(descriptor)
        self._ready = False
        self._killed_because = ""
        self._freed = threading.Lock()

    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def ask(self, envelope: bytes, cancelled: Event) -> bytes:
        """Send a call, wait for the answer; the worker has ended when this raises a ProviderError or Cancelled."""
        try:
            if not self._ready:
                self._read(LENGTH.size, cancelled)
                self._ready = True
            write_all(self._calls, LENGTH.pack(len(envelope)) + envelope)
            (length,) = LENGTH.unpack(self._read(LENGTH.size, cancelled))
            if length == REFUSED:
                (length,) = LENGTH.unpack(self._read(LENGTH.size, cancelled))
                reason = self._read(length, cancelled).decode()
                raise ProviderDown(f"a worker on this machine refused the call: {reason}", retryable=False)
            return self._read(length, cancelled)
        except (BrokenPipeError, EOFError) as error:
            raise self._why() from error
        except Cancelled:
            self.kill()
            self._process.wait()
            raise

    def memory(self, *, family: bool, over: int) -> int:
        """Memory that the process holds alone, bytes, or with its ``family``: see :func:`held`."""
        return held(self._process.pid, family=family, over=over)

    def kill_for_memory(self, reason: str) -> None:
        """End the process because it holds too much."""
        self._killed_because = reason
        self.kill()

    def kill(self) -> None:
        """End the process and what it started; its descriptors stay, because a thread may be reading from them."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads a group of its own

    def close(self) -> None:
        """End the process and free its descriptors; harmless when called twice."""
        if not self._freed.acquire(blocking=False):
            return
        self.kill()
        self._process.wait()
        for descriptor in (self._calls, self._outcomes, self._leash):
            os.close(descriptor)

    def _read(self, size: int, cancelled: Event) -> bytes:
        poll = select.poll()
        poll.register(self._outcomes, select.POLLIN)
        data = bytearray()
        while len(data) < size:
            if not poll.poll(LOOK_MS):
                if cancelled.is_set():
                    raise Cancelled("the call was cancelled; its worker was ended")
                continue
            chunk = os.read(self._outcomes, min(size - len(data), 1 << 20))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def _why(self) -> ProviderDown | TimedOut | OutOfMemory:
        """What ended the process."""
        status = self._process.wait()
        if self._killed_because:
            return OutOfMemory(f"a worker on this machine was ended because {self._killed_because}")
        if status == EXIT_STATUS:
            return TimedOut("a worker on this machine ended itself at the call's deadline")
        how = f"by signal {-status} ({signal.strsignal(-status)})" if status < 0 else f"with status {status}"
        return ProviderDown(f"a worker on this machine was ended {how} while it ran the call")


def _pipe(opened: contextlib.ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    for descriptor in ends:
        opened.callback(os.close, descriptor)
    return ends


def _start(keys: str, memory: int, inherited: tuple[int, ...]) -> subprocess.Popen[bytes]:
    environment = dict.fromkeys(_ONE_THREAD, "1") | _SMALL_RESERVES | dict(os.environ)
    environment |= {
        "CLOUDOFFLOAD_PUBLIC_KEYS": keys,
        "CLOUDOFFLOAD_MEMORY": str(memory),
        # What the user can import here, a worker can import too.
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "cloudoffload.worker.local", *map(str, inherited)],
        pass_fds=inherited,
        stdin=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,  # the terminal's Ctrl-C is the client's to handle
    )
