"""A cell under the magic behaves like a cell without it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from cloudoffload.notebook.cell import run_cell


def test_the_last_expression_is_the_value(shell: Any) -> None:
    """As in a plain cell; statements before it have run."""
    assert run_cell(shell, "a = 20\nb = 2\na + b") == 22


def test_a_cell_without_a_last_expression_has_no_value(shell: Any) -> None:
    """An assignment shows nothing."""
    assert run_cell(shell, "a = 20") is None
    assert run_cell(shell, "# only a comment") is None


def test_variables_stay_in_the_users_namespace(shell: Any) -> None:
    """Later cells see what the cell assigned and defined."""
    run_cell(shell, "def double(x):\n    return 2 * x\nten = double(5)")
    shell.run_cell("assert double(ten) == 20").raise_error()


def test_magics_work_inside_the_cell(shell: Any) -> None:
    """The shell's own transformations are applied."""
    run_cell(shell, "%env OFFLOAD_TEST_VALUE=7\nvalue = get_ipython().user_ns is not None")
    assert shell.user_ns["value"] is True


def test_nothing_runs_when_the_cell_cannot_be_compiled(shell: Any) -> None:
    """A syntax error in the last line stops the first one too."""
    with pytest.raises(SyntaxError):
        run_cell(shell, "early = 1\nx = = 2")
    assert "early" not in shell.user_ns


def test_an_exception_passes_and_what_ran_before_stays(shell: Any) -> None:
    """The caller sees the cell's own exception."""
    with pytest.raises(ZeroDivisionError):
        run_cell(shell, "early = 1\n1 / 0")
    assert shell.user_ns["early"] == 1


def test_the_traceback_shows_the_users_lines_once(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """With their source and the cell's own number, and without the function that ran them."""
    shell.register_magic_function(partial(_through, shell), "cell", "through")
    shell.run_cell("%%through\ndef fails():\n    return 1 / 0\nfails()", store_history=True)
    shown = capsys.readouterr().out
    assert shown.count("ZeroDivisionError: division by zero") == 1
    assert "return 1 / 0" in shown
    assert shown.count("Cell In[1], line") == 3
    assert "In[2]" not in shown
    assert "exec(body" not in shown
    assert "eval(value" not in shown


def _through(shell: Any, _: str, body: str) -> object:
    return run_cell(shell, body)
