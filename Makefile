# Needs Python >= 3.11 and make; everything else goes into .venv, installed from requirements/lock.txt.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
LOCKED := .venv/locked.stamp
READY := .venv/ready.stamp

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test lint type build lock clean

help:  ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1|/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s %s\n", $$1, $$2}'

demo: $(READY)  ## Certify and attack the shipped checkpoints, write report.html and report.json
	@$(BIN)/certify demo

test: $(READY)  ## Run the whole test suite
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses=2 --dist=loadgroup

lint: $(READY)  ## Check style and format with ruff
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

type: build  ## Type-check the built wheel, installed into build/installed, with pyright
	@rm -rf build/installed
	@$(PIP) install --no-deps --target build/installed dist/*.whl
	@$(BIN)/pyright

build: $(READY)  ## Build dist/: the sdist, and the wheel from it
	@rm -rf dist
	@$(BIN)/python -m build --no-isolation . > .venv/build.log 2>&1 || { cat .venv/build.log >&2; exit 1; }
	@ls dist/*

lock:  ## Renew requirements/lock.txt: what an empty environment resolves to today, torch apart
	@rm -rf build/lock
	@$(PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip --disable-pip-version-check -qq install --editable '.[dev,test]' setuptools "$$(grep '^torch==' requirements/lock.txt)"
	@{ grep '^#' requirements/lock.txt; \
	   build/lock/bin/python -m pip freeze --all --exclude-editable | sed 's/+.*//' | grep -vE '^(pip|triton|(cuda|nvidia)-.*)=='; } > build/lock.txt
	@mv build/lock.txt requirements/lock.txt

clean:  ## Remove the environment and everything that was built
	@rm -rf .venv build dist *.egg-info .hypothesis .pytest_cache .ruff_cache

# The environment is made anew when a pin changes; the package is installed again when its metadata changes.
$(LOCKED): requirements/lock.txt requirements/peers.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null || \
	  { echo "neurocert needs Python 3.11 or newer and $(PYTHON) is not: name one that is, as in: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Setting up .venv from requirements/lock.txt (once; torch is large)" >&2
	@$(PYTHON) -m venv --clear .venv
	@$(PIP) install --requirement requirements/lock.txt
	@$(PIP) install --no-deps --requirement requirements/peers.txt
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@
