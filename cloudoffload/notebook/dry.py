"""A dry run: the cell runs until its first computation, which is estimated in place of being run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask

from cloudoffload.engine.session import Session
from cloudoffload.graph.expression import materialize
from cloudoffload.graph.planning_work import is_planning_work
from cloudoffload.types import Estimate


class Estimated(BaseException):
    """Ends the cell at its first computation, whose value does not exist; no ``except Exception`` may swallow it."""

    def __init__(self, estimate: Estimate) -> None:
        super().__init__("estimated, not run")
        self.estimate = estimate


@contextmanager
def estimating(session: Session) -> Iterator[None]:
    """During the block Dask's scheduler estimates what it is handed and raises :class:`Estimated`."""

    def estimate(expr: Any, keys: Any, **options: Any) -> Any:
        tasks, _ = materialize(expr, keys)
        if is_planning_work(tasks):  # Dask needs its value to go on, and it never leaves this machine
            return session.get(expr, keys, **options)
        raise Estimated(session.estimate_graph(expr, keys))

    with dask.config.set(scheduler=estimate):
        yield
