# Two commands do everything: `make reproduce` and `make test`. Each sets up .venv first; a second call does not install again.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help reproduce test bench lab lint format lock clean

help:
	@echo "make reproduce   run every notebook, score every claim, write _build/report/index.html"
	@echo "make test        lint, types, import rules and the whole test suite"
	@echo "make bench       print the speed and memory figures"
	@echo "make lab         open JupyterLab on the notebooks"
	@echo "make format      format the code and strip the notebooks"
	@echo "make lock        resolve requirements.txt and environment.yml again from pyproject.toml"
	@echo "make clean       remove .venv and everything that was built"

$(STAMP): pyproject.toml requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "hetcnn needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $(STAMP)

reproduce: $(STAMP)
	$(BIN)/hetcnn reproduce $(ARGS)

test: $(STAMP) lint
	$(BIN)/python -m pytest -n auto $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo 2>/dev/null || $(BIN)/lint-imports
	$(BIN)/nbstripout --verify $(wildcard notebooks/*.ipynb notebooks/*/*.ipynb)

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

lab: $(STAMP)
	$(BIN)/hetcnn lab

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/nbstripout $(wildcard notebooks/*.ipynb notebooks/*/*.ipynb)

lock: $(STAMP)
	$(BIN)/python tools/lock.py

clean:
	rm -rf $(VENV) _build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
