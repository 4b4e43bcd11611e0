"""``%%offload`` in a real shell, with real sessions on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pandas as pd
import pytest

from cloudoffload.notebook.magics import load_ipython_extension

COUNT = "import dask\ntotal = dask.delayed(sum)([dask.delayed(len)(word) for word in ('a', 'bb', 'ccc')])\n"
BOOM = "@dask.delayed\ndef fail(x):\n    raise ValueError('boom')\nboom = fail(1)"


@pytest.fixture
def notebook(shell: Any) -> Iterator[Any]:
    """A shell with the extension loaded and a small graph called ``total``, whose value is 6."""
    dask.config.set({"cloudoffload.local.workers": 1})
    load_ipython_extension(shell)
    shell.run_cell(COUNT).raise_error()
    yield shell
    shell.run_line_magic("offload", "off")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--budget lots", "budget = 'lots' is not allowed"),
        ("--prefer speed", "invalid choice: 'speed'"),
        ("--provider nimbus", "nimbus"),
        ("--emulate nimbus", "nimbus"),
        ("--wings", "unrecognized arguments: --wings"),
    ],
)
def test_wrong_arguments_show_the_usage_and_run_nothing(
    notebook: Any, capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    """The message names what is wrong, the usage what is right; the cell has not begun."""
    result = notebook.run_cell(f"%%offload {line}\nran = True")
    assert not result.success
    assert "ran" not in notebook.user_ns
    shown = capsys.readouterr().err
    assert said in shown
    assert "%offload [--budget AMOUNT]" in shown
    assert "Traceback" not in shown


def test_the_cell_computes_through_a_session_and_its_value_is_shown(
    notebook: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Units are counted, the result is the cell's, variables stay, Dask's own scheduler is back afterwards."""
    before = dask.config.get("scheduler", None)
    result = notebook.run_cell("%%offload\nanswer = total.compute()\nanswer + 1")
    result.raise_error()
    assert (result.result, notebook.user_ns["answer"]) == (7, 6)
    assert "cloudoffload ✓ done: spent $0.00 of $1.00 · units" in capsys.readouterr().out
    assert dask.config.get("scheduler", None) == before


def test_work_is_counted(notebook: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The final figures count the units that ran and where, and name the budget that was given."""
    notebook.run_cell("%%offload --budget none\nanswer = total.compute()").raise_error()
    shown = capsys.readouterr().out
    assert "spent $0.00 · units" in shown
    assert "units 0 of 0" not in shown
    assert "  local: " in shown


def test_a_semicolon_silences_the_value(notebook: Any) -> None:
    """As in a plain cell."""
    assert notebook.run_cell("%%offload\n1 + 1;").result is None


def test_a_failing_cell_fails_and_leaves_nothing_behind(notebook: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """The user's own exception comes out, the panel says so, and the panel's thread has ended."""
    notebook.run_cell(BOOM).raise_error()
    result = notebook.run_cell("%%offload\nearly = 1\nboom.compute()")
    assert isinstance(result.error_in_exec, ValueError)
    assert notebook.user_ns["early"] == 1
    assert "cloudoffload ✗ failed" in capsys.readouterr().out
    assert [thread.name for thread in threading.enumerate() if "panel" in thread.name] == []


def test_a_swallowed_failure_is_still_said(notebook: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A cell that goes on after a computation failed ends as failed, with the reason."""
    notebook.run_cell(BOOM).raise_error()
    notebook.run_cell("%%offload\ntry:\n    boom.compute()\nexcept ValueError:\n    pass").raise_error()
    shown = capsys.readouterr().out
    assert "cloudoffload ✗ failed" in shown
    assert "ValueError: boom" in shown


def test_a_dry_run_estimates_the_first_computation_and_runs_nothing(
    notebook: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What stands before it has run, the computation has not, and what stands behind it has not."""
    notebook.user_ns["path"] = tmp_path / "ran"
    cell = "early = 1\ntry:\n    dask.delayed(path.touch)().compute()\nexcept Exception:\n    pass\nlate = 1"
    result = notebook.run_cell(f"%%offload --dry-run\n{cell}")
    result.raise_error()
    assert "early" in notebook.user_ns
    assert "late" not in notebook.user_ns
    assert not (tmp_path / "ran").exists()
    shown = capsys.readouterr().out
    assert "cloudoffload ≈ estimated, not run" in shown
    assert "units on local" in shown
    assert "nothing was run or spent" in shown


def test_a_dry_run_lets_dask_look_at_its_data(notebook: Any, tmp_path: Path) -> None:
    """What Dask itself computes to plan, such as the statistics of Parquet files, is no computation of the user's."""
    for number in range(3):
        pd.DataFrame({"x": [number], "y": [0]}).to_parquet(tmp_path / f"{number}.parquet")
    notebook.user_ns["folder"] = tmp_path
    notebook.run_cell("import dask.dataframe as dd\nframe = dd.read_parquet(folder, filesystem='arrow')").raise_error()
    notebook.run_cell(
        "%%offload --dry-run\nplanned = frame[['x']].sum().optimize()\nplanned.compute()\nlate = 1"
    ).raise_error()
    assert "planned" in notebook.user_ns
    assert "late" not in notebook.user_ns


def test_a_dry_run_without_a_computation_is_a_plain_cell(notebook: Any) -> None:
    """There is nothing to estimate: the value is the cell's own."""
    assert notebook.run_cell("%%offload --dry-run\n20 + 2").result == 22


def test_what_a_cell_persisted_is_there_for_the_next(notebook: Any) -> None:
    """Cells with the same options share a session."""
    notebook.run_cell("%%offload\nkept = dask.delayed(list)('abc').persist()").raise_error()
    assert notebook.run_cell("%%offload\nkept.compute()").result == ["a", "b", "c"]


def test_the_line_magic_tells_about_kept_sessions_only(notebook: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the first cell there is none; another word shows the usage."""
    notebook.run_line_magic("offload", "status")
    notebook.run_line_magic("offload", "off")
    notebook.run_line_magic("offload", "report layer")
    notebook.run_cell("%offload report cents")
    captured = capsys.readouterr()
    assert captured.out.splitlines()[:2] == [
        "cloudoffload: no session is open.",
        "cloudoffload: 0 kept sessions closed.",
    ]
    assert "%offload status | report [provider | layer | tag | day] | off" in captured.err
