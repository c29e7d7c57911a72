# Needs Python 3.11 or newer, make and the network's package registries; everything else goes into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?=
ARGS ?=
# Tests at the same time: most of them wait for processes, so more than there are cores.
WORKERS ?= 6

.DEFAULT_GOAL := help
.PHONY: help setup run test soak check format bench screenshots lock clean

help: ## Print this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  make \1	/' | expand -t 18

setup: $(READY) ## Make the virtual environment in .venv

$(READY): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "hookchain needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version). Set PYTHON=…"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || \
		{ echo "python3 -m venv does not work here; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "setting up $(VENV) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: $(READY) ## Run the server; CONFIG=file.toml picks another configuration
	@$(if $(CONFIG),HOOKCHAIN_CONFIG="$(CONFIG)",) exec $(BIN)/hookchain serve $(ARGS)

test: $(READY) ## Run the tests; ARGS="-k name" chooses some
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(ARGS)

soak: $(READY) ## Run the long tests: minutes of faults and load
	@$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

check: $(READY) ## Lint, formatting, types, and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY) ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(READY) ## Measure ingest rate and chain latency
	@$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(READY) ## Take the pictures in docs/ again, from the sandbox (needs Chromium)
	@$(BIN)/python -m tests.screenshots docs/screenshots

lock: ## Lock the dependencies again, by version and hash
	@test -x $(BIN)/pip-compile || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet pip-tools; }
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-annotate -o requirements.txt pyproject.toml
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-annotate \
		--extra dev -c requirements.txt -o requirements-dev.txt pyproject.toml
	@$(BIN)/pip-compile --quiet --upgrade --generate-hashes --allow-unsafe --strip-extras --no-header \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-annotate \
		--only-build-deps --build-deps-for=wheel -c requirements-dev.txt -o requirements-build.txt pyproject.toml

clean: ## Remove the virtual environment, caches and build products; databases stay
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
