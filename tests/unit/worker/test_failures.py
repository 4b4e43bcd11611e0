"""Why a unit has no value: each reason has its kind, and never harms the other units of the call."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from cloudoffload.types import Emit, Failure, FailureKind, Outcome, Ref, StoreAccess
from cloudoffload.wire.codecs import encode_refs
from cloudoffload.wire.program import dump, entry
from cloudoffload.wire.values import pack_value
from tests.unit.worker.conftest import PREFIX, Desk, task

LARGE = 100_000


def raises(error: BaseException) -> Any:
    def user_function() -> None:
        raise error

    return task(user_function)


def failure(outcome: Outcome, number: int = 0) -> Failure:
    result = outcome.results[number]
    assert isinstance(result, Failure), result
    return result


def exception(found: Failure) -> BaseException:
    """The exception that the client rebuilds."""
    assert found.kind is FailureKind.EXCEPTION and found.pickled is not None
    error = pickle.loads(found.pickled)
    assert isinstance(error, BaseException)
    return error


def test_an_exception_travels_whole(desk: Desk) -> None:
    """Type, message, arguments, notes and the user's part of the traceback; the exception itself pickled."""
    error = ValueError("bad", 7)
    error.add_note("see the manual")
    found = failure(desk.run(raises(error)))
    assert (found.type_name, found.message, found.arguments) == ("ValueError", "('bad', 7)", ("bad", 7))
    again = exception(found)
    assert type(again) is ValueError and again.args == ("bad", 7) and again.__notes__ == ["see the manual"]
    assert "in user_function" in found.traceback and "ValueError: ('bad', 7)" in found.traceback
    assert "cloudoffload/worker" not in found.traceback and "run_steps" not in found.traceback


def test_other_units_keep_their_values(desk: Desk) -> None:
    """One unit's exception is that unit's result; those before and behind it are as they would be without."""
    outcome = desk.run(task(lambda: 1), raises(KeyError("x")), task(lambda: 3))
    assert failure(outcome, 1).type_name == "KeyError"
    assert [desk.value(outcome.results[i]) for i in (0, 2)] == [1, 3]


class Unpicklable(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class NeedsMore(Exception):
    """Pickles well and fails to load: its constructor wants what ``args`` does not have."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} ({code})")


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


@pytest.mark.parametrize(
    ("error", "name", "message"),
    [
        (Unpicklable(), "Unpicklable", "holds a lock"),
        (NeedsMore(7, "too far"), "NeedsMore", "too far (7)"),
        (ValueError("x" * 400_000), "ValueError", "x" * 50_000),
    ],
)
def test_an_exception_that_does_not_survive_pickling_travels_as_text(
    desk: Desk, error: Exception, name: str, message: str
) -> None:
    """Classes that can't be written or loaded again, and exceptions too large to send: name and message remain."""
    found = failure(desk.run(task(make_and_raise(error))))
    assert found.kind is FailureKind.EXCEPTION and found.pickled is None
    assert found.type_name.endswith(name) and found.message == message and name in found.traceback


def make_and_raise(error: Exception) -> Any:
    """A function that raises an equal exception, made on the worker."""
    cls, arguments = type(error), (7, "too far") if isinstance(error, NeedsMore) else error.args
    if isinstance(error, Unpicklable):
        arguments = ()

    def user_function() -> None:
        raise cls(*arguments)

    return user_function


def test_an_exception_without_a_message_still_arrives(desk: Desk) -> None:
    """A ``__str__`` that raises does not turn one failure into another."""
    found = failure(desk.run(raises(Mute())))
    assert found.type_name.endswith("Mute") and found.message == "<its message can't be shown>"


@pytest.mark.parametrize("arguments", [(1 << 80,), ([1],), (object,), (b"x" * 300_000,)])
def test_only_plain_and_small_arguments_travel_as_data(desk: Desk, arguments: tuple[Any, ...]) -> None:
    """Others come back inside the pickle, or not at all."""
    assert failure(desk.run(raises(RuntimeError(*arguments)))).arguments is None


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("odd")])
def test_what_ends_other_programs_does_not_end_the_worker(desk: Desk, error: BaseException) -> None:
    """``sys.exit`` in a task is that task's failure."""
    outcome = desk.run(raises(error), task(os.getpid))
    assert type(exception(failure(outcome))) is type(error)
    assert desk.value(outcome.results[1]) == desk.worker.process.pid


