"""Signals that arrive while the main thread waits for an entry: nothing is lost, nothing stays held or queued."""

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import signal, sys, threading, time
from ferrule import ConcurrentMap, Timeout, WouldDeadlock
from tests.support.maps import Key, assert_at_rest, entered, in_thread, sleeps, this_thread, waiting
from tests.support.processes import interrupt, interrupted, signal_when, storm_of_interrupts
from tests.support.race import HANG, eventually, spawn

SLEEPER = this_thread()
m = ConcurrentMap({"k": 1, "j": 2})
"""


def run(code):
    in_subprocess(SETUP + code, timeout=90)


WAITS = [
    "m.entry('k')",
    "m.entry('k', timeout=HANG)",
    "m.entries('j', 'k', 'i')",
    "m.entries('j', 'k', 'i', timeout=HANG)",
    "m['k'] = 2",
    "del m['k']",
    "m.pop('k')",
    "m.insert('k', 2)",
    "m.compare_and_set('k', 1, 2)",
    "m.remove_if('k', lambda value: True)",
    "m.increment('k')",
    "m.compute('k', lambda old: 2)",
    "m.retain(lambda key, value: key == 'j')",
    "m.set_many({'j': 5, 'k': 5, 'i': 5})",
    "m.update({'k': 5})",
]


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_interrupts_every_wait_and_changes_nothing(wait):
    run(f"""
held = in_thread(m.entry, "k")
for _ in range(10):
    with interrupted(lambda: sleeps(SLEEPER)):
        {wait}
    assert entered(m) == 1
    assert m.snapshot() == {{"k": 1, "j": 2}}
held.release()
m.entry("k", timeout=0).release()
in_thread(m.__setitem__, "k", 1)
assert_at_rest(m, {{"k": 1, "j": 2}})
""")


def test_ctrl_c_interrupts_clear_between_keys():
    run("""
held = in_thread(m.entry, "k")
with interrupted(lambda: sleeps(SLEEPER)):
    m.clear()
assert (m["k"], entered(m)) == (1, 1)
held.release()
m.clear()
assert_at_rest(m, {})
""")


def test_a_waiter_behind_the_interrupted_one_gets_in():
    run("""
held = in_thread(m.entry, "k")

def behind():
    eventually(lambda: sleeps(SLEEPER))
    other = waiting(lambda: m.increment("k"))
    interrupt()
    return other

directing = spawn(behind)
with interrupted():
    m.entry("k")
other = directing.result()
assert other.alive
held.release()
assert other.result() == 2
assert_at_rest(m, {"k": 2, "j": 2})
""")


def test_a_handler_that_returns_lets_the_wait_go_on():
    run("""
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(m["k"]))
held = in_thread(m.entry, "k")

def direct():
    for count in range(10):
        eventually(lambda: len(seen) == count and sleeps(SLEEPER))
        interrupt(signal.SIGUSR1)
    eventually(lambda: len(seen) == 10 and sleeps(SLEEPER))
    held.value = 10
    held.release()

directing = spawn(direct)
assert m.increment("k") == 11
directing.result()
assert seen == [1] * 10
assert_at_rest(m, {"k": 11, "j": 2})
""")


def test_a_handler_that_returns_keeps_the_deadline():
    run("""
handled = []
signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
held = in_thread(m.entry, "k")
for wait in (lambda: m.entry("k", timeout=0.3), lambda: m.entries("j", "k", timeout=0.3)):
    handled.clear()
    begun = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        wait()
    except Timeout:
        waited = time.monotonic() - begun
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert 0.3 <= waited < 6, waited
    assert len(handled) > 1
    assert entered(m) == 1
held.release()
assert_at_rest(m)
""")


def test_a_handler_may_use_the_map_its_thread_waits_in():
    """Reads, writes of other keys, and an entry of the same key, taken and given back before the wait goes on."""
    run("""
done = []

def handler(*_):
    m["from the handler"] = m["k"]
    m.increment("j")
    assert m.try_entry("k") is None
    try:
        m.entry("k", timeout=0.001)
    except Timeout:
        done.append(True)

signal.signal(signal.SIGUSR1, handler)
held = in_thread(m.entry, "k")

