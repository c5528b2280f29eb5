"""Signals that arrive while the main thread waits for a Mutex: nothing is lost, nothing stays queued."""

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import signal, threading, time
from ferrule import Mutex, Timeout, WouldDeadlock
from tests.support.mutexes import FREE, TAKEN, kinds
from tests.support.processes import interrupt, interrupted, signal_when, storm_of_interrupts
from tests.support.race import HANG, eventually, spawn

"""


def run(code):
    in_subprocess(SETUP + code, timeout=90)


WAITS = [
    "mutex.lock()",
    "mutex.lock(timeout=HANG)",
    "mutex.acquire()",
    "mutex.acquire(timeout=HANG)",
    "mutex.__enter__()",
    "with mutex: pass",
    "with mutex.lock(): pass",
]


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_interrupts_every_wait_and_leaves_nothing_queued(wait, fair):
    run(f"""
mutex = Mutex("kept", fair={fair})
spawn(mutex.acquire).join()
for _ in range(20):
    with interrupted(lambda: kinds(mutex) == ["thread"]):
        {wait}
    assert mutex._state() == TAKEN
mutex.release()
with mutex.lock(timeout=HANG) as guard:
    assert guard.value == "kept"
spawn(lambda: mutex.lock(timeout=HANG).release()).result()
assert mutex._state() == FREE
""")


@pytest.mark.parametrize("fair", [False, True])
def test_a_waiter_behind_the_interrupted_one_gets_in(fair):
    run(f"""
mutex = Mutex(fair={fair})
mutex.acquire()

def behind():
    eventually(lambda: kinds(mutex) == ["thread"])
    assert mutex.acquire(timeout=HANG)

waiting = spawn(behind)
with interrupted(lambda: len(kinds(mutex)) == 2):
    mutex.lock()
assert kinds(mutex) == ["thread"]
mutex.release()
waiting.result()
mutex.release()
assert mutex._state() == FREE
""")


def test_a_handler_that_returns_runs_outside_the_queue_and_keeps_the_place():
    run("""
mutex = Mutex([], fair=True)
mutex.acquire()
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(len(kinds(mutex))))

def second():
    with mutex.lock(timeout=HANG) as guard:
        guard.value.append("second")

def direct():
    eventually(lambda: len(kinds(mutex)) == 1)
    waiting = spawn(second)
    for count in range(10):
        eventually(lambda: len(kinds(mutex)) == 2)
        interrupt(signal.SIGUSR1)
        eventually(lambda: len(seen) == count + 1)
    eventually(lambda: len(kinds(mutex)) == 2)
    mutex.release()
    return waiting

directing = spawn(direct)
with mutex.lock(timeout=HANG) as guard:
    guard.value.append("first")
directing.result().result()
assert seen == [1] * 10, "only the second waiter is queued while the handler of the first runs"
with mutex as guard:
    assert guard.value == ["first", "second"]
assert mutex._state() == FREE
""")


@pytest.mark.parametrize("wait", ["mutex.lock(timeout=0.3)", "mutex.acquire(timeout=0.3) or timed_out()"])
def test_a_handler_that_returns_keeps_the_deadline(wait):
    run(f"""
mutex = Mutex()
spawn(mutex.acquire).join()
handled = []
signal.signal(signal.SIGALRM, lambda *_: handled.append(1))

def timed_out():
    raise Timeout

begun = time.monotonic()
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
try:
    {wait}
except Timeout:
    waited = time.monotonic() - begun
signal.setitimer(signal.ITIMER_REAL, 0)
assert 0.3 <= waited < 6, waited
assert len(handled) > 1
assert mutex._state() == TAKEN
""")


@pytest.mark.parametrize("depth", [1, 10])
def test_a_handler_may_wait_for_the_same_mutex(depth):
    """And a handler that interrupts that one, and so on."""
    run(f"""
DEPTH = {depth}
mutex = Mutex([])
mutex.acquire()
entered = []

def handler(*_):
    mine = len(entered)
    entered.append(mine)
    with mutex.lock(timeout=HANG) as guard:
        guard.value.append(mine)

signal.signal(signal.SIGUSR1, handler)

def direct():
    for count in range(DEPTH):
        eventually(lambda: len(entered) == count and kinds(mutex) == ["thread"])
        interrupt(signal.SIGUSR1)
    eventually(lambda: len(entered) == DEPTH and kinds(mutex) == ["thread"])
    mutex.release()

