"""Rules of the sources that no compiler checks: who may lock a latch, allocate, use atomics, parse timeouts."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "ferrule"
FILES = sorted(path for suffix in ("pyx", "pxd", "pxi") for path in SOURCES.rglob(f"*.{suffix}"))
every_source = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCES)))

SIGNATURE = re.compile(
    r"^(?P<indent>[ \t]*)(?:def|cdef|cpdef)\b[^\n=]*?\b(?P<name>\w+)\([^)]*\)(?P<suffix>[^\n:]*)", re.MULTILINE
)
DOCSTRING = re.compile(r'"""(?:.|\n)*?"""')
COMMENT = re.compile(r"(?<!['\"])#[^\n]*")


def code(text: str) -> str:
    """The text with docstrings and comments blanked, verbatim C blocks included; lines keep their numbers."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match[0])

    return COMMENT.sub(blank, DOCSTRING.sub(blank, text))


def without_comments(text: str) -> str:
    """The text with the verbatim C blocks of `cdef extern from *` kept, and all else blanked as by code()."""
    verbatim = re.compile(r'cdef extern from \*:\s*"""(?P<block>(?:.|\n)*?)"""')
    return code(text) + "\n".join(match["block"] for match in verbatim.finditer(text))


def line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def latches_outside_locked(text: str) -> list[int]:
    """The lines that lock or unlock a latch in a function that is not named *_locked and `noexcept nogil`."""
    text = code(text)
    wrong = []
    for use in re.finditer(r"latch\w*\.(?:lock|unlock)\(", text):
        around = [function for function in SIGNATURE.finditer(text, 0, use.start()) if encloses(function, text, use)]
        if not around or not allowed_to_lock(around[-1]):
            wrong.append(line_of(text, use.start()))
    return wrong


def encloses(function: re.Match[str], text: str, use: re.Match[str]) -> bool:
    """Whether everything between the signature and the use is indented deeper than the signature."""
    body = text[function.end() : text.rindex("\n", 0, use.start())]
    return not re.search(rf"\n(?!{function['indent']}[ \t])[ \t]*\S", body)


def allowed_to_lock(function: re.Match[str]) -> bool:
    return function["name"].endswith("_locked") and "noexcept nogil" in function["suffix"]


def atomic_fields(text: str) -> list[str]:
    """The names of the fields and variables declared as Atomic[...] or Shared[...]."""
    return re.findall(r"\b(?:Atomic|Shared)\[[^]]*\]+\**[ \t]+(\w+)", code(text))


ALLOCATION = re.compile(
    r"(?<![\w.])(?:new[ \t]+[\w:]+[\w:<>]*[ \t]*[({\[]"
    r"|(?:std::)?(?:malloc|calloc|realloc|aligned_alloc|make_unique|make_shared)\b"
    r"|std::(?:vector|deque|list|string|function|(?:unordered_)?(?:map|set))\b|libcpp\.(?!bool|utility)\w+)"
)


@every_source
def test_only_locked_functions_touch_a_latch(path):
    assert latches_outside_locked(path.read_text()) == []


@every_source
def test_every_locked_function_is_free_of_python(path):
    text = code(path.read_text())
    named = [f for f in SIGNATURE.finditer(text) if f["name"].endswith("_locked") and f[0].lstrip().startswith("c")]
    assert [f["name"] for f in named if "noexcept nogil" not in f["suffix"]] == []
    assert not re.search(r"^[ \t]*def \w+_locked\(", text, re.MULTILINE)


@every_source
def test_no_public_object_attribute(path):
    assert not re.search(r"^[ \t]*cdef\s+public\b", code(path.read_text()), re.MULTILINE)


@every_source
def test_storage_comes_from_pymem(path):
    """So that a test can make every allocation fail in turn."""
    assert ALLOCATION.findall(without_comments(path.read_text())) == []


@every_source
def test_only_atomics_says_where_atomics_come_from(path):
    if path.relative_to(SOURCES).as_posix() != "_core/atomics.pxd":
        assert not re.search(r"std::atomic|libcpp\.atomic|<atomic>", path.read_text())


@every_source
def test_only_deadline_parses_timeouts(path):
    """Elsewhere a timeout is handed to parse_timeout() or parse_seconds() as it came."""
    if path.relative_to(SOURCES).as_posix() != "_core/deadline.pxd":
        assert not re.search(r"\b(?:PyFloat_\w*|float|int)\(\s*timeout\b|timeout\s*\*\s*1", code(path.read_text()))


def test_the_memory_model_names_every_atomic():
    page = (ROOT / "docs" / "memory-model.md").read_text()
    fields = {(path.name, field) for path in FILES for field in atomic_fields(path.read_text())}
    missing = sorted(f"{file}: {field}" for file, field in fields if not re.search(rf"`[\w.]*\b{field}`", page))
    assert fields
    assert not missing, "docs/memory-model.md does not name these atomics in `code`"


BROKEN = '''
cdef class Box:
    """latch.lock() in prose counts for nothing."""
    cdef Latch _latch
    cdef Shared[int] _state  # Shared[int] _comment
    cdef Atomic[uint64_t] _thread

    cdef void _good_locked(self) noexcept nogil:
        self._latch.lock()
        if self.x:
            self._latch.unlock()

    cdef void _bad(self) noexcept nogil:
        self._latch.lock()

    cdef object _python_locked(
        self, int x
    ):
        self._latch.lock()


self._latch.unlock()
'''


def test_the_rules_find_planted_faults():
    assert latches_outside_locked(BROKEN) == [14, 19, 22]
    assert atomic_fields(BROKEN) == ["_state", "_thread"]
    assert ALLOCATION.search("x = new Foo()")
    assert ALLOCATION.search("p = malloc(3)")
    assert ALLOCATION.search("from libc.stdlib cimport free, malloc")
    assert ALLOCATION.search("std::vector<int> items;")
    assert not ALLOCATION.search("PyMem_RawMalloc(3); PyMem_Malloc(3); new_coroutine(x); renew x")
