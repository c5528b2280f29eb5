"""Queues: what a user would pick in place of a channel, between threads, between tasks, and from one to the other.

Threads send by `send` and receive by `recv`, tasks by `async_send` and `async_recv`: each gives the call to be made,
given the queue. Where a peer has two calls for one thing, it is the fastest.
"""

from __future__ import annotations

import asyncio
import math
import queue
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.peers import optional
from ferrule import bounded, unbounded

Verb = Callable[[Any], Callable[..., Any]]


@dataclass(frozen=True)
class Queue:
    """A kind of queue. A verb that it does not have, or that would hold up a loop, is None."""

    name: str
    make: Callable[[int | None], Any] | None
    """make(capacity), where None is no limit; what belongs to a loop is made in it."""
    missing: str = ""
    send: Verb | None = None
    recv: Verb | None = None
    async_send: Verb | None = None
    async_recv: Verb | None = None
    close: Callable[[Any], object] = lambda made: None
    """For those that complain if nobody does."""
    ours: bool = False


def _channel(capacity: int | None) -> Any:
    return unbounded() if capacity is None else bounded(capacity)


class LoopQueue:
    """asyncio.Queue and what the standard library has to reach it from outside of its loop."""

    def __init__(self, capacity: int | None) -> None:
        self.queue: asyncio.Queue[Any] = asyncio.Queue(capacity or 0)
        self.loop = asyncio.get_running_loop()

    def post(self, item: Any) -> None:
        """From a thread, where there is no limit."""
        self.loop.call_soon_threadsafe(self.queue.put_nowait, item)

    def put(self, item: Any) -> None:
        """From a thread; waits for room."""
        asyncio.run_coroutine_threadsafe(self.queue.put(item), self.loop).result()

    async def put_from_another_loop(self, item: Any) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.queue.put(item), self.loop))


class ThreadQueue(queue.Queue[Any]):
    """queue.Queue as a task can use it: waiting for room, if there is none, is left to another thread."""

    async def put_from_task(self, item: Any) -> None:
        try:
            self.put_nowait(item)
        except queue.Full:
            await asyncio.to_thread(self.put, item)


class MeetingQueue(queue.Queue[Any]):
    """queue.Queue as a rendezvous of one producer: it goes on once the item has been taken."""

    def hand_over(self, item: Any) -> None:
        self.put(item)
        self.join()

    def take(self) -> Any:
        item = self.get()
        self.task_done()
        return item


class AsyncMeetingQueue(asyncio.Queue[Any]):
    """The same of asyncio.Queue."""

    async def hand_over(self, item: Any) -> None:
        await self.put(item)
        await self.join()

    async def take(self) -> Any:
        item = await self.get()
        self.task_done()
        return item


def _streams(module: Any) -> Callable[[int | None], Any]:
    return lambda capacity: module.create_memory_object_stream(math.inf if capacity is None else capacity)


def _close_streams(made: Any) -> None:
    for stream in made:
        stream.close()


def _limited(module: Any) -> Callable[[int | None], Any]:
    """For those with a class Queue of which 0 is no limit."""
    return lambda capacity: module.Queue(capacity or 0)


