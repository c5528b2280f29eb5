"""Processes, for both locks: forks in the middle of everything, interpreters that end while somebody waits or holds."""

import os

import pytest

from tests.support.leaks import in_subprocess
from tests.support.locks import LOCKS, WAYS

SETUP = """
import atexit, asyncio, functools, gc, os, sys, threading, time, warnings
from ferrule import Timeout, WouldDeadlock
from tests.support.driver import turns
from tests.support.locks import WAYS, kinds, passed_around
from tests.support.processes import in_child
from tests.support.race import HANG, eventually, raises, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
way = WAYS["{}"]
lock = way.make(0)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def each(ways):
    return pytest.mark.parametrize("run", list(ways), ids=str, indirect=True)


PLAIN = [way for way in WAYS.values() if not way.fair]
each_way = each(PLAIN)
each_lock = each(LOCKS)


@pytest.fixture
def run(request):
    """Runs code in an interpreter of its own, about one way to hold a lock."""
    return lambda code, **named: in_subprocess(SETUP.format(request.param) + code, timeout=150, **named)


class TestFork:
    @each_lock
    def test_from_the_main_thread_and_from_another(self, run):
        run("""
def work():
    passed_around(way, lock)
    passed_around(way, way.make())

in_child(work)
spawn(in_child, work).result()
in_child(lambda: in_child(work))
passed_around(way, lock)
""")

    @each_lock
    def test_while_threads_hammer(self, run):
        run("""
free, stop = way.make(), []

def hammer():
    count = 0
    while not stop:
        for other in way.siblings:
            count += other.visit(lock)
            if other.patience:
                try:
                    count += other.visit(lock, timeout=0.0001)
                except Timeout:
                    pass
    return count

def work():
    passed_around(way, free, 20)
    passed_around(way, way.make(), 20)
    assert kinds(lock) == []
    if hold := way.attempt(lock):     # free at the moment of the fork
        way.end(lock, hold)
        passed_around(way, lock, 20)
    else:
        assert lock.locked()

hammering = [spawn(hammer) for _ in range(20)]
for _ in range(10):
    in_child(work)
stop.append(True)
total = sum(one.result() for one in hammering)
with way.within(lock) as guard:
    assert guard.value == total
assert lock._state() == way.free
""")

    @each_way
    def test_a_lock_held_by_a_vanished_thread_stays_held(self, run):
        run("""
taken, done = [], threading.Event()

def hold():
    taken.append(way.take(lock))
    done.wait()

holder = spawn(hold)
eventually(lambda: taken)

def work():
    assert lock.locked()
    assert not way.alone.attempt(lock)
    raises(Timeout, way.alone.take, lock.aio.sync, timeout=0.01)
    for other in way.siblings:
        if hold := other.attempt(lock):
            other.end(lock, hold)       # a hold to read, beside one that reads
        elif other.one_call:
            raises(Timeout, other.take, lock, timeout=0.01)
    assert lock._state() == way.held
    way.end(lock, taken[0])     # anybody may, of a lock for readers and writers whoever has the guard
    with way.alone.within(lock, timeout=HANG) as guard:
        assert guard.value == 0
    passed_around(way, lock)

in_child(work)
assert lock.locked()
way.end(lock, taken.pop())
done.set()
holder.result()
assert lock._state() == way.free
""")

    @each(way for way in PLAIN if way.owned)
    def test_a_guard_of_the_forking_thread_is_good_in_both(self, run):
        run("""
guard = way.take(lock)

def work():
    assert guard.value == 0
    raises(WouldDeadlock, way.take, lock)
    guard.release()
    assert lock._state() == way.free

in_child(work)
assert guard.value == 0
with guard.unlocked():
    in_child(lambda: way.end(lock, way.take(lock)))
guard.release()

with way.within(lock) as guard:
    in_child(lambda: guard.release())
