"""Public names are promises: none leaks out, none vanishes unnoticed."""

from __future__ import annotations

import inspect

import dask.base

import cloudoffload as co
from cloudoffload.engine.session import Session


def test_the_package_exports_exactly_these_names() -> None:
    """Whoever adds or drops a name changes this list knowingly."""
    assert co.__all__ == [
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
    for name in co.__all__:
        assert getattr(co, name) is not None
        assert name in dir(co)


def test_a_session_offers_exactly_these_methods() -> None:
    """Attributes of an instance are named in the docstring; methods are here."""
    public = {name for name, _ in inspect.getmembers(Session, callable) if not name.startswith("_")}
    assert public == {
        "cancel",
        "client_environment",
        "close",
        "compute",
        "dry_run",
        "estimate",
        "estimate_graph",
        "executor",
        "explain",
        "get",
        "persist",
        "plan",
        "report",
        "stats",
        "stream",
    }


def test_dask_knows_the_scheduler_by_name() -> None:
    """``compute(scheduler="cloudoffload")`` works as soon as the package is imported."""
    assert dask.base.get_scheduler(scheduler="cloudoffload") is dask.base.named_schedulers["cloudoffload"]


def test_every_public_name_is_documented() -> None:
    """A newcomer reads the docstring first."""
    for name in co.__all__:
        assert inspect.getdoc(getattr(co, name)), name
