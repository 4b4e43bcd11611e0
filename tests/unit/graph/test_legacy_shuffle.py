"""Promises of the rewriting of shuffles through local disk."""

from __future__ import annotations

import functools
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import distributed  # noqa: F401 - its settings must be there before the first test
import numpy as np
import pandas as pd
import pytest
from dask._task_spec import Alias, DataNode, GraphNode, List, Task, TaskRef, _execute_subgraph, convert_legacy_graph
from dask.core import flatten
from dask.utils import apply, ensure_dict, key_split

from cloudoffload.errors import UnsupportedGraph
from cloudoffload.graph import shuffle
from cloudoffload.graph.legacy_shuffle import rewrite

Graph = dict[Any, GraphNode]
FRAME = pd.DataFrame({"key": np.arange(60) % 7, "value": np.arange(60.0), "text": list("abcdef") * 10})


def nodes(collection: Any) -> Graph:
    """The collection's own graph, in Dask's newest form."""
    return convert_legacy_graph(ensure_dict(collection.__dask_graph__()))


def as_planned(collection: Any) -> tuple[Graph, Any]:
    """Graph and keys as Dask hands them to a scheduler, after its own fusing."""
    seen: list[tuple[Graph, Any]] = []

    def get(graph: Any, keys: Any, **_options: Any) -> Any:
        seen.append((nodes(graph), keys))
        return dask.get(dict(seen[-1][0]), keys)

    collection.compute(scheduler=get)
    return seen[-1]


def run(graph: Graph, keys: Any) -> Any:
    """Execute a rewritten graph in this process: a barrier hands on its splits, a join picks its part of each."""
    return dask.get({key: _executable(node) for key, node in graph.items()}, keys)


def _executable(node: GraphNode) -> GraphNode:
    if isinstance(node, Task) and node.func is shuffle.wait_for_all:
        return Task(node.key, lambda *splits: list(splits), *node.args)
    if isinstance(node, Task) and shuffle.is_join(node.func):
        gate, *rest = node.args
        return Task(node.key, functools.partial(_join, node.func, node.kwargs["part"], rest), gate)
    return node


def _join(join: Any, part: int, rest: list[Any], splits: list[dict[int, Any]]) -> Any:
    return join([split[part] for split in splits if part in split], *rest)


def functions(graph: Graph) -> str:
    """All names in the graph's nodes, to look for what must not be there."""
    return " ".join(f"{node!r} {getattr(node, 'func', '')}" for node in graph.values())


@pytest.fixture
def shuffled() -> Any:
    """A dataframe whose graph was made while the disk shuffle was chosen."""
    with dask.config.set({"dataframe.shuffle.method": "disk"}):
        yield dd.from_pandas(FRAME, npartitions=4).shuffle("key", npartitions=5)


def test_a_frame_shuffle_gives_the_same_rows_in_the_same_partitions(shuffled: Any) -> None:
    """Each output partition has exactly the rows that Dask's own disk shuffle gives it, with their dtypes."""
    collection = shuffled.optimize(fuse=False)
    graph = nodes(collection)
    keys = list(flatten(collection.__dask_keys__()))
    expected = dask.get(dict(graph), keys)
    for ours, theirs in zip(run(rewrite(graph), keys), expected, strict=True):
        pd.testing.assert_frame_equal(ours.sort_index(), theirs.sort_index())


def test_no_file_is_left(shuffled: Any) -> None:
    """The node of the file on local disk vanishes, and so does every reference to it."""
    graph = nodes(shuffled.optimize(fuse=False))
    assert any("partd" in str(key) for key in graph)
    result = rewrite(graph)
    assert not any("partd" in str(name) for node in result.values() for name in (node.key, *node.dependencies))
    assert "partd" not in functions(result)


def test_keys_keep_their_names(shuffled: Any) -> None:
    """Whatever was asked for can be asked for again: all keys but the file's are there."""
    graph = nodes(shuffled.optimize(fuse=False))
    assert {key for key in graph if "partd" not in str(key)} <= set(rewrite(graph))


def test_the_given_graph_is_left_alone(shuffled: Any) -> None:
    """Rewriting makes a new graph: the user's may be used again, on another scheduler."""
    graph = nodes(shuffled.optimize(fuse=False))
    before = dict(graph)
    rewrite(graph)
    assert graph == before


