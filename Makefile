# `make demo` runs the whole recipe at demo scale in minutes, `make demo-full` with more steps and eval rows and on a sealed
# pack (the README's table), `make test` lints and tests; all install what they need first.
# `make test-all` adds the slow tests, and installs lm-eval, TRL and gguf for them. `make docs` builds site/.
# The tests of report pages need a browser (Debian: apt-get install chromium) and are listed as skipped without one.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
# one worker a core; tests of one file stay together because they share fixtures
PYTEST_ARGS := --numprocesses 2 --dist loadfile --durations=15
comma := ,
# $(call pip,VENV,WORDS): one line a package while it works; all output, warnings included, in VENV/install.log
pip = $1/bin/python -m pip install --disable-pip-version-check --progress-bar off $2 2>&1 | tee -a $1/install.log \
    | grep --line-buffered -oE '^((Collecting|Processing|Obtaining) [^ ]+|Installing collected packages|ERROR.*)'
pinned = --constraint constraints.txt

.PHONY: install demo demo-full study study-release test test-all check docs notebooks pictures clean bench bench-peers

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	@echo 'Installing into .venv (torch and some hundred small packages). On Linux PyPI has torch with CUDA, some gigabytes;'
	@echo 'for that of the CPU alone let PIP_EXTRA_INDEX_URL name the index of PyTorch for CPUs.'
	@$(PYTHON) -m venv .venv
	@$(call pip,.venv,$(pinned) --editable '.[dev]')
	@touch $@

.venv/.installed-interop: .venv/.installed
	@$(call pip,.venv,$(pinned) --editable '.[dev$(comma)interop]')
	@touch $@

demo: install
	$(MAKE) --no-print-directory --file demo.mk

demo-full: install
	$(MAKE) --no-print-directory --file demo.mk RUN=runs/demo-full BASE_STEPS=150 SKILL_STEPS=2200 RELEASE_STEPS=150 \
	    SKILL_ROWS=3100 RELEASE_ROWS=1400 SEALED=--sealed

# which lane of the capability mixture does what; and the demo's two ways to a release with three seeds each
study study-release: install
	$(MAKE) --no-print-directory --file demo.mk $@

test: install check
	$(BIN)/python -m pytest $(PYTEST_ARGS)

test-all: check .venv/.installed-interop
	$(BIN)/python -m pytest $(PYTEST_ARGS) -m 'slow or not slow'

# prints tables, stores them in benchmarks/results/ and writes docs/benchmarks.md; wants an idle machine
bench: install
	$(BIN)/python benchmarks/run.py

# the benchmarks that have peers, at all sizes, beside TRL, litgpt and transformers in an environment of their own
bench-peers: .venv-peers/.installed
	.venv-peers/bin/python benchmarks/run.py --full --only packing tokenizing generation train startup

.venv-peers/.installed: pyproject.toml benchmarks/peers.txt
	$(PYTHON) -m venv .venv-peers
	@$(call pip,.venv-peers,$(pinned) --editable .)
	@$(call pip,.venv-peers,-r benchmarks/peers.txt)
	@touch $@

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# runs the notebooks, and keeps what they show in the files
notebooks: install
	$(BIN)/python notebooks/make.py

# the README's pictures, from pages of `make demo` and `make study`; needs Chromium
pictures: install
	$(BIN)/python docs/pictures.py lanes=runs/demo/comparison/capability/comparison.html \
	    matrix=runs/study/capability/study.html

docs: install
	$(BIN)/python -m sphinx --builder html --quiet --fail-on-warning --keep-going --fresh-env docs site

# what `make` and the tests leave; runs/ holds trained models and stays
clean:
	rm -rf site build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
