"""Recorded histories of threads, or of tasks, on one drop-in queue can all be explained one call at a time."""

import asyncio
import inspect
import itertools
import random
import sys
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ferrule.dropin.asyncio import QueueEmpty, QueueFull, QueueShutDown
from ferrule.dropin.queue import Empty, Full, ShutDown
from tests.support.driver import LoopThread
from tests.support.history import History, call
from tests.support.linearizability import check
from tests.support.loops import LOOPS
from tests.support.queues import ORDERS, TASKS, THREADS
from tests.support.race import HANG, run_together

ERRORS = (Empty, Full, ShutDown, ValueError, QueueEmpty, QueueFull, QueueShutDown)
NAMED = {QueueEmpty: Empty, QueueFull: Full, QueueShutDown: ShutDown}
"""By the model."""
CALLS = 7
SHORT = 1e-5


@dataclass(frozen=True)
class QueueModel:
    """A queue as a value: each method gives its answer and the queue after it."""

    order: str
    maxsize: int
    items: tuple[Any, ...] = ()
    unfinished: int = 0
    over: bool = False

    def put(self, item):
        if self.over:
            return ShutDown, self
        if 0 < self.maxsize <= len(self.items):
            return Full, self
        return None, replace(self, items=(*self.items, item), unfinished=self.unfinished + 1)

    def get(self):
        if not self.items:
            return ShutDown if self.over else Empty, self
        index = {"fifo": 0, "lifo": -1, "heap": self.items.index(min(self.items))}[self.order]
        left = list(self.items)
        item = left.pop(index)
        return item, replace(self, items=tuple(left))

    def size(self):
        return len(self.items), self

    def tasks(self):
        return self.unfinished, self

    def task_done(self):
        if not self.unfinished:
            return ValueError, self
        return None, replace(self, unfinished=self.unfinished - 1)

    def shutdown(self, immediate):
        if not immediate:
            return None, replace(self, over=True)
        left = self.unfinished - min(self.unfinished, len(self.items))
        return None, replace(self, over=True, items=(), unfinished=left)


@pytest.fixture(autouse=True)
def in_short_turns(switch_interval):
    """With the GIL, calls as short as these overlap only where threads take turns often."""
    sys.setswitchinterval(1e-5)


METHODS = ["put", "put", "put_within", "get", "get", "get_within", "size", "tasks", "task_done", "look", "end"]


class Actor:
    """One thread's random calls, recorded as the model names them."""

    def __init__(self, queue, items, history, name, rng):
        self.queue = queue
        self.items = items
        self.log = history.recorder(name)
        self.rng = rng

    def run(self):
        for _ in range(CALLS):
            getattr(self, self.rng.choice(METHODS))()

    def put(self):
        item = next(self.items)
        self.log(lambda: self.queue.put_nowait(item), "put", item, errors=ERRORS)

    def put_within(self):
        item = next(self.items)
        self.log(lambda: self.queue.put(item, timeout=SHORT), "put", item, errors=ERRORS)

    def get(self):
        self.log(self.queue.get_nowait, "get", errors=ERRORS)

    def get_within(self):
        self.log(lambda: self.queue.get(timeout=SHORT), "get", errors=ERRORS)

    def size(self):
        self.log(self.queue.qsize, "size")

    def tasks(self):
        self.log(lambda: self.queue.unfinished_tasks, "tasks")

    def task_done(self):
        self.log(self.queue.task_done, "task_done", errors=ERRORS)

    def look(self):
        """At the container; the model does not see it."""
        if self.rng.random() < 0.3 and not hasattr(self.queue, "kept"):
            assert self.queue.queue is not None

    def end(self):
        if self.rng.random() < 0.1:
            immediate = self.rng.random() < 0.5
            self.log(lambda: self.queue.shutdown(immediate), "shutdown", immediate)


