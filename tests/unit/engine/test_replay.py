"""What remote code printed, logged and warned, said again here."""

from __future__ import annotations

import logging
import warnings

import pytest

from cloudoffload.engine.replay import replay
from cloudoffload.types import Message


def test_prints_come_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    """Each on the stream that the code wrote to."""
    replay([Message("stdout", "one\n"), Message("stderr", "oh\n"), Message("stdout", "two\n")])
    assert capsys.readouterr() == ("one\ntwo\n", "oh\n")


def test_log_records_obey_the_loggers_here(caplog: pytest.LogCaptureFixture) -> None:
    """A logger that is set to ERROR here does not show a remote warning."""
    loud, quiet = logging.getLogger("test.loud"), logging.getLogger("test.quiet")
    quiet.setLevel(logging.ERROR)
    replay(
        [
            Message("log", "100% sure", logging.WARNING, "test.loud", "f.py", 3),
            Message("log", "hidden", logging.WARNING, "test.quiet", "f.py", 4),
        ]
    )
    assert [(r.name, r.getMessage(), r.levelno) for r in caplog.records] == [(loud.name, "100% sure", logging.WARNING)]


def test_warnings_keep_their_category_and_place() -> None:
    """Filters here decide; a category that only the worker knows becomes a UserWarning, never another object."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        replay(
            [
                Message("warning", "old", 0, "DeprecationWarning", "f.py", 3),
                Message("warning", "odd", 0, "package.Odd", "g.py", 4),
                Message("warning", "even odder", 0, "print", "g.py", 5),
            ]
        )
    assert [(item.category, str(item.message), item.filename, item.lineno) for item in caught] == [
        (DeprecationWarning, "old", "f.py", 3),
        (UserWarning, "odd", "g.py", 4),
        (UserWarning, "even odder", "g.py", 5),
    ]


def test_a_warning_that_is_an_error_here_is_raised() -> None:
    """``-W error`` means the same as for code that runs here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="overflow"):
            replay([Message("warning", "overflow", 0, "RuntimeWarning", "f.py", 3)])
