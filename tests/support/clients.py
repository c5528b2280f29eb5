"""The clients that examples/services has recipes for, behind the same few verbs; no test here.

connections(url)    how many the server has of it
pool(**options)     the recipe's, over the running server
ask(c, number)      what the server answers to that number: the number
stall(c)            asks what is not answered before it is cancelled (tasks)
cut(c)              asks, and leaves in between with a Cut (threads)
lost                what it raises while the server is away
"""

import importlib
import importlib.util
from typing import Any, ClassVar

import pytest

from .servers import Server

__all__ = ["OF_TASKS", "OF_THREADS", "Client", "Cut"]

ErrorTypes = tuple[type[Exception], ...]


SLEEP = "SELECT pg_sleep(2)"
"""PostgreSQL passes over a cancellation that overtakes its query: then this is how long it takes."""


class Cut(Exception):
    """A caller goes away in mid-query."""


class Client:
    package: ClassVar[str]
    recipe: ClassVar[str]
    made_by: ClassVar[str]
    fixture: ClassVar[str]
    """The server's."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.library = importlib.import_module(self.package)

    @property
    def lost(self) -> ErrorTypes:
        raise NotImplementedError

    def connections(self) -> int:
        raise NotImplementedError

    def ask(self, connection: Any, number: int) -> Any:
        raise NotImplementedError

    def pool(self, **options: Any) -> Any:
        return getattr(importlib.import_module(self.recipe), self.made_by)(self.server.url, **options)


class OfRedis(Client):
    package, recipe, fixture = "redis", "redis_pool", "redis_server"

    @property
    def lost(self) -> ErrorTypes:
        return (self.library.ConnectionError,)

    def connections(self) -> int:
        with self.library.Redis.from_url(self.server.url) as client:
            return int(client.info("clients")["connected_clients"]) - 1


class OfPostgres(Client):
    package, recipe, fixture = "psycopg", "postgres_pool", "postgres_server"

    @property
    def lost(self) -> ErrorTypes:
        return (self.library.OperationalError,)

    def connections(self) -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
        with importlib.import_module("psycopg").connect(self.server.url) as connection:
            return int(connection.execute(query).fetchone()[0]) - 1


class RedisThreads(OfRedis):
    made_by = "pool_for_threads"

    def ask(self, connection: Any, number: int) -> int:
        return int(connection.ask("ECHO", number))

    def cut(self, connection: Any) -> None:
        """As ask() does, to where the answer is read."""
        connection.due = True
        connection.send_command("ECHO", -1)
        raise Cut


class PostgresThreads(OfPostgres):
    made_by = "pool_for_threads"

    def ask(self, connection: Any, number: int) -> int:
        return int(connection.execute("SELECT %s::int", [number]).fetchone()[0])

    def cut(self, connection: Any) -> None:
        """A failed query, in a transaction that has set something, and is left open."""
        connection.execute("SET statement_timeout = 5")
        try:
            connection.execute(SLEEP)
        except self.library.errors.QueryCanceled:
            raise Cut from None


class RedisTasks(OfRedis):
    made_by = "pool_for_tasks"

    async def ask(self, connection: Any, number: int) -> int:
        return int(await connection.ask("ECHO", number))

    async def stall(self, connection: Any) -> None:
        await connection.ask("BLPOP", "nothing", 0)


class PostgresTasks(OfPostgres):
    made_by = "pool_for_tasks"

    async def ask(self, connection: Any, number: int) -> int:
        cursor = await connection.execute("SELECT %s::int", [number])
        return int((await cursor.fetchone())[0])

    async def stall(self, connection: Any) -> None:
        await connection.execute(SLEEP)


class AsyncpgTasks(OfPostgres):
    package, recipe, made_by = "asyncpg", "asyncpg_pool", "pool_for_tasks"

    @property
    def lost(self) -> ErrorTypes:
        # An InternalClientError is what it makes of a goodbye that comes to an idle connection, until the end follows.
        return self.library.PostgresError, self.library.InternalClientError, OSError

    async def ask(self, connection: Any, number: int) -> int:
        try:
            return int(await connection.fetchval("SELECT $1::int", number))
        except self.library.InterfaceError as error:
            if "connection is closed" in str(error):
                raise ConnectionResetError from error
            raise  # misuse: two callers at once, for one

    async def stall(self, connection: Any) -> None:
        await connection.execute(SLEEP)


def _where_installed(kind: type[Client]) -> Any:
    missing = importlib.util.find_spec(kind.package) is None
    reason = f"{kind.package} is not installed here"
    return pytest.param(kind, id=kind.__name__, marks=pytest.mark.skipif(missing, reason=reason))


OF_THREADS = [_where_installed(kind) for kind in (RedisThreads, PostgresThreads)]
OF_TASKS = [_where_installed(kind) for kind in (RedisTasks, PostgresTasks, AsyncpgTasks)]
