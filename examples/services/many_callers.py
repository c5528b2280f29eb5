"""Two hundred callers for a pool of a few connections: what the recipes show when they are run."""

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ferrule import Pool, aio

T = TypeVar("T")
CALLERS = 200


def in_threads(pool: Pool[T], ask: Callable[[T, int], bool]) -> None:
    """`ask(connection, number)` says whether the answer was that to this number."""

    def call(number: int) -> bool:
        with pool.acquire() as connection:
            return ask(connection, number)

    with pool, ThreadPoolExecutor(40) as threads:
        own = sum(threads.map(call, range(CALLERS)))
    print(f"{own} threads got their own answer over at most {pool.max_size} connections")


async def in_tasks(pool: aio.Pool[T], ask: Callable[[T, int], Awaitable[bool]]) -> None:
    async def call(number: int) -> bool:
        async with pool.acquire() as connection:
            return await ask(connection, number)

    async with pool:
        own = sum(await asyncio.gather(*map(call, range(CALLERS))))
    print(f"{own} tasks got their own answer over at most {pool.max_size} connections")
