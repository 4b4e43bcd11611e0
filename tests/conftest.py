"""What every test gets: Dask's configuration as if nobody had set anything, and put back afterwards."""

from __future__ import annotations

import copy
import signal
from collections.abc import Iterator

import dask.config
import distributed  # noqa: F401 - registers its defaults now; done inside a test, they would be put back to nothing
import pytest
from hypothesis import settings

# Whoever starts the tests in the background ignores interrupts, and every process that a test starts would, too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine than about the code: no test asserts a time.
settings.register_profile("cloudoffload", deadline=None)
settings.load_profile("cloudoffload")


@pytest.fixture(autouse=True)
def clean_dask_config() -> Iterator[None]:
    """No test sees the settings of the machine's user, or those that another test left."""
    before = copy.deepcopy(dask.config.config)
    dask.config.config.pop("cloudoffload", None)
    yield
    dask.config.config.clear()
    dask.config.config.update(before)
