"""Recognizes computations that Dask runs while it plans: they belong on the client, not in a cloud."""

from __future__ import annotations

from collections.abc import Mapping

from dask._task_spec import GraphNode, Task

from cloudoffload.types import Key

_STATISTICS = frozenset({"_gather_statistics", "_collect_statistics", "_read_partition_stats_group"})
"""``read_parquet`` reads footers with these while an expression is optimized; ``compute(scheduler=...)`` does not
reach them, the configured scheduler does."""


def is_planning_work(tasks: Mapping[Key, GraphNode]) -> bool:
    """Whether a graph only reads file statistics for Dask's optimizer."""
    if len(tasks) > 1000:
        return False
    names = {
        getattr(node.func, "__name__", "")
        for node in tasks.values()
        if type(node) is Task and str(getattr(node.func, "__module__", "")).startswith("dask.dataframe")
    }
    return bool(names) and names <= _STATISTICS