def test_an_exception_inside_a_lazy_partition_is_the_users(desk: Desk) -> None:
    """A generator runs the user's code when it is made real."""

    def partition() -> Any:
        yield 1
        raise LookupError("half way")

    assert isinstance(exception(failure(desk.run(task(partition)))), LookupError)


def test_an_exception_of_a_notebook_can_be_rebuilt(desk: Desk) -> None:
    """A class that exists in the client's ``__main__`` only travels by value, both ways."""

    class Refused(Exception):
        pass

    Refused.__module__ = "__main__"
    again = exception(failure(desk.run(raises(Refused("no")))))
    assert type(again) is Refused


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


def test_an_import_of_the_users_code_is_the_users_exception(desk: Desk) -> None:
    """A function that imports what is not there raised by itself, as it would at home."""

    def function() -> None:
        import no_such_package  # type: ignore[import-not-found]  # noqa: F401

    assert isinstance(exception(failure(desk.run(task(function)))), ModuleNotFoundError)


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
    entries = [task(lambda: [1, {2}], emit=emit), task(lambda: [1, 2], emit=emit)]
    outcome = desk.run(*entries, requested=True, results="data")
    found = failure(outcome)
    assert found.kind is FailureKind.RESULT_TYPE and ("set" in found.message or "list" in found.message)
    assert desk.value(outcome.results[1]) == [1, 2]
    assert desk.value(desk.run(entries[0], results="data").results[0]) == [1, {2}]  # an intermediate may be pickled


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
        replace(good, span=(0, good.span[1] - 1)),
        replace(good, span=(0, 1 << 40)),
        replace(good, span=(1 << 40, 10)),
        replace(good, store="elsewhere"),
        replace(good, digest=b"?" + bytes(16)),
        replace(good, parted=True),
        replace(inline, data=inline.data[:-1]),
        replace(inline, data=bytes(len(inline.data))),
        replace(inline, span=(0, 1 << 40)),
    ]
    outcome = desk.run(*[task(len, "x")] * (1 + len(broken)), inputs=[[good], *[[ref] for ref in broken]])
    assert desk.value(outcome.results[0]) == LARGE
    assert [failure(outcome, i).kind for i in range(1, 1 + len(broken))] == [FailureKind.INPUT_LOST] * len(broken)


def test_refs_that_lead_to_further_refs_are_not_followed(desk: Desk) -> None:
    """A barrier's row names values; a row of rows of rows would let a few bytes ask for endless reads."""
    ref = desk.put(1)
    for level in range(3):
        packed = pack_value(encode_refs([ref]), desk.store.algorithm)
        key = f"{PREFIX}row-{level}"
        desk.store.put(key, packed.pieces)
        ref = Ref("main", key, (0, packed.span.length), packed.nbytes, packed.span.digest)
    assert all(isinstance(item, Ref) for item in desk.value(ref)[0])


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


def test_too_little_memory_for_an_input_is_told_apart_too(desk: Desk) -> None:
    """Whether it was reading, running or writing that did not fit makes no difference."""
    found = failure(desk.run(task(print, "x"), inputs=[[desk.put(LoadsTooMuch())]]))
    assert found.kind is FailureKind.OUT_OF_MEMORY


def test_an_input_whose_loading_raises_is_no_lost_input(desk: Desk) -> None:
    """Reading it again would raise again: the user's class is at fault, not the store."""

    class Refuses:
        def __reduce__(self) -> Any:
            return exec, ("raise RuntimeError('not here')",)

    found = failure(desk.run(task(print, "x"), inputs=[[desk.put(Refuses())]]))
    assert found.kind is FailureKind.EXCEPTION and found.message == "not here"


def test_a_node_of_dask_reports_the_users_frames(desk: Desk) -> None:
    """Dask's own frames are left out of the traceback as well."""
    from dask._task_spec import Task

    def user_function() -> None:
        raise ValueError("deep")

    node = Task("value", user_function)
    found = failure(desk.run(entry((("value", None, (node,), None, True, ()),), "value", (), Emit.VALUE)))
    assert "user_function" in found.traceback and "_task_spec" not in found.traceback
