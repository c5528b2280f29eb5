"""Each program in examples/ ends well and prints what its docstring says."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted(ROOT.glob("examples/*.py"))
SLOW = re.compile(r"^Executing <.* took \d+\.\d+ seconds\n", re.MULTILINE)
"""What asyncio's debug mode says of a step that took long: of the machine, not of the example."""


def said(example: Path) -> str:
    """What stands behind "Prints:" in the docstring."""
    docstring = ast.get_docstring(ast.parse(example.read_text())) or ""
    assert "\nPrints:\n" in docstring, f"{example.name} does not say what it prints"
    return textwrap.dedent(docstring.partition("\nPrints:\n")[2]).strip() + "\n"


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_it_prints_what_it_says(example):
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", example],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )
    assert SLOW.sub("", ended.stderr) == ""
    assert ended.returncode == 0
    assert ended.stdout == said(example)
