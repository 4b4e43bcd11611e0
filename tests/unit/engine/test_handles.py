"""Who keeps persisted values alive, and when they go."""

from __future__ import annotations

from typing import Any

from cloudoffload.engine.handles import handles
from cloudoffload.types import Edge, Plan, Ref
from tests.unit.engine.driving import plan, ref, unit


def load(stored: Ref) -> Any:
    raise AssertionError("nothing is downloaded here")


def test_an_object_goes_with_the_last_handle_of_its_parts() -> None:
    """Two parts of one value lie in one object."""
    asked = Plan(plan(unit(0, requested=True)).units, b"", (), (Edge(0, part=0), Edge(0, part=1)))
    let_go: list[str] = []
    found = handles(asked, {0: ref(0)}, load, let_go.extend)
    first, second = (found.pop(edge) for edge in asked.results)
    del first
    assert let_go == []
    del second
    assert let_go == ["0-1"]


def test_data_of_equal_content_is_let_go_once_each() -> None:
    """They share an object that counts how many need it."""
    asked = Plan((), b"", ("same", "same again"), (Edge(0), Edge(1)))
    let_go: list[str] = []
    shared = Ref("main", "data/same", (0, 1), 1, b"")
    found = handles(asked, {0: shared, 1: shared}, load, let_go.extend)
    assert len(found) == 2
    found.clear()
    assert let_go == ["data/same"] * 2


def test_what_was_persisted_before_belongs_to_its_first_handle() -> None:
    """A handle made of it keeps that one, and lets nothing go itself."""
    earlier = object()
    asked = Plan((), b"", (earlier,), (Edge(0),), known={0: ref(7)})
    let_go: list[str] = []
    handles(asked, {0: ref(7)}, load, let_go.extend).clear()
    assert let_go == []
