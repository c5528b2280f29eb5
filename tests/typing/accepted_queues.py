"""What mypy --strict must accept of the drop-in queues."""

import asyncio
import contextlib
import queue as standard
from collections.abc import Coroutine
from typing import Any, assert_type

from ferrule.dropin import asyncio as tasks
from ferrule.dropin import queue as threads
from ferrule.dropin.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue

jobs: Queue[int] = Queue(maxsize=3)
jobs.put(1)
jobs.put(1, True, 0.5)
jobs.put(1, block=False)
jobs.put_nowait(2)
assert_type(jobs.get(), int)
assert_type(jobs.get(timeout=1), int)
assert_type(jobs.get_nowait(), int)
assert_type(jobs.qsize(), int)
assert_type(jobs.empty(), bool)
assert_type(jobs.full(), bool)
assert_type(jobs.unfinished_tasks, int)
assert_type(jobs.is_shutdown, bool)
jobs.maxsize = 5
jobs.task_done()
jobs.join()
jobs.shutdown(immediate=True)
with jobs.mutex:
    jobs.queue.clear()
    jobs.unfinished_tasks = 0
with jobs.not_empty:
    jobs.not_empty.notify()
    jobs.not_full.notify_all()
    jobs.all_tasks_done.wait(timeout=1)

last = LifoQueue[str](1)
assert_type(last.get(), str)
least = PriorityQueue[tuple[int, str]]()
assert_type(least.get(), tuple[int, str])
simple: SimpleQueue[bytes] = SimpleQueue()
simple.put(b"")
assert_type(simple.get(timeout=1), bytes)

error: type[standard.Empty] = Empty
full: type[standard.Full] = Full
shut: type[Exception] = ShutDown


class Unique(threads.Queue[str]):
    """Hooks of a subclass."""

    def _init(self, maxsize: int) -> None:
        self.queue = {}

    def _put(self, item: str) -> None:
        self.queue[item] = None

    def _get(self) -> str:
        item: str = self.queue.popitem()[0]
        return item


async def main() -> None:
    q: tasks.Queue[int] = tasks.Queue(1)
    got: Coroutine[Any, Any, int] = q.get()
    got.close()
    assert_type(await q.get(), int)
    await q.put(1)
    await q.join()
    q.put_nowait(1)
    assert_type(q.get_nowait(), int)
    assert_type(q.maxsize, int)
    assert_type(asyncio.create_task(q.get()), asyncio.Task[int])
    assert_type(await asyncio.wait_for(q.get(), 1), int)
    assert_type(await tasks.PriorityQueue[str]().get(), str)
    assert_type(await tasks.LifoQueue[str](maxsize=2).get(), str)
    with contextlib.suppress(tasks.QueueEmpty, tasks.QueueFull, tasks.QueueShutDown):
        q.shutdown()
