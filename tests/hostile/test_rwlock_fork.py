"""Processes: forks in the middle of everything, and interpreters that end while somebody waits or holds."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import atexit, asyncio, functools, gc, os, sys, threading, time, warnings
from ferrule import RWLock, Timeout, WouldDeadlock
from tests.support.processes import in_child
from tests.support.race import HANG, eventually, spawn
from tests.support.rwlocks import FREE, KINDS, TAKE, TAKE_ASYNC, TRY, kinds, state

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested

def workload(lock):
    # Threads and tasks over one lock that is free.
    def count():
        for number in range(200):
            with lock.upgradable_read(timeout=HANG) as guard:
                before = guard.value
                with guard.upgraded() as writer:
                    writer.value = before + 1
            with lock.read(timeout=HANG):
                pass
    async def count_too():
        for _ in range(200):
            async with lock.aio.write() as guard:
                guard.value += 1
                await asyncio.sleep(0)
            async with lock.aio.read():
                pass
    async def main():
        await asyncio.gather(count_too(), count_too())
    with lock.write() as guard:
        guard.value = 0
    running = [spawn(count), spawn(count), spawn(lambda: asyncio.run(main()))]
    for one in running:
        one.result()
    with lock.read() as guard:
        assert guard.value == 800, guard.value
    assert lock._state() == FREE
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def run(code, **named):
    return in_subprocess(SETUP + code, timeout=150, **named)


class TestFork:
    def test_from_the_main_thread_and_from_another(self):
        run("""
inherited = RWLock(0)

def work():
    workload(inherited)
    workload(RWLock(0))

in_child(work)
spawn(in_child, work).result()
in_child(lambda: in_child(work))
workload(inherited)
""")

    def test_while_threads_hammer(self):
        run("""
busy, free = RWLock(0), RWLock(0)
stop = []

def hammer():
    count = 0
    while not stop:
        with busy.write() as guard:
            guard.value += 1
            count += 1
        with busy.read():
            pass
        try:
            with busy.upgradable_read(timeout=0.0001) as guard, guard.upgrade(timeout=0.0001) as writer:
                writer.value += 1
                count += 1
        except Timeout:
            pass
    return count

def work():
    workload(free)
    workload(RWLock(0))
    assert kinds(busy) == []
    if (guard := busy.try_write()) is not None:     # free at the moment of the fork
        guard.release()
        workload(busy)
    else:
        assert busy.locked()

hammering = [spawn(hammer) for _ in range(20)]
for _ in range(10):
    in_child(work)
stop.append(True)
total = sum(one.result() for one in hammering)
with busy.read() as guard:
    assert guard.value == total
assert busy._state() == FREE
""")

    @pytest.mark.parametrize("way", ["read", "upgradable", "write"])
    def test_a_lock_held_by_a_vanished_thread_stays_held(self, way):
        run(f"""
lock = RWLock("kept")
taken, done = [], threading.Event()

def hold():
    taken.append(TAKE[{way!r}](lock))
    done.wait()

holder = spawn(hold)
eventually(lambda: taken)

def work():
    assert lock.locked()
    assert lock.try_write() is None
    for wait in (lock.write, lock.aio.sync.write):
        try:
            wait(timeout=0.01)
        except Timeout:
            pass
        else:
            raise SystemExit("taken from a vanished thread")
    assert lock._state() == state(**KINDS[{way!r}])
    taken[0].release()     # anybody may who has the guard
    with lock.write(timeout=HANG) as guard:
        assert guard.value == "kept"
        guard.value = 0
    workload(lock)

in_child(work)
assert lock.locked()
taken.pop().release()
done.set()
holder.result()
assert lock._state() == FREE
""")

    @pytest.mark.parametrize("way", ["upgradable", "write"])
    def test_a_guard_of_the_forking_thread_is_good_in_both(self, way):
        run(f"""
lock = RWLock("kept")
guard = TAKE[{way!r}](lock)

def work():
    assert guard.value == "kept"
    try:
        lock.write()
    except WouldDeadlock:
        pass
    else:
        raise SystemExit("locked twice")
    reader = guard.downgrade()
    assert reader.value == "kept"
    reader.release()
    assert lock._state() == FREE

