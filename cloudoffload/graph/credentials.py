"""Refuses graphs that hold credentials: pickled with the graph, they would reach every worker and the store.

What counts is what a pickle would hold. A file system that takes its keys from the environment pickles without them and
is fine, as is an anonymous one; the functions then use their own role.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from dask._task_spec import DataNode, Dict, GraphNode, Task, TaskRef
from dask.utils import key_split

from cloudoffload.errors import CredentialsInGraph
from cloudoffload.graph.walk import Walk, reduced, where_files_are
from cloudoffload.types import Key

# Names of options are compared in lower case with "_" between words.
_SECRET_OPTION = re.compile(
    r"(?:.*_)?(?:key|secret|token|password|passwd|credentials?|authorization|connection_string)|.*access_key_id|apikey"
)
# Names that mean a secret wherever they stand; "key" or "token" may be anything in a dictionary of the user's own.
_ALWAYS_SECRET = re.compile(
    r"(?:.*_)?(?:secret_access_key|account_key|sas_token|connection_string|client_secret|private_key)"
)
_OPTION_DICTIONARY = re.compile(
    r"(?:storage|target|remote|open_file|filesystem)_options|(?:client|config|session|fs|filesystem)_kwargs"
    r"|credentials|headers"
)
_NO_SECRETS = frozenset({"", "anon", "anonymous", "google_default", "cloud", "cache", "browser"})
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@")
_HOLDERS = {
    "botocore": ("Credentials", "ReadOnlyCredentials", "BaseClient", "Session"),
    "boto3": ("Session", "ServiceResource"),
    "aiobotocore": ("AioSession", "AioBaseClient"),
    "google": ("Credentials", "Client"),
    "azure": ("TokenCredential", "AzureNamedKeyCredential", "AzureSasCredential", "DefaultAzureCredential"),
}


def refuse_credentials(graph: Mapping[Key, GraphNode]) -> None:
    """Make sure that no task carries credentials.

    Parameters
    ----------
    graph : mapping of key to GraphNode
        As ``convert_legacy_graph`` gives it, fused or not.

    Raises
    ------
    CredentialsInGraph
        A task does. The message names the tasks, the object and its option, never the value.
    """
    walk = Walk(_inspect)
    for key, node in graph.items():
        secret = walk.find(node)
        if secret is not None:
            raise CredentialsInGraph(
                f"tasks {key_split(key)!r} hold credentials ({secret}), which would travel inside the graph to every "
                "worker. Leave them out: functions use their own role, and this machine reads its environment, for "
                "example dd.read_parquet('s3://...', filesystem='arrow') with AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY set."
            )


def _inspect(thing: Any) -> str | None:
    """Say where a secret is, never the secret."""
    kind = type(thing)
    if kind is str:
        return "a URL with a user and a password" if "@" in thing and _URL.match(thing) else None
    if kind is dict:
        return _in_dictionary(thing)
    if kind is Dict or kind is Task:
        items = _value(thing)
        return _in_dictionary(items) if isinstance(items, dict) else None
    if where_files_are(thing):
        option = next(_secret_options(reduced(thing)), None)
        return None if option is None else f"the option {option!r} of {_package(kind)}'s {kind.__name__}"
    return _holder(kind)  # type: ignore[arg-type]  # mypy doubts that types can be hashed


def _in_dictionary(items: dict[Any, Any]) -> str | None:
    """Secrets in keyword arguments, attributes, variables or a dictionary of the user's own."""
    both = _is_secret(items.get("key")) and _is_secret(items.get("secret"))
    for name, value in items.items():
        if not isinstance(name, str):
            continue
        plain = _plain(name)
        if _OPTION_DICTIONARY.fullmatch(plain):
            option = next(_secret_options(_value(value)), None)
            if option is not None:
                return f"the option {option!r} of {name!r}"
        if (_ALWAYS_SECRET.fullmatch(plain) or (both and plain == "secret")) and _is_secret(value):
            return f"the option {name!r}"
    return None


def _secret_options(options: Any) -> Iterator[str]:
    """Names of the options that hold a secret, at any depth."""
    if isinstance(options, dict):
        for name, value in options.items():
            if isinstance(name, str) and _SECRET_OPTION.fullmatch(_plain(name)) and _is_secret(value):
                yield name
            yield from _secret_options(_value(value))
    elif isinstance(options, tuple | list):
        for item in options:
            yield from _secret_options(_value(item))


def _is_secret(value: Any) -> bool:
    value = _value(value)
    if isinstance(value, str | bytes):
        text = value if isinstance(value, str) else value.decode("latin-1")
        return text.strip().lower() not in _NO_SECRETS
    return not (value is None or isinstance(value, int | float | dict | list | tuple | type | TaskRef | GraphNode))


def _value(value: Any) -> Any:
    """What a node of the graph stands for, where that is plain to see."""
    if isinstance(value, DataNode):
        return value.value
    if isinstance(value, Dict):
        return dict(value.items())
    return dict(_pairs(value)) if isinstance(value, Task) and value.func is dict else value


def _pairs(task: Task) -> Iterator[tuple[Any, Any]]:
    """Items of ``dict([[name, value], ...])``, which is how older graphs write a dictionary that holds tasks."""
    yield from task.kwargs.items()
    for items in task.args:
        for item in getattr(items, "args", items):
            pair = getattr(item, "args", item)
            if isinstance(pair, tuple | list) and len(pair) == 2:
                yield pair[0], pair[1]


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


@functools.lru_cache(maxsize=4096)
def _holder(kind: type) -> str | None:
    """What to call an object that is a credential, or a client that holds one; None for all others."""
    for base in kind.__mro__:
        if base.__name__ in _HOLDERS.get(_package(base), ()):
            return f"{_package(base)}'s {kind.__name__}"
    return None
