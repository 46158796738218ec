# Each target prepares .venv itself. PYTHON=python3.12 make … chooses the interpreter.
PYTHON ?= python3
# make test-versions NEWEST_PYTHON=python3.13: the newest packages on a newer Python.
OLDEST_PYTHON ?= python3.11
NEWEST_PYTHON ?= $(PYTHON)
BIN := .venv/bin
# pip installs uv, and uv the rest: with all cores, and from what it has fetched before. Behind a mirror
# set UV_DEFAULT_INDEX, or keep to pip and its settings: make INSTALL=".venv/bin/python -m pip install" …
UV = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
INSTALL = $(BIN)/uv pip install --system-certs --python $(BIN)/python
# Tests start some hundred processes, which should find the modules compiled.
PYTEST = env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest
# One more than there are cores, because some tests wait for others' processes or for a clock, and
# three more for the slow ones: those of clusters do little else.
WORKERS = $(shell echo $$(($$(getconf _NPROCESSORS_ONLN) + 1)))

.PHONY: train setup test test-slow test-cluster test-versions test-oldest test-newest notebooks bench check \
  format clean

train: setup  ## fetch MovieLens-100K, train the lesson's collaborative filter, test it
	$(BIN)/python train.py experiment=collab

setup: .venv/ready  ## .venv with the tested versions

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than 3.11; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv .venv
	$(UV)
	$(INSTALL) -c constraints.txt -e ".[dev]"
	@touch $@

test: setup  ## the test suite: offline, no data needed
	$(PYTEST) -n $(WORKERS) --dist worksteal

test-slow: setup  ## what learns from real data, is killed, comes from other packages, or waits for a cluster
	$(INSTALL) -c constraints.txt -e ".[foreign,ray]"
	$(PYTEST) -m "slow or cluster" -n $$(($(WORKERS) + 2)) --dist loadgroup --durations=30

test-cluster: setup  ## of these: on a SLURM (as root) and a Ray of two nodes, which the tests start here
	$(INSTALL) -c constraints.txt -e ".[ray]"
	$(PYTEST) -m cluster tests/cluster --durations=30

# No part of .ci/run: it makes two more environments of 7 GB and runs the suite in each.
test-versions:  ## the test suite on the oldest versions allowed and on the newest
	$(MAKE) --keep-going test-oldest test-newest

test-oldest: BIN := .venv-oldest/bin
test-oldest:
	$(OLDEST_PYTHON) -m venv .venv-oldest
	$(UV)
	$(INSTALL) -c constraints-oldest.txt -e ".[dev]"
	$(PYTEST) -n $(WORKERS) --dist worksteal

test-newest: BIN := .venv-newest/bin
test-newest:
	$(NEWEST_PYTHON) -m venv .venv-newest
	$(UV)
	$(INSTALL) --upgrade -e ".[dev]"
	$(PYTEST) -n $(WORKERS) --dist worksteal

notebooks: setup  ## execute all of notebooks/ in place; MovieLens and digits are fetched once
	$(BIN)/python notebooks/execute.py

bench: setup  ## our fit against other ways to train the same, half an hour; tables in runs/bench
	$(INSTALL) -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks

check: setup  ## lint, format, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright

format: setup
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:  ## everything that a target made, but data/ and runs/
	rm -rf .venv .venv-oldest .venv-newest .pytest_cache .ruff_cache .hypothesis src/*.egg-info
