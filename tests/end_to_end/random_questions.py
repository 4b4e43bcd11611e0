"""What random families of collections are made of: steps that are drawn one by one, and what they promise."""

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

    def then(self, collection: Any, *, ordered: bool | None = None, numbered: bool | None = None) -> Question:
        """A collection made of this one; what is not said stays as promised."""
        return replace(
            self,
            collection=collection,
            ordered=self.ordered if ordered is None else ordered,
            numbered=self.numbered if numbered is None else numbered,
        )


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
