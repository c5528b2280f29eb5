"""Free lists: dead guards and coroutines are used again, by threads that begin after others have ended, too."""

from tests.support.leaks import assert_no_leak, in_subprocess

THREADS = """
import asyncio, threading
import ferrule

mutex = ferrule.Mutex()

def burst():
    guards = []
    for _ in range(100):        # more than a list keeps
        guards.append(mutex.lock())
        guards[-1].release()
    coroutines = [mutex.aio.lock() for _ in range(100)]
    for coroutine in coroutines:
        coroutine.close()

def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


def test_objects_of_one_class_die_and_are_made():
    assert_no_leak("burst()", setup=THREADS, watch=["mutex"], repeats=200)


def test_what_an_ended_thread_kept_is_used_by_the_next():
    # A list of dead guards that an ended thread took with it would be 2 KiB; a thread of the C library's keeps less.
    assert_no_leak("in_thread(burst)", setup=THREADS, watch=["mutex"], repeats=400, spare_bytes=1024)


def test_a_new_object_remembers_nothing_of_the_dead_one():
    in_subprocess(
        THREADS
        + """
burst()
guards = [mutex.lock()]
for _ in range(50):
    guards[-1].release()
    guards.append(mutex.lock())
assert len({id(guard) for guard in guards}) == 51
assert [repr(guard).endswith("held>") for guard in guards] == [False] * 50 + [True]
assert [type(guard) for guard in guards] == [ferrule.MutexGuard] * 51
coroutine = mutex.aio.acquire()
assert repr(coroutine).endswith("created>") and coroutine.cr_await is None
coroutine.close()
"""
    )


def test_guards_die_in_other_threads_than_they_were_made_in():
    in_subprocess(
        THREADS
        + """
from tests.support.race import run_together

swaps = [[] for _ in range(4)]

def work(mine):
    other = ferrule.Mutex(mine)
    for round in range(3000):
        guard = other.lock()
        assert guard.value == mine
        guard.release()
        swaps[(mine + round) % 4].append(guard)
        try:
            swaps[mine].pop()
        except IndexError:
            pass

def short(mine):
    for _ in range(30):
        in_thread(lambda: work_a_little(mine))

def work_a_little(mine):
    other = ferrule.Mutex(mine)
    for round in range(100):
        guard = other.lock()
        swaps[(mine + round) % 4].append(guard)
        assert guard.value == mine
        guard.release()

run_together(*[lambda n=n: work(n) for n in range(2)], *[lambda n=n: short(n) for n in range(2, 4)])
for kept in swaps:
    kept.clear()
burst()
"""
    )


def test_what_is_dropped_ends_at_once_whoever_made_what_was_there_before():
    # Without the GIL a collection takes each object for one of the thread whose memory it lies in, and what is that
    # thread's only it destroys, when it comes to it.
    in_subprocess(
        THREADS
        + """
import gc, warnings
made, taken, dropped, end = (threading.Event() for _ in range(4))
guards = []

def make():
    for _ in range(100):
        guards.append(mutex.lock())
        guards[-1].release()
    made.set()
    taken.wait()
    guards.clear()
    dropped.set()
    end.wait()          # alive, and does nothing

warnings.simplefilter("ignore", ResourceWarning)
thread = threading.Thread(target=make, daemon=True)
thread.start()
made.wait()
mine = list(guards)
taken.set()
dropped.wait()
mine.clear()
mutexes = [ferrule.Mutex() for _ in range(50)]
held = [one.lock() for one in mutexes]
gc.collect()
held.clear()
assert [one.locked() for one in mutexes] == [False] * 50
end.set()
thread.join()
"""
    )


def test_the_collector_sees_a_recycled_object():
    in_subprocess(
        THREADS
        + """
import gc
burst()
guard, coroutine = mutex.lock(), mutex.aio.lock()
assert gc.is_tracked(guard) and gc.is_tracked(coroutine)
coroutine.close()
"""
    )


def test_a_list_keeps_no_more_than_it_may():
    in_subprocess(
        THREADS
        + """
import sys
mutexes = [ferrule.Mutex() for _ in range(10_000)]
guards = [each.lock() for each in mutexes]
many = sys.getallocatedblocks()
guards.clear()
assert many - sys.getallocatedblocks() > 9_900
""",
        options=["-W", "ignore::ResourceWarning"],
    )
