"""The tests of a contract run again under all that an interpreter can be told to check."""

import sysconfig
from collections.abc import Sequence
from typing import Any

from tests.support.leaks import in_subprocess

__all__ = ["FREE_THREADED", "SETTINGS", "run_under", "under"]

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

BEGIN = """
import gc
gc.freeze()  # what is there already is not looked at over and over
gc.set_threshold(*{thresholds})
"""

RUN_TESTS = """
import sys
import pytest
{begin}
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-x", *{tests!r}]))
"""

# Development mode turns on the debug allocator and asyncio's debug mode.
DEVELOPMENT = ["-W", "error", "-X", "dev"]

SETTINGS: dict[str, dict[str, Any]]
if FREE_THREADED:
    # A collection looks at everything and stops all threads, so it comes at some thousand allocations, and else only
    # where a quarter of all objects are new. There is no allocator but Python's, and it has been told to check.
    SETTINGS = {"warnings as errors in development mode": {"thresholds": (2000, 0), "options": DEVELOPMENT}}
else:
    SETTINGS = {
        "warnings as errors in development mode": {"options": DEVELOPMENT},
        # Every block from the C library, which fills it when it is freed.
        "a collection at every allocation": {
            "thresholds": (1,),
            "env": {"PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": "165"},
        },
    }


def under(setting: str) -> tuple[str, dict[str, Any]]:
    """What a program under one of SETTINGS begins with, and what in_subprocess() is told of it."""
    named = dict(SETTINGS[setting])
    return BEGIN.format(thresholds=named.pop("thresholds", (700,))), named


def run_under(setting: str, tests: Sequence[str]) -> None:
    """Runs the test files in a process of its own, under one of SETTINGS; fails if one of the tests does."""
    begin, named = under(setting)
    in_subprocess(RUN_TESTS.format(begin=begin, tests=tests), timeout=120, **named)
