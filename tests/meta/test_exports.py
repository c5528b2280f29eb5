"""What a user sees: __all__ is true, everything public has a docstring, every module imports alone and in silence."""

import doctest
import importlib
import inspect
import pkgutil
import re

import pytest

import ferrule
from tests.support.leaks import in_subprocess

MODULES = [
    "ferrule",
    *(m.name for m in pkgutil.walk_packages(ferrule.__path__, "ferrule.") if "__main__" not in m.name),
]
PUBLIC = [name for name in MODULES if not any(part.startswith("_") for part in name.split("."))]

CLASSES = {
    f"{cls.__module__}.{cls.__qualname__}": cls
    for module in map(importlib.import_module, PUBLIC)
    for cls in (getattr(module, name, None) for name in getattr(module, "__all__", ()))
    if isinstance(cls, type)
}
PRIMITIVES = {name: cls for name, cls in CLASSES.items() if not issubclass(cls, Exception)}
LINES = ["Complexity", "Threads", "Blocks", "Calls you", "Errors"]


def public_members(cls):
    """The public members that ferrule itself gives the class."""
    ours = [vars(base) for base in cls.__mro__ if base.__module__.startswith("ferrule")]
    return {name: member for members in ours for name, member in members.items() if not name.startswith("_")}


@pytest.mark.parametrize("name", [name for name in PUBLIC if hasattr(importlib.import_module(name), "__all__")])
def test_all_is_true_and_sorted(name):
    module = importlib.import_module(name)
    assert list(module.__all__) == sorted(module.__all__, key=lambda n: (not n.isupper(), n[0].islower(), n))
    assert [n for n in module.__all__ if not hasattr(module, n)] == []
    assert len(set(module.__all__)) == len(module.__all__)


def test_the_front_door_has_every_public_error():
    assert set(ferrule.errors.__all__) <= set(ferrule.__all__)


@pytest.mark.parametrize("name", MODULES)
def test_every_module_imports_alone_and_in_silence(name):
    ended = in_subprocess(f"import {name}", options=["-W", "error"])
    assert (ended.stdout, ended.stderr) == ("", "")


def test_importing_everything_leaves_the_gil_as_it_was():
    in_subprocess(
        f"""
        import importlib, sys
        gil = getattr(sys, "_is_gil_enabled", lambda: True)
        before = gil()
        for name in {MODULES!r}:
            importlib.import_module(name)
        assert gil() is before
        """,
        options=["-W", "error"],
    )


@pytest.mark.parametrize("name", MODULES)
def test_every_module_has_a_docstring(name):
    assert (importlib.import_module(name).__doc__ or "").strip()


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_class_and_member_has_a_docstring(name):
    cls = CLASSES[name]
    assert (cls.__doc__ or "").strip()
    undocumented = [
        member
        for member, thing in public_members(cls).items()
        if (callable(thing) or inspect.isdatadescriptor(thing)) and not (thing.__doc__ or "").strip()
    ]
    assert undocumented == []


@pytest.mark.parametrize("name", CLASSES)
def test_every_public_method_has_a_signature_that_tools_can_read(name):
    """But for those whose default has no value to show: dict's own pop() has none either."""
    unreadable = []
    for member, thing in public_members(CLASSES[name]).items():
        if callable(thing):
            try:
                inspect.signature(thing)
            except ValueError:
                unreadable.append(member)
    assert [member for member in unreadable if member not in {"pop", "try_recv"}] == []


@pytest.mark.parametrize("name", PRIMITIVES)
def test_the_docstring_of_a_primitive_has_the_five_lines_in_order(name):
    """Complexity, Threads, Blocks, Calls you, Errors: each once, one after the other."""
    found = re.findall(rf"^ *({'|'.join(LINES)})  +\S.*$", PRIMITIVES[name].__doc__, re.MULTILINE)
    assert found == LINES


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name):
    module = importlib.import_module(name)
    attempted = doctest.testmod(module, raise_on_error=False, verbose=False)
    assert attempted.failed == 0


def test_the_examples_are_found_also_in_compiled_classes():
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module("ferrule.mutex"))
    assert {test.name for test in found if test.examples} >= {"ferrule.mutex.Mutex", "ferrule.mutex.AsyncMutex"}
