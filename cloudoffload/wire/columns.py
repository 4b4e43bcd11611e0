"""Rows of a pandas frame as columns of plain memory: how parts of a cut frame are stored and put together again.

Pickling each of very many small frames would cost far more than moving their bytes. Here a frame is opened once; a part
is a range of its rows, and holds their values only. What they mean (labels, dtypes, the kind of the index) is said by
the *template*, a frame without rows that is stored once beside all parts. Joining allocates each block of the result
once and copies every part into its place.

Numbers, truth values, times, periods and the codes of categories lie in one buffer for each kind and width of number.
What pandas keeps in Arrow, and nullable numbers, are an Arrow record batch. Anything else is pickled, array by array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgpack
import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.internals import create_dataframe_from_blocks  # type: ignore[import-not-found]  # stubs lack it
from pandas.arrays import DatetimeArray, PeriodArray, TimedeltaArray

from cloudoffload.errors import Corrupt
from cloudoffload.interfaces import Buffer
from cloudoffload.wire import arrow
from cloudoffload.wire.codecs import COLUMNS, PICKLE, Encoded, decode, encode_pickle

_ARROW = (
    pd.StringDtype,
    pd.BooleanDtype,
    *(getattr(pd, f"{kind}{bits}Dtype") for kind in ("Int", "UInt") for bits in (8, 16, 32, 64)),
    pd.Float32Dtype,
    pd.Float64Dtype,
)
"""Dtypes whose every value an Arrow record batch returns, missing ones too."""

Array: TypeAlias = Any  # a NumPy array or a pandas extension array
Numbers: TypeAlias = "np.ndarray[Any, Any]"


class Template:
    """What the values of rows mean, and where each column lies.

    Parameters
    ----------
    frame : DataFrame
        One without rows. A RangeIndex says that the index means nothing, and is not stored.

    Attributes
    ----------
    blocks : dict of dtype to list of int
        Columns by the dtype of the numbers that are stored for them. Levels of the index count as -1, -2, ...
    batch, pickled : list of int
        Columns in the record batch, and pickled ones.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.arrays = _arrays(frame)
        self.blocks: dict[np.dtype[Any], list[int]] = {}
        self.batch: list[int] = []
        self.pickled: list[int] = []
        # Columns of one dtype side by side: each such run becomes one block of the frame, without a copy.
        for i in sorted(self.arrays, key=lambda i: (str(self.arrays[i].dtype), i)):
            if (numbers := _numbers(self.arrays[i])) is not None:
                self.blocks.setdefault(numbers.dtype, []).append(i)
            else:
                (self.batch if _is_arrow(self.arrays[i].dtype) else self.pickled).append(i)

    @classmethod
    def of(cls, frame: pd.DataFrame, *, ignore_index: bool) -> Template:
        """Template of a frame with rows."""
        empty = frame.iloc[:0]
        if ignore_index:
            empty = empty.reset_index(drop=True)
        elif type(empty.index) is pd.RangeIndex:
            empty = empty.set_axis(pd.Index([], dtype=np.int64, name=empty.index.name))
        return cls(empty)

    def means_the_same(self, other: Template) -> bool:
        """Whether rows of either can be joined as they are stored; False also where that is not easily told."""
        mine, its = self.frame, other.frame
        plain = not (mine.attrs or its.attrs or isinstance(mine.index, pd.MultiIndex))
        return (
            plain
            and self.arrays.keys() == other.arrays.keys()
            and mine.columns.identical(its.columns)
            and mine.index.names == its.index.names
            and mine.flags == its.flags
            and all(_are_alike(array, other.arrays[i]) for i, array in self.arrays.items())
        )


