"""Units get places that respect their needs and let values go early."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloudoffload.graph.ordering import places


@st.composite
def needs_of_graphs(draw: st.DrawFn) -> list[set[int]]:
    """Graphs whose units read units of any number, without cycles."""
    total = draw(st.integers(0, 25))
    names = draw(st.permutations(range(total)))
    most = draw(st.integers(0, 4))
    needs: list[set[int]] = [set() for _ in range(total)]
    for i in range(1, total):
        for j in draw(st.lists(st.integers(0, i - 1), max_size=most)):
            needs[names[i]].add(names[j])
    return needs


@st.composite
def needs_of_forests(draw: st.DrawFn) -> list[set[int]]:
    """Graphs in which each value has one reader at most."""
    total = draw(st.integers(1, 25))
    names = draw(st.permutations(range(total)))
    needs: list[set[int]] = [set() for _ in range(total)]
    for i in range(total - 1):
        above = draw(st.integers(i, total - 1))
        if above > i:
            needs[names[above]].add(names[i])
    return needs


def most_held(needs: list[set[int]], place: list[int]) -> int:
    """Most values that are held at once when units run in this order."""
    readers = [sum(number in need for need in needs) for number in range(len(needs))]
    held: set[int] = set()
    most = 0
    for number in sorted(range(len(needs)), key=place.__getitem__):
        held.add(number)
        most = max(most, len(held))
        for source in needs[number]:
            readers[source] -= 1
            if not readers[source]:
                held.discard(source)
    return most


@given(needs_of_graphs() | needs_of_forests())
def test_every_unit_has_a_place_of_its_own_behind_what_it_reads(needs: list[set[int]]) -> None:
    """Places are a permutation in which each unit comes after its sources."""
    place = list(places(needs))
    assert sorted(place) == list(range(len(needs)))
    assert all(place[source] < place[number] for number, need in enumerate(needs) for source in need)


def test_independent_units_stay_in_their_order() -> None:
    """Without any need, the order of the plan is kept."""
    assert list(places([set(), set(), set()])) == [0, 1, 2]


def test_a_fan_in_runs_its_branches_in_order() -> None:
    """Equal branches of one reader run as they are numbered."""
    assert list(places([set(), set(), {0, 1}])) == [0, 1, 2]


def test_each_tree_is_finished_before_the_next_begins() -> None:
    """Of eight pairs, never more than one is open: three values are held at most, beside the finished ones."""
    needs: list[set[int]] = [set() for _ in range(16)] + [{i, i + 8} for i in range(8)]
    place = list(places(needs))
    for pair in range(8):
        members = sorted(place[number] for number in (pair, pair + 8, 16 + pair))
        assert members == list(range(members[0], members[0] + 3))


def test_the_branch_that_needs_most_room_runs_first() -> None:
    """A tree of a light and a heavy branch holds as few values as it can."""
    light, heavy, leaves = 0, 1, [2, 3, 4]
    needs = [set(), set(leaves), set(), set(), set(), {light, heavy}]
    place = list(places(needs))
    assert place[light] > place[heavy]
    assert most_held(needs, place) == 4  # the leaves and the branch; the light value would be a fifth


@given(needs_of_graphs(), st.data())
def test_nothing_behind_a_gate_runs_before_all_that_lies_before_it(needs: list[set[int]], data: st.DataObject) -> None:
    """Whichever units are gates: places respect needs, and a gate's readers come after everything that it waits for."""
    gates = data.draw(st.sets(st.sampled_from(range(len(needs))))) if needs else set()
    place = list(places(needs, gates))
    assert sorted(place) == list(range(len(needs)))
    assert all(place[source] < place[number] for number, need in enumerate(needs) for source in need)


def test_what_only_readers_of_a_gate_need_waits_for_them() -> None:
    """The other side of a join is not read before the rows that it is joined with are there."""
    splits, gate, others, joins = [0, 1], 2, [3, 4], [5, 6]
    needs = [set(), set(), set(splits), set(), set(), {gate, 3}, {gate, 4}]
    place = list(places(needs, {gate}))
    assert place[gate] < min(place[number] for number in others)
    assert place[joins[0]] < place[others[1]] or place[joins[1]] < place[others[0]]