block = way.within(lock)
block.__enter__()
in_child(lambda: block.__exit__(None, None, None))
assert lock._state() == way.held
block.__exit__(None, None, None)
assert lock._state() == way.free
""")

    @each_lock
    def test_with_parked_threads_the_childs_queue_is_empty(self, run):
        run("""
guard = way.take(lock)
counting = [spawn(functools.partial(other.visit, lock, **other.patience)) for other in way.siblings for _ in range(5)]
eventually(lambda: len(kinds(lock)) == len(counting))

def release_first():
    assert kinds(lock) == []
    assert lock.locked()
    guard.release()
    passed_around(way, lock)

def wait_first():
    # Somebody of this generation queues before anybody looked at the queue.
    waiting = spawn(lambda: way.visit(lock, timeout=HANG))
    eventually(lambda: kinds(lock) == ["thread"])
    guard.release(fair=True)
    assert waiting.result() == 1
    passed_around(way, lock)

def give_up_first():
    raises(Timeout, spawn(lambda: way.take(lock, timeout=0.001)).result)
    assert lock._state() == way.held
    guard.release()
    passed_around(way, lock)

for work in (release_first, wait_first, give_up_first):
    in_child(work)
spawn(in_child, release_first).result()
guard.release()
total = sum(one.result() for one in counting)
with way.within(lock) as after:
    assert after.value == total
assert lock._state() == way.free
""")

    @each_way
    def test_by_a_thread_while_the_main_thread_waits(self, run):
        run("""
hold = way.blocker.taken_by_another(lock)

def fork_and_release():
    eventually(lambda: kinds(lock) == ["thread"])
    def work():
        assert kinds(lock) == []
        way.blocker.end(lock, hold)
        if way.name == "upgrade":
            os._exit(0)     # the thread that has the upgradable hold is not here
        passed_around(way, lock)
    in_child(work)
    way.blocker.end(lock, hold)

forking = spawn(fork_and_release)
way.end(lock, way.take(lock, **way.patience))
forking.result()
assert lock._state() == way.free
""")

    @each_way
    def test_with_parked_tasks(self, run):
        run("""
hold = way.alone.taken_by_another(lock)

async def main():
    tasks = [asyncio.create_task(way.visit_async(lock, **way.patience)) for _ in range(5)]
    while len(kinds(lock)) < 5:
        await asyncio.sleep(0)
    def work():
        assert kinds(lock) == []
        way.alone.end(lock, hold)
        way.visit(lock)
        with way.alone.within(lock, timeout=HANG) as guard:
            guard.value = "the child's"
    await asyncio.to_thread(in_child, work)
    in_child(work)
    way.alone.end(lock, hold)
    await asyncio.gather(*tasks)
    assert lock._state() == way.free

asyncio.run(main())
passed_around(way, lock)
""")

    @each(way for way in WAYS.values() if way.fair and way.name != "upgrade")
    def test_with_claims_on_their_way_to_a_loop(self, run):
        run("""
hold = way.alone.take(lock)
loop = asyncio.new_event_loop()

async def park():
    task = loop.create_task(way.take_async(lock))
    await turns()
    return task

task = loop.run_until_complete(park())
spawn(way.alone.end, lock, hold).result()   # handed to the task, and posted to a loop that does not run

def work():
    assert lock._state() == way.held    # by a task of a loop that the child has too, and does not run
    passed_around(way, way.make())

in_child(work)
way.end(lock, loop.run_until_complete(task))
loop.close()
passed_around(way, lock)
""")

    @each_way
    def test_the_exit_of_the_child_is_clean(self, run):
        run("""
