"""What a run has in its store: how many bytes, and who lets which object go."""

from __future__ import annotations

import threading

import pytest

from cloudoffload.engine.objects import Belongings, Inventory, handed_over
from cloudoffload.types import Edge, Plan, Ref
from tests.unit.engine.driving import plan, unit

FOLDER = "runs/r/data/"


def stored(key: str, nbytes: int = 100) -> Ref:
    return Ref("main", key, (0, nbytes), nbytes, b"")


class Shelf:
    """An inventory, what was written to its store, and what was let go."""

    def __init__(self) -> None:
        self.inventory = Inventory()
        self.written: list[str] = []
        self.let_go: list[str] = []

    def write(self, key: str) -> Ref:
        self.written.append(key)
        return stored(key)

    def share(self, content: bytes = b"same") -> Ref:
        return self.inventory.share(content, FOLDER, self.write)

    def belongings(self) -> Belongings:
        return Belongings(self.inventory, self.let_go.extend)


def test_bytes_count_from_writing_to_deletion() -> None:
    """What was let go is still there until it is deleted; the peak stays."""
    inventory = Inventory()
    inventory.add("a", 100)
    inventory.add("b", 50)
    assert inventory.let_go(["a", "never seen"]) == ["a", "never seen"]
    assert inventory.nbytes == 150
    inventory.deleted(["a", "never seen"])
    inventory.deleted(["a"])
    inventory.add("c", 20)
    assert (inventory.nbytes, inventory.peak) == (70, 150)


def test_equal_content_is_written_once_while_somebody_needs_it() -> None:
    """The last one to let it go deletes it."""
    shelf = Shelf()
    first, second = shelf.share(), shelf.share()
    assert first == second
    assert len(shelf.written) == 1
    assert shelf.inventory.nbytes == 100
    assert shelf.inventory.let_go([first.key]) == []
    assert shelf.inventory.let_go([first.key]) == [first.key]


def test_content_that_was_let_go_is_written_under_another_name() -> None:
    """The deletion of the first object may come after the writing of the second."""
    shelf = Shelf()
    first = shelf.share()
    assert shelf.inventory.let_go([first.key]) == [first.key]
    second = shelf.share()
    assert second.key != first.key
    shelf.inventory.deleted([first.key])
    assert shelf.inventory.nbytes == 100


def test_different_content_is_not_shared() -> None:
    """Each has its own object below the folder, named by what it holds."""
    shelf = Shelf()
    keys = shelf.share(b"\x01").key, shelf.share(b"\x02").key
    assert [key.startswith(f"{FOLDER}{digest}-") for key, digest in zip(keys, ("01", "02"), strict=True)] == [True] * 2


def test_who_comes_while_it_is_written_waits_for_it() -> None:
    """Two computations that begin together upload their data once."""
    shelf, begun, go_on = Shelf(), threading.Event(), threading.Event()

    def slow(key: str) -> Ref:
        begun.set()
        go_on.wait(60)
        return shelf.write(key)

    first = threading.Thread(target=shelf.inventory.share, args=(b"same", FOLDER, slow))
    second = threading.Thread(target=shelf.share)
    first.start()
    assert begun.wait(60)
    second.start()
    go_on.set()
    for thread in (first, second):
        thread.join(60)
    assert len(shelf.written) == 1


def test_what_could_not_be_written_is_written_by_the_next() -> None:
    """An upload that failed leaves no claim behind."""
    shelf = Shelf()

    def full(key: str) -> Ref:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        shelf.inventory.share(b"same", FOLDER, full)
    ref = shelf.share()
    assert shelf.inventory.let_go([ref.key]) == [ref.key]


def test_a_computation_lets_everything_go_but_what_it_hands_over() -> None:
    """Also what lost calls may have written, and what it shared."""
    shelf = Shelf()
    mine = shelf.belongings()
    mine.wrote("result", 10)
    mine.wrote("left over", 10)
    mine.may_have_written(["perhaps"], now=0, seconds=10)
    datum = mine.share(b"same", FOLDER, shelf.write)
    mine.close(["result"])
    assert sorted(shelf.let_go) == sorted(["left over", "perhaps", datum.key])


def test_what_a_lost_call_writes_late_is_found() -> None:
    """It is deleted again and again, ever more seldom, and for the last time when the call is over for certain."""
    inventory = Inventory()
    inventory.suspect(["late"], now=100, seconds=30)
    due = [moment for moment in range(100, 200) if inventory.due(moment) == ["late"]]
    assert due == [101, 105, 121, 130]


def test_each_lost_call_has_its_own_time() -> None:
    """A further one does not put off the first."""
    inventory = Inventory()
    inventory.suspect(["first"], now=100, seconds=2)
    inventory.suspect(["second"], now=101, seconds=0)
    assert [inventory.due(moment) for moment in (101, 102, 103)] == [["first"], ["first", "second"], []]


def test_data_of_equal_content_is_let_go_as_often_as_it_was_shared() -> None:
    """One of two equal data is a result: the object stays until its owner lets it go, too."""
    shelf = Shelf()
    mine = shelf.belongings()
    for _ in range(2):
        datum = mine.share(b"same", FOLDER, shelf.write)
    mine.close([datum.key])
    assert shelf.inventory.let_go(shelf.let_go) == []
    assert shelf.inventory.let_go([datum.key]) == [datum.key]


def test_what_was_discarded_is_not_let_go_again() -> None:
    """Each object is deleted once, as soon as nobody needs it."""
    shelf = Shelf()
    mine = shelf.belongings()
    mine.wrote("read by all", 10)
    mine.discard(["read by all"])
    assert shelf.let_go == ["read by all"]
    mine.discard_if_written("never needed")
    mine.close([])
    assert shelf.let_go == ["read by all"]


def test_what_arrives_after_the_end_goes_at_once() -> None:
    """Answers of calls that nobody waited for, and uploads that could not be interrupted."""
    shelf = Shelf()
    mine = shelf.belongings()
    mine.close([])
    mine.wrote("late", 10)
    datum = mine.share(b"same", FOLDER, shelf.write)
    assert shelf.let_go == ["late", datum.key]
    assert shelf.inventory.nbytes == 110


def test_a_plans_results_are_handed_over_once_each() -> None:
    """Not those inside of messages, those that were persisted before, or units that failed alone."""
    units = plan(*(unit(i, requested=True) for i in range(3)))
    results = (Edge(0), Edge(0, part=1), Edge(1), Edge(2), Edge(3), Edge(4))
    asked = Plan(units.units, b"", ("datum", "persisted"), results, known={1: stored("persisted")})
    inline = Ref("", "", (0, 1), 1, b"", data=b"x")
    refs = {0: stored("0-1"), 1: inline, 3: stored("datum"), 4: stored("persisted")}
    assert handed_over(asked, refs) == ["0-1", "datum"]
