"""Looks at everything that a task would carry to a worker, but never into data.

A task carries more than its arguments: partial functions, bound methods, closures, default values, the globals of
functions that are pickled by value, attributes of objects, filesystems inside of wrappers. :class:`Walk` visits all of
them, each object once per graph, and shows each to a function that decides.
"""

from __future__ import annotations

import dis
import functools
import operator
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import Any, Generic, TypeVar

import cloudpickle
from dask._task_spec import DataNode, GraphNode, Task, TaskRef, _execute_subgraph
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.spec import AbstractFileSystem

Found = TypeVar("Found")
Parts = Callable[[Any], Iterable[Any]]


class Skip:
    """What an inspector answers to say: nothing here, and don't look inside."""


SKIP = Skip()

_ATOMS = frozenset({int, float, bool, type(None), complex, bytes, range, slice, type(Ellipsis), TaskRef})
# Packages whose objects are data or compiled code: large, and without files or credentials inside.
_CLOSED = frozenset({"cudf", "cupy", "jax", "numpy", "pandas", "polars", "pyarrow", "scipy", "sparse", "torch"})


class Walk(Generic[Found]):
    """Search in the things that tasks carry.

    Parameters
    ----------
    inspect : callable
        Called with each object once, and with each string that holds a slash or a dot; answers what it found, None, or
        ``SKIP``.
    enough : callable, optional
        Whether a finding ends the search; otherwise the first one is kept while a better one is looked for.
    """

    def __init__(
        self,
        inspect: Callable[[Any], Found | Skip | None],
        enough: Callable[[Found], bool] = lambda found: True,
    ) -> None:
        self._inspect = inspect
        self._enough = enough
        # Objects in which nothing was found, by id. They are kept alive: an id is only unique while its object lives.
        self._clean: dict[int, Any] = {}

    def find(self, root: Any) -> Found | None:
        """Search ``root`` and all that it holds."""
        if type(root) is Task and self._nothing_new(root):
            return None
        best: Found | None = None
        visited: dict[int, Any] = {}
        stack = [root]
        while stack:
            thing = stack.pop()
            kind = type(thing)
            if kind in _ATOMS:
                continue
            if kind is str:
                if "/" not in thing and "." not in thing:  # names neither a file nor an address
                    continue
            else:
                if id(thing) in visited or id(thing) in self._clean:
                    continue
                visited[id(thing)] = thing
            found = self._inspect(thing)
            if isinstance(found, Skip):
                continue
            if found is not None:
                if self._enough(found):
                    return found
                best = found if best is None else best
            if kind is not str:
                stack.extend(parts(thing))
        if best is None:
            self._clean.update(visited)
        return best

    def _nothing_new(self, task: Task) -> bool:
        """A known function of plain numbers: what most tasks of a large graph are."""
        if task.kwargs or id(task.func) not in self._clean:
            return False
        return all(type(item) in _ATOMS for item in task.args)


def parts(thing: Any) -> Iterable[Any]:
    """Whatever ``thing`` would take with it when it is pickled, one level down."""
    opener = _opener(type(thing))  # type: ignore[arg-type]  # mypy doubts that types can be hashed
    return () if opener is None else opener(thing)


def travels_by_value(thing: Any) -> bool:
    """Whether cloudpickle ships the code of this function or class instead of its name."""
    module: str = getattr(thing, "__module__", None) or ""
    home = sys.modules.get(module)
    if home is None or module == "__main__":
        return True
    by_value = cloudpickle.list_registry_pickle_by_value()
    if any(module == name or module.startswith(f"{name}.") for name in by_value):
        return True
    found: Any = home
    for name in getattr(thing, "__qualname__", "").split("."):
        found = getattr(found, name, None)
    return found is not thing


def reduced(thing: Any) -> tuple[Any, ...]:
    """Arguments and state that a pickle of ``thing`` holds; for objects whose attributes are not what travels."""
    try:
        pieces = thing.__reduce_ex__(2)
    except Exception:  # noqa: BLE001 - an object that can't be pickled takes nothing with it, whatever it raises
        return ()
    return () if isinstance(pieces, str) else tuple(pieces[1:3])


def where_files_are(thing: Any) -> str:
    """Where the files of a file system or store are: "local", "process", "remote"; "" when it is neither."""
    kind = _system_kind(type(thing))  # type: ignore[arg-type]  # mypy doubts that types can be hashed
    if kind != "wrapper":
        return kind
    inner = getattr(thing, "base_fs", None) or getattr(thing, "fs", None) or getattr(thing, "handler", None)
    if inner is not None:
        return where_files_are(getattr(inner, "fs", inner)) or "remote"
    protocol = getattr(thing, "protocol", "")
    protocols = (protocol,) if isinstance(protocol, str) else tuple(protocol)
    if "memory" in protocols:
        return "process"
    return "local" if {"file", "local"}.intersection(protocols) else "remote"


