"""How fast, how heavy and how chatty cloudoffload is, beside a local Dask cluster: ``python -m benchmarks``."""
