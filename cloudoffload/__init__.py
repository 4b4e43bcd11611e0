"""cloudoffload: stock Dask graphs on serverless functions, with the bill on screen.

Importing the package registers ``scheduler="cloudoffload"`` with Dask and loads no cloud SDK: every public name is
resolved when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dask.base import named_schedulers

__version__ = "0.1.0"

if TYPE_CHECKING:
    from cloudoffload import errors
    from cloudoffload.engine.executor import offload
    from cloudoffload.engine.session import Session
    from cloudoffload.interfaces import Deployable, Provider, Store
    from cloudoffload.ledger.report import Report
    from cloudoffload.types import Budget, Estimate, Requirements

_PUBLIC = {
    "Budget": "cloudoffload.types",
    "Deployable": "cloudoffload.interfaces",
    "Estimate": "cloudoffload.types",
    "Provider": "cloudoffload.interfaces",
    "Report": "cloudoffload.ledger.report",
    "Requirements": "cloudoffload.types",
    "Session": "cloudoffload.engine.session",
    "Store": "cloudoffload.interfaces",
    "offload": "cloudoffload.engine.executor",
}

__all__ = [
    "Budget",
    "Deployable",
    "Estimate",
    "Provider",
    "Report",
    "Requirements",
    "Session",
    "Store",
    "errors",
    "offload",
]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("cloudoffload.errors")
    if name in _PUBLIC:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'cloudoffload' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def load_ipython_extension(shell: Any) -> None:
    """Let ``%load_ext cloudoffload`` bring the magics."""
    importlib.import_module("cloudoffload.notebook.magics").load_ipython_extension(shell)


class _Dispatcher:
    """Hands what Dask asks for to the innermost Session; loads the engine when it is first used.

    Dask looks up ``persist`` on the object that the scheduler is a method of.
    """

    def get(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        return _current().get(dsk, keys, **kwargs)

    def persist(self, collections: Any, **kwargs: Any) -> Any:
        return _current().persist(collections, **kwargs)


def _current() -> Any:
    # By name, not by import statement: a worker imports this package and must not load the engine.
    return importlib.import_module("cloudoffload.engine.scheduler").current()


named_schedulers["cloudoffload"] = _Dispatcher().get
