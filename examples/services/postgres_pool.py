"""Pools of psycopg's connections, one for threads and one for tasks.

    python examples/services/postgres_pool.py postgresql://user@127.0.0.1:5432/postgres

- create   connects.
- reset    when it is given back: what was not committed is rolled back, so that nobody goes on in another's transaction
           and no lock outlives its lease. A query that still runs means that nobody waited for it: the connection ends.
- validate before it is lent again: an idle server says nothing. If there is something to be read, the server has gone
           (or has sent a notice; then a new connection costs little): it ends.
- destroy  closes it.

A cancelled task has psycopg cancel the query and wait until the server has done so; the connection can be used again.

Prints:
    200 threads got their own answer over at most 10 connections
    200 tasks got their own answer over at most 10 connections
"""

import asyncio
import select
import sys
from typing import Any, TypeAlias

import psycopg
from many_callers import in_tasks, in_threads
from psycopg.pq import TransactionStatus

from ferrule import Pool, aio

Connection: TypeAlias = psycopg.Connection[Any]
AsyncConnection: TypeAlias = psycopg.AsyncConnection[Any]

LEFT = (TransactionStatus.INTRANS, TransactionStatus.INERROR)


def is_quiet(connection: Connection | AsyncConnection) -> bool:
    """Whether there is nothing to be read; asked of an idle one."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def is_idle(connection: Connection | AsyncConnection) -> bool:
    return connection.info.transaction_status is TransactionStatus.IDLE


def roll_back(connection: Connection) -> bool:
    """Whether it is as new."""
    if connection.info.transaction_status in LEFT:
        connection.rollback()
    return is_idle(connection)


async def async_roll_back(connection: AsyncConnection) -> bool:
    if connection.info.transaction_status in LEFT:
        await connection.rollback()
    return is_idle(connection)


def pool_for_threads(url: str, **options: Any) -> Pool[Connection]:
    return Pool(
        lambda: psycopg.connect(url),
        reset=roll_back,
        validate=is_quiet,
        destroy=psycopg.Connection.close,
        **options,
    )


def pool_for_tasks(url: str, **options: Any) -> aio.Pool[AsyncConnection]:
    return aio.Pool(
        lambda: psycopg.AsyncConnection.connect(url),
        reset=async_roll_back,
        validate=is_quiet,
        destroy=psycopg.AsyncConnection.close,
        **options,
    )


if __name__ == "__main__":
    url, query = sys.argv[1], "SELECT %s::int"
    in_threads(
        pool_for_threads(url, max_size=10),
        lambda connection, number: connection.execute(query, [number]).fetchone() == (number,),
    )

    async def ask(connection: AsyncConnection, number: int) -> bool:
        return await (await connection.execute(query, [number])).fetchone() == (number,)

    asyncio.run(in_tasks(pool_for_tasks(url, max_size=10), ask))
