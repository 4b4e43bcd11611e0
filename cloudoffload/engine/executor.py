"""Plain Python without Dask: an Executor whose calls are units, and a map over items."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from dask._task_spec import Task
from dask.utils import funcname

from cloudoffload.engine import scheduler
from cloudoffload.engine.computation import STOP_SECONDS, Computation
from cloudoffload.engine.runner import Runner
from cloudoffload.engine.spending import note_spend, telling_spend
from cloudoffload.errors import MissingPackage, PlanError, SessionClosed, UnpicklableGraph
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
    runner : callable
        Returns where the calls run, or raises when the session is closed.
    requirements : Requirements
        Of every call.
    """

    def __init__(self, runner: Callable[[], Runner], requirements: Requirements) -> None:
        self._runner = runner
        self._requirements = requirements
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: list[_Job] = []
        self._unfinished = 0
        self._idle = threading.Condition(self._lock)
        self._running: set[Computation] = set()
        self._shut = False
        self._cancelled = False

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, Exception):
            self.shutdown(wait=True)
            return
        # Ctrl-C, or the program ends: nobody wants to wait for what is under way.
        self.cancel()
        with contextlib.suppress(SessionClosed):
            note_spend(error, self._runner().services.ledger)

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
            if not self._waiting:
                self._runner().services.pool.submit(self._run_batch)
            self._waiting.append(job)
            self._unfinished += 1
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
            job.future.set_running_or_notify_cancel()  # only this tells those who wait for it
            self._ended()
        if wait:
            with self._idle:
                self._idle.wait_for(lambda: not self._unfinished)

    def cancel(self) -> None:
        """Take no more calls and end those that wait or are under way; they raise ``Cancelled``."""
        self._cancelled = True
        self.shutdown(wait=False, cancel_futures=True)
        for computation in list(self._running):
            computation.cancel()
        with self._idle:
            self._idle.wait_for(lambda: not self._unfinished, timeout=STOP_SECONDS)

    def _run_batch(self) -> None:
        with self._lock:
            jobs, self._waiting = self._waiting, []
        running: dict[Key, _Job] = {}
        for job in jobs:
            if job.future.set_running_or_notify_cancel():
                running[job.key] = job
            else:
                self._ended()
        self._run(running)

    def _run(self, jobs: dict[Key, _Job]) -> None:
        """Run jobs; every future gets an answer, whatever happens."""
        if not jobs:
            return
        waiting = dict(jobs)
        computations: list[Computation] = []

        def settle(key: Key, value: Any, error: BaseException | None) -> None:
            # All calls of a batch travel as one program: one that can't be sent or loaded must not fail the others.
            if not isinstance(error, (MissingPackage, UnpicklableGraph)) or len(jobs) == 1:
                self._settle(waiting.pop(key), value, error)

        def started(computation: Computation) -> None:
            computations.append(computation)
            self._running.add(computation)
            if self._cancelled:
                computation.cancel()

        try:
            tasks = {key: job.task for key, job in jobs.items()}
            self._runner().run_independent(tasks, self._requirements, settle, started)
        except BaseException as error:  # noqa: BLE001 - whatever ended the batch ended each of its calls
            if not isinstance(error, PlanError) or len(jobs) == 1:
                for job in waiting.values():
                    self._settle(job, None, error)
                waiting = {}
        finally:
            self._running.difference_update(computations)
        keys = list(waiting)
        for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
            self._run({key: jobs[key] for key in half})

    def _settle(self, job: _Job, value: Any, error: BaseException | None) -> None:
        if error is None:
            job.future.set_result(value)
        else:
            job.future.set_exception(error)
        self._ended()

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
    session = scheduler.current()
    with telling_spend(session.ledger), session.executor(Requirements(**requirements)) as executor:
        try:
            return list(executor.map(func, over))
        except BaseException:
            executor.cancel()  # the other results would be paid for and thrown away
            raise
