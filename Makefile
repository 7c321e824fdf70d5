# Two commands do everything on a fresh machine with Python 3.11 to 3.13, make and git:
#   make demo    the main job, shown
#   make test    the tests, in a few minutes
# `make help` lists the rest. PYTHON=python3.13 chooses another interpreter.

# The first interpreter that is new enough and can make environments. Under pyenv one that is
# installed but not selected answers to its full path only.
GIVEN := $(patsubst ~/%,$(HOME)/%,$(PYTHON))
PYTHONS := $(if $(GIVEN),"$(GIVEN)",python3 python3.13 python3.12 python3.11)
override PYTHON := $(or $(shell for name in $(PYTHONS); do \
  for python in "$$name" "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin/"$$name"; do \
  "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
  echo "$$python" && exit; done; done),$(GIVEN),python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
# A lock file is whole, so nothing is resolved. pip before 24 would: for an extra of a locked package
# it looks at the newest release too, and stops because the lock has no hash of that.
INSTALL := $(PIP) install --quiet --no-deps
PYTEST_ARGS ?= -q -n auto --dist worksteal
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-emit-find-links --no-header

# The environment is made anew where the interpreter's version or the checkout's place is another,
# since both stand in the files of an environment.
SHOW_VERSION := 'import sys; print("%d.%d" % sys.version_info[:2])'
VERSION := $(shell "$(PYTHON)" -c $(SHOW_VERSION) 2>/dev/null)
PLACE := $(shell pwd | cksum | cut -d ' ' -f 1)
LOCKED := $(VENV)/.locked-$(VERSION)-$(PLACE)
READY := $(VENV)/.ready-$(VERSION)-$(PLACE)
# Its interpreter may be gone, or replaced, with the files still in place.
ifneq ($(shell $(BIN)/python -c $(SHOW_VERSION) 2>/dev/null),$(VERSION))
.PHONY: $(LOCKED)
endif

.DEFAULT_GOAL := help

.PHONY: help
help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(LOCKED): requirements/dev.txt
	@[ -n "$(VERSION)" ] || { \
	  echo "make: no working '$(PYTHON)' here; install Python 3.11, 3.12 or 3.13, or say PYTHON=/path/to/python" >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $(PYTHON) is Python $(VERSION); Gangline needs 3.11 or newer: say PYTHON=python3.13" >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: $(PYTHON) cannot make environments; on Debian and Ubuntu: apt-get install python3-venv" >&2; \
	  exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info >= (3, 14))' || \
	  echo "make: $(PYTHON) is Python $(VERSION); Gangline is tested with 3.11 to 3.13" >&2
	@echo "make: setting up $(VENV) with Python $(VERSION); once, and it may take a minute"
	@# The interpreter below all environments, since PYTHON may stand in the one that goes. The stamps
	@# go first: what is left of an interrupted rm must not look ready.
	@base=$$("$(PYTHON)" -c 'import sys; print(sys._base_executable)') && \
	  rm -f $(VENV)/.*-* && rm -rf $(VENV) && "$$base" -m venv $(VENV)
	@$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@$(INSTALL) --no-build-isolation -e .
	@broken=$$($(PIP) check) || { echo "$$broken" >&2; exit 1; }
	@touch $@

.PHONY: setup
setup: $(READY) ## make .venv, with everything locked and checked by hash

.PHONY: demo
demo: $(READY) ## three daemons, a board, a kill and a forgery, shown
	@$(BIN)/gangline demo

.PHONY: test
test: $(READY) ## run the tests, but for those that are marked as slow
	$(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

.PHONY: test-all
test-all: $(READY) ## run every test, as CI does
	$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: scenarios
scenarios: $(READY) ## write the golden transcripts of tests/scenarios anew; then read the difference
	REWRITE_SCENARIOS=1 $(BIN)/python -m pytest -q -n auto tests/scenarios

SIM := $(BIN)/python -m tests.support.simulation

.PHONY: sim
sim: $(READY) ## clusters in one process; SEEDS=300 SEED=1 plays so many from there
	$(SIM) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) $(SIM_ARGS)

.PHONY: sim-roster
sim-roster: $(READY) ## histories of the roster over honest nodes alone; SEEDS=3000 SEED=1 plays so many
	$(SIM) --roster --no-planted --seeds $(or $(SEEDS),1000) $(if $(SEED),--seed $(SEED)) $(SIM_ARGS)

.PHONY: soak-sim
soak-sim: $(READY) ## the same with fresh seeds for MINUTES=120
	$(SIM) --minutes $(or $(MINUTES),120) --seed $(or $(SEED),$(shell date +%s)) $(SIM_ARGS)

.PHONY: bench
bench: $(READY) ## measure beside what it is compared with; nothing is asserted; takes minutes
	$(BIN)/python -m benchmarks

FUZZ := $(VENV)/.fuzz-$(VERSION)-$(PLACE)

$(FUZZ): $(READY) requirements/fuzz.txt
	@$(INSTALL) --require-hashes -r requirements/fuzz.txt
	@touch $@

.PHONY: fuzz
fuzz: $(FUZZ) ## feed the parsers what was never seen, guided by coverage; TARGET=hello SECONDS=60 (each)
	@$(BIN)/python -m tests.support.fuzz $(if $(TARGET),--target $(TARGET)) $(if $(SECONDS),--seconds $(SECONDS))

.PHONY: soak-store
soak-store: $(READY) ## kill daemons N=1000 times, cut the power, fail the disk, copy homes; SEED=1
	$(BIN)/python -m tests.support.soak $(if $(N),--kills $(N)) $(if $(SEED),--seed $(SEED))

.PHONY: soak-net
soak-net: $(READY) ## daemons on hosts of their own (root, Linux), a fault at a time for MINUTES=10
	$(BIN)/python -m tests.support.soak.net --minutes $(or $(MINUTES),10) --seed $(or $(SEED),$(shell date +%s))

.PHONY: attack
attack: $(READY) ## a hostile stranger, member and relay against three daemons at work; MINUTES=1 SEED=1 RECORDS=100000
	$(BIN)/python -m tests.support.attack --minutes $(or $(MINUTES),1) $(if $(SEED),--seed $(SEED)) $(if $(RECORDS),--records $(RECORDS))

.PHONY: coverage
coverage: $(READY) ## each core module by its own test module: lines and branches
	@$(BIN)/python -m tests.support.tools.own_coverage $(MODULES)

.PHONY: mutation
mutation: $(READY) ## break the core's rules on purpose, a change at a time; SAMPLE=20 a module, not all
	@$(BIN)/python -m tests.support.tools.mutation $(MODULES) $(if $(SAMPLE),--sample $(SAMPLE)) $(if $(SEED),--seed $(SEED))

.PHONY: check
check: $(READY) ## format, lint, types and the arrows between the packages
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: $(READY) ## format, and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: lock
lock: $(READY) ## write the lock files anew; LOCK_ARGS=--upgrade takes newer versions
	$(LOCK) $(LOCK_ARGS) --extra dev --output-file requirements/dev.txt pyproject.toml requirements/build.in
	$(LOCK) --constraint requirements/dev.txt --output-file requirements/run.txt pyproject.toml requirements/build.in
	$(LOCK) --constraint requirements/dev.txt --extra fuzz --output-file requirements/fuzz.txt pyproject.toml

.PHONY: clean
clean: ## remove what was made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage
	rm -rf build dist gangline.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
