"""mypy accepts every line of accepted*.py and rejects just the marked lines of rejected*.py, for the marked reason."""

import importlib.util
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ACCEPTED = sorted(path.name for path in HERE.glob("accepted*.py"))
REJECTED = sorted(path.name for path in HERE.glob("rejected*.py"))

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed here (the `lint` extra has it)"
)


@pytest.fixture(scope="module")
def complaints() -> dict[str, set[tuple[int, str]]]:
    """For each file the lines that mypy rejects, with its codes."""
    files = [str(HERE / name) for name in ACCEPTED + REJECTED]
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--no-error-summary", "--no-pretty", "--show-error-codes", *files],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(ROOT / "src"), "MYPY_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
    )
    assert not checked.stderr
    found: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for line in checked.stdout.splitlines():
        if match := re.fullmatch(r"(?P<path>.+):(?P<line>\d+): error: .*\[(?P<code>[\w-]+)\]", line):
            found[Path(match["path"]).name].add((int(match["line"]), match["code"]))
    return found


def marked(name: str) -> set[tuple[int, str]]:
    lines = enumerate((HERE / name).read_text().splitlines(), 1)
    return {(number, code) for number, line in lines for code in re.findall(r"# error: ([\w-]+)", line)}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_must_be_accepted_is(complaints, name):
    assert complaints[name] == set()


@pytest.mark.parametrize("name", REJECTED)
def test_what_must_be_rejected_is_and_nothing_else(complaints, name):
    expected = marked(name)
    assert expected
    assert complaints[name] == expected
