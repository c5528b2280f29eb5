"""The names of the standard library's `queue`, over an engine in C: `from ferrule.dropin import queue`.

The interface is that of the newest CPython, with shutdown() on every version. Empty and Full are the standard library's
own classes, and so is ShutDown where it has one.
"""

from __future__ import annotations

from collections import deque
from heapq import heappop, heappush
from typing import Any, TypeVar

from ._errors import Empty, Full, ShutDown
from ._queues import SimpleQueue, SyncQueue, adopt

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown", "SimpleQueue"]

_T = TypeVar("_T")


class Queue(SyncQueue[_T]):
    """A FIFO queue for threads, of at most `maxsize` items (0 or less: any number).

    Complexity  Every method: O(1); shutdown: O(waiters), and O(items) if immediate.
    Threads     Every method is safe.
    Blocks      get while the queue is empty, put while it is full, join while tasks are not done; Ctrl-C interrupts
                them. In a thread whose event loop runs they stop the loop, as those of the standard library do.
    Calls you   only the methods _init, _qsize, _put and _get where a subclass overrides one of them, with `mutex` held.
    Errors      Empty, Full, ShutDown; ValueError for a negative timeout and for a task_done() too many.

    >>> q = Queue(maxsize=2)
    >>> q.put("item")
    >>> q.get(timeout=1.0)
    'item'
    """

    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)

    def _init(self, maxsize: int) -> None:
        self.queue: Any = deque()

    def _qsize(self) -> int:
        return len(self.queue)

    def _put(self, item: _T) -> None:
        self.queue.append(item)

    def _get(self) -> _T:
        item: _T = self.queue.popleft()
        return item


class LifoQueue(Queue[_T]):
    """A Queue that gives the item that was put in last.

    Complexity  as Queue.
    Threads     as Queue.
    Blocks      as Queue.
    Calls you   as Queue.
    Errors      as Queue.

    >>> q = LifoQueue()
    >>> q.put("first")
    >>> q.put("last")
    >>> q.get()
    'last'
    """

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _get(self) -> _T:
        item: _T = self.queue.pop()
        return item


class PriorityQueue(Queue[_T]):
    """A Queue that gives the least item; items are often pairs of a priority and what it is of.

    Complexity  put and get: O(log items); the others as Queue.
    Threads     as Queue.
    Blocks      as Queue; and put and get while another thread compares items of this queue.
    Calls you   < of the items, with `mutex` held; and as Queue.
    Errors      as Queue, and what < raises: the queue is then as it was. WouldDeadlock where < calls the queue.

    >>> q = PriorityQueue()
    >>> q.put((2, "later"))
    >>> q.put((1, "first"))
    >>> q.get()
    (1, 'first')
    """

    def _init(self, maxsize: int) -> None:
        self.queue = []

    def _put(self, item: _T) -> None:
        heappush(self.queue, item)

    def _get(self) -> _T:
        item: _T = heappop(self.queue)
        return item


adopt(Queue, "fifo")
adopt(LifoQueue, "lifo")
adopt(PriorityQueue, "heap")
