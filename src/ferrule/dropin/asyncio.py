"""The names of asyncio's queues, over an engine in C: `from ferrule.dropin.asyncio import Queue`.

The interface is that of the newest CPython, with shutdown() on every version. Beyond it, tasks of several event loops
and threads may use one queue. The exceptions are asyncio's own classes, where it has them.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Any, TypeVar

from ._async_errors import QueueEmpty, QueueFull, QueueShutDown
from ._queues import AsyncQueue, adopt

__all__ = ["LifoQueue", "PriorityQueue", "Queue", "QueueEmpty", "QueueFull", "QueueShutDown"]

_T = TypeVar("_T")


class Queue(AsyncQueue[_T]):
    """A FIFO queue for tasks, of at most `maxsize` items (0 or less: any number).

    Complexity  Every method: O(1); shutdown: O(waiters), and O(items) if immediate.
    Threads     Every method is safe. Tasks of several loops and threads wait in one queue; a thread without a loop has
                put_nowait and get_nowait.
    Blocks      never the loop: get suspends the task while the queue is empty, put while it is full, join while tasks
                are not done.
    Calls you   only the methods _init, _put, _get, and the plain public ones, where a subclass overrides one of them.
    Errors      QueueEmpty, QueueFull, QueueShutDown; ValueError for a task_done() too many.

    >>> import asyncio
    >>> async def through():
    ...     q = Queue(maxsize=2)
    ...     await q.put("item")
    ...     return await q.get()
    >>> asyncio.run(through())
    'item'
    """

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)

    def _init(self, maxsize: int) -> None:
        self._queue: Any = deque()

    def _put(self, item: _T) -> None:
        self._queue.append(item)

    def _get(self) -> _T:
        item: _T = self._queue.popleft()
        return item


class LifoQueue(Queue[_T]):
    """A Queue that gives the item that was put in last.

    Complexity  as Queue.
    Threads     as Queue.
    Blocks      as Queue.
    Calls you   as Queue.
    Errors      as Queue.

    >>> q = LifoQueue()
    >>> q.put_nowait("first")
    >>> q.put_nowait("last")
    >>> q.get_nowait()
    'last'
    """

    def _init(self, maxsize: int) -> None:
        self._queue = []

    def _get(self) -> _T:
        item: _T = self._queue.pop()
        return item


class PriorityQueue(Queue[_T]):
    """A Queue that gives the least item; items are often pairs of a priority and what it is of.

    Complexity  put and get: O(log items); the others as Queue.
    Threads     as Queue.
    Blocks      as Queue; and put and get for an instant, while another thread compares items of this queue.
    Calls you   < of the items; and as Queue.
    Errors      as Queue, and what < raises: the queue is then as it was. WouldDeadlock where < calls the queue.

    >>> q = PriorityQueue()
    >>> q.put_nowait((2, "later"))
    >>> q.put_nowait((1, "first"))
    >>> q.get_nowait()
    (1, 'first')
    """

    def _init(self, maxsize: int) -> None:
        self._queue = []

    def _put(self, item: _T) -> None:
        heappush(self._queue, item)

    def _get(self) -> _T:
        item: _T = heappop(self._queue)
        return item


adopt(Queue, "fifo")
adopt(LifoQueue, "lifo")
adopt(PriorityQueue, "heap")
