"""The drop-in queues under signals and forks, and interpreters that end while they are in use."""

import os

import pytest

from tests.support.leaks import in_subprocess
from tests.support.queues import THREADS

SETUP = """
import asyncio, gc, os, signal, sys, threading, time, warnings
from ferrule.dropin.queue import Empty, Full, PriorityQueue, Queue, ShutDown, SimpleQueue
from ferrule._core.parking import sleepers
from ferrule.dropin import asyncio as tasks
from tests.support.driver import Stepper, run, turns
from tests.support.processes import in_child, interrupt, interrupted, signal_when, storm_of_interrupts
from tests.support.queues import TASKS, THREADS, opened, waiting
from tests.support.race import HANG, eventually, outcome, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
QUIET = {"getters": 0, "putters": 0, "joiners": 0}
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")
every_kind = pytest.mark.parametrize("kind", THREADS)


def run(code):
    in_subprocess(SETUP + code, timeout=90)


@every_kind
def test_ctrl_c_interrupts_every_wait_and_changes_nothing(kind):
    run(f"""
q = THREADS[{kind!r}](1)
for wait in (lambda: q.get(), lambda: q.get(timeout=HANG)):
    for _ in range(5):
        with interrupted(lambda: waiting(q)["getters"] == 1):
            wait()
        assert waiting(q) == QUIET
q.put(1)
for wait in (lambda: q.put(2), lambda: q.put(2, timeout=HANG)):
    for _ in range(5):
        with interrupted(lambda: waiting(q)["putters"] == 1):
            wait()
        assert (q.qsize(), waiting(q)) == (1, QUIET)
with interrupted(lambda: waiting(q)["joiners"] == 1):
    q.join()
assert (q.get(), waiting(q)) == (1, QUIET)
""")


def test_ctrl_c_interrupts_a_wait_for_the_mutex():
    run("""
q = Queue()
held, end = threading.Event(), threading.Event()

def hold():
    with q.mutex:
        held.set()
        end.wait()

holding = spawn(hold)
held.wait()
with interrupted(lambda: len(q.mutex._state()["waiters"]) == 1):
    q.put(1)
end.set()
holding.result()
assert q.qsize() == 0
""")


@every_kind
def test_a_handler_uses_the_queue_that_its_thread_waits_at(kind):
    run(f"""
q = THREADS[{kind!r}](1)
calls = []

def handle(signum, frame):
    calls.append(q.qsize())
    if q.full():
        assert q.get() == 1
    else:
        q.put(1)

signal.signal(signal.SIGUSR1, handle)
signalling = signal_when(lambda: waiting(q)["getters"] == 1, signal.SIGUSR1)
assert q.get(timeout=HANG) == 1
signalling.result()
q.put(1)
signalling = signal_when(lambda: waiting(q)["putters"] == 1, signal.SIGUSR1)
q.put(2, timeout=HANG)
signalling.result()
assert (q.get(), calls, waiting(q)) == (2, [0, 1], QUIET)
""")


def test_a_handler_puts_into_a_simple_queue_at_any_moment():
    run("""
q = SimpleQueue()
puts = 0

def handle(signum, frame):
    global puts
    puts += 1
    q.put("signal")

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
got = 0
deadline = time.monotonic() + 1
own = 0
while time.monotonic() < deadline or puts == 0:
    q.put("own")
    own += 1
    got += q.get() is not None
signal.setitimer(signal.ITIMER_REAL, 0)
while True:
    try:
        q.get_nowait()
    except Empty:
        break
    got += 1
assert got == own + puts
""")


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_a_storm_of_interrupts_loses_nothing(kind):
    """What was put is got once, whatever the moment of a Ctrl-C; with an interrupt a put may have been made or not."""
    run(f"""
q = THREADS[{kind!r}](2)
got = []

def consume():
    try:
        while True:
            got.append(q.get())
    except ShutDown:
        pass

consuming = spawn(consume)
number, sure = 0, []

def attempt():
    global number
    number += 1
    mine = number
    q.put(mine)
    sure.append(mine)

calls, interrupts = storm_of_interrupts(attempt, seconds=1)
q.shutdown()
consuming.result()
assert interrupts
assert set(sure) <= set(got) and len(set(got)) == len(got)
assert set(got) <= set(range(1, number + 1))
assert waiting(q) == QUIET
""")


@needs_fork
@every_kind
def test_fork_while_others_wait_and_work(kind):
    """In the child nobody waits, and the queue has what was in it."""
    run(f"""
q, other, stop = THREADS[{kind!r}](), THREADS[{kind!r}](5), threading.Event()

