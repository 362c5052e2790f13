# Each target makes .venv and installs what it needs; Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install test test-full lint format clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(STAMP) ## Make .venv with the package and its tools

test: $(STAMP) ## Run the tests (less than 10 minutes on two cores)
	$(RUN)/python -m pytest

test-full: $(STAMP) ## Run all tests, slow ones too
	$(RUN)/python -m pytest -m ''

lint: $(STAMP) ## Check style (ruff) and types (mypy)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

format: $(STAMP) ## Format the code and mend what ruff can mend
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

clean: ## Remove .venv and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