directing = spawn(direct)
with mutex.lock(timeout=HANG) as guard:
    guard.value.append("main")
directing.result()
with mutex as guard:
    assert guard.value == [*reversed(range(DEPTH)), "main"]
assert mutex._state() == FREE
""")


def test_a_handler_may_release_what_its_thread_waits_for():
    run("""
mutex = Mutex("kept")
spawn(mutex.acquire).join()
signal.signal(signal.SIGUSR1, lambda *_: mutex.release())
interrupter = signal_when(lambda: kinds(mutex) == ["thread"], signal.SIGUSR1)
with mutex.lock(timeout=HANG) as guard:
    assert guard.value == "kept"
interrupter.result()
assert mutex._state() == FREE
""")


def test_a_handler_may_try_the_lock_its_thread_holds():
    run("""
mutex = Mutex()
seen = []

def handler(*_):
    seen.append(mutex.try_lock())
    try:
        mutex.lock()
    except WouldDeadlock:
        seen.append(WouldDeadlock)

signal.signal(signal.SIGUSR1, handler)
with mutex:
    signal.raise_signal(signal.SIGUSR1)
assert seen == [None, WouldDeadlock]
assert mutex._state() == FREE
""")


def test_an_exception_of_a_handler_ends_the_wait():
    run("""
class Enough(Exception):
    pass

def handler(*_):
    raise Enough

mutex = Mutex()
spawn(mutex.acquire).join()
signal.signal(signal.SIGUSR1, handler)
interrupter = signal_when(lambda: kinds(mutex) == ["thread"], signal.SIGUSR1)
try:
    mutex.lock(timeout=HANG)
except Enough:
    pass
else:
    raise SystemExit("not interrupted")
interrupter.result()
assert mutex._state() == TAKEN
""")


@pytest.mark.parametrize("fair", [False, True])
def test_ctrl_c_at_the_end_of_unlocked_takes_the_lock_again_first(fair):
    run(f"""
mutex = Mutex("kept", fair={fair})
interrupted = []

def handler(*_):
    interrupted.append(1)
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, handler)

def direct():
    eventually(lambda: kinds(mutex) == ["thread"])
    interrupt()
    eventually(lambda: interrupted and kinds(mutex) == ["thread"])
    mutex.release()

guard = mutex.lock()
try:
    with guard.unlocked():
        spawn(mutex.acquire).join()
        directing = spawn(direct)
except KeyboardInterrupt:
    assert guard.value == "kept"
else:
    raise SystemExit("not interrupted")
directing.result()
assert mutex._state() == TAKEN
guard.release()
assert mutex._state() == FREE
""")


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("wait", ["with mutex: pass", "with mutex.lock(timeout=0.0005): pass", "acquire_and_release()"])
def test_a_storm_of_interrupts_while_the_lock_is_passed_around_loses_nothing(wait, fair):
    run(f"""
mutex = Mutex(0, fair={fair})
stop = []

def acquire_and_release():
    if mutex.acquire(timeout=0.0005):
        mutex.release()

def attempt():
    try:
        {wait}
    except Timeout:
        pass

def count():
    mine = 0
    while not stop:
        with mutex as guard:
            guard.value += 1
            mine += 1
            time.sleep(0)
    return mine

counting = [spawn(count) for _ in range(3)]
storm_of_interrupts(attempt)
stop.append(True)
total = sum(one.result() for one in counting)
with mutex.lock(timeout=HANG) as guard:
    assert guard.value == total, (guard.value, total)
assert mutex._state() == FREE
""")


def test_ctrl_c_with_parked_tasks(loop_name):
    run(f"""
import asyncio
from tests.support.driver import run, turns
mutex = Mutex()
mutex.acquire()

async def main():
    tasks = [asyncio.create_task(mutex.aio.lock()) for _ in range(10)]
    await turns()
    assert kinds(mutex) == ["task"] * 10
    signal.raise_signal(signal.SIGINT)
    await asyncio.gather(*tasks)

with interrupted():
    run(main(), {loop_name!r})
assert mutex._state() == TAKEN
mutex.release()
mutex.lock(timeout=HANG).release()
assert mutex._state() == FREE
""")
