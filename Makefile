# Each target works from a bare clone: it makes .venv, with the CPU build of torch first.
PYTHON ?= python3
TORCH  ?= 2.13.0
BIN    := .venv/bin

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

demo: .venv/installed  ## install, then design a network for built-in digits
	$(BIN)/netwright demo

test: .venv/developing  ## all tests and examples
	$(BIN)/python -m pytest -n auto --dist worksteal

check: .venv/developing  ## style, types, floors, public names
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/test_public_names.py tests/test_language.py tests/test_docstrings.py

listings: .venv/developing  ## write what follows from the catalog: public names, docs/catalog.md
	$(BIN)/python scripts/listings.py

format: .venv/developing  ## write the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove what was installed and built here
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	@# torch by itself and pinned: a looser wish, or one beside others, may fetch gigabytes of CUDA
	$(BIN)/pip install --quiet torch==$(TORCH)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/developing: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[parquet,boost,plots,peers,dev]'
	touch $@

.PHONY: help demo test check listings format clean
