"""Promises of finding the tasks that touch this machine's files."""

from __future__ import annotations

import functools
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import distributed  # noqa: F401 - its settings must be there before the first test
import fsspec
import numpy as np
import pandas as pd
import pyarrow.fs as pafs
import pytest
from dask._task_spec import Alias, DataNode, GraphNode, List, Task, TaskRef, convert_legacy_graph
from dask.utils import ensure_dict, key_split
from fsspec.implementations.arrow import ArrowFSWrapper
from moto.server import ThreadedMotoServer
from obstore.fsspec import FsspecStore
from obstore.store import LocalStore, MemoryStore, S3Store

from cloudoffload.errors import UnsupportedGraph
from cloudoffload.graph.local_paths import classify
from cloudoffload.graph.walk import Walk

FRAME = pd.DataFrame({"a": range(8), "b": list("abcdefgh")})
FILES = ("in/x0.csv", "in/x1.csv")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data, as a notebook has it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("in", "out", "parquet"):
        (tmp_path / name).mkdir()
    for name in FILES:
        FRAME.to_csv(name, index=False)
    FRAME.to_parquet("parquet/x.parquet")
    FRAME.to_json("in/x.json", orient="records", lines=True)
    da.to_npy_stack("npy", da.ones((4, 4), chunks=2))
    return tmp_path


def graphs(action: Callable[[], Any]) -> list[dict[Any, GraphNode]]:
    """Graphs that Dask hands a scheduler while the action runs; each is executed here."""
    return [graph for graph, _ in inspected(action, lambda graph: None)]


def inspected(action: Callable[[], Any], look: Callable[[dict[Any, GraphNode]], Any]) -> list[tuple[Any, Any]]:
    """The same, each with what a look at it gave before it was executed: a file that it writes doesn't exist yet."""
    seen = []

    def get(graph: Any, keys: Any, **_options: Any) -> Any:
        graph = graph.__dask_graph__() if hasattr(graph, "__dask_graph__") else graph
        nodes = convert_legacy_graph(ensure_dict(graph))
        seen.append((nodes, look(nodes)))
        return dask.get(dict(nodes), keys)

    with dask.config.set(scheduler=get):
        action()
    return seen


def reason(function: Any, *args: Any, **kwargs: Any) -> str:
    """Why a task of this function and these arguments must run here; "" when it may run anywhere."""
    return classify({"k-1": Task("k-1", function, *args, **kwargs)}).get("k-1", "")


def frame() -> Any:
    """A dataframe of two partitions."""
    return dd.from_pandas(FRAME, npartitions=2)


READS = {
    "read_csv": lambda: dd.read_csv("in/*.csv"),
    "read_csv by URL": lambda: dd.read_csv(f"file://{Path.cwd()}/in/x0.csv"),
    "read_table": lambda: dd.read_table("in/*.csv", sep=","),
    "read_parquet": lambda: dd.read_parquet("parquet"),
    "read_parquet with arrow": lambda: dd.read_parquet(str(Path("parquet").resolve()), filesystem="arrow"),
    "read_json": lambda: dd.read_json("in/x.json", lines=True),
    "from_map": lambda: dd.from_map(pd.read_csv, list(FILES)),
    "read_text": lambda: db.read_text("in/*.csv"),
    "from_npy_stack": lambda: da.from_npy_stack("npy"),
    "read_bytes": lambda: dask.delayed(list)(dask.bytes.read_bytes("in/*.csv")[1]),
    "delayed": lambda: dask.delayed(pd.read_csv)("in/x0.csv"),
    "bag of names": lambda: db.from_sequence(FILES, npartitions=2).map(pd.read_csv),
    "name in a node": lambda: dask.delayed(pd.read_csv)(dask.delayed("in/x0.csv")),
}

