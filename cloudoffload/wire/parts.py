"""Cutting values into parts and joining them again: the functions that shuffles carry into workers.

They stand here, below the planner, because graphs pickle them by name and a worker must be able to import them without
loading any client code.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from typing import Any

PARTITIONS = "_partitions"
"""Column in which Dask leaves the number of the output partition of each row."""

EMPTY = "empty"
"""Name of a part without rows, for output partitions that get none. Dask's ``meta`` would not do: its dtypes are
guesses, and it may have rows."""


def cut_frame(
    frame: Any, column: Any, npartitions: int, keep: Container[int] | None = None, ignore_index: bool = False
) -> dict[int | str, Any]:
    """Cut a frame by the output partition of each row.

    Parameters
    ----------
    frame : DataFrame
        n rows.
    column : label or list of labels
        ``"_partitions"``, whose values are the partition numbers (modulo ``npartitions``, as Dask takes them), or
        columns to hash.
    npartitions : int
        Number of output partitions.
    keep : container of int, optional
        Partitions that somebody reads; all when None.
    ignore_index : bool
        Renumber the rows of each part.

    Returns
    -------
    dict of int to DataFrame
        Only partitions that have rows, which keep their order; and :data:`EMPTY`.

    Raises
    ------
    ValueError
        ``"_partitions"`` has missing values: their rows would be lost.
    """
    import numpy as np
    from dask.dataframe.shuffle import partitioning_index

    parts: dict[int | str, Any] = {EMPTY: frame.iloc[:0]}
    if not len(frame):
        return parts
    labels = column if isinstance(column, list) else [column]
    if labels == [PARTITIONS]:
        target = _partition_numbers(frame[PARTITIONS], npartitions)
    else:
        target = np.asarray(partitioning_index(frame[labels], npartitions))
    # Stable, and radix sort for the small integers that partition numbers are.
    narrow = target.astype(np.min_scalar_type(npartitions), copy=False)
    order = np.argsort(narrow, kind="stable")
    target = narrow[order]
    starts = np.flatnonzero(np.concatenate(([True], target[1:] != target[:-1])))
    stops = np.append(starts[1:], len(target))
    ordered = frame.take(order)
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        number = int(target[start])
        if keep is None or number in keep:
            part = ordered.iloc[start:stop]
            parts[number] = part.reset_index(drop=True) if ignore_index else part
    return parts


def _partition_numbers(column: Any, npartitions: int) -> Any:
    if column.isna().any():
        raise ValueError(f"column {PARTITIONS!r} has missing values, so some rows belong to no output partition")
    # Dask makes that column as small as its numbers allow: too small for the number of partitions.
    return column.to_numpy().astype("i8", copy=False) % npartitions


def join_frames(frames: Sequence[Any], meta: Any, ignore_index: bool = False) -> Any:
    """Concatenate the parts of one output partition.

    Parameters
    ----------
    frames : sequence of DataFrame
        In the order of the inputs that wrote them; may be empty.
    meta : DataFrame
        Empty frame with the right columns and dtypes, returned when there are no parts.
    ignore_index : bool
        The index means nothing; Dask need not keep it.
    """
    from dask.dataframe.core import _concat

    if not frames:
        return meta
    return _concat(list(frames), ignore_index)


def cut_records(records: Iterable[Any], grouper: Callable[[Any], Any], npartitions: int) -> dict[int, list[Any]]:
    """Cut a bag's partition by the group of each record, as ``Bag.groupby`` does.

    The group is tokenized rather than hashed: Python's hash of a string differs from process to process.
    """
    import toolz
    from dask.tokenize import tokenize

    parts: dict[int, list[Any]] = {}
    for group, members in toolz.groupby(grouper, records).items():
        number = int(tokenize(group), 16) % npartitions
        parts.setdefault(number, []).extend(members)
    return parts


def join_records(parts: Sequence[list[Any]], grouper: Callable[[Any], Any]) -> list[tuple[Any, list[Any]]]:
    """Group the records of one output partition: pairs of group and members."""
    import toolz

    return list(toolz.groupby(grouper, toolz.concat(parts)).items())
