# The menu. `make` alone lists it; CI runs what a person runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PYTEST := $(BIN)/python -m pytest
# Containers often set it. Then each process that a test starts compiles everything again, and pytest
# its 250 files: ten of the hundred seconds of `make check`.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := menu
.PHONY: menu setup run test check fmt lint bench docs new clean test-clients client-libraries servers

menu: ## list what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

setup: $(READY) ## virtual environment with locked dependencies

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Trunkline needs Python 3.11 or later") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $(READY)

run: $(READY) ## a node, a demo workspace, a sender and a receiver: see events flow
	$(BIN)/python examples/demo/run.py

check: $(READY) ## the everyday loop: style, types, layers, fast tests
	$(MAKE) --no-print-directory lint
	$(PYTEST) -q -n 2 -m "not slow and not clients" tests

lint: $(READY)
	$(BIN)/ruff format --check trunkline tests bench examples docs sdks
	$(BIN)/ruff check trunkline tests bench examples docs sdks
	$(BIN)/basedpyright
	$(BIN)/lint-imports

test: $(READY) client-libraries servers lint ## everything from nothing, then the whole suite
	$(PYTEST) -q -n 2 -m "not slow and not clients" tests
	$(PYTEST) -q -n 2 --dist loadfile -m "slow and not clients and not alone" tests
	$(PYTEST) -m "clients or (slow and alone)" tests # whole nodes, one after the other

client-libraries: $(READY) # what is missing here is said, and its tests say so again; under CI it is a failure
	@$(BIN)/python -m tests.support.client_libraries
	@$(BIN)/python -m tests.support.browser

servers: $(READY) # Kafka, PostgreSQL and the others that channels are tested against: the same
	@$(BIN)/python -m tests.support.servers.install
	@$(BIN)/python -m tests.support.servers.install_go

test-clients: $(READY) client-libraries ## unmodified client libraries against a real node
	$(PYTEST) -m clients tests/clients

bench: $(READY) ## the workloads of docs/guide/performance.md, on loopback
	$(BIN)/python -m bench

docs: $(READY) ## make docs/reference again
	$(BIN)/python docs/generate.py

fmt: $(READY) ## format the code
	$(BIN)/ruff format trunkline tests bench examples docs sdks
	$(BIN)/ruff check --fix --quiet trunkline tests bench examples docs sdks

new: $(READY) ## how to add a component
	@echo "A destination kind is one file in trunkline/destinations/; copy webhook.py and read trunkline/kit/destination.py."
	@echo "Its contract test, its page in docs/reference and its settings in the workspace file come by themselves."

clean: ## remove what make made
	rm -rf $(VENV) .cache tests/clients/node/node_modules build dist *.egg-info
