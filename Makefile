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

# One stamp for each set of dependencies; the extensions are rebuilt when a source is newer.
$(VENV)/%.stamp: $(sources) | $(bin)/python
	FERRULE_PROBE=1 $(bin)/pip install -q -e '.[$*]'
	@touch $@

demo: $(VENV)/bench.stamp
	$(bin)/python -m ferrule

test: $(VENV)/test.stamp
	$(bin)/python -m pytest $(PYTEST_ARGS)

stress: $(VENV)/test.stamp
	$(bin)/python -m pytest -m stress --long $(PYTEST_ARGS)

$(ft)/python:
	python=$$($(CURDIR)/tests/support/freethreaded.sh) && $$python -m venv $(FT_VENV)

$(FT_VENV)/%.stamp: $(sources) | $(ft)/python
	FERRULE_PROBE=1 $(ft)/pip install -q -e '.[$*]'
	@touch $@

freethreaded: $(FT_VENV)/test.stamp
	$(ft)/python -m pytest $(PYTEST_ARGS)

tsan: $(FT_VENV)/test.stamp
	FT_BIN=$(ft) tests/support/sanitized.sh thread $(PYTEST_ARGS)

asan: $(VENV)/test.stamp
	FT_BIN=$(bin) tests/support/sanitized.sh address $(PYTEST_ARGS)

mutants: $(VENV)/test.stamp
	$(bin)/python -m tests.support.mutants $(ROOM)

lint: $(VENV)/lint.stamp
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/cython-lint src

types: $(VENV)/lint.stamp $(VENV)/test.stamp
	$(bin)/mypy src tests/typing/accepted.py
	$(bin)/stubtest ferrule --ignore-missing-stub --allowlist tests/typing/stubtest.txt

bench: $(VENV)/bench.stamp
	$(bin)/python -m benchmarks.report

bench-smoke: $(VENV)/bench.stamp
	$(bin)/python -m pytest benchmarks --benchmark-disable -q

docs: $(VENV)/docs.stamp
	$(bin)/mkdocs build --strict

clean:
	rm -rf $(VENV) $(FT_VENV) build site
	find src -name '*.so' -delete -o -name '*.cpp' -delete