def direct():
    eventually(lambda: sleeps(SLEEPER))
    interrupt(signal.SIGUSR1)
    eventually(lambda: done and sleeps(SLEEPER))
    held.release()

directing = spawn(direct)
with m.entry("k", timeout=HANG) as e:
    e.value += 1
directing.result()
assert_at_rest(m, {"k": 2, "j": 3, "from the handler": 1})
""")


def test_a_handler_may_wait_for_the_same_key():
    run("""
done = []

def handler(*_):
    with m.entry("k", timeout=HANG) as e:
        e.value = e.value * 10
    done.append(True)

signal.signal(signal.SIGUSR1, handler)
held = in_thread(m.entry, "k")

def direct():
    eventually(lambda: sleeps(SLEEPER))
    interrupt(signal.SIGUSR1)
    time.sleep(0.05)
    eventually(lambda: sleeps(SLEEPER))
    held.release()

directing = spawn(direct)
assert m.increment("k") == 11
directing.result()
assert done == [True]
assert_at_rest(m, {"k": 11, "j": 2})
""")


def test_a_handler_may_release_what_its_thread_waits_for():
    run("""
held = [in_thread(m.entry, "k")]
signal.signal(signal.SIGUSR1, lambda *_: held.pop().release())
interrupter = signal_when(lambda: sleeps(SLEEPER), signal.SIGUSR1)
assert m.insert("k", 5) == 1
interrupter.result()
assert_at_rest(m, {"k": 5, "j": 2})
""")


def test_a_handler_in_the_thread_that_holds_the_key_would_deadlock():
    run("""
seen = []

def handler(*_):
    seen.append(m.try_entry("k"))
    for wait in (lambda: m.entry("k"), lambda: m.increment("k")):
        try:
            wait()
        except WouldDeadlock:
            seen.append(WouldDeadlock)

signal.signal(signal.SIGUSR1, handler)
with m.entry("k"):
    signal.raise_signal(signal.SIGUSR1)
m.compute("k", lambda old: signal.raise_signal(signal.SIGUSR1) or old)
assert seen == [None, WouldDeadlock, WouldDeadlock] * 2
assert_at_rest(m, {"k": 1, "j": 2})
""")


@pytest.mark.parametrize("function", ["compute", "remove_if", "retain", "or_insert_with", "=="])
def test_ctrl_c_inside_the_callers_own_function_leaves_the_key_free(function):
    run(f"""
def interrupt(*_):
    signal.raise_signal(signal.SIGINT)
    return True

class Interrupting(Key):
    def __eq__(self, other):
        return interrupt()
    __hash__ = Key.__hash__

def call():
    match {function!r}:
        case "compute":
            m.compute("k", interrupt)
        case "remove_if":
            m.remove_if("k", interrupt)
        case "retain":
            m.retain(interrupt)
        case "or_insert_with":
            with m.entry("absent") as e:
                e.or_insert_with(interrupt)
        case "==":
            m[Key(1)] = 1
            try:
                with m.entries("k", Interrupting(2)) as (_, e):
                    e.value = 1
            finally:
                del m[Key(1)]

with interrupted():
    call()
assert_at_rest(m, {{"k": 1, "j": 2}})
""")


@pytest.mark.parametrize(
    "wait", ["m.increment('k')", "count(m.entry('k', timeout=0.0005))", "count(*m.entries('j', 'k'))"]
)
def test_a_storm_of_interrupts_while_keys_are_passed_around_loses_nothing(wait):
    run(f"""
m["k"] = m["j"] = 0
stop = []

def count(*entries):
    with entries[-1] as e:
        e.value += 1
    for e in entries[:-1]:
        e.release()

def attempt():
    try:
        {wait}
    except Timeout:
        pass

def work():
    done = 0
    while not stop:
        m.increment("k")
        with m.entries("k", "j") as (k, j):
            k.value += 1
            j.value += 1
        done += 1
        time.sleep(0)
    return done

working = [spawn(work) for _ in range(3)]
attempts, _ = storm_of_interrupts(attempt)
stop.append(True)
done = sum(one.result() for one in working)
assert m["j"] == done, (m["j"], done)
assert 2 * done <= m["k"] <= 2 * done + attempts
m.entries("k", "j", timeout=0).release()
assert_at_rest(m)
""")
