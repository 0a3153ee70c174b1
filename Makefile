# Everything that is done with this project, from its root. `make` alone lists it.
# Variables: PYTHON (an interpreter from 3.11 on; a .venv of another version is made again),
# TORCH_SPEC (another build of torch), JOBS (cells that `make repro` trains at a time; default: the GPUs, or cores).

PYTHON ?= python3
TORCH_SPEC ?= torch torchvision
UI_PORT ?= 5000

# Without .venv, which may be activated: its python3 must not be taken for the system's.
SYSTEM_PATH := $(subst $(CURDIR)/.venv/bin:,,$(PATH))
export PATH := $(CURDIR)/.venv/bin:$(SYSTEM_PATH)
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

VENV := .venv/installed
BIN := .venv/bin

# Version of an interpreter, such as 3.12; empty where it can't be run.
VERSION := -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
ASKED = $(shell PATH="$(SYSTEM_PATH)" $(PYTHON) $(VERSION))
FOUND := $(if $(wildcard .venv),$(shell $(BIN)/python $(VERSION)))
TOO_OLD := 2.7 $(addprefix 3.,0 1 2 3 4 5 6 7 8 9 10)
# A .venv is kept if its Python is recent enough and no PYTHON was given, or one of the same version.
KEPT := $(filter-out $(TOO_OLD),$(if $(filter file,$(origin PYTHON)),$(FOUND),$(filter $(ASKED),$(FOUND))))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help repro publish smoke test test-slow test-gpu mutants bench bench-check check ui clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

repro: $(VENV)  ## run what the study in params.yaml lacks; ends with the report's path
	$(BIN)/python -m pipeline.schedule

publish: $(VENV)  ## copy the study's report to reports/, and the default one's results to README
	$(BIN)/gantry report --publish

smoke: $(VENV)  ## run the whole pipeline for a few steps, in a throw-away copy
	$(BIN)/python -m pipeline.schedule.smoke

# One thread in each of the two processes: torch would start a thread per core in either.
test: $(VENV)  ## run the tests that take seconds
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

test-slow: $(VENV)  ## run the tests that take longer
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "slow and not gpu"

# One process, as its tests share the device.
test-gpu: $(VENV)  ## run the tests that need a GPU
	$(BIN)/python -m pytest -m gpu

mutants: $(VENV)  ## plant known bugs one by one and see that a test fails; writes docs/mutants.md
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants

bench: $(VENV)  ## measure Gantry beside its alternatives; writes benchmarks/results.json and .md
	$(BIN)/python -m benchmarks

bench-check: $(VENV)  ## measure the train step again; fails where a ratio is 15 % below benchmarks/results.json
	$(BIN)/python -m benchmarks --check

check: $(VENV)  ## lint, types, workflows, Dockerfile, params.yaml; report and README agree
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/actionlint .github/workflows/*.yml
	$(BIN)/zizmor --offline --quiet .github/workflows
	$(BIN)/hadolint Dockerfile
	$(BIN)/gantry check --default
	$(BIN)/gantry report --check

ui: $(VENV)  ## browse the runs and registered models in MLflow, on this machine only
	@echo "http://127.0.0.1:$(UI_PORT)/?workflowType=machine_learning"
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --host 127.0.0.1 --port $(UI_PORT) \
		--workers 1 --backend-store-uri "sqlite+pysqlite:///$(subst %,%25,$(CURDIR))/mlflow.db"

clean:  ## remove .venv, caches of tools and results; DVC's cache, checkpoints and runs stay
	rm -rf .venv build data/lmdb data/raw dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find models -mindepth 1 -maxdepth 1 ! -name README.md -exec rm -rf {} +
	find gan pipeline tests -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first and by itself: a build that TORCH_SPEC names, or that is there already, is then kept.
$(VENV): pyproject.toml requirements.lock $(if $(KEPT),,FORCE)
	$(if $(KEPT),,$(NEW_VENV))
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip
	$(BIN)/python -m pip install --disable-pip-version-check -c requirements.lock $(TORCH_SPEC)
	$(BIN)/python -m pip install --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@

FORCE:

# --clear, since pip would mix the packages of two versions of Python in one folder.
define NEW_VENV
@test -n "$(ASKED)" || { echo "error: $(PYTHON) can't be run; try make PYTHON=python3.12" >&2; exit 1; }
@test -z "$(filter $(TOO_OLD),$(ASKED))" || { echo "error: Gantry needs Python 3.11 or later, $(PYTHON) is $(ASKED); try make PYTHON=python3.12" >&2; exit 1; }
@test ! -d .venv || echo "note: the Python of .venv $(if $(FOUND),is $(FOUND),can't be run); making .venv again with $(ASKED)" >&2
@PATH="$(SYSTEM_PATH)" $(PYTHON) -m venv --clear .venv
endef
