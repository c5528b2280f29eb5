"""Condition across fork(), at the end of the interpreter, and in the hands of the collector and of destructors."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import atexit, asyncio, gc, os, sys, threading, time, warnings, weakref
from ferrule import Condition, Mutex, Timeout
from tests.support.conditions import notify, waiting, waiting_thread
from tests.support.driver import HandLoop, Stepper, complete, new_loop, turns
from tests.support.mutexes import FREE, TAKEN, kinds
from tests.support.processes import in_child
from tests.support.race import HANG, eventually, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested

def workload(condition):
    # Threads and a loop pass things to each other.
    def consume(count):
        for _ in range(count):
            with condition as guard:
                condition.wait_for(lambda: guard.value, timeout=HANG)
                guard.value.pop()
    async def consume_too(count):
        for _ in range(count):
            async with condition.aio as guard:
                await condition.aio.wait_for(lambda: guard.value, timeout=HANG)
                guard.value.pop()
    running = [spawn(consume, 100), spawn(consume, 100), spawn(lambda: asyncio.run(consume_too(100)))]
    for number in range(300):
        with condition as guard:
            guard.value.append(number)
            condition.notify()
    for one in running:
        one.result()
    with condition as guard:
        assert guard.value == []
    assert waiting(condition) == []
    assert not condition.locked()
"""


def run(code, **named):
    return in_subprocess(SETUP + code, timeout=150, **named)


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


@needs_fork
class TestFork:
    def test_the_childs_queue_is_empty_and_works(self):
        run("""
condition = Condition(Mutex([]))
waiters = [waiting_thread(condition) for _ in range(5)]

def work():
    assert waiting(condition) == []
    notify(condition)
    with condition:
        condition.notify_all()
    workload(condition)
    workload(Condition(Mutex([])))

in_child(work)
spawn(in_child, work).result()
in_child(lambda: in_child(work))
assert len(waiting(condition)) == 5
with condition:
    condition.notify_all()
for waiter in waiters:
    waiter.result()
workload(condition)
""")

    def test_from_a_thread_that_holds_it_with_others_queued_for_the_lock(self):
        run("""
mutex = Mutex([])
condition = Condition(mutex)
waiters = [waiting_thread(condition) for _ in range(3)]
with condition:
    condition.notify(2)
    def work():
        assert kinds(mutex) == []
        assert waiting(condition) == []
        condition.notify_all()
        try:
            condition.wait(timeout=0.001)
        except Timeout:
            pass
        assert mutex.locked()
        condition.release()
        workload(condition)
    in_child(work)
    condition.notify()
for waiter in waiters:
    waiter.result()
assert mutex._state() == FREE
""")

    def test_while_threads_hammer(self):
        run("""
condition = Condition(Mutex([0, 0]))
stop = []

def hammer():
    while not stop:
        with condition as guard:
            try:
                condition.wait(timeout=0.0001)
            except Timeout:
                pass
            condition.notify(2)

def work():
    if condition.acquire(False):    # free at the moment of the fork
        condition.notify_all()
        condition.release()
        with condition as guard:
            guard.value = []
        workload(condition)
    else:
        assert waiting(condition) == []
    workload(Condition(Mutex([])))

hammering = [spawn(hammer) for _ in range(20)]
for _ in range(10):
    in_child(work)
stop.append(True)
for one in hammering:
    one.result()
assert waiting(condition) == []
""")

    def test_a_task_that_waits_does_not_survive(self):
        """Its loop is inherited, but the child's queue does not have it; dropping it there is quiet."""
        run("""
condition = Condition(Mutex([]))
loop = HandLoop()
with loop.running():
    complete(condition.aio.acquire())
    stepper = Stepper(condition.aio.wait())
    stepper.step()

def work():
    global stepper
    assert waiting(condition) == []
    stepper.close()
    del stepper
    gc.collect()
    workload(condition)

in_child(work)
assert waiting(condition) == ["task"]
notify(condition)
loop.turn()
with loop.running():
    assert stepper.step()
assert condition.locked()
""")


