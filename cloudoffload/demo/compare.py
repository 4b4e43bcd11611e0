"""The same questions answered by plain pandas, and the check that both answers are equal."""

from __future__ import annotations

from typing import Any

import pandas as pd
from pandas.testing import assert_frame_equal

from cloudoffload.demo.catalogue import Question, as_table
from cloudoffload.demo.flights import Tables

RELATIVE_TOLERANCE = 1e-9
"""Sums of whole minutes are exact, so means differ by the rounding of one division at most."""


class UnequalError(Exception):
    """Dask's answer is not what pandas found."""


def frames(question: Question, tables: Tables, copies: int) -> list[pd.DataFrame]:
    """Arguments of ``question.twin``: the source's own rows in memory, flights repeated as often as in the store.

    Parameters
    ----------
    question : Question
        Says which tables and which columns of the flights it needs; no others are taken.
    tables : Tables
        As read from the CSV files: what was written to the store and read back plays no part.
    copies : int
        How often the flights are repeated.
    """
    arguments = []
    for name in question.tables:
        if name == "flights":
            flights = tables[name].select(list(question.columns)).to_pandas()
            arguments.append(pd.concat([flights] * copies, ignore_index=True))
        else:
            arguments.append(tables[name].to_pandas())
    return arguments


def require_equal(question: Question, answer: Any, expected: Any) -> pd.DataFrame:
    """Compare two answers row by row; returns the answer as a table.

    Dtypes may differ (a count may be int32 here and int64 there), values may not: floats by a relative tolerance of
    :data:`RELATIVE_TOLERANCE`, all else exactly.

    Raises
    ------
    UnequalError
        Rows, columns or a value differ.
    """
    table = as_table(question, answer)
    try:
        assert_frame_equal(
            table,
            as_table(question, expected),
            check_dtype=False,
            check_like=True,
            rtol=RELATIVE_TOLERANCE,
            atol=0,
        )
    except AssertionError as difference:
        raise UnequalError(f"{question.title} Dask and pandas disagree: {difference}") from difference
    return table
