"""Partitions one after the other, while the next ones are computed."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import cloudoffload as co
from cloudoffload import errors
from cloudoffload.engine.estimating import Estimated
from cloudoffload.engine.events import Event, EventKind

GENEROUS = 60.0
FRAME = pd.DataFrame({"number": range(10), "text": list("abcdefghij")})


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[co.Session]:
    with co.Session(providers=("local",), workers=2) as opened:
        yield opened


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + GENEROUS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def leaves_nothing(session: co.Session) -> None:
    """All objects of the session go soon."""
    until(lambda: session.stats()["store_bytes"] == 0, "objects stayed in the store")


def block(value: float) -> np.ndarray:
    """80 kB: too large to travel inside an outcome."""
    return np.full(10_000, value)


def test_a_dataframe_yields_its_partitions(session: co.Session) -> None:
    """Frames, in the order of the index, that make up the whole."""
    frames = list(session.stream(dd.from_pandas(FRAME, npartitions=3).assign(twice=lambda df: df.number * 2)))
    assert len(frames) == 3
    expected = FRAME.assign(twice=FRAME.number * 2)
    pd.testing.assert_frame_equal(pd.concat(frames), expected, check_dtype=False)


def test_a_series_yields_series(session: co.Session) -> None:
    """And a reduction its one value."""
    numbers = dd.from_pandas(FRAME, npartitions=2).number
    assert [part.tolist() for part in session.stream(numbers)] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    assert list(session.stream(numbers.sum())) == [45]


def test_an_array_yields_its_blocks_in_c_order(session: co.Session) -> None:
    """The last index moves fastest; blocks keep their dimensions."""
    whole = np.arange(24).reshape(4, 6)
    blocks = list(session.stream(da.from_array(whole, chunks=(2, 3)) + 1))
    assert [item.tolist() for item in blocks] == [
        (whole[rows : rows + 2, columns : columns + 3] + 1).tolist() for rows in (0, 2) for columns in (0, 3)
    ]


def test_a_bag_yields_lists(session: co.Session) -> None:
    """Also where a partition is lazy, and where it lies in the graph itself."""
    bag = db.from_sequence(range(7), npartitions=3)
    assert list(session.stream(bag)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(session.stream(bag.map(lambda x: -x).filter(lambda x: x))) == [[-1, -2], [-3, -4, -5], [-6]]


def test_delayed_values_follow_each_other(session: co.Session) -> None:
    """A list of them as often as they stand there; one alone yields its value."""
    first, second = dask.delayed(block)(1), dask.delayed(block)(2)
    values = list(session.stream([first, second, first]))
    assert [value[0] for value in values] == [1, 2, 1]
    values[0][:] = 0
    assert values[2][0] == 1, "what is yielded belongs to its reader alone"
    assert [value[0] for value in session.stream(second)] == [2]
    assert list(session.stream([])) == []


def test_data_that_the_graph_holds_streams_as_it_is(session: co.Session) -> None:
    """Beside what is computed from it; what was stored for that goes."""
    data = [np.random.default_rng(i).random(100_000) for i in range(3)]
    held = [dask.delayed(item) for item in data]
    values = list(session.stream([*held, dask.delayed(np.sum)(held[0])]))
    assert [value.sum() for value in values] == [*(item.sum() for item in data), data[0].sum()]
    leaves_nothing(session)


def test_what_is_persisted_streams_and_stays(session: co.Session) -> None:
    """Its owner is the collection."""
    (kept,) = session.persist(da.ones(30_000, chunks=10_000) + 1)
    held = session.stats()["store_bytes"]
    assert [part.sum() for part in session.stream(kept)] == [20_000] * 3
    assert session.stats()["store_bytes"] == held > 0
    del kept
    gc.collect()
    leaves_nothing(session)


def test_each_partition_goes_from_the_store_when_it_is_read(session: co.Session) -> None:
    """The store holds no more of them than were computed ahead, however many there are."""
    blocks = [dask.delayed(block)(i) for i in range(40)]
    seen = [session.stats()["store_bytes"] // block(0).nbytes for _ in session.stream(blocks, ahead=4)]
    assert max(seen) <= 4 + 1  # one may be downloaded and not deleted yet
    leaves_nothing(session)


def test_work_that_is_far_ahead_is_not_begun(session: co.Session, tmp_path: Path) -> None:
    """As long as the reader rests, only so many partitions are computed; then the work goes on."""

    def mark(i: int, folder: tuple[str, ...]) -> np.ndarray:
        Path(*folder, str(i)).touch()
        return block(i)

    # In parts, because a whole path of this machine would keep the tasks here.
    blocks = [dask.delayed(mark)(i, tmp_path.parts) for i in range(30)]
    with closing(session.stream(blocks, ahead=3)) as stream:
        next(stream)
        # One is taken, one downloaded ahead of the reader, three wait.
        until(lambda: len(list(tmp_path.iterdir())) == 5, "the allowed work was not done")
        until(lambda: session.stats()["in_flight"] == 0, "work goes on")
        assert len(list(tmp_path.iterdir())) == 5
        assert len(list(islice(stream, 10))) == 10
        until(lambda: len(list(tmp_path.iterdir())) == 15, "the work did not go on")


def test_an_error_comes_where_its_partition_would(session: co.Session) -> None:
    """Behind all partitions before it, as the user's own exception; nothing of the stream stays."""

    def fail(i: int) -> np.ndarray:
        if i == 5:
            raise LookupError(i)
        time.sleep(0.02 * (5 - i) if i < 5 else 0)  # those before it take longer
        return block(i)

    events: list[Event] = []
    end = session.events.subscribe(events.append)
    seen = []
    with pytest.raises(LookupError, match="5"):
        for value in session.stream([dask.delayed(fail)(i) for i in range(10)], ahead=10):
            seen.append(value[0])
            # Also when the computation is over long before its reader.
            until(lambda: events[-1].kind is EventKind.COMPUTE_ENDED, "it goes on")
    end()
    assert seen == [0, 1, 2, 3, 4]
    leaves_nothing(session)


