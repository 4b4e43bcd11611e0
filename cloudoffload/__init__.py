"""cloudoffload: stock Dask graphs on serverless functions, with the bill on screen.

Importing the package registers ``scheduler="cloudoffload"`` with Dask and loads no cloud SDK: every public name is
resolved when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
