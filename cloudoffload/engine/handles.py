"""Handles of persisted values: what keeps stored objects alive, and who deletes them when nobody needs them."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from cloudoffload.graph.remote import RemoteValue
from cloudoffload.types import Edge, Plan, Ref
from cloudoffload.wire.refs import part_of


def handles(
    plan: Plan, refs: dict[int, Ref], load: Callable[[Ref], Any], let_go: Callable[[list[str]], None]
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
    let_go : callable
        Takes keys of objects that are not needed any more; called when the last handle of an object is gone.
    """
    total = len(plan.units)
    objects: dict[int, _Kept] = {}
    found: dict[Edge, RemoteValue] = {}
    for edge in dict.fromkeys(plan.results):
        ref = part_of(refs[edge.source], edge)
        held: _Kept | None = None
        if edge.source - total in plan.known:
            held = _Kept(lambda: None, plan.data[edge.source - total])  # persisted before, by somebody else
        elif ref.data is None:
            # By source, not by key: data of equal content share an object, and each has to let it go.
            if edge.source not in objects:
                objects[edge.source] = _Kept(partial(let_go, [ref.key]))
            held = objects[edge.source]
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
    """A value inside the handle needs no deletion."""
