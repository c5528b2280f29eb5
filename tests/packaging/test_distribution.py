"""The sdist and the wheel have in them what they must, and nothing else. `make dist` checks the built ones likewise."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.distribution import (
    BESIDE,
    BUILDS,
    ROOT,
    WHOLE,
    names_in_sdist,
    sdist_faults,
    wanted_extensions,
    wanted_in_sdist,
    wanted_in_wheel,
    wheel_faults,
)

LEFT_OVER = ["src/ferrule/mutex.cpp", "src/ferrule/mutex.cpython-311.so", "tests/unit/leftover.pyc"]
SETUP = """
import runpy, sys
import Cython.Build

Cython.Build.cythonize = lambda modules, **options: modules
runpy.run_path("setup.py", run_name="__main__")
"""
"""setup.py, but nothing is translated: that takes half a minute and changes no list of files."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The checkout as it is after a build: with files that belong into neither the sdist nor the wheel."""
    copy = tmp_path_factory.mktemp("checkout")
    unwanted = shutil.ignore_patterns("*.egg-info", "__pycache__", "*.so", "*.cpp", "*.html")
    for tree in ["src", *WHOLE]:
        shutil.copytree(ROOT / tree, copy / tree, ignore=unwanted)
    for name in [*BESIDE, *BUILDS]:
        shutil.copy(ROOT / name, copy)
    for name in LEFT_OVER:
        (copy / name).write_text("left over")
    return copy


def setup(copy: Path, *arguments: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SETUP, *arguments], cwd=copy, capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 0, ended.stderr


def test_the_sdist_has_every_source_and_nothing_made(copy):
    setup(copy, "-q", "sdist", "--formats=tar", "--dist-dir=made")
    [sdist] = (copy / "made").iterdir()
    assert sdist_faults(names_in_sdist(sdist)) == []


def test_the_wheel_has_the_package_alone(copy):
    setup(copy, "-q", "build_py", "--build-lib=lib")
    lib = copy / "lib"
    names = {path.relative_to(lib).as_posix() for path in lib.rglob("*") if path.is_file()}
    assert wheel_faults(names | wanted_extensions()) == []


def test_the_wheel_is_to_have_types_declarations_and_no_tests():
    wanted = wanted_in_wheel()
    assert {"ferrule/py.typed", "ferrule/mutex.pyi", "ferrule/mutex.pxd", "ferrule/_core/parking.pxd"} <= wanted
    assert all(name.startswith("ferrule/") for name in wanted)
    assert {name.partition(".")[0] for name in wanted_extensions()} >= {"ferrule/mutex", "ferrule/_core/parking"}
    assert not any("probe" in name for name in wanted_extensions())


@pytest.mark.parametrize("extra", ["ferrule/mutex.cpp", "ferrule/mutex.pyx", "tests/conftest.py", "conftest.py"])
def test_a_file_too_much_in_the_wheel_is_a_fault(extra):
    right = wanted_in_wheel() | wanted_extensions()
    assert wheel_faults(right) == []
    assert wheel_faults(right | {extra}) == [f"wheel: {extra} is too much"]


@pytest.mark.parametrize("lost", ["src/ferrule/mutex_guard.pxi", "src/ferrule/raw_table.pxd", "LICENSE"])
def test_a_source_that_is_not_in_the_sdist_is_a_fault(lost):
    assert sdist_faults(wanted_in_sdist() - {lost}) == [f"sdist: {lost} is missing"]