WRITES = {
    "to_parquet": lambda: frame().to_parquet("out/p"),
    "to_parquet with metadata": lambda: frame().to_parquet("out/p", write_metadata_file=True),
    "to_csv": lambda: frame().to_csv("out/*.csv"),
    "to_csv into one file": lambda: frame().to_csv("new.csv", single_file=True),
    "to_json": lambda: frame().to_json("out/*.json"),
    "to_orc": lambda: frame().to_orc("out/orc"),
    "to_textfiles": lambda: db.from_sequence(["a", "b"], npartitions=2).to_textfiles("out/*.txt"),
    "to_npy_stack": lambda: da.to_npy_stack("out/npy", da.ones((4, 4), chunks=2)),
    "np.save": lambda: dask.delayed(np.save)("new.npy", np.ones(2)).compute(),
    "method": lambda: dask.delayed(FRAME).to_csv("new.csv").compute(),
}


@pytest.mark.parametrize("name", READS)
def test_reads_are_found(name: str) -> None:
    """Every way in which Dask reads files is seen, in each graph that it runs for that, with the file's name."""
    for graph in graphs(lambda: READS[name]().compute()):
        found = classify(graph)
        assert found
        assert all(text.endswith("on this machine") for text in found.values())
        assert any(part in text for text in found.values() for part in ("/x", "npy"))


@pytest.mark.parametrize("name", WRITES)
def test_writes_are_found(name: str) -> None:
    """Every way in which Dask writes files is seen, before a function writes into its own scratch disk."""
    ((_graph, found), *_further) = inspected(WRITES[name], classify)
    assert any("out" in text or "new." in text for text in found.values())


def test_only_the_tasks_that_touch_files_are_named() -> None:
    """Tasks after a read may run anywhere: one reason for each partition that is read, none for the rest."""
    (graph,) = graphs(lambda: (dd.read_csv("in/*.csv")["a"] + 1).sum().compute())
    assert [key_split(key) for key in classify(graph)] == ["read-csv", "read-csv"]
    assert len(graph) > 2


def test_the_sentence_says_what_happens() -> None:
    """A reason can be shown to the user: it says whether the task reads or writes, and what."""
    assert reason(pd.read_csv, "in/x0.csv") == "it reads 'in/x0.csv', a file on this machine"
    assert reason(np.save, "out/new.npy") == "it writes 'out/new.npy' on this machine"
    assert reason(np.save, "/tmp/no-such-file.npy") == "it writes '/tmp/no-such-file.npy' on this machine"
    assert reason(len, fsspec.open("out/y.csv", "w")).startswith("it writes '")
    assert reason(len, fsspec.open("in/x0.csv")).startswith("it reads '")
    assert reason(os.listdir, "in") == ""
    assert reason(os.listdir, Path("in")) == "it uses 'in', a folder on this machine"
    assert reason(len, fsspec.filesystem("file")) == "it uses this machine's file system"
    (graph,) = graphs(WRITES["to_parquet"])
    assert {text.partition(" '")[0] for text in classify(graph).values()} == {"it writes"}


class Slotted:
    """Holds something in a slot."""

    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


class Plain:
    """Holds something in its dictionary, and in a bound method."""

    def __init__(self, held: Any) -> None:
        self.held = held

    def method(self) -> Any:
        """What is held."""
        return self.held


def closing_over(held: Any) -> Callable[[], Any]:
    """A function that holds something in its closure."""
    return lambda: held


def by_default(held: Any) -> Callable[[], Any]:
    """A function that holds something as a default value."""
    return lambda held=held: held


def by_keyword_default(held: Any) -> Callable[[], Any]:
    """A function that holds something as the default of a keyword."""
    return lambda *, held=held: held


