"""pandas frames, series and indexes as Arrow IPC streams, for the shapes that Arrow returns unchanged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from cloudoffload.interfaces import Buffer

_FRAME, _SERIES, _INDEX = "frame", "series", "index"
_INDEXES = (pd.Index, pd.RangeIndex, pd.DatetimeIndex, pd.TimedeltaIndex)


def encode_frame(value: Any) -> tuple[bytes, list[Buffer]] | None:
    """Description and stream of a frame, series or index, or None where Arrow would change it.

    Arrow loses object columns, labels that are not text, frequencies, sparse and complex values; those are left to
    pickle. What is taken here is proven by property tests to come back equal, dtypes and index included.
    """
    kind = type(value)
    if kind is pd.DataFrame:
        index, columns = value.index, list(value.columns)
        if not all(type(label) is str for label in columns) or not value.columns.is_unique:
            return None
        if value.columns.name is not None or type(value.columns) is not pd.Index or not _is_text(value.columns.dtype):
            return None
        table = {"kind": _FRAME, "columns": columns}
        arrays = [value.iloc[:, i] for i in range(len(columns))]
    elif kind is pd.Series:
        index, arrays, table = value.index, [value], {"kind": _SERIES, "name": value.name}
    elif kind in _INDEXES:
        index, arrays, table = value, [], {"kind": _INDEX}
    else:
        return None
    if value is not index and (value.attrs or not value.flags.allows_duplicate_labels):
        return None
    if not _label(table.get("name")) or not _label(index.name):
        return None
    if not all(_faithful(array.dtype) for array in arrays):
        return None
    table["index_name"] = index.name
    stored = []
    if type(index) is pd.RangeIndex:
        table["range"] = [index.start, index.stop, index.step]
    elif type(index) in _INDEXES and _faithful(index.dtype) and getattr(index, "freq", None) is None:
        stored.append(index.to_series())
    else:
        return None
    stored += arrays
    table["dtypes"] = [str(array.dtype) for array in stored]
    try:
        head = json.dumps(table, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None  # a label with half of a surrogate pair
    batch = pa.RecordBatch.from_arrays([_to_arrow(array) for array in stored], [str(i) for i in range(len(stored))])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return head, [memoryview(sink.getvalue())]


def decode_frame(head: Buffer, buffers: Sequence[memoryview]) -> Any:
    """Frame, series or index of its description and stream."""
    table = json.loads(bytes(head))
    stored = pa.ipc.open_stream(pa.py_buffer(buffers[0])).read_all()
    stored.validate(full=True)  # Arrow reads memory wherever offsets point, and a worker may have made them up
    arrays = [_restore(stored.column(i), dtype) for i, dtype in enumerate(table["dtypes"])]
    if "range" in table:
        start, stop, step = table["range"]
        index: Any = pd.RangeIndex(start, stop, step, name=table["index_name"])
    else:
        index = pd.Index(arrays.pop(0), name=table["index_name"])
    if table["kind"] == _INDEX:
        return index
    if table["kind"] == _SERIES:
        return pd.Series(arrays[0], index=index, name=table["name"], copy=False)
    frame = pd.DataFrame(dict(enumerate(arrays)), index=index, copy=False)
    frame.columns = pd.Index(table["columns"], dtype="str")
    return frame


def _label(label: Any) -> bool:
    return label is None or type(label) is str


def _faithful(dtype: Any) -> bool:
    """Whether Arrow returns a column of this dtype unchanged."""
    if isinstance(dtype, np.dtype):
        return dtype.isnative and (dtype.kind in "iubMm" or dtype in (np.float32, np.float64))
    return _is_text(dtype)


def _is_text(dtype: Any) -> bool:
    return bool(dtype == "str") and getattr(dtype, "storage", "") == "pyarrow"


def _to_arrow(column: pd.Series[Any]) -> pa.Array:
    if column.dtype != "str":
        return pa.array(column.to_numpy())
    array = pa.array(column.array, from_pandas=True)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _restore(column: pa.ChunkedArray, dtype: str) -> Any:
    if dtype == "str":
        return pd.array(column, dtype="str")
    array = column.combine_chunks().to_numpy(zero_copy_only=False).astype(dtype, copy=False)
    # Arrow hands out memory that must not be written; pandas users write into their results.
    return array if array.flags.writeable else array.copy()
