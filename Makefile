# charloom's commands. `make help` lists them. They need Python 3.11 or newer, git and make, and no activated environment.
#
# The environment is in .venv. It is built from requirements.lock when first needed, and updated when the lock file
# changes. Tools are started as `python -m`, not by the scripts in .venv/bin: most contain the folder's absolute path and
# break when .venv is moved.

PYTHON ?= python3
ARGS ?=
SWEEP ?= preset=smoke optimizer.learning_rate=0.05,0.1 model.hidden_size=64,100

STAMP := .venv/installed-from-lock

# The stages in dvc.yaml call plain `python`. src is relative on purpose: an experiment that DVC runs in a copy of the tree
# imports the copy's code.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONPATH := src
export MLFLOW_DISABLE_TELEMETRY := true
# DVC's default is a folder shared by all users of the machine.
export DVC_SITE_CACHE_DIR := $(CURDIR)/.dvc/tmp/site-cache
unexport PYTHONHOME

# An environment whose interpreter is gone is rebuilt even if its stamp is fresh.
BROKEN := $(shell .venv/bin/python -c '' 2>/dev/null || echo broken)

.PHONY: help repro test torture lint audit bench ui serve sweep clean force
.DEFAULT_GOAL := help

help:
	@echo 'make repro   run the whole pipeline (dvc repro); only what changed is run again'
	@echo 'make test    run every test; make test ARGS="-k gradient -x" passes options to pytest'
	@echo 'make torture try to break every promise under fault; hours, and it goes on where it was interrupted'
	@echo 'make lint    ruff, mypy and import-linter'
	@echo 'make audit   look for known vulnerabilities in the locked packages; needs the network'
	@echo 'make bench   measure the speed, compared with other implementations'
	@echo 'make ui      open the MLflow UI on the recorded runs'
	@echo 'make serve   try a trained model on a page, and ask it through the MLflow API'
	@echo 'make sweep   train every combination of $(SWEEP)'
	@echo '             make sweep SWEEP="model=gru seed=1,2,3" for another'
	@echo 'make compare what the experiments of DVC differ in, as a table'
	@echo 'make clean   remove the caches of the tools; results, runs and .venv are kept'
	@echo
	@echo 'The first command builds .venv from requirements.lock with python3; PYTHON=python3.12 names another.'
	@echo 'To rebuild it, delete .venv.'

repro: environment
	@python -m dvc repro $(ARGS)
	@python docs/reference_figures.py
	@$(if $(ARGS),true,python -m charloom.summary) # ARGS may have run a part of the stages

# The tests of a file share what they prepare, so they stay in one process. Files begin by their names: by their numbers of
# tests, as xdist would have it, the longest ones come last.
test: environment
	@python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(ARGS)

torture: environment
	@python -m tests.torture $(ARGS)

lint: environment
	python -m ruff check
	python -m ruff format --check
	python -m mypy
	python .venv/bin/lint-imports

# In an environment of its own, which is thrown away: the lock file holds what charloom needs, not what looks at it.
audit:
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && "$(PYTHON)" -m venv "$$folder" && \
	    "$$folder/bin/python" -m pip install --quiet --disable-pip-version-check pip-audit && \
	    "$$folder/bin/python" -m pip_audit --require-hashes --disable-pip --requirement requirements.lock $(ARGS)

bench: environment
	@python benchmarks/bench.py $(ARGS)

ui: environment
	@python -m charloom.tracking $(ARGS)

serve: environment
	@python -m charloom.serve $(ARGS)

sweep: environment
	python -m charloom.experiment -m $(SWEEP) $(ARGS)

# DVC would show a column for every parameter, every file of the code and every folder of results.
compare: environment
	@python -m dvc exp show --md --only-changed --drop '^(artifacts|src|data)/|^(State|Executor|Created|smooth_loss)$$' $(ARGS)

clean:
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

# setuptools comes first, from the same lock file: packages without a wheel are then built with it, not with the newest.
$(STAMP): requirements.lock $(if $(BROKEN),force)
	@test ! -e .venv/unfinished && .venv/bin/python -c 'import pip' 2>/dev/null || { \
	    "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	        echo "charloom needs Python 3.11 or newer, found: $$("$(PYTHON)" --version 2>&1); try: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }; \
	    "$(PYTHON)" -m venv --clear .venv; }
	@echo 'Building the environment in .venv from requirements.lock; this takes a minute or two.'
	@touch .venv/unfinished
	@sed -n '/^setuptools==/,/[^\\]$$/p' requirements.lock > .venv/setuptools.lock
	@python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r .venv/setuptools.lock
	@python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --use-pep517 --no-build-isolation -r requirements.lock
	@mv .venv/unfinished $@ && touch $@

# Where .venv is new, or was moved: what activates it is written, and a `dvc` that works in any place, for DVC's queue
# calls it.
environment: $(STAMP)
	@place="$$(cd .venv && pwd -P)"; test "$$(cat .venv/place 2>/dev/null)" = "$$place" || { \
	    .venv/bin/python -m venv --without-pip "$$place" && \
	    printf '#!/bin/sh\nexec "$${0%%/*}/python" -m dvc "$$@"\n' > .venv/bin/dvc && \
	    printf '%s\n' "$$place" > .venv/place; }