HIDING_PLACES: dict[str, Callable[[Any], Task]] = {
    "argument": lambda held: Task("k", len, held),
    "keyword": lambda held: Task("k", len, x=held),
    "list in a dictionary": lambda held: Task("k", len, {"x": [held]}),
    "container node": lambda held: Task("k", len, List(TaskRef("a"), held)),
    "nested task": lambda held: Task("k", len, Task(None, list, held)),
    "nested data": lambda held: Task("k", len, DataNode(None, held)),
    "fused task": lambda held: Task.fuse(Task("i", list, held), Task("k", len, TaskRef("i"))),
    "fused twice": lambda held: Task.fuse(
        Task.fuse(Task("i", list, held), Task("j", len, TaskRef("i"))), Task("k", len, TaskRef("j"))
    ),
    "partial": lambda held: Task("k", functools.partial(len, held)),
    "partial keyword": lambda held: Task("k", functools.partial(len, x=held)),
    "closure": lambda held: Task("k", closing_over(held)),
    "default": lambda held: Task("k", by_default(held)),
    "keyword default": lambda held: Task("k", by_keyword_default(held)),
    "method of a list": lambda held: Task("k", [held].count),
    "bound method": lambda held: Task("k", Plain(held).method),
    "attribute": lambda held: Task("k", len, Plain(held)),
    "slot": lambda held: Task("k", len, Slotted(held)),
    "attribute of an attribute": lambda held: Task("k", len, Plain(Slotted(held))),
}
LOCAL_THINGS: dict[str, Callable[[], Any]] = {
    "name": lambda: "in/x0.csv",
    "absolute name": lambda: str(Path("in/x0.csv").resolve()),
    "bare name of a file": lambda: Path(Path("in/x0.csv").rename("x0.csv")).name,
    "folder": lambda: "in/",
    "new file in a folder": lambda: "out/new.bin",
    "pattern": lambda: "in/*.csv",
    "pattern of folders": lambda: "in/*/x.csv",
    "file URL": lambda: "file:///no/such/file",
    "chained URL": lambda: "simplecache::file:///no/such/file",
    "file at home": lambda: "~/in/x0.csv",
    "database": lambda: "sqlite:///in/x.db",
    "path": lambda: Path("in/x0.csv"),
    "new path": lambda: Path("new"),
    "fsspec file system": lambda: fsspec.filesystem("file"),
    "folder of a file system": lambda: fsspec.filesystem("dir", path="in", fs=fsspec.filesystem("file")),
    "folder by protocol": lambda: fsspec.filesystem("dir", path="in", target_protocol="file"),
    "file to open": lambda: fsspec.open("in/x0.csv"),
    "file to create": lambda: fsspec.open("out/y.csv", "w"),
    "open file of fsspec": lambda: fsspec.filesystem("file").open("in/x0.csv"),
    "open file": lambda: Path("in/x0.csv").open("rb"),  # noqa: SIM115
    "open text file": lambda: Path("in/x0.csv").open(),  # noqa: SIM115
    "arrow file system": pafs.LocalFileSystem,
    "folder of an arrow file system": lambda: pafs.SubTreeFileSystem("in", pafs.LocalFileSystem()),
    "arrow over fsspec": lambda: pafs.PyFileSystem(pafs.FSSpecHandler(fsspec.filesystem("file"))),
    "fsspec over arrow": lambda: ArrowFSWrapper(pafs.LocalFileSystem()),
    "obstore": lambda: LocalStore("in"),
    "fsspec over obstore": lambda: FsspecStore("file"),
}
REMOTE_THINGS: dict[str, Callable[[], Any]] = {
    "S3 URL": lambda: "s3://bucket/in/x0.csv",
    "GCS URL": lambda: "gs://bucket/x.parquet",
    "web URL": lambda: "https://example.org/in/x0.csv",
    "chained web URL": lambda: "simplecache::https://example.org/x.csv",
    "memory database": lambda: "sqlite://",
    "separator": lambda: "/",
    "dots": lambda: "../..",
    "scratch folder": lambda: "/tmp",
    "file in the scratch folder": lambda: "/tmp/no-such-file.bin",
    "nothing": lambda: os.devnull,
    "media type": lambda: "application/json",
    "date format": lambda: "%d/%m/%Y",
    "column": lambda: "in",
    "number": lambda: "3.14",
    "pair of words": lambda: "in/out",
    "text": lambda: "in/short, and so on.\nEnd.csv",
    "long text": lambda: f"in/{'x' * 3000}.csv",
    "dotted name": lambda: "numpy.random",
    "path of an image": lambda: Path("/opt/no/such/model.bin"),
    "arrow S3": lambda: pafs.S3FileSystem(anonymous=True, region="eu-west-1"),
    "web file system": lambda: fsspec.filesystem("http"),
    "folder of S3": lambda: fsspec.filesystem("dir", path="bucket", fs=FsspecStore("s3", region="eu-west-1")),
    "file to open on S3": lambda: fsspec.core.OpenFile(FsspecStore("s3", region="eu-west-1"), "in/x0.csv"),
    "obstore": lambda: S3Store("bucket", region="eu-west-1"),
    "buffer": lambda: io.BytesIO(b"in/x0.csv"),
    "data": lambda: FRAME,
    "array of names": lambda: np.array(["in/x0.csv"], dtype=object),
    "module": lambda: os,
}


