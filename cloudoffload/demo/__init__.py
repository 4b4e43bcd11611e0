"""A year of real flights, asked real questions on an emulated cloud: ``python -m cloudoffload.demo``."""
