"""Which tasks touch files of this machine, and so must run on it.

A path of this machine means nothing on a cloud function: a read fails there, and what is written vanishes with the
function's scratch disk without any error. So every task that carries a local file system, an open file or the name of a
file is found here. When in doubt a task is kept: running here costs time only.
"""

from __future__ import annotations

import functools
import io
import re
import tempfile
import types
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from dask._task_spec import (
    Alias,
    DataNode,
    GraphNode,
    NestedContainer,
    Task,
    TaskRef,
    _execute_subgraph,
    _identity_cast,
)
from dask.utils import key_split

from cloudoffload.errors import UnsupportedGraph
from cloudoffload.graph.walk import SKIP, Skip, Walk, where_files_are
from cloudoffload.types import Key

# Folders that every machine has: naming one says nothing about where a task must run.
_SHARED = frozenset(map(Path, ("/", "/tmp", "/var/tmp", "/dev", "/dev/null", tempfile.gettempdir())))  # noqa: S108
_SUFFIX = re.compile(r"\.[A-Za-z]\w{0,9}$")
_VERBS = dict.fromkeys(("read", "load", "loadtxt", "genfromtxt", "fromfile", "imread"), "reads") | dict.fromkeys(
    ("write", "save", "savez", "savetxt", "dump", "tofile", "imsave", "imwrite"), "writes"
)
# `to_frame` and `to_upper` write nothing: of the functions that begin with "to" only these do.
_TO_FILES = tuple(
    f"to{kind}"
    for kind in (
        *("avro", "csv", "excel", "feather", "hdf", "html", "json", "latex", "markdown", "netcdf", "npy", "orc"),
        *("parquet", "pickle", "sql", "stata", "textfiles", "tiledb", "xml", "zarr"),
    )
)
_PLAIN = frozenset({dict, tuple, list, set, frozenset, type, types.FunctionType, types.BuiltinFunctionType})
_CARRIERS = (_identity_cast, list, tuple, set, dict)
_PROCESS_FILES = "it uses files kept in this process's memory (fsspec's memory:// or a memory store)"
_PROCESS_ARRAY = "it stores into an object in this process's memory, and a worker would fill a copy of it"
_ARRAY_FILES = frozenset({"h5py", "netCDF4", "tiledb", "zarr"})
"""Packages whose arrays are files or objects that another process opens by name."""


class _Touch(NamedTuple):
    """One use of this machine's files."""

    verb: str  # "reads" | "writes" | "uses"
    path: str = ""  # "" when only a file system is known
    lost: str = ""  # why it can't work in any worker, not even on this machine

    @property
    def sentence(self) -> str:
        """Why the task must run here, to follow "runs here because"."""
        if not self.path:
            return f"it {self.verb} this machine's file system"
        if self.verb == "writes":
            return f"it writes {self.path!r} on this machine"
        kind = "folder" if _is_folder(Path(self.path)) else "file"
        return f"it {self.verb} {self.path!r}, a {kind} on this machine"


def classify(graph: Mapping[Key, GraphNode]) -> dict[Key, str]:
    """Find the tasks that touch files of this machine.

    Parameters
    ----------
    graph : mapping of key to GraphNode
        As ``convert_legacy_graph`` gives it, fused or not.

    Returns
    -------
    dict
        For each such task the reason, such as ``"it reads 'data/x.csv', a file on this machine"``. Nodes that only
        carry a path (data, aliases, containers) are not listed, the tasks that read them are.

    Raises
    ------
    UnsupportedGraph
        A task uses files or arrays that live in this process's memory: no worker process could see them.
    """
    walk = Walk(_Inspector(graph), enough=lambda touch: bool(touch.path or touch.lost))
    tasks: dict[Key, _Touch] = {}
    carriers: dict[Key, _Touch] = {}
    for key, node in graph.items():
        touch = walk.find(node)
        if touch is None:
            continue
        if touch.lost:
            raise UnsupportedGraph(
                f"tasks {key_split(key)!r} can't run on a worker: {touch.lost}. Use an object store or a folder "
                "instead, or compute this with scheduler='threads'."
            )
        (carriers if _only_carries(node) else tasks)[key] = touch
    if carriers:
        _hand_on(graph, carriers, tasks)
    return {key: touch.sentence for key, touch in tasks.items()}


