"""What every random family of collections is made of: steps that are drawn one after the other, and what they promise."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Question:
    """A Dask collection under construction, and what is promised of its value."""

    collection: Any
    ordered: bool = True  # the order of rows or items is defined
    numbered: bool = False  # rows are numbered in an order that is not
    steps: tuple[str, ...] = field(default=(), repr=True)  # how it was made

    def then(self, collection: Any, **promises: bool) -> Question:
        """A collection made of this one."""
        return replace(self, collection=collection, **promises)


Step: TypeAlias = Callable[[random.Random, Question], Question | None]
"""Makes a collection of another one; None where it does not apply."""


def walk(chance: random.Random, start: Question, steps: Sequence[Step], most: int) -> Question:
    """A few random steps from a collection; those that Dask refuses are left out."""
    question = start
    for step in chance.choices(steps, k=chance.randint(1, most)):
        if (after := taken(chance, question, step)) is not None:
            question = after
    return question


def taken(chance: random.Random, question: Question, step: Step) -> Question | None:
    """The collection after one more step, None where it does not apply or Dask has no such operation."""
    try:
        after = step(chance, question)
    except (NotImplementedError, ValueError, TypeError, LookupError, AttributeError, ZeroDivisionError):
        return None
    return after and replace(after, steps=(*question.steps, step.__name__))
