"""Random questions about bags and delayed values."""

from __future__ import annotations

import operator
import random
from typing import Any

import dask
import dask.bag as db

from tests.end_to_end.random_questions import Question, Step, taken, walk


def start(chance: random.Random) -> Question:
    """Whole numbers in partitions of different length."""
    count = chance.choice([1, 9, 40])
    numbers = [chance.randint(-20, 20) for _ in range(count)]
    if chance.random() < 0.2:
        return Question(db.from_delayed([dask.delayed(list)(numbers[:5]), dask.delayed(range)(4)]))
    return Question(db.from_sequence(numbers, npartitions=chance.choice([1, 3, 7])))


def build(chance: random.Random) -> list[Question]:
    """One or two questions about one bag."""
    common = whole(walk(chance, start(chance), STEPS, 3))
    questions = []
    for _ in range(chance.choice([1, 1, 2])):
        question = walk(chance, common, STEPS, 3)
        # Only here: an iterator with two readers gives Dask's own schedulers a part of its items.
        for _ in range(chance.choice([0, 0, 1, 2])):
            question = lazily_mapped(chance, question)
        questions.append(taken(chance, question, chance.choice(ENDS)) or question)
    return questions


def whole(q: Question) -> Question:
    """The bag with lists for partitions, so that it can have several readers."""
    return q.then(q.collection.map_partitions(list))


def mapped(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map(lambda n: n * 2 - 1))


def filtered(chance: random.Random, q: Question) -> Question:
    return q.then(chance.choice([q.collection.filter, q.collection.remove])(lambda n: n % 3 == 0))


def lazily_mapped(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map_partitions(lambda part: (n + 1 for n in part)))


def eagerly_mapped(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map_partitions(lambda part: [n + 1 for n in part]))


def flattened(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map(lambda n: [n] * (n % 3)).flatten())


def plucked(chance: random.Random, q: Question) -> Question:
    pairs = q.collection.map(lambda n: {"a": n, "b": (n, str(n))})
    return q.then(chance.choice([pairs.pluck("a"), pairs.pluck("b").pluck(0), pairs.pluck("z", 5)]))


def starmapped(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map(lambda n: (n, 2)).starmap(operator.add))


def zipped(chance: random.Random, q: Question) -> Question:
    q = whole(q)
    return q.then(db.zip(q.collection, q.collection.map(abs)).map(sum))


def combined(chance: random.Random, q: Question) -> Question:
    q = whole(q)
    return q.then(q.collection.map(operator.add, q.collection.sum()))


def concatenated(chance: random.Random, q: Question) -> Question:
    q = whole(q)
    return q.then(db.concat([q.collection, q.collection.map(lambda n: -n)]))


def repartitioned(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.repartition(npartitions=chance.choice([1, 2, 8])))


def joined(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.join([1, 2, 3, 5, -7], abs).map(sum))


def accumulated(chance: random.Random, q: Question) -> Question | None:
    return q.then(q.collection.accumulate(operator.add)) if q.ordered else None


def sampled(chance: random.Random, q: Question) -> Question | None:
    return q.then(q.collection.random_sample(0.6, random_state=3)) if q.ordered else None


def regrouped(chance: random.Random, q: Question) -> Question:
    grouped = q.collection.groupby(lambda n: n % chance_free(4), npartitions=3)
    return q.then(grouped.map(lambda group: group[0] + sum(group[1])), ordered=False)


def chance_free(n: int) -> int:
    """A function of this module that another function calls by its name."""
    return n


STEPS: list[Step] = [
    *(mapped, filtered, eagerly_mapped, flattened, plucked, starmapped, zipped, combined),
    *(concatenated, repartitioned, joined, accumulated, sampled, regrouped),
]


def itself(chance: random.Random, q: Question) -> Question:
    return q


def reduced(chance: random.Random, q: Question) -> Question:
    return q.then(getattr(q.collection, chance.choice(["sum", "max", "count", "mean", "any", "std"]))(), ordered=True)


def folded(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.fold(operator.add, initial=chance.choice([0, 3]), split_every=chance.choice([None, 2])))


def tallied(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map(lambda n: n % 5).frequencies(), ordered=False)


def distinct(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map(lambda n: n % 4).distinct(), ordered=False)


def top(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.topk(3), ordered=True)


def grouped(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.groupby(lambda n: n % 3), ordered=False)


def folded_by(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.foldby(lambda n: n % 3, operator.add, 0, operator.add, 0), ordered=False)


def multiplied(chance: random.Random, q: Question) -> Question:
    q = whole(q.then(q.collection.map(lambda n: n % 6)))
    return q.then(q.collection.product(whole(q.then(q.collection.map(lambda n: n % 2))).collection))


def as_frame(chance: random.Random, q: Question) -> Question | None:
    if not q.ordered:
        return None
    return q.then(q.collection.map(lambda n: {"a": n, "b": float(n)}).to_dataframe(meta={"a": "i8", "b": "f8"}))


def as_delayed(chance: random.Random, q: Question) -> Question | None:
    if not q.ordered:
        return None
    return q.then(dask.delayed(list)([dask.delayed(sum)(part) for part in q.collection.to_delayed()]))


ENDS: list[Step] = [
    *(itself, itself, reduced, folded, tallied, distinct, top, grouped, grouped, folded_by, multiplied, as_frame),
    as_delayed,
]


# Delayed values


@dask.delayed
def told(*items: Any, **named: Any) -> str:
    """Text that depends on every argument."""
    return repr((items, named))[-200:]


@dask.delayed(nout=3)
def three(item: Any) -> tuple[Any, Any, Any]:
    """Several values in one, some of them empty."""
    return repr(item)[-50:], None, [item, False]


class Thing:
    """An object with a state and a method."""

    def __init__(self, state: Any) -> None:
        self.state = state

    def told(self, more: Any) -> str:
        """State and more."""
        return f"{self.state!r} {more!r}"[-100:]


def build_delayed(chance: random.Random) -> list[Question]:
    """A web of calls: containers, keywords, items, attributes, methods, data of every size."""
    values: list[Any] = [1, None, "text", dask.delayed([1, 2]), dask.delayed(0), list(range(800)), {"a": 1}]
    for _ in range(chance.randint(3, 14)):
        a, b = chance.choice(values), chance.choice(values[-4:])
        made = [
            lambda a=a, b=b: told(a, b),
            lambda a=a, b=b: told([a, {"k": b}], key=(a, b)),
            lambda a=a, b=b: told({1: [b]}, b, deep=[[a]]),
            lambda a=a, b=b: three(a)[chance.randint(0, 2)],
            lambda a=a, b=b: list(three(b)),
            lambda a=a, b=b: dask.delayed(Thing)(a).told(b),
            lambda a=a, b=b: dask.delayed(Thing)(b).state,
            lambda a=a, b=b: dask.delayed([a, b, 3])[chance.choice([0, -1])],
            lambda a=a, b=b: dask.delayed({"x": a, "y": b}, pure=True)["y"],
            lambda a=a, b=b: told(a) + told(b),
        ]
        values.append(chance.choice(made)())
    return [Question(told(values[-1], values[-2])), Question(dask.delayed(values[-3]))][: chance.choice([1, 2])]
