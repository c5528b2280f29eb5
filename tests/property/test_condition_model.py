"""Any order of waits, notifications, exceptions and turns of two loops: who is notified is as the model says.

The model is a line: a notification takes the first ones out of it; whoever was taken out and is raised in, or closed,
before its wait has ended lets the next one out. Who gets the lock when is left open; each wait that ends has it. It
depends on a waiter's patience, which is drawn at random, so this is a random walk and no state machine of Hypothesis.
"""

import asyncio

import pytest

from ferrule import Condition, Mutex, Timeout
from tests.support.conditions import waiting
from tests.support.driver import Stepper
from tests.support.mutexes import FREE
from tests.support.waits import LONG, Loop, within

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")


class Wait:
    """One wait, under a hold without a guard: whoever ends it has the lock, and the walk releases it."""

    def __init__(self, condition, loop, predicate, timed):
        self.loop = loop
        self.asked = 0  # how often the predicate said no; it says yes when it is asked again
        self.raised = None  # what was raised in it first
        self.expired = False
        timeout = LONG if timed else None
        if predicate:
            call = condition.aio.wait_for(self.predicate, timeout=timeout)
        else:
            call = condition.aio.wait(timeout=timeout)
        self.stepper = Stepper(call)
        with loop.running():
            assert not self.stepper.step()
        self.timed = timed

    def predicate(self):
        self.asked += 1
        return self.asked > 1

    @property
    def can_step(self):
        return self.stepper.suspended and self.stepper.future.done()


class Walk:
    def __init__(self, rng, fair):
        self.rng = rng
        self.mutex = Mutex(fair=fair)
        self.condition = Condition(self.mutex)
        self.loops = [Loop("loop0"), Loop("loop1")]
        self.line = []  # who waits for a notification
        self.notified = []  # who has one and has not ended
        self.others = []  # who timed out or was raised in, and has not ended
        self.held = False  # by the walk

    @property
    def waits(self):
        return self.line + self.notified + self.others

    @property
    def can_step(self):
        return [wait for wait in self.waits if wait.can_step]

    @property
    def timed(self):
        return [wait for wait in self.waits if wait.timed]

    @property
    def due(self):
        return [loop for loop in self.loops if loop.due]

    def take(self, steps):
        actions = [self.lock, self.unlock, self.wait, self.wait, self.notify, self.turn, self.step, self.step]
        actions += [self.throw, self.close, self.time_is_up]
        for _ in range(steps):
            self.rng.choice(actions)()
            self.the_queue_is_the_line()
            self.the_lock_is_held_where_the_walk_holds_it()
        self.settle_down()

    def one_of(self, things):
        """One of them in a list, or none if there is none."""
        return [self.rng.choice(things)] if things else []

    def somewhere(self):
        """Where a loop runs, or where none does."""
        return within(self.rng.choice([None, *self.loops]))

    def notify_first(self, count):
        self.notified += self.line[:count]
        del self.line[:count]

    def leaves(self, wait):
        """It will end, but not because it was notified; if it was, the next one is."""
        if wait in self.line:
            self.line.remove(wait)
        elif wait in self.notified:
            self.notified.remove(wait)
            self.notify_first(1)
        else:
            self.others.remove(wait)

    def ended(self, wait):
        assert self.mutex.locked()
        self.held = True
        if wait in self.notified:
            self.notified.remove(wait)
            assert wait.raised is None
            assert wait.stepper.result() in (None, True)
            return
        self.others.remove(wait)
        with pytest.raises(type(wait.raised) if wait.raised else Timeout) as caught:
            wait.stepper.result()
        assert wait.raised in (None, caught.value)

    def lock(self):
        self.held = self.condition.acquire(blocking=False) or self.held

    def unlock(self):
        if self.held:
            with self.somewhere():
                self.condition.release()
            self.held = False

    def wait(self):
        self.lock()
        if self.held:
            self.held = False
            loop = self.rng.choice(self.loops)
            wait = Wait(self.condition, loop, predicate=self.rng.random() < 0.5, timed=self.rng.random() < 0.5)
            self.line.append(wait)

    def notify(self):
        self.lock()
        if self.held:
            count = self.rng.randrange(4)
            with self.somewhere():
                self.condition.notify(count)
            self.notify_first(count)

    def turn(self):
        for loop in self.one_of(self.due):
            loop.turn()

    def step(self):
        for wait in self.one_of(self.can_step):
            with wait.loop.running():
                if wait.stepper.step():
                    self.ended(wait)

    def throw(self):
        for wait in self.one_of(self.waits):
            raised = self.rng.choice([KeyError, asyncio.CancelledError])("thrown")
            self.leaves(wait)
            self.others.append(wait)
            wait.raised = wait.raised or raised
            with wait.loop.running():
                if wait.stepper.throw(raised):
                    self.ended(wait)

    def close(self):
        for wait in self.one_of(self.waits):
            self.leaves(wait)
            with self.somewhere():
                wait.stepper.close()

    def time_is_up(self):
        for wait in self.one_of(self.timed):
            wait.timed = False
            with wait.loop.running():
                probe.pass_deadline(wait.stepper.coroutine)
            if wait in self.line:
                wait.asked = -1  # the predicate, asked for the last time, says no
                self.line.remove(wait)
                self.others.append(wait)

    def the_queue_is_the_line(self):
        assert waiting(self.condition) == ["task"] * len(self.line)

    def the_lock_is_held_where_the_walk_holds_it(self):
        assert self.mutex.locked() or not self.held

    def settle(self):
        """Lets everybody go on who can."""
        while self.held or self.can_step or self.due:
            self.unlock()
            self.turn()
            self.step()

    def settle_down(self):
        self.settle()
        assert self.notified == self.others == []
        assert self.mutex._state() == FREE
        while self.line:
            self.lock()
            self.condition.notify_all()
            self.notify_first(len(self.line))
            self.settle()
        assert self.mutex._state() == FREE


@pytest.mark.parametrize("fair", [False, True], ids=["eventually-fair", "fair"])
@pytest.mark.parametrize("steps", [10, 30, 200])
def test_any_order_of_things(steps, fair, rng):
    for _ in range(12_000 // steps):
        Walk(rng, fair).take(steps)