@dataclass(slots=True)
class FrameRows:
    """Rows as they were stored.

    Attributes
    ----------
    rows : int
        How many.
    numbers, counts : sequence of int
        Output partitions that follow each other in the rows, and how many rows each has; empty where all are of one.
    buffers : sequence of memoryview
        Their values.
    template : Template or None
        Must be set before the values can be read.
    """

    rows: int
    numbers: Sequence[int]
    counts: Sequence[int]
    buffers: Sequence[memoryview]
    template: Template | None = None

    def __len__(self) -> int:
        return self.rows

    def frame(self) -> pd.DataFrame:
        """The rows as a frame that shares the memory of the buffers where it can."""
        return joined([self])


def encode_rows(
    frame: pd.DataFrame, template: Template, order: Numbers, ranges: Iterable[tuple[int, int, Sequence[int], Any]]
) -> Iterator[Encoded]:
    """Ranges of a frame's rows.

    Parameters
    ----------
    frame : DataFrame
        As many columns as the template has, with its dtypes.
    template : Template
        Of the frame.
    order : array of int
        Positions of the rows that are meant; ranges count in it.
    ranges : iterable of (start, stop, numbers, counts)
        What to encode, and what :class:`FrameRows` says of it.
    """
    arrays = _arrays(frame)
    blocks = [_gathered([arrays[i] for i in columns], order, dtype) for dtype, columns in template.blocks.items()]
    batch = _batch([arrays[i] for i in template.batch], order) if template.batch and len(order) else None
    pickled = [arrays[i].take(order) for i in template.pickled]
    for start, stop, numbers, counts in ranges:
        buffers: list[Buffer] = [_bytes_of(block[:, start:stop]) for block in blocks]
        if batch is not None:
            buffers.append(memoryview(batch.slice(start, stop - start).serialize()))
        if pickled:
            apart = encode_pickle([array[start:stop] for array in pickled])
            buffers += [apart.head, *apart.buffers]
        yield Encoded(COLUMNS, msgpack.packb((stop - start, numbers, counts)), buffers)


def decode_rows(head: Buffer, buffers: Sequence[memoryview]) -> FrameRows:
    """Rows of their bytes; they lack their template.

    Raises
    ------
    ValueError, TypeError
        The head makes no sense.
    """
    rows, numbers, counts = msgpack.unpackb(head, use_list=False)
    whole = all(type(number) is int and number >= 0 for number in (rows, *numbers, *counts))
    if not whole or len(numbers) != len(counts) or (numbers and sum(counts) != rows):
        raise ValueError("rows are miscounted")
    return FrameRows(rows, numbers, counts, buffers)


def joined(parts: Sequence[FrameRows], *, ignore_index: bool = False) -> pd.DataFrame:
    """One frame of the rows of all parts, in their order.

    Parameters
    ----------
    parts : sequence of FrameRows
        At least one; all have the same template.
    ignore_index : bool
        Number the rows anew.

    Raises
    ------
    Corrupt
        Buffers don't hold what the template says.
    """
    template = parts[0].template
    assert template is not None, "whoever reads rows reads their template too"
    fixed = len(template.blocks) + bool(template.batch)
    rows = [part.rows for part in parts]
    pickled = [_unpickled(part, fixed, template) for part in parts] if template.pickled else []
    whole = {i: _end_to_end([arrays[n] for arrays in pickled]) for n, i in enumerate(template.pickled)}
    try:
        if not pickled and any(len(part.buffers) != fixed for part in parts):
            raise ValueError("wrong number of buffers")
        blocks = [
            _block([part.buffers[n] for part in parts], rows, dtype, len(columns))
            for n, (dtype, columns) in enumerate(template.blocks.items())
        ]
        if template.batch:
            whole |= _from_batches([part.buffers[fixed - 1] for part in parts], rows, template)
        return _frame(template, blocks, whole, sum(rows), ignore_index)
    except MemoryError:
        raise
    except Exception as error:
        # No foreign code runs here: whatever is raised, the bytes are to blame.
        raise Corrupt(f"rows of a frame can't be decoded: {error}") from error


