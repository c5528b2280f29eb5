"""Parameters that the tests of the async faces share."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.mutexes import TAKE


@pytest.fixture(params=TAKE)
def take(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Each way to wait for a Mutex in a task, given its async face."""
    return TAKE[request.param]


@pytest.fixture(params=[False, True], ids=["eventually-fair", "fair"])
def fair(request: pytest.FixtureRequest) -> bool:
    """Whether the mutex is fair."""
    return bool(request.param)
