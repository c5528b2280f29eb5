"""Signals that arrive while the main thread waits for a lock, of either kind: nothing is lost, nothing stays queued."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.locks import WAITS, WAYS

SETUP = """
import asyncio, signal, threading, time, warnings
from ferrule import Timeout, WouldDeadlock
from tests.support.driver import turns
from tests.support.locks import WAYS, kinds
from tests.support.processes import interrupt, interrupted, interrupted_ahead_of, signal_when, storm_of_interrupts
from tests.support.race import HANG, eventually, raises, spawn

held, way = WAYS["{}"], WAYS["{}"]
lock = way.make("kept")

"""


@pytest.fixture
def run(request):
    """Runs code in an interpreter of its own, about who holds a lock and a way to wait for it."""
    held, way = request.param
    return lambda code: in_subprocess(SETUP.format(held, way) + code, timeout=90)


def each(waits):
    return pytest.mark.parametrize("run", waits, ids=lambda wait: f"{wait[1]}-{wait[0].name}", indirect=True)


each_wait = each(WAITS)
each_way = each([(way.blocker, way) for way in WAYS.values() if not way.fair])
each_fair_way = each([(way.alone, way) for way in WAYS.values() if way.fair])


@each_wait
def test_ctrl_c_interrupts_every_wait_and_leaves_nothing_queued(run):
    run("""
def with_block():
    with way.within(lock):
        pass

hold = held.taken_by_another(lock)
for wait in (lambda: way.take(lock), lambda: way.take(lock, **way.patience), with_block):
    for _ in range(7):
        with interrupted(lambda: kinds(lock)[:1] == ["thread"]):
            wait()
        assert lock._state() == held.held
held.end(lock, hold)
with way.alone.within(lock, timeout=HANG) as guard:
    assert guard.value == "kept"
spawn(lambda: way.end(lock, way.take(lock, **way.patience))).result()
assert lock._state() == way.free
""")


@each_wait
def test_a_waiter_behind_the_interrupted_one_gets_in(run):
    run("""
hold = held.taken_by_another(lock)

def behind():
    return way.alone.take(lock, timeout=HANG)

with interrupted_ahead_of(behind, lambda: len(kinds(lock))) as waiting:
    way.take(lock)
assert kinds(lock) == ["thread"]
held.end(lock, hold)
way.alone.end(lock, waiting[0].result())
assert lock._state() == way.free
""")


@each_fair_way
def test_a_handler_that_returns_runs_outside_the_queue_and_keeps_the_place(run):
    run("""
hold = held.taken_by_another(lock)
seen, order = [], []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(len(kinds(lock))))

def second():
    with way.alone.within(lock, timeout=HANG):
        order.append("second")

def direct():
    eventually(lambda: len(kinds(lock)) == 1)
    waiting = spawn(second)
    for count in range(10):
        eventually(lambda: len(kinds(lock)) == 2)
        interrupt(signal.SIGUSR1)
        eventually(lambda: len(seen) == count + 1)
    eventually(lambda: len(kinds(lock)) == 2)
    held.end(lock, hold)
    return waiting

directing = spawn(direct)
with way.within(lock, **way.patience):
    order.append("first")
directing.result().result()
assert seen == [1] * 10, "only the second waiter is queued while the handler of the first runs"
assert order == ["first", "second"]
assert lock._state() == way.free
""")


@each([(held, way) for held, way in WAITS if way.patience and not way.fair])
def test_a_handler_that_returns_keeps_the_deadline(run):
    run("""
hold = held.taken_by_another(lock)
handled = []
signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
begun = time.monotonic()
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
try:
    way.take(lock, timeout=0.3)
except Timeout:
    waited = time.monotonic() - begun
signal.setitimer(signal.ITIMER_REAL, 0)
assert 0.3 <= waited < 6, waited
assert len(handled) > 1
assert lock._state() == held.held
held.end(lock, hold)
""")


@pytest.mark.parametrize("depth", [1, 10])
@each_way
def test_a_handler_may_wait_for_the_same_lock(run, depth):
    """And a handler that interrupts that one, and so on."""
    run(f"""
DEPTH = {depth}
hold = way.alone.taken_by_another(lock)
entered, ended = [], []

def handler(*_):
    mine = len(entered)
    entered.append(mine)
    with way.within(lock, **way.patience):
        ended.append(mine)

signal.signal(signal.SIGUSR1, handler)

def direct():
    for count in range(DEPTH):
        eventually(lambda: len(entered) == count and kinds(lock) == ["thread"])
        interrupt(signal.SIGUSR1)
    eventually(lambda: len(entered) == DEPTH and kinds(lock) == ["thread"])
    way.alone.end(lock, hold)

directing = spawn(direct)
with way.alone.within(lock, timeout=HANG):
    ended.append("main")
directing.result()
assert ended == [*reversed(range(DEPTH)), "main"]
assert lock._state() == way.free
""")


@each_way
def test_a_handler_may_release_what_its_thread_waits_for(run):
    run("""
