"""The Session: everything wired together, and Dask's scheduler while its block runs."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any

import dask
from dask._task_spec import Task
from dask.local import get_sync

from cloudoffload.engine import scheduler
from cloudoffload.engine.clouds import EMULATED, Clouds
from cloudoffload.engine.collections import expression, nested, rebuilt
from cloudoffload.engine.computation import Computation
from cloudoffload.engine.estimating import estimate_plan
from cloudoffload.engine.events import Events
from cloudoffload.engine.failures import to_exception
from cloudoffload.engine.services import Services
from cloudoffload.engine.storing import Metered, fetch, in_parallel
from cloudoffload.errors import PlanError, SessionClosed, SettingsError
from cloudoffload.graph import remote
from cloudoffload.graph.annotations import dropped, has_prefix, of_tasks, with_stated
from cloudoffload.graph.expression import materialize
from cloudoffload.graph.planner import make_plan
from cloudoffload.graph.planning_work import is_planning_work
from cloudoffload.graph.reading import parquet_bytes
from cloudoffload.interfaces import Provider
from cloudoffload.ledger.ledger import Ledger
from cloudoffload.ledger.report import Report
from cloudoffload.routing.route import Decision
from cloudoffload.settings import load, parse_budget
from cloudoffload.types import Budget, Edge, Estimate, Failure, Key, Plan, Ref, Requirements
from cloudoffload.wire.signing import Signer

if TYPE_CHECKING:
    from cloudoffload.engine.executor import UnitExecutor

logger = logging.getLogger(__name__)


class Session:
    """Runs Dask graphs on the given clouds; Dask's scheduler inside its ``with`` block.

    Parameters
    ----------
    providers : sequence of str or Provider, optional
        ``"local"``, ``"aws"``, or objects of your own: only these take part. Default: this machine, and the clouds that
        are emulated.
    emulate : bool or sequence of str
        Clouds to start on this machine for the session; True means all that can be.
    store : str, optional
        URL of the store behind refs (``s3://``, ``gs://``, ``r2://``, ``file:///folder``). Default: what the providers
        share.
    budget : str, Decimal, Budget or None, optional
        Most that the session may cost, such as ``"0.50 USD"``; ``"none"`` for no limit. Default: the setting
        ``cloudoffload.budget``, 1 USD unless changed.
    prefer : str, optional
        ``"balanced"``, ``"cost"`` or ``"latency"``.
    rules : mapping of str to Requirements, optional
        Requirements of tasks by the prefix of their key, such as ``{"read-parquet": Requirements(provider="aws")}``.
    workers : int, optional
        Worker processes on this machine.
    memory_mb : int, optional
        Memory limit of each of them, MB.
    results : str, optional
        What the client may decode: ``"data"``, ``"verified"`` or ``"pickle"``.
    tags : mapping of str to str, optional
        On every row of the ledger.
    run_id : str, optional
        Name of the run; objects lie below ``runs/<run_id>/``.

    Raises
    ------
    SettingsError
        An argument or setting is not allowed.
    """

    def __init__(
        self,
        *,
        providers: Sequence[str | Provider] | None = None,
        emulate: bool | Sequence[str] = False,
        store: str | None = None,
        budget: str | Decimal | float | Budget | None = None,
        prefer: str | None = None,
        rules: Mapping[str, Requirements] | None = None,
        workers: int | None = None,
        memory_mb: int | None = None,
        results: str | None = None,
        tags: Mapping[str, str] | None = None,
        run_id: str | None = None,
    ) -> None:
        self._settings = settings = load()
        self._providers = _names(providers, emulate)
        self._emulate = tuple(EMULATED) if emulate is True else tuple(emulate or ())
        self._store_url = store
        self._budget = settings.budget if budget is None else parse_budget(budget)
        self._prefer = _allowed("prefer", prefer or settings.prefer, ("balanced", "cost", "latency"))
        self._results = _allowed("results", results or settings.results, ("data", "verified", "pickle"))
        self._rules = dict(rules or {})
        self._workers = _positive("workers", workers) or settings.local.workers
        memory = _positive("memory_mb", memory_mb)
        self._memory = memory << 20 if memory else settings.local.memory_each(self._workers)
        self._tags = dict(tags or {})
        self.run_id = run_id or f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        self._services: Services | None = None
        self._ledger = Ledger(self._budget, tags=self._tags)
        self.events = Events()
        self._lock = threading.RLock()
        self._token: Token[Session | None] | None = None
        self._running: set[Computation] = set()
        self._plans: list[Plan] = []
        self.closed = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self._services else "not started"
        return f"<Session {self.run_id} on {', '.join(map(str, self._providers))}, {state}>"

    def __enter__(self) -> Session:
        self._open()
        self._token = scheduler.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __call__(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        """Let ``scheduler=session`` work."""
        return self.get(dsk, keys, **kwargs)

    def get(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        """Dask's scheduler protocol: values of ``keys``.

        Raises
        ------
        PlanError, BudgetExceeded, TaskError, ProviderError, Cancelled
            As :mod:`cloudoffload.errors` explains; what the user's code raised is raised as it is.
        """
        services = self._open()
        tasks, wanted = materialize(dsk, keys)
        if is_planning_work(tasks):
            return nested(keys, iter(get_sync(tasks, wanted)))
        plan = self._plan(dsk, tasks, wanted, kwargs)
        refs = self._run(plan)
        return nested(keys, iter(self._fetch_all(services, plan, refs)))

    def compute(self, *collections: Any, requirements: Requirements | None = None, **kwargs: Any) -> tuple[Any, ...]:
        """``dask.compute`` in this session, with requirements of this computation."""
        stated = {} if requirements is None else {name: getattr(requirements, name) for name in Requirements.__slots__}
        return tuple(dask.compute(*collections, scheduler=self, **stated, **kwargs))

    def persist(self, *collections: Any, optimize_graph: bool = True, **kwargs: Any) -> list[Any]:
        """Compute collections and leave their values in the store; returns collections that refer to them.

        The values are deleted when the collections are gone, or when the session closes.
        """
        given = collections[0] if len(collections) == 1 and isinstance(collections[0], (list, tuple)) else collections
        services = self._open()
        expr, keys = expression(given, finalize=False, optimize_graph=optimize_graph)
        tasks, wanted = materialize(expr, keys)
        plan = self._plan(expr, tasks, wanted, kwargs)
        refs = self._run(plan)
        values = [self._remote(services, plan, edge, refs) for edge in plan.results]
        return rebuilt(given, expr, keys, lambda key, place: remote.node(key, values[place]))

    def plan(self, *collections: Any) -> Plan:
        """Units that computing these collections would run; nothing is run."""
        expr, keys = expression(collections, finalize=True)
        return self._plan(expr, *materialize(expr, keys), {})

    def estimate(self, *collections: Any) -> Estimate:
        """Dollars, seconds and bytes that computing these collections would take, before anything is spent."""
        expr, keys = expression(collections, finalize=True)
        return self.estimate_graph(expr, keys)

    def estimate_graph(self, dsk: Any, keys: Any) -> Estimate:
        """:meth:`estimate` for what Dask hands a scheduler."""
        return estimate_plan(self._open(), self._plan(dsk, *materialize(dsk, keys), {}), parquet_bytes(dsk))

    def explain(self, key: str) -> Decision:
        """Where a unit of an earlier plan would go now, with every quote and refusal.

        Parameters
        ----------
        key : str
            Key or prefix of a task, such as ``"read-parquet"``.

        Raises
        ------
        PlanError
            No plan of this session has such a task.
        """
        for plan in reversed(self._plans):
            for unit in plan.units:
                if str(unit.key) == str(key) or has_prefix(unit.prefix, str(key)):
                    return self._open().decide(unit)
        known = sorted({unit.prefix for plan in self._plans for unit in plan.units})
        raise PlanError(f"no task {key!r} was planned in this session; there were: {', '.join(known) or 'none'}")

    def report(self, by: str = "provider") -> Report:
        """What the session has cost, by ``"provider"``, ``"layer"``, ``"tag"`` or ``"day"``."""
        return Report(self._ledger.rows(), by, self._ledger.reserved)

    def stats(self) -> dict[str, Any]:
        """Counts of the session: units, calls, retries, bytes through this machine, seconds, by provider."""
        if self._services is None:
            raise SessionClosed("the session has not run anything yet")
        totals = self._services.counters.read(self._ledger)
        return {
            "units": totals.units_done,
            "calls": totals.calls,
            "retries": totals.retries,
            "hedges": 0,
            "failovers": 0,
            "client_bytes_in": totals.client_bytes_in,
            "client_bytes_out": totals.client_bytes_out,
            "bytes_processed": totals.bytes_processed,
            "seconds": totals.seconds,
            "providers": {
                name: {"units": part.units, "calls": part.calls, "usd": part.usd}
                for name, part in totals.providers.items()
            },
        }

    def client_environment(self) -> dict[str, str]:
        """Environment variables with which the user's own tools reach the emulated clouds; holds throw-away secrets."""
        environment: dict[str, str] = {}
        for cloud in self._open().clouds.emulated.values():
            environment |= cloud.client_environment()
        return environment

    def executor(self) -> UnitExecutor:
        """A :class:`concurrent.futures.Executor` whose calls are units of this session."""
        from cloudoffload.engine.executor import UnitExecutor

        return UnitExecutor(self)

    def cancel(self) -> None:
        """End what is being computed, from another thread; it raises :class:`~cloudoffload.errors.Cancelled`."""
        with self._lock:
            running = list(self._running)
        for computation in running:
            computation.cancel()

    def close(self) -> None:
        """End processes, delete the run's objects, stop emulated clouds; harmless when called twice."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        scheduler.leave(self, self._token)
        self.cancel()
        if self._services is not None:
            self._services.clouds.close()
            self._services.pool.close()

    def _open(self) -> Services:
        with self._lock:
            if self.closed:
                raise SessionClosed("this Session is closed; open a new one")
            if self._services is None:
                signer = Signer()
                clouds = Clouds(
                    names=self._providers,
                    emulate=self._emulate,
                    settings=self._settings,
                    signer=signer,
                    run=self.run_id,
                    store=self._store_url,
                    workers=self._workers,
                    worker_memory=self._memory,
                )
                self._services = Services(
                    self.run_id,
                    self._settings,
                    self._results,
                    self._prefer,
                    signer,
                    clouds,
                    self._ledger,
                    self.events,
                )
                atexit.register(_close_at_exit, weakref.ref(self), os.getpid())
                if list(self._providers) == ["local"]:
                    logger.info("cloudoffload runs on this machine only: no cloud is deployed or emulated")
            return self._services

    def in_background(self, job: Callable[[], None]) -> None:
        """Run a job on one of the session's threads."""
        self._open().pool.submit(job)

    def run_independent(
        self,
        tasks: dict[Key, Task],
        requirements: Requirements,
        settle: Callable[[Key, Any, BaseException | None], None],
    ) -> None:
        """Run tasks that don't need each other; one that fails does not end the others.

        Parameters
        ----------
        tasks : dict of Task
            Each with all its arguments.
        requirements : Requirements
            Of every task.
        settle : callable
            ``settle(key, value, error)`` is called once for each task, when it ends.
        """
        services = self._open()
        stated = {name: getattr(requirements, name) for name in Requirements.__slots__}
        plan = self._plan(None, tasks, list(tasks), stated)
        if len(plan.units) != len(tasks):
            raise PlanError("independent tasks must not refer to each other")

        def settled(number: int, result: Ref | Failure | BaseException) -> None:
            unit = plan.units[number]
            try:
                if isinstance(result, Failure):
                    raise to_exception(result, unit, services.results)
                if isinstance(result, BaseException):
                    raise result
                with Metered(services, "download"):
                    value = fetch(services, result)
            except BaseException as error:  # noqa: BLE001 - it belongs to this task alone
                settle(unit.key, None, error)
            else:
                settle(unit.key, value, None)

        self._run(plan, isolated=True, on_result=settled)

    def _plan(self, dsk: Any, tasks: Any, wanted: Any, stated: Mapping[str, Any]) -> Plan:
        for name in sorted(dropped(dsk)):
            warnings.warn(
                f"the annotation {name!r} was lost when Dask optimized the graph; put dask.annotate around compute(), "
                "or use Session(rules={prefix: Requirements(...)})",
                stacklevel=4,
            )
        requirements = with_stated(with_stated(Requirements(), dask.get_annotations()), stated)
        plan = make_plan(tasks, wanted, requirements=requirements, stated=of_tasks(dsk), rules=self._rules)
        services = self._open()
        for unit in {(unit.prefix, unit.requirements, unit.here_because): unit for unit in plan.units}.values():
            services.decide(unit)  # whatever can't run anywhere is said before anything runs
        self._plans = [*self._plans[-9:], plan]
        return plan

    def _run(
        self,
        plan: Plan,
        *,
        isolated: bool = False,
        on_result: Callable[[int, Ref | Failure | BaseException], None] | None = None,
    ) -> dict[int, Ref]:
        computation = Computation(self._open(), plan, isolated=isolated, on_result=on_result)
        with self._lock:
            self._running.add(computation)
        try:
            return computation.run()
        finally:
            with self._lock:
                self._running.discard(computation)

    def _fetch_all(self, services: Services, plan: Plan, refs: dict[int, Ref]) -> list[Any]:
        total = len(plan.units)

        def value(edge: Edge) -> Any:
            if edge.source >= total and edge.source - total not in plan.known and edge.part is None:
                return plan.data[edge.source - total]
            return fetch(services, _part(refs[edge.source], edge))

        edges = list(dict.fromkeys(plan.results))
        with Metered(services, "download"):
            values = dict(zip(edges, in_parallel(services, value, edges), strict=True))
        stored = [refs[edge.source].key for edge in edges if edge.source < total and refs[edge.source].data is None]
        if stored:
            services.pool.submit(lambda: services.clouds.store.delete(stored))
        return [values[edge] for edge in plan.results]

    def _remote(self, services: Services, plan: Plan, edge: Edge, refs: dict[int, Ref]) -> remote.RemoteValue:
        ref = _part(refs[edge.source], edge)
        if edge.source >= len(plan.units) or ref.data is not None:
            return remote.RemoteValue(ref, lambda ref: fetch(services, ref), lambda: None)
        store, pool, key = services.clouds.store, services.pool, ref.key
        return remote.RemoteValue(
            ref, lambda ref: fetch(services, ref), lambda: pool.submit(lambda: store.delete([key]))
        )


def _part(ref: Ref, edge: Edge) -> Ref:
    if edge.part is None:
        return ref
    return Ref(ref.store, ref.key, ref.span, ref.nbytes, ref.digest, ref.parted, edge.part, ref.data)


def _names(providers: Sequence[str | Provider] | None, emulate: bool | Sequence[str]) -> tuple[str | Provider, ...]:
    if isinstance(providers, str) or isinstance(emulate, str):
        raise SettingsError("providers and emulate are sequences of names, such as providers=('aws',)")
    if providers is not None:
        if not providers:
            raise SettingsError("providers names no provider; use ('local',) to run on this machine")
        return tuple(providers)
    return (*(EMULATED if emulate is True else tuple(emulate or ())), "local")


def _allowed(name: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise SettingsError(f"{name} = {value!r} is not allowed: use one of {', '.join(map(repr, choices))}")
    return value


def _positive(name: str, value: int | None) -> int | None:
    if value is not None and value < 1:
        raise SettingsError(f"{name} = {value!r} is not allowed: use a whole number from 1")
    return value


def _close_at_exit(session: weakref.ref[Session], pid: int) -> None:
    found = session()
    if found is not None and os.getpid() == pid:
        found.close()