in_child(work)
assert guard.value == "kept"
with guard.unlocked():
    in_child(lambda: lock.write(timeout=HANG).release())
with guard:
    in_child(lambda: guard.release())
    in_child(lambda: guard.__exit__(None, None, None))
assert lock._state() == FREE
""")

    def test_with_parked_threads_the_childs_queue_is_empty(self):
        run("""
lock = RWLock(0)
guard = lock.upgradable_read()
reader = lock.read()

def count():
    with lock.write(timeout=HANG) as guard:
        guard.value += 1

waiting = [spawn(count) for _ in range(10)]
eventually(lambda: len(kinds(lock)) == 10)
waiting += [spawn(lambda: lock.read(timeout=HANG).release()) for _ in range(10)]
upgrading = spawn(lambda: guard.upgrade(timeout=HANG))
eventually(lambda: len(kinds(lock)) == 21)

def release_first():
    assert kinds(lock) == []
    assert lock._state() == state(readers=1, upgradable=True)
    reader.release()
    guard.release()
    workload(lock)

def read_first():
    # Nobody waits here: a newcomer is not kept out.
    lock.read(timeout=HANG).release()
    reader.release()
    guard.release()
    workload(lock)

def upgrade_first():
    reader.release()
    guard.upgrade(timeout=HANG).release()
    workload(lock)

def wait_first():
    # Somebody of this generation queues before anybody looked at the queue.
    waiting = spawn(count)
    eventually(lambda: kinds(lock) == ["thread"])
    guard.release(fair=True)
    reader.release(fair=True)
    waiting.result()
    workload(lock)

def give_up_first():
    try:
        spawn(lambda: lock.write(timeout=0.001)).result()
    except Timeout:
        pass
    assert kinds(lock) == []
    reader.release()
    guard.downgrade().release()
    workload(lock)

for work in (release_first, read_first, upgrade_first, wait_first, give_up_first):
    in_child(work)
spawn(in_child, release_first).result()
reader.release()
upgrading.result().release()
for one in waiting:
    one.result()
with lock.read() as after:
    assert after.value == 10
assert lock._state() == FREE
""")

    def test_by_a_thread_while_the_main_thread_waits(self):
        run("""
lock = RWLock(0)
guard = spawn(lock.write).result()

def fork_and_release():
    eventually(lambda: kinds(lock) == ["thread"])
    def work():
        assert kinds(lock) == []
        guard.release()
        workload(lock)
    in_child(work)
    guard.release()

forking = spawn(fork_and_release)
lock.write(timeout=HANG).release()
forking.result()
assert lock._state() == FREE
""")

    def test_with_parked_tasks(self):
        run("""
lock = RWLock(0)
guard = lock.read()

async def main():
    tasks = [asyncio.create_task(lock.aio.write(timeout=HANG)) for _ in range(5)]
    while len(kinds(lock)) < 5:
        await asyncio.sleep(0)
    def work():
        assert kinds(lock) == []
        guard.release()
        with lock.write(timeout=HANG) as mine:
            mine.value = "the child's"
    await asyncio.to_thread(in_child, work)
    in_child(work)
    guard.release()
    for task in tasks:
        (await task).release()
    assert lock._state() == FREE

asyncio.run(main())
workload(lock)
""")

    def test_with_claims_on_their_way_to_a_loop(self):
        run("""
from tests.support.driver import turns
lock = RWLock(0)
guard = lock.write()
loop = asyncio.new_event_loop()

async def park():
    tasks = [loop.create_task(lock.aio.read()) for _ in range(3)]
    await turns()
    return tasks

tasks = loop.run_until_complete(park())
spawn(lambda: guard.release(fair=True)).result()   # handed to the tasks, and posted to a loop that does not run

def work():
    assert lock.readers == 3        # tasks of a loop that the child has too, and does not run
    assert kinds(lock) == []
    workload(RWLock(0))

in_child(work)
for task in tasks:
    loop.run_until_complete(task).release()
loop.close()
workload(lock)
""")

    def test_the_exit_of_the_child_is_clean(self):
        run("""
