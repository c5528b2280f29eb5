"""The programs in README.md and in the guide run and print what the page says; links and names of tests lead somewhere.

The blocks of one page share their names, from top to bottom. What a `print(...)` is to print stands behind it as a
comment; a block prints nothing else.
"""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINT = re.compile(r"^[^#\n]*\bprint\(.*\)  # (?P<printed>.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?P<target>[^)#:]+)(?:#[^)]*)?\)")
NAMED_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")

PAGES = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")],
    key=lambda page: page.relative_to(ROOT).as_posix(),
)
WITH_PROGRAMS = [page for page in PAGES if BLOCK.search(page.read_text())]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=name)
def test_the_programs_print_what_they_say(page):
    names = {"__name__": "__main__"}
    text = page.read_text()
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("code"))
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile("\n" * line + block["code"], name(page), "exec"), names)
        assert out.getvalue().splitlines() == PRINT.findall(block["code"]), f"{name(page)}, line {line + 1}"


def test_the_readme_and_the_guide_have_programs():
    rooms = ("mutex", "condition", "concurrent_map", "channel")
    assert {"README.md", *(f"docs/guide/{room}.md" for room in rooms)} <= set(map(name, WITH_PROGRAMS))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_to_a_file_leads_to_one(page):
    prose = BLOCK.sub("", page.read_text())
    missing = [target for target in LINK.findall(prose) if not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_test_that_a_page_names_is_there(page):
    for path, inner in NAMED_TEST.findall(page.read_text()):
        assert (ROOT / path).is_file(), path
        assert not inner or re.search(rf"\b(?:def|class) {inner}\b", (ROOT / path).read_text()), f"{path}::{inner}"