@pytest.mark.parametrize("maxsize", [0, 1, 2])
@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("kind", THREADS)
def test_every_history_is_linearizable(kind, threads, maxsize, rng, request):
    for _ in range(1_500 if request.config.option.long else 40):
        q, items, history = THREADS[kind](maxsize), itertools.count(), History()
        actors = [Actor(q, items, history, f"T{n}", random.Random(rng.random())) for n in range(threads)]
        run_together(*(actor.run for actor in actors))
        verdict = check(history.calls(), QueueModel(ORDERS[kind], maxsize))
        assert verdict, repr(verdict)


async def within(busy, coroutine):
    """What it gives; `busy` if it is cancelled because it takes too long: then it had to wait."""
    try:
        async with asyncio.timeout(SHORT):
            return await coroutine
    except TimeoutError:
        raise busy from None


class TaskActor(Actor):
    """One task's."""

    async def run(self):
        for _ in range(CALLS):
            waits = getattr(self, self.rng.choice(METHODS))()
            if inspect.isawaitable(waits):
                await waits
            if self.rng.random() < 0.5:
                await asyncio.sleep(0)

    def put_within(self):
        item = next(self.items)
        return self.log.awaited(within(Full, self.queue.put(item)), "put", item, errors=ERRORS)

    def get_within(self):
        return self.log.awaited(within(Empty, self.queue.get()), "get", errors=ERRORS)

    def tasks(self):
        self.log(lambda: self.queue._unfinished_tasks, "tasks")

    def look(self):
        if self.rng.random() < 0.3:
            assert self.queue._queue is not None


@pytest.mark.parametrize("maxsize", [1, 2])
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue", "Queue with hooks"])
def test_every_history_of_tasks_is_linearizable(kind, loop, maxsize, rng, request):
    """Two of one loop and one of another."""
    with LoopThread(loop) as here, LoopThread(loop) as there:
        for _ in range(1_500 if request.config.option.long else 40):
            q, items, history = TASKS[kind](maxsize), itertools.count(), History()
            actors = [TaskActor(q, items, history, f"T{n}", random.Random(rng.random())) for n in range(3)]
            tasks = [where.spawn(actor.run()) for where, actor in zip((here, there, here), actors, strict=True)]
            for task in tasks:
                task.result(HANG)
            calls = [replace(call, result=NAMED.get(call.result, call.result)) for call in history.calls()]
            verdict = check(calls, QueueModel(ORDERS[kind], maxsize))
            assert verdict, repr(verdict)


IN_TURN = {
    "an item comes twice": ("fifo", [("put", 1, None), ("get", 1), ("get", 1)]),
    "an item is lost": ("fifo", [("put", 1, None), ("get", Empty)]),
    "the wrong one comes first": ("fifo", [("put", 1, None), ("put", 2, None), ("get", 2)]),
    "the oldest comes first": ("lifo", [("put", 1, None), ("put", 2, None), ("get", 1)]),
    "the last comes first": ("heap", [("put", 1, None), ("put", 2, None), ("get", 2)]),
    "there are too many": ("fifo", [("put", 1, None), ("put", 2, None), ("put", 3, None)]),
    "there was room": ("fifo", [("put", 1, None), ("put", 2, Full)]),
    "it was over": ("fifo", [("shutdown", False, None), ("put", 1, None)]),
    "a task too many": ("fifo", [("put", 1, None), ("task_done", None), ("task_done", None)]),
    "what was dropped counts": ("fifo", [("put", 1, None), ("shutdown", True, None), ("tasks", 1)]),
}


@pytest.mark.parametrize(("order", "calls"), IN_TURN.values(), ids=IN_TURN)
def test_histories_that_must_be_rejected(order, calls):
    history = [call(2 * n, 2 * n + 1, name, *args, result=result) for n, (name, *args, result) in enumerate(calls)]
    assert check(history[:-1], QueueModel(order, 2))
    assert not check(history, QueueModel(order, 2))