@functools.lru_cache(maxsize=4096)
def _system_kind(kind: type) -> str:
    if issubclass(kind, LocalFileSystem):
        return "local"
    if issubclass(kind, MemoryFileSystem):
        return "process"
    if issubclass(kind, AbstractFileSystem):
        return "wrapper"
    for base in kind.__mro__:
        package = base.__module__.partition(".")[0]
        if package in ("pyarrow", "obstore", "zarr"):
            if base.__name__ in ("LocalFileSystem", "LocalStore"):
                return "local"
            if base.__name__ in ("_MockFileSystem", "MemoryStore"):
                return "process"
            if base.__name__ in ("SubTreeFileSystem", "PyFileSystem"):
                return "wrapper"
            if base.__name__ in ("FileSystem", "ObjectStoreMethods"):
                return "remote"
    return ""


@functools.lru_cache(maxsize=4096)
def _opener(kind: type) -> Parts | None:
    """How to look into objects of one type; None when there is nothing to look for."""
    for base, opener in _OPENERS.items():
        if issubclass(kind, base):
            return opener
    module = kind.__module__ or ""
    if module.startswith(("pyarrow._dataset", "pyarrow.dataset")):
        return _dataset_parts
    if _is_arrow_filesystem(kind) or any(base.__module__.startswith("obstore") for base in kind.__mro__):
        return reduced
    if kind.__name__ == "FragmentWrapper" and module.startswith("dask.dataframe"):
        return _wrapped_fragment_parts
    if module.partition(".")[0] in _CLOSED and module != "pyarrow.fs":
        return None
    return functools.partial(_attributes, slots=tuple(_slots(kind)), code=travels_by_value(kind))


def _is_arrow_filesystem(kind: type) -> bool:
    return any(base.__module__ == "pyarrow._fs" and base.__name__ == "FileSystem" for base in kind.__mro__)


def _task_parts(task: Task) -> Iterable[Any]:
    if task.func is _execute_subgraph:  # the rest of its arguments are keys, which only look like data
        inner, _output, _inputs, *values = task.args
        return (*inner.values(), *values)
    return (task.kwargs, *task.args, task.func)


def _function_parts(function: types.FunctionType) -> Iterator[Any]:
    if not travels_by_value(function):
        return
    yield function.__defaults__
    yield function.__kwdefaults__
    yield dict(_closure(function))
    names, constants = _named_in(function.__code__)
    yield {name: function.__globals__[name] for name in names if name in function.__globals__}
    yield tuple(text for text in constants if text != function.__doc__)


def _closure(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # the variable is not assigned yet
            continue


@functools.lru_cache(maxsize=4096)
def _named_in(code: types.CodeType) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Global names and constants; the functions that a loop defines share their code."""
    return tuple(sorted(set(_global_names(code)))), tuple(_constants(code))


def _global_names(code: types.CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield instruction.argval
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _global_names(inner)


def _constants(code: types.CodeType) -> Iterator[Any]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _constants(constant)
        elif isinstance(constant, str | tuple):
            yield constant


def _class_parts(kind: type) -> Iterable[Any]:
    return (dict(vars(kind)), *kind.__bases__) if travels_by_value(kind) else ()


def _builtin_parts(function: types.BuiltinMethodType) -> Iterable[Any]:
    owner = function.__self__
    return () if isinstance(owner, types.ModuleType) else (owner,)


def _dataset_parts(thing: Any) -> Iterable[Any]:
    return (getattr(thing, "filesystem", None),)


def _wrapped_fragment_parts(wrapper: Any) -> Iterable[Any]:
    return (wrapper.fragment,)  # dask keeps it pickled at times; asking for it unpacks it


def _attributes(thing: Any, *, slots: tuple[str, ...], code: bool) -> Iterator[Any]:
    yield getattr(thing, "__dict__", None)
    if slots:
        yield {name: getattr(thing, name) for name in slots if hasattr(thing, name)}
    if code:
        yield type(thing)


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        names = vars(base).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else names:
            if name in ("__dict__", "__weakref__"):
                continue
            mangled = name.startswith("__") and not name.endswith("__")
            yield f"_{base.__name__.lstrip('_')}{name}" if mangled else name


# The first entry whose type fits is used, so the narrower types come first.
_OPENERS: dict[Any, Parts | None] = {
    (str, bytearray, memoryview, PurePath, types.ModuleType): None,
    Task: _task_parts,
    DataNode: lambda node: (node.value,),
    (GraphNode, TaskRef): None,
    (list, tuple, set, frozenset, deque): lambda items: items,
    dict: lambda items: items.values(),
    types.FunctionType: _function_parts,
    types.MethodType: lambda method: (method.__func__, method.__self__),
    types.BuiltinMethodType: _builtin_parts,
    functools.partial: lambda bound: (bound.args, bound.keywords, bound.func),
    operator.methodcaller: reduced,
    (staticmethod, classmethod): lambda wrapper: (wrapper.__func__,),
    property: lambda wrapper: (wrapper.fget, wrapper.fset),
    type: _class_parts,
    AbstractFileSystem: reduced,
}
