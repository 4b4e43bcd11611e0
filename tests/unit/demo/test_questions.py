"""The demo's questions: stock Dask finds what pandas finds."""

from __future__ import annotations

from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cloudoffload.demo import compare, flights, questions
from cloudoffload.demo.catalogue import QUESTIONS, Question


@pytest.fixture(scope="module")
def sample() -> dict[str, pa.Table]:
    """Every tenth flight, with all of the other tables."""
    tables = flights.read(flights.source_folder())
    return {**tables, "flights": tables["flights"].take(list(range(0, 336_776, 10)))}


@pytest.fixture(scope="module")
def opened(sample: dict[str, pa.Table], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    folder: Path = tmp_path_factory.mktemp("flights")
    flights.write(sample, folder.as_uri())
    return dict(flights.open_tables(folder.as_uri()))


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_dask_and_pandas_agree(question: Question, sample: dict[str, pa.Table], opened: dict[str, object]) -> None:
    """Each question, in partitions and from Parquet, has the answer of pandas over the rows in memory."""
    collection = question.ask(*(opened[name] for name in question.tables))
    answer = collection.compute(scheduler="sync")
    expected = question.twin(*compare.frames(question, sample, 1))
    table = compare.require_equal(question, answer, expected)
    assert len(table) > 4
    assert not table.duplicated(list(question.by)).any()


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question.name)
def test_asking_reads_no_data(question: Question, opened: dict[str, object]) -> None:
    """A question is a lazy collection; until it is computed, Dask looks at the footers of Parquet files at most."""
    keys: list[str] = []

    def watch(graph: object, asked: list[str], **options: object) -> object:
        keys.extend(asked)
        return dask.get(graph, asked, **options)

    with dask.config.set(scheduler=watch):
        collection = question.ask(*(opened[name] for name in question.tables))
    assert dask.is_dask_collection(collection)
    assert all(key.startswith("_gather_statistics") for key in keys), keys


def test_weather_bands_start_at_their_lower_ends() -> None:
    """A band holds its lower end and ends before the next; hours without a measurement are left out."""
    weather = pd.DataFrame(
        {
            "origin": ["EWR"] * 5,
            "time_hour": range(5),
            "visib": [0.99, 1.0, 9.9, 10.0, 10.0],
            "wind_speed": [9.99, 10.0, 19.9, 1048.0, None],
            "precip": [0.0, 0.01, 0.0, 0.0, 0.0],
        }
    )
    bands = questions.weather_bands(weather)
    assert bands["miles_visible_from"].to_list() == [0, 1, 3, 10]
    assert bands["wind_mph_from"].to_list() == [0, 10, 10, 20]
    assert bands["wet"].to_list() == [False, True, False, False]


def test_the_flight_before_is_the_same_planes() -> None:
    """Delays pass from a plane's flight to its own next one, in order of time, in whole hours."""
    days = pd.DataFrame(
        {
            "tailnum": ["N1", "N2", "N1", "N1", "N2", None],
            "time_hour": [2, 1, 1, 3, 2, 1],
            "flight": [7, 7, 7, 7, 7, 7],
            "dep_delay": [5.0, 0.0, 0.0, 9.0, 1.0, 0.0],
            "arr_delay": [130.0, -70.0, 59.0, 0.0, 0.0, 500.0],
        }
    )
    followed = questions.with_previous_delay(days)
    assert list(zip(followed["tailnum"], followed["dep_delay"], followed["hours_before"], strict=True)) == [
        ("N1", 5.0, 0),
        ("N1", 9.0, 2),
        ("N2", 1.0, -1),
    ]


@pytest.mark.parametrize(
    ("tailnum", "letters"), [("N14228", "(none)"), ("N619AA", "AA"), ("N123A", "(none)"), ("N1A2", "(none)")]
)
def test_last_letters_are_two_letters(tailnum: str, letters: str) -> None:
    """Only a tail number that ends in two letters has an airline's mark."""
    assert questions.last_letters(tailnum) == letters


def test_routes_with_few_flights_do_not_count() -> None:
    """A route enters the list with 100 landed flights, and late means more than half an hour."""
    delays = np.r_[np.full(25, 31.0), np.full(75, 30.0)]
    often = pd.DataFrame({"origin": "EWR", "dest": "AAA", "arr_delay": delays})
    rarely = pd.DataFrame({"origin": "EWR", "dest": "BBB", "arr_delay": np.r_[np.full(99, 60.0), np.nan]})
    routes = questions.worst_routes_pandas(pd.concat([often, rarely]))
    assert routes.to_dict("records") == [{"origin": "EWR", "dest": "AAA", "flights": 100, "late": 0.25}]
