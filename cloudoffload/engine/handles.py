"""Handles of persisted values: what keeps stored objects alive, and who deletes them when nobody needs them."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from cloudoffload.engine.storing import part_of
from cloudoffload.graph.remote import RemoteValue
from cloudoffload.types import Edge, Plan, Ref


def handles(
    plan: Plan, refs: dict[int, Ref], load: Callable[[Ref], Any], delete: Callable[[list[str]], None]
) -> dict[Edge, RemoteValue]:
    """Handles of a plan's stored results, one for each, however often it was asked for.

    Parameters
    ----------
    plan : Plan
        Which has run.
    refs : dict
        Where its values lie, by number.
    load : callable
        Downloads a value, for another scheduler.
    delete : callable
        Deletes objects by key; called when the last handle of an object is gone.
    """
    total = len(plan.units)
    objects: dict[str, _Kept] = {}
    found: dict[Edge, RemoteValue] = {}
    for edge in dict.fromkeys(plan.results):
        ref = part_of(refs[edge.source], edge)
        held: _Kept | None = None
        if edge.source - total in plan.known:
            held = _Kept(lambda: None, plan.data[edge.source - total])  # persisted before, by somebody else
        elif edge.source < total and ref.data is None:
            if ref.key not in objects:
                objects[ref.key] = _Kept(partial(delete, [ref.key]))
            held = objects[ref.key]
        found[edge] = RemoteValue(ref, load, held or _nothing)
    return found


class _Kept:
    """What some handles need; ``let_go`` is called when the last of them is gone."""

    def __init__(self, let_go: Callable[[], None], needed: Any = None) -> None:
        self._needed = needed
        weakref.finalize(self, _let_go, let_go, os.getpid()).atexit = False

    def __call__(self) -> None:
        """A handle is gone, and with it what it held of this."""


def _let_go(let_go: Callable[[], None], pid: int) -> None:
    if os.getpid() == pid:  # a forked child drops its copies when it ends; the objects are its parent's
        let_go()


def _nothing() -> None:
    """A value inside the handle, or one that stays for the whole run, needs no deletion."""
