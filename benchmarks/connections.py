"""ferrule's pools of connections beside those that the clients bring, on real servers.

    python -m benchmarks.connections                                    five rounds, minutes
    python -m benchmarks.connections --rounds 1 --queries 2000          a first look
    python -m benchmarks.connections --json benchmarks/results/services/<date>-<interpreter>-connections.json

All use the same kind of connection and ask the same small query. `alone` is one caller, who leases for each query;
`crowd` is 200 tasks, or 40 threads, over 10 connections. In each round the contenders take turns, each with a pool of
its own that is warm. A figure is the median of the rounds, with the least and the most beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib
import importlib.util
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.beside import Figures, machine, save, table
from tests.support import clients
from tests.support.clients import Client
from tests.support.servers import ROOT, Postgres, Redis, Server

RECIPES = ROOT / "examples" / "services"
SIZE = 10
TASKS, THREADS = 200, 40


class Lending(NamedTuple):
    """How a contender lends: `acquire()` gives what `value()` makes a connection of and `release()` takes back."""

    acquire: Callable[[], Any]
    release: Callable[[Any], Any]
    value: Callable[[Any], Any] = lambda lease: lease


Sync = Callable[[Client], contextlib.AbstractContextManager[Lending]]
Async = Callable[[Client], contextlib.AbstractAsyncContextManager[Lending]]


@contextlib.contextmanager
def of_ferrule(client: Client) -> Iterator[Lending]:
    with client.pool(max_size=SIZE) as pool:
        yield Lending(pool.acquire, lambda lease: lease.release(), lambda lease: lease.value)


@contextlib.contextmanager
def of_redis(client: Client) -> Iterator[Lending]:
    library, recipe = client.library, importlib.import_module(client.recipe)
    pool = library.BlockingConnectionPool.from_url(
        client.server.url, max_connections=SIZE, timeout=None, connection_class=recipe.Connection
    )
    try:
        yield Lending(pool.get_connection, pool.release)
    finally:
        pool.disconnect()


@contextlib.contextmanager
def of_psycopg(client: Client) -> Iterator[Lending]:
    library = importlib.import_module("psycopg_pool")
    with library.ConnectionPool(client.server.url, min_size=SIZE, max_size=SIZE) as pool:
        yield Lending(pool.getconn, pool.putconn)


@contextlib.asynccontextmanager
async def async_of_ferrule(client: Client) -> AsyncIterator[Lending]:
    async with client.pool(max_size=SIZE) as pool:
        yield Lending(pool.acquire, lambda lease: lease.release(), lambda lease: lease.value)


@contextlib.asynccontextmanager
async def async_of_redis(client: Client) -> AsyncIterator[Lending]:
    recipe = importlib.import_module(client.recipe)
    pool = client.library.asyncio.BlockingConnectionPool.from_url(
        client.server.url, max_connections=SIZE, timeout=None, connection_class=recipe.AsyncConnection
    )
    try:
        yield Lending(pool.get_connection, pool.release)
    finally:
        await pool.disconnect()


@contextlib.asynccontextmanager
async def async_of_psycopg(client: Client) -> AsyncIterator[Lending]:
    library = importlib.import_module("psycopg_pool")
    async with library.AsyncConnectionPool(client.server.url, min_size=SIZE, max_size=SIZE, open=False) as pool:
        yield Lending(pool.getconn, pool.putconn)


@contextlib.asynccontextmanager
async def of_asyncpg(client: Client) -> AsyncIterator[Lending]:
    async with client.library.create_pool(client.server.url, min_size=SIZE, max_size=SIZE) as pool:
        yield Lending(pool.acquire, pool.release)


OF_THREADS: dict[type[Client], dict[str, Sync]] = {
    clients.RedisThreads: {"ferrule": of_ferrule, "redis-py": of_redis},
    clients.PostgresThreads: {"ferrule": of_ferrule, "psycopg_pool": of_psycopg},
}
OF_TASKS: dict[type[Client], dict[str, Async]] = {
    clients.RedisTasks: {"ferrule": async_of_ferrule, "redis-py": async_of_redis},
    clients.PostgresTasks: {"ferrule": async_of_ferrule, "psycopg_pool": async_of_psycopg},
    clients.AsyncpgTasks: {"ferrule": async_of_ferrule, "asyncpg": of_asyncpg},
}


@dataclass
class Row:
    client: str
    callers: str
    contender: str
    per_second: float


def in_threads(client: Client, lending: Lending, callers: int, queries: int) -> float:
    """Queries a second."""

    def call(first: int) -> None:
        for number in range(first, queries, callers):
            lease = lending.acquire()
            try:
                client.ask(lending.value(lease), number)
            finally:
                lending.release(lease)

    threads = [threading.Thread(target=call, args=[number]) for number in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return queries / (time.perf_counter() - began)


async def in_tasks(client: Client, lending: Lending, callers: int, queries: int) -> float:
    async def call(first: int) -> None:
        for number in range(first, queries, callers):
            lease = await lending.acquire()
            try:
                await client.ask(lending.value(lease), number)
            finally:
                await lending.release(lease)

    began = time.perf_counter()
    await asyncio.gather(*map(call, range(callers)))
    return queries / (time.perf_counter() - began)


def ask_in_threads(client: Client, contender: Sync, queries: int) -> dict[str, float]:
    with contender(client) as lending:
        in_threads(client, lending, THREADS, queries // 10)
        return {name: in_threads(client, lending, n, queries) for name, n in (("alone", 1), ("crowd", THREADS))}


def ask_in_tasks(client: Client, contender: Async, queries: int) -> dict[str, float]:
    async def ask() -> dict[str, float]:
        async with contender(client) as lending:
            await in_tasks(client, lending, TASKS, queries // 10)
            return {name: await in_tasks(client, lending, n, queries) for name, n in (("alone", 1), ("crowd", TASKS))}

    return asyncio.run(ask())


def measure(servers: Mapping[str, Server], rounds: int, queries: int) -> list[Row]:
    """The servers, by the name of their fixture in the tests, must run. What is not installed is left out."""
    found = []
    for number in range(rounds):
        for ask, kinds in ((ask_in_threads, OF_THREADS), (ask_in_tasks, OF_TASKS)):
            for kind, contenders in kinds.items():
                if kind.fixture not in servers or importlib.util.find_spec(kind.package) is None:
                    continue
                for name, contender in contenders.items():
                    if name == "psycopg_pool" and importlib.util.find_spec(name) is None:
                        continue
                    print(f"round {number + 1}: {kind.__name__}, {name}", file=sys.stderr, flush=True)
                    rates = ask(kind(servers[kind.fixture]), contender, queries)  # type: ignore[arg-type]
                    found += [Row(kind.__name__, callers, name, rate) for callers, rate in rates.items()]
    return found


def shown(rows: Iterable[Row]) -> str:
    """Thousand queries a second; the clients' own pools are one column."""
    figures = Figures()
    for row in rows:
        own = "ferrule" if row.contender == "ferrule" else "the client's own"
        figures.add((row.client, row.callers), own, row.per_second / 1000)
    return "\n".join(table(["client", "callers"], figures, ratios=True))


def main() -> None:
    options = argparse.ArgumentParser(description="Pools of connections beside the clients' own.")
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--queries", type=int, default=20_000)
    options.add_argument("--json", type=Path, help="where the raw figures go")
    chosen = options.parse_args()
    sys.path.insert(0, str(RECIPES))
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)  # else a line for each transaction that it rolls back
    where = machine("benchmarks.connections")
    with contextlib.ExitStack() as running:
        servers = {
            fixture: running.enter_context(kind())
            for fixture, kind in {"redis_server": Redis, "postgres_server": Postgres}.items()
            if not kind.missing()
        }
        rows = measure(servers, chosen.rounds, chosen.queries)
    print(f"{where}\n\nThousand queries a second:\n\n{shown(rows)}")
    if chosen.json:
        save(chosen.json, where, map(asdict, rows))


if __name__ == "__main__":
    main()