def hammer():
    while not stop.is_set():
        try:
            other.put(1, timeout=0.001)
            other.get(timeout=0.001)
        except (Empty, Full):
            pass

hammering = [spawn(hammer) for _ in range(10)]
waiters = [spawn(q.get) for _ in range(3)]
eventually(lambda: waiting(q)["getters"] == 3)

def child():
    assert waiting(q) == QUIET
    q.put(7)
    assert q.get() == 7
    q.task_done()
    q.join()
    getting = spawn(q.get)
    eventually(lambda: waiting(q)["getters"] == 1)
    q.put(8)
    assert getting.result() == 8
    if {"," not in kind and "with" not in kind}:      # where no thread can have had the mutex
        while other.qsize():
            assert other.get() == 1
        other.put(2)
        assert other.get() == 2

def child_that_does_not_look():     # waiting() finds out itself that there was a fork
    getting = spawn(q.get)
    eventually(lambda: any(target is q for target, *_ in sleepers()))
    q.put(8)
    assert getting.result() == 8

in_child(child_that_does_not_look)
for _ in range(5):
    in_child(child)
stop.set()
for thread in hammering:
    thread.result()
for n in range(3):
    q.put(n)
assert sorted(thread.result() for thread in waiters) == [0, 1, 2]
""")


@needs_fork
@pytest.mark.parametrize("make", ["PriorityQueue", "tasks.PriorityQueue"])
def test_fork_while_another_thread_compares(make):
    """It has the mutex, and does not exist in the child; the heap there is as it was before its call."""
    run(f"""
compares, goes_on = threading.Event(), threading.Event()

class Item:
    def __init__(self, number):
        self.number = number

    def __lt__(self, other):
        if threading.current_thread() is not threading.main_thread():
            compares.set()
            goes_on.wait()
        return self.number < other.number

q = {make}()
q.put_nowait(Item(1))
putting = spawn(q.put_nowait, Item(0))
compares.wait()

def child():
    assert q.qsize() == 1
    q.put_nowait(Item(5))
    assert [q.get_nowait().number for _ in range(2)] == [1, 5]

in_child(child)
goes_on.set()
putting.result()
assert [q.get_nowait().number for _ in range(2)] == [0, 1]
""")


@needs_fork
def test_fork_with_the_mutex_held_by_the_forking_thread():
    run("""
q = Queue()
q.put(1)
with q.mutex:
    def child():
        assert list(q.queue) == [1]
        q.mutex.release()
        assert q.get() == 1
    in_child(child)
assert q.get() == 1
""")


@needs_fork
def test_fork_in_a_loop_whose_tasks_wait():
    run("""
q = tasks.Queue()

async def main():
    getting = asyncio.create_task(q.get())
    await turns()
    assert waiting(q)["getters"] == 1

    def child():
        assert waiting(q) == QUIET
        q.put_nowait(1)
        assert q.get_nowait() == 1

    in_child(child)
    q.put_nowait(2)
    assert await getting == 2

asyncio.run(main())
""")


@every_kind
def test_the_interpreter_ends_with_daemon_threads_in_every_wait(kind):
    run(f"""
q, full = THREADS[{kind!r}](), THREADS[{kind!r}](1)
full.put(1)
for wait in (q.get, lambda: q.get(timeout=1000), lambda: full.put(2), full.join):
    threading.Thread(target=wait, daemon=True).start()
eventually(lambda: (waiting(q)["getters"], waiting(full)["putters"], waiting(full)["joiners"]) == (2, 1, 1))
""")


def test_the_interpreter_ends_with_items_and_tasks_in_module_globals():
    run("""
class Item:
    def __del__(self):
        queue.put(1)
        queue.qsize()

queue, simple, heap, aqueue = Queue(), SimpleQueue(), PriorityQueue(), tasks.Queue()
queue.put(Item())
simple.put(queue)
heap.put(Item())
queue.not_empty
loop = asyncio.new_event_loop()

async def main():
    global stepper
    stepper = Stepper(aqueue.get())
    stepper.step()

loop.run_until_complete(main())
loop.close()
""")


def test_a_call_in_the_thread_of_a_running_loop_stops_it_and_raises_nothing():
    """As that of the standard library does."""
    run("""
async def main():
    q = Queue(1)
    for timeout in (0.01, 0):
        try:
            q.get(timeout=timeout)
        except Empty:
            pass
    threading.Timer(0.01, q.put, ["item"]).start()
    assert q.get() == "item"
    threading.Timer(0.01, q.task_done).start()
    q.join()
    simple = SimpleQueue()
    threading.Timer(0.01, simple.put, ["item"]).start()
    assert simple.get() == "item"

asyncio.run(main())
""")
