"""Questions about the flights: stock Dask code, and next to each the same in plain pandas.

The Dask functions take collections and return a collection, not yet computed; the pandas twins take frames. Nothing
here knows where anything runs.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd

LATE_MINUTES = 30
LEAST_FLIGHTS = 100
DELAY_EDGES = np.arange(-90.0, 301.0, 15.0)


# How late is each airline, month by month?


def delay_by_carrier(flights: dd.DataFrame, airlines: dd.DataFrame) -> dd.DataFrame:
    """Mean delays in minutes and number of flights, by airline and month."""
    delays = flights.groupby(["carrier", "month"]).agg(
        flights=("carrier", "size"), departure=("dep_delay", "mean"), arrival=("arr_delay", "mean")
    )
    return delays.reset_index().merge(airlines, on="carrier")


def delay_by_carrier_pandas(flights: pd.DataFrame, airlines: pd.DataFrame) -> pd.DataFrame:
    """Twin of :func:`delay_by_carrier`."""
    delays = flights.groupby(["carrier", "month"]).agg(
        flights=("carrier", "size"), departure=("dep_delay", "mean"), arrival=("arr_delay", "mean")
    )
    return delays.reset_index().merge(airlines, on="carrier")


# What does the weather of the hour do?


def weather_bands(weather: pd.DataFrame) -> pd.DataFrame:
    """Airport and hour, with visibility (miles) and wind (mph) as the lower ends of their bands."""
    measured = weather.dropna(subset=["visib", "wind_speed", "precip"])
    return pd.DataFrame(
        {
            "origin": measured["origin"],
            "time_hour": measured["time_hour"],
            "miles_visible_from": _band(measured["visib"], [0, 1, 3, 10]),
            "wind_mph_from": _band(measured["wind_speed"], [0, 10, 20]),
            "wet": measured["precip"] > 0,
        }
    )


def _band(values: pd.Series[Any], lower_ends: list[int]) -> pd.Series[Any]:
    number = np.searchsorted(lower_ends, values.to_numpy(), side="right") - 1
    return pd.Series(np.array(lower_ends, dtype="int8")[number], index=values.index)


def delay_by_weather(flights: dd.DataFrame, weather: dd.DataFrame) -> dd.DataFrame:
    """Mean departure delay in minutes by visibility, wind and rain at the airport in the scheduled hour."""
    joined = flights.merge(weather.map_partitions(weather_bands), on=["origin", "time_hour"])
    delays = joined.groupby(["miles_visible_from", "wind_mph_from", "wet"]).agg(
        flights=("origin", "size"), departure=("dep_delay", "mean"), arrival=("arr_delay", "mean")
    )
    return delays.reset_index()


def delay_by_weather_pandas(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Twin of :func:`delay_by_weather`."""
    joined = flights.merge(weather_bands(weather), on=["origin", "time_hour"])
    delays = joined.groupby(["miles_visible_from", "wind_mph_from", "wet"]).agg(
        flights=("origin", "size"), departure=("dep_delay", "mean"), arrival=("arr_delay", "mean")
    )
    return delays.reset_index()


# Are old planes late?


