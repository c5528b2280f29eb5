"""The servers that the tests marked `services` talk to: one of a kind for each process of tests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.support.servers import ROOT, KeyValue, Postgres, Redis, Server

# The examples are scripts: they import each other from the folder that they are in.
sys.path.insert(0, str(ROOT / "examples" / "services"))

OWN = {
    "own": ["kv_server.py"],
    "own-3-loops": ["kv_server.py", "--threads", "3", "--loop", "asyncio"],
    "streams": ["kv_server_streams.py"],
}


@contextmanager
def running(server: Server) -> Iterator[Any]:
    """It answers; the test is skipped where it cannot be had."""
    if reason := server.missing():
        pytest.skip(reason)
    with server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    with running(Redis()) as server:
        yield server


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    with running(Postgres()) as server:
        yield server


@pytest.fixture(scope="session", params=OWN)
def own_server(request: pytest.FixtureRequest) -> Iterator[KeyValue]:
    """The key-value servers of examples/services."""
    with running(KeyValue(*OWN[request.param])) as server:
        yield server


@pytest.fixture(scope="session", params=[*OWN, "redis-server"])
def any_server(request: pytest.FixtureRequest) -> Iterator[Redis]:
    """Those, and Redis: what is asked of them is asked of it."""
    with running(KeyValue(*OWN[request.param]) if request.param in OWN else Redis()) as server:
        yield server
