"""Data that no machine involved could hold: what is computed on it takes the memory of a few partitions."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import psutil
import pytest

import cloudoffload as co

WORKERS = 2
LIMIT_MB = 200
DATA_MB = 8 * WORKERS * LIMIT_MB
PARTITION_MB = 16
PARTITIONS = DATA_MB // PARTITION_MB
ROWS = (PARTITION_MB << 20) // 16  # two columns of 8 bytes
GROWTH_MB = 100

pytestmark = pytest.mark.slow


@pytest.fixture
def session() -> Iterator[co.Session]:
    with co.Session(providers=("local",), workers=WORKERS, memory_mb=LIMIT_MB) as opened:
        dask.compute(da.ones(1))
        yield opened


class Watch:
    """How much memory this process takes beyond what it had, and the largest of its workers, MB."""

    def __enter__(self) -> Watch:
        gc.collect()
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self.grown_mb = 0.0
        self.worker_mb = 0.0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._done.wait(0.02):
            self.grown_mb = max(self.grown_mb, (self._process.memory_info().rss - self._before) / 2**20)
            for worker in self._process.children():
                try:
                    memory = worker.memory_info()
                except psutil.NoSuchProcess:
                    continue
                self.worker_mb = max(self.worker_mb, (memory.rss - memory.shared) / 2**20)


def keeps_small(session: co.Session, watch: Watch) -> None:
    """Nobody has grown with the data, and no worker had to be ended for its memory."""
    assert watch.grown_mb < GROWTH_MB
    assert 0 < watch.worker_mb < LIMIT_MB
    assert session.stats()["retries"] == 0


def random_numbers() -> da.Array:
    block = (PARTITION_MB << 20) // 8
    return da.random.default_rng(1).random(PARTITIONS * block, chunks=block)


def frame(number: int) -> pd.DataFrame:
    return pd.DataFrame({"key": np.arange(ROWS) % 10, "value": np.full(ROWS, float(number))})


def test_the_mean_of_an_array(session: co.Session) -> None:
    """Blocks never leave their worker; only their sums do."""
    with Watch() as watch:
        mean = random_numbers().mean().compute()
    assert abs(mean - 0.5) < 1e-3
    keeps_small(session, watch)
    assert session.stats()["store_bytes_peak"] < DATA_MB << 14  # a sixty-fourth


def test_the_groups_of_a_dataframe(session: co.Session) -> None:
    """Partitions are aggregated where they are made."""
    data = dd.from_map(frame, range(PARTITIONS), meta=frame(0).iloc[:0])
    with Watch() as watch:
        sums = data.groupby("key").value.sum().compute()
    assert sums.sum() == ROWS * sum(range(PARTITIONS))
    keeps_small(session, watch)


def test_a_stream_over_an_array(session: co.Session) -> None:
    """Every block passes through this machine, and a few at a time lie in the store."""
    with Watch() as watch:
        total = sum(block.sum() for block in session.stream(random_numbers()))
    assert abs(total / (DATA_MB << 17) - 0.5) < 1e-3
    keeps_small(session, watch)
    assert session.stats()["client_bytes_in"] > DATA_MB << 20
    assert session.stats()["store_bytes_peak"] < 8 * PARTITION_MB << 20


def test_intermediate_values_go_with_their_last_reader(session: co.Session) -> None:
    """A tree of sums holds a few blocks at a time, not all that it ever makes."""

    def make(number: int) -> np.ndarray:
        return np.full(1 << 20, float(number))

    count = 128
    layer = [dask.delayed(make)(number) for number in range(count)]
    while len(layer) > 1:
        layer = [dask.delayed(np.add)(*pair) for pair in zip(layer[::2], layer[1::2], strict=True)]
    with Watch() as watch:
        (total,) = session.compute(layer[0])
    assert total[0] == sum(range(count))
    keeps_small(session, watch)
    everything = (2 * count - 1) * total.nbytes
    assert session.stats()["store_bytes_peak"] < everything / 4


def test_small_values_don_t_pile_up_here(session: co.Session) -> None:
    """They travel inside of messages, through this machine: each goes when it was read for the last time."""
    count, size = 3000, 1500  # 12 kB each, three for each result: 108 MB together
    stream = session.stream(
        [dask.delayed(np.add)(*[dask.delayed(np.full)(size, float(i)) for _ in range(2)]) for i in range(count)],
        ahead=100,
    )
    with Watch() as watch:
        total = sum(value[0] for value in stream)
    assert total == sum(range(count)) * 2
    assert session.stats()["client_bytes_in"] > 2 * count * size * 8  # the store takes some
    assert watch.grown_mb < 30
