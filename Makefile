# `make` lists the targets. Everything they need goes into .venv, from locked files with hashes.

VENV  := .venv
BIN   := $(VENV)/bin
QUICK := not servers and not systemd and not containerd and not kubelet and not image \
         and not crash

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-quick crash crash-long lint fix bench matrix servers proto lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.run ## rotate a small control plane here and now: needs Python 3.11, no root, no Vault
	@$(BIN)/certrotd demo

test: lint servers ## everything: linters, types, layers and all tests, on real servers built once
	$(BIN)/python -m pytest

test-quick: $(VENV)/.dev ## the tests that need no server builds
	$(BIN)/python -m pytest -m "$(QUICK)"

crash: $(VENV)/.dev ## kill, broken disks, power cuts, random lives and mutants, in one table; half an hour
	$(BIN)/python -m tests.crash

crash-long: $(VENV)/.dev ## the same at every point, and 100,000 steps of random lives; hours
	$(BIN)/python -m tests.crash --long

lint: $(VENV)/.dev ## format, lint, types, layers; changes nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.dev ## format, and mend what ruff can mend
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(VENV)/.dev ## the numbers, as ratios against peers measured in the same run
	@$(MAKE) --no-print-directory VENV=$(VENV)/run $(VENV)/run/.run
	$(BIN)/python -m bench

matrix: servers ## measure the reload matrix on real servers: docs/reload-matrix.md; a quarter of an hour
	$(BIN)/python -m tests.matrix docs/reload-matrix.md

servers: $(VENV)/.dev ## build Vault, etcd and Kubernetes for the tests
	$(BIN)/python -m tests.testbed.build

proto: $(VENV)/.dev ## generate the code for the messages of the container runtime and of etcd
	$(BIN)/python -m grpc_tools.protoc -I. --python_out=. --pyi_out=. \
	    certrotd/adapters/cri/runtime.proto certrotd/adapters/probes/etcd/etcd.proto

lock: ## pin dependencies anew after a change of pyproject.toml; needs uv
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    -o requirements/run.txt pyproject.toml
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --group build -c requirements/run.txt -o requirements/build.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	    --group dev -c requirements/run.txt -c requirements/build.txt \
	    -o requirements/dev.txt pyproject.toml

clean: ## remove the environment and all caches of this checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say which set is installed; a changed lock installs anew.

PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet

$(VENV)/.run: pyproject.toml requirements/run.txt requirements/build.txt $(VENV)/.python
	@echo "Installing what certrotd needs into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements/run.txt -r requirements/build.txt
	@$(PIP) --no-deps --no-build-isolation --no-index --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	@echo "Installing what its tests need into $(VENV) ..."
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.python:
	@for python in $(PYTHON) python3.11 python3 python3.14 python3.13 python3.12; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	        echo "Making $(VENV) with $$($$python --version) ..."; \
	        if $$python -m venv --clear $(VENV); then touch $@; exit 0; fi; \
	        rm -rf $(VENV); \
	        echo "$$python cannot make virtual environments; on Debian: apt install python3-venv" >&2; \
	        exit 1; \
	    fi; \
	done; \
	echo "certrotd needs Python 3.11 or newer; name one with 'make PYTHON=/path/to/python3 ...'" >&2; \
	exit 1
