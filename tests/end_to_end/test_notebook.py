"""The notebook as its reader meets it: a real kernel, real sessions, and what is left in the saved file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

import cloudoffload

ROOT = Path(cloudoffload.__file__).parent.parent
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
SECONDS = 120
Message = dict[str, Any]

SLOW = """
import time, dask
@dask.delayed
def slow(number):
    time.sleep(0.4)
    return number
slow_total = dask.delayed(sum)([slow(number) for number in range(6)])
"""


FAILING = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {"cell_type": "code", "id": name, "source": source, "metadata": {}, "outputs": [], "execution_count": None}
        for name, source in (("load", "%load_ext cloudoffload"), ("fail", "%%offload\n1 / 0"))
    ],
}


class Kernel:
    """A running kernel and everything that it says."""

    def __init__(self) -> None:
        # A kernel has its own import path: it must run the package under test, installed or not.
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        settings = {"PYTHONPATH": os.pathsep.join(paths), "DASK_CLOUDOFFLOAD__LOCAL__WORKERS": "1"}
        self.manager = KernelManager()
        self.manager.start_kernel(env={**os.environ, **settings})
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)

    def run(self, code: str, on_message: Callable[[Message], None] = lambda message: None) -> list[Message]:
        """What the kernel says until the code has run, in the order in which it said it."""
        request = self.client.execute(code)
        said: list[Message] = []
        while True:
            message = self.client.get_iopub_msg(timeout=SECONDS)
            said.append(message)
            on_message(message)
            idle = message["msg_type"] == "status" and message["content"]["execution_state"] == "idle"
            if idle and message["parent_header"].get("msg_id") == request:
                return said

    @property
    def process_id(self) -> int:
        provisioner: Any = self.manager.provisioner
        return int(provisioner.pid)

    def close(self) -> None:
        """End the kernel as a notebook server does; harmless when called twice."""
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """A kernel with the extension loaded and six slow tasks to sum."""
    made = Kernel()
    try:
        made.run(f"%load_ext cloudoffload\n{SLOW}")
        yield made
    finally:
        made.close()


def views(said: list[Message]) -> list[tuple[int, dict[str, Any]]]:
    """Each view that was sent to the widget, and its place among the messages."""
    updates = ((place, message) for place, message in enumerate(said) if message["msg_type"] == "comm_msg")
    states = ((place, message["content"]["data"].get("state", {})) for place, message in updates)
    return [(place, state["view"]) for place, state in states if "view" in state]


def printed(said: list[Message]) -> str:
    return "".join(message["content"]["text"] for message in said if message["msg_type"] == "stream")


def test_the_panel_moves_while_the_cell_runs(kernel: Kernel) -> None:
    """Figures that grow reach the frontend before the cell prints its last word, and belong to no request.

    A frontend holds back what belongs to the request of a running cell: only an empty parent header lets it through.
    """
    said = kernel.run("%%offload\nslow_total.compute()\nprint('last word')")
    (last_word,) = [place for place, message in enumerate(said) if message["content"].get("text") == "last word\n"]
    shown = [view for place, view in views(said) if place < last_word]
    units = [dict(view["figures"])["units"].split(" of ")[0] for view in shown]
    assert len(set(units)) > 2
    assert units == sorted(units, key=int)
    comms = [message for message in said if message["msg_type"] in ("comm_open", "comm_msg")]
    assert [message for message in comms if message["parent_header"]] == []


def test_static_figures_replace_the_panel(kernel: Kernel) -> None:
    """The display that held the widget ends as HTML and text without it, and the widget's models are closed."""
    said = kernel.run("%%offload\nslow_total.compute()")
    (display,) = [message["content"] for message in said if message["msg_type"] == "display_data"]
    (update,) = [message["content"] for message in said if message["msg_type"] == "update_display_data"]
    assert WIDGET_VIEW in display["data"]
    assert update["transient"] == display["transient"]
    assert set(update["data"]) == {"text/html", "text/plain"}
    assert "✓ done" in update["data"]["text/html"]
    opened = {message["content"]["comm_id"] for message in said if message["msg_type"] == "comm_open"}
    assert opened == {message["content"]["comm_id"] for message in said if message["msg_type"] == "comm_close"}
    (result,) = [message["content"] for message in said if message["msg_type"] == "execute_result"]
    assert result["data"]["text/plain"] == "15"


