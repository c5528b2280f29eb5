# Every verb sets itself up: a fresh checkout needs python3 (3.11 or newer), make and g++.
#   demo          the main job: ferrule beside what you would pick instead, on this machine
#   test          all tests but the long ones
#   stress        the conservation tests for minutes
#   freethreaded  the tests on a free-threaded interpreter ($FREETHREADED_PYTHON, else python3.13t or newer on PATH)
#   tsan, asan    the racing tests under a sanitizer
#   mutants       seeded faults that the tests must kill; ROOM=mutex for one room
#   lint, types   ruff and cython-lint; mypy --strict and stubtest
#   bench         every comparison; results into benchmarks/results
#   docs          the pages, as a site
PYTHON ?= python3
VENV ?= .venv
FT_VENV ?= .venv-freethreaded
PYTEST_ARGS ?=
ROOM ?=

bin := $(VENV)/bin
ft := $(FT_VENV)/bin
sources := setup.py pyproject.toml $(shell find src -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi')

.PHONY: demo test stress freethreaded tsan asan mutants lint types bench bench-smoke docs clean
.DELETE_ON_ERROR:

$(bin)/python:
	$(PYTHON) -m venv $(VENV)

# The extensions are rebuilt when a source is newer.
$(VENV)/ready.stamp: $(sources) | $(bin)/python
	FERRULE_PROBE=1 $(bin)/pip install -q -e '.[test,bench,lint]'
	@touch $@

demo: $(VENV)/ready.stamp
	$(bin)/python -m ferrule

test: $(VENV)/ready.stamp
	$(bin)/python -m pytest $(PYTEST_ARGS)

stress: $(VENV)/ready.stamp
	$(bin)/python -m pytest -m stress --long $(PYTEST_ARGS)

$(ft)/python:
	python=$$($(CURDIR)/tests/support/freethreaded.sh) && $$python -m venv $(FT_VENV)

$(FT_VENV)/ready.stamp: $(sources) | $(ft)/python
	FERRULE_PROBE=1 $(ft)/pip install -q -e '.[test]'
	@touch $@

freethreaded: $(FT_VENV)/ready.stamp
	$(ft)/python -m pytest $(PYTEST_ARGS)

tsan: $(FT_VENV)/ready.stamp
	FT_BIN=$(ft) tests/support/sanitized.sh thread $(PYTEST_ARGS)

asan: $(VENV)/ready.stamp
	FT_BIN=$(bin) tests/support/sanitized.sh address $(PYTEST_ARGS)

mutants: $(VENV)/ready.stamp
	$(bin)/python -m tests.support.mutants $(ROOM)

lint: $(VENV)/ready.stamp
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	PATH=$(CURDIR)/$(bin):$$PATH $(bin)/cython-lint src

types: $(VENV)/ready.stamp
	$(bin)/mypy src tests/typing/accepted.py tests/typing/accepted_map.py
	$(bin)/stubtest ferrule --ignore-missing-stub --allowlist tests/typing/stubtest.txt

bench: $(VENV)/ready.stamp
	$(bin)/python -m benchmarks.report

bench-smoke: $(VENV)/ready.stamp
	$(bin)/python -m pytest benchmarks --benchmark-disable -q

docs: $(VENV)/ready.stamp
	$(bin)/pip install -q -e '.[docs]'
	$(bin)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(FT_VENV) build site
	find src -name '*.so' -delete -o -name '*.cpp' -delete
