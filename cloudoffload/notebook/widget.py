"""The live panel as an anywidget; imported only where anywidget is installed and a frontend can show it."""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

_HERE = Path(__file__).parent


class PanelWidget(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget ships no types
    """Shows what :func:`cloudoffload.notebook.panel.view` answers.

    Attributes
    ----------
    view : dict
        Everything that is shown, formatted: one trait, so that a tick is one message.
    """

    _esm = _HERE / "panel.js"
    _css = _HERE / "panel.css"
    view = traitlets.Dict().tag(sync=True)
