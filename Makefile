# The few words of this project.  PYTHON is what the environment is made from: 3.11 or later.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.made

.DEFAULT_GOAL := help
.PHONY: help setup run test lint types rows docs coverage model hostile bench conformance interop clean

help:  ## what there is
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(STAMP)  ## an environment in .venv, with the program .venv/bin/wasmhold

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

run: setup  ## a registry on 127.0.0.1:5000
	$(BIN)/wasmhold serve

test: setup  ## all tests that need nothing but this environment
	$(BIN)/python -m pytest -q -n auto

lint: setup  ## style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup  ## strict types
	$(BIN)/mypy

rows: setup  ## requirements that no test names; fails when there are any
	$(BIN)/python tests/rows.py --strict

docs: setup  ## the table of options in docs/configuration.md
	$(BIN)/python -m tests.options_page

coverage: setup  ## lines and branches of the pure part; fails below 95 %
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -p no:xdist tests/oci tests/wasm tests/artifact tests/package tests/ports tests/protocol tests/registry tests/faults -k "not granian and not uvicorn"
	$(BIN)/coverage report --fail-under=95 --include='src/wasmhold/oci/*,src/wasmhold/wasm/*,src/wasmhold/artifact/*,src/wasmhold/package/*,src/wasmhold/semver.py,src/wasmhold/ports/*,src/wasmhold/protocol/*,src/wasmhold/registry/*,src/wasmhold/faults/*'

model: setup  ## the store's protocol: 300,000 random walks, every bounded interleaving, each guard removed
	$(BIN)/python -m tests.model walks 300000
	$(BIN)/python -m tests.model exhaustive
	$(BIN)/python -m tests.model guards

hostile: setup  ## 10,000 requests of a fuzzer, with one worker and with two, beside clients that are served
	$(BIN)/python -m tests.servers.hostile 10000 1 1
	$(BIN)/python -m tests.servers.hostile 10000 2 2

bench: setup  ## figures beside other programs, where they are on PATH
	$(BIN)/python bench/manifest_get.py
	$(BIN)/python bench/blobs.py
	$(BIN)/python bench/directory.py
	$(BIN)/python bench/tags.py
	$(BIN)/python bench/collection.py
	$(BIN)/python bench/login.py
	$(BIN)/python bench/tls.py
	$(BIN)/python bench/sizing.py
	$(BIN)/python bench/client.py
	$(BIN)/python bench/caching.py
	$(BIN)/python bench/start.py

conformance: setup  ## the OCI conformance suite, where its program `conformance` is on PATH
	$(BIN)/python -m pytest -q -rs tests/peers/test_conformance.py

interop: setup  ## oras, crane, regctl, skopeo, wkg, where they are on PATH
	$(BIN)/python -m pytest -q -rs tests/peers

clean:  ## what this file makes
	rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache
