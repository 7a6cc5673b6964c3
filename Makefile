# haikud: `make demo` shows it, `make test` tests it, `make check` is what CI runs.
# Everything is installed into .venv; a bare machine with Python 3.11 (venv, pip), git and make is enough.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Installed again when pyproject.toml says something new, and not merely when it was touched.
KEY := $(shell cksum < pyproject.toml | cut -d ' ' -f 1)
READY := $(VENV)/.ready-$(KEY)
READY_DEV := $(VENV)/.ready-dev-$(KEY)
READY_BENCH := $(VENV)/.ready-bench-$(KEY)

# Test processes. Many tests wait for daemons and agents: three processes keep two cores busy.
WORKERS ?= 3

# `make bench QUICK=1`: small numbers, to see that it works; docs/ stays as it is. `make bench ALL=1`: those benchmarks
# too that no goal rests on.
BENCH := $(if $(QUICK),--quick) $(if $(ALL),--all)
FIGURES := build/bench$(if $(QUICK),-quick)

.PHONY: help demo test bench check storm crash power-cut full-disk format schemas clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      show it all once: no key, no network"
	@echo "make test      all tests"
	@echo "make check     what CI runs: lint, format, types, schemas, tests"
	@echo "make bench     measure it all, about ten minutes, and write docs/performance.md; QUICK=1: a short run"
	@echo "make storm     the kill storm: 300 tasks, 300 kills, about 10 minutes"
	@echo "make crash     kill daemon and runners at every system call that changes something: an hour, as root on Linux"
	@echo "make format    format the code"
	@echo "make schemas   write schemas/ from the contracts"
	@echo "make power-cut cut the power at random moments on ext4, xfs and btrfs (root; minutes)"
	@echo "make full-disk fill the disk at every step (root; minutes)"
	@echo "make clean     remove .venv and what the tools left"

demo: $(READY)
	@$(BIN)/haikud demo

test: $(READY_DEV)
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

check: $(READY_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/haikud schema --check schemas
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

bench: $(READY_BENCH)
	@for tool in tsp:task-spooler nq:nq; do command -v "$${tool%:*}" >/dev/null || \
	  echo "no $${tool%:*}: it will not be measured; on Debian: apt-get install $${tool#*:}" >&2; done
	@$(BIN)/python -m benchmarks.every $(BENCH) --into $(FIGURES); code=$$?; \
	  $(BIN)/python -m benchmarks.report --from $(FIGURES) --into $(if $(QUICK),$(FIGURES),docs) && exit $$code

storm: $(READY_DEV)
	@$(BIN)/python -m tests.crash.storm

crash: $(READY_DEV)
	$(BIN)/python -m tests.crash.walk --parallel 2

format: $(READY_DEV)
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

schemas: $(READY)
	$(BIN)/haikud schema schemas

power-cut: $(READY_DEV)
	@$(BIN)/python -m tests.crash.power_cut

full-disk: $(READY_DEV)
	@$(BIN)/python -m tests.crash.full_disk

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf daemon/*.egg-info

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "haikud needs Python 3.11 or newer; name one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "python's venv module is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }

$(READY): | $(BIN)/python
	@echo "installing haikud into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@rm -f $(VENV)/.ready-* && touch $@

$(READY_DEV): | $(BIN)/python
	@echo "installing haikud and the test tools into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@rm -f $(VENV)/.ready-* && touch $(READY) $@

$(READY_BENCH): | $(BIN)/python
	@echo "installing haikud and what the benchmarks compare with into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@rm -f $(VENV)/.ready-* && touch $(READY) $(READY_DEV) $@
