"""Waiting at several queues: what a user would do in place of select().

`put` gives the call that puts an item into the queue at a place, `take` the call that gives an item of any of them,
`async_take` the same for a task; each is given the queues. `either` gives the call that takes an item from the first
queue or puts one into the second, whichever can be done, and says which it did.
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ferrule import aio, bounded, select

Queues = list[Any]
CAPACITY = 100


@dataclass(frozen=True)
class Waits:
    """A way to wait at several queues."""

    name: str
    make: Callable[..., Queues] | None
    """make(count, capacity=CAPACITY); what belongs to a loop is made in it."""
    put: Callable[[Queues, int], Callable[[Any], object]]
    take: Callable[[Queues], Callable[[], Any]] | None = None
    async_put: Callable[[Queues, int], Callable[[Any], Awaitable[object]]] | None = None
    async_take: Callable[[Queues], Callable[[], Awaitable[Any]]] | None = None
    either: Callable[[Queues], Callable[[Any], bool]] | None = None
    close: Callable[[Queues], object] = lambda queues: None
    ours: bool = False
    missing: str = ""


def _channels(count: int, capacity: int = CAPACITY) -> Queues:
    return [bounded(capacity) for _ in range(count)]


def _select(queues: Queues) -> Callable[[], Any]:
    receivers = [rx for _, rx in queues]
    return lambda: select(*receivers).value


def _async_select(queues: Queues) -> Callable[[], Awaitable[Any]]:
    receivers = [rx for _, rx in queues]

    async def take() -> Any:
        return (await aio.select(*receivers)).value

    return take


def _select_either(queues: Queues) -> Callable[[Any], bool]:
    (_, rx), (tx, _) = queues
    return lambda item: select(rx, tx.sending(item)).index == 0


OURS = Waits(
    "ferrule select",
    _channels,
    put=lambda queues, place: queues[place][0].send,
    take=_select,
    async_put=lambda queues, place: queues[place][0].aio.send,
    async_take=_async_select,
    either=_select_either,
    ours=True,
)


def _poll(queues: Queues) -> Callable[[], Any]:
    """Looks at one after the other, and lets others run after each round in vain."""
    looks = [partial(one.get, block=False) for one in queues]

    def take() -> Any:
        while True:
            for look in looks:
                try:
                    return look()
                except queue.Empty:
                    pass
            time.sleep(0)

    return take


def _poll_either(queues: Queues) -> Callable[[Any], bool]:
    receives, sends = queues

    def either(item: Any) -> bool:
        while True:
            try:
                receives.get(block=False)
                return True
            except queue.Empty:
                pass
            try:
                sends.put(item, block=False)
                return False
            except queue.Full:
                time.sleep(0)

    return either


POLLED = Waits(
    "queue.Queue, polled",
    lambda count, capacity=CAPACITY: [queue.Queue(capacity) for _ in range(count)],
    put=lambda queues, place: queues[place].put,
    take=_poll,
    either=_poll_either,
)
SIMPLE_POLLED = Waits(
    "queue.SimpleQueue, polled",
    lambda count, capacity=None: [queue.SimpleQueue() for _ in range(count)],
    put=lambda queues, place: queues[place].put,
    take=_poll,
)


class Gets:
    """asyncio.wait() on a get() of each queue; those that were not first wait on for the next call."""

    def __init__(self, queues: Queues) -> None:
        self.queues = queues
        self.gets: dict[asyncio.Task[Any], Any] = {}
        self.done: list[Any] = []

    async def take(self) -> Any:
        if not self.gets:
            self.gets = {asyncio.ensure_future(one.get()): one for one in self.queues}
        while not self.done:
            done, _ = await asyncio.wait(self.gets, return_when=asyncio.FIRST_COMPLETED)
            for get in done:
                one = self.gets.pop(get)
                self.done.append(get.result())
                self.gets[asyncio.ensure_future(one.get())] = one
        return self.done.pop()


class GetQueues(list[Any]):
    """asyncio's queues, and the gets that are to be cancelled at the end."""

    def __init__(self, count: int, capacity: int = CAPACITY) -> None:
        super().__init__(asyncio.Queue(capacity) for _ in range(count))
        self.waits = Gets(self)

    def close(self) -> None:
        for get in self.waits.gets:
            get.cancel()


WAITED = Waits(
    "asyncio.Queue, asyncio.wait()",
    GetQueues,
    put=lambda queues, place: queues[place].put_nowait,
    async_put=lambda queues, place: queues[place].put,
    async_take=lambda queues: queues.waits.take,
    close=GetQueues.close,
)

THREADS = [OURS, POLLED, SIMPLE_POLLED]
EITHER = [OURS, POLLED]
TASKS = [OURS, WAITED]