def delay_by_age(flights: dd.DataFrame, planes: dd.DataFrame) -> dd.DataFrame:
    """Mean delays in minutes by the plane's age in 2013, in steps of five years."""
    built = planes[["tailnum", "year"]].rename(columns={"year": "built"}).dropna()
    joined = flights[["tailnum", "dep_delay", "arr_delay"]].merge(built, on="tailnum")
    joined["age_from"] = ((2013 - joined["built"]) // 5 * 5).astype("int16")
    delays = joined.groupby("age_from").agg(
        flights=("tailnum", "size"), departure=("dep_delay", "mean"), arrival=("arr_delay", "mean")
    )
    return delays.reset_index()


def delay_by_age_pandas(flights: pd.DataFrame, planes: pd.DataFrame) -> pd.DataFrame:
    """Twin of :func:`delay_by_age`."""
    built = planes[["tailnum", "year"]].rename(columns={"year": "built"}).dropna()
    joined = flights[["tailnum", "dep_delay", "arr_delay"]].merge(built, on="tailnum")
    joined["age_from"] = ((2013 - joined["built"]) // 5 * 5).astype("int16")
    delays = joined.groupby("age_from").agg(
        flights=("tailnum", "size"), departure=("dep_delay", "mean"), arrival=("arr_delay", "mean")
    )
    return delays.reset_index()


# Which routes are the worst?


def worst_routes(flights: dd.DataFrame) -> dd.DataFrame:
    """Share of landed flights over half an hour late, by route, for routes with 100 flights or more."""
    landed = flights[["origin", "dest", "arr_delay"]].dropna()
    landed["late"] = (landed["arr_delay"] > LATE_MINUTES).astype("float64")
    routes = landed.groupby(["origin", "dest"]).agg(flights=("late", "size"), late=("late", "mean")).reset_index()
    return routes[routes["flights"] >= LEAST_FLIGHTS]


def worst_routes_pandas(flights: pd.DataFrame) -> pd.DataFrame:
    """Twin of :func:`worst_routes`."""
    landed = flights[["origin", "dest", "arr_delay"]].dropna()
    landed["late"] = (landed["arr_delay"] > LATE_MINUTES).astype("float64")
    routes = landed.groupby(["origin", "dest"]).agg(flights=("late", "size"), late=("late", "mean")).reset_index()
    return routes[routes["flights"] >= LEAST_FLIGHTS]


# Is a plane that came in late late again the next time?


def with_previous_delay(flights: pd.DataFrame) -> pd.DataFrame:
    """Add the arrival delay of the same plane's previous flight from New York, as hours late (-1: early)."""
    ordered = flights.dropna().sort_values(["tailnum", "time_hour", "flight"])
    previous = ordered.groupby("tailnum")["arr_delay"].shift()
    hours = (previous.clip(upper=299) // 60).clip(lower=-1)
    return ordered.assign(hours_before=hours).dropna(subset=["hours_before"]).astype({"hours_before": "int8"})


def late_again(flights: dd.DataFrame) -> dd.DataFrame:
    """Mean departure delay by how many hours late the same plane was on its flight before."""
    columns = flights[["tailnum", "time_hour", "flight", "dep_delay", "arr_delay"]].dropna()
    followed = columns.shuffle("tailnum", npartitions=8).map_partitions(with_previous_delay)
    return (
        followed.groupby("hours_before").agg(flights=("tailnum", "size"), departure=("dep_delay", "mean")).reset_index()
    )


def late_again_pandas(flights: pd.DataFrame) -> pd.DataFrame:
    """Twin of :func:`late_again`."""
    followed = with_previous_delay(flights[["tailnum", "time_hour", "flight", "dep_delay", "arr_delay"]])
    return (
        followed.groupby("hours_before").agg(flights=("tailnum", "size"), departure=("dep_delay", "mean")).reset_index()
    )


# How are the delays spread?


def delay_histogram(flights: dd.DataFrame) -> da.Array:
    """Number of flights by arrival delay, between :data:`DELAY_EDGES` (minutes)."""
    delays = flights["arr_delay"].dropna().to_dask_array()
    counts, _ = da.histogram(delays, bins=DELAY_EDGES)
    return counts


def delay_histogram_pandas(flights: pd.DataFrame) -> np.ndarray[Any, Any]:
    """Twin of :func:`delay_histogram`."""
    counts, _ = np.histogram(flights["arr_delay"].dropna(), bins=DELAY_EDGES)
    return counts


# What are airports called?


def name_words(airports: dd.DataFrame) -> Any:
    """How often each word occurs in the names of airports: a bag of (word, number)."""
    return airports["name"].to_bag().str.lower().str.split().flatten().frequencies()


def name_words_pandas(airports: pd.DataFrame) -> list[tuple[str, int]]:
    """Twin of :func:`name_words`."""
    words = airports["name"].str.lower().str.split().explode()
    return list(words.value_counts().items())  # type: ignore[arg-type]


# Whose letters end the tail numbers?


def last_letters(tailnum: str) -> str:
    """The two letters by which airlines mark their planes, "(none)" when it ends otherwise."""
    return tailnum[-2:] if tailnum[-2:].isalpha() else "(none)"


def _count(total: int, _: object) -> int:
    return total + 1


def _add(left: int, right: int) -> int:
    return left + right


def tail_letters(flights: dd.DataFrame) -> Any:
    """Number of flights by the last letters of the plane's tail number: a bag of (letters, number)."""
    tails = flights["tailnum"].dropna().to_bag()
    return tails.foldby(last_letters, _count, 0, _add, 0)


def tail_letters_pandas(flights: pd.DataFrame) -> list[tuple[str, int]]:
    """Twin of :func:`tail_letters`."""
    return list(Counter(map(last_letters, flights["tailnum"].dropna())).items())
