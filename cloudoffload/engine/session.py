"""The Session: everything wired together, and Dask's scheduler while its block runs."""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

import dask
from dask._task_spec import Task
from dask.base import unpack_collections
from dask.local import get_sync

from cloudoffload.engine import scheduler
from cloudoffload.engine.clouds import EMULATED, Clouds
from cloudoffload.engine.collections import expression, nested, rebuilt
from cloudoffload.engine.computation import Computation
from cloudoffload.engine.estimating import estimate_plan
from cloudoffload.engine.events import Events
from cloudoffload.engine.failures import to_exception
from cloudoffload.engine.services import Services
from cloudoffload.engine.spending import telling_spend
from cloudoffload.engine.storing import fetch, in_parallel, metered
from cloudoffload.errors import PlanError, ProviderError, SessionClosed, SettingsError, StoreError
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
from cloudoffload.types import Budget, Edge, Estimate, Failure, Key, Plan, Ref, Requirements, Unit
from cloudoffload.wire.envelope import prefix_of
from cloudoffload.wire.signing import Signer

if TYPE_CHECKING:
    from cloudoffload.engine.executor import UnitExecutor

logger = logging.getLogger(__name__)

_PLANS = 10
"""How many of the latest plans :meth:`Session.explain` knows."""


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
        self._end: weakref.finalize[..., Session] | None = None
        self.ledger = Ledger(self._budget, tags=self._tags)
        self.events = Events()
        self._lock = threading.RLock()
        self._running: set[Computation] = set()
        # Of earlier plans only their units: data and programs may be large, and persisted values must be let go.
        self._planned: deque[tuple[Unit, ...]] = deque(maxlen=_PLANS)
        self.closed = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self._services else "not started"
        return f"<Session {self.run_id} on {', '.join(map(str, self._providers))}, {state}>"

    def __enter__(self) -> Session:
        self._open()
        scheduler.enter(self)
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
        with self._working() as services:
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
        found, repack = unpack_collections(*given)
        with self._working() as services:
            expr, keys = expression(found, finalize=False, optimize_graph=optimize_graph)
            tasks, wanted = materialize(expr, keys)
            plan = self._plan(expr, tasks, wanted, kwargs)
            values = self._handles(services, plan, self._run(plan))
        kept = rebuilt(found, expr, keys, lambda key, place: remote.node(key, values[plan.results[place]]))
        return list(repack(kept))

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
        for units in reversed(self._planned):
            for unit in units:
                if str(unit.key) == str(key) or has_prefix(unit.prefix, str(key)):
                    return self._open().decide(unit)
        known = sorted({unit.prefix for units in self._planned for unit in units})
        raise PlanError(f"no task {key!r} was planned in this session; there were: {', '.join(known) or 'none'}")

    def report(self, by: str = "provider") -> Report:
        """What the session has cost, by ``"provider"``, ``"layer"``, ``"tag"`` or ``"day"``."""
        return Report(self.ledger.rows(), by, self.ledger.reserved)

    def stats(self) -> dict[str, Any]:
        """Counts of the session: units, calls, retries, bytes through this machine, seconds, by provider."""
        if self._services is None:
            raise SessionClosed("the session has not run anything yet")
        totals = self._services.counters.read(self.ledger)
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
        scheduler.leave(self)
        self.cancel()
        if self._end is not None:
            self._end()

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
                    self.ledger,
                    self.events,
                )
                # Also when nobody closes it: when the last reference is gone, and when the interpreter ends.
                self._end = weakref.finalize(self, _end, self._services, os.getpid())
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
        started: Callable[[Computation], None],
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
        started : callable
            Is given the computation before it runs, so that it can be cancelled.
        """
        stated = {name: getattr(requirements, name) for name in Requirements.__slots__}
        with self._working() as services:
            plan = self._plan(None, tasks, list(tasks), stated)
            if len(plan.units) != len(tasks):
                raise PlanError("independent tasks must not refer to each other")

            def settled(number: int, result: Ref | Failure | BaseException) -> None:
                unit = plan.units[number]
                try:
                    value = self._value(services, unit, result)
                except BaseException as error:  # noqa: BLE001 - it belongs to this task alone
                    settle(unit.key, None, error)
                else:
                    settle(unit.key, value, None)

            self._run(plan, isolated=True, on_result=settled, started=started)

    def _value(self, services: Services, unit: Unit, result: Ref | Failure | BaseException) -> Any:
        """What an independent unit returned, or raise what it raised."""
        if isinstance(result, Failure):
            raise to_exception(result, unit, services.results)
        if isinstance(result, BaseException):
            raise result
        with metered(services, "download"):
            value = fetch(services, result)
        if result.data is None:
            services.trash.add([result.key])
        return value

    @contextmanager
    def _working(self) -> Iterator[Services]:
        """What is stopped in this block says what it cost, and what fails because the session was closed says that."""
        with telling_spend(self.ledger):
            try:
                yield self._open()
            except (ProviderError, StoreError) as error:
                if self.closed:
                    raise SessionClosed("this Session was closed while it was at work") from error
                raise

    def _plan(self, dsk: Any, tasks: Any, wanted: Any, stated: Mapping[str, Any]) -> Plan:
        for name in sorted(dropped(dsk)):
            warnings.warn(
                f"the annotation {name!r} was lost when Dask optimized the graph; put dask.annotate around compute(), "
                "or use Session(rules={prefix: Requirements(...)})",
                stacklevel=4,
            )
        requirements = with_stated(with_stated(Requirements(), dask.get_annotations()), stated)
        plan = make_plan(tasks, wanted, requirements=requirements, stated=of_tasks(dsk), rules=self._rules)
        plan = self._with_foreign_values(plan)
        services = self._open()
        for unit in {(unit.prefix, unit.requirements, unit.here_because): unit for unit in plan.units}.values():
            services.decide(unit)  # whatever can't run anywhere is said before anything runs
        self._planned.append(plan.units)
        return plan

    def _with_foreign_values(self, plan: Plan) -> Plan:
        """The plan with what another session has persisted as data: its objects are out of reach for these workers."""
        known = {
            i: ref for i, ref in plan.known.items() if ref.data is not None or ref.key.startswith(prefix_of(self.run_id))
        }
        if len(known) == len(plan.known):
            return plan
        data = [
            value.load() if isinstance(value, remote.RemoteValue) and i not in known else value
            for i, value in enumerate(plan.data)
        ]
        return replace(plan, data=tuple(data), known=known)

    def _run(
        self,
        plan: Plan,
        *,
        isolated: bool = False,
        on_result: Callable[[int, Ref | Failure | BaseException], None] | None = None,
        started: Callable[[Computation], None] | None = None,
    ) -> dict[int, Ref]:
        computation = Computation(self._open(), plan, isolated=isolated, on_result=on_result)
        if started is not None:
            started(computation)
        with self._lock:
            self._running.add(computation)
        try:
            return computation.run()
        finally:
            with self._lock:
                self._running.discard(computation)

    def _fetch_all(self, services: Services, plan: Plan, refs: dict[int, Ref]) -> list[Any]:
        total = len(plan.units)
        values: dict[Edge, Any] = {}
        stored: dict[Edge, Ref] = {}
        for edge in plan.results:
            ref = refs[edge.source]
            if edge.source >= total and edge.source - total not in plan.known and edge.part is None:
                values[edge] = plan.data[edge.source - total]
            elif ref.data is not None:
                values[edge] = fetch(services, _part(ref, edge))
            else:
                stored[edge] = _part(ref, edge)
        with metered(services, "download"):
            downloaded = in_parallel(services, partial(fetch, services), list(stored.values()))
        values.update(zip(stored, downloaded, strict=True))
        if own := [ref.key for edge, ref in stored.items() if edge.source < total]:
            services.trash.add(own)
        return [values[edge] for edge in plan.results]

    def _handles(self, services: Services, plan: Plan, refs: dict[int, Ref]) -> dict[Edge, remote.RemoteValue]:
        """Handles of stored results, one for each, however often it was asked for."""
        total = len(plan.units)
        objects: dict[str, _Kept] = {}
        handles: dict[Edge, remote.RemoteValue] = {}
        for edge in dict.fromkeys(plan.results):
            ref = _part(refs[edge.source], edge)
            held: _Kept | None = None
            if edge.source - total in plan.known:
                held = _Kept(lambda: None, plan.data[edge.source - total])  # persisted before, by somebody else
            elif edge.source < total and ref.data is None:
                if ref.key not in objects:
                    objects[ref.key] = _Kept(partial(services.trash.add, [ref.key]))
                held = objects[ref.key]
            handles[edge] = remote.RemoteValue(ref, self._load, held or _nothing)
        return handles

    def _load(self, ref: Ref) -> Any:
        """Value of a persisted collection, for another scheduler."""
        with self._working() as services, metered(services, "download"):
            return in_parallel(services, partial(fetch, services), [ref])[0]


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


def _end(services: Services, pid: int) -> None:
    if os.getpid() == pid:  # a forked child has no say in its parent's processes
        services.close()


class _Kept:
    """What some handles need; ``let_go`` is called when the last of them is gone."""

    def __init__(self, let_go: Callable[[], None], needed: Any = None) -> None:
        self._needed = needed
        weakref.finalize(self, let_go).atexit = False

    def __call__(self) -> None:
        """A handle is gone, and with it what it held of this."""


def _nothing() -> None:
    """A value inside the handle, or one that stays for the whole run, needs no deletion."""
