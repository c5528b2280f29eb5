"""How two threads use a drop-in queue of either face."""

from collections.abc import Callable
from typing import Any

from ferrule import WouldDeadlock
from ferrule.dropin import asyncio as tasks
from ferrule.dropin import queue as threads

from .queues import waiting
from .two_threads import Run, Use

__all__ = ["QUEUE_USES"]

SHORT = 0.001

SIMPLE_CALLS: dict[str, Callable[[Any, Run], Any]] = {
    "put": lambda q, _: q.put(1, True, SHORT),
    "get": lambda q, _: q.get(True, SHORT),
    "put_nowait": lambda q, _: q.put_nowait(1),
    "get_nowait": lambda q, _: q.get_nowait(),
    "qsize": lambda q, _: q.qsize(),
    "empty": lambda q, _: q.empty(),
}


def under(lock: Any, look: Callable[[], Any] = lambda: None) -> None:
    with lock:
        look()


def set_to(q: Any, name: str, value: Any) -> None:
    setattr(q, name, value)


def all_done(q: Any) -> None:
    q.unfinished_tasks = 0


def joined(q: Any) -> None:
    """Waits only if the other thread puts just then; that one says, at its end at the latest, that all is done."""
    all_done(q)
    q.join()


CALLS = SIMPLE_CALLS | {
    "full": lambda q, _: q.full(),
    "maxsize": lambda q, _: set_to(q, "maxsize", q.maxsize),
    "unfinished_tasks": lambda q, _: q.unfinished_tasks,
    "task_done": lambda q, _: q.task_done(),
    "join": lambda q, _: joined(q),
    "is_shutdown": lambda q, _: q.is_shutdown,
    "shutdown": lambda q, _: q.shutdown(True),
    "begin again": lambda q, _: q.__init__(2),
    "queue": lambda q, _: under(q.mutex, q.queue.clear),
    "mutex": lambda q, _: under(q.mutex),
    "not_empty": lambda q, _: under(q.not_empty, q.not_empty.notify_all),
    "not_full": lambda q, _: under(q.not_full, q.not_full.notify),
    "all_tasks_done": lambda q, _: under(q.all_tasks_done, lambda: q.all_tasks_done.wait(SHORT)),
}

ERRORS = (threads.Empty, threads.Full, threads.ShutDown, ValueError, WouldDeadlock, IndexError)


async def in_time(awaitable: Any) -> None:
    import asyncio

    await asyncio.wait_for(awaitable, SHORT)


def async_joined(q: Any, run: Run) -> None:
    q._unfinished_tasks = 0
    run(in_time(q.join()))


ASYNC_CALLS: dict[str, Callable[[Any, Run], Any]] = {
    "put": lambda q, run: run(in_time(q.put(1))),
    "get": lambda q, run: run(in_time(q.get())),
    "put_nowait": lambda q, _: q.put_nowait(1),
    "get_nowait": lambda q, _: q.get_nowait(),
    "qsize": lambda q, _: q.qsize(),
    "empty": lambda q, _: q.empty(),
    "full": lambda q, _: q.full(),
    "maxsize": lambda q, _: set_to(q, "_maxsize", q.maxsize),
    "task_done": lambda q, _: q.task_done(),
    "join": async_joined,
    "shutdown": lambda q, _: q.shutdown(True),
    "begin again": lambda q, _: q.__init__(2),
    "repr": lambda q, _: (repr(q), str(q)),
    "the container": lambda q, _: len(q._queue),
}

ASYNC_ERRORS = (
    tasks.QueueEmpty,
    tasks.QueueFull,
    tasks.QueueShutDown,
    TimeoutError,
    ValueError,
    IndexError,
    RuntimeError,
)


def rests(q: Any) -> None:
    """Nobody is left in it, and it works."""
    q.__init__(1)
    assert set(waiting(q).values()) == {0}
    q.put_nowait(5)
    assert q.get_nowait() == 5


def drained(q: Any) -> None:
    while not q.empty():
        q.get_nowait()
    assert set(waiting(q).values()) == {0}


QUEUE_USES = {
    f"ferrule.dropin.queue.{cls.__name__}": Use(
        make=lambda cls=cls: cls(2),  # type: ignore[misc]
        calls=CALLS,
        errors=ERRORS,
        rest=rests,
        leave=all_done,
    )
    for cls in (threads.Queue, threads.LifoQueue, threads.PriorityQueue)
}
QUEUE_USES |= {
    f"ferrule.dropin.asyncio.{cls.__name__}": Use(
        make=lambda cls=cls: cls(2),  # type: ignore[misc]
        calls=ASYNC_CALLS,
        errors=ASYNC_ERRORS,
        rest=rests,
    )
    for cls in (tasks.Queue, tasks.LifoQueue, tasks.PriorityQueue)
}
QUEUE_USES["ferrule.dropin.queue.SimpleQueue"] = Use(
    make=threads.SimpleQueue, calls=SIMPLE_CALLS, errors=(threads.Empty,), rest=drained
)
