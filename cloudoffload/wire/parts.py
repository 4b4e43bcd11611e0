"""Cutting values into parts and joining them again: the functions that shuffles carry into workers.

They stand here, below the planner, because graphs pickle them by name and a worker must be able to import them without
loading any client code.

A cut may be made in two stages. The first divides the output partitions into groups, and writes one part for each; a
second one gathers a group from several cuts and divides it further. The partition of each row is worked out once: the
rows of a group's part lie sorted by it, and the part says how many rows each has.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cloudoffload.errors import Corrupt
from cloudoffload.wire.codecs import Encoded, encode_pickle

if TYPE_CHECKING:
    from cloudoffload.wire.columns import FrameRows

PARTITIONS = "_partitions"
"""Column in which Dask leaves the number of the output partition of each row."""

EMPTY = "empty"
"""Name of a part without rows, for output partitions that get none. Dask's ``meta`` would not do: its dtypes are
guesses, and it may have rows."""


class FrameCut(Mapping[int | str, Any]):
    """A frame that was cut: its rows by output partition, or by group of these.

    Only partitions that have rows are there, and :data:`EMPTY`. The value of a group is a dict of its partitions.

    Parameters
    ----------
    frame : DataFrame
        The rows.
    order : array of int
        Their positions, sorted by partition; rows that nobody reads are left out.
    targets : array of int
        Partition of each row, in that order.
    ignore_index : bool
        The index means nothing and is not written.
    groups : sequence of int, optional
        The first partition of each group, ascending; a group's number is its place.
    """

    def __init__(
        self, frame: Any, order: Any, targets: Any, ignore_index: bool, groups: Sequence[int] | None = None
    ) -> None:
        import numpy as np

        self._frame = frame
        self._order = order
        self._ignore_index = ignore_index
        self._grouped = groups is not None
        changes = [0, *(np.flatnonzero(targets[1:] != targets[:-1]) + 1).tolist(), len(targets)]
        # By name: where its rows begin, its partitions, and how many rows each of them has.
        self._parts: dict[int | str, tuple[int, list[int], list[int]]] = {}
        for start, stop in pairwise(changes if len(targets) else ()):
            number = int(targets[start])
            name = number if groups is None else bisect_right(groups, number) - 1
            _, members, counts = self._parts.setdefault(name, (start, [], []))
            members.append(number)
            counts.append(stop - start)

    def __len__(self) -> int:
        return len(self._parts) + 1

    def __iter__(self) -> Iterator[int | str]:
        return iter((*self._parts, EMPTY))

    def __getitem__(self, name: int | str) -> Any:
        if name == EMPTY:
            return self._rows(0, 0)
        start, members, counts = self._parts[name]
        if not self._grouped:
            return self._rows(start, start + counts[0])
        value = {}
        for number, count in zip(members, counts, strict=True):
            value[number] = self._rows(start, start + count)
            start += count
        return value

    def encoded(self) -> Iterator[tuple[int | str, Encoded]]:
        """Every part as it is stored, under its name."""
        import pandas as pd

        if type(self._frame) is not pd.DataFrame:  # one of its kin, which is more than its columns
            yield from ((name, encode_pickle(part)) for name, part in self.items())
            return
        from cloudoffload.wire.columns import Template, encode_rows

        template = Template.of(self._frame, ignore_index=self._ignore_index)
        yield EMPTY, encode_pickle(template.frame)
        if not self._parts:
            return
        ranges = [
            (start, start + sum(counts), members if self._grouped else (), counts if self._grouped else ())
            for start, members, counts in self._parts.values()
        ]
        yield from zip(self._parts, encode_rows(self._frame, template, self._order, ranges), strict=True)

    def _rows(self, start: int, stop: int) -> Any:
        rows = self._frame.take(self._order[start:stop])
        return rows.reset_index(drop=True) if self._ignore_index else rows


def cut_frame(
    frame: Any,
    column: Any,
    npartitions: int,
    keep: Container[int] | None = None,
    ignore_index: bool = False,
    groups: Sequence[int] | None = None,
) -> FrameCut:
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
    groups : sequence of int, optional
        The first partition of each group, ascending: parts are groups. Without it parts are partitions.

    Returns
    -------
    FrameCut
        Only parts that have rows, which keep their order; and :data:`EMPTY`.

    Raises
    ------
    ValueError
        ``"_partitions"`` has missing values: their rows would be lost.
    """
    import numpy as np
    from dask.dataframe.shuffle import partitioning_index

    labels = column if isinstance(column, list) else [column]
    if not len(frame):
        targets = np.empty(0, np.int64)
    elif labels == [PARTITIONS]:
        targets = _partition_numbers(frame[PARTITIONS], npartitions)
    else:
        targets = np.asarray(partitioning_index(frame[labels], npartitions))
    # Sorted by radix where numbers are small, as those of partitions are.
    targets = targets.astype(np.min_scalar_type(npartitions), copy=False)
    order = np.argsort(targets, kind="stable")
    targets = targets[order]
    if keep is not None:
        present = np.unique(targets)
        kept = np.isin(targets, present[[int(number) in keep for number in present]])
        order, targets = order[kept], targets[kept]
    return FrameCut(frame, order, targets, ignore_index, groups)