class TestExit:
    @pytest.mark.parametrize("notified", [False, True])
    def test_with_waits_in_every_state(self, notified):
        run(f"""
condition = Condition(Mutex("kept"))
daemons = [waiting_thread(condition) for _ in range(5)]     # threads of spawn() are daemons
loop = new_loop("asyncio")
async def park():
    for _ in range(3):
        await condition.aio.acquire()
        tasks.append(loop.create_task(condition.aio.wait()))
        await turns()
tasks = []
loop.run_until_complete(park())
if {notified}:
    condition.acquire()
    condition.notify_all()
""")

    def test_while_threads_use_it(self):
        run("""
condition = Condition(Mutex([]))
def use():
    while True:
        with condition as guard:
            try:
                condition.wait(timeout=0.0001)
            except Timeout:
                pass
            condition.notify()
for _ in range(5):
    spawn(use)
time.sleep(0.05)
""")


class TestCollector:
    def test_cycles_through_waits_are_collected(self):
        run("""
class Marked:
    pass

def make(kind):
    marked = Marked()
    condition = Condition(Mutex(marked))
    marked.condition = condition
    loop = HandLoop()
    with loop.running():
        guard = complete(condition.aio.__aenter__())
        call = condition.aio.wait() if kind == "wait" else condition.aio.wait_for(lambda: marked is None)
        marked.stepper = Stepper(call)
        marked.stepper.step()
        if kind == "notified":
            condition.acquire()
            condition.notify()
            condition.release()
    marked.guard = guard
    marked.loop = loop
    return weakref.ref(marked)

for kind in ("wait", "wait_for", "notified"):
    ref = make(kind)
    gc.collect()
    assert ref() is None, kind
""")

    def test_the_queues_reference_is_seen(self):
        """Nobody has the coroutine but the queue of a condition that is alive: it stays."""
        run("""
class Marked:
    pass

condition = Condition()
marked = Marked()
ref = weakref.ref(marked)
with HandLoop().running():
    complete(condition.aio.acquire())
    stepper = Stepper(condition.aio.wait_for(lambda marked=marked: False))
    stepper.step()
del marked, stepper
gc.collect()
assert ref() is not None
assert waiting(condition) == ["task"]
found = [o for o in gc.get_referents(condition) if type(o).__name__ == "Coroutine"]
assert len(found) == 1
del found
del condition
gc.collect()
assert ref() is None
""")

    def test_a_million_deep(self):
        run("""
innermost = None
for _ in range(1_000_000):
    innermost = Condition(Mutex(innermost))
del innermost
""")


class TestDestructors:
    def test_a_predicate_that_drops_everything(self):
        run("""
def scene():
    holder = []
    mutex = Mutex("value")
    holder.append(Condition(mutex))
    def predicate():
        holder.clear()
        gc.collect()
        return False
    with mutex as guard:
        try:
            holder[0].wait_for(predicate, timeout=0.001)
        except Timeout:
            pass
        assert guard.value == "value"
    assert mutex._state() == FREE

scene()
""")

    def test_a_destructor_that_notifies(self):
        run("""
condition = Condition(Mutex([]))

class Notifier:
    def __del__(self):
        with condition as guard:
            guard.value.append("dropped")
            condition.notify()

waiter = waiting_thread(condition)
notifier = Notifier()
del notifier
waiter.result()
waiter = waiting_thread(condition, lambda: condition.wait_for(lambda held=Notifier(): True))
waiter.result()
""")

    def test_an_error_of_a_handler_of_the_loop(self):
        """call_soon_threadsafe() fails for a loop that is closed meanwhile; the next waiter is notified."""
        run("""
condition = Condition()
loop = HandLoop()
with loop.running():
    complete(condition.aio.acquire())
    stepper = Stepper(condition.aio.wait())
    stepper.step()
waiter = waiting_thread(condition)
loop.close()
notify(condition)
waiter.result()
assert waiting(condition) == []
assert not condition.locked()
""")


@pytest.mark.parametrize(
    "wrong",
    [
        "Condition.wait(Mutex())",
        "Condition.notify(Condition().aio)",
        "type(Condition().aio).wait(Condition())",
        "type(Condition().aio).__new__(type(Condition().aio), 1)",
        "type(Condition().aio).__new__(Condition)",
        "object.__new__(Condition)",
        "Condition.__new__(type(Condition().aio))",
        "Condition.__exit__(Mutex(), None, None, None)",
        "Mutex.__exit__(Condition(), None, None, None)",
    ],
)
def test_wrong_objects_are_refused(wrong):
    run(f"""
try:
    {wrong}
except TypeError:
    pass
else:
    raise SystemExit("accepted")
""")