hold = held.taken_by_another(lock)
signal.signal(signal.SIGUSR1, lambda *_: held.end(lock, hold))
interrupter = signal_when(lambda: kinds(lock) == ["thread"], signal.SIGUSR1)
with way.within(lock, **way.patience) as guard:
    assert guard is True or guard.value == "kept"
interrupter.result()
assert lock._state() == way.free
""")


@each([(way, way) for way in WAYS.values() if way.owned and not way.fair])
def test_a_handler_may_try_the_lock_its_thread_holds(run):
    run("""
seen = []

def handler(*_):
    seen.append(way.attempt(lock))
    try:
        way.take(lock)
    except WouldDeadlock:
        seen.append(WouldDeadlock)

signal.signal(signal.SIGUSR1, handler)
with way.within(lock):
    signal.raise_signal(signal.SIGUSR1)
assert seen == [None, WouldDeadlock]
assert lock._state() == way.free
""")


@each_way
def test_an_exception_of_a_handler_ends_the_wait(run):
    run("""
class Enough(Exception):
    pass

def handler(*_):
    raise Enough

hold = held.taken_by_another(lock)
signal.signal(signal.SIGUSR1, handler)
interrupter = signal_when(lambda: kinds(lock) == ["thread"], signal.SIGUSR1)
raises(Enough, way.take, lock, **way.patience)
interrupter.result()
assert lock._state() == held.held
held.end(lock, hold)
""")


@each([(way.alone, way) for way in WAYS.values() if way.guarded])
def test_ctrl_c_at_the_end_of_unlocked_takes_the_lock_again_first(run):
    run("""
interrupts = []

def handler(*_):
    interrupts.append(1)
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, handler)

def direct(hold):
    eventually(lambda: kinds(lock) == ["thread"])
    interrupt()
    eventually(lambda: interrupts and kinds(lock) == ["thread"])
    way.alone.end(lock, hold)

guard = way.take(lock)
with interrupted():
    with guard.unlocked():
        directing = spawn(direct, way.alone.taken_by_another(lock))
assert guard.value == "kept"
directing.result()
assert lock._state() == way.held
guard.release()
assert lock._state() == way.free
""")


STORMS = {
    "enter": ("Mutex.lock", "with lock: pass"),
    "lock": ("Mutex.lock", "with lock.lock(timeout=0.0005): pass"),
    "acquire": ("Mutex.lock", "acquire_and_release()"),
    "read": ("RWLock.write", "with lock.read(timeout=0.0005): pass"),
    "write": ("RWLock.write", "with lock.write(timeout=0.0005) as guard: guard.value += 0"),
    "upgrade": (
        "RWLock.write",
        "with lock.upgradable_read(timeout=0.0005) as guard: guard.upgrade(timeout=0.0005)",
    ),
    "upgraded": ("RWLock.write", "with lock.upgradable_read() as guard:\n            with guard.upgraded(): pass"),
    "downgrade": ("RWLock.write", "with lock.write() as guard: guard.downgrade()"),
}


@pytest.mark.parametrize("fair", ["", "fair "], ids=["eventually-fair", "fair"])
@pytest.mark.parametrize(("lock", "code"), STORMS.values(), ids=STORMS)
def test_a_storm_of_interrupts_while_the_lock_is_passed_around_loses_nothing(lock, code, fair):
    """The waits are in attempt() itself: only there does the storm interrupt."""
    in_subprocess(
        SETUP.format(fair + lock, fair + lock)
        + f"""
warnings.simplefilter("ignore", ResourceWarning)    # a guard that Ctrl-C kept from its `with` dies holding
lock = way.make(0)
stop = []

def acquire_and_release():      # not to be interrupted between the two: nobody would have the hold
    if lock.acquire(timeout=0.0005):
        lock.release()

def attempt():
    try:
        {code}
    except Timeout:
        pass

def count():
    mine = 0
    while not stop:
        for other in way.siblings:
            mine += other.visit(lock)
            time.sleep(0)
    return mine

counting = [spawn(count) for _ in range(3)]
storm_of_interrupts(attempt)
stop.append(True)
total = sum(one.result() for one in counting)
with way.within(lock, timeout=HANG) as guard:
    assert guard.value == total, (guard.value, total)
assert lock._state() == way.free
""",
        timeout=90,
    )


@each_way
def test_ctrl_c_with_parked_tasks(run, loop_name):
    run(f"""
from tests.support.driver import run
hold = way.alone.take(lock)

async def main():
    tasks = [asyncio.create_task(way.take_async(lock)) for _ in range(10)]
    await turns()
    assert kinds(lock) == ["task"] * 10
    signal.raise_signal(signal.SIGINT)
    await asyncio.gather(*tasks)

with interrupted():
    run(main(), {loop_name!r})
assert lock._state() == way.alone.held
way.alone.end(lock, hold)
way.alone.end(lock, way.alone.take(lock, timeout=HANG))
assert lock._state() == way.free
""")
