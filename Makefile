# Two commands: `make demo` walks the whole recipe at demo scale, `make test` runs the tests. Both install what they need.
# `make test-all` runs the slow tests too, and installs lm-eval, TRL and gguf for those that use them;
# `make docs` builds the documentation into site/.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# one worker a core; a file's tests stay together, because they share what its fixtures made
PYTEST_ARGS := --numprocesses 2 --dist loadfile

.PHONY: install demo test test-all check docs clean bench bench-peers

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

.venv/.installed-interop: .venv/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,interop]'
	touch $@

demo: install
	$(MAKE) --no-print-directory --file demo.mk

test: install check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-all: check .venv/.installed-interop
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m 'slow or not slow'

# prints tables, keeps them in benchmarks/results/ and makes docs/benchmarks.md of them; wants a machine that rests
bench: install
	$(BIN)/python benchmarks/run.py

# those that have peers, at all sizes, beside TRL, litgpt and transformers in an environment of their own
bench-peers: .venv-peers/.installed
	.venv-peers/bin/python benchmarks/run.py --full --only packing tokenising loader generation train startup

.venv-peers/.installed: pyproject.toml benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers.txt
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check --no-deps litgpt==0.5.13
	touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: install
	$(BIN)/python -m sphinx --builder html --quiet --fail-on-warning --keep-going --fresh-env docs site

clean:
	rm -rf runs site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
