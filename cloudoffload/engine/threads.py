"""Daemon threads for blocking calls; interpreter exit never waits for them, as it does for a ThreadPoolExecutor's."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue

from cloudoffload.errors import SessionClosed, StoreError

logger = logging.getLogger(__name__)


class DaemonPool:
    """Grows by a thread whenever none is idle; threads stay for the pool's lifetime."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._unfinished = 0
        self._threads = 0
        self._closed = False

    def submit(self, job: Callable[[], None]) -> None:
        """Run a job soon. It must not raise: what it has to say goes through a queue of its own.

        Raises
        ------
        SessionClosed
            The pool takes no more jobs.
        """
        with self._lock:
            if self._closed:
                raise SessionClosed("this Session is closed; open a new one")
            self._unfinished += 1
            if self._unfinished > self._threads:
                self._threads += 1
                name = f"{self._name}-{self._threads}"
                threading.Thread(target=self._run, name=name, daemon=True).start()
        self._jobs.put(job)

    def close(self, seconds: float) -> None:
        """Take no more jobs, wait so long for those that were taken, let the threads end."""
        with self._lock:
            self._closed = True
            self._ended.wait_for(lambda: not self._unfinished, timeout=seconds)
            threads, self._threads = self._threads, 0
        for _ in range(threads):
            self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException:
                logger.exception("a job of %s raised", self._name)
            # A waiting thread must not keep alive what its last job was about.
            del job
            with self._lock:
                self._unfinished -= 1
                self._ended.notify_all()


class Trash:
    """Deletes objects that nobody needs any more, off everybody's way and many with one request.

    Deleting is thrift, not correctness: the end of the run deletes whatever is left. So a store that refuses is only
    noted for the curious.

    Parameters
    ----------
    delete : callable
        Deletes objects by key.
    """

    def __init__(self, delete: Callable[[Iterable[str]], None]) -> None:
        self._delete = delete
        # Handles of values put keys here when they are garbage-collected, in any thread at any moment: nothing but a
        # SimpleQueue's put is allowed there.
        self._keys: SimpleQueue[list[str] | None] = SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="cloudoffload-trash", daemon=True)
        self._thread.start()

    def add(self, keys: list[str]) -> None:
        """Delete objects soon."""
        self._keys.put(keys)

    def close(self, seconds: float) -> None:
        """Forget what is not deleted yet; wait so long for a request under way."""
        self._closed = True
        self._keys.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (keys := self._keys.get()) is not None:
            while (more := self._at_hand()) is not None:
                keys += more
            if self._closed:
                return
            try:
                self._delete(keys)
            except StoreError as error:
                logger.info("objects are left for the end of the run: %s", error)

    def _at_hand(self) -> list[str] | None:
        try:
            return self._keys.get_nowait()
        except Empty:
            return None
