# Everything a person does with this repository. `make help` lists it.
#
# Each target sets up what it needs: a virtual environment in .venv, the dependencies, and the compiled data path.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find colo_proxy -name '*.pyx' -o -name '*.pxd')
LAB := PYTHONPATH=netns-lab $(BIN)/python -m colo_lab

.DEFAULT_GOAL := help
.PHONY: help build demo vm-demo vm-bench bench peers reference dashboard prometheus docs test lint fuzz lab-up lab-down check clean

help:  ## show this
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: .venv/.built  ## set up the virtual environment and compile the data path

.venv/.ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "colo-proxy needs Python 3.11 or newer as $(PYTHON): install it, or say make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module: install it (Debian: apt install python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	  { echo "the C headers of $(PYTHON) are missing: install them (Debian: apt install python3-dev)"; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { echo "there is no C compiler: install one (Debian: apt install gcc)"; exit 1; }
	@echo "setting up .venv (once, about a minute)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip 'setuptools>=77' 'Cython>=3.2,<3.4' wheel
	@PYTHONWARNINGS='ignore:Editable installation' \
	  $(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[dev]'
	@touch $@

.venv/.built: .venv/.ready setup.py $(SOURCES)
	@echo "compiling the data path"
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

demo: build  ## see it work: a pair of replicas in network namespaces, in a minute
	@$(LAB) demo

vm-demo: build  ## a real pair of QEMUs, its PVM killed under a client's download (root; 500 MB of cache)
	@PYTHONPATH=netns-lab $(BIN)/python -m colo_vm.demo

vm-bench: build  ## docs/peers.md: download, latency and failover of a real pair, with QEMU's own proxy and with ours
	@PYTHONPATH=netns-lab $(BIN)/python -m bench.vm

bench: build  ## measure speed, latency and memory beside QEMU and beside ceilings: bench/results/ (ten minutes)
	@PYTHONPATH=netns-lab $(BIN)/python -m bench

peers: build  ## docs/peers.md: the sequences on which comparators go wrong, given to QEMU's and to ours
	@PYTHONPATH=netns-lab $(BIN)/python -m tests.peers.table

reference: build  ## what is made from the code: parts of docs/, the manual page
	@$(BIN)/python -m docs.reference
	@$(BIN)/python -m docs.manpage
	@$(BIN)/python -m docs.pictures

dashboard: build  ## grafana/dashboards/colo-proxy.json, from grafana/build.py
	@$(BIN)/python -m grafana.build

prometheus: .cache/prometheus/usr/bin/prometheus  ## Debian's Prometheus for the tests, into .cache; nothing is installed

.cache/prometheus/usr/bin/prometheus:
	@command -v apt-get >/dev/null || { echo "there is no apt-get: install prometheus and promtool yourself"; exit 1; }
	@mkdir -p .cache/prometheus
	@cd .cache/prometheus && apt-get download -qq -o APT::Sandbox::User=root prometheus && dpkg -x prometheus_*.deb . && rm prometheus_*.deb

docs: .venv/.docs  ## these pages as HTML, into build/docs
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

.venv/.docs: .venv/.ready docs/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -r docs/requirements.txt
	@touch $@

test: build  ## all tests; those that need root or network namespaces say so if they cannot run
	@$(BIN)/python -m pytest

lint: build  ## ruff, mypy (strict), cython-lint
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint colo_proxy

fuzz: build  ## properties and coverage-guided fuzzing for longer: make fuzz EXAMPLES=10000 FUZZ_SECONDS=600
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run --seconds $(or $(FUZZ_SECONDS),600)
	@seed=$(or $(SEED),$$(date +%s)); echo "the conversations of SEED=$$seed"; \
	  HYPOTHESIS_PROFILE=fuzz EXAMPLES=$(or $(EXAMPLES),10000) $(BIN)/python -m pytest tests/property \
	    --hypothesis-seed=$$seed --hypothesis-show-statistics --timeout 0

lab-up: build  ## start a lab and leave it running, with its addresses
	@$(LAB) up

lab-down: build  ## stop it
	@$(LAB) down

check: lint docs test  ## what CI runs

clean:  ## remove what was built
	rm -rf .venv build dist *.egg-info
	find colo_proxy \( -name '*.so' -o -name '*.c' \) -delete
