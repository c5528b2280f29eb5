"""Pools of redis-py's connections, one for threads and one for tasks.

    python examples/services/redis_pool.py redis://127.0.0.1:6379/0

What a pool of connections must never do is give one caller the answer to another's question. An answer is left over
where somebody asked and did not read it: a timeout, a task that was cancelled, an exception in between. redis-py closes
a connection whose read fails; ask() remembers, besides, that an answer is due. So:

- create   connects and greets, so that a server which is away is the error of who asked for a connection.
- reset    when it is given back: it is closed, or an answer is due: it ends.
- validate before it is lent again: there is something to be read, which can only be its end: it ends.
- destroy  closes it, and waits for nobody.

What was asked when the server went is an error of redis-py's. Nothing asks again by itself: the command may be done.

Prints:
    200 threads got their own answer over at most 10 connections
    200 tasks got their own answer over at most 10 connections
"""

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any

import redis.asyncio
from many_callers import in_tasks, in_threads
from redis.backoff import NoBackoff

from ferrule import Pool, aio


class Asking:
    """What both kinds of connection know: whether an answer is due."""

    is_connected: bool
    due = False

    def is_answered(self) -> bool:
        return self.is_connected and not self.due


class Connection(Asking, redis.Connection):
    def ask(self, *words: Any) -> Any:
        """The answer to one command."""
        self.due = True
        self.send_command(*words)
        try:
            return self.read_response()
        finally:
            self.due = False  # it was read, or the connection is closed

    def is_quiet(self) -> bool:
        return self.is_answered() and not self.can_read()


class AsyncConnection(Asking, redis.asyncio.Connection):
    async def ask(self, *words: Any) -> Any:
        """The answer to one command."""
        self.due = True
        await self.send_command(*words)
        try:
            return await self.read_response()
        finally:
            self.due = False  # it was read, or the connection is closed

    async def is_quiet(self) -> bool:
        return self.is_answered() and not await self.can_read()

    def end(self) -> Awaitable[None]:
        return self.disconnect(nowait=True)


def pool_for_threads(url: str, **options: Any) -> Pool[Connection]:
    settings: dict[str, Any] = redis.connection.parse_url(url) | {"retry": redis.retry.Retry(NoBackoff(), 0)}

    def create() -> Connection:
        connection = Connection(**settings)
        connection.connect()
        return connection

    return Pool(
        create,
        reset=Connection.is_answered,
        validate=Connection.is_quiet,
        destroy=Connection.disconnect,
        **options,
    )


def pool_for_tasks(url: str, **options: Any) -> aio.Pool[AsyncConnection]:
    settings: dict[str, Any] = redis.asyncio.connection.parse_url(url) | {
        "retry": redis.asyncio.retry.Retry(NoBackoff(), 0)
    }

    async def create() -> AsyncConnection:
        connection = AsyncConnection(**settings)
        await connection.connect()
        return connection

    return aio.Pool(
        create,
        reset=AsyncConnection.is_answered,
        validate=AsyncConnection.is_quiet,
        destroy=AsyncConnection.end,
        **options,
    )


if __name__ == "__main__":
    url = sys.argv[1]
    in_threads(
        pool_for_threads(url, max_size=10),
        lambda connection, number: bool(connection.ask("ECHO", number) == b"%d" % number),
    )

    async def ask(connection: AsyncConnection, number: int) -> bool:
        return bool(await connection.ask("ECHO", number) == b"%d" % number)

    asyncio.run(in_tasks(pool_for_tasks(url, max_size=10), ask))
