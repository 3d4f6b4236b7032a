# Every target sets itself up, given Python 3.11 or newer and PyPI; a second run starts at once.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
VENV := .venv
BIN := $(VENV)/bin
EXAMPLES := $(shell find examples -name '*.py' 2>/dev/null | head -n 1 | cut -d/ -f1)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: check-form check-rules check-types check-typing check-imports check-dependencies
.PHONY: help demo mutations test chaos sim check format bench cover test-all-pythons clean

help:  ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | awk -F '\t' '{ printf "make %-18s %s\n", $$1, $$2 }'

demo: $(VENV)/.run  ## a workflow that is killed half way and resumes
	@$(BIN)/stepwell demo

test: $(VENV)/.dev  ## all tests
	$(BIN)/python -m pytest $(ARGS)

chaos: $(VENV)/.dev  ## real processes killed, stopped, out of disk, locked out: for about 20 minutes
	STEPWELL_CHAOS=long $(BIN)/python -m pytest tests/chaos -o faulthandler_timeout=3600 -s $(ARGS)

sim: $(VENV)/.run  ## the engine under 10,000 random seeds of faults (SEEDS=, FROM=), for a few minutes
	$(BIN)/stepwell sim --seeds $(SEEDS) $(if $(FROM),--from $(FROM)) $(ARGS)

SEEDS ?= 10000

mutations: $(VENV)/.dev  ## deliberate bugs of the engine, and whether the simulator finds them, for some minutes
	PYTHONPATH=. $(BIN)/python -m tests.mutations $(ARGS)

check: check-form check-rules check-types check-typing check-imports check-dependencies  ## all that is checked without running (-k: to the end)

check-form: $(VENV)/.dev
	$(BIN)/ruff format --check .

check-rules: $(VENV)/.dev
	$(BIN)/ruff check .

check-types: $(VENV)/.dev
	$(BIN)/mypy src/stepwell $(EXAMPLES)

check-typing: $(VENV)/.dev
	$(BIN)/python tests/house/typing_check.py

check-imports: $(VENV)/.dev
	PYTHONPATH=. $(BIN)/lint-imports --no-logo

check-dependencies: $(VENV)/.dev
	$(BIN)/deptry src

format: $(VENV)/.dev  ## put the code in form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only --quiet .

cover: $(VENV)/.dev  ## tests with branch coverage; all of model and engine is required
	$(BIN)/coverage run -m pytest -q $(ARGS)
	$(BIN)/coverage report
	$(BIN)/coverage report --include='src/stepwell/model/*,src/stepwell/engine/*' --fail-under=100

bench: $(VENV)/.bench  ## the benchmarks, beside their reference rows
	$(BIN)/python -m benchmarks $(ARGS)

test-all-pythons:  ## all tests under each Python of PYTHONS, each in a venv of its own
	for p in $(PYTHONS); do $(MAKE) test PYTHON=$$p VENV=.venv-$$($$p -c 'import sys; print("%d.%d" % sys.version_info[:2])') || exit 1; done

PYTHONS ?= $(shell for v in 11 12 13 14; do python3.$$v -c '' 2>/dev/null && echo python3.$$v; done)

clean:  ## remove what was made
	rm -rf $(VENV) .venv-* build dist .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (on Debian: apt install python3-venv). Name it with PYTHON=..." >&2; exit 1; }
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml
	$(PIP) --editable '.[client,server]'
	@touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	$(PIP) --editable '.[dev]'
	@touch $@ $(VENV)/.run

$(VENV)/.bench: $(VENV)/.made pyproject.toml
	$(PIP) --editable '.[bench]'
	@touch $@ $(VENV)/.run
