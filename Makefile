# Needs Python 3.11, 3.12 or 3.13 (with venv), make and pip. Everything else comes into .venv.
#
#   make demo           the stack with a sample catalogue; ONCE=1 checks it, stops and exits
#   make up             the stack alone
#   make test           the tests of every change; ARGS="-k ledger" passes options to pytest, WORKERS=1 runs one at a time
#   make test-full      those and the slow and rough ones
#   make lint           style, types, import rules
#   make openapi        writes docs/openapi.json, which a test compares with the code
#   make bench          measures and rewrites benchmarks/RESULTS.md
#   make clean          removes .venv and caches; state in .pim/ stays

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.synced
ONCE ?=
ARGS ?=
WORKERS ?= 2

# The stack and its tests start dozens of processes; where the environment says so (container images do), each of them
# would compile our modules anew (the libraries are compiled at the sync, see [tool.uv]). __pycache__ is ignored by git.
unexport PYTHONDONTWRITEBYTECODE

# Each worker has engines of its own. Files stay whole, because tests of one share what was dear to make, and in their
# order, because the longest are among the first.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help sync demo up test test-full lint openapi bench clean
.DEFAULT_GOAL := help
.NOTPARALLEL:

help:
	@sed -n 's/^#   //p' Makefile

# The stamp is older than pyproject.toml or uv.lock only where one of them changed since the last sync.
$(STAMP): pyproject.toml uv.lock
	@if [ ! -x $(BIN)/python ]; then \
	  if [ -z "$(PYTHON)" ]; then \
	    echo "make: Python 3.11, 3.12 or 3.13 is needed and none was found; install one or pass PYTHON=/path/to/python." >&2; exit 1; \
	  fi; \
	  if ! $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null; then \
	    echo "make: $(PYTHON) cannot make virtual environments; on Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; \
	  fi; \
	  $(PYTHON) -m venv $(VENV); \
	fi
	@test -x $(BIN)/uv || { \
	  $(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'; }
	UV_PROJECT_ENVIRONMENT=$(VENV) UV_PYTHON_DOWNLOADS=never $(BIN)/uv sync --frozen
	@touch $@

sync: $(STAMP)

demo: $(STAMP)
	$(BIN)/pim demo $(if $(filter-out 0,$(ONCE)),--once)

up: $(STAMP)
	$(BIN)/pim up

test: $(STAMP)
	$(PYTEST) -m "not full" $(ARGS)

test-full: $(STAMP)
	$(PYTEST) $(ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

openapi: $(STAMP)
	$(BIN)/pim openapi --output docs/openapi.json

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