lock = RWLock(0)
guard = lock.write()
stop = threading.Event()
def hold():
    guard = lock.read(timeout=HANG)
    stop.wait()
    guard.release()
waiting = spawn(hold)
eventually(lambda: kinds(lock))
pid = os.fork()
if pid == 0:
    sys.exit(0)     # a whole finalisation, with the guard and the parked thread's lock in globals
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
lock = RWLock()
reader = lock.read()
guard = spawn(lock.upgradable_read).result()
for wait in (lock.write, guard.upgrade, lock.upgradable_read, lambda: lock.write(timeout=HANG), lambda: lock.read()):
    for _ in range(4):
        threading.Thread(target=wait, daemon=True).start()
    eventually(lambda: len(kinds(lock)) % 4 == 0 and kinds(lock))
eventually(lambda: len(kinds(lock)) == 20)
""")

    def test_with_daemon_threads_that_pass_it_around(self):
        run("""
lock = RWLock(0)

def count():
    while True:
        with lock.write() as guard:
            guard.value += 1
        with lock.read():
            pass
        try:
            lock.write(timeout=0.0001).release()
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
lock = RWLock()
guard = lock.write()
for take in (lock.read, lock.write, lock.upgradable_read, lock.read_recursive):
    for _ in range(5):
        # A partial object: a function would keep this module's names alive, and `last` with them.
        threading.Thread(target=functools.partial(take, timeout=0.2), daemon=True).start()
eventually(lambda: len(kinds(lock)) == 20)

class Last:
    def __del__(self, guard=guard, lock=lock, time=time, gc=gc):
        time.sleep(0.5)     # all of them wake, and end
        gc.collect()
        if {release}:
            guard.release()
            lock.try_write()

last = Last()
""")

    def test_with_a_release_in_atexit_for_parked_daemon_threads(self):
        run("""
lock = RWLock()
guard = lock.write()
for take in (lock.read, lock.write, lock.upgradable_read):
    threading.Thread(target=take, daemon=True).start()
eventually(lambda: len(kinds(lock)) == 3)
atexit.register(guard.release)
""")

    @pytest.mark.parametrize("options", [(), ("-X", "dev"), ("-W", "error")], ids=["plain", "dev", "error"])
    def test_with_guards_alive_in_module_globals(self, options):
        run(
            """
locks = [RWLock([n]) for n in range(6)]
guards = [locks[0].read(), locks[1].aio.try_write(), locks[2].upgradable_read(), locks[3].write().downgrade()]
unlocked = guards[0].unlocked()
upgraded = locks[4].upgradable_read().upgraded()
writer = upgraded.__enter__()
away = locks[5].write()
block = away.unlocked()
block.__enter__()
""",
            options=options,
        )

    def test_with_a_guard_in_a_cycle_with_its_module(self):
        run("""
lock = RWLock([])
guard = lock.write()
guard.value += [guard, sys.modules[__name__], lock]
""")

    def test_with_parked_tasks_in_a_loop_that_was_never_closed(self):
        run("""
from tests.support.driver import turns
lock = RWLock()
guard = lock.read()
loop = asyncio.new_event_loop()
async def park():
    global tasks
    tasks = [loop.create_task(TAKE_ASYNC[way](lock)) for way in ("write", "read", "upgradable") for _ in range(5)]
    await turns()
loop.run_until_complete(park())
assert len(kinds(lock)) == 15
""")

    def test_with_coroutines_in_every_state(self):
        run("""
lock = RWLock()
guard = lock.write()
new = lock.aio.read()
closed = lock.aio.write()
closed.close()
async def park():
    global parked
    parked = lock.aio.upgradable_read(timeout=HANG)
    parked.send(None)
asyncio.run(park())
face = lock.aio
""")

    def test_a_value_that_uses_its_lock_while_the_interpreter_ends(self):
        run("""
class Value:
    def __init__(self, lock):
        self.lock = lock
    def __del__(self):
        self.lock.locked()
        for take in (self.lock.try_read, self.lock.try_write):
            if (guard := take()) is not None:
                guard.release()

lock = RWLock()
with lock.write() as guard:
    guard.value = Value(lock)
other = RWLock(Value(lock))
held = other.write()
""")
