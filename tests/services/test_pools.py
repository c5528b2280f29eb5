"""The recipes of examples/services for pools of connections: callers that are cancelled, a server that restarts.

Every query carries a number of its own and must get that back; a connection is lent to one caller at a time; whatever
happens, every slot comes back, and in the end the pool has connections that work, and the server none that is left.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import OF_TASKS, OF_THREADS, Client, Cut
from tests.support.driver import run, turns
from tests.support.examples import check_it_prints
from tests.support.race import HANG, eventually, run_together
from tests.support.servers import ROOT

pytestmark = pytest.mark.services

SIZE = 10
QUERIES = 10
"""Of each caller."""


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Client:
    return request.param(request.getfixturevalue(request.param.fixture))


of_threads = pytest.mark.parametrize("client", OF_THREADS, indirect=True)
of_tasks = pytest.mark.parametrize("client", OF_TASKS, indirect=True)


class Callers:
    """What they have got so far, and who holds what."""

    def __init__(self, client: Client, pool: Any) -> None:
        self.client, self.pool = client, pool
        self.answers: list[int] = []
        self._held: set[int] = set()

    @contextlib.contextmanager
    def holding(self, connection: Any) -> Iterator[Any]:
        assert id(connection) not in self._held, "two callers have one connection"
        self._held.add(id(connection))
        assert len(self._held) <= SIZE
        assert self.pool.size <= SIZE
        try:
            yield connection
        finally:
            self._held.discard(id(connection))

    def check_all_came_back(self) -> None:
        assert (self.pool.in_use, self.pool.waiting) == (0, 0)
        assert self.pool.size <= SIZE


class OfThreads(Callers):
    def ask(self, number: int) -> None:
        """Until there is an answer: the server may be away."""
        while True:
            try:
                with self.pool.acquire() as connection, self.holding(connection):
                    answer = self.client.ask(connection, number)
                break
            except self.client.lost:
                time.sleep(0.01)
        assert answer == number
        self.answers.append(answer)

    def leave(self) -> None:
        with contextlib.suppress(Cut, *self.client.lost), self.pool.acquire() as connection, self.holding(connection):
            self.client.cut(connection)


class OfTasks(Callers):
    async def ask(self, number: int) -> None:
        while True:
            try:
                async with self.pool.acquire() as connection:
                    with self.holding(connection):
                        answer = await self.client.ask(connection, number)
                break
            except self.client.lost:
                await asyncio.sleep(0.01)
        assert answer == number
        self.answers.append(answer)

    async def be_cancelled(self, after: int | None) -> None:
        """After so many turns of the loop, wherever that is; None: in mid-query."""
        asked = asyncio.Event()

        async def stall() -> None:
            async with self.pool.acquire() as connection:
                with self.holding(connection):
                    asked.set()
                    await self.client.stall(connection)

        task = asyncio.create_task(stall())
        if after is None:
            has_asked = asyncio.create_task(asked.wait())
            await asyncio.wait([task, has_asked], return_when=asyncio.FIRST_COMPLETED)
            has_asked.cancel()
            await asyncio.sleep(0.005)
        else:
            await turns(after)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, *self.client.lost):
            await task


@of_threads
def test_threads_that_leave_and_a_server_that_restarts(client: Client) -> None:
    """40 threads over 10 connections."""
    with client.pool(max_size=SIZE) as pool:
        callers = OfThreads(client, pool)

        def call(number: int) -> None:
            for query in range(5 * QUERIES):
                if number % 5:
                    callers.ask(number * 1000 + query)
                else:
                    callers.leave()

        def restart() -> None:
            eventually(lambda: len(callers.answers) > 300)
            client.server.restart()

        run_together(restart, *(lambda number=number: call(number) for number in range(40)), timeout=3 * HANG)
        assert len(callers.answers) == 32 * 5 * QUERIES
        callers.check_all_came_back()
        with contextlib.ExitStack() as together:
            connections = [together.enter_context(pool.acquire()) for _ in range(SIZE)]
            assert [client.ask(connection, n) for n, connection in enumerate(connections)] == [*range(SIZE)]
        assert pool.stats()["created"] > SIZE
    eventually(lambda: client.connections() == 0)


@of_tasks
def test_tasks_that_are_cancelled_and_a_server_that_restarts(
    client: Client, loop_name: str, rng: random.Random
) -> None:
    """200 tasks over 10 connections."""

    async def main() -> None:
        async with client.pool(max_size=SIZE) as pool:
            callers = OfTasks(client, pool)

            async def call(number: int) -> None:
                for query in range(QUERIES):
                    if number % 5:
                        await callers.ask(number * 1000 + query)
                    else:
                        await callers.be_cancelled(rng.randrange(40) if query % 2 else None)

            async def restart() -> None:
                while len(callers.answers) <= 300:
                    await asyncio.sleep(0.001)
                await asyncio.to_thread(client.server.restart)

            await asyncio.gather(restart(), *map(call, range(200)))
            assert len(callers.answers) == 160 * QUERIES
            callers.check_all_came_back()
            async with contextlib.AsyncExitStack() as together:
                connections = [await together.enter_async_context(pool.acquire()) for _ in range(SIZE)]
                answers = await asyncio.gather(*map(client.ask, connections, range(SIZE)))
                assert answers == [*range(SIZE)]
            assert pool.stats()["created"] > SIZE

    run(asyncio.wait_for(main(), 3 * HANG), loop_name)
    eventually(lambda: client.connections() == 0)


@of_threads
def test_a_connection_that_died_while_it_was_idle_is_not_lent(client: Client) -> None:
    with client.pool(max_size=1) as pool:
        OfThreads(client, pool).ask(1)
        client.server.restart()
        with pool.acquire() as connection:
            assert client.ask(connection, 2) == 2
        assert pool.stats()["created"] == 2


@of_tasks
def test_an_async_connection_that_died_while_it_was_idle_is_not_lent(client: Client, loop_name: str) -> None:
    async def main() -> None:
        async with client.pool(max_size=1) as pool:
            await OfTasks(client, pool).ask(1)
            await asyncio.to_thread(client.server.restart)
            async with pool.acquire() as connection:
                assert await client.ask(connection, 2) == 2
            assert pool.stats()["created"] == 2

    run(main(), loop_name)


@pytest.mark.parametrize("client", [*OF_THREADS, *OF_TASKS], indirect=True)
def test_the_recipe_prints_what_it_says(client: Client) -> None:
    check_it_prints(ROOT / "examples" / "services" / f"{client.recipe}.py", client.server.url)
