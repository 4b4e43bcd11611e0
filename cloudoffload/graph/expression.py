"""From what Dask hands a scheduler to a plain graph of tasks.

Dask optimizes an expression before it calls a scheduler, but leaves two things undone: blockwise operations are not
fused, and without a cluster it chooses the shuffle through local disk, which loses rows silently on machines that share
no disk. Both are put right here, over the whole sequence of expressions: fusing each alone would read shared inputs
several times.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dask._expr import Expr, HLGExpr, _ExprSequence, _HLGExprSequence
from dask._task_spec import GraphNode, convert_legacy_graph
from dask.core import flatten
from dask.delayed import optimize as optimize_delayed
from dask.highlevelgraph import HighLevelGraph
from dask.utils import ensure_dict

from cloudoffload.graph import shuffle
from cloudoffload.graph.collecting import collection_paused
from cloudoffload.types import Key


@collection_paused()
def materialize(graph: Any, keys: Any) -> tuple[dict[Key, GraphNode], list[Key]]:
    """Graph of tasks and the flat list of requested keys.

    Parameters
    ----------
    graph : Expr, HighLevelGraph or dict
        What Dask hands a scheduler.
    keys : key or nested list of keys
        What is asked for. Fusion renames keys: the returned ones stand in the same order.
    """
    if isinstance(graph, Expr):
        if isinstance(graph, _ExprSequence) or _is_dataframe(graph):
            graph, keys = _fused(graph, keys)
        tasks = _tasks(graph)
    else:
        tasks = graph
    flat = list(flatten(keys)) if isinstance(keys, list) else [keys]
    return convert_legacy_graph(ensure_dict(tasks)), flat


def _tasks(expr: Expr) -> Mapping[Key, Any]:
    """Graph of an expression as Dask makes it, but without its optimizer of delayed values.

    That one culls each layer against all keys, which takes quadratic time, and fuses chains where it is told to. The
    planner does both.
    """
    parts = expr.operands if isinstance(expr, _HLGExprSequence) else [expr]
    if not all(isinstance(part, HLGExpr) and part.low_level_optimizer is optimize_delayed for part in parts):
        return expr.__dask_graph__()  # type: ignore[no-any-return]
    return HighLevelGraph.merge(*(part.hlg for part in parts))  # type: ignore[no-any-return]


def _is_dataframe(expr: Expr) -> bool:
    return type(expr).__module__.startswith("dask.dataframe")


def _fused(expr: Expr, keys: Any) -> tuple[Expr, list[Key]]:
    from dask.dataframe.dask_expr._expr import optimize_blockwise_fusion

    wanted = list(flatten(keys)) if isinstance(keys, list) else [keys]
    before = list(flatten(expr.__dask_keys__()))
    expr = through_store(expr)
    if set(before).issuperset(wanted):
        expr = optimize_blockwise_fusion(expr)
    # Else somebody asks for what lies inside of the expression: fusion could swallow it.
    names = dict(zip(before, flatten(expr.__dask_keys__()), strict=True))
    return expr, [names.get(key, key) for key in wanted]


def through_store(expr: Expr) -> Expr:
    """The expression with every shuffle replaced by one through the store."""
    from dask.dataframe.dask_expr import _shuffle

    kinds = (_shuffle.DiskShuffle, _shuffle.TaskShuffle, _shuffle.SimpleShuffle, _shuffle.P2PShuffle)
    while True:
        # Innermost first: replacing one renames all that stand above it.
        found = [node for node in expr.walk() if type(node) in kinds]
        if not found:
            return expr
        innermost = next(
            node for node in found if not any(type(below) in kinds for below in node.walk() if below is not node)
        )
        expr = expr.substitute(innermost, _store_shuffle(innermost))


def _store_shuffle(node: Any) -> Expr:
    from dask.dataframe.dask_expr._shuffle import P2PShuffle

    cls = _store_shuffle_class()
    replacement: Expr = cls(*node.operands)
    index = node._meta.index
    if node.ignore_index and (index.name is not None or index.dtype != "int64"):
        # Dask's shuffle through local disk keeps an index that may be ignored, and says so in its meta.
        replacement = replacement.substitute_parameters({"ignore_index": False})
    if isinstance(node, P2PShuffle):
        # P2P drops the column of partition numbers; the others leave that to a projection.
        columns = [column for column in replacement.columns if column != node.partitioning_index]
        return replacement[columns]
    return replacement


def _store_shuffle_class() -> Any:
    """The expression of a shuffle through the store, defined once Dask's dataframes are needed at all."""
    global _StoreShuffle
    if _StoreShuffle is None:
        from dask.dataframe.dask_expr._shuffle import SimpleShuffle

        class StoreShuffle(SimpleShuffle):  # type: ignore[misc]
            """N writes, a barrier, one ranged read of every write for each output partition."""

            def _layer(self) -> Mapping[Key, GraphNode]:
                wanted = list(self._partitions)
                keep = frozenset(wanted) if self._filtered else None
                writes = [(f"shuffle-split-{self._name}", i) for i in range(self.frame.npartitions)]
                gate = f"shuffle-barrier-{self._name}"
                layer: dict[Key, GraphNode] = {
                    key: shuffle.split_frame(
                        key,
                        (self.frame._name, i),
                        self.partitioning_index,
                        self.npartitions_out,
                        keep,
                        self.ignore_index,
                    )
                    for i, key in enumerate(writes)
                }
                layer[gate] = shuffle.barrier(gate, writes)
                for i, part in enumerate(wanted):
                    key = (self._name, i)
                    layer[key] = shuffle.join_frames(key, gate, part, self._meta, self.ignore_index)
                return layer

        _StoreShuffle = StoreShuffle
    return _StoreShuffle


_StoreShuffle: Any = None
