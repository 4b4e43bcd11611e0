"""What a session does with a graph: plan it, run it, fetch what was asked for."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import dask
from dask._task_spec import Task

from cloudoffload.engine.computation import Computation
from cloudoffload.engine.estimating import Estimated, estimate_plan
from cloudoffload.engine.failures import to_exception
from cloudoffload.engine.handles import handles
from cloudoffload.engine.objects import handed_over
from cloudoffload.engine.services import Services
from cloudoffload.engine.shuffling import shuffle_costs
from cloudoffload.engine.spending import telling_spend
from cloudoffload.engine.storing import fetch, in_parallel, metered
from cloudoffload.errors import PlanError, ProviderError, SessionClosed, StoreError
from cloudoffload.graph.annotations import dropped, has_prefix, of_tasks, with_stated
from cloudoffload.graph.planner import make_plan
from cloudoffload.graph.remote import RemoteValue
from cloudoffload.types import Edge, Failure, Key, Plan, Ref, Requirements, Unit
from cloudoffload.wire.envelope import prefix_of
from cloudoffload.wire.refs import part_of

_PLANS = 10
"""How many of the latest plans can be asked why."""


class Runner:
    """Plans and runs graphs on the services of one session.

    Parameters
    ----------
    services : Services
        Of the session.
    rules : mapping of str to Requirements
        Requirements of tasks by the prefix of their key.
    """

    def __init__(self, services: Services, rules: Mapping[str, Requirements]) -> None:
        self.services = services
        self.closed = False
        self.dry = False  # estimate in place of running
        self._rules = rules
        self._lock = threading.Lock()
        self._running: set[Computation] = set()
        # Of earlier plans only their units: data and programs may be large, and persisted values must be let go.
        self._planned: deque[tuple[Unit, ...]] = deque(maxlen=_PLANS)

    @contextmanager
    def working(self) -> Iterator[None]:
        """What is stopped in this block says what it cost, and what fails because the session was closed says that."""
        with telling_spend(self.services.ledger):
            try:
                yield
            except (ProviderError, StoreError) as error:
                if self.closed:
                    raise SessionClosed("this Session was closed while it was at work") from error
                raise

    def plan(self, dsk: Any, tasks: Any, wanted: Any, stated: Mapping[str, Any]) -> Plan:
        """Plan of a graph, none of whose units is without a provider.

        Parameters
        ----------
        dsk : Expr, HighLevelGraph, dict or None
            What Dask handed over; annotations are read from it.
        tasks, wanted
            The same, materialized.
        stated : mapping
            Requirements of the whole computation, by field.
        """
        for name in sorted(dropped(dsk)):
            warnings.warn(
                f"the annotation {name!r} was lost when Dask optimized the graph; put dask.annotate around compute(), "
                "or use Session(rules={prefix: Requirements(...)})",
                stacklevel=5,
            )
        requirements = with_stated(with_stated(Requirements(), dask.get_annotations()), stated)
        plan = make_plan(
            tasks,
            wanted,
            requirements=requirements,
            stated=of_tasks(dsk),
            rules=self._rules,
            shuffle_costs=shuffle_costs(self.services, dsk),
            width=sum(lane.slots for lane in self.services.clouds.lanes.values()),
            one_place=list(self.services.clouds.lanes) == ["local"],
        )
        plan = self._with_foreign_values(plan)
        for unit in {(unit.prefix, unit.requirements, unit.here_because): unit for unit in plan.units}.values():
            self.services.decide(unit)  # whatever can't run anywhere is said before anything runs
        self._planned.append(plan.units)
        return plan

    def _with_foreign_values(self, plan: Plan) -> Plan:
        """The plan with what another session has persisted as data: its objects are out of reach for these workers."""
        known = {
            i: ref
            for i, ref in plan.known.items()
            if ref.data is not None or ref.key.startswith(prefix_of(self.services.run))
        }
        if len(known) == len(plan.known):
            return plan
        data = [
            value.load() if isinstance(value, RemoteValue) and i not in known else value
            for i, value in enumerate(plan.data)
        ]
        return replace(plan, data=tuple(data), known=known)

    def run(
        self,
        plan: Plan,
        *,
        tasks: Mapping[Key, Any] | None = None,
        bytes_read: int = 0,
        isolated: bool = False,
        on_result: Callable[[int, Ref | Failure | BaseException], None] | None = None,
        started: Callable[[Computation], None] | None = None,
        ahead: int | None = None,
    ) -> dict[int, Ref]:
        """Run a plan; returns where its results lie, by number. Dask's callbacks are shown its ``tasks``.

        Raises
        ------
        Estimated
            This is a dry run: nothing was run. ``bytes_read`` is what its units read from files.
        """
        if self.dry:
            raise Estimated(estimate_plan(self.services, plan, bytes_read))
        computation = Computation(self.services, plan, tasks=tasks, isolated=isolated, on_result=on_result, ahead=ahead)
        if started is not None:
            started(computation)
        with self._lock:
            self._running.add(computation)
        try:
            return computation.run()
        finally:
            with self._lock:
                self._running.discard(computation)

    def values(self, plan: Plan, refs: dict[int, Ref]) -> list[Any]:
        """Download the results of a plan that has run, in the order in which they were asked for."""
        total = len(plan.units)
        values: dict[Edge, Any] = {}
        stored: dict[Edge, Ref] = {}
        for edge in plan.results:
            ref = refs[edge.source]
            if edge.source >= total and edge.source - total not in plan.known and edge.part is None:
                values[edge] = plan.data[edge.source - total]
            elif ref.data is not None:
                values[edge] = fetch(self.services, part_of(ref, edge))
            else:
                stored[edge] = part_of(ref, edge)
        try:
            with metered(self.services, "download"):
                downloaded = in_parallel(self.services, partial(fetch, self.services), list(stored.values()))
        finally:
            if own := handed_over(plan, refs):
                self.services.trash.add(own)
        values.update(zip(stored, downloaded, strict=True))
        return [values[edge] for edge in plan.results]

    def handles(self, plan: Plan, refs: dict[int, Ref]) -> dict[Edge, RemoteValue]:
        """Handles of the results of a plan that has run; their values stay in the store."""
        return handles(plan, refs, self._load, self.services.trash.add)

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
        with self.working():
            plan = self.plan(None, tasks, list(tasks), stated)
            if len(plan.units) != len(tasks):
                raise PlanError("independent tasks must not refer to each other")

            def settled(number: int, result: Ref | Failure | BaseException) -> None:
                unit = plan.units[number]
                try:
                    value = self._value(unit, result)
                except BaseException as error:  # noqa: BLE001 - it belongs to this task alone
                    settle(unit.key, None, error)
                else:
                    settle(unit.key, value, None)

            self.run(plan, isolated=True, on_result=settled, started=started)

    def find(self, key: str) -> Unit:
        """Unit of an earlier plan, by its key or prefix.

        Raises
        ------
        PlanError
            There is none; the message lists what there was.
        """
        for units in reversed(self._planned):
            for unit in units:
                # What was bundled has the names of all that is in it.
                if str(unit.key) == str(key) or any(has_prefix(name, str(key)) for name in unit.prefix.split("+")):
                    return unit
        known = sorted({unit.prefix for units in self._planned for unit in units})
        raise PlanError(f"no task {key!r} was planned in this session; there were: {', '.join(known) or 'none'}")

    def cancel(self) -> None:
        """End what is being computed, from another thread."""
        with self._lock:
            running = list(self._running)
        for computation in running:
            computation.cancel()

    def _value(self, unit: Unit, result: Ref | Failure | BaseException) -> Any:
        """What an independent unit returned, or raise what it raised."""
        if isinstance(result, Failure):
            raise to_exception(result, unit, self.services.results)
        if isinstance(result, BaseException):
            raise result
        try:
            with metered(self.services, "download"):
                return fetch(self.services, result)
        finally:
            if result.data is None:
                self.services.trash.add([result.key])

    def _load(self, ref: Ref) -> Any:
        """Value of a persisted collection, for another scheduler."""
        with self.working(), metered(self.services, "download"):
            return in_parallel(self.services, partial(fetch, self.services), [ref])[0]
