"""Random questions about arrays."""

from __future__ import annotations

import random

import dask.array as da
import numpy as np

from tests.end_to_end.random_questions import Question, Step, taken, walk


def start(chance: random.Random) -> Question:
    """An array of one to three dimensions, in chunks that don't fit evenly."""
    shape = tuple(chance.choice([1, 4, 7, 12]) for _ in range(chance.randint(1, 3)))
    chunks = tuple(chance.randint(1, n) if n < 5 else chance.randint(2, n) for n in shape)
    count = int(np.prod(shape))
    made = [
        lambda: da.from_array(np.arange(count).reshape(shape) % 11, chunks=chunks),
        lambda: da.from_array(np.arange(float(count)).reshape(shape), chunks=chunks, inline_array=True),
        lambda: da.ones(shape, chunks=chunks),
        lambda: da.random.RandomState(7).randint(0, 9, shape, chunks=chunks),
        lambda: da.arange(count, chunks=3).reshape(shape),
    ]
    return Question(chance.choice(made)())


def build(chance: random.Random) -> list[Question]:
    """One or two questions about one array."""
    common = walk(chance, start(chance), STEPS, 4)
    return [
        taken(chance, walk(chance, common, STEPS, 3), chance.choice(ENDS)) or common
        for _ in range(chance.choice([1, 2]))
    ]


def computed(chance: random.Random, q: Question) -> Question:
    a = q.collection
    return q.then(
        chance.choice([a + 1, a * a, da.where(a > 3, a, -a), a - a.mean(), da.maximum(a, 2), -a, a.astype("f4")])
    )


def rechunked(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.rechunk(tuple(chance.choice([-1, max(1, n // 2), 3]) for n in q.collection.shape)))


def sliced(chance: random.Random, q: Question) -> Question:
    cuts = [slice(1, None), slice(None, None, 2), slice(None, None, -1), slice(0, 3), [0, 0], slice(None)]
    index = [chance.choice(cuts) for _ in range(q.collection.ndim)]
    if sum(isinstance(item, list) for item in index) > 1:
        index = [slice(0, 2)] * q.collection.ndim
    return q.then(q.collection[tuple(index)])


def picked(chance: random.Random, q: Question) -> Question | None:
    return q.then(q.collection[0]) if q.collection.ndim > 1 else None


def transposed(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.T)


def reshaped(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.reshape(chance.choice([-1, (q.collection.shape[0], -1)])))


def stacked(chance: random.Random, q: Question) -> Question | None:
    if q.collection.ndim > 2:
        return None
    return q.then(chance.choice([da.stack, da.concatenate])([q.collection, q.collection + 1], axis=0))


def multiplied(chance: random.Random, q: Question) -> Question | None:
    a = q.collection
    if a.ndim != 2:
        return None
    return q.then(chance.choice([lambda: a @ a.T, lambda: da.tensordot(a, a, axes=((0,), (0,)))])())


def cumulated(chance: random.Random, q: Question) -> Question:
    axis = chance.randrange(q.collection.ndim)
    return q.then(da.cumsum(q.collection, axis=axis) if chance.random() < 0.6 else da.diff(q.collection, axis=axis))


def reduced(chance: random.Random, q: Question) -> Question | None:
    if q.collection.ndim < 2:
        return None
    name = chance.choice(["sum", "mean", "max", "std", "argmin", "any"])
    return q.then(getattr(q.collection, name)(axis=chance.randrange(q.collection.ndim)))


def mapped(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map_blocks(lambda block: block * 2 + 1, dtype=q.collection.dtype))


def numbered(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.map_blocks(lambda block, block_info: block + block_info[0]["num-chunks"][0]))


def overlapping(chance: random.Random, q: Question) -> Question:
    boundary = chance.choice(["reflect", "periodic", 0, "none"])
    kernel = chance.choice([lambda block: block + 1, lambda block: block - block[::-1][::-1]])
    return q.then(q.collection.map_overlap(kernel, depth=1, boundary=boundary, dtype=q.collection.dtype))


def moved(chance: random.Random, q: Question) -> Question:
    a = q.collection
    return q.then(
        chance.choice([da.roll(a, 2, axis=0), da.flip(a, 0), da.pad(a, 1), a.blocks[-1:], da.repeat(a, 2, axis=0)])
    )


def replaced(chance: random.Random, q: Question) -> Question:
    a = q.collection.copy()
    a[a > 4] = 0
    a[0] = 3
    return q.then(a)


def through_delayed(chance: random.Random, q: Question) -> Question | None:
    a = q.collection
    if a.numblocks != (1,) * a.ndim:
        return None
    return q.then(da.from_delayed(a.to_delayed().ravel()[0], shape=a.shape, dtype=a.dtype))


STEPS: list[Step] = [
    *(computed, computed, rechunked, rechunked, sliced, picked, transposed, reshaped, stacked, multiplied, cumulated),
    *(reduced, mapped, numbered, overlapping, moved, replaced, through_delayed),
]


def itself(chance: random.Random, q: Question) -> Question:
    return q


def summed_up(chance: random.Random, q: Question) -> Question:
    return q.then(getattr(q.collection, chance.choice(["sum", "mean", "min", "argmax", "var", "all"]))())


def chosen(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection[q.collection > 2])  # its shape is not known before


def distinct(chance: random.Random, q: Question) -> Question:
    return q.then(da.unique(q.collection.ravel()))


def binned(chance: random.Random, q: Question) -> Question:
    return q.then(da.histogram(q.collection, bins=4, range=(0, 50))[0])


def top(chance: random.Random, q: Question) -> Question:
    return q.then(q.collection.ravel().topk(2))


def ranked(chance: random.Random, q: Question) -> Question:
    return q.then(da.percentile(q.collection.ravel().astype("f8"), [25, 50]))


def decomposed(chance: random.Random, q: Question) -> Question:
    tall = q.collection.reshape(q.collection.shape[0], -1).astype("f8").rechunk((4, -1))
    return q.then(da.linalg.svd(tall)[1])


def where(chance: random.Random, q: Question) -> Question:
    return q.then(da.argwhere(q.collection > 1))


ENDS: list[Step] = [itself, itself, summed_up, chosen, distinct, binned, top, ranked, decomposed, where]
