"""What is said before the run holds after it."""

from __future__ import annotations

from pathlib import Path

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd

import cloudoffload as co


def test_bytes_are_those_of_the_columns_that_are_read(tmp_path: Path) -> None:
    """Footers say what a column takes: a narrow question is estimated by its columns, not by the file."""
    table = pd.DataFrame({"a": np.arange(100_000), "b": np.random.default_rng(0).random(100_000)})
    table.to_parquet(tmp_path / "t.parquet")
    whole = dd.read_parquet(tmp_path / "t.parquet", filesystem="arrow")
    small = dd.from_pandas(pd.DataFrame({"a": [1, 2], "c": [3, 4]}), npartitions=1)
    with co.Session(workers=1) as session:
        narrow = session.estimate(whole.b.sum())
        wide = session.estimate((whole.a + whole.b).sum())
        joined = session.estimate(whole.merge(small, on="a").b.sum())
    assert narrow.bytes_in > 8 * len(table), "random numbers of 8 bytes do not compress"
    assert narrow.bytes_in < wide.bytes_in < (tmp_path / "t.parquet").stat().st_size
    assert joined.bytes_in > wide.bytes_in, "a broadcast table does not hide what the other side reads"


def test_the_bill_lies_within_the_estimate() -> None:
    """Low and high are bounds of what the same computation then costs."""
    table = dd.from_pandas(pd.DataFrame({"k": np.arange(20_000) % 50, "x": np.arange(20_000.0)}), npartitions=6)
    question = table.groupby("k").x.mean()
    with co.Session(providers=("aws",), emulate=("aws",)) as session:
        estimate = session.estimate(question)
        assert session.ledger.committed == 0, "an estimate spends nothing"
        question.compute()
        assert 0 < estimate.usd_low <= session.ledger.committed <= estimate.usd_high
        assert estimate.by_provider == {"aws": estimate.units}
        assert session.report().usd == session.ledger.committed


def test_learning_narrows_the_estimate() -> None:
    """After a run the same units are estimated from what they took."""
    tasks = [dask.delayed(sum)([i, 1]) for i in range(50)]
    with co.Session(providers=("aws",), emulate=("aws",)) as session:
        before = session.estimate(*tasks)
        dask.compute(*tasks)
        after = session.estimate(*tasks)
    assert after.usd_high - after.usd_low < before.usd_high - before.usd_low
