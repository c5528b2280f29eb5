"""Forks while others use a map: the child's is whole and free but for what vanished threads had entered."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import gc, os, random, sys, threading, time, warnings
from ferrule import ConcurrentMap, ConcurrentSet, Timeout, WouldDeadlock
from tests.support.maps import Key, assert_at_rest, entered, in_thread, waiting
from tests.support.processes import in_child
from tests.support.race import HANG, eventually, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested

def workload(m):
    # Threads over a map of which no key is entered.
    m.clear()

    def count(number):
        for n in range(300):
            m.increment("count")
            with m.entries("a", "b", timeout=HANG) as (a, b):
                a.value = a.get(0) + 1
                b.value = b.get(0) + 1
            m[number, n] = n
            assert m.pop((number, n)) == n

    running = [spawn(count, number) for number in range(3)]
    for one in running:
        one.result()
    assert_at_rest(m, {"count": 900, "a": 900, "b": 900})
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def run(code, **named):
    return in_subprocess(SETUP + code, timeout=150, **named)


def test_from_the_main_thread_and_from_another():
    run("""
inherited = ConcurrentMap((n, n) for n in range(1000))

def work():
    assert inherited.snapshot() == {n: n for n in range(1000)}
    workload(inherited)
    workload(ConcurrentMap())

in_child(work)
spawn(in_child, work).result()
in_child(lambda: in_child(work))
assert_at_rest(inherited, {n: n for n in range(1000)})
""")


@pytest.mark.parametrize("shards", [1, 8])
def test_while_fifty_threads_hammer(shards):
    run(f"""
busy, free = ConcurrentMap(shards={shards}), ConcurrentMap(shards={shards})
s = ConcurrentSet(shards={shards})
stop = []

def hammer(number):
    count = 0
    while not stop:
        busy.increment("count")
        count += 1
        for n in range(20):
            busy[number, n] = n
            s.add((number, n))
        for n in range(20):
            assert busy.pop((number, n)) == n
            s.remove((number, n))
        try:
            with busy.entry("entered", timeout=0.001) as e:
                e.value = e.get(0) + 1
        except Timeout:
            pass
        busy.snapshot()
    return count

def work():
    workload(free)
    workload(ConcurrentMap())
    # Whatever was going on: each key is there or not, none is half there, and all but an entered one can be written.
    busy._check()
    s._check()
    items = busy.snapshot()
    assert all(busy[key] == value for key, value in items.items())
    assert all(item in s for item in s.snapshot())
    busy.set_many({{(number, n): n for number in range(50) for n in range(20)}})
    for number in range(50):
        for n in range(20):
            assert busy.pop((number, n)) == n
            s.discard((number, n))
    assert not s
    if (e := busy.try_entry("entered")) is not None:    # nobody had it at the moment of the fork
        e.release()
        workload(busy)

hammering = [spawn(hammer, number) for number in range(50)]
for _ in range(4):
    in_child(work)
stop.append(True)
total = sum(one.result() for one in hammering)
assert busy.pop("count") == total
busy.pop("entered", None)
assert_at_rest(busy, {{}})
s._check()
assert not s
""")


def test_what_a_vanished_thread_has_entered_stays_held():
    run("""
m = ConcurrentMap({"k": 1, "j": 2})
taken, done = [], threading.Event()

def hold():
    taken.append(m.entry("k"))
    taken.append(m.entries("x", "y"))
    done.wait()

holder = spawn(hold)
eventually(lambda: len(taken) == 2)

def work():
    assert entered(m) == 3
    assert m.try_entry("k") is None
    for call in (lambda: m.entry("k", timeout=0.01), lambda: m.entries("j", "y", timeout=0.01)):
        try:
            call()
        except Timeout:
            pass
        else:
            raise SystemExit("taken from a vanished thread")
    assert m["k"] == 1
    m["j"] = 5
    assert m.popitem() == ("j", 5)
    entry, entries = taken
    entry.value = 7     # anybody may use it
    waiter = waiting(lambda: m.increment("k"))
    entry.release()
    assert waiter.result() == 8
    entries.release()
    workload(m)

in_child(work)
assert (m["k"], entered(m)) == (1, 3)
taken[0].release()
taken[1].release()
done.set()
holder.result()
assert_at_rest(m, {"k": 1, "j": 2})
""")


def test_entries_of_the_forking_thread_are_good_in_both():
    run("""
m = ConcurrentMap({"k": 1})
e = m.entry("k")

def work():
    for call in (lambda: m.entry("k"), lambda: m.increment("k")):
        try:
            call()
        except WouldDeadlock:
            pass
        else:
            raise SystemExit("entered twice")
    e.value += 1
    waiter = waiting(lambda: m.increment("k"))
    e.release()
    assert waiter.result() == 3
    workload(m)

in_child(work)
assert e.value == 1
e.release()
in_child(lambda: workload(m))
m.compute("k", lambda old: (in_child(lambda: m.get("k")), old)[1])
assert_at_rest(m, {"k": 1})
""")


def test_with_threads_that_wait_the_childs_queue_is_empty():
    run("""
m = ConcurrentMap({"k": 0})
e = m.entry("k")
waiters = [waiting(lambda: m.increment("k")) for _ in range(20)]

def release_first():
    e.release()
    assert_at_rest(m, {"k": 0})
    workload(m)

def wait_first():
    waiter = waiting(lambda: m.increment("k"))
    e.release()
    assert waiter.result() == 1
    assert_at_rest(m, {"k": 1})
    workload(m)

def give_up_first():
    def give_up():
        try:
            m.entry("k", timeout=0.001)
        except Timeout:
            return True
    assert in_thread(give_up)
    e.release()
    assert_at_rest(m, {"k": 0})
    workload(m)

for work in (release_first, wait_first, give_up_first):
    in_child(work)
spawn(in_child, release_first).result()
e.release()
for one in waiters:
    one.result()
assert_at_rest(m, {"k": 20})
""")


def test_by_a_thread_while_the_main_thread_waits():
    run("""
from tests.support.maps import sleeps, this_thread
m = ConcurrentMap({"k": 0})
main = this_thread()

def fork_and_release(e):
    eventually(lambda: sleeps(main))

    def work():
        e.release()
        workload(m)

    in_child(work)
    e.release()

forking = spawn(fork_and_release, in_thread(m.entry, "k"))
assert m.increment("k") == 1
forking.result()
assert_at_rest(m, {"k": 1})
""")


def test_inside_a_comparison_and_inside_an_iteration():
    run("""
class Forking(Key):
    def __eq__(self, other):
        in_child(lambda: (workload(ConcurrentMap()), m._check(), m.update((n, n) for n in range(100))))
        return super().__eq__(other)
    __hash__ = Key.__hash__

m = ConcurrentMap({Key("stored"): 1, Key("other", 2): 2})
assert m[Forking("stored")] == 1
for _ in m:
    in_child(lambda: workload(m))
assert len(m) == 2
assert_at_rest(m)
""")


def test_the_exit_of_the_child_is_clean():
    run("""
m = ConcurrentMap((n, n) for n in range(100))
e, iterator = m.entry("k"), iter(m.items())
next(iterator)
waiter = waiting(lambda: m.insert("k", 1))
pid = os.fork()
if pid == 0:
    sys.exit(0)     # a whole finalisation, with the entry, the iterator and the vanished waiter's map in globals
_, status = os.waitpid(pid, 0)
assert status == 0, status
e.release()
waiter.result()
""")
