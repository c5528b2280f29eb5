"""Processes: forks in the middle of everything, and interpreters that end while somebody waits or holds."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import atexit, asyncio, functools, gc, os, sys, threading, time, warnings
from ferrule import Mutex, Timeout, WouldDeadlock
from tests.support.mutexes import FREE, TAKEN, kinds
from tests.support.processes import in_child
from tests.support.race import HANG, eventually, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested

def workload(mutex):
    # Threads and tasks over one mutex that is free.
    def count():
        for _ in range(200):
            with mutex.lock(timeout=HANG) as guard:
                guard.value += 1
    async def count_too():
        for _ in range(200):
            async with mutex.aio as guard:
                guard.value += 1
                await asyncio.sleep(0)
    async def main():
        await asyncio.gather(count_too(), count_too())
    with mutex as guard:
        guard.value = 0
    running = [spawn(count), spawn(count), spawn(lambda: asyncio.run(main()))]
    for one in running:
        one.result()
    with mutex as guard:
        assert guard.value == 800, guard.value
    assert mutex._state() == FREE
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def run(code, **named):
    return in_subprocess(SETUP + code, timeout=150, **named)


class TestFork:
    def test_from_the_main_thread_and_from_another(self):
        run("""
inherited = Mutex(0)

def work():
    workload(inherited)
    workload(Mutex(0))

in_child(work)
spawn(in_child, work).result()
in_child(lambda: in_child(work))
workload(inherited)
""")

    @pytest.mark.parametrize("fair", [False, True])
    def test_while_threads_hammer(self, fair):
        run(f"""
busy, free = Mutex(0, fair={fair}), Mutex(0, fair={fair})
stop = []

def hammer():
    count = 0
    while not stop:
        with busy as guard:
            guard.value += 1
            count += 1
        try:
            with busy.lock(timeout=0.0001) as guard:
                guard.value += 1
                count += 1
        except Timeout:
            pass
    return count

def work():
    workload(free)
    workload(Mutex(0))
    if busy.acquire(False):     # free at the moment of the fork
        busy.release()
        workload(busy)
    else:
        assert busy.locked()
        assert kinds(busy) == []

hammering = [spawn(hammer) for _ in range(20)]
for _ in range(10):
    in_child(work)
stop.append(True)
total = sum(one.result() for one in hammering)
with busy as guard:
    assert guard.value == total
assert busy._state() == FREE
""")

    @pytest.mark.parametrize("take", ["mutex.lock", "mutex.acquire", "mutex.__enter__"])
    def test_a_lock_held_by_a_vanished_thread_stays_held(self, take):
        run(f"""
mutex = Mutex("kept")
taken, done = [], threading.Event()

def hold():
    taken.append({take}())
    done.wait()

holder = spawn(hold)
eventually(lambda: taken)

def work():
    assert mutex.locked()
    assert mutex.try_lock() is None
    assert not mutex.acquire(timeout=0.01)
    try:
        mutex.lock(timeout=0.01)
    except Timeout:
        pass
    else:
        raise SystemExit("taken from a vanished thread")
    assert mutex._state() == TAKEN
    mutex.release()     # anybody may
    with mutex.lock(timeout=HANG) as guard:
        assert guard.value == "kept"
        guard.value = 0
    workload(mutex)

in_child(work)
assert mutex.locked()
mutex.release()
done.set()
holder.result()
taken.clear()
assert mutex._state() == FREE
""")

    def test_a_guard_of_the_forking_thread_is_good_in_both(self):
        run("""
mutex = Mutex("kept")
guard = mutex.lock()

def work():
    assert guard.value == "kept"
    try:
        mutex.lock()
    except WouldDeadlock:
        pass
    else:
        raise SystemExit("locked twice")
    guard.release()
    assert mutex._state() == FREE

in_child(work)
assert guard.value == "kept"
with guard.unlocked():
    in_child(lambda: mutex.lock(timeout=HANG).release())
guard.release()
with mutex as guard:
    in_child(lambda: guard.release())
    in_child(lambda: mutex.__exit__(None, None, None))
assert mutex._state() == FREE
""")

    @pytest.mark.parametrize("fair", [False, True])
    def test_with_parked_threads_the_childs_queue_is_empty(self, fair):
        run(f"""
mutex = Mutex(0, fair={fair})
guard = mutex.lock()

def count():
    with mutex.lock(timeout=HANG) as guard:
        guard.value += 1

waiting = [spawn(count) for _ in range(20)]
eventually(lambda: len(kinds(mutex)) == 20)

def release_first():
    assert kinds(mutex) == []
    guard.release()
    workload(mutex)

def wait_first():
    # Somebody of this generation queues before anybody looked at the queue.
    waiting = spawn(count)
    eventually(lambda: kinds(mutex) == ["thread"])
    guard.release(fair=True)
    waiting.result()
    workload(mutex)

def give_up_first():
    assert not mutex.acquire(timeout=0.001)
    assert mutex._state()["waiters"] == []
    guard.release()
    workload(mutex)

for work in (release_first, wait_first, give_up_first):
    in_child(work)
spawn(in_child, release_first).result()
guard.release()
for one in waiting:
    one.result()
with mutex as guard:
    assert guard.value == 20
assert mutex._state() == FREE
""")

    def test_by_a_thread_while_the_main_thread_waits(self):
        run("""
mutex = Mutex(0)
mutex.acquire()

def fork_and_release():
    eventually(lambda: kinds(mutex) == ["thread"])
    def work():
        assert kinds(mutex) == []
        mutex.release()
        workload(mutex)
    in_child(work)
    mutex.release()

forking = spawn(fork_and_release)
mutex.lock(timeout=HANG).release()
forking.result()
assert mutex._state() == FREE
""")

    def test_with_parked_tasks(self):
        run("""
