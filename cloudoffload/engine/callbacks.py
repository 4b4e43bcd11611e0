"""Dask's own callbacks (ProgressBar, Profiler, ...): the tasks of a unit begin and end together, with it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from dask.callbacks import Callback, local_callbacks, normalize_callback, unpack_callbacks

from cloudoffload.engine.messages import Draft
from cloudoffload.types import Key, Outcome, Plan, Ref


class DaskCallbacks:
    """Calls the callbacks that are active where the computation starts; costs nothing when there are none.

    Values stay in the store, so callbacks are given None for them. One that keeps values for later (``dask.cache``)
    would hand out None as a result: it is left out, with a warning.

    Parameters
    ----------
    plan : Plan
        What runs.
    tasks : mapping
        The graph that it was made of. A task that is not there, such as one of a shuffle, is shown as None.
    """

    def __init__(self, plan: Plan, tasks: Mapping[Key, Any]) -> None:
        self._plan = plan
        self._tasks = tasks
        self._active: Any = None
        self._context: Any = None
        self._state: dict[str, Any] = {}
        self._graph: dict[Key, Any] = {}

    def start(self) -> None:
        """Tell the callbacks that the computation starts."""
        if not Callback.active:
            return
        context = local_callbacks()
        found = context.__enter__()
        self._context = context
        usable = [item for item in map(normalize_callback, found) if not _keeps(item)]
        self._active = unpack_callbacks(usable)
        keys = [key for unit in self._plan.units for key in unit.tasks]
        self._graph = {key: self._tasks.get(key) for key in keys}
        self._state = {
            "waiting": dict.fromkeys(keys),
            "ready": [],
            "running": set(),
            "finished": set(),
            "cache": {},
            "dependencies": {},
            "dependents": {},
            "released": set(),
        }
        for callback in self._active[0]:
            callback(self._graph)
        for callback in self._active[1]:
            callback(self._graph, self._state)

    def started(self, draft: Draft) -> None:
        """Tell the callbacks that tasks are on their way; a further try of their unit is no news."""
        if self._active is None:
            return
        for assignment in draft.units:
            if assignment.attempt > 1:
                continue
            for key in self._plan.units[assignment.number].tasks:
                self._state["waiting"].pop(key, None)
                self._state["running"].add(key)
                for callback in self._active[2]:
                    callback(key, self._graph, self._state)

    def ended(self, draft: Draft, outcome: Outcome) -> None:
        """Tell the callbacks which tasks are done now."""
        if self._active is None:
            return
        for assignment, result in zip(draft.units, outcome.results, strict=True):
            if not isinstance(result, Ref):
                continue
            for key in self._plan.units[assignment.number].tasks:
                self._state["running"].discard(key)
                self._state["finished"].add(key)
                for callback in self._active[3]:
                    callback(key, None, self._graph, self._state, draft.provider)

    def finish(self, *, failed: bool) -> None:
        """Tell the callbacks that the computation is over."""
        if self._context is None:
            return
        context, self._context = self._context, None
        try:
            for callback in self._active[4] if self._active else ():
                callback(self._graph, self._state, failed)
        finally:
            context.__exit__(None, None, None)


def _keeps(callback: tuple[Any, ...]) -> bool:
    owner = next((getattr(function, "__self__", None) for function in callback if function), None)
    if type(owner).__module__ != "dask.cache":
        return False
    warnings.warn(
        "dask.cache keeps values on this machine, and cloudoffload's stay in the store: it is left out", stacklevel=6
    )
    return True
