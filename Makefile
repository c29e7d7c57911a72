# Needs Python 3.11 or newer, make and the package registries; everything else goes into .venv.

export PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run
TEST := $(VENV)/.test
CONFIG ?=
ARGS ?=
# How many tests run at once: more than there are cores, since most tests wait for processes. A chosen few start faster without
# worker processes.
WORKERS ?= $(if $(ARGS),0,6)
SLOWEST := --durations=15 --durations-min=3
# Without compiled modules, every process that a test starts would compile them all again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test quick soak check format bench screenshots build lock lock-check upgrade clean

help: ## Print this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1	/' | expand -t 20

setup: $(TEST) ## Install everything that tests and linters need into .venv

$(RUN): requirements.txt requirements-build.txt requirements-uv.txt pyproject.toml scripts/setup
	@scripts/setup run
	@touch $@

$(TEST): requirements-dev.txt requirements-uv.txt pyproject.toml scripts/setup
	@scripts/setup test
	@touch $@ $(RUN)

run: $(RUN) ## Run the server; CONFIG=file.toml picks another configuration
	@$(if $(CONFIG),HOOKCHAIN_CONFIG="$(CONFIG)",) exec $(BIN)/hookchain serve $(ARGS)

test: $(TEST) ## Run the tests; ARGS="-k name" chooses some
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(SLOWEST) $(ARGS)

quick: $(TEST) ## Run the tests that need no other process: no server, no browser, no PostgreSQL
	@$(BIN)/python -m pytest -n $(if $(ARGS),0,4) --dist worksteal -m "not soak and not process" $(ARGS)

soak: $(TEST) ## Run the long tests: minutes of faults and load
	@$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

check: $(TEST) ## Check lint, formatting, types, and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(TEST) ## Format the code, and fix what the linter can fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(TEST) ## Measure ingest rate and chain latency
	@$(BIN)/python -m benchmarks $(ARGS)

screenshots: $(TEST) ## Retake the pictures in docs/ from the sandbox (needs Chromium)
	@$(BIN)/python -m tests.screenshots docs/screenshots

build: $(TEST) ## Build the wheel and the sdist in dist/, the same bytes each time
	@scripts/build

lock: ## Update the lock files; locked versions stay where possible
	@scripts/lock

lock-check: $(TEST) ## Check that the lock is up to date and installs on each Python and platform (needs the network)
	@scripts/lock-check

upgrade: ## Lock the newest release of every package
	@scripts/lock --upgrade

clean: ## Remove the virtual environment, caches and build products; databases stay
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
