"""Promises of the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest

from benchmarks.plot import draw
from benchmarks.summary import Line, Ratio

LINE = Line("steam", 1, 1.0, 1.0, 20.0, 1, 0, False, None, None, None, *[Ratio(0.5, 0.4, 0.7)] * 3)
ALONE = replace(LINE, engine="wind", wall_ratio=None, cpu_ratio=None, memory_ratio=None)


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_every_workload_and_engine_is_named(ending: str, tmp_path: Path) -> None:
    """Also a workload that is compared with nothing, and one where every engine failed."""
    path = tmp_path / f"picture.{ending}"
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        draw(path, {"milling": [LINE, replace(LINE, engine="water")], "sailing": [ALONE], "flying": []})
    assert path.stat().st_size > 1000
    if ending == "svg":
        text = path.read_text()
        assert all(f">{name}<" in text for name in ("steam", "water", "wind", "milling", "sailing", "flying"))


def test_nothing_measured_is_no_error(tmp_path: Path) -> None:
    """When no engine was chosen that a workload knows, there is an empty picture."""
    draw(tmp_path / "picture.svg", {})
    assert (tmp_path / "picture.svg").exists()