def _only_carries(node: GraphNode) -> bool:
    if isinstance(node, DataNode | Alias | NestedContainer):
        return True
    return isinstance(node, Task) and any(node.func is carrier for carrier in _CARRIERS)


def _hand_on(graph: Mapping[Key, GraphNode], carriers: dict[Key, _Touch], tasks: dict[Key, _Touch]) -> None:
    """A task that is given a path by another node uses it as if it were its own argument."""
    waiting = [key for key in graph if key not in carriers and key not in tasks]
    while True:
        passed: dict[Key, _Touch] = {}
        for key in waiting:
            source = next((name for name in graph[key].dependencies if name in carriers), None)
            if source is not None:
                passed[key] = carriers[source]
        tasks.update({key: touch for key, touch in passed.items() if not _only_carries(graph[key])})
        further = {key: touch for key, touch in passed.items() if _only_carries(graph[key])}
        if not further:
            return
        carriers.update(further)
        waiting = [key for key in waiting if key not in passed]


class _Inspector:
    """Decides for each thing that a task carries; remembers the folders it has looked at."""

    def __init__(self, graph: Mapping[Key, GraphNode]) -> None:
        self._graph = graph
        self._folders: dict[PurePath, bool] = {}
        self._beginnings: dict[str, bool] = {}

    def __call__(self, thing: Any) -> _Touch | Skip | None:
        kind = type(thing)
        if kind in _PLAIN:
            return None
        if kind is str:
            return self._named("uses", thing)
        if isinstance(thing, Task):
            return self._task(thing)
        if isinstance(thing, PurePath):
            return self._path(thing)
        if isinstance(thing, io.IOBase) or hasattr(thing, "__dict__"):
            return _open_file(thing) or _system_touch(thing)
        return _fragment(thing) or _system_touch(thing)

    def _task(self, task: Task) -> _Touch | Skip | None:
        if _stores_in_memory(task, self._graph):
            return _Touch("writes", lost=_PROCESS_ARRAY)
        function = task.func
        if function is _execute_subgraph:
            return None
        system = where_files_are(getattr(function, "fs", None)) or where_files_are(task.kwargs.get("fs"))
        if system == "remote" and not any(isinstance(item, GraphNode) for item in task.args):
            return SKIP  # its paths are keys of that store, even where a folder here has the same name
        verb = _verb(function) or ("reads" if system == "local" else "")
        if verb:
            for text in _texts((*task.args, *task.kwargs.values())):
                touch = self._named(verb, text)
                if touch is not None:
                    return touch
        return None

    def _path(self, path: PurePath) -> _Touch | None:
        known = self._is_folder(path.parent) or _exists(path)
        return _Touch("uses", str(path)) if known and path not in _SHARED else None

    def _named(self, verb: str, text: str) -> _Touch | None:
        """Whether the text names something on this machine, or something new in a folder of it."""
        name = _without_scheme(text)
        if name is None or not name.strip("./"):
            return None
        if "://" in text:  # a file:// URL says by itself that this machine is meant
            return None if Path(name) in _SHARED else _Touch(verb, name)
        written = verb == "writes" and _SUFFIX.search(name) is not None
        return _Touch(verb, name) if (written and Path(name) not in _SHARED) or self._is_here(name) else None

    def _is_here(self, name: str) -> bool:
        if "/" not in name:
            return name in self._names_here
        if not self._may_begin(name):
            return False
        path = Path(name).expanduser() if name.startswith("~/") else Path(name)
        if path in _SHARED:
            return False
        if "*" in name:
            return self._is_folder(Path(name.partition("*")[0].rpartition("/")[0]))
        new = path.is_absolute() or _SUFFIX.search(name) is not None
        return (new and self._is_folder(path.parent)) or _exists(path)

    @functools.cached_property
    def _names_here(self) -> frozenset[str]:
        return frozenset(path.name for path in Path().iterdir())

    def _may_begin(self, name: str) -> bool:
        """Whether the first part of a path exists: sorts out texts that only hold a slash, without looking at each."""
        first = name[: name.find("/", 1)] if name.startswith("/") else name.partition("/")[0]
        known = self._beginnings.get(first)
        if known is None:
            known = self._beginnings[first] = first == "~" or _exists(Path(first or "/"))
        return known

    def _is_folder(self, folder: PurePath) -> bool:
        """Whether there is such a folder, other than those that every machine has."""
        known = self._folders.get(folder)
        if known is None:
            known = self._folders[folder] = _is_folder(folder) and folder not in _SHARED
        return known


