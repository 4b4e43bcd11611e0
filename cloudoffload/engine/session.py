"""The Session: everything wired together, and Dask's scheduler while its block runs."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any

import dask
from dask.base import unpack_collections
from dask.local import get_sync

from cloudoffload.engine import scheduler
from cloudoffload.engine.clouds import Clouds
from cloudoffload.engine.collections import expression, in_partitions, nested, rebuilt
from cloudoffload.engine.estimating import estimate_plan
from cloudoffload.engine.events import Events, Totals
from cloudoffload.engine.options import read_options
from cloudoffload.engine.runner import Runner
from cloudoffload.engine.services import Services
from cloudoffload.engine.spending import note_spend
from cloudoffload.engine.streaming import Stream
from cloudoffload.errors import SessionClosed
from cloudoffload.graph import remote
from cloudoffload.graph.collecting import collection_paused
from cloudoffload.graph.expression import materialize
from cloudoffload.graph.planning_work import is_planning_work
from cloudoffload.graph.reading import parquet_bytes
from cloudoffload.interfaces import Provider
from cloudoffload.ledger.ledger import Ledger
from cloudoffload.ledger.report import Report
from cloudoffload.routing.route import Decision
from cloudoffload.types import Budget, Estimate, Plan, Requirements
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
        Most memory that each of them, and what it starts, may hold, MB: one that holds more is ended. A store that lies
        in memory is taken off it, in equal shares, but never more than half.
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
        self._options = read_options(
            providers=providers,
            emulate=emulate,
            store=store,
            budget=budget,
            prefer=prefer,
            rules=rules,
            workers=workers,
            memory_mb=memory_mb,
            results=results,
            tags=tags,
            run_id=run_id,
        )
        self.run_id = self._options.run_id
        self.ledger = Ledger(self._options.budget, tags=self._options.tags)
        self.events = Events()
        self.closed = False
        self._signer = Signer()
        self._lock = threading.RLock()
        self._runner: Runner | None = None
        self._end: weakref.finalize[..., Runner] | None = None

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self._runner else "not started"
        return f"<Session {self.run_id} on {', '.join(map(str, self._options.providers))}, {state}>"

    def __enter__(self) -> Session:
        self._open()
        scheduler.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, KeyboardInterrupt):
            note_spend(error, self.ledger)  # it may have come between two computations

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
        runner = self._open()
        with runner.working():
            tasks, wanted = materialize(dsk, keys)
            if is_planning_work(tasks):
                return nested(keys, iter(get_sync(tasks, wanted)))
            with collection_paused():
                plan = runner.plan(dsk, tasks, wanted, kwargs)
                refs = runner.run(plan, tasks=tasks, bytes_read=parquet_bytes(dsk) if runner.dry else 0)
            return nested(keys, iter(runner.values(plan, refs)))

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
        runner = self._open()
        with runner.working():
            expr, keys = expression(found, finalize=False, optimize_graph=optimize_graph)
            tasks, wanted = materialize(expr, keys)
            plan = runner.plan(expr, tasks, wanted, kwargs)
            refs = runner.run(plan, tasks=tasks, bytes_read=parquet_bytes(expr) if runner.dry else 0)
            values = runner.handles(plan, refs)
        kept = rebuilt(found, expr, keys, lambda key, place: remote.node(key, values[plan.results[place]]))
        return list(repack(kept))

    def stream(
        self, collection: Any, *, ahead: int | None = None, requirements: Requirements | None = None
    ) -> Generator[Any, None, None]:
        """Values of a collection's partitions one after the other, each as soon as those before it were yielded.

        Meanwhile the next ones are computed. They wait in the store: this machine holds the partition that was yielded,
        the one after it, and no more. Each is deleted from the store when it is downloaded.

        Parameters
        ----------
        collection : Dask collection, or list of them
            A dataframe or series yields frames or series, partition by partition. An array yields its blocks as arrays
            of as many dimensions, the last index moving fastest (C order of ``array.blocks``). A bag yields a list for
            each partition, a delayed value itself. Several collections follow each other.
        ahead : int, optional
            How many partitions may be worked on, or wait in the store, before they are downloaded: work further ahead
            is not begun. Default: twice as many as there may be calls at a time, at most 256. More of them help where
            partitions are tiny.
        requirements : Requirements, optional
            Of this computation.

        Yields
        ------
        object
            The next partition. Planning happens at once, all else begins with the first of them. Who leaves early
            (``break``, an exception, Ctrl-C, ``close()``) ends the computation, and what it has stored is deleted.

        Raises
        ------
        PlanError, BudgetExceeded, TaskError, ProviderError, Cancelled
            As :meth:`get`; an error comes where its partition would, behind all partitions before it.
        SettingsError
            ``ahead`` is not a number from 1.
        TypeError
            There is no Dask collection.
        """
        stated = {} if requirements is None else {name: getattr(requirements, name) for name in Requirements.__slots__}
        runner = self._open()
        expr, keys = in_partitions(collection)
        with runner.working():
            plan = runner.plan(expr, *materialize(expr, keys), stated)
        bytes_read = parquet_bytes(expr) if runner.dry else 0
        return Stream(runner, plan, ahead=ahead, bytes_read=bytes_read).values()

    def plan(self, *collections: Any) -> Plan:
        """Units that computing these collections would run; nothing is run."""
        expr, keys = expression(collections, finalize=True)
        return self._open().plan(expr, *materialize(expr, keys), {})

    def estimate(self, *collections: Any) -> Estimate:
        """Dollars, seconds and bytes that computing these collections would take, before anything is spent."""
        expr, keys = expression(collections, finalize=True)
        return self.estimate_graph(expr, keys)

    def estimate_graph(self, dsk: Any, keys: Any) -> Estimate:
        """:meth:`estimate` for what Dask hands a scheduler."""
        runner = self._open()
        return estimate_plan(runner.services, runner.plan(dsk, *materialize(dsk, keys), {}), parquet_bytes(dsk))

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
        runner = self._open()
        return runner.services.decide(runner.find(key))

    def report(self, by: str = "provider") -> Report:
        """What the session has cost, by ``"provider"``, ``"layer"``, ``"tag"`` or ``"day"``."""
        return Report(self.ledger.sums(), by, self.ledger.reserved)

    def stats(self) -> dict[str, Any]:
        """Counts of the session: units, calls, retries, bytes through this machine and in the store, by provider."""
        totals = Totals() if self._runner is None else self._runner.services.totals()
        return {
            "units": totals.units_done,
            "calls": totals.calls,
            "in_flight": totals.in_flight,
            "retries": totals.retries,
            "hedges": 0,
            "failovers": 0,
            "client_bytes_in": totals.client_bytes_in,
            "client_bytes_out": totals.client_bytes_out,
            "bytes_processed": totals.bytes_processed,
            "store_bytes": totals.store_bytes,
            "store_bytes_peak": totals.store_bytes_peak,
            "seconds": totals.seconds,
            "providers": {
                name: {"units": part.units, "calls": part.calls, "usd": part.usd}
                for name, part in totals.providers.items()
            },
        }

    @property
    def public_keys(self) -> Mapping[str, bytes]:
        """Raw Ed25519 public keys that this session signs with, by key id: what a worker of one's own must know."""
        return self._signer.public_keys

    def client_environment(self) -> dict[str, str]:
        """Environment variables with which the user's own tools reach the emulated clouds; holds throw-away secrets."""
        environment: dict[str, str] = {}
        for cloud in self._open().services.clouds.emulated.values():
            environment |= cloud.client_environment()
        return environment

    @contextmanager
    def dry_run(self) -> Iterator[None]:
        """In this block computations are estimated in place of being run.

        Raises
        ------
        Estimated
            At the first computation, with the estimate; a ``BaseException``, because its value does not exist and no
            ``except Exception`` may go on without it.
        """
        runner = self._open()
        runner.dry = True
        try:
            yield
        finally:
            runner.dry = False

    def executor(self, requirements: Requirements = Requirements()) -> UnitExecutor:  # noqa: B008 - immutable
        """A :class:`concurrent.futures.Executor` whose calls are units of this session.

        Parameters
        ----------
        requirements : Requirements
            Of every call.
        """
        from cloudoffload.engine.executor import UnitExecutor

        return UnitExecutor(self._open, requirements)

    def cancel(self) -> None:
        """End what is being computed, from another thread; it raises :class:`~cloudoffload.errors.Cancelled`."""
        if self._runner is not None:
            self._runner.cancel()

    def close(self) -> None:
        """End processes, delete the run's objects, stop emulated clouds; harmless when called twice."""
        with self._lock:
            if self.closed:
                return
            self.closed = True
        scheduler.leave(self)
        if self._runner is not None and self._end is not None:
            self._runner.closed = True
            self._runner.cancel()
            self._end()

    def _open(self) -> Runner:
        with self._lock:
            if self.closed:
                raise SessionClosed("this Session is closed; open a new one")
            if self._runner is None:
                services = self._start()
                self._runner = Runner(services, self._options.rules)
                # Also when nobody closes it: when neither the session nor a persisted value is left, and when the
                # interpreter ends.
                self._end = weakref.finalize(self._runner, _end, services, os.getpid())
            return self._runner

    def _start(self) -> Services:
        options = self._options
        clouds = Clouds(
            names=options.providers,
            emulate=options.emulate,
            settings=options.settings,
            signer=self._signer,
            run=self.run_id,
            store=options.store,
            workers=options.workers,
            worker_memory=options.worker_memory,
        )
        if list(options.providers) == ["local"]:
            logger.info("cloudoffload runs on this machine only: no cloud is deployed or emulated")
        return Services(
            self.run_id,
            options.settings,
            options.results,
            options.prefer,
            self._signer,
            clouds,
            self.ledger,
            self.events,
        )


def _end(services: Services, pid: int) -> None:
    if os.getpid() == pid:  # a forked child has no say in its parent's processes
        services.close()
