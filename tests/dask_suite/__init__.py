"""Dask's own tests, as its wheel brings them, on the scheduler of this package: ``python -m tests.dask_suite``."""
