# Two commands do everything on a machine with Python 3.11, pip and apt:
#   make demo    the whole loop in a shop in a box
#   make test    every test
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# pip takes the CPU build of torch where one is offered; choose another with e.g. TORCH="torch==2.13.0+cu130"
TORCH  ?= torch==2.13.0

.PHONY: demo test lint types imports check bench clean

demo: $(STAMP)
	$(BIN)/proctord demo

test: $(STAMP)
	$(BIN)/python -m pytest --hypothesis-profile thorough

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports

check: lint types imports test

bench: $(STAMP)
	for bench in tests/bench/bench_*.py; do $(BIN)/python -m tests.bench.$$(basename $$bench .py) --size small || exit 1; done

$(STAMP): pyproject.toml deploy/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint deploy/constraints.txt pip setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint deploy/constraints.txt "$(TORCH)"
	$(BIN)/python -m pip install --quiet --constraint deploy/constraints.txt --editable ".[train,postgres,dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
