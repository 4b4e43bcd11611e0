"""Dask collections outside of ``dask.compute``: their expressions, and collections rebuilt around stored values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from dask.base import collections_to_expr, is_dask_collection, unpack_collections
from dask.core import flatten

from cloudoffload.types import Key


def expression(collections: Sequence[Any], *, finalize: bool, optimize_graph: bool = True) -> tuple[Any, list[Key]]:
    """What Dask would hand a scheduler for these collections.

    Parameters
    ----------
    collections : sequence
        Dask collections, or Python collections of them.
    finalize : bool
        Whether each ends in one value, as for ``compute``, or stays in partitions, as for ``persist``.
    optimize_graph : bool
        As Dask's own.
    """
    from dask._expr import FinalizeCompute

    found, _ = unpack_collections(*collections)
    expr = collections_to_expr(found, optimize_graph)
    if finalize:
        expr = FinalizeCompute(expr)
    expr = expr.optimize()
    return expr, list(flatten(expr.__dask_keys__()))


def in_partitions(collection: Any, *, optimize_graph: bool = True) -> tuple[Any, list[Key]]:
    """What Dask would hand a scheduler for the partitions of a collection, or of several one after the other.

    Raises
    ------
    TypeError
        It is neither a Dask collection nor a list of them.
    """
    found = list(collection) if isinstance(collection, (list, tuple)) else [collection]
    for item in found:
        if not is_dask_collection(item):
            raise TypeError(f"a Dask collection or a list of them is needed, not {type(item).__name__}")
    if not found:
        return {}, []
    expr = collections_to_expr(found, optimize_graph).optimize()
    return expr, list(flatten(expr.__dask_keys__()))


def rebuilt(collections: Sequence[Any], expr: Any, keys: Sequence[Key], node: Callable[[Key, int], Any]) -> list[Any]:
    """The collections over graphs of stored values.

    Parameters
    ----------
    collections : sequence
        As they were persisted.
    expr : Expr
        Their optimized expression.
    keys : sequence
        Its keys, flat.
    node : callable
        ``node(key, place)`` makes the graph node of the key at that place.
    """
    places = iter(range(len(keys)))
    results = []
    for collection, nested in zip(collections, expr.__dask_keys__(), strict=True):
        graph = {key: node(key, next(places)) for key in flatten([nested])}
        rebuild, state = collection.__dask_postpersist__()
        results.append(rebuild(graph, *state))
    return results


def nested(keys: Any, values: Iterator[Any]) -> Any:
    """Values in the shape of the keys that they were asked for by."""
    if isinstance(keys, list):
        return tuple(nested(key, values) for key in keys)
    return next(values)
