"""The demo's list of questions: which tables each is asked of, how it is worded, and how its answer is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cloudoffload.demo import questions


@dataclass(frozen=True, slots=True)
class Question:
    """Something a person would ask, as Dask code and as its pandas twin."""

    name: str
    title: str
    tables: tuple[str, ...]  # arguments of both functions, by name, in their order
    columns: tuple[str, ...]  # of the flights: what pandas needs of them; the rest never costs memory
    ask: Callable[..., Any]  # Dask collections -> a collection
    twin: Callable[..., Any]  # frames -> what the computed collection must equal
    by: tuple[str, ...]  # columns that tell the answer's rows apart
    top: str  # the rows with the most of this column are shown
    big: bool = False  # asked of the repeated flights


def as_table(question: Question, answer: Any) -> pd.DataFrame:
    """An answer of Dask or pandas as one frame, rows in the order of ``question.by``.

    Parameters
    ----------
    question : Question
        Names the columns.
    answer : DataFrame, array of counts or list of pairs
        What ``question.ask`` gives when computed, or ``question.twin``.
    """
    if isinstance(answer, pd.DataFrame):
        frame = answer
    elif isinstance(answer, np.ndarray):
        frame = pd.DataFrame({question.by[0]: questions.DELAY_EDGES[:-1], question.top: answer})
    else:
        frame = pd.DataFrame(answer, columns=[question.by[0], question.top])
    return frame.sort_values(list(question.by)).reset_index(drop=True)


QUESTIONS = (
    Question(
        "carriers",
        "How late is each airline, month by month?",
        ("flights", "airlines"),
        ("carrier", "month", "dep_delay", "arr_delay"),
        questions.delay_by_carrier,
        questions.delay_by_carrier_pandas,
        by=("carrier", "month"),
        top="arrival",
        big=True,
    ),
    Question(
        "weather",
        "What does the weather of the hour do?",
        ("flights", "weather"),
        ("origin", "time_hour", "dep_delay", "arr_delay"),
        questions.delay_by_weather,
        questions.delay_by_weather_pandas,
        by=("miles_visible_from", "wind_mph_from", "wet"),
        top="departure",
        big=True,
    ),
    Question(
        "ages",
        "Are old planes late?",
        ("flights", "planes"),
        ("tailnum", "dep_delay", "arr_delay"),
        questions.delay_by_age,
        questions.delay_by_age_pandas,
        by=("age_from",),
        top="arrival",
        big=True,
    ),
    Question(
        "routes",
        "Which routes are over half an hour late most often?",
        ("flights",),
        ("origin", "dest", "arr_delay"),
        questions.worst_routes,
        questions.worst_routes_pandas,
        by=("origin", "dest"),
        top="late",
    ),
    Question(
        "again",
        "Is a plane that came in late late again the next time?",
        ("flights",),
        ("tailnum", "time_hour", "flight", "dep_delay", "arr_delay"),
        questions.late_again,
        questions.late_again_pandas,
        by=("hours_before",),
        top="departure",
    ),
    Question(
        "spread",
        "How are the delays spread?",
        ("flights",),
        ("arr_delay",),
        questions.delay_histogram,
        questions.delay_histogram_pandas,
        by=("minutes_from",),
        top="flights",
    ),
    Question(
        "words",
        "Which words name airports?",
        ("airports",),
        (),
        questions.name_words,
        questions.name_words_pandas,
        by=("word",),
        top="airports",
    ),
    Question(
        "tails",
        "Which letters end the tail numbers?",
        ("flights",),
        ("tailnum",),
        questions.tail_letters,
        questions.tail_letters_pandas,
        by=("letters",),
        top="flights",
    ),
)
