"""The judge of the demo: equal means equal."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cloudoffload.demo.catalogue import QUESTIONS, Question, as_table
from cloudoffload.demo.compare import UnequalError, frames, require_equal
from cloudoffload.demo.questions import DELAY_EDGES

BY_NAME = {question.name: question for question in QUESTIONS}
AGES = BY_NAME["ages"]


def answer(**changes: object) -> pd.DataFrame:
    columns: dict[str, object] = {
        "age_from": [0, 5],
        "flights": [10, 20],
        "departure": [1.0, 2.0],
        "arrival": [3.0, None],
    }
    return pd.DataFrame(columns | changes)


def test_order_and_dtype_do_not_matter() -> None:
    """Partitions come in any order and counts in any width; a difference of 1e-10 is one of rounding."""
    shuffled = answer(departure=[1.0 + 1e-10, 2.0])[::-1].astype({"flights": "int32", "age_from": "int8"})
    table = require_equal(AGES, shuffled, answer())
    assert table["age_from"].to_list() == [0, 5]


@pytest.mark.parametrize(
    "changed",
    [
        answer(flights=[10, 21]),
        answer(departure=[1.0, 2.0 + 1e-7]),
        answer(arrival=[3.0, 0.0]),
        answer(age_from=[0, 10]),
        answer()[:1],
        answer(extra=[0, 0]),
        answer().drop(columns="arrival"),
    ],
    ids=["count", "mean", "missing-value", "key", "lost-row", "column-more", "column-less"],
)
def test_any_difference_is_found(changed: pd.DataFrame) -> None:
    """Another value, key, row or column is a mismatch, and the message names the question."""
    with pytest.raises(UnequalError, match="Are old planes late"):
        require_equal(AGES, changed, answer())


def test_small_values_get_no_absolute_tolerance() -> None:
    """A share of 1e-9 is not the same as none."""
    routes = pd.DataFrame({"origin": ["EWR"], "dest": ["AAA"], "flights": [100], "late": [0.0]})
    with pytest.raises(UnequalError):
        require_equal(BY_NAME["routes"], routes.assign(late=1e-9), routes)


@pytest.mark.parametrize(
    ("question", "found", "first"),
    [
        (BY_NAME["spread"], np.arange(len(DELAY_EDGES) - 1), {"minutes_from": DELAY_EDGES[0], "flights": 0}),
        (BY_NAME["words"], [("intl", 2), ("field", 3)], {"word": "field", "airports": 3}),
    ],
    ids=["array", "bag"],
)
def test_arrays_and_bags_become_tables(question: Question, found: object, first: dict[str, object]) -> None:
    """Counts of bins, named by the bin's lower end, and pairs of a bag are shown and compared like any table."""
    table = as_table(question, found)
    assert table.iloc[0].to_dict() == first
    assert table[question.by[0]].is_monotonic_increasing


def test_pandas_gets_the_repeated_rows() -> None:
    """The twin of a big question works on every copy, with the columns that it needs and no others."""
    tables = {
        "flights": pa.table(
            {"tailnum": ["N1", "N2"], "dep_delay": [1.0, 2.0], "arr_delay": [3.0, 4.0], "dest": ["A", "B"]}
        ),
        "planes": pa.table({"tailnum": ["N1"], "year": [2000.0]}),
    }
    rows, planes = frames(AGES, tables, 3)
    assert list(rows.columns) == ["tailnum", "dep_delay", "arr_delay"]
    assert rows["tailnum"].to_list() == ["N1", "N2"] * 3
    assert len(planes) == 1
