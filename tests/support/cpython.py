"""CPython's own tests, run against what takes the place of a module: as a contract, since CPython wrote it.

They are those that the interpreter has in its `test` package, or those in the directory FERRULE_CPYTHON_TESTS, such as
`Lib/test` of another version. None of their text is part of ferrule.
"""

import importlib.util
import os
import types
import unittest
from pathlib import Path
from typing import Any

import pytest

__all__ = ["differs", "load", "put_in_place_of", "test_cases"]


def load(path: str) -> types.ModuleType:
    """A fresh module of CPython's tests, given its path in `Lib/test`; skips where it is not installed."""
    source = find(path)
    if source is None:
        pytest.skip(f"this interpreter comes without its test/{path}", allow_module_level=True)
    spec = importlib.util.spec_from_file_location(f"cpython_{source.stem}", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def find(path: str) -> Path | None:
    if chosen := os.environ.get("FERRULE_CPYTHON_TESTS"):
        return Path(chosen) / path
    package = importlib.util.find_spec("test")
    places = package.submodule_search_locations if package else None
    return next((found for place in places or () if (found := Path(place) / path).exists()), None)


def test_cases(module: types.ModuleType) -> dict[str, type[unittest.TestCase]]:
    """The classes of tests in the module, by name."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if isinstance(thing, type) and issubclass(thing, unittest.TestCase) and thing.__module__ == module.__name__
    }


test_cases.__test__ = False  # type: ignore[attr-defined]


def differs(cases: dict[str, type[unittest.TestCase]], where: str, why: str) -> None:
    """Expects the test "Class.method" to fail, for this reason."""
    name, method = where.split(".")
    if case := cases.get(name):
        setattr(case, method, pytest.mark.xfail(strict=True, reason=why)(getattr(case, method)))


class put_in_place_of:
    """The names of one module, and of another where it has the same ones: what a changed import gives."""

    def __init__(self, original: types.ModuleType, other: types.ModuleType) -> None:
        self._modules = other, original

    def __getattr__(self, name: str) -> Any:
        for module in self._modules:
            if name in getattr(module, "__all__", ()) or module is self._modules[-1]:
                return getattr(module, name)
        raise AttributeError(name)
