# Needs nothing but Python 3.11 or newer and make. Everything is installed into .venv from requirements.lock.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test lint docs bench lock clean help

help:
	@echo "make demo   run the whole path on the worked example"
	@echo "make test   run every test (the page tests need chromium on PATH)"
	@echo "make lint   format check, lint, types"
	@echo "make docs   regenerate the CLI reference"
	@echo "make bench  measure, side by side with Feast"
	@echo "make lock   resolve the dependencies anew (needs uv)"

demo: $(READY)
	$(BIN)/skewguard demo

# A file of tests stays on one core, for the sake of the servers that its tests share.
test: $(READY)
	-@$(BIN)/python -m compileall -q skewguard online_api training tests feature_repo
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m typer skewguard.cli utils docs --name skewguard --output docs/cli.md

# The lock is whole, so nothing is resolved: older pip cannot tell pandas from the pandas[parquet] that Evidently asks for.
bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		--requirement requirements-bench.lock
	$(BIN)/python -m benchmarks

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --extra dev pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --extra dev --extra bench --constraint requirements.lock pyproject.toml \
		--output-file requirements-bench.lock

# Bytecode is compiled once here: without it, importing Feast costs seconds at every start.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "skewguard needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	-@$(BIN)/python -m compileall -q $(VENV)/lib >/dev/null 2>&1  # a few packages ship templates that are no Python
	@touch $(READY)

clean:
	rm -rf $(VENV) demo-run .pytest_cache .mypy_cache .ruff_cache .hypothesis
