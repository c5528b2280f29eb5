"""A pool of asyncpg's connections, for tasks.

    python examples/services/asyncpg_pool.py postgresql://user@127.0.0.1:5432/postgres

- create   connects.
- reset    when it is given back: asyncpg rolls back what was not committed and forgets what was set, listened to and
           prepared; after a task was cancelled it waits first until the server has cancelled the query.
- validate before it is lent again: asyncpg sees in its loop when the server goes.
- destroy  drops it, and waits for nobody: the server may be gone.

Prints:
    200 tasks got their own answer over at most 10 connections
"""

import asyncio
import sys
from typing import Any

import asyncpg
from many_callers import in_tasks

from ferrule import aio


def is_open(connection: asyncpg.Connection) -> bool:
    return not connection.is_closed()


def pool_for_tasks(url: str, **options: Any) -> aio.Pool[asyncpg.Connection]:
    return aio.Pool(
        lambda: asyncpg.connect(url),
        reset=lambda connection: connection.reset(timeout=5),
        validate=is_open,
        destroy=asyncpg.Connection.terminate,
        **options,
    )


if __name__ == "__main__":

    async def ask(connection: asyncpg.Connection, number: int) -> bool:
        return bool(await connection.fetchval("SELECT $1::int", number) == number)

    asyncio.run(in_tasks(pool_for_tasks(sys.argv[1], max_size=10), ask))
