"""The kinds of event loop, as parameters: apart from driver.py, which is to be imported without pytest."""

import importlib.util

import pytest

__all__ = ["LOOPS"]

LOOPS = [
    "asyncio",
    pytest.param(
        "uvloop",
        marks=pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed here"),
    ),
]
"""Parameters for tests that must hold on each kind of loop (the fixture `loop_name` has them)."""