def _stores_in_memory(task: Task, names: Mapping[Key, Any]) -> bool:
    """Whether the task is one of ``dask.array.store`` whose target lives in this process."""
    if task.func is _execute_subgraph:
        inner, _output, inputs, *values = task.args
        given = dict(zip(inputs, values, strict=True))
        return any(_stores_in_memory(node, given) for node in inner.values() if isinstance(node, Task))
    if getattr(task.func, "__name__", "") not in ("store_chunk", "load_store_chunk"):
        return False
    target = task.args[1]
    if isinstance(target, TaskRef | Alias):
        target = names.get(target.key if isinstance(target, TaskRef) else target.target)
    if isinstance(target, DataNode):
        target = target.value
    return type(target).__module__.partition(".")[0] not in _ARRAY_FILES


def _without_scheme(text: str) -> str | None:
    """The path in a file:// or sqlite:/// URL, or the text itself; None for the URL of another kind."""
    if len(text) > 1024 or "\n" in text:
        return None
    last = text.rpartition("::")[2]
    scheme, mark, rest = last.partition("://")
    if not mark:
        return last.removeprefix("file:")
    if scheme in ("file", "local"):
        return rest
    return rest.removeprefix("/") if scheme.startswith("sqlite") else None


def _texts(values: Any, depth: int = 3) -> Iterator[str]:
    for value in values:
        if isinstance(value, DataNode):
            value = value.value
        if isinstance(value, str):
            yield value
        elif depth and isinstance(value, list | tuple | NestedContainer):
            yield from _texts(value.args if isinstance(value, NestedContainer) else value, depth - 1)
        elif depth and isinstance(value, dict):
            yield from _texts(value.values(), depth - 1)


def _open_file(thing: Any) -> _Touch | Skip | None:
    """An open file, or an object that names a file and its file system, such as fsspec's OpenFile."""
    held = getattr(thing, "__dict__", {})
    if "fs" in held and "path" in held:
        where = where_files_are(held["fs"])
        if where == "local":
            mode = str(held.get("mode", ""))
            verb = _verb(thing) or ("writes" if set("wax").intersection(mode) else "reads")
            return _Touch(verb, str(held["path"]))
        return SKIP if where == "remote" else _system_touch(held["fs"])
    name = getattr(thing, "name", "<memory>") if isinstance(thing, io.IOBase) else "<memory>"
    return None if str(name).startswith("<") else _Touch("uses", name if isinstance(name, str) else "")


def _fragment(thing: Any) -> _Touch | None:
    if not type(thing).__module__.startswith("pyarrow._dataset"):
        return None
    local = where_files_are(getattr(thing, "filesystem", None)) == "local"
    return _Touch("reads", str(getattr(thing, "path", ""))) if local else None


def _system_touch(thing: Any) -> _Touch | None:
    where = where_files_are(thing)
    if where == "process":
        return _Touch("uses", lost=_PROCESS_FILES)
    return _Touch("uses") if where == "local" else None


def _verb(function: Any) -> str:
    """What a function does to files, from the first word of its name; "" when it doesn't say."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", None) or getattr(function, "method", None) or type(function).__name__
    return _verb_of(str(name))


@functools.lru_cache(maxsize=4096)
def _verb_of(name: str) -> str:
    if name.lower().replace("_", "").replace("-", "").startswith(_TO_FILES):
        return "writes"
    first = re.split(r"[_-]+|(?<=[a-z])(?=[A-Z])", name.strip("_"), maxsplit=1)[0]
    return _VERBS.get(first.lower(), "")


def _exists(path: PurePath) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long for a name, or holds a character that no name may hold
        return False


def _is_folder(path: PurePath) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False