def test_interrupting_the_kernel_stops_the_cell(kernel: Kernel) -> None:
    """The notebook's own stop button ends the computation; the panel says so and its thread is gone."""
    pressed: list[Message] = []

    def press(message: Message) -> None:
        if message["msg_type"] == "comm_msg" and not pressed:
            pressed.append(message)
            kernel.manager.interrupt_kernel()

    said = kernel.run("%%offload\nslow_total.compute()\nprint('last word')", on_message=press)
    assert "last word" not in printed(said)
    (update,) = [message["content"] for message in said if message["msg_type"] == "update_display_data"]
    assert "interrupted" in update["data"]["text/plain"]
    assert [message["content"]["ename"] for message in said if message["msg_type"] == "error"] == ["KeyboardInterrupt"]
    threads = "import threading\nprint([t.name for t in threading.enumerate() if 'cloudoffload-panel' in t.name])"
    assert printed(kernel.run(threads)) == "[]\n"


def test_without_the_widget_libraries_progress_is_text(kernel: Kernel) -> None:
    """The cell runs, says how to get a live panel, writes lines and ends with the same static figures."""
    kernel.run("import sys\nsys.modules['anywidget'] = None")
    said = kernel.run("%%offload\nslow_total.compute()")
    assert "pip install 'cloudoffload[notebook]'" in printed(said)
    assert "calls in flight" in printed(said)
    (display,) = [message["content"] for message in said if message["msg_type"] == "display_data"]
    assert set(display["data"]) == {"text/html", "text/plain"}
    assert [message for message in said if message["msg_type"].startswith("comm_")] == []


def test_an_emulated_cloud_serves_the_next_cell_too_and_ends_with_the_kernel(kernel: Kernel) -> None:
    """Its processes stay up between cells of the same options; none is left when the kernel has ended."""
    running = psutil.Process(kernel.process_id)
    cell = "%%offload --emulate aws --provider aws --budget 0.50\nslow_total.compute()"
    kernel.run(cell)
    first = set(running.children(recursive=True))
    assert first
    said = kernel.run(cell)
    assert first & set(running.children(recursive=True))
    (update,) = [message["content"] for message in said if message["msg_type"] == "update_display_data"]
    assert "  aws" in update["data"]["text/plain"]
    assert "with earlier cells" in update["data"]["text/plain"]
    assert printed(kernel.run("print(dask.config.get('scheduler', None))")) == "None\n"
    assert "aws emulated" in printed(kernel.run("%offload status"))
    (report,) = [said for said in kernel.run("%offload report layer") if said["msg_type"] == "display_data"]
    assert ">requests<" in report["content"]["data"]["text/html"]
    assert report["content"]["data"]["text/plain"].startswith("layer")
    children = running.children(recursive=True)
    kernel.close()
    _, alive = psutil.wait_procs(children, timeout=SECONDS)
    assert alive == []


def run_notebook(notebook: Any) -> None:
    NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(ROOT)}}).execute()


def test_the_first_notebook_runs_and_keeps_its_figures() -> None:
    """Executed from top to bottom it fails nowhere, and what is saved shows dollars without kernel or widget."""
    notebook = nbformat.read(ROOT / "notebooks" / "01-first-run.ipynb", as_version=4)  # type: ignore[no-untyped-call]
    run_notebook(notebook)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    data = [output.data for output in outputs if output.output_type in ("display_data", "execute_result")]
    assert [kinds for kinds in data if WIDGET_VIEW in kinds] == []
    assert "widgets" not in notebook.metadata
    panels = [kinds["text/html"] for kinds in data if "cloudoffload" in kinds.get("text/html", "")]
    assert ["estimated, not run" in panel for panel in panels] == [True, False, False]
    assert all("of $0.50" in panel and "✓ done" in panel and ">aws" in panel for panel in panels[1:])
    assert ["with earlier cells" in panel for panel in panels] == [False, False, True]
    assert sum("rows are equal" in kinds["text/plain"] for kinds in data) == 2
    assert not any(str(ROOT) in str(output) for output in outputs)


def test_a_failing_cell_fails_the_notebook() -> None:
    """Whoever executes notebooks unattended sees the failure of an offloaded cell, once."""
    source = json.dumps(FAILING)
    notebook = nbformat.reads(source, as_version=4)  # type: ignore[no-untyped-call]
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        run_notebook(notebook)
    kinds = [output.output_type for output in notebook.cells[1].outputs]
    assert kinds.count("error") == 1
    (panel,) = [output.data for output in notebook.cells[1].outputs if output.output_type == "display_data"]
    assert "ZeroDivisionError" in panel["text/html"]
