"""Threads and tasks work through one list of orders with at most three connections to a database.

A connection is made when it is first needed, leased for each order and used again. One that was left in the middle of
a transaction is rolled back before the next one gets it; one that was closed while it was idle is found out.

Prints:
    60 orders by threads and tasks, with at most 3 connections
    1 of them was closed while it was idle, and nobody got it
    0 are open at the end
"""

import asyncio
import sqlite3
import tempfile
from pathlib import Path

from ferrule import Pool

CONNECTIONS = 3
ORDERS = range(60)


def still_there(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT 1")  # an exception is as good as False


def place(connection: sqlite3.Connection, order: int) -> None:
    with connection:
        connection.execute("INSERT INTO orders VALUES (?)", (order,))


def in_thread(pool: Pool[sqlite3.Connection], orders: list[int]) -> None:
    for order in orders:
        with pool.acquire(timeout=60.0) as connection:
            place(connection, order)


async def in_task(pool: Pool[sqlite3.Connection], orders: list[int]) -> None:
    for order in orders:
        async with pool.aio.acquire(timeout=60.0) as connection:
            await asyncio.to_thread(place, connection, order)  # the task has the connection meanwhile


async def work(pool: Pool[sqlite3.Connection]) -> None:
    await asyncio.gather(
        *[asyncio.to_thread(in_thread, pool, [*ORDERS[part::6]]) for part in (0, 1, 2)],
        *[in_task(pool, [*ORDERS[part::6]]) for part in (3, 4, 5)],
    )


def main(path: Path) -> None:
    closed = []

    def close(connection: sqlite3.Connection) -> None:
        connection.close()
        closed.append(connection)

    with Pool(
        lambda: sqlite3.connect(path, timeout=60.0, check_same_thread=False),
        max_size=CONNECTIONS,
        validate=still_there,
        reset=sqlite3.Connection.rollback,
        destroy=close,
    ) as pool:
        with pool.acquire() as connection:
            connection.execute("CREATE TABLE orders (number INTEGER PRIMARY KEY)")
        asyncio.run(work(pool))
        with pool.acquire() as connection:
            ((placed,),) = connection.execute("SELECT count(*) FROM orders")
        at_most = max(CONNECTIONS, pool.stats()["created"])
        print(f"{placed} orders by threads and tasks, with at most {at_most} connections")

        connection.close()  # as a server does with one that has been idle for long
        with pool.acquire() as connection:
            still_there(connection)
        print(f"{pool.stats()['discarded']} of them was closed while it was idle, and nobody got it")
    print(f"{pool.stats()['created'] - len(closed)} are open at the end")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory:
        main(Path(directory, "orders"))
