"""Promises of running engines in fresh processes; small sizes of the real workloads on real engines."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.__main__ import arguments, main
from benchmarks.harness import Trial, run_once, run_rounds, trial


def test_engines_take_turns() -> None:
    """Each engine runs once in each round, the second round backwards, and every repetition is answered."""
    seen: list[str] = []
    runs = run_rounds(Trial("noop", 5, 2), ("threads", "bare"), 2, lambda run: seen.append(run.engine))
    assert seen == ["threads", "bare", "bare", "threads"]
    assert [run.round for run in runs] == [1, 1, 2, 2]
    assert [run.error for run in runs] == [""] * 4
    assert {run.answers for run in runs} == {((10,), (10,))}
    assert all(len(run.walls) == 2 and run.cpu >= 0 and run.client is None for run in runs)


def test_a_session_says_what_went_through_the_client() -> None:
    """Its worker processes are measured with it, and the bytes of one repetition are its own."""
    run = run_once(Trial("noop", 50, 2), "cloudoffload")
    assert (run.error, run.answers) == ("", ((1225,), (1225,)))
    assert run.client is not None
    assert 0 < run.client[0] < run.client[1] < 100_000
    assert run.memory > 0


def test_the_cpu_of_the_client_is_its_own() -> None:
    """Processes that it starts count for the tree, not for the client: here they do nearly everything."""
    run = run_once(trial("import", 1, 5), "dask-import")
    assert run.error == ""
    assert 0 < run.client_cpu < run.cpu / 5


def test_what_an_engine_says_last_is_kept(tmp_path: Path) -> None:
    """A run that fails has no numbers, and tells why; nothing is raised here."""
    run = run_once(Trial("merge", 5, 1, data=tmp_path / "nowhere"), "threads")
    assert "FileNotFoundError" in run.error
    assert "nowhere" in run.error
    assert run.walls == ()


def test_a_run_that_hangs_is_ended() -> None:
    """After its time is over the tree is ended, and the run has no numbers."""
    run = run_once(Trial("noop", 10**9, 1), "threads", timeout=0.5)
    assert "no result" in run.error


@pytest.mark.parametrize(
    "options",
    [["--workload", "nap"], ["--engine", "steam"], ["--rounds", "0"], ["--size", "9"], ["--json"]],
)
def test_options_that_make_no_sense_are_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A sentence, and the status of a usage error."""
    with pytest.raises(SystemExit) as stopped:
        arguments(options)
    assert stopped.value.code == 2
    assert options[0] in capsys.readouterr().err


def test_figures_are_shown_and_left_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table names the engine, the JSON holds all runs, and no path of this machine is in it."""
    path = tmp_path / "deep" / "figures.json"
    options = ["--workload", "noop", "--engine", "bare", "--rounds", "1", "--size", "5", "--json", str(path)]
    assert main(options) == 0
    assert "bare" in capsys.readouterr().out
    text = path.read_text()
    (found,) = json.loads(text)["workloads"]
    assert (found["workload"], found["size"], len(found["runs"])) == ("noop", 5, 1)
    assert found["summary"][0]["engine"] == "bare"
    assert path.with_suffix(".svg").read_text().startswith("<?xml")
    assert os.fspath(Path.cwd()) not in text