def _arrays(frame: pd.DataFrame) -> dict[int, Array]:
    """Every column's array by its place, those of the index before them."""
    index = frame.index
    levels: list[Array]
    if isinstance(index, pd.MultiIndex):
        levels = list(index.codes)
    else:
        levels = [] if type(index) is pd.RangeIndex and not len(index) else [index.array]
    arrays = {-1 - n: level for n, level in enumerate(levels)}
    arrays |= {i: column.array for i, (_, column) in enumerate(frame.items())}
    return arrays


def _numbers(array: Array) -> Numbers | None:
    """The numbers that stand for an array's values, sharing its memory; None when there is more to them."""
    numbers: Any = None
    if isinstance(array, np.ndarray):
        numbers = array
    elif isinstance(array, pd.arrays.NumpyExtensionArray) and array.dtype.kind in "biufc":
        numbers = array.to_numpy()
    elif isinstance(array, (DatetimeArray, TimedeltaArray, PeriodArray)):
        numbers = array.view("i8")
    elif isinstance(array, pd.Categorical):
        numbers = array.codes
    return numbers  # type: ignore[no-any-return]  # arrays, all of them


def _meaning(numbers: Numbers, like: Array) -> Array:
    """The array that numbers stand for."""
    if isinstance(like, PeriodArray):
        return PeriodArray(numbers, dtype=like.dtype)
    if isinstance(like, pd.Categorical):
        return pd.Categorical.from_codes(numbers, dtype=like.dtype)
    if isinstance(like.dtype, pd.DatetimeTZDtype):
        utc = pd.DatetimeIndex(numbers.view(f"M8[{like.dtype.unit}]")).tz_localize("UTC")
        return utc.tz_convert(like.dtype.tz).array
    return numbers.view(like.dtype) if isinstance(like, (DatetimeArray, TimedeltaArray)) else numbers


def _is_arrow(dtype: Any) -> bool:
    """Whether values of this dtype come back from an Arrow record batch as they were."""
    return isinstance(dtype, _ARROW) or (isinstance(dtype, pd.ArrowDtype) and arrow.carries(dtype.pyarrow_dtype))


def _are_alike(one: Array, other: Array) -> bool:
    if type(one) is not type(other) or one.dtype != other.dtype:
        return False
    if isinstance(one, pd.Categorical):
        return one.categories.identical(other.categories)  # dtypes are equal in whatever order theirs are
    return not _is_arrow(one.dtype) or bool(pa.array(one).type == pa.array(other).type)


def _gathered(arrays: Sequence[Array], order: Numbers, dtype: np.dtype[Any]) -> Numbers:
    """One row for each array, with its values in a new order."""
    block = np.empty((len(arrays), len(order)), dtype)
    for row, array in zip(block, arrays, strict=True):
        numbers = _numbers(array)
        assert numbers is not None, "frame and template have the same dtypes"
        # Positions are known to be right; checking them would need a second buffer.
        numbers.take(order, out=row, mode="clip")
    return block


def _bytes_of(block: Numbers) -> memoryview:
    return np.ascontiguousarray(block).reshape(-1).view(np.uint8).data


def _batch(arrays: Sequence[Array], order: Numbers) -> pa.RecordBatch:
    table = pa.table([pa.array(array) for array in arrays], [str(n) for n in range(len(arrays))])
    return table.take(pa.array(order)).combine_chunks().to_batches()[0]


def _block(buffers: Sequence[memoryview], rows: Sequence[int], dtype: np.dtype[Any], columns: int) -> Numbers:
    pieces = [np.frombuffer(buffer, dtype).reshape(columns, count) for buffer, count in zip(buffers, rows, strict=True)]
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)


