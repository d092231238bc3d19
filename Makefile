# Every target does its own set-up: a virtual environment in .venv, filled by pip the first time.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?=
VENV := .venv
READY := $(VENV)/.ready
DOCS_READY := $(VENV)/.docs-ready
RUN := $(VENV)/bin/python
SEEDS ?= 1000
DEVICES ?= 50
CUTS ?= 30
PYTHONS ?= 3.11 3.12 3.13
# tests run in several processes, each of which may load TensorFlow; WORKERS= runs them in one
WORKERS ?= -n auto --maxprocesses 4 --dist worksteal
# without .pyc files each program that a test starts would compile ours anew, and each process of tests all of them
unexport PYTHONDONTWRITEBYTECODE
# backbones are proven on tflite-runtime too, once `make tflite-env` has made its environment
export HEADWAY_TFLITE_PYTHON ?= $(abspath $(wildcard .cache/tflite-runtime/bin/python))

.PHONY: help demo fleet-demo case-study test test-all test-second simulate check fuzz tflite-env clean nightly slow coverage docs constraints

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

demo: $(READY) ## the whole loop on real smartwatch data: train, convert, ten devices, a fleet head; writes demo-report/
	@$(RUN) -m demo

fleet-demo: $(READY) ## fifty real agents and the page, one command; DEVICES=50; Ctrl-C ends it and leaves nothing
	@exec $(RUN) -m demo.live --devices $(DEVICES)

case-study: $(READY) ## the textbook case of incremental learning, ten rounds of ten samples; writes case-study-report/
	@$(RUN) -m benchmarks.case_study

.PHONY: recipes
recipes: $(READY) ## one example for each field, on real data; RECIPES="speech text", DATA=FOLDER; writes recipes-report/
	@$(RUN) -m recipes $(RECIPES) $(if $(DATA),--data $(DATA))

test: $(READY) ## unit, contract, architecture, real-broker and system tests
	@$(RUN) -m pytest $(WORKERS)

test-all: ## the tests on each Python of PYTHONS (3.11 3.12 3.13) that is installed, in environments of their own
	@scripts/test-all.sh $(PYTHONS)

test-second: ## the tests that need no TensorFlow on a second Python of PYTHONS; passes where only one is installed
	@scripts/test-all.sh --second $(PYTHONS)

# in an environment that scripts/test-all.sh has made; what is left out here converts models or takes its time
.PHONY: test-light
test-light:
	@$(RUN) -m pytest -q $(WORKERS) $(patsubst %,--ignore=tests/%,converter benchmarks system crash simulation network)

# the oldest SQLAlchemy that is supported, in a folder that comes before the environment's own
.PHONY: test-sqlalchemy
test-sqlalchemy: $(READY) ## the stores' tests on SQLAlchemy 2.0, which the lock file does not name
	@PIP_CONSTRAINT= $(RUN) -m pip install -q --upgrade --target .cache/sqlalchemy-2.0 "sqlalchemy==2.0.*"
	@PYTHONPATH=.cache/sqlalchemy-2.0 $(RUN) -m pytest -q -n 0 $(addprefix tests/aggregator/test_,store.py collections.py migrations.py serving.py kept_sums.py)

simulate: $(READY) ## SEEDS (1000) seeds of the simulated fleet, about a second of one core each
	@$(RUN) -m tests.simulation --runs $(SEEDS)

check: $(READY) ## lint and types; whether docs/openapi.json and headway_client say what the API does
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) -m scripts.api --check
	@$(RUN) -m scripts.man_pages --check

fuzz: $(READY) ## mutated bundles, messages, spool files and saved state for FUZZ_SECONDS (60): only the named errors may come out
	@$(RUN) -m tests.fuzz

tflite-env: ## an environment of tflite-runtime 2.14 (Python 3.11, numpy<2), for proofs and benchmarks on it
	@PYTHON="$(PYTHON)" scripts/tflite-env.sh

.PHONY: benchmarks
benchmarks: $(READY) ## docs/benchmarks.md: ours beside its peers, half an hour with nothing else running; NAMES="ingest restart" for some of them; PEERS=PYTHON with torch, river, numba
	@PEERS="$(PEERS)" $(RUN) -m scripts.run_benchmarks $(NAMES)

