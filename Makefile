# Each target makes .venv and installs what it needs; Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin
# A process for each core, with one thread each; further ones would only make fixtures again.
PYTEST := OMP_NUM_THREADS=1 $(RUN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
# More or less of it: make demo DEMO_FLAGS='--count 800 --epochs 2 --output_path out/small_demo'
DEMO_FLAGS ?=

.PHONY: help install demo test test-full lint format docs notebooks clean

help: ## Say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

install: $(STAMP) ## Make .venv with the package and its tools

demo: $(STAMP) ## Draw faces, train on them, judge the model, show it (less than 12 minutes on two cores)
	$(RUN)/python scripts/demo.py $(DEMO_FLAGS)

test: $(STAMP) ## Run the tests (less than 10 minutes on two cores)
	$(PYTEST)

test-full: $(STAMP) ## Run all tests, slow ones too
	$(PYTEST) -m ''

notebooks: $(STAMP) ## Run the notebooks and store what they show
	OMP_NUM_THREADS=1 $(RUN)/python -m tests.notebooks.renew

lint: $(STAMP) ## Check style (ruff) and types (mypy)
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy

format: $(STAMP) ## Format the code and mend what ruff can mend
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

docs: $(STAMP) ## Build docs/ as a site in site/
	$(RUN)/mkdocs build --strict --quiet

clean: ## Remove .venv, the built site and caches
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
