"""A whole small tree of units in one call, once it is known how long they take."""

from __future__ import annotations

import dask
import pandas as pd
import pytest

import cloudoffload as co
from cloudoffload.engine import clouds


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers so far away that no unit of these tests takes longer than the way to them."""
    monkeypatch.setitem(clouds._LATENCY, "local", 60.0)


@pytest.mark.usefixtures("far")
def test_a_small_tree_is_one_call_once_its_lengths_are_known() -> None:
    """The first time units go alone, to be measured; then all of them go together, with the same result."""
    import dask.dataframe as dd

    total = dd.from_pandas(pd.DataFrame({"x": range(100)}), npartitions=4).x.sum()
    with co.Session() as session:
        assert total.compute() == 4950
        before = session.stats()
        assert total.compute() == 4950
        after = session.stats()
    assert after["units"] - before["units"] == before["units"] == 5
    assert before["calls"] > 1
    assert after["calls"] - before["calls"] == 1


@pytest.mark.usefixtures("far")
@pytest.mark.parametrize("large", [10, 100_000])
def test_values_of_a_call_are_read_in_it_wherever_they_lie(large: int) -> None:
    """Inside the outcome or in the store, which holds nothing in the end."""

    @dask.delayed(pure=False)
    def make(number: int) -> bytes:
        return bytes([number]) * large

    @dask.delayed(pure=False)
    def join(parts: list[bytes]) -> int:
        return sum(map(sum, parts))

    joined = join([make(1), make(2), make(3)])
    with co.Session() as session:
        for _ in range(2):
            before = session.stats()["calls"]
            assert session.compute(joined) == (6 * large,)
        assert session.stats()["calls"] - before == 1


@pytest.mark.usefixtures("far")
def test_what_was_tried_on_little_is_not_expected_to_be_short_on_much() -> None:
    """Another collection with tasks of the same name goes to as many workers as there are."""

    @dask.delayed(pure=False)
    def make(number: int) -> int:
        return number

    @dask.delayed(pure=False)
    def inc(number: int) -> int:
        return number + 1

    with co.Session(workers=2) as session:
        for _ in range(2):
            session.compute(*map(inc, range(4)))
        before = session.stats()["calls"]
        one = make(1)
        session.compute(*(inc(one) for _ in range(4)))
        assert session.stats()["calls"] - before > 2


@pytest.mark.usefixtures("far")
def test_what_a_rider_raises_is_raised_here() -> None:
    """Also when it is the second time that it goes, and when what it reads raises."""

    @dask.delayed(pure=False)
    def make(number: int) -> int:
        return 1 // number

    @dask.delayed(pure=False)
    def invert(numbers: list[int]) -> float:
        return 1 / (sum(numbers) - 2)

    with co.Session() as session:
        assert session.compute(invert([make(1)])) == (-1.0,)
        with pytest.raises(ZeroDivisionError, match=r"^division by zero$"):
            session.compute(invert([make(1), make(1)]))
        with pytest.raises(ZeroDivisionError, match="integer"):
            session.compute(invert([make(1), make(0)]))
