# Each target works alone on a machine that has only Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# Tests that interrupt, kill and count processes run file by file, two files at a time, the others test by test.
PROCESSES := tests/kernel tests/test_interrupts.py $(addprefix tests/batch/test_,dask.py driver.py executors.py sweep_cli.py)

.PHONY: tour test lab docs bench lower-bounds clean
.DELETE_ON_ERROR:

tour: $(VENV)/.installed  ## run every notebook and build out/index.html
	$(BIN)/workbench tour --out out

test: export OPENBLAS_NUM_THREADS = 1
test: $(VENV)/.installed-test  ## lint, types, tests, examples in docstrings, strict notebook validation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 --doctest-modules tests workbench $(PROCESSES:%=--ignore=%)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile $(PROCESSES)
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --nbval notebooks

lab: $(VENV)/.installed  ## JupyterLab at the notebook to start with
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb

docs: $(VENV)/.installed-docs  ## pages of the docs, which open from a folder: out/docs/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo $(CURDIR)/out/docs/index.html

bench: $(VENV)/.installed-test  ## speed, as ratios measured in the same run
	$(BIN)/python -m pytest -q benchmarks --benchmark-columns=min,median,rounds

lower-bounds: export OPENBLAS_NUM_THREADS = 1
lower-bounds:  ## the tests on the oldest releases that pyproject.toml allows, in an environment of their own
	$(PYTHON) tools/lower_bounds.py

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(INSTALL) --editable '.[test,oracles]'
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(INSTALL) --editable '.[agents,docs]'
	touch $@
