"""Plain Python without Dask: an Executor whose calls are units, and a map over items."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from dask._task_spec import Task
from dask.utils import funcname

from cloudoffload.engine import scheduler
from cloudoffload.engine.session import Session
from cloudoffload.errors import SessionClosed
from cloudoffload.types import Key, Requirements

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    key: Key
    task: Task
    future: Future[Any] = field(default_factory=Future)


class UnitExecutor(Executor):
    """A :class:`concurrent.futures.Executor` on a session's providers.

    What is submitted while a batch is being prepared goes with the next one, so that thousands of small calls share few
    requests. A call that raises fails alone.

    Parameters
    ----------
    session : Session
        Where the calls run.
    requirements : Requirements
        Of every call.
    """

    def __init__(self, session: Session, requirements: Requirements = Requirements()) -> None:  # noqa: B008 - immutable
        self._session = session
        self._requirements = requirements
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._unfinished = 0
        self._idle = threading.Condition(self._lock)
        self._shut = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``fn(*args, **kwargs)`` as a unit.

        Raises
        ------
        RuntimeError
            The executor was shut down.
        """
        key = (funcname(fn), next(self._numbers))
        job = _Job(key, Task(key, fn, *args, **kwargs))
        with self._lock:
            if self._shut:
                raise RuntimeError("this executor was shut down; get a new one from session.executor()")
            if self._session.closed:
                raise SessionClosed("this Session is closed; open a new one")
            first = not self._waiting
            self._waiting.append(job)
            self._unfinished += 1
        if first:
            self._session.in_background(self._run_batch)
        return job.future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; with ``wait``, return when all have ended."""
        with self._lock:
            self._shut = True
            dropped = self._waiting if cancel_futures else []
            if cancel_futures:
                self._waiting = []
        for job in dropped:
            job.future.cancel()
            self._ended()
        if wait:
            with self._idle:
                self._idle.wait_for(lambda: not self._unfinished)

    def _run_batch(self) -> None:
        with self._lock:
            jobs, self._waiting = self._waiting, []
        running: dict[Key, _Job] = {}
        for job in jobs:
            if job.future.set_running_or_notify_cancel():
                running[job.key] = job
            else:
                self._ended()
        if not running:
            return

        def settle(key: Key, value: Any, error: BaseException | None) -> None:
            job = running.pop(key, None)
            if job is None:
                return
            if error is None:
                job.future.set_result(value)
            else:
                job.future.set_exception(error)
            self._ended()

        tasks = {job.key: job.task for job in running.values()}
        try:
            self._session.run_independent(tasks, self._requirements, settle)
        except BaseException as error:  # noqa: BLE001 - every future must get an answer, whatever ended the batch
            for key in list(running):
                settle(key, None, error)

    def _ended(self) -> None:
        with self._idle:
            self._unfinished -= 1
            self._idle.notify_all()


def offload(func: Callable[[Any], T], over: Iterable[Any], **requirements: Any) -> list[T]:
    """Call a function on every item, in the cloud; plain Python without Dask.

    Parameters
    ----------
    func : callable
        Of one item.
    over : iterable
        The items.
    **requirements
        Fields of :class:`~cloudoffload.types.Requirements`, such as ``provider="aws"``.

    Returns
    -------
    list
        Results in the order of the items.
    """
    with UnitExecutor(scheduler.current(), Requirements(**requirements)) as executor:
        return list(executor.map(func, over))