def test_delayed_partitions_of_a_shuffled_frame(shuffled: Any) -> None:
    """A shuffle hidden in delayed objects is found."""
    parts = shuffled.to_delayed()
    graph = nodes(dask.delayed(pd.concat)(parts))
    (key,) = [key for key in graph if key_split(key) == "concat"]
    assert sorted(run(rewrite(graph), key)["value"]) == sorted(FRAME["value"])


def test_a_filtered_shuffle_with_many_partitions_keeps_only_its_own_rows() -> None:
    """Where a filter left few partitions, rows of others don't slip in, however large their numbers are."""
    frame = pd.DataFrame({"_partitions": np.arange(600) % 300, "value": np.arange(600)})
    from dask.dataframe.dask_expr._shuffle import DiskShuffle
    from dask.dataframe.shuffle import barrier, collect, maybe_buffered_partd

    file = ("zpartd",)
    split = ("shuffle-partition", 0)
    graph: Graph = {
        "frame": DataNode("frame", frame),
        file: Task(file, maybe_buffered_partd()),
        split: Task(split, DiskShuffle._shuffle_group, TaskRef("frame"), "_partitions", [3], TaskRef(file)),
        "gate": Task("gate", barrier, List(TaskRef(split))),
        "out": Task("out", collect, TaskRef(file), 3, frame.iloc[:0], TaskRef("gate")),
    }
    expected = dask.get(dict(graph), "out")
    pd.testing.assert_frame_equal(run(rewrite(graph), "out"), expected)
    assert [part for part in run(rewrite(graph), split) if isinstance(part, int)] == [3]


@pytest.mark.parametrize("npartitions", [1, 4])
def test_bag_groupby(npartitions: int) -> None:
    """Bag.groupby gives the same groups, also where Dask fused its tasks with their neighbours."""
    bag = db.from_sequence(range(40), npartitions=npartitions).map(lambda n: n + 1)
    graph, keys = as_planned(bag.groupby(lambda n: n % 6).map(lambda pair: (pair[0], sorted(pair[1]))))
    result = rewrite(graph)
    assert "partd" not in functions(result)
    expected = [(group, [n for n in range(1, 41) if n % 6 == group]) for group in range(6)]
    assert sorted(flatten(run(result, keys), container=list)) == expected


def test_bag_groupby_as_it_was_built() -> None:
    """The same for a graph that nobody has optimized."""
    grouped = db.from_sequence(["ab", "b", "ac", "c"], npartitions=2).groupby(lambda word: word[0], npartitions=3)
    result = rewrite(nodes(grouped))
    parts = run(result, list(grouped.__dask_keys__()))
    assert sorted((group, sorted(words)) for part in parts for group, words in part) == [
        ("a", ["ab", "ac"]),
        ("b", ["b"]),
        ("c", ["c"]),
    ]


def test_two_groupbys_after_each_other() -> None:
    """A join of one shuffle may feed the split of the next, fused into one task."""
    bag = db.from_sequence(range(30), npartitions=3).groupby(lambda n: n % 5).map(lambda pair: (pair[0], len(pair[1])))
    graph, keys = as_planned(bag.groupby(lambda pair: pair[1]).map(lambda pair: (pair[0], len(pair[1]))))
    (result,) = run(rewrite(graph), keys)
    assert result == [(6, 5)]


def test_inline_inputs_become_nodes() -> None:
    """Inputs that stand inside of the shuffle's tasks, and shuffle tasks inside of others, are taken out."""
    from dask.bag import chunk
    from dask.bag.core import collect, partition

    file = ("partd-1",)
    graph = nodes_of_bag_file(file)
    graph |= {
        "split": Task("split", partition, abs, Task(None, list, Task(None, range, 4)), 1, TaskRef(file), 10),
        "gate": Task("gate", chunk.barrier, TaskRef("split")),
        "out": Task("out", sorted, Task(None, collect, abs, 0, TaskRef(file), Alias("gate"))),
    }
    assert run(rewrite(graph), "out") == [(n, [n]) for n in range(4)]


def nodes_of_bag_file(file: Any) -> Graph:
    """The node that makes a bag's file, as Dask writes it."""
    import partd

    return convert_legacy_graph({file: (partd.Python, (apply, partd.File, (), {"dir": "unused"}))})


