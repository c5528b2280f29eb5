"""The programs of examples/, run as a reader would run them."""

import ast
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

__all__ = ["EXAMPLES", "check_it_prints"]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SLOW = re.compile(r"^Executing <.* took \d+\.\d+ seconds\n", re.MULTILINE)
"""What asyncio's debug mode says of a step that took long: of the machine, not of the example."""


def said(example: Path) -> str:
    """What stands behind "Prints:" in the docstring."""
    docstring = ast.get_docstring(ast.parse(example.read_text())) or ""
    assert "\nPrints:\n" in docstring, f"{example.name} does not say what it prints"
    return textwrap.dedent(docstring.partition("\nPrints:\n")[2]).strip() + "\n"


def check_it_prints(example: Path, *arguments: str) -> None:
    """It ends well, and prints what its docstring says."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(ROOT / "src")]))
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", example, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert SLOW.sub("", ended.stderr) == ""
    assert ended.returncode == 0
    assert ended.stdout == said(example)
