"""What goes wrong around the user's code: reading the graph and inputs, writing values, stores, memory."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from cloudoffload.types import Emit, FailureKind, Ref, StoreAccess
from cloudoffload.wire.codecs import encode_pickle
from cloudoffload.wire.index import IndexBuilder, Located
from cloudoffload.wire.program import dump
from cloudoffload.wire.values import pack_parts
from cloudoffload.worker.inputs import Inputs
from tests.unit.worker.conftest import PREFIX, Desk, failure, raises, task

LARGE = 100_000


def test_a_missing_package_is_named(desk: Desk) -> None:
    """The graph imports what this worker lacks: every unit says which module."""
    program = b"cno_such_package.inner\nfunction\n."
    outcome = desk.run(task(print), task(print), program=program)
    for number in range(2):
        found = failure(outcome, number)
        assert found.kind is FailureKind.MISSING_PACKAGE and found.message == "no_such_package"


def test_a_missing_package_of_an_input_is_named_too(desk: Desk, tmp_path: Path) -> None:
    """A value whose class this worker can't import."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "only_here.py").write_text("class Thing:\n    pass\n")
    sys.path.insert(0, str(folder))
    try:
        import only_here  # type: ignore[import-not-found]

        ref = desk.put(only_here.Thing())
    finally:
        sys.path.remove(str(folder))
    found = failure(desk.run(task(print, "x"), inputs=[[ref]]))
    assert found.kind is FailureKind.MISSING_PACKAGE and found.message == "only_here"


@pytest.mark.parametrize("python", ["3.8", "4.0"])
def test_another_python_is_refused_by_both_versions(desk: Desk, python: str) -> None:
    """Byte code travels inside pickles, so minor versions must agree."""
    found = failure(desk.run(task(print), python=python))
    mine = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found.kind is FailureKind.VERSION and found.message == f"client {python}, worker {mine}"


@pytest.mark.parametrize("program", [b"no pickle at all", b"cos\nno_such_function\n.", b"\x80\x05N."])
def test_a_program_that_can_not_be_loaded(desk: Desk, program: bytes) -> None:
    """Verified but unreadable, or no list of units: every unit fails, and the worker goes on."""
    outcome = desk.run(task(print), program=program)
    assert failure(outcome).kind in (FailureKind.UNPICKLABLE_GRAPH, FailureKind.EXCEPTION)
    assert desk.value(desk.run(task(lambda: 1)).results[0]) == 1


def test_an_unreadable_graph_has_its_own_kind(desk: Desk) -> None:
    """What a graph's loading raises is told apart from what its tasks raise."""

    class Refuses:
        def __reduce__(self) -> Any:
            return exec, ("raise RuntimeError('not here')",)

    found = failure(desk.run(task(print), program=cloudpickle.dumps([Refuses()])))
    assert found.kind is FailureKind.UNPICKLABLE_GRAPH and found.message == "not here"


def test_a_unit_that_the_program_does_not_have(desk: Desk) -> None:
    """A call that asks for more units than there are gets a failure, not a dead worker."""
    assert failure(desk.run(task(print), program=dump([]))).type_name == "IndexError"


@pytest.mark.parametrize("value", [threading.Lock, lambda: os.fdopen(os.dup(2), "w"), lambda: [threading.Lock()]])
def test_a_value_that_can_not_be_written_is_named(desk: Desk, value: Any) -> None:
    """Locks, and files that are open for writing."""
    found = failure(desk.run(task(value)))
    assert found.kind is FailureKind.UNPICKLABLE_RESULT and "can't be pickled" in found.message


def test_an_open_file_is_not_taken_for_its_lines(desk: Desk) -> None:
    """A file is an iterator too, but no lazy partition."""
    path = desk.folder / "text"
    path.write_text("one\ntwo\n")
    assert desk.value(desk.run(task(path.open)).results[0]).read() == "one\ntwo\n"


@pytest.mark.parametrize("emit", [Emit.VALUE, Emit.PARTS])
def test_data_only_results_refuse_other_types_by_name(desk: Desk, emit: Emit) -> None:
    """``results="data"``: a requested value, or a part of one, that needs a pickle is a failure of that unit."""
    entries = [task(lambda: [1, Path("x")], emit=emit), task(lambda: [1, 2], emit=emit)]
    outcome = desk.run(*entries, requested=True, results="data")
    found = failure(outcome)
    assert found.kind is FailureKind.RESULT_TYPE and "PosixPath" in found.message
    assert desk.value(outcome.results[1]) == [1, 2]
    intermediate = desk.run(entries[0], results="data").results[0]  # which may be pickled
    assert desk.value(intermediate) == [1, Path("x")]


def test_a_value_over_the_limit_is_not_written(desk: Desk) -> None:
    """The limit is a number of bytes; the message names it and what to do."""
    outcome = desk.run(task(lambda: bytes(LARGE)), task(lambda: 1), result_limit=LARGE)
    found = failure(outcome)
    assert found.kind is FailureKind.RESULT_TOO_BIG and "100,000" in found.message and "partitions" in found.message
    assert desk.value(outcome.results[1]) == 1 and list(desk.store.keys()) == []


