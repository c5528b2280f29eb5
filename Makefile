# Every verb sets itself up: a fresh checkout needs python3 (3.11 or newer), make and g++.
#   demo          the main job: ferrule beside what you would pick instead, on this machine
#   test          all tests but the long ones
#   stress        the conservation tests for minutes
#   freethreaded  the tests on a free-threaded interpreter ($FREETHREADED_PYTHON, else python3.13t or newer on PATH)
#   tsan, asan    the racing tests under a sanitizer
#   mutants       seeded faults that the tests must kill; ROOM=mutex for one room
#   mutants-freethreaded   those that only a free-threaded interpreter can show: ROOM=epoch by default
#   lint, types   ruff and cython-lint; mypy --strict and stubtest
#   bench         every comparison; results into benchmarks/results
#   bench-smoke   each benchmark once, untimed
#   docs          the pages, as a site
#   dist          dist/: the sdist and the wheel built from it, installed and tried outside of the checkout
#   wheels        wheels for every Python and this platform, into dist/; on Linux it needs docker
PYTHON ?= python3
VENV ?= .venv
FT_VENV ?= .venv-freethreaded
PYTEST_ARGS ?=
ROOM ?=

bin := $(VENV)/bin
ft := $(FT_VENV)/bin
# The tests over all CPUs; `python -m pytest` alone runs them in one process.
spread := -n auto --dist worksteal
sources := setup.py pyproject.toml $(shell find src -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi')

.PHONY: demo test stress freethreaded tsan asan mutants mutants-freethreaded lint types bench bench-smoke docs dist wheels clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

$(bin)/python:
	$(PYTHON) -m venv $(VENV)

$(ft)/python:
	python=$$($(CURDIR)/tests/support/freethreaded.sh) && $$python -m venv $(FT_VENV)

# ready.stamp: ferrule is installed. The extensions are rebuilt when a source is newer.
$(VENV)/ready.stamp: $(sources) | $(bin)/python
	FERRULE_PROBE=1 $(bin)/pip install -q -e .
	@touch $@

$(FT_VENV)/ready.stamp: $(sources) | $(ft)/python
	FERRULE_PROBE=1 $(ft)/pip install -q -e .
	@touch $@

# test.stamp, lint.stamp, ...: what that extra of pyproject.toml asks for is installed. Nothing is compiled again.
extra := import sys, tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")

$(VENV)/%.stamp: pyproject.toml | $(bin)/python
	$(bin)/python -c '$(extra)' $* >$(VENV)/$*.txt
	$(bin)/pip install -q --prefer-binary -r $(VENV)/$*.txt
	@touch $@

$(FT_VENV)/%.stamp: pyproject.toml | $(ft)/python
	$(ft)/python -c '$(extra)' $* >$(FT_VENV)/$*.txt
	$(ft)/pip install -q --prefer-binary -r $(FT_VENV)/$*.txt
	@touch $@

demo: $(VENV)/ready.stamp
	$(bin)/python -m ferrule

test: $(VENV)/ready.stamp $(VENV)/test.stamp
	$(bin)/python -m pytest $(spread) $(PYTEST_ARGS)

stress: $(VENV)/ready.stamp $(VENV)/test.stamp
	$(bin)/python -m pytest -m stress --long $(PYTEST_ARGS)

freethreaded: $(FT_VENV)/ready.stamp $(FT_VENV)/test.stamp
	$(ft)/python -m pytest $(spread) $(PYTEST_ARGS)

tsan: $(FT_VENV)/ready.stamp $(FT_VENV)/test.stamp
	FT_BIN=$(ft) tests/support/sanitized.sh thread $(PYTEST_ARGS)

asan: $(VENV)/ready.stamp $(VENV)/test.stamp
	FT_BIN=$(bin) tests/support/sanitized.sh address $(PYTEST_ARGS)

mutants: $(VENV)/ready.stamp $(VENV)/test.stamp
	$(bin)/python -m tests.support.mutants $(ROOM)

mutants-freethreaded: $(FT_VENV)/ready.stamp $(FT_VENV)/test.stamp
	$(ft)/python -m tests.support.mutants $(or $(ROOM),epoch)

lint: $(VENV)/lint.stamp
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	PATH=$(CURDIR)/$(bin):$$PATH $(bin)/cython-lint src

# The tests of typing are here too, since `make test` skips them where mypy is not installed.
types: $(VENV)/ready.stamp $(VENV)/test.stamp $(VENV)/lint.stamp
	$(bin)/mypy src tests/typing/accepted*.py
	$(bin)/stubtest ferrule --ignore-missing-stub --allowlist tests/typing/stubtest.txt
	$(bin)/python -m pytest -q tests/typing

bench: $(VENV)/ready.stamp $(VENV)/bench.stamp
	$(bin)/python -m benchmarks.report

bench-smoke: $(VENV)/ready.stamp $(VENV)/bench.stamp $(VENV)/test.stamp
	$(bin)/python -m pytest benchmarks --benchmark-disable -q $(spread)

docs: $(VENV)/docs.stamp
	$(bin)/mkdocs build --strict

dist: $(VENV)/dist.stamp
	rm -rf dist
	env -u FERRULE_PROBE -u DEBUG -u SANITIZE $(bin)/python -m build
	$(bin)/python -m tests.packaging.distribution dist

wheels: $(VENV)/wheels.stamp
	$(bin)/cibuildwheel --output-dir dist

clean:
	rm -rf $(VENV) $(FT_VENV) build dist site
	find src -name '*.so' -delete -o -name '*.cpp' -delete