def test_leaving_early_ends_the_work(session: co.Session) -> None:
    """``break`` drops the generator: what is under way is cancelled, what is stored deleted."""
    ended = []
    end = session.events.subscribe(lambda event: ended.append(event.kind is EventKind.COMPUTE_ENDED and event.message))
    for value in session.stream([dask.delayed(block)(i) for i in range(500)], ahead=20):
        assert value[0] == 0
        break
    end()
    assert any("Cancelled" in str(message) for message in ended)
    assert session.stats()["in_flight"] == 0
    leaves_nothing(session)
    assert session.compute(dask.delayed(abs)(-1)) == (1,)


def test_an_exception_of_the_reader_ends_the_work(session: co.Session) -> None:
    """It is raised as it is."""

    def read() -> None:
        for _ in session.stream([dask.delayed(block)(i) for i in range(500)], ahead=20):
            raise KeyError("the reader's own")

    with pytest.raises(KeyError, match="own"):
        read()
    gc.collect()  # the traceback held the generator
    leaves_nothing(session)
    assert session.stats()["in_flight"] == 0


def test_an_interrupt_ends_the_work(session: co.Session) -> None:
    """Ctrl-C is heard while the reader waits, says what was spent, and leaves nothing."""

    def interrupt() -> None:
        until(lambda: session.stats()["in_flight"], "nothing was begun")
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        list(session.stream([dask.delayed(time.sleep)(GENEROUS) for _ in range(10)]))
    thread.join()
    assert "spent" in "".join(caught.value.__notes__)
    assert session.stats()["in_flight"] == 0
    leaves_nothing(session)


def test_cancelling_the_session_ends_a_stream(session: co.Session) -> None:
    """Its reader learns that, and what was spent."""
    with closing(session.stream([dask.delayed(time.sleep)(0.2) for _ in range(500)])) as stream:
        next(stream)
        session.cancel()
        with pytest.raises(errors.Cancelled) as caught:
            list(stream)
    assert "spent" in "".join(caught.value.__notes__)


def test_a_stream_of_a_closed_session() -> None:
    """Whoever goes on reading gets an error, and does not wait for ever."""
    with co.Session(providers=("local",), workers=1) as opened:
        stream = opened.stream([dask.delayed(block)(i) for i in range(500)], ahead=2)
        next(stream)
    with pytest.raises((errors.SessionClosed, errors.Cancelled)):
        list(stream)
    with pytest.raises(errors.SessionClosed):
        opened.stream(dask.delayed(abs)(1))


def test_nothing_is_spent_before_the_first_partition_is_asked_for(session: co.Session) -> None:
    """But the plan is made at once, and says what can't run."""
    before = session.stats()["units"]
    session.stream(dask.delayed(block)(1))
    assert session.stats()["units"] == before
    with pytest.raises(errors.PlanError):
        session.stream(dask.delayed(block)(1), requirements=co.Requirements(provider="aws"))


def test_a_dry_run_streams_nothing(session: co.Session) -> None:
    """It raises the estimate where the first partition would come."""
    with session.dry_run(), pytest.raises(Estimated):
        list(session.stream(dask.delayed(block)(1)))


@pytest.mark.parametrize("ahead", [0, -1, 1.5, True])
def test_a_window_is_a_whole_number_from_1(session: co.Session, ahead: Any) -> None:
    """Without one no partition could ever be computed."""
    with pytest.raises(errors.SettingsError, match="from 1"):
        session.stream(dask.delayed(abs)(1), ahead=ahead)


@pytest.mark.parametrize("thing", [1, [1], {"a": dask.delayed(abs)(1)}], ids=["value", "list", "dict"])
def test_only_collections_stream(session: co.Session, thing: Any) -> None:
    """And lists of them."""
    with pytest.raises(TypeError, match="collection"):
        session.stream(thing)
