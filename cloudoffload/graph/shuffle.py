"""The nodes of a shuffle through the store: N writes, a barrier, N ranged reads of each output partition.

A split writes one object whose parts can be read by range. The barrier is one unit that reads the footers of all splits
and writes, for each output partition, where its parts lie. A join names only the barrier and its own number, so the
graph has N + 1 + M nodes and as many edges; a graph that names every part has N * M.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from dask._task_spec import GraphNode, Task, TaskRef

from cloudoffload.types import Key
from cloudoffload.wire.parts import cut_frame, cut_records, join_records, regroup_frames, regroup_records
from cloudoffload.wire.parts import join_frames as _join_frames

# Identities: a user's callable may have no hash, or an odd idea of equality; and every task of a graph is looked up.
_CUTS = frozenset(map(id, (cut_frame, cut_records, regroup_frames, regroup_records)))
_JOINS = frozenset(map(id, (_join_frames, join_records, regroup_frames, regroup_records)))


def is_cut(function: Any) -> bool:
    """Whether a task's function makes a value that is written in parts."""
    return id(function) in _CUTS


def is_join(function: Any) -> bool:
    """Whether a task's first argument is a part of a barrier; its keyword ``part`` names it until it is planned."""
    return id(function) in _JOINS


def wait_for_all(*splits: Any) -> None:
    """Mark a barrier; the planner turns it into a unit that writes an index, it is never called."""
    raise AssertionError("a barrier is planned, not executed")


def split_frame(
    key: Key,
    frame_key: Key,
    column: Any,
    npartitions: int,
    keep: Container[int] | None = None,
    ignore_index: bool = False,
) -> GraphNode:
    """Node that cuts the frame of ``frame_key`` by ``column`` into at most ``npartitions`` parts."""
    return Task(key, cut_frame, TaskRef(frame_key), column, npartitions, keep, ignore_index)


def split_bag(key: Key, sequence_key: Key, grouper: Callable[[Any], Any], npartitions: int) -> GraphNode:
    """Node that cuts the records of ``sequence_key`` by the group that ``grouper`` gives them."""
    return Task(key, cut_records, TaskRef(sequence_key), grouper, npartitions)


def barrier(key: Key, split_keys: Sequence[Key]) -> GraphNode:
    """Node that waits for all splits and knows where each part lies."""
    return Task(key, wait_for_all, *map(TaskRef, split_keys))


def join_frames(key: Key, barrier_key: Key, part: int, meta: Any, ignore_index: bool = False) -> GraphNode:
    """Node that concatenates one output partition; ``meta`` is what an empty one looks like."""
    return Task(key, _join_frames, TaskRef(barrier_key), meta, ignore_index, part=part)


def join_bag(key: Key, barrier_key: Key, part: int, grouper: Callable[[Any], Any]) -> GraphNode:
    """Node that groups the records of one output partition of a bag."""
    return Task(key, join_records, TaskRef(barrier_key), grouper, part=part)


def narrowed(split: GraphNode, outputs: Sequence[int], firsts: Sequence[int] | None = None) -> GraphNode:
    """The same split, without rows that nobody reads.

    Parameters
    ----------
    split : GraphNode
        As :func:`split_frame` and :func:`split_bag` make it.
    outputs : sequence of int
        All output partitions that are read, ascending.
    firsts : sequence of int, optional
        The first output partition of each group, ascending: parts are then groups of partitions.
    """
    assert isinstance(split, Task)
    args, keywords = list(split.args), {} if firsts is None else {"groups": firsts}
    if split.func is cut_frame and args[3] is None and len(outputs) < args[2]:
        args[3] = frozenset(outputs)
    elif firsts is None:
        return split
    return Task(split.key, split.func, *args, **keywords)


def regroup(key: Key, barrier_key: Key, group: int, like: GraphNode) -> GraphNode:
    """Node that gathers one group of output partitions from the splits of a barrier; ``like`` is one of these."""
    assert isinstance(like, Task)
    if like.func is cut_records:
        return Task(key, regroup_records, TaskRef(barrier_key), part=group)
    return Task(key, regroup_frames, TaskRef(barrier_key), like.args[4], part=group)
