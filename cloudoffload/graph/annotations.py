"""Dask annotations as requirements: those around ``compute``, and those that survive on single tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from dask._expr import Expr, HLGExpr
from dask.highlevelgraph import HighLevelGraph

from cloudoffload.types import Key, Requirements

FIELDS = frozenset(Requirements.__slots__)


def with_stated(base: Requirements, stated: Mapping[str, Any]) -> Requirements:
    """Requirements with those fields that ``stated`` names; other annotations belong to other schedulers."""
    known = {name: value for name, value in stated.items() if name in FIELDS and value is not None}
    return replace(base, **known) if known else base


def has_prefix(name: str, prefix: str) -> bool:
    """Whether a name begins with a prefix as people write it: ``read-parquet`` means ``readparquetpyarrowfs``."""
    return _bare(name).startswith(_bare(prefix))


def _bare(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()


def of_tasks(graph: Any) -> dict[Key, dict[str, Any]]:
    """What is annotated on single tasks and survived optimization: ``delayed`` keeps annotations."""
    if not (isinstance(graph, Expr) and _annotated(graph)):
        return {}
    by_key: dict[Key, dict[str, Any]] = {}
    for name, values in graph.__dask_annotations__().items():
        if name in FIELDS:
            for key, value in values.items():
                by_key.setdefault(key, {})[name] = value
    return by_key


def dropped(graph: Any) -> set[str]:
    """Annotations made when a collection was built that optimization has lost, as arrays and bags do."""
    stated = _annotated(graph) & FIELDS if isinstance(graph, Expr) else set()
    # Asking what is kept makes Dask optimize the graph once more: only where there is something to lose.
    return stated and stated - set(graph.__dask_annotations__())


def _annotated(graph: Expr) -> set[str]:
    """Names of all annotations on layers of the graph as it was built."""
    names: set[str] = set()
    for node in graph.walk():
        layered = node.operand("dsk") if isinstance(node, HLGExpr) else None
        if isinstance(layered, HighLevelGraph):
            for layer in layered.layers.values():
                names.update(layer.annotations or ())
    return names