@pytest.mark.parametrize("place", HIDING_PLACES)
@pytest.mark.parametrize("thing", ["name", "fsspec file system"])
def test_every_place_of_a_task_is_searched(place: str, thing: str) -> None:
    """What a task carries is found wherever it is, and the same task without it is not kept here."""
    assert classify({"k": HIDING_PLACES[place](LOCAL_THINGS[thing]())})
    assert not classify({"k": HIDING_PLACES[place]("harmless")})


@pytest.mark.parametrize("thing", LOCAL_THINGS)
def test_things_of_this_machine(thing: str) -> None:
    """Names, paths, open files and file systems of this machine keep a task here."""
    assert reason(len, LOCAL_THINGS[thing]()).startswith("it ")


@pytest.mark.parametrize("thing", REMOTE_THINGS)
def test_things_of_everywhere(thing: str) -> None:
    """Object stores, web addresses, texts that only look like paths, and data keep nothing here."""
    assert reason(len, REMOTE_THINGS[thing]()) == ""


def test_globals_of_notebook_functions() -> None:
    """A function that is pickled by value takes the globals that it names with it; one that is imported doesn't."""
    space: dict[str, Any] = {"__name__": "__main__", "pd": pd, "SOURCE": Path("in/x0.csv"), "OTHER": 1}
    exec("def notebook(): return pd.read_csv(SOURCE)\ndef harmless(): return OTHER", space)
    assert "in/x0.csv" in reason(space["notebook"])
    assert reason(space["harmless"]) == ""
    assert reason(imported) == ""


IMPORTED_SOURCE = Path("in/x0.csv")


def imported() -> Any:
    """Stands for a function of an installed module: a worker imports it with its own globals."""
    return pd.read_csv(IMPORTED_SOURCE)


def test_names_in_the_code_of_notebook_functions() -> None:
    """A file that is named inside of a function that is pickled by value keeps its tasks here."""
    assert "in/x0.csv" in reason(lambda: pd.read_csv("in/x0.csv"))
    assert reason(lambda: pd.read_csv("s3://bucket/x0.csv")) == ""


def test_a_path_is_followed_to_the_task_that_uses_it() -> None:
    """Nodes that only carry a path run anywhere; the task that gets it through them runs here."""
    graph = {
        "data": DataNode("data", "in/x0.csv"),
        "alias": Alias("alias", "data"),
        "list": List(TaskRef("alias")),
        "user": Task("user", len, TaskRef("list")),
        "after": Task("after", abs, TaskRef("user")),
    }
    assert list(classify(graph)) == ["user"]


def test_objects_that_hold_each_other() -> None:
    """A circle of objects is searched completely, also by the second task that holds it."""
    one, two = Plain(None), Plain(None)
    one.held, two.held = [two], [one, Path("in/x0.csv")]
    graph: dict[Any, GraphNode] = {"a": Task("a", len, one), "b": Task("b", len, two), "c": Task("c", len, one)}
    assert set(classify(graph)) == {"a", "b", "c"}


