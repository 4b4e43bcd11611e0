"""Frames of every kind of column and index that pandas has, for tests of shuffles."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import strategies as st

Make = Callable[[int], Any]

_DAYS = np.datetime64("2020-01-01", "ns")


def _some(values: list[Any]) -> Callable[[int], list[Any]]:
    """The first n of values that repeat."""
    return lambda n: [values[i % len(values)] for i in range(n)]


def _arrow(values: list[Any], kind: pa.DataType) -> Make:
    return lambda n: pd.array(pa.array(_some(values)(n), kind), dtype=pd.ArrowDtype(kind))


def _sparse(n: int) -> Any:
    return pd.arrays.SparseArray(_some([0, 0, 3])(n), dtype="Sparse[int64, 0]")


COLUMNS: dict[str, Make] = {
    "int64": lambda n: np.arange(n),
    "int8": lambda n: np.arange(n).astype("i1") - 3,
    "uint32": lambda n: np.arange(n).astype("u4"),
    "float64": lambda n: np.array(_some([1.5, np.nan, -0.0])(n), "f8"),
    "float16": lambda n: np.arange(n).astype("f2"),
    "complex": lambda n: np.arange(n) * 1j,
    "bool": lambda n: np.arange(n) % 2 == 0,
    "datetime": lambda n: _DAYS + np.arange(n).astype("m8[D]"),
    "datetime in seconds": lambda n: (_DAYS + np.arange(n).astype("m8[D]")).astype("M8[s]"),
    "datetime with zone": lambda n: (
        pd.DatetimeIndex(_some(["2020-07-01", None, "2020-12-01"])(n))
        .tz_localize("UTC")
        .tz_convert("Europe/Zurich")
        .array
    ),
    "timedelta": lambda n: np.arange(n).astype("m8[us]"),
    "period": lambda n: pd.array(_some(["2020-01", None, "2021-03"])(n), dtype="period[M]"),
    "category": lambda n: pd.Categorical(_some(["b", "a", None])(n), categories=["a", "b", "never"]),
    "ordered category": lambda n: pd.Categorical(_some([3, 1])(n), categories=[3, 2, 1], ordered=True),
    "Int64": lambda n: pd.array(_some([1, None, 3])(n), dtype="Int64"),
    "Float64": lambda n: pd.array(_some([1.5, None, 3])(n), dtype="Float64"),
    "boolean": lambda n: pd.array(_some([True, None, False])(n), dtype="boolean"),
    "str": lambda n: pd.array(_some(["text", "", None, "ünï"])(n), dtype="str"),
    "string": lambda n: pd.array(_some(["text", "", None, "ünï"])(n), dtype="string[pyarrow]"),
    "python string": lambda n: pd.array(_some(["text", "", None, "ünï"])(n), dtype="string[python]"),
    "object": lambda n: pd.Series(_some([None, (1, 2), "x", [3], 4.5])(n), dtype=object).array,
    "interval": lambda n: pd.arrays.IntervalArray.from_tuples(
        _some([(0, 1), (2, 5)])(n), dtype="interval[int64, right]"
    ),
    "sparse": _sparse,
    "list": _arrow([[1, 2], [], None, [3]], pa.list_(pa.int64())),
    "struct": _arrow(
        [{"a": 1, "b": "x"}, None, {"a": 2, "b": "y"}], pa.struct([("a", pa.int64()), ("b", pa.string())])
    ),
    "dictionary": lambda n: pd.array(
        pa.array(_some(["p", "q", None])(n)).dictionary_encode(),
        dtype=pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
    ),
    "decimal": _arrow([Decimal("1.50"), None], pa.decimal128(6, 2)),
    "arrow bool": _arrow([True, None, False], pa.bool_()),
    "arrow time": _arrow([0, None, 10**9], pa.timestamp("ns", "UTC")),
}

INDEXES: dict[str, Make] = {
    "range": lambda n: pd.RangeIndex(n),
    "range with name": lambda n: pd.RangeIndex(5, 5 + 2 * n, 2, name="id"),
    "int": lambda n: pd.Index(np.arange(n) * 7 % 5, name="id"),
    "text": lambda n: pd.Index(_some(["b", "a", "b"])(n), dtype="str"),
    "objects": lambda n: pd.Index(_some(["b", 1, None])(n), dtype=object),
    "float": lambda n: pd.Index(_some([0.5, np.nan])(n), dtype="f8", name=("a", 1)),
    "bool": lambda n: pd.Index(np.arange(n) % 2 == 0),
    "datetime": lambda n: pd.date_range("2020", periods=n, freq="D", name="t"),
    "datetime with zone": lambda n: pd.date_range("2020", periods=n, freq="h", tz="Asia/Tokyo"),
    "period": lambda n: pd.period_range("2020", periods=n, freq="M"),
    "category": lambda n: pd.CategoricalIndex(_some(["x", "y", "x"])(n), categories=["y", "x", "z"]),
    "interval": lambda n: pd.IntervalIndex.from_breaks(np.arange(n + 1)),
    "nullable": lambda n: pd.Index(pd.array(_some([1, None])(n), dtype="Int64")),
    "levels": lambda n: pd.MultiIndex.from_arrays(
        [_some(["a", "b", None])(n), np.arange(n), _some([pd.Timestamp("2020"), pd.NaT])(n)], names=["s", None, "t"]
    ),
}


@st.composite
def frames(draw: st.DrawFn, *, rows: st.SearchStrategy[int] | None = None) -> pd.DataFrame:
    """Frames of some columns, some of them twice, under labels that may repeat."""
    n = draw(st.integers(0, 12) if rows is None else rows)
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), max_size=5))
    frame = pd.DataFrame(
        dict(enumerate(COLUMNS[name](n) for name in names)), index=INDEXES[draw(st.sampled_from(sorted(INDEXES)))](n)
    )
    labels = draw(st.sampled_from(["text", "number", "mixed", "levels", "repeated"]))
    if labels == "text":
        frame.columns = pd.Index([f"c{i}" for i in range(len(names))], dtype="str", name="columns")
    elif labels == "mixed":
        frame.columns = pd.Index(
            [i if i % 2 else (i, "x") for i in range(len(names))], dtype=object, tupleize_cols=False
        )
    elif labels == "levels":
        frame.columns = pd.MultiIndex.from_tuples([("a", i) for i in range(len(names))], names=["x", "y"])
    elif labels == "repeated":
        frame.columns = pd.Index(["same"] * len(names), dtype="str")
    if draw(st.booleans()):
        frame.attrs = {"unit": "m"}
    return frame
