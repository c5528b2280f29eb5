"""The drop-in queues and what they take the place of: each class beside its original, by the same calls."""

from __future__ import annotations

import asyncio
import queue
from typing import Any

from benchmarks.peers.channel import Queue
from ferrule.dropin import asyncio as tasks
from ferrule.dropin import queue as threads

OURS = "ferrule.dropin"


class _Hooks:
    """Hooks of a subclass: the newest first, as LifoQueue has them, but the engine does not know that."""

    queue: Any

    def _put(self, item: Any) -> None:
        self.queue.append(item)

    def _get(self) -> Any:
        return self.queue.pop()


class HookedQueue(_Hooks, queue.Queue[Any]):
    """Of the standard library."""


class HookedDropIn(_Hooks, threads.Queue[Any]):
    """Of ours."""


def _of_threads(name: str, cls: Any, *, ours: bool = False) -> Queue:
    limited = cls not in (queue.SimpleQueue, threads.SimpleQueue)
    return Queue(
        name,
        lambda capacity: cls(capacity or 0) if limited else cls(),
        send=lambda made: made.put,
        recv=lambda made: made.get,
        ours=ours,
    )


def _of_tasks(name: str, cls: Any, *, ours: bool = False) -> Queue:
    return Queue(
        name,
        lambda capacity: cls(capacity or 0),
        async_send=lambda made: made.put,
        async_recv=lambda made: made.get,
        ours=ours,
    )


def _beside(name: str) -> list[Queue]:
    return [
        _of_threads(f"queue.{name}", getattr(queue, name)),
        _of_threads(f"{OURS}.queue.{name}", getattr(threads, name), ours=True),
    ]


def _async_beside(name: str) -> list[Queue]:
    return [
        _of_tasks(f"asyncio.{name}", getattr(asyncio, name)),
        _of_tasks(f"{OURS}.asyncio.{name}", getattr(tasks, name), ours=True),
    ]


THREADS = {
    **{name: _beside(name) for name in ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"]},
    "hooks": [
        _of_threads("a subclass of queue.Queue", HookedQueue),
        _of_threads(f"the same of {OURS}.queue.Queue", HookedDropIn, ours=True),
    ],
}
"""By class: the original, and the one that takes its place."""

TASKS = {name: _async_beside(name) for name in ["Queue", "LifoQueue", "PriorityQueue"]}
