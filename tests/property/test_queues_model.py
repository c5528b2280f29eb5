"""Any sequence of calls that need not wait answers as a plain list does, whoever keeps the items and from when on."""

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ferrule.dropin import asyncio as tasks
from ferrule.dropin import queue as threads
from tests.support.driver import complete
from tests.support.queues import ORDERS, TASKS, THREADS, opened, waiting
from tests.support.race import EXAMPLES

NOTHING = {"getters": 0, "putters": 0, "joiners": 0}
ITEMS = st.integers(-3, 3)
SIZES = st.sampled_from([-1, 0, 1, 2, 3, 2.5])


class QueueMachine(RuleBasedStateMachine):
    """One queue and a list. What has to wait is not called: the errors say that it would."""

    kinds = THREADS
    empty, full, shut = threads.Empty, threads.Full, threads.ShutDown

    @initialize(kind=st.sampled_from(list(THREADS)), maxsize=SIZES)
    def begin(self, kind, maxsize):
        self.queue = self.kinds[kind](maxsize)
        self.order = ORDERS[kind]
        self.maxsize = maxsize
        self.items = []
        self.unfinished = 0
        self.over = False

    @property
    def is_full(self):
        return 0 < self.maxsize <= len(self.items)

    def ways_to_put(self, item):
        q = self.queue
        return [lambda: q.put_nowait(item), lambda: q.put(item, False), lambda: q.put(item, True, 0)]

    def ways_to_get(self):
        q = self.queue
        return [q.get_nowait, lambda: q.get(False), lambda: q.get(True, 0)]

    @rule(item=ITEMS, way=st.integers(0, 2))
    def put(self, item, way):
        put = self.ways_to_put(item)[way]
        if self.over:
            with pytest.raises(self.shut):
                put()
        elif self.is_full:
            with pytest.raises(self.full):
                put()
        else:
            assert put() is None
            self.items.append(item)
            self.unfinished += 1

    @rule(way=st.integers(0, 2))
    def get(self, way):
        get = self.ways_to_get()[way]
        if self.items:
            assert get() == self.taken()
        else:
            with pytest.raises(self.shut if self.over else self.empty):
                get()

    def taken(self):
        if self.order == "heap":
            self.items.remove(least := min(self.items))
            return least
        return self.items.pop(0 if self.order == "fifo" else -1)

    @rule()
    def task_done(self):
        if self.unfinished:
            self.queue.task_done()
            self.unfinished -= 1
        else:
            with pytest.raises(ValueError, match="too many times"):
                self.queue.task_done()

    @rule(maxsize=SIZES)
    def resize(self, maxsize):
        self.set_maxsize(maxsize)
        self.maxsize = maxsize

    def set_maxsize(self, maxsize):
        self.queue.maxsize = maxsize

    @rule(how=st.sampled_from([None] * 8 + [False, True]))
    def shut_down(self, how):
        if how is not None:
            self.queue.shutdown(how)
            self.over = True
        if how:
            self.unfinished -= min(self.unfinished, len(self.items))
            self.items.clear()

    @rule(does=st.sampled_from([False] * 4 + [True]))
    def open(self, does):
        if does and not hasattr(self.queue, "kept"):
            opened(self.queue)

    @invariant()
    def it_is_as_the_list(self):
        q = self.queue
        assert (q.qsize(), q.empty(), q.full()) == (len(self.items), not self.items, self.is_full)
        assert waiting(q) == NOTHING
        self.check_rest()

    def check_rest(self):
        q = self.queue
        assert (q.maxsize, q.unfinished_tasks, q.is_shutdown) == (self.maxsize, self.unfinished, self.over)
        if not self.unfinished:
            q.join()


class AsyncQueueMachine(QueueMachine):
    """The same for tasks; an `await` that need not wait is done at its first step."""

    kinds = TASKS
    empty, full, shut = tasks.QueueEmpty, tasks.QueueFull, tasks.QueueShutDown

    def ways_to_put(self, item):
        q = self.queue
        return [lambda: q.put_nowait(item)] * 2 + [
            lambda: complete(q.put(item)) if self.over or not self.is_full else q.put_nowait(item)
        ]

    def ways_to_get(self):
        q = self.queue
        return [q.get_nowait] * 2 + [lambda: complete(q.get()) if self.over or self.items else q.get_nowait()]

    def set_maxsize(self, maxsize):
        self.queue._maxsize = maxsize

    def check_rest(self):
        q = self.queue
        assert (q.maxsize, q._unfinished_tasks, q._is_shutdown) == (self.maxsize, self.unfinished, self.over)
        if not self.unfinished:
            complete(q.join())


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(max_examples=100 * EXAMPLES, stateful_step_count=40, deadline=None)
TestAsyncQueue = AsyncQueueMachine.TestCase
TestAsyncQueue.settings = settings(max_examples=100 * EXAMPLES, stateful_step_count=40, deadline=None)
