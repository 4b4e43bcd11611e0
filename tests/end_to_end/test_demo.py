"""The demo as a person starts it, and as a person stops it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cloudoffload.demo.catalogue import QUESTIONS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


WRONG_TWIN = """
import sys
from dataclasses import replace
from cloudoffload.demo import __main__ as demo
words = next(question for question in demo.QUESTIONS if question.name == "words")
demo.QUESTIONS = (replace(words, twin=lambda airports: [("airport", len(airports))]),)
sys.exit(demo.main(["--quick"]))
"""


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    root = Path(__file__).resolve().parents[2]
    paths = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, *(command or ("-m", "cloudoffload.demo", "--quick", "--output", "charts"))],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_demo_answers_like_pandas_and_shows_the_bill(tmp_path: Path) -> None:
    """``--quick``: each answer equals pandas', the emulated AWS did the work, and the chart is there."""
    demo = start(tmp_path)
    shown, errors = demo.communicate()
    assert demo.returncode == 0, shown + errors
    assert shown.count("equal to pandas: all ") == len(QUESTIONS)
    assert "\x1b" not in shown
    done = re.findall(r"done: (\d+)/(\d+) units · (\d+) calls · \$([\d.]+)", shown)
    assert len(done) == len(QUESTIONS)
    assert all(units == total and int(units) > 0 and int(calls) > 0 for units, total, calls, _ in done)
    worked = re.search(r"aws\S* ran ([\d,]+) units in ([\d,]+) calls for \$([\d.]+)", shown)
    assert worked is not None
    assert float(worked[3]) > 0
    assert (tmp_path / "charts" / "flights.png").read_bytes().startswith(b"\x89PNG")


def test_ctrl_c_ends_the_demo_and_says_what_was_spent(tmp_path: Path) -> None:
    """After an interrupt the exit code is the shell's 130, the money is said, and no traceback is shown."""
    demo = start(tmp_path)
    assert demo.stdout is not None
    while not (line := demo.stdout.readline()).startswith("  done:"):
        assert line, demo.communicate()[1]
    demo.send_signal(signal.SIGINT)
    shown, errors = demo.communicate()
    assert demo.returncode == 130, shown + errors
    assert re.search(r"stopped; \$\d+\.\d+ \(emulated\) were spent", shown)
    assert "Traceback" not in shown + errors


def test_another_answer_than_pandas_ends_the_demo(tmp_path: Path) -> None:
    """Nothing is called equal that is not: the exit code is 1, and what differs is shown."""
    demo = start(tmp_path, "-c", WRONG_TWIN)
    shown, errors = demo.communicate()
    assert demo.returncode == 1, shown + errors
    assert "equal to pandas" not in shown
    assert "Which words name airports? Dask and pandas disagree" in shown
