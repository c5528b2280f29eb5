"""Pools: what a user would pick in place of ferrule.Pool, for threads, for tasks, and for both.

Of most, `take` gives an object out and `give` takes it back; of ferrule's, `take` gives a lease, which is released. A
queue as a pool has its objects from the beginning. Hooks are given to ferrule's; around a peer's objects the scenario
calls the same functions. Where a peer has two calls for one thing, it is the fastest.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from benchmarks.peers import optional
from ferrule import Pool

Verb = Callable[[Any], Callable[..., Any]]
"""Gives the call to be made, given the pool."""


class Item:
    """What the pools are of."""

    __slots__ = ("uses",)

    def __init__(self) -> None:
        self.uses = 0


@dataclass(frozen=True)
class Kind:
    """A kind of pool. A verb that it does not have, or that would hold up a loop, is None."""

    name: str
    make: Callable[..., Any] | None
    """make(objects, **hooks) makes one of so many; what belongs to a loop is made in it. Peers ignore the hooks."""
    missing: str = ""
    form: Literal["objects", "leases"] = "objects"
    take: Verb | None = None
    timed: Verb | None = None
    """As `take`, but it waits for a second at most."""
    async_take: Verb | None = None
    give: Verb | None = None
    """For threads and tasks; it never waits."""
    ours: bool = False


def _filled(make: Callable[[], Any]) -> Callable[..., Any]:
    """For a queue without a limit: it is as large as what is put into it."""

    def filled(objects: int, **hooks: Any) -> Any:
        made = make()
        put = next(getattr(made, verb) for verb in ("put_nowait", "put", "append") if hasattr(made, verb))
        for _ in range(objects):
            put(Item())
        return made

    return filled


class Limited:
    """A deque of objects, and a semaphore that counts those that may be taken."""

    def __init__(self, objects: int, **hooks: Any) -> None:
        self.idle: deque[Item] = deque()
        self.free = threading.Semaphore(objects)

    def take(self, timeout: float | None = None) -> Item:
        if not self.free.acquire(timeout=timeout):
            raise TimeoutError
        try:
            return self.idle.pop()
        except IndexError:
            return Item()

    def give(self, item: Item) -> None:
        self.idle.append(item)
        self.free.release()


class AsyncLimited:
    """The same for the tasks of one loop."""

    def __init__(self, objects: int, **hooks: Any) -> None:
        self.idle: deque[Item] = deque()
        self.free = asyncio.Semaphore(objects)

    async def take(self) -> Item:
        await self.free.acquire()
        return self.idle.pop() if self.idle else Item()

    def give(self, item: Item) -> None:
        self.idle.append(item)
        self.free.release()


class ThreadQueue(queue.SimpleQueue[Item]):
    """queue.SimpleQueue as a task can use it: waiting for an object, if there is none, is left to another thread."""

    async def take(self) -> Item:
        try:
            return self.get_nowait()
        except queue.Empty:
            return await asyncio.to_thread(self.get)


class Connection(Item):
    """An Item with what SQLAlchemy calls."""

    __slots__ = ()

    def close(self) -> None: ...


def _sqlalchemy(module: Any) -> Callable[..., Any]:
    """Without resetting: that is for a scenario to do."""
    return lambda objects, **hooks: module.QueuePool(
        Connection, pool_size=objects, max_overflow=0, reset_on_return=None
    )


DEQUE = Kind(
    "collections.deque, never waits",
    _filled(deque),
    take=lambda made: made.pop,
    give=lambda made: made.append,
)
"""What any pool does at least."""
SIMPLE = Kind(
    "queue.SimpleQueue",
    _filled(queue.SimpleQueue),
    take=lambda made: made.get,
    timed=lambda made: partial(made.get, timeout=1.0),
    give=lambda made: made.put,
)
LIFO = Kind(
    "queue.LifoQueue",
    _filled(queue.LifoQueue),
    take=lambda made: made.get,
    timed=lambda made: partial(made.get, timeout=1.0),
    give=lambda made: made.put,
)
LIMITED = Kind(
    "deque + threading.Semaphore",
    Limited,
    take=lambda made: made.take,
    timed=lambda made: partial(made.take, timeout=1.0),
    give=lambda made: made.give,
)
SQLALCHEMY = Kind(
    "sqlalchemy.pool.QueuePool",
    *optional("sqlalchemy.pool", _sqlalchemy),
    take=lambda made: made.connect,
    timed=lambda made: made.connect,
    give=lambda made: _close,
)
"""It always waits with a timeout, by default of 30 s."""


def _close(connection: Any) -> None:
    connection.close()


ASYNCIO = Kind(
    "asyncio.Queue",
    _filled(asyncio.Queue),
    async_take=lambda made: made.get,
    give=lambda made: made.put_nowait,
)
ASYNCIO_LIFO = Kind(
    "asyncio.LifoQueue",
    _filled(asyncio.LifoQueue),
    async_take=lambda made: made.get,
    give=lambda made: made.put_nowait,
)
ASYNC_LIMITED = Kind(
    "deque + asyncio.Semaphore",
    AsyncLimited,
    async_take=lambda made: made.take,
    give=lambda made: made.give,
)
TO_THREAD = Kind(
    "queue.SimpleQueue, to_thread if empty",
    _filled(ThreadQueue),
    take=lambda made: made.get,
    async_take=lambda made: made.take,
    give=lambda made: made.put,
)
CULSANS = Kind(
    "culsans.LifoQueue",
    *optional("culsans", lambda module: _filled(module.LifoQueue)),
    take=lambda made: made.green_get,
    timed=lambda made: partial(made.green_get, timeout=1.0),
    async_take=lambda made: made.async_get,
    give=lambda made: made.put_nowait,
)
AIOLOGIC = Kind(
    "aiologic.SimpleLifoQueue",
    *optional("aiologic", lambda module: _filled(module.SimpleLifoQueue)),
    take=lambda made: made.green_get,
    timed=lambda made: partial(made.green_get, timeout=1.0),
    async_take=lambda made: made.async_get,
    give=lambda made: made.put,
)
OURS = Kind(
    "ferrule.Pool",
    lambda objects, **hooks: Pool(Item, max_size=objects, **hooks),
    form="leases",
    take=lambda made: made.acquire,
    timed=lambda made: partial(made.acquire, timeout=1.0),
    async_take=lambda made: made.aio.acquire,
    ours=True,
)

MIXED = [CULSANS, AIOLOGIC]
"""For threads and tasks."""
THREADS = [SIMPLE, LIFO, LIMITED, SQLALCHEMY, *MIXED, OURS]
ALONE = [DEQUE, *THREADS]
HOOKED = [contender for contender in THREADS if contender is not SQLALCHEMY]
"""SQLAlchemy's hooks are of another kind: events of a connection that it wraps."""
TASKS = [ASYNCIO, ASYNCIO_LIFO, ASYNC_LIMITED, *MIXED, OURS]
BOTH = [TO_THREAD, *MIXED, OURS]
