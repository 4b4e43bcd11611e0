"""Random Dask collections give the values that Dask's own synchronous scheduler gives."""

from __future__ import annotations

import os
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import dask
import pytest

import cloudoffload as co
from tests.end_to_end import random_arrays, random_bags, random_frames
from tests.end_to_end.random_questions import Question
from tests.end_to_end.test_families import assert_same

FAMILIES: dict[str, Callable[[random.Random], list[Question]]] = {
    "frame": random_frames.build,
    "array": random_arrays.build,
    "bag": random_bags.build,
    "delayed": random_bags.build_delayed,
}
SEEDS = sorted({*range(*map(int, os.environ.get("CLOUDOFFLOAD_RANDOM_SEEDS", "0-20").split("-"))), 164})
"""A seed is all that is needed to see a failure again; 164 once shuffled by partition numbers of one byte."""


@pytest.fixture(scope="module")
def session() -> Iterator[co.Session]:
    """A session with two worker processes, which all tests share."""
    with co.Session(providers=("local",), workers=2) as opened:
        yield opened


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("family", FAMILIES)
def test_gives_what_the_synchronous_scheduler_gives(session: co.Session, family: str, seed: int) -> None:
    """Values, types and labels, or the same kind of error; also of what is computed while a collection is built."""
    chance = random.Random(f"{family} {seed}")
    optimize, persists = chance.random() < 0.8, chance.random() < 0.15

    def answered() -> tuple[list[Question], Any]:
        questions = FAMILIES[family](random.Random(f"{family} {seed} steps"))
        collections = [question.collection for question in questions]
        try:
            if persists:
                collections = dask.persist(*collections, optimize_graph=optimize)
            return questions, dask.compute(*collections, optimize_graph=optimize)
        except Exception as error:
            return questions, error

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with dask.config.set(scheduler="sync"):
            questions, expected = answered()
        _, found = answered()
    print(seed, [question.steps for question in questions])
    if isinstance(expected, Exception):
        assert type(found) is type(expected)
        return
    assert not isinstance(found, Exception), found
    for question, ours, theirs in zip(questions, found, expected, strict=True):
        if isinstance(theirs, list) and not question.ordered:
            assert sorted(map(_in_order, ours)) == sorted(map(_in_order, theirs))
            continue
        assert_same(ours, theirs, ordered=question.ordered, numbered=question.numbered)


def _in_order(item: Any) -> str:
    """An item of a bag whose order is open, the members of a group in order."""
    return repr((item[0], sorted(item[1])) if isinstance(item, tuple) and isinstance(item[1], list) else item)
