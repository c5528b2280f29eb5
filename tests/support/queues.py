"""What the tests of the drop-in queues share: each class of both faces, kept by the engine and by hooks."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from ferrule.dropin import asyncio as tasks
from ferrule.dropin import queue as threads

__all__ = ["BY_HOOKS", "FIFO_KINDS", "ORDERS", "TASKS", "THREADS", "opened", "state", "waiting"]


class Last(threads.Queue[Any]):
    """A queue with hooks of its own: what comes twice is there once, at its later place."""

    def _init(self, maxsize: int) -> None:
        self.queue = OrderedDict()

    def _put(self, item: Any) -> None:
        self.queue.pop(item, None)
        self.queue[item] = None

    def _get(self) -> Any:
        return self.queue.popitem(last=False)[0]


class Hooked(threads.Queue[Any]):
    """A FIFO queue with hooks of its own."""

    def _init(self, maxsize: int) -> None:
        self.kept: deque[Any] = deque()

    def _qsize(self) -> int:
        return len(self.kept)

    def _put(self, item: Any) -> None:
        self.kept.append(item)

    def _get(self) -> Any:
        return self.kept.popleft()


class AsyncHooked(tasks.Queue[Any]):
    """The same for tasks, whose size is that of `_queue`."""

    def _init(self, maxsize: int) -> None:
        self._queue = []

    def _get(self) -> Any:
        return self._queue.pop(0)


def opened(queue: Any) -> Any:
    """The queue, which hooks keep from now on because somebody has looked at its container."""
    assert len(queue.queue if hasattr(queue, "queue") else queue._queue) == queue.qsize()
    assert state(queue)["order"] == "hooks"
    return queue


def opening(cls: Callable[..., Any]) -> Callable[..., Any]:
    return lambda maxsize=0: opened(cls(maxsize))


THREADS: dict[str, Callable[..., Any]] = {
    "Queue": threads.Queue,
    "LifoQueue": threads.LifoQueue,
    "PriorityQueue": threads.PriorityQueue,
    "Queue, opened": opening(threads.Queue),
    "LifoQueue, opened": opening(threads.LifoQueue),
    "PriorityQueue, opened": opening(threads.PriorityQueue),
    "Queue with hooks": Hooked,
}
"""Each kind of queue for threads, given a maxsize."""

TASKS: dict[str, Callable[..., Any]] = {
    "Queue": tasks.Queue,
    "LifoQueue": tasks.LifoQueue,
    "PriorityQueue": tasks.PriorityQueue,
    "Queue, opened": opening(tasks.Queue),
    "LifoQueue, opened": opening(tasks.LifoQueue),
    "PriorityQueue, opened": opening(tasks.PriorityQueue),
    "Queue with hooks": AsyncHooked,
}
"""The same for tasks."""

FIFO_KINDS = ["Queue", "Queue, opened", "Queue with hooks"]
BY_HOOKS = [kind for kind in THREADS if "," in kind or "with" in kind]
ORDERS = {
    kind: "lifo" if kind.startswith("Lifo") else "heap" if kind.startswith("Priority") else "fifo" for kind in THREADS
}


def state(queue: Any) -> dict[str, Any]:
    """Who waits, and how the items are kept."""
    found: dict[str, Any] = queue._state()
    return found


def waiting(queue: Any) -> dict[str, int]:
    """How many wait for an item, for room, and for all tasks."""
    return {name: len(who) for name, who in state(queue).items() if name != "order"}
