# A fresh machine needs Python 3.11 or later, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
CHIPS := tests/experiments/aot/test_plan.py tests/attn/kernels/test_chips.py tests/experiments/test_chips.py tests/experiments/test_models_on_chips.py tests/experiments/bench/test_static.py tests/experiments/bench/test_memory.py

# Most of a test is compiling programs that run once.
QUICKLY := XLA_FLAGS="$$($(BIN)/python -m tests.quickly) $$XLA_FLAGS"

.PHONY: compare test test-slow chips check bench clean

compare: $(INSTALLED)  ## train recurrent models with and without attention and a Transformer, write a report
	$(BIN)/python -m experiments compare $(ARGS)

test: $(INSTALLED)  ## the test suite
	$(QUICKLY) $(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

test-slow: $(INSTALLED)  ## the checks that take minutes each, three hours in all
	$(BIN)/python -m pytest -m slow $(ARGS)

chips: $(INSTALLED)  ## compile every kernel for TPUs and GPUs, with their compilers, on this machine
	$(BIN)/pip install --quiet -e '.[aot]'
	$(BIN)/python -m pytest -n 2 -m "not slow" $(CHIPS) $(ARGS)

check: $(INSTALLED)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)  ## training speed against PyTorch's own layers
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m experiments bench train $(ARGS)

$(INSTALLED): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[dev]'
	touch $@

clean:  ## forget the environment and what tools have cached; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