def test_a_lost_input_fails_its_readers_only(desk: Desk) -> None:
    """Deleted, altered or named wrongly: the unit says that its input is lost, the others run."""
    good, gone, altered = (desk.put(np.zeros(LARGE)) for _ in range(3))
    desk.store.delete([gone.key])
    data = bytearray((desk.folder / altered.key).read_bytes())
    data[LARGE] ^= 1
    (desk.folder / altered.key).write_bytes(data)
    inline = desk.put(1, inline=True)
    assert inline.data is not None
    broken = [
        gone,
        altered,
        good._replace(span=(0, good.span[1] - 1)),
        good._replace(span=(0, 1 << 40)),
        good._replace(span=(1 << 40, 10)),
        good._replace(store="elsewhere"),
        good._replace(digest=b"?" + bytes(16)),
        good._replace(parted=True),
        inline._replace(data=inline.data[:-1]),
        inline._replace(data=bytes(len(inline.data))),
        inline._replace(span=(0, 1 << 40)),
    ]
    outcome = desk.run(*[task(len, "x")] * (1 + len(broken)), inputs=[[good], *[[ref] for ref in broken]])
    assert desk.value(outcome.results[0]) == LARGE
    assert [failure(outcome, i).kind for i in range(1, 1 + len(broken))] == [FailureKind.INPUT_LOST] * len(broken)


def test_an_index_that_leads_to_a_further_index_is_not_followed(desk: Desk) -> None:
    """A barrier's value names values; an index of indexes of indexes would let a few bytes ask for endless reads."""
    packed = pack_parts([(0, encode_pickle(1))], "dict", desk.store.algorithm)
    for level in range(3):
        key = f"{PREFIX}level-{level}"
        desk.store.put(key, packed.pieces)
        ref = Ref("main", key, (packed.span.offset, packed.span.length), packed.nbytes, packed.span.digest, True, 0)
        inputs = Inputs({"main": desk.store})
        index = IndexBuilder(inputs.span)
        index.add(ref, inputs.footer(ref))
        packed = pack_parts(index.parts(), "index", desk.store.algorithm)
    assert [type(item) for item in desk.value(ref)] == [Located]


def test_a_lost_program_is_a_lost_input(desk: Desk) -> None:
    """The client can store it again and send the call anew."""
    graph = Ref("main", f"{PREFIX}graph", (0, 10), 10, b"b" + bytes(32))
    assert failure(desk.run(task(print), graph=graph)).kind is FailureKind.INPUT_LOST


def test_a_store_that_can_not_be_opened(desk: Desk) -> None:
    """Every unit says so, and the worker goes on."""
    for access in (StoreAccess("ftp://nowhere"), StoreAccess("file:///dev/null/store")):
        found = failure(desk.run(task(print), stores={"main": access}))
        assert found.kind is FailureKind.STORE
    assert desk.value(desk.run(task(lambda: 1)).results[0]) == 1


def test_a_store_that_can_not_be_written(desk: Desk) -> None:
    """The value was made but could not be left anywhere."""
    desk.store.put(f"{PREFIX}0-1/below", [b"x"])  # where a file can't be
    found = failure(desk.run(task(lambda: bytes(LARGE))))
    assert found.kind is FailureKind.STORE and "0-1" in found.message


def test_too_little_memory_is_told_apart(desk: Desk) -> None:
    """The client may try again on a larger worker; numpy's own kind of the error too."""
    outcome = desk.run(raises(MemoryError("no")), task(lambda: np.zeros(1 << 50)), task(lambda: 1))
    assert [failure(outcome, i).kind for i in range(2)] == [FailureKind.OUT_OF_MEMORY] * 2
    assert desk.value(outcome.results[2]) == 1


class LoadsTooMuch:
    """A value that takes more memory than there is when it is read."""

    def __reduce__(self) -> Any:
        return np.zeros, (1 << 50,)


def test_too_little_memory_for_a_graph_or_an_input_is_told_apart_too(desk: Desk) -> None:
    """Whether it was reading, running or writing that did not fit makes no difference."""
    found = failure(desk.run(task(print, "x"), inputs=[[desk.put(LoadsTooMuch())]]))
    assert found.kind is FailureKind.OUT_OF_MEMORY
    found = failure(desk.run(task(print), program=cloudpickle.dumps([LoadsTooMuch()])))
    assert found.kind is FailureKind.OUT_OF_MEMORY


def test_an_input_whose_loading_raises_is_no_lost_input(desk: Desk) -> None:
    """Reading it again would raise again: the user's class is at fault, not the store."""

    class Refuses:
        def __reduce__(self) -> Any:
            return exec, ("raise RuntimeError('not here')",)

    found = failure(desk.run(task(print, "x"), inputs=[[desk.put(Refuses())]]))
    assert found.kind is FailureKind.EXCEPTION and found.message == "not here"


class Exits:
    """A value whose pickling, or unpickling, ends the program, as the import of an unguarded script may."""

    def __init__(self, *, when_written: bool) -> None:
        self.when_written = when_written

    def __reduce__(self) -> Any:
        if self.when_written:
            sys.exit("written")
        return sys.exit, ("read",)


def test_code_that_exits_while_it_is_loaded_or_written_does_not_end_the_worker(desk: Desk) -> None:
    """In the graph, in an input or in a result: the unit fails, and the same process takes the next call."""
    graph = failure(desk.run(task(print), program=cloudpickle.dumps([Exits(when_written=False)])))
    assert graph.kind is FailureKind.UNPICKLABLE_GRAPH and graph.message == "read"
    inputs = [[desk.put(Exits(when_written=False))]]
    outcome = desk.run(task(print, "x"), task(lambda: Exits(when_written=True)), task(os.getpid), inputs=inputs)
    assert [failure(outcome, i).message for i in range(2)] == ["read", "written"]
    assert desk.value(outcome.results[2]) == desk.worker.process.pid