SIMPLE = Queue(
    "queue.SimpleQueue",
    lambda capacity: queue.SimpleQueue(),
    send=lambda made: made.put,
    recv=lambda made: made.get,
)
THREAD = Queue(
    "queue.Queue",
    lambda capacity: queue.Queue(capacity or 0),
    send=lambda made: made.put,
    recv=lambda made: made.get,
)
FT_UTILS = Queue(
    "ft_utils.StdConcurrentQueue",
    *optional("ft_utils.concurrency", lambda module: lambda capacity: module.StdConcurrentQueue(capacity or 0)),
    send=lambda made: made.put,
    recv=lambda made: made.get,
)
ASYNCIO = Queue(
    "asyncio.Queue",
    lambda capacity: asyncio.Queue(capacity or 0),
    async_send=lambda made: made.put,
    async_recv=lambda made: made.get,
)
ANYIO = Queue(
    "anyio memory stream",
    *optional("anyio", _streams),
    async_send=lambda made: made[0].send,
    async_recv=lambda made: made[1].receive,
    close=_close_streams,
)
JANUS = Queue(
    "janus.Queue",
    *optional("janus", _limited),
    send=lambda made: made.sync_q.put,
    recv=lambda made: made.sync_q.get,
    async_send=lambda made: made.async_q.put,
    async_recv=lambda made: made.async_q.get,
)
CULSANS = Queue(
    "culsans.Queue",
    *optional("culsans", _limited),
    send=lambda made: made.green_put,
    recv=lambda made: made.green_get,
    async_send=lambda made: made.async_put,
    async_recv=lambda made: made.async_get,
)
AIOLOGIC = Queue(
    "aiologic.Queue",
    *optional("aiologic", lambda module: module.Queue),
    send=lambda made: made.green_put,
    recv=lambda made: made.green_get,
    async_send=lambda made: made.async_put,
    async_recv=lambda made: made.async_get,
)
AIOLOGIC_SIMPLE = Queue(
    "aiologic.SimpleQueue",
    *optional("aiologic", lambda module: lambda capacity: module.SimpleQueue()),
    send=lambda made: made.put,
    recv=lambda made: made.green_get,
    async_send=lambda made: made.async_put,
    async_recv=lambda made: made.async_get,
)
POSTED = Queue(
    "asyncio.Queue, call_soon_threadsafe",
    LoopQueue,
    send=lambda made: made.post,
    async_recv=lambda made: made.queue.get,
)
RUN_THREADSAFE = Queue(
    "asyncio.Queue, run_coroutine_threadsafe",
    LoopQueue,
    send=lambda made: made.put,
    async_send=lambda made: made.put_from_another_loop,
    async_recv=lambda made: made.queue.get,
)
JOINED = Queue(
    "queue.Queue, put and join",
    lambda capacity: MeetingQueue(1),
    send=lambda made: made.hand_over,
    recv=lambda made: made.take,
)
ASYNC_JOINED = Queue(
    "asyncio.Queue, put and join",
    lambda capacity: AsyncMeetingQueue(1),
    async_send=lambda made: made.hand_over,
    async_recv=lambda made: made.take,
)
TO_THREAD = Queue(
    "queue.Queue, to_thread if full",
    lambda capacity: ThreadQueue(capacity or 0),
    recv=lambda made: made.get,
    async_send=lambda made: made.put_from_task,
)
OURS = Queue(
    "ferrule channel",
    _channel,
    send=lambda made: made[0].send,
    recv=lambda made: made[1].recv,
    async_send=lambda made: made[0].aio.send,
    async_recv=lambda made: made[1].aio.recv,
    ours=True,
)
OURS_UNBOUNDED = replace(OURS, name="ferrule channel, unbounded", make=lambda capacity: _channel(None))
"""What a limit costs, beside the one that has it."""

MIXED = [JANUS, CULSANS, AIOLOGIC]
"""For threads and tasks; janus has one loop only."""

THREADS = [THREAD, FT_UTILS, *MIXED, OURS]
MANY_THREADS = [contender for contender in THREADS if contender is not FT_UTILS]
"""Without the one whose put() raises Full where another producer takes the last room first."""
THREADS_UNBOUNDED = [SIMPLE, THREAD, FT_UTILS, *MIXED, AIOLOGIC_SIMPLE, OURS]
THREADS_MEETING = [JOINED, OURS]
TASKS_MEETING = [ASYNC_JOINED, ANYIO, OURS]
TASKS = [ASYNCIO, ANYIO, *MIXED, OURS]
TASKS_UNBOUNDED = [ASYNCIO, ANYIO, *MIXED, AIOLOGIC_SIMPLE, OURS]
TO_LOOP = [RUN_THREADSAFE, *MIXED, OURS, OURS_UNBOUNDED]
TO_LOOP_UNBOUNDED = [POSTED, *MIXED, AIOLOGIC_SIMPLE, OURS]
FROM_LOOP = [TO_THREAD, *MIXED, OURS]
BETWEEN_LOOPS = [RUN_THREADSAFE, CULSANS, AIOLOGIC, OURS]


@dataclass(frozen=True)
class Pair:
    """What a thread asks a task by, and what it is answered by."""

    name: str
    there: Queue
    back: Queue
    ours: bool = False

    @property
    def make(self) -> Callable[[int | None], Any] | None:
        return self.there.make

    @property
    def missing(self) -> str:
        return self.there.missing


BACK = replace(SIMPLE, async_send=lambda made: _without_waiting(made.put))
"""Into a queue without a limit a task can put as a thread does."""


def _without_waiting(put: Callable[[Any], None]) -> Callable[[Any], Any]:
    async def send(item: Any) -> None:
        put(item)

    return send


THERE_AND_BACK = [
    Pair("call_soon_threadsafe, SimpleQueue", POSTED, BACK),
    *[Pair(one.name, one, one, one.ours) for one in [*MIXED, AIOLOGIC_SIMPLE, OURS]],
]