def test_graphs_without_a_shuffle_are_not_copied() -> None:
    """Most graphs hold none: the very same object comes back."""
    graph = nodes(da.ones((8, 8), chunks=2).sum())
    assert rewrite(graph) is graph


def rechunk_p2p() -> Any:
    """An array whose rechunk is a P2P one."""
    with dask.config.set({"array.rechunk.method": "p2p"}):
        return nodes(da.ones((4, 4), chunks=(1, 4)).rechunk((4, 1)))


def shuffle_p2p() -> Any:
    """A dataframe shuffled by P2P."""
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        return nodes(dd.from_pandas(FRAME, npartitions=2).shuffle("key").optimize(fuse=False))


def merge_p2p() -> Any:
    """A hash join by P2P."""
    frame = dd.from_pandas(FRAME, npartitions=2)
    with dask.config.set({"dataframe.shuffle.method": "p2p"}):
        return nodes(frame.merge(frame, on="key").optimize(fuse=False))


@pytest.mark.parametrize("make", [rechunk_p2p, shuffle_p2p, merge_p2p])
def test_p2p_is_refused_with_a_way_out(make: Any) -> None:
    """P2P needs a cluster's scheduler plugin: the error says what to do instead."""
    with pytest.raises(UnsupportedGraph, match=r"P2P.*lazily built.*shuffle\.method"):
        rewrite(make())


@pytest.mark.parametrize("position", ["transfer", "unpack"])
@pytest.mark.parametrize("make", [rechunk_p2p, shuffle_p2p, merge_p2p])
def test_each_half_of_a_p2p_shuffle_is_refused(make: Any, position: str) -> None:
    """A graph that was cut in the middle of one is refused too."""
    halves = {key: node for key, node in make().items() if position in repr(getattr(node, "func", ""))}
    assert halves
    with pytest.raises(UnsupportedGraph):
        rewrite(halves)


def test_other_uses_of_partd_are_refused() -> None:
    """A file on local disk that some other function uses would lose data silently: it is refused, by name."""
    file = ("partd-1",)
    graph = nodes_of_bag_file(file) | {"peek-1": Task("peek-1", len, TaskRef(file))}
    with pytest.raises(UnsupportedGraph, match="'peek'"):
        rewrite(graph)


@pytest.mark.parametrize(("gate", "culprit"), [("gate", "'gate'"), ("other", "'out'")])
def test_a_barrier_of_something_else_is_refused(gate: str, culprit: str) -> None:
    """A join that doesn't wait for known splits, or for no barrier at all, could miss rows."""
    from dask.bag import chunk
    from dask.bag.core import collect

    file = ("partd-1",)
    graph = nodes_of_bag_file(file) | {
        "other": Task("other", list),
        "out": Task("out", collect, abs, 0, TaskRef(file), TaskRef(gate)),
    }
    if gate == "gate":
        graph["gate"] = Task("gate", chunk.barrier, TaskRef("other"))
    with pytest.raises(UnsupportedGraph, match=culprit):
        rewrite(graph)


def test_aliases_inside_of_a_fused_task() -> None:
    """A fused task may give its parts further names; they lead to the same nodes when it is taken apart."""
    from dask.bag import chunk
    from dask.bag.core import collect, partition

    file = ("partd-1",)
    inner = {
        "i": Task("i", collect, abs, 0, TaskRef(file), TaskRef("gate")),
        "j": Alias("j", "i"),
        "out": Task("out", sorted, TaskRef("j")),
    }
    graph = nodes_of_bag_file(file) | {
        "split": Task("split", partition, abs, [2, 1], 1, TaskRef(file), 10),
        "gate": Task("gate", chunk.barrier, TaskRef("split")),
        "out": Task("out", _execute_subgraph, inner, "out", ("gate", file), TaskRef("gate"), TaskRef(file)),
    }
    assert run(rewrite(graph), "out") == [(1, [1]), (2, [2])]


def test_methods_of_built_in_types_are_no_part_of_a_shuffle() -> None:
    """``str.upper`` and its like don't say which module they come from; graphs that call them are left as they are."""
    graph: Graph = {"a": Task("a", str.upper, "x"), "b": Task("b", len, Task("b", dict.items, {}))}
    assert rewrite(graph) is graph