def _partition_numbers(column: Any, npartitions: int) -> Any:
    if column.isna().any():
        raise ValueError(f"column {PARTITIONS!r} has missing values, so some rows belong to no output partition")
    # Dask makes that column as small as its numbers allow: too small for the number of partitions.
    return column.to_numpy().astype("i8", copy=False) % npartitions


def give_templates(rows: Iterable[tuple[FrameRows, int]], templates: Mapping[int, Any]) -> None:
    """Let rows know what they mean.

    Parameters
    ----------
    rows : iterable of (FrameRows, int)
        Each with the number of its template.
    templates : mapping of int to DataFrame
        Frames without rows.
    """
    from cloudoffload.wire.columns import Template

    made = {number: Template(frame) for number, frame in templates.items()}
    if made:
        # Equal frames may be different bytes, but rarely mean different things.
        first = next(iter(made.values()))
        made = {number: first if first.means_the_same(template) else template for number, template in made.items()}
    for part, number in rows:
        part.template = made[number]


def regroup_frames(parts: Sequence[Any], ignore_index: bool = False) -> FrameCut:
    """Gather a group of output partitions from several cuts, and cut it into these.

    Parameters
    ----------
    parts : sequence of FrameRows or dict of int to DataFrame
        The group's part of each cut, in their order; or a frame without rows where none has any.
    ignore_index : bool
        The index means nothing.
    """
    import numpy as np

    numbers: list[int] = []
    counts: list[int] = []
    for part in parts:
        if isinstance(part, dict):
            numbers += part
            counts += map(len, part.values())
        elif len(part):
            numbers += part.numbers
            counts += part.counts
    frames = [piece for part in parts for piece in (part.values() if isinstance(part, dict) else (part,))]
    targets = np.repeat(np.array(numbers, np.int64), counts)
    frame = join_frames(frames, None, ignore_index)
    if len(targets) != len(frame):
        raise Corrupt("the rows of a group do not say which partitions they are of")
    order = np.argsort(targets, kind="stable")
    return FrameCut(frame, order, targets[order], ignore_index)


def join_frames(frames: Sequence[Any], meta: Any, ignore_index: bool = False) -> Any:
    """Concatenate the parts of one output partition.

    Parameters
    ----------
    frames : sequence of DataFrame or FrameRows
        In the order of the inputs that wrote them; may be empty.
    meta : DataFrame
        Empty frame with the right columns and dtypes, returned when there are no parts.
    ignore_index : bool
        The index means nothing; Dask need not keep it.
    """
    if not frames:
        return meta
    from dask.dataframe.core import _concat

    from cloudoffload.wire.columns import FrameRows, joined

    if all(type(part) is FrameRows and part.template is frames[0].template for part in frames):
        return joined(frames, ignore_index=ignore_index)
    # Inputs that differ in their dtypes or categories: pandas decides what they have in common.
    return _concat([part.frame() if type(part) is FrameRows else part for part in frames], ignore_index)


def cut_records(
    records: Iterable[Any],
    grouper: Callable[[Any], Any],
    npartitions: int,
    groups: Sequence[int] | None = None,
) -> dict[int, Any]:
    """Cut a bag's partition by the group of each record, as ``Bag.groupby`` does.

    The group is tokenized rather than hashed: Python's hash of a string differs from process to process.

    Parameters
    ----------
    records : iterable
        Of one partition.
    grouper : callable
        Gives the group of a record.
    npartitions : int
        Number of output partitions.
    groups : sequence of int, optional
        The first partition of each group of partitions, ascending: parts are dicts of the partitions of one. Without
        it parts are lists of records.
    """
    import toolz
    from dask.tokenize import tokenize

    parts: dict[int, Any] = {}
    for group, members in toolz.groupby(grouper, records).items():
        number = int(tokenize(group), 16) % npartitions
        into = parts if groups is None else parts.setdefault(bisect_right(groups, number) - 1, {})
        into.setdefault(number, []).extend(members)
    return parts


def regroup_records(parts: Sequence[dict[int, list[Any]]]) -> dict[int, list[Any]]:
    """Gather a group of output partitions from several cuts, and cut it into these."""
    merged: dict[int, list[Any]] = {}
    for part in parts:
        for number, records in part.items():
            merged.setdefault(number, []).extend(records)
    return merged


def join_records(parts: Sequence[list[Any]], grouper: Callable[[Any], Any]) -> list[tuple[Any, list[Any]]]:
    """Group the records of one output partition: pairs of group and members."""
    import toolz

    return list(toolz.groupby(grouper, toolz.concat(parts)).items())
