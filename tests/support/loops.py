"""The kinds of event loop, as parameters: apart from driver.py, which is to be imported without pytest."""

import importlib.util

import pytest

from .race import GIL

__all__ = ["CALLED_WHILE_IT_CLOSES", "LOOPS"]

_INSTALLED = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed here")
_CRASHES = pytest.mark.skipif(
    not GIL, reason="without the GIL uvloop 0.23 crashes where call_soon_threadsafe() meets close()"
)

LOOPS = ["asyncio", pytest.param("uvloop", marks=_INSTALLED)]
"""Parameters for tests that must hold on each kind of loop (the fixture `loop_name` has them)."""

CALLED_WHILE_IT_CLOSES = ["asyncio", pytest.param("uvloop", marks=[_INSTALLED, _CRASHES])]
"""The same for tests where other threads wake tasks of a loop at the moment in which it is closed."""
