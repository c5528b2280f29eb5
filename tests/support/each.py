"""The ways to hold a lock as parameters of tests: apart from locks.py, which is to be imported without pytest."""

from collections.abc import Iterable

import pytest

from .locks import WAYS, Way

__all__ = ["PLAIN", "each"]

PLAIN = [way for way in WAYS.values() if not way.fair]
"""Each way, where it does not matter whether the lock is handed over."""


def each(ways: Iterable[Way]) -> pytest.MarkDecorator:
    """The test has the parameter `way`, each of these in turn."""
    return pytest.mark.parametrize("way", list(ways), ids=str)
