# make run    certifies the models in models/ on real test images      make lint    ruff and mypy
# make test   runs the tests                                           make bench   measures, peers in the same run
# Each sets up what it needs in .venv first; a second call starts at once.

PYTHON ?= python3
# The CPU build where the package index serves it; for another one say, e.g., make TORCH="torch==2.13.0 --index-url ..."
TORCH ?= torch==2.13.0
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test lint bench clean

run: $(VENV)/run.stamp
	$(BIN)/certify demo models
	$(BIN)/certify poison demo

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/dev.stamp
	$(BIN)/python -m pytest bench -o python_files='*.py' --benchmark-only $(PYTEST_ARGS)
	$(BIN)/python -m bench.table

clean:
	rm -rf $(VENV)

# torch goes first, on its own: resolved together with the rest it would bring gigabytes of CUDA packages along.
$(VENV)/torch.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "certify needs Python 3.10 or newer, found " + sys.version.split()[0] + "; try: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input $(TORCH)
	touch $@

$(VENV)/run.stamp: $(VENV)/torch.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -e '.[data]'
	touch $@

# auto_LiRPA is the tests' independent oracle; its metadata pins a torch of 2022, hence --no-deps.
$(VENV)/dev.stamp: $(VENV)/torch.stamp pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps auto_LiRPA==0.3 appdirs tqdm
	touch $@ $(VENV)/run.stamp
