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
from cloudoffload.wire.parts import cut_frame, cut_records, join_records
from cloudoffload.wire.parts import join_frames as _join_frames


def is_cut(function: Any) -> bool:
    """Whether a task's function makes a value that is written in parts."""
    # By identity: a user's callable may have no hash, or an odd idea of equality.
    return function is cut_frame or function is cut_records


def is_join(function: Any) -> bool:
    """Whether a task's first argument is a part of a barrier; its keyword ``part`` names it until it is planned."""
    return function is _join_frames or function is join_records


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