def _from_batches(buffers: Sequence[memoryview], rows: Sequence[int], template: Template) -> dict[int, Array]:
    schema = pa.schema(
        [(str(n), pa.array(template.arrays[i]).type) for n, i in enumerate(template.batch)]  # as they were written
    )
    batches = []
    for buffer, count in zip(buffers, rows, strict=True):
        batch = pa.ipc.read_record_batch(pa.py_buffer(buffer), schema)
        batch.validate(full=True)  # Arrow reads memory wherever offsets point
        if batch.num_rows != count:
            raise ValueError("a record batch has another number of rows")
        batches.append(batch)
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    return {
        i: template.arrays[i].dtype.__from_arrow__(table.column(n))  # each pandas dtype of these kinds has it
        for n, i in enumerate(template.batch)
    }


def _unpickled(part: FrameRows, place: int, template: Template) -> list[Array]:
    """Arrays of the columns that were pickled; what unpickling them raises is the user's."""
    if len(part.buffers) <= place:
        raise Corrupt("rows of a frame lack their pickled columns")
    arrays: list[Array] = decode(PICKLE, part.buffers[place], part.buffers[place + 1 :])
    if type(arrays) is not list or len(arrays) != len(template.pickled):
        raise Corrupt("rows of a frame have other pickled columns than their template")
    for array, i in zip(arrays, template.pickled, strict=True):
        like = template.arrays[i]
        if type(array) is not type(like) or array.dtype != like.dtype or len(array) != part.rows:
            raise Corrupt("a pickled column is not what its template says")
    return arrays


def _end_to_end(arrays: Sequence[Array]) -> Array:
    whole = type(arrays[0])._concat_same_type(arrays)
    return whole.to_numpy() if isinstance(whole, pd.arrays.NumpyExtensionArray) else whole


def _frame(
    template: Template, blocks: Sequence[Numbers], arrays: dict[int, Array], rows: int, ignore_index: bool
) -> pd.DataFrame:
    """A frame of its blocks and of the arrays that are no numbers."""
    whole = [
        (array[np.newaxis] if isinstance(array, np.ndarray) else array, np.array([i]))
        for i, array in arrays.items()
        if i >= 0
    ]
    index = {i: array for i, array in arrays.items() if i < 0}
    for block, columns in zip(blocks, template.blocks.values(), strict=True):
        runs: dict[np.dtype[Any], list[int]] = {}
        for n, i in enumerate(columns):
            like = template.arrays[i]
            if i < 0:
                index[i] = _meaning(block[n], like)
            elif (dtype := _plain(like)) is not None:
                runs.setdefault(dtype, []).append(n)
            else:
                whole.append((_meaning(block[n], like), np.array([i])))
        for dtype, run in runs.items():
            whole.append((block[run[0] : run[-1] + 1].view(dtype), np.array([columns[n] for n in run])))
    made = pd.RangeIndex(rows) if ignore_index or not index else _index(template.frame.index, index)
    frame: Any = create_dataframe_from_blocks(whole, index=made, columns=template.frame.columns)
    return frame.__finalize__(template.frame)  # type: ignore[no-any-return]  # with its attributes and flags


def _plain(like: Array) -> np.dtype[Any] | None:
    """Dtype of an array that may share a block of a frame with others; None for those that stand alone."""
    dtype: Any = like.dtype
    if isinstance(like, pd.arrays.NumpyExtensionArray):
        dtype = dtype.numpy_dtype
    return dtype if isinstance(dtype, np.dtype) else None


def _index(like: pd.Index[Any], arrays: dict[int, Array]) -> pd.Index[Any]:
    if not isinstance(like, pd.MultiIndex):
        return pd.Index(arrays[-1], dtype=like.dtype, name=like.name, copy=False)
    codes = [arrays[-1 - n] for n in range(like.nlevels)]
    for code, level in zip(codes, like.levels, strict=True):
        if len(code) and not -1 <= code.min() <= code.max() < len(level):
            raise ValueError("an index names values that its levels don't have")
    levels: Any = like.levels
    return pd.MultiIndex(levels=levels, codes=codes, names=like.names, verify_integrity=False)
