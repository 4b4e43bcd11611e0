"""What importing loads, seen in fresh processes."""

from __future__ import annotations

import subprocess
import sys

import pytest

WORKER = ("cloudoffload.worker.run", "cloudoffload.worker.local", "cloudoffload.worker.aws_lambda")
CLIENT = ("engine", "graph", "routing", "ledger", "providers", "emulator", "settings", "notebook")


def loaded_by(*modules: str) -> set[str]:
    """Names of all modules that a fresh interpreter holds after importing these."""
    code = f"import sys, {', '.join(modules)}; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def within(loaded: set[str], packages: tuple[str, ...]) -> list[str]:
    """Those that are one of the packages or lie inside one."""
    return sorted(name for name in loaded if any(name == top or name.startswith(f"{top}.") for top in packages))


@pytest.mark.parametrize("module", WORKER)
def test_a_worker_loads_no_client_code(module: str) -> None:
    """A cold start pays only for what runs inside a function: no planner, router, ledger or provider."""
    loaded = loaded_by(module)
    assert module in loaded
    assert within(loaded, tuple(f"cloudoffload.{name}" for name in CLIENT)) == []


@pytest.mark.parametrize("module", WORKER)
def test_a_worker_loads_no_heavy_package(module: str) -> None:
    """The AWS SDK and pandas are loaded by graphs that use them, not by the worker itself."""
    assert within(loaded_by(module), ("boto3", "botocore", "pandas", "distributed")) == []


def test_importing_the_package_loads_no_cloud_sdk_and_no_dataframes() -> None:
    """``import cloudoffload`` is quick; each name loads what it needs when it is first used."""
    loaded = loaded_by("cloudoffload")
    assert "cloudoffload" in loaded
    assert within(loaded, ("boto3", "botocore", "obstore", "pandas", "pyarrow", "IPython", "moto", "aiohttp")) == []


def test_reading_settings_loads_nothing_heavy() -> None:
    """Settings need Dask's configuration and no more of Dask."""
    heavy = ("boto3", "obstore", "pandas", "numpy", "distributed", "dask.dataframe", "dask.array", "dask.bag")
    assert within(loaded_by("cloudoffload.settings"), heavy) == []
