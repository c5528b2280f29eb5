"""Parameters that the tests of the async faces share."""

from collections.abc import Callable
from typing import Any

import pytest

from ferrule import Condition, Mutex
from tests.support.mutexes import TAKE


@pytest.fixture(params=TAKE)
def take(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Each way to wait for a Mutex in a task, given its async face."""
    return TAKE[request.param]


@pytest.fixture(params=[False, True], ids=["eventually-fair", "fair"])
def fair(request: pytest.FixtureRequest) -> bool:
    """Whether the mutex is fair."""
    return bool(request.param)


@pytest.fixture
def mutex(fair: bool) -> Mutex[str]:
    """A mutex around "value", of each kind of fairness."""
    return Mutex("value", fair=fair)


@pytest.fixture
def condition(mutex: Mutex[str]) -> Condition[str]:
    """Its condition."""
    return Condition(mutex)