mutex = Mutex(0)
mutex.acquire()

async def main():
    tasks = [asyncio.create_task(mutex.aio.lock(timeout=HANG)) for _ in range(5)]
    while len(kinds(mutex)) < 5:
        await asyncio.sleep(0)
    def work():
        assert kinds(mutex) == []
        mutex.release()
        with mutex.lock(timeout=HANG) as guard:
            guard.value = "the child's"
    await asyncio.to_thread(in_child, work)
    in_child(work)
    mutex.release()
    for task in tasks:
        (await task).release()
    assert mutex._state() == FREE

asyncio.run(main())
workload(mutex)
""")

    def test_with_claims_on_their_way_to_a_loop(self):
        run("""
from tests.support.driver import turns
mutex = Mutex(0, fair=True)
mutex.acquire()
loop = asyncio.new_event_loop()

async def park():
    task = loop.create_task(mutex.aio.lock())
    await turns()
    return task

task = loop.run_until_complete(park())
spawn(mutex.release).result()   # handed to the task, and posted to a loop that does not run

def work():
    assert mutex.locked()       # by a task of a loop that the child has too, and does not run
    assert kinds(mutex) == []
    workload(Mutex(0))

in_child(work)
loop.run_until_complete(task).release()
loop.close()
workload(mutex)
""")

    def test_the_exit_of_the_child_is_clean(self):
        run("""
mutex = Mutex(0)
guard = mutex.lock()
stop = threading.Event()
def hold():
    mutex.acquire(timeout=HANG)
    stop.wait()
waiting = spawn(hold)
eventually(lambda: kinds(mutex))
pid = os.fork()
if pid == 0:
    sys.exit(0)     # a whole finalisation, with the guard and the parked thread's mutex in globals
_, status = os.waitpid(pid, 0)
assert status == 0, status
guard.release()
stop.set()
waiting.result()
""")


class TestExit:
    """An interpreter that ends: no crash, no hang, whatever is held or waited for."""

    def test_with_parked_daemon_threads(self):
        run("""
mutex = Mutex()
mutex.acquire()
for wait in (mutex.lock, mutex.acquire, mutex.__enter__, lambda: mutex.lock(timeout=HANG)):
    for _ in range(5):
        threading.Thread(target=wait, daemon=True).start()
eventually(lambda: len(kinds(mutex)) == 20)
""")

    def test_with_daemon_threads_that_pass_it_around(self):
        run("""
mutex = Mutex(0)

def count():
    while True:
        with mutex as guard:
            guard.value += 1
        try:
            mutex.lock(timeout=0.0001).release()
        except Timeout:
            pass

for _ in range(8):
    threading.Thread(target=count, daemon=True).start()
time.sleep(0.05)
""")

    @pytest.mark.parametrize("release", [False, True])
    def test_with_waits_that_time_out_while_it_ends(self, release):
        """A daemon thread that wakes after the end has begun is ended in its wait, and its stack is gone."""
        run(f"""
mutex = Mutex()
mutex.acquire()
for _ in range(20):
    # A partial object: a function would keep this module's names alive, and `last` with them.
    threading.Thread(target=functools.partial(mutex.lock, timeout=0.2), daemon=True).start()
eventually(lambda: len(kinds(mutex)) == 20)

class Last:
    def __del__(self, mutex=mutex, time=time, gc=gc):
        time.sleep(0.5)     # all of them wake, and end
        gc.collect()
        if {release}:
            mutex.release()
            mutex.acquire(timeout=0.01)

last = Last()
""")

    def test_with_a_release_in_atexit_for_parked_daemon_threads(self):
        run("""
mutex = Mutex()
mutex.acquire()
for _ in range(5):
    threading.Thread(target=mutex.lock, daemon=True).start()
eventually(lambda: len(kinds(mutex)) == 5)
atexit.register(mutex.release)
""")

    @pytest.mark.parametrize("options", [(), ("-X", "dev"), ("-W", "error")], ids=["plain", "dev", "error"])
    def test_with_guards_alive_in_module_globals(self, options):
        run(
            """
mutexes = [Mutex([n]) for n in range(4)]
guards = [mutexes[0].lock(), mutexes[1].aio.try_lock(), mutexes[2].__enter__()]
unlocked = guards[0].unlocked()
mutexes[3].acquire()
""",
            options=options,
        )

    def test_with_a_guard_in_a_cycle_with_its_module(self):
        run("""
mutex = Mutex([])
guard = mutex.lock()
guard.value += [guard, sys.modules[__name__], mutex]
""")

    def test_with_parked_tasks_in_a_loop_that_was_never_closed(self):
        run("""
from tests.support.driver import turns
mutex = Mutex()
mutex.acquire()
loop = asyncio.new_event_loop()
async def park():
    global tasks
    tasks = [loop.create_task(mutex.aio.lock()) for _ in range(10)]
    await turns()
loop.run_until_complete(park())
assert len(kinds(mutex)) == 10
""")

    def test_with_coroutines_in_every_state(self):
        run("""
mutex = Mutex()
mutex.acquire()
new = mutex.aio.lock()
closed = mutex.aio.lock()
closed.close()
async def park():
    global parked
    parked = mutex.aio.lock(timeout=HANG)
    parked.send(None)
asyncio.run(park())
face = mutex.aio
""")

    def test_a_value_that_uses_its_mutex_while_the_interpreter_ends(self):
        run("""
class Value:
    def __init__(self, mutex):
        self.mutex = mutex
    def __del__(self):
        self.mutex.locked()
        if (guard := self.mutex.try_lock()) is not None:
            guard.release()

mutex = Mutex()
with mutex as guard:
    guard.value = Value(mutex)
other = Mutex(Value(mutex))
held = other.lock()
""")
