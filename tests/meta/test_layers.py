"""Arrows point down: what each module of src/ferrule may import and cimport.

errors <- _core <- rooms, debug <- aio, dropin, tracing <- ferrule <- _demo <- __main__. What shares a floor does not
import each other, so no room knows another room.
"""

import re
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "src" / "ferrule"
FILES = sorted(path for suffix in ("py", "pyi", "pyx", "pxd", "pxi") for path in SOURCES.rglob(f"*.{suffix}"))

FLOORS = {"errors": 0, "_core": 1, "aio": 3, "dropin": 3, "tracing": 3, "": 4, "_demo": 5, "__main__": 6}
ROOM = 2

IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<package>[.\w]+)[ \t]+c?import[ \t]+(?P<names>\([^)]*\)|[^\n#]+)"
    r"|c?import[ \t]+(?P<modules>[^\n#(]+))",
    re.MULTILINE,
)


def part(module: str) -> str:
    """The part of ferrule that the module belongs to: "mutex", "_core"; "" for the front door itself."""
    return [*module.split("."), ""][1]


def floor(module: str) -> int:
    return FLOORS.get(part(module), ROOM)


def is_module(name: str) -> bool:
    path = SOURCES.parent / name.replace(".", "/")
    return path.is_dir() or any(path.with_suffix(suffix).exists() for suffix in (".py", ".pyi", ".pyx", ".pxd"))


def imported(text: str, module: str, is_package: bool) -> set[str]:
    """The modules of ferrule that this text of `module` imports or cimports."""
    names: set[str] = set()
    for match in IMPORT.finditer(text):
        if match["modules"]:
            names.update(item.split()[0] for item in match["modules"].split(","))
            continue
        package = match["package"]
        if dots := len(package) - len(package.lstrip(".")):
            base = module.split(".")[: len(module.split(".")) - dots + is_package]
            package = ".".join([*base, *filter(None, [package.lstrip(".")])])
        members = [item.split()[0] for item in match["names"].strip("() \n").split(",") if item.strip()]
        submodules = {f"{package}.{member}" for member in members if is_module(f"{package}.{member}")}
        names.update(submodules or {package})
    return {name for name in names if name.split(".")[0] == "ferrule"}


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(SOURCES.parent).with_suffix("").parts).removesuffix(".__init__")


def forbidden(module: str, imports: set[str]) -> list[str]:
    """Those imports that do not point down. A room may have its algorithms in raw_* files, which import no room."""
    return sorted(
        name
        for name in imports
        if part(name) != part(module)
        and floor(name) >= floor(module)
        and not (part(name).startswith("raw_") and floor(module) == ROOM and not part(module).startswith("raw_"))
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCES)))
def test_imports_point_down(path):
    module = module_of(path)
    imports = imported(path.read_text(), module, path.stem == "__init__")
    assert not forbidden(module, imports), f"{module} (floor {floor(module)}) may not import these"


def test_imports_are_read():
    text = """
from ferrule._core.atomics cimport (
    Shared,
    acquire,
)
cimport cython, ferrule._core.latch as latch
from . import errors
from ..mutex import AsyncMutex as Mutex
import ferrule.aio as aio
    from ferrule import Timeout
from ferrule import errors, mutex
"""
    assert imported(text, "ferrule.aio.streams", is_package=False) == {
        "ferrule._core.atomics",
        "ferrule._core.latch",
        "ferrule.aio",
        "ferrule.mutex",
        "ferrule",
        "ferrule.errors",
    }
    assert imported("from .errors import MISSING", "ferrule", is_package=True) == {"ferrule.errors"}


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("ferrule.mutex", "ferrule.channel"),
        ("ferrule.mutex", "ferrule"),
        ("ferrule.mutex", "ferrule.aio"),
        ("ferrule._core.parking", "ferrule.mutex"),
        ("ferrule.errors", "ferrule._core.deadline"),
        ("ferrule.aio", "ferrule.dropin"),
        ("ferrule.raw_table", "ferrule.mutex"),
        ("ferrule._core.parking", "ferrule.raw_table"),
    ],
)
def test_an_arrow_that_points_up_or_sideways_is_found(module, name):
    assert forbidden(module, {name, "ferrule.errors" if module != "ferrule.errors" else module}) == [name]