.PHONY: flower-vectors
flower-vectors: ## tests/golden/strategies/flower.json anew, by Flower 1.42.0 in an environment of its own
	python3 -m venv .cache/flower && .cache/flower/bin/pip install -q flwr==1.42.0
	.cache/flower/bin/python -m scripts.flower_vectors

.PHONY: configuration
configuration: $(READY) ## docs/configuration.md, docs/reference/commands.md and the examples in systemd/, from what the programs declare
	@$(RUN) -m scripts.configuration
	@$(RUN) -m scripts.commands
	@$(RUN) -m scripts.man_pages

.PHONY: api
api: $(READY) ## docs/openapi.json and the typed client headway_client, from the API as it is declared
	@$(RUN) -m scripts.api

.PHONY: screenshots
screenshots: $(READY) ## the page at 1280 and 390 pixels, dark and light, into build/screenshots (needs chromium)
	@$(RUN) -m scripts.screenshots

.PHONY: crash network
crash: $(READY) ## 300 faults while labels flow, bundles roll out and devices join: kills, copies, set-backs, corrections; four minutes
	@$(RUN) -m tests.crash

network: $(READY) ## loss, partition, rate and delay between real programs, in network namespaces (root; iproute2, nftables)
	@$(RUN) -m pytest -m "slow or not slow" tests/network

.PHONY: system-test powercut
system-test: $(READY) ## our packages on real Debian 12 and 13 with their own systemd, in namespaces (root; mmdebstrap); SUITES=bookworm
	@$(RUN) -m pytest -m slow -s tests/realsystem

powercut: $(READY) ## CUTS (30) power cuts to a virtual machine while it learns and syncs (QEMU without KVM; root; mmdebstrap)
	@$(RUN) -m tests.realsystem.powercut amd64 --cuts $(CUTS)
	@$(RUN) -m tests.realsystem.powercut arm64 --cuts $(CUTS)
	@$(RUN) -m tests.realsystem.powercut amd64 --cuts 3 --nosync --must-fail
	@$(RUN) -m tests.realsystem.powercut arm64 --cuts 3 --nosync --must-fail

.PHONY: matrix
matrix: $(READY) ## the device's tests with each runtime: tflite-runtime, LiteRT (Python 3.11, 3.13), onnxruntime; without TensorFlow
	@WORKERS="$(WORKERS)" $(RUN) -m scripts.matrix

slow: $(READY) ## the slow tests that make test leaves out (those of make network and make system-test excepted)
	@$(RUN) -m pytest -m slow --ignore tests/network --ignore tests/realsystem --ignore tests/cluster

.PHONY: ray
ray: $(READY) ## the engine on a real Ray cluster of two nodes on this machine, one of which is killed; installs the extra ray
	@$(RUN) -m pip install -q ".[ray]"
	@$(RUN) -m pytest -m slow tests/cluster

nightly: ## what is too long for every push, one after the other
	@$(MAKE) --no-print-directory --keep-going simulate crash network fuzz test-sqlalchemy ray slow system-test powercut matrix

.PHONY: deb combinations
combinations: $(READY) ## docs/reference/combinations.md: which Python, runtime and system go together
	@$(RUN) -m scripts.combinations

deb: $(READY) ## Debian packages of the agent and the server (Debian 12 and 13, amd64 and arm64) into build/deb
	@$(RUN) -m scripts.deb

coverage: $(READY) ## lines and branches of the five packages that make test runs; a figure, not a gate
	@$(RUN) -m pytest $(WORKERS) -q --cov --cov-report=term:skip-covered

docs: $(DOCS_READY) ## the documentation as a site in build/docs; warnings are errors
	@$(RUN) -m sphinx --quiet --fail-on-warning --keep-going --fresh-env -b html -c docs -d build/doctrees . build/docs
	@echo "build/docs/index.html"

constraints: $(DOCS_READY) ## constraints.txt from what .venv holds now
	@{ grep '^#' constraints.txt; $(RUN) -m pip freeze --exclude-editable; } > constraints.new
	@mv constraints.new constraints.txt

clean: ## remove the virtual environment, caches and reports
	rm -rf $(VENV) .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage demo-report case-study-report recipes-report build *.egg-info

$(READY): pyproject.toml scripts/setup.sh
	@PYTHON="$(PYTHON)" scripts/setup.sh "$(VENV)"

$(DOCS_READY): $(READY)
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-input -e '.[docs]'
	@touch $@
