"""Tasks that wait at an asyncio queue, disturbed in any order: it answers as a list does, and nobody waits in vain.

Each step of a coroutine is one call, or comes too early and changes nothing; so the list is told what was done when it
was done, and must give the same items in the same order, whoever keeps them and from when on.
"""

import asyncio
import contextlib

import pytest

from ferrule.dropin.asyncio import QueueEmpty, QueueFull, QueueShutDown
from tests.support.driver import complete
from tests.support.programs import Program, run_programs
from tests.support.queues import ORDERS, TASKS, opened, waiting


class Queued(Program):
    """Random steps at one queue, and a list beside it."""

    refusals = (QueueShutDown, asyncio.CancelledError)

    def __init__(self, rng, kind):
        super().__init__(rng)
        self.order = ORDERS[kind]
        self.maxsize = rng.choice([0, 1, 1, 2])
        self.queue = TASKS[kind](self.maxsize)
        self.kept = []
        self.unfinished = 0
        self.over = False
        self.steps += [
            *[self.begin_put] * 3,
            *[self.begin_get] * 3,
            *[self.put_nowait] * 2,
            *[self.get_nowait] * 2,
            *[self.task_done] * 2,
            self.begin_join,
            self.now_and_then,
        ]

    @property
    def is_full(self):
        return 0 < self.maxsize <= len(self.kept)

    def put(self, item):
        assert not self.over
        assert not self.is_full
        self.kept.append(item)
        self.unfinished += 1

    def got(self, item):
        index = {"fifo": 0, "lifo": -1, "heap": self.kept.index(min(self.kept))}[self.order]
        assert item is self.kept.pop(index)

    # --- what is done ---------------------------------------------------------------------------------------------

    def begin_put(self):
        item, must_wait = self.item(), self.is_full and not self.over
        wait = self.begin(item, self.queue.put(item), "put")
        assert wait.stepper.suspended == must_wait

    def begin_get(self):
        must_wait = not self.kept and not self.over
        wait = self.begin("a getter", self.queue.get(), "get")
        assert wait.stepper.suspended == must_wait

    def begin_join(self):
        must_wait = self.unfinished > 0
        wait = self.begin("one that joins", self.queue.join(), "join")
        assert wait.stepper.suspended == must_wait

    def note(self, result, wait):
        if wait.wants == "put":
            self.put(wait.name)
        elif wait.wants == "get":
            self.got(result)

    def put_nowait(self):
        item = self.item()
        with contextlib.suppress(QueueFull, QueueShutDown):
            self.queue.put_nowait(item)
            self.put(item)

    def get_nowait(self):
        with contextlib.suppress(QueueEmpty, QueueShutDown):
            self.got(self.queue.get_nowait())

    def task_done(self):
        if self.unfinished:
            self.queue.task_done()
            self.unfinished -= 1
        else:
            with pytest.raises(ValueError, match="too many times"):
                self.queue.task_done()

    def now_and_then(self):
        """What is rare."""
        what = self.rng.choice(["open", "resize", "resize", "shut down"])
        if what == "open" and not hasattr(self.queue, "kept"):
            opened(self.queue)
        elif what == "resize":
            self.queue._maxsize = self.maxsize = self.rng.choice([0, 1, 2])
        elif what == "shut down" and self.rng.random() < 0.3:
            immediate = self.rng.random() < 0.5
            self.queue.shutdown(immediate)
            self.over = True
            if immediate:
                self.unfinished -= min(self.unfinished, len(self.kept))
                self.kept.clear()

    # --- what must be so ------------------------------------------------------------------------------------------

    def check(self):
        q = self.queue
        assert (q.qsize(), q.empty(), q.full()) == (len(self.kept), not self.kept, self.is_full)
        assert (q._unfinished_tasks, q._is_shutdown) == (self.unfinished, self.over)

    def check_rest(self):
        """Nobody waits who need not."""
        wants = [wait.wants for wait in self.waits]
        assert "get" not in wants or not (self.kept or self.over)
        assert "put" not in wants or (self.is_full and not self.over)
        assert "join" not in wants or self.unfinished
        assert waiting(self.queue) == {
            "getters": wants.count("get"),
            "putters": wants.count("put"),
            "joiners": wants.count("join"),
        }

    def check_the_end(self):
        assert waiting(self.queue) == {"getters": 0, "putters": 0, "joiners": 0}
        while self.kept:
            self.got(complete(self.queue.get()))


@pytest.mark.parametrize("kind", TASKS)
def test_programs_of_random_steps(kind, rng):
    run_programs(lambda rng: Queued(rng, kind), 100, rng)
