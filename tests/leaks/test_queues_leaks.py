"""References, objects and memory come back to the start after every kind of call on a drop-in queue."""

import pytest

from tests.support.leaks import assert_no_leak
from tests.support.queues import TASKS, THREADS

SETUP = """
import asyncio, gc, warnings, weakref
from ferrule import WouldDeadlock
from ferrule.dropin import asyncio as tasks
from ferrule.dropin.asyncio import QueueEmpty, QueueFull, QueueShutDown
from ferrule.dropin.queue import Empty, Full, ShutDown, SimpleQueue
from tests.support.driver import Stepper, complete, new_loop, turns
from tests.support.queues import TASKS, THREADS, opened
from tests.support.race import eventually, raises, spawn

warnings.simplefilter("ignore")

class Item:
    def __lt__(self, other):
        return id(self) < id(other)

class Bad:
    def __lt__(self, other):
        raise KeyError

item, other, bad = Item(), Item(), Bad()
loop = new_loop("asyncio")
"""

WATCH = ["item", "other", "bad"]

CALLS = {
    "new queues": """
        q = make(); q = make(2.5); q.put(item); q.put_nowait(other); del q
        q = make(1); q.put(item); q.__init__(2); q.maxsize = 3; q.maxsize
        raises(TypeError, make, "1"); raises(TypeError, setattr, q, "maxsize", None)
        q = make(); q.itself = q; q.put(item); del q
    """,
    "puts and gets": """
        q = make(3)
        q.put(item); q.put(other, timeout=1); q.put_nowait(item)
        raises(Full, q.put_nowait, item); raises(Full, q.put, item, True, 0); raises(Full, q.put, item, True, 1e-4)
        q.get(); q.get(timeout=1); q.get_nowait()
        raises(Empty, q.get_nowait); raises(Empty, q.get, True, 0); raises(Empty, q.get, True, 1e-4)
        raises(ValueError, q.get, True, -1); raises(TypeError, q.get, True, "1")
        q.qsize(); q.full(); q.empty(); q.unfinished_tasks
        q.task_done(); q.task_done(); q.task_done(); q.join(); raises(ValueError, q.task_done)
    """,
    "many items": """
        q = make()
        for n in range(300): q.put(item if n % 2 else other)
        for n in range(200): q.get()
    """,
    "shutdown": """
        q = make(); q.put(item); q.shutdown(); raises(ShutDown, q.put, item); q.get(); raises(ShutDown, q.get)
        q = make(); q.put(item); q.put(other); q.shutdown(immediate=True); raises(ShutDown, q.get)
    """,
    "comparisons that raise": """
        q = make(); q.put(bad)
        try:
            q.put(item); q.put(bad); q.get(); q.get(); q.get()
        except KeyError:
            pass
    """,
    "the container and the conditions": """
        q = make(); q.put(item); hasattr(q, "queue")
        with q.mutex: pass
        with q.not_empty: q.not_empty.notify()
        with q.not_full: q.not_full.notify_all()
        q.all_tasks_done
        q.put(other); q.get()
        with q.mutex: raises(WouldDeadlock, q.put, item)
    """,
    "waits of threads": """
        q = make(1)
        getting = spawn(q.get); eventually(lambda: q._state()["getters"]); q.put(item); getting.result()
        q.put(item); putting = spawn(q.put, other); eventually(lambda: q._state()["putters"])
        q.get(); putting.result(); del getting, putting
    """,
}


@pytest.mark.parametrize("kind", THREADS)
@pytest.mark.parametrize("call", CALLS)
def test_of_threads(call, kind):
    repeats = 100 if call in ("waits of threads", "many items") else 1000
    assert_no_leak(CALLS[call], setup=SETUP + f"make = THREADS[{kind!r}]", watch=WATCH, repeats=repeats)


ASYNC_CALLS = {
    "puts and gets": """
        q = make(2)
        complete(q.put(item)); q.put_nowait(other); raises(QueueFull, q.put_nowait, item); repr(q); str(q)
        complete(q.get()); q.get_nowait(); raises(QueueEmpty, q.get_nowait)
        q.task_done(); q.task_done(); complete(q.join()); raises(ValueError, q.task_done)
        q.put(item).close(); q.get().close(); q.join().close(); q._queue
    """,
    "waits": """
        async def main():
            q = make(1)
            getting = asyncio.ensure_future(q.get()); await turns(); q.put_nowait(item); await getting
            q.put_nowait(item); putting = asyncio.ensure_future(q.put(other)); await turns(); q.get_nowait()
            await putting
            for wait in (q.put(item), q.join()):
                waiting = asyncio.ensure_future(wait); await turns(); waiting.cancel(); await turns()
            stepper = Stepper(q.put(item)); stepper.step(); del stepper
            q.get_nowait()
            stepper = Stepper(q.get()); stepper.step(); q.put_nowait(item); stepper.close()
            q.shutdown(immediate=True)
        loop.run_until_complete(main())
    """,
    "shutdown": """
        q = make(); q.put_nowait(item); q.shutdown(); raises(QueueShutDown, q.put_nowait, item)
        q.get_nowait(); raises(QueueShutDown, q.get_nowait); raises(QueueShutDown, complete, q.get())
    """,
}


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("call", ASYNC_CALLS)
def test_of_tasks(call, kind):
    assert_no_leak(
        ASYNC_CALLS[call],
        setup=SETUP + f"make = TASKS[{kind!r}]",
        watch=WATCH,
        repeats=200 if call == "waits" else 1000,
    )


def test_simple_queue():
    assert_no_leak(
        """
        q = SimpleQueue(); q.put(item); q.put_nowait(other); q.get(); q.get(timeout=1); raises(Empty, q.get_nowait)
        for n in range(100): q.put(item)
        raises(TypeError, SimpleQueue, 1); raises(ValueError, q.get, True, -1); weakref.ref(q); SimpleQueue[int]
        q.put(q)
        """,
        setup=SETUP,
        watch=WATCH,
    )
