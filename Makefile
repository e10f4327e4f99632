# Everything a person does with this repository. `make help` lists it.
#
# Each target sets up what it needs: a virtual environment in .venv, the dependencies, and the compiled data path.

PYTHON ?= python3
BIN := .venv/bin
SOURCES := $(shell find colo_proxy -name '*.pyx' -o -name '*.pxd')
PIP := PYTHONWARNINGS='ignore:Editable installation' $(BIN)/python -m pip install --disable-pip-version-check --no-compile
LAB := netns-lab/colo-lab

.DEFAULT_GOAL := help
.PHONY: help build demo vm-demo vm-bench bench peers reference dashboard prometheus etcd docs test lint fuzz search lab lab-up lab-down check clean

help:  ## show this
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: .venv/.built .venv/.dev  ## set up the virtual environment with what developers need, and compile the data path

# `make demo` needs the first three of these; only developers need the fourth.
.venv/.tools: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "colo-proxy needs Python 3.11 or newer as $(PYTHON): install it, or run make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo "$(PYTHON) has no venv module: install it (Debian: apt install python3-venv)"; exit 1; }
	@$(PYTHON) -c 'import sysconfig, os, sys; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	  { echo "the C headers of $(PYTHON) are missing: install them (Debian: apt install python3-dev)"; exit 1; }
	@command -v $${CC:-cc} >/dev/null || { echo "there is no C compiler: install one (Debian: apt install gcc)"; exit 1; }
	@echo "setting up .venv: Cython and setuptools (once)"
	@test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	@$(PIP) --quiet 'setuptools>=77' 'Cython>=3.2,<3.4'
	@touch $@

.venv/.built: .venv/.tools setup.py join_sources.py $(SOURCES)
	@echo "compiling the data path (about a minute)"
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

.venv/.ready: pyproject.toml | .venv/.built
	@echo "installing colo-proxy and what it needs into .venv (once)"
	@$(PIP) --no-build-isolation --editable .
	@echo "$(CURDIR)/netns-lab" > "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/netns-lab.pth"
	@touch $@

.venv/.dev: .venv/.ready
	@echo "installing what the tests and make lint need into .venv (once)"
	@$(PIP) --quiet --no-build-isolation --editable '.[dev]'
	@touch $@

lab: .venv/.ready .venv/.built

demo: lab  ## see it work: a pair of replicas in network namespaces, in a minute
	@$(LAB) demo

vm-demo: lab  ## a real pair of QEMUs, its PVM killed under a client's download (root; 500 MB of cache)
	@$(BIN)/python -m colo_vm.demo

vm-bench: build  ## docs/peers.md: download, latency and failover of a real pair, with QEMU's own proxy and with ours
	@$(BIN)/python -m bench.vm

bench: build  ## measure speed, latency and memory beside QEMU and beside ceilings: bench/results/ (ten minutes)
	@$(BIN)/python -m bench

peers: build  ## docs/peers.md: the sequences on which comparators go wrong, given to QEMU's and to ours
	@$(BIN)/python -m tests.peers.table

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

etcd: .cache/etcd/usr/bin/etcd  ## Debian's etcd for the tests, into .cache; nothing is installed

.cache/etcd/usr/bin/etcd:
	@command -v apt-get >/dev/null || { echo "there is no apt-get: install etcd yourself"; exit 1; }
	@mkdir -p .cache/etcd
	@cd .cache/etcd && apt-get download -qq -o APT::Sandbox::User=root etcd-server && dpkg -x etcd-server_*.deb . && rm etcd-server_*.deb

docs: .venv/.docs  ## these pages as HTML, into build/docs
	@$(BIN)/sphinx-build -q -W --keep-going -b html docs build/docs
	@echo "build/docs/index.html"

.venv/.docs: .venv/.dev docs/requirements.txt
	@$(PIP) --quiet -r docs/requirements.txt
	@touch $@

test: build  ## all tests; those that need root or network namespaces say so if they cannot run
	@$(BIN)/python -m pytest

lint: build  ## ruff, mypy (strict), cython-lint: of everything, tests and lab too
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PATH="$(CURDIR)/$(BIN):$$PATH" cython-lint colo_proxy tests/fuzz

fuzz: build  ## properties and coverage-guided fuzzing for longer: make fuzz EXAMPLES=10000 FUZZ_SECONDS=600
	@PYTHONPATH=tests $(BIN)/python -m fuzz.run --seconds $(or $(FUZZ_SECONDS),600)
	@seed=$(or $(SEED),$$(date +%s)); each=$$((($(or $(EXAMPLES),10000) + 1) / 2)); processes=; \
	  for seed in $$seed $$((seed + 1)); do \
	    echo "$$each conversations of SEED=$$seed"; \
	    HYPOTHESIS_PROFILE=fuzz EXAMPLES=$$each $(BIN)/python -m pytest tests/property \
	      --hypothesis-seed=$$seed --hypothesis-show-statistics --timeout 0 & processes="$$processes $$!"; \
	  done; \
	  for process in $$processes; do wait $$process || failed=1; done; exit $${failed:-0}

search: build  ## the right to speak, searched to larger bounds than the tests do: long, and hungry for memory
	@PYTHONPATH=.:tests $(BIN)/python -m search.run

lab-up: lab  ## start a lab and leave it running, with its addresses
	@$(LAB) up

lab-down: lab  ## stop it
	@$(LAB) down

check: lint docs test  ## what CI runs

clean:  ## remove what was built
	rm -rf .venv build dist *.egg-info
	find colo_proxy \( -name '*.so' -o -name '*.c' \) -delete