guard = way.alone.take(lock)
stop = threading.Event()
def hold():
    hold = way.take(lock, **way.patience)
    stop.wait()
    way.end(lock, hold)
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

    @each_lock
    def test_with_parked_daemon_threads(self, run):
        run("""
guard = way.taken_by_another(lock)
for other in way.siblings:
    for _ in range(3):
        threading.Thread(target=other.take, args=[lock], daemon=True).start()
        threading.Thread(target=other.take, args=[lock], kwargs=other.patience, daemon=True).start()
eventually(lambda: len(kinds(lock)) == 6 * len(way.siblings))
""")

    @each_lock
    def test_with_daemon_threads_that_pass_it_around(self, run):
        run("""
def count():
    while True:
        for other in way.siblings:
            other.visit(lock)
        try:
            way.visit(lock, timeout=0.0001)
        except Timeout:
            pass

for _ in range(8):
    threading.Thread(target=count, daemon=True).start()
time.sleep(0.05)
""")

    @pytest.mark.parametrize("release", [False, True])
    @each_lock
    def test_with_waits_that_time_out_while_it_ends(self, run, release):
        """A daemon thread that wakes after the end has begun is ended in its wait, and its stack is gone."""
        run(f"""
guard = way.taken_by_another(lock)
takes = [other.take for other in way.siblings if other.one_call]
for take in takes:
    for _ in range(5):
        # A partial object: a function would keep this module's names alive, and `last` with them.
        threading.Thread(target=functools.partial(take, lock, timeout=0.2), daemon=True).start()
eventually(lambda: len(kinds(lock)) == 5 * len(takes))

class Last:
    def __del__(self, guard=guard, attempt=way.attempt, lock=lock, time=time, gc=gc):
        time.sleep(0.5)     # all of them wake, and end
        gc.collect()
        if {release}:
            guard.release()
            attempt(lock)

last = Last()
""")

    @each_lock
    def test_with_a_release_in_atexit_for_parked_daemon_threads(self, run):
        run("""
guard = way.taken_by_another(lock)
for other in way.siblings:
    threading.Thread(target=other.take, args=[lock], daemon=True).start()
eventually(lambda: len(kinds(lock)) == len(way.siblings))
atexit.register(guard.release)
""")

    @pytest.mark.parametrize("options", [(), ("-X", "dev"), ("-W", "error")], ids=["plain", "dev", "error"])
    @each_lock
    def test_with_holds_alive_in_module_globals(self, run, options):
        run(
            """
locks = {other: other.make([other]) for other in way.siblings}
holds = [other.take(lock) for other, lock in locks.items()]
unlocked = [hold.unlocked() for hold in holds if hold is not True]
other = way.make([way])
in_a_task = way.take_async(other)
try:
    in_a_task.send(None)
except StopIteration as stop:
    holds.append(stop.value)
away = way.take(way.make([way])).unlocked()
away.__enter__()
""",
            options=options,
        )

    @each(way for way in PLAIN if way.writes)
    def test_with_a_guard_in_a_cycle_with_its_module(self, run):
        run("""
guard = way.take(lock)
guard.value = [guard, sys.modules[__name__], lock]
""")

    @each_way
    def test_with_parked_tasks_in_a_loop_that_was_never_closed(self, run):
        run("""
guard = way.alone.take(lock)
loop = asyncio.new_event_loop()
async def park():
    global tasks
    tasks = [loop.create_task(way.take_async(lock)) for _ in range(10)]
    await turns()
loop.run_until_complete(park())
assert len(kinds(lock)) == 10
""")

    @each_way
    def test_with_coroutines_in_every_state(self, run):
        run("""
guard = way.alone.take(lock)
new = way.take_async(lock)
closed = way.take_async(lock)
closed.close()
async def park():
    global parked
    parked = way.take_async(lock, **way.patience)
    parked.send(None)
asyncio.run(park())
face = lock.aio
""")

    @each_lock
    def test_a_value_that_uses_its_lock_while_the_interpreter_ends(self, run):
        run("""
class Value:
    def __init__(self, lock, way):
        self.lock, self.ways = lock, way.siblings
    def __del__(self):
        self.lock.locked()
        for way in self.ways:
            if hold := way.attempt(self.lock):
                way.end(self.lock, hold)

with way.within(lock) as guard:
    guard.value = Value(lock, way)
other = way.make()
with way.within(other) as guard:
    guard.value = Value(other, way)
held = way.take(other)
""")
