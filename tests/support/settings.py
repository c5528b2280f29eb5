"""The tests of a contract run again under all that an interpreter can be told to check."""

import sysconfig
from collections.abc import Sequence
from typing import Any

from tests.support.leaks import in_subprocess

__all__ = ["FREE_THREADED", "SETTINGS", "run_under"]

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

RUN_TESTS = """
import gc, sys
import pytest

gc.freeze()  # what is there already is not looked at over and over
gc.set_threshold({threshold})
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-x", *{tests!r}]))
"""

SETTINGS: dict[str, dict[str, Any]] = {
    # Development mode turns on the debug allocator and asyncio's debug mode.
    "warnings as errors in development mode": {"options": ["-W", "error", "-X", "dev"]},
    # Every block from the C library, which fills it when it is freed; without the GIL there is only Python's allocator.
    "a collection at every allocation": {
        "threshold": 1,
        "env": {"PYTHONMALLOC": "debug" if FREE_THREADED else "malloc", "MALLOC_PERTURB_": "165"},
    },
}


def run_under(setting: str, tests: Sequence[str]) -> None:
    """Runs the test files in a process of its own, under one of SETTINGS; fails if one of the tests does."""
    named = dict(SETTINGS[setting])
    in_subprocess(RUN_TESTS.format(threshold=named.pop("threshold", 700), tests=tests), timeout=120, **named)
