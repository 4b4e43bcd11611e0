# Everything runs inside .venv, which `make setup` builds from the pinned versions in requirements/. Programs are
# called as modules (`python -m pytest`), since the first line of a console script breaks in a folder whose name holds
# a space. Paths are relative for the same reason.

PYTHON := .venv/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-dask bench check lint types floors format

help:
	@echo 'make setup      build .venv with every pinned package; quick when nothing changed'
	@echo 'make demo       flights on an emulated cloud, with the bill on screen'
	@echo 'make test       run the tests'
	@echo 'make test-dask  run the tests of Dask itself on cloudoffload; that takes long'
	@echo 'make bench      measure against a local Dask cluster'
	@echo 'make check      style, types and import contracts'
	@echo 'make format     let ruff rewrite what it can'

setup:
	@bash .ci/setup

demo: setup
	@$(PYTHON) -m cloudoffload.demo

test: setup
	@$(PYTHON) -m pytest

test-dask: setup
	@$(PYTHON) -m tests.dask_suite

bench: setup
	@$(PYTHON) -m benchmarks

check: lint types floors

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .

types: setup
	$(PYTHON) -m mypy --strict

# import-linter has no `python -m` entry of its own.
floors: setup
	$(PYTHON) -c 'from importlinter.cli import lint_imports_command; lint_imports_command()'

format: setup
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
