"""Random questions about dataframes; numbers are whole, so that the order of additions changes nothing."""

from __future__ import annotations

import random
from typing import Any

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd

from tests.end_to_end.random_questions import Question, Step, taken, walk

NUMBERS = ["k", "n", "x"]


def table(seed: int, rows: int) -> pd.DataFrame:
    """Keys, numbers with gaps, text, times, a category; sometimes without a row."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "k": rng.integers(0, 7, rows),
            "n": rng.integers(-9, 9, rows),
            "x": np.where(rng.random(rows) < 0.1, np.nan, rng.integers(0, 20, rows).astype("f8")),
            "s": rng.choice(["alpha", "Beta", "", "g"], rows),
            "t": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.permutation(rows), unit="h"),
            "c": pd.Categorical(rng.choice(["low", "mid", "high"], rows), categories=["low", "mid", "high"]),
        }
    )


def start(chance: random.Random) -> Question:
    """A table in partitions, whole or made of delayed pieces."""
    rows = chance.choice([1, 17, 60, 60, 120])
    if chance.random() < 0.2:
        pieces = [dask.delayed(table)(i, rows // 4 + 1) for i in range(chance.randint(1, 4))]
        return Question(dd.from_delayed(pieces, meta=table(0, 0)))
    return Question(dd.from_pandas(table(chance.randint(0, 1000), rows), npartitions=chance.choice([1, 2, 5, 8])))


def build(chance: random.Random) -> list[Question]:
    """One or two questions about one table."""
    common = walk(chance, start(chance), FRAME_STEPS, 3)
    questions = []
    for _ in range(chance.choice([1, 1, 2])):
        question = walk(chance, common, FRAME_STEPS, 2)
        ends = [end for step in chance.sample(ENDS, len(ENDS)) if (end := taken(chance, question, step)) is not None]
        questions.append(ends[0])
    return questions


# Frames of frames


def filtered(chance: random.Random, q: Question) -> Question:
    frame = q.collection
    return q.then(frame[frame.n > chance.choice([-20, 0, 5, 20])])


def assigned(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.assign(n=q.collection.n * 2 - q.collection.k, y=q.collection.s.str.len()))


def projected(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection[["n", "k", "x", "s"]])


def mapped(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map_partitions(lambda part: part.assign(n=part.n + 1)))


def filled(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.assign(x=q.collection.x.fillna(3)) if chance.random() < 0.5 else q.collection.dropna())


def queried(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.query("k > 2 and n < 7"))


def clipped(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.assign(n=q.collection.n.clip(-3, 3).where(q.collection.k > 1, 0)))


def repartitioned(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.repartition(npartitions=chance.choice([1, 3, 6])))


def concatenated(chance: random.Random, q: Question) -> Question:
    other = dd.from_pandas(table(chance.randint(0, 1000), 20), npartitions=2)
    return q.then(dd.concat([q.collection, other[list(q.collection.columns)]]))


def concatenated_with_itself(chance: random.Random, q: Question) -> Question:
    return q.then(dd.concat([q.collection, q.collection[q.collection.k > 3]]))


def partition(chance: random.Random, q: Question) -> Question | None:
    if q.collection.npartitions < 2:
        return None
    first = chance.randrange(q.collection.npartitions)
    return q.then(q.collection.partitions[first:] if chance.random() < 0.5 else q.collection.partitions[first])


def shuffled(chance: random.Random, q: Question) -> Question:
    on = chance.choice(["k", ["k", "n"], "s", "x"])
    return q.then(q.collection.shuffle(on, npartitions=chance.choice([None, 2, 5])), ordered=False)


def merged(chance: random.Random, q: Question) -> Question:
    right = dd.from_pandas(
        table(chance.randint(0, 1000), 15)[["k", "n"]].rename(columns={"n": "m"}), npartitions=chance.choice([1, 3])
    )
    how = chance.choice(["inner", "left", "right", "outer"])
    return q.then(q.collection.merge(right, on="k", how=how), ordered=False, numbered=True)


def merged_with_pandas(chance: random.Random, q: Question) -> Question:
    right = pd.DataFrame({"k": [1, 2, 2, 5], "m": [1.0, 2.0, 3.0, np.nan]})
    how = chance.choice(["inner", "left"])
    return q.then(q.collection.merge(right, on="k", how=how), ordered=False, numbered=True)


def merged_with_itself(chance: random.Random, q: Question) -> Question:
    summed = q.collection.groupby("k").n.sum().rename("total").reset_index()
    return q.then(q.collection.merge(summed, on="k"), ordered=False, numbered=True)


def joined(chance: random.Random, q: Question) -> Question | None:
    if q.collection.index.name is not None or not q.collection.known_divisions:
        return None
    return q.then(q.collection.join(q.collection[["n"]].rename(columns={"n": "n2"})), ordered=False)


def set_index(chance: random.Random, q: Question) -> Question | None:
    if q.collection.index.name is not None:
        return None
    on = chance.choice(["n", "k", "s"])
    indexed = q.collection.set_index(on, drop=False)
    return q.then(indexed.rename_axis(index=f"by_{on}"), ordered=False, numbered=False)


def sorted_by(chance: random.Random, q: Question) -> Question:
    on = chance.choice(["n", "k", ["k", "n"]])
    return q.then(q.collection.sort_values(on, ascending=chance.random() < 0.7), ordered=False)


def deduplicated(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection[["k", "n", "s"]].assign(x=1.5).drop_duplicates(), ordered=False, numbered=True)


def cumulated(chance: random.Random, q: Question) -> Question | None:
    if not q.ordered:
        return None
    column = q.collection.n
    made = [column.cumsum, column.cummax, column.shift, column.diff, lambda: column.rolling(3).sum(), column.ffill]
    return q.then(q.collection.assign(n=chance.choice(made)().fillna(0)))


def overlapping(chance: random.Random, q: Question) -> Question | None:
    if not q.ordered:
        return None
    return q.then(q.collection.map_overlap(lambda part: part.assign(n=part.n.shift(1).fillna(0)), 1, 0))


def reset(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.reset_index(drop=True), numbered=q.numbered or not q.ordered)


def transformed(chance: random.Random, q: Question) -> Question:
    shifted = q.collection.groupby("k").n.transform("sum", meta=("n", "i8"))
    return q.then(shifted.to_frame().assign(k=1, x=0.5, s="a"), ordered=False)


def located(chance: random.Random, q: Question) -> Question | None:
    if not q.collection.known_divisions or q.collection.index.name == "by_s":
        return None
    return q.then(q.collection.loc[2:30])


def through_delayed(chance: random.Random, q: Question) -> Question:
    return q.then(dd.from_delayed(q.collection.to_delayed(), meta=q.collection._meta))


FRAME_STEPS: list[Step] = [
    *(filtered, assigned, projected, mapped, filled, queried, clipped, repartitioned, concatenated, partition),
    *(concatenated_with_itself, shuffled, merged, merged_with_pandas, merged_with_itself, joined, set_index),
    *(sorted_by, deduplicated, cumulated, overlapping, reset, transformed, located, through_delayed),
]

# What is asked of a frame


def itself(chance: random.Random, q: Question) -> Question:
    return q


def reduced(chance: random.Random, q: Question) -> Question:
    column = q.collection[chance.choice(NUMBERS)]
    name = chance.choice(["sum", "mean", "count", "min", "max", "std", "nunique", "size", "any", "prod"])
    return q.then(column.size if name == "size" else getattr(column, name)(), ordered=True)


def reduced_all(chance: random.Random, q: Question) -> Question:
    return q.then(getattr(q.collection[NUMBERS], chance.choice(["sum", "mean", "var", "count", "min"]))(), ordered=True)


def aggregated(chance: random.Random, q: Question) -> Question:
    grouped = q.collection.groupby(chance.choice(["k", "s", ["k", "s"]]), sort=chance.choice([True, None]))
    spec: dict[str, Any] = {"n": ["sum", "min", "count"], "x": chance.choice(["mean", "std", "nunique", "max"])}
    return q.then(grouped.agg(spec, split_out=chance.choice([1, 1, 3])), ordered=False)


def grouped_column(chance: random.Random, q: Question) -> Question:
    column = q.collection.groupby("k").n
    name = chance.choice(["sum", "nunique", "var", "size", "value_counts", "max"])
    return q.then(getattr(column, name)(), ordered=False)


def applied(chance: random.Random, q: Question) -> Question:
    grouped = q.collection.groupby("k")
    return q.then(grouped.apply(lambda part: int(part.n.sum()) * 2, meta=(None, "i8")), ordered=False)


def counted(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection[chance.choice(["s", "k"])].value_counts(), ordered=False)


def unique(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection[chance.choice(["s", "n"])].unique(), ordered=False, numbered=True)


def largest(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.n.nlargest(5).reset_index(drop=True), ordered=True, numbered=False)


def first(chance: random.Random, q: Question) -> Question | None:
    return q.then(q.collection.head(4, npartitions=-1, compute=False)) if q.ordered else None


def described(chance: random.Random, q: Question) -> Question | None:
    return q.then(q.collection[["k", "n"]].describe()) if q.ordered else None


def correlated(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection[["k", "n"]].cov(), ordered=True)


def one_column(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.n + q.collection.k)


def as_array(chance: random.Random, q: Question) -> Question | None:
    return q.then(q.collection[["k", "n"]].to_dask_array()) if q.ordered else None


def as_bag(chance: random.Random, q: Question) -> Question | None:
    return q.then(q.collection[["k", "n"]].to_bag()) if q.ordered else None


def as_delayed(chance: random.Random, q: Question) -> Question | None:
    if not q.ordered:
        return None
    return q.then(dask.delayed(list)([dask.delayed(len)(part) for part in q.collection.to_delayed()]))


ENDS: list[Step] = [
    *(itself, itself, reduced, reduced_all, aggregated, aggregated, grouped_column, applied, counted, unique, largest),
    *(first, described, correlated, one_column, as_array, as_bag, as_delayed),
]
