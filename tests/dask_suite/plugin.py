"""pytest plugin: every way in which Dask's tests name a scheduler leads to one Session.

Dask's ``assert_eq`` asks for the scheduler ``"sync"`` by name, other tests for ``"threads"``, ``dask.get`` or
``dask.threaded.get``, or for nothing, which means the default of the collection. All of them are replaced before the
first test module is imported. A module that ran without reaching the Session even once fails the run: it would prove
nothing.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import dask
import dask.array
import dask.bag
import dask.base
import dask.dataframe
import dask.multiprocessing
import dask.threaded
import pytest

from cloudoffload import Session
from tests.dask_suite import skips


class _Counted:
    """The scheduler under test; counts the computations of each test module.

    Dask finds ``persist`` on the object that a scheduler is a method of.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.module = ""
        self.computations: Counter[str] = Counter()

    def get(self, dsk: Any, keys: Any, **kwargs: Any) -> Any:
        self.computations[self.module] += 1
        return self.session.get(dsk, keys, **kwargs)

    def persist(self, collections: Any, **kwargs: Any) -> Any:
        self.computations[self.module] += 1
        return self.session.persist(collections, **kwargs)


class Suite:
    """Runs the tests on one Session, leaves out those that don't apply, and complains at the end.

    Parameters
    ----------
    session : Session
        Which all schedulers lead to.
    checking : bool
        Run the tests that are left out otherwise, and no others: who passes is no reason to skip.
    """

    def __init__(self, session: Session, *, checking: bool) -> None:
        self._scheduler = _Counted(session)
        self._skips = skips.read()
        self._checking = checking
        self._collected: set[str] = set()  # modules
        self._ran: set[str] = set()  # modules of which a test ended without being skipped
        self._needed: set[str] = set()  # skips whose test failed
        _replace_schedulers(self._scheduler.get)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = []
        for item in items:
            self._collected.add(_module(item))
            name = self._skips.matching(item.nodeid)
            if self._checking and name is None:
                left_out.append(item)
            elif name is not None and not self._checking:
                item.add_marker(pytest.mark.skip(reason=self._skips.reasons[name]))
        if left_out:
            items[:] = [item for item in items if self._skips.matching(item.nodeid)]
            config.hook.pytest_deselected(items=left_out)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._scheduler.module = _module(item)
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and not report.skipped:
            self._ran.add(report.nodeid.partition("::")[0])
        if not report.passed and (name := self._skips.matching(report.nodeid)):
            self._needed.add(name)

    def complaints(self) -> list[str]:
        """What is wrong with the run as a whole, a sentence each."""
        if self._checking:
            there = [name for name in self._skips.reasons if name.partition("::")[0] in self._collected]
            return [f"{name} is skipped without need: it passes, or is gone" for name in there if name not in self._needed]
        idle = self._ran - self._scheduler.computations.keys() - self._skips.computes_nothing.keys()
        return [f"{module} ran without a single computation on cloudoffload: it proves nothing" for module in sorted(idle)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self._scheduler.session.close()
        if self._checking:
            session.exitstatus = pytest.ExitCode.OK  # the failures are what is wanted here
        if self.complaints():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for complaint in self.complaints():
            terminalreporter.write_line(f"FAILED {complaint}", red=True)


class DaskOptions:
    """What the ``conftest.py`` above Dask's package does, which its wheel leaves out."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="Dask runs it only when asked to (--runslow)"))
            if "array_expr" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="Dask runs it only when asked to (--runarrayexpr)"))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cloudoffload")
    group.addoption("--cloudoffload-emulate", action="store_true", help="run on an emulated AWS, not on this machine")
    group.addoption("--cloudoffload-check-skips", action="store_true", help="tell which skips are not needed")
    group.addoption("--cloudoffload-stock", action="store_true", help="leave Dask's own schedulers in place")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(DaskOptions())
    if config.getoption("cloudoffload_stock"):
        return
    if config.getoption("cloudoffload_emulate"):
        session = Session(budget="none", providers=("aws",), emulate=("aws",))
    else:
        session = Session(budget="none", workers=2)
    config.pluginmanager.register(Suite(session, checking=config.getoption("cloudoffload_check_skips")))


def _module(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


def _replace_schedulers(get: Callable[..., Any]) -> None:
    """Put ``get`` wherever one of Dask's own schedulers for one machine stands."""
    stock = {dask.get, dask.threaded.get, dask.multiprocessing.get}
    dask.base.named_schedulers.update(dict.fromkeys(dask.base.named_schedulers.keys() - {"cloudoffload"}, get))
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "dask":
            continue
        for attribute, value in list(vars(module).items()):
            if isinstance(value, type) and vars(value).get("__dask_scheduler__") is not None:
                value.__dask_scheduler__ = staticmethod(get)
            elif callable(value) and getattr(value, "__hash__", None) and value in stock:
                setattr(module, attribute, get)
