"""pytest plugin: every way in which Dask's tests name a scheduler leads to one Session.

Dask's ``assert_eq`` asks for the scheduler ``"sync"`` by name, other tests for ``"threads"``, ``dask.get`` or
``dask.threaded.get``, or for nothing, which means the default of the collection. All of them are replaced before the
first test module is imported. A module that ran without reaching the Session even once fails the run: it would prove
nothing.
"""

from __future__ import annotations

import datetime
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
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
from cloudoffload.errors import LocalPathError
from tests.dask_suite.modules import PACKAGES, sliced
from tests.dask_suite.skips import FILE, Skips


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
    skips : Skips
        Tests that don't apply.
    checking : bool
        Run the tests that are left out otherwise, and no others: one that passes needs no skip.
    """

    def __init__(self, session: Session, skips: Skips, *, checking: bool) -> None:
        self._scheduler = _Counted(session)
        self._skips = skips
        self._checking = checking
        self._collected: set[str] = set()  # modules
        self._ran: set[str] = set()  # modules of which a test ended without being skipped
        self._needed: set[str] = set()  # skips whose test failed
        _replace_schedulers(self._scheduler.get)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        self._collected.update(map(_module, items))
        skipped = {item: name for item in items if (name := self._skips.matching(_name(item))) is not None}
        if self._checking:
            config.hook.pytest_deselected(items=[item for item in items if item not in skipped])
            items[:] = list(skipped)
        else:
            for item, name in skipped.items():
                item.add_marker(pytest.mark.skip(reason=self._skips.reasons[name]))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> None:
        self._scheduler.module = _module(item)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        try:
            return (yield)
        except LocalPathError as error:  # what is asked of a session without this machine
            pytest.skip(str(error))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report: Any = yield
        if report.when == "call" and not report.skipped:
            self._ran.add(_module(item))
        if not report.passed and (name := self._skips.matching(_name(item))):
            self._needed.add(name)
        return report

    def complaints(self) -> list[str]:
        """What is wrong with the run as a whole, a sentence each."""
        if self._checking:
            there = [name for name in self._skips.reasons if name.partition("::")[0] in self._collected]
            idle = [name for name in there if name not in self._needed]
            return [f"{name} is skipped without need: it passes, or is gone" for name in idle]
        idle = self._ran - self._scheduler.computations.keys() - self._skips.left_out.keys()
        return [f"{name} ran without a single computation on cloudoffload: it proves nothing" for name in sorted(idle)]

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


class Selection:
    """Which tests run on any scheduler: not those that Dask runs only when asked to, and of a slice's modules a few.

    Dask's own ``conftest.py`` for this lies above its package, and its wheel leaves it out.

    Parameters
    ----------
    day : date or None
        Of the slice; None for everything.
    count : int
        How many tests of each module the slice has.
    """

    def __init__(self, day: datetime.date | None, count: int) -> None:
        self._day = day
        self._count = count

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        for item in items:
            for name in {"slow", "array_expr"}.intersection(item.keywords):
                item.add_marker(pytest.mark.skip(reason=f"Dask runs tests marked {name} only when asked to"))
        if self._day is None:
            return
        able = [item for item in items if not any(item.iter_markers("skip"))]
        kept: set[str] = set()
        for _, of_module in groupby(able, key=_module):
            kept |= sliced([_name(item) for item in of_module], self._day, self._count)
        config.hook.pytest_deselected(items=[item for item in items if _name(item) not in kept])
        items[:] = [item for item in items if _name(item) in kept]


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cloudoffload")
    group.addoption("--cloudoffload-emulate", action="store_true", help="run on an emulated AWS, not on this machine")
    group.addoption("--cloudoffload-check-skips", action="store_true", help="tell which skips are not needed")
    group.addoption("--cloudoffload-skips", type=Path, default=FILE, help="file of skips")
    group.addoption("--cloudoffload-stock", action="store_true", help="leave Dask's own schedulers in place")
    group.addoption("--cloudoffload-day", type=datetime.date.fromisoformat, help="run the slice of that day")
    group.addoption("--cloudoffload-tests", type=int, default=40, help="tests of each module in a slice")


def pytest_configure(config: pytest.Config) -> None:
    if not config.getoption("cloudoffload_stock"):
        if config.getoption("cloudoffload_emulate"):
            session = Session(budget="none", providers=("aws",), emulate=("aws",))
        else:
            session = Session(budget="none", workers=2)
        skips = Skips.read(config.getoption("cloudoffload_skips"))
        config.pluginmanager.register(
            Suite(session, skips, checking=config.getoption("cloudoffload_check_skips")), "cloudoffload-suite"
        )
    selection = Selection(config.getoption("cloudoffload_day"), config.getoption("cloudoffload_tests"))
    config.pluginmanager.register(selection, "cloudoffload-selection")


def _module(item: pytest.Item) -> str:
    return os.path.relpath(item.path, PACKAGES)


def _name(item: pytest.Item) -> str:
    return f"{_module(item)}::{item.nodeid.partition('::')[2]}"


def _replace_schedulers(get: Callable[..., Any]) -> None:
    """Put ``get`` wherever one of Dask's own schedulers for one machine stands."""
    stock = (dask.get, dask.threaded.get, dask.multiprocessing.get)
    dask.base.named_schedulers.update(dict.fromkeys(dask.base.named_schedulers.keys() - {"cloudoffload"}, get))
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] != "dask":
            continue
        for attribute, value in list(vars(module).items()):
            if isinstance(value, type) and vars(value).get("__dask_scheduler__") is not None:
                value.__dask_scheduler__ = staticmethod(get)
            elif any(value is scheduler for scheduler in stock):
                setattr(module, attribute, get)