def test_each_task_of_many_is_looked_at() -> None:
    """Tasks that share a function or a file system with an earlier task are judged by all that they carry."""
    shared = fsspec.filesystem("file")
    graph: dict[Any, GraphNode] = {
        "plain": Task("plain", len, 1),
        "named": Task("named", len, "in/x0.csv"),
        "one": Task("one", len, shared),
        "two": Task("two", len, shared),
    }
    assert list(classify(graph)) == ["named", "one", "two"]


def test_what_tasks_share_is_looked_at_once() -> None:
    """A graph of many tasks costs little when they carry the same objects."""
    looks: list[Any] = []
    walk: Walk[str] = Walk(looks.append)
    shared = Plain([1, 2, 3])
    for number in range(10):
        assert walk.find(Task(number, len, shared, number)) is None
    assert sum(thing is shared for thing in looks) == 1
    assert sum(thing is len for thing in looks) == 1


def test_a_key_is_no_path() -> None:
    """Keys may look like paths, such as those of from_npy_stack: they are names, nobody opens them."""
    key = ("in/x0.csv", 0)
    inner = Task.fuse(Task(key, abs, 1), Task("in/x1.csv", abs, TaskRef(key)))
    assert classify({"in/x1.csv": inner, key: Task(key, abs, 1)}) == {}


def test_memory_files_are_refused() -> None:
    """Files of fsspec's memory:// exist in this process only: no worker could read them."""
    fsspec.filesystem("memory").pipe("/x.csv", b"a\n1\n")
    (graph,) = graphs(lambda: dd.read_csv("memory://x.csv").compute())
    with pytest.raises(UnsupportedGraph, match=r"'read-csv'.*memory"):
        classify(graph)
    with pytest.raises(UnsupportedGraph, match="memory"):
        reason(len, MemoryStore())


@pytest.mark.parametrize("lock", [True, False])
def test_storing_into_an_array_of_this_process_is_refused(lock: bool) -> None:
    """dask.array.store into a numpy array would fill a worker's copy and leave the user's array empty."""
    target = np.zeros((4, 4))
    (graph,) = graphs(lambda: da.ones((4, 4), chunks=2).store(target, lock=lock))
    with pytest.raises(UnsupportedGraph, match=r"'store-map'.*in this process's memory"):
        classify(graph)


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Address of an S3 server with a bucket that has one CSV and one Parquet file."""
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    address = f"http://{host}:{port}"
    pafs.S3FileSystem(
        access_key="k", secret_key="s", region="us-east-1", endpoint_override=address, allow_bucket_creation=True
    ).create_dir("bucket")
    yield address
    server.stop()


@pytest.fixture
def arrow_s3(s3: str, monkeypatch: pytest.MonkeyPatch) -> pafs.S3FileSystem:
    """Arrow's S3 with credentials from the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "k")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    return pafs.S3FileSystem(region="us-east-1", endpoint_override=s3)


def test_object_stores_are_not_local(arrow_s3: pafs.S3FileSystem, tmp_path: Path) -> None:
    """Parquet on S3 is read and written anywhere, even where a folder here has the bucket's name."""
    (tmp_path / "bucket" / "frame").mkdir(parents=True)
    system = ArrowFSWrapper(arrow_s3)
    written = graphs(lambda: frame().to_parquet("bucket/frame", filesystem=system))
    read = graphs(lambda: dd.read_parquet("bucket/frame", filesystem=system).compute())
    by_arrow = graphs(lambda: dd.read_parquet("s3://bucket/frame", filesystem=arrow_s3).compute())
    assert written and read and by_arrow
    assert [classify(graph) for graph in (*written, *read, *by_arrow)] == [{}] * len((*written, *read, *by_arrow))


def test_the_web_is_not_local(tmp_path: Path) -> None:
    """CSV files of a web server are read anywhere."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        read = graphs(lambda: dd.read_csv(f"{address}/in/x0.csv", blocksize=None).compute())
        lines = graphs(lambda: db.read_text(f"{address}/in/x.json").map(json.loads).compute())
        server.shutdown()
    assert [classify(graph) for graph in (*read, *lines)] == [{}, {}]
