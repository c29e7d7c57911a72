# Needs Python 3.11 or newer, make, and access to the package registries. Everything else is installed into .venv.

export PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(VENV)/.run
TEST := $(VENV)/.test
CONFIG ?=
ARGS ?=
PROTOTYPE ?=
CLIENTS ?=
# The number of tests that run at the same time. It exceeds the number of cores because most tests wait for processes: four workers
# left two cores half idle. A few chosen tests start faster without worker processes.
WORKERS ?= $(if $(ARGS),0,6)
SLOWEST := --durations=15 --durations-min=3
# Without bytecode files, every process that a test starts would compile all modules again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup run test quick soak check format bench figures drawing abuse screenshots clients build lock lock-check upgrade clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## */  make \1	/' | expand -t 20

setup: $(TEST) ## Install everything that tests and linters need into .venv

$(RUN): requirements.txt requirements-build.txt requirements-uv.txt pyproject.toml scripts/setup
	@scripts/setup run
	@touch $@

$(TEST): requirements-dev.txt requirements-uv.txt pyproject.toml scripts/setup
	@scripts/setup test
	@touch $@ $(RUN)

run: $(RUN) ## Run the server; CONFIG=file.toml selects another configuration file
	@$(if $(CONFIG),HOOKCHAIN_CONFIG="$(CONFIG)",) exec $(BIN)/hookchain serve $(ARGS)

test: $(TEST) ## Run the tests; ARGS="-k name" selects some of them
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(SLOWEST) $(ARGS)

# Three workers left half of two cores idle: these tests wait too, and a worker costs three seconds of processor.
quick: $(TEST) ## Run the tests that start no other process (no server, browser or PostgreSQL)
	@$(BIN)/python -m pytest -n $(if $(ARGS),0,5) --dist worksteal -m "not soak and not process" $(ARGS)

soak: $(TEST) ## Run the long tests, with minutes of faults and load
	@$(BIN)/python -m pytest -m soak --timeout 3600 $(ARGS)

check: $(TEST) ## Check lint, formatting, types, dead code and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/vulture
	@$(BIN)/lint-imports --no-cache

format: $(TEST) ## Format the code and apply the linter's automatic fixes
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(TEST) ## Measure beside other programs; PROTOTYPE=path adds one, ARGS=--quick compares with committed figures
	@$(BIN)/python -m benchmarks $(if $(PROTOTYPE),--prototype "$(PROTOTYPE)",) $(ARGS)

figures: $(TEST) ## Print sizes and complexity of the code; OF=path measures another checkout
	@$(BIN)/python -m benchmarks.figures "$(or $(OF),.)"

drawing: $(TEST) ## Update the import diagram in docs/explanation/architecture.md
	@$(BIN)/python -m tests.architecture

abuse: $(TEST) ## Run all attacks against a server and update the table in docs/explanation/faults.md
	@$(BIN)/python -m tests.abuse $(ARGS)

screenshots: $(TEST) ## Update the screenshots in docs/ with the sandbox (needs Chromium)
	@$(BIN)/python -m tests.screenshots docs/screenshots

clients: $(TEST) ## Run real clients of others, in the folder CLIENTS, against the gateway (CONTRIBUTING.md says how to get them)
	@CLIENTS="$(abspath $(CLIENTS))" $(BIN)/python -m pytest -n 2 --dist worksteal $(SLOWEST) tests/clients $(ARGS)

build: $(TEST) ## Build the wheel and the sdist in dist/ reproducibly
	@scripts/build

lock: ## Update the lock files; keeps locked versions where possible
	@scripts/lock

lock-check: $(TEST) ## Check that the lock files are current and install on every Python and platform (needs the network)
	@scripts/lock-check

upgrade: ## Update the lock files to the newest release of every package
	@scripts/lock --upgrade

clean: ## Remove the virtual environment, caches and build products; keeps databases
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
