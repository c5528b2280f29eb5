"""Signals that arrive while the main thread waits for an RWLock: nothing is lost, nothing stays queued."""

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import signal, threading, time
from ferrule import RWLock, Timeout, WouldDeadlock
from tests.support.processes import interrupt, signal_when, storm_of_interrupts
from tests.support.race import HANG, eventually, spawn
from tests.support.rwlocks import FREE, KINDS, TAKE, TRY, holding, kinds, state


def held_by_another(lock, way):
    return spawn(TAKE[way], lock).result()
"""


def run(code):
    in_subprocess(SETUP + code, timeout=90)


WAITS = [
    ("write", "lock.read()"),
    ("write", "lock.read(timeout=HANG)"),
    ("write", "lock.read_recursive()"),
    ("write", "lock.upgradable_read(timeout=HANG)"),
    ("upgradable", "lock.upgradable_read()"),
    ("upgradable", "lock.write()"),
    ("read", "lock.write()"),
    ("read", "lock.write(timeout=HANG)"),
    ("read", "with lock.write(): pass"),
]


@pytest.mark.parametrize(("held", "wait"), WAITS)
def test_ctrl_c_interrupts_every_wait_and_leaves_nothing_queued(held, wait):
    run(f"""
lock = RWLock("kept")
guard = held_by_another(lock, {held!r})
for _ in range(20):
    interrupter = signal_when(lambda: kinds(lock) == ["thread"])
    try:
        {wait}
    except KeyboardInterrupt:
        pass
    else:
        raise SystemExit("not interrupted")
    interrupter.result()
    assert lock._state() == state(**KINDS[{held!r}])
guard.release()
with lock.write(timeout=HANG) as guard:
    assert guard.value == "kept"
assert lock._state() == FREE
""")


@pytest.mark.parametrize("upgrade", ["guard.upgrade()", "guard.upgrade(timeout=HANG)", "guard.upgraded().__enter__()"])
def test_ctrl_c_interrupts_an_upgrade_and_the_guard_holds_as_before(upgrade):
    run(f"""
lock = RWLock("kept")
reader = held_by_another(lock, "read")
guard = lock.upgradable_read()
for _ in range(20):
    interrupter = signal_when(lambda: kinds(lock) == ["thread"])
    try:
        {upgrade}
    except KeyboardInterrupt:
        pass
    else:
        raise SystemExit("not interrupted")
    interrupter.result()
    assert lock._state() == state(readers=1, upgradable=True)
    assert guard.value == "kept"
    spawn(lambda: lock.read(timeout=HANG).release()).result()
reader.release()
with guard.upgrade(timeout=HANG) as writer:
    assert writer.value == "kept"
assert lock._state() == FREE
""")


@pytest.mark.parametrize("behind", ["read", "upgradable"])
def test_who_waits_behind_an_interrupted_writer_goes_on_at_once(behind):
    run(f"""
lock = RWLock()
guard = held_by_another(lock, "read")

def wait():
    eventually(lambda: kinds(lock) == ["thread"])
    return TAKE[{behind!r}](lock, timeout=HANG)

waiting = spawn(wait)
interrupter = signal_when(lambda: len(kinds(lock)) == 2)
try:
    lock.write()
except KeyboardInterrupt:
    pass
beside = waiting.result()
assert kinds(lock) == []
guard.release()
beside.release()
assert lock._state() == FREE
""")


def test_readers_that_an_interrupted_upgrade_kept_out_go_on_at_once():
    run("""
lock = RWLock()
reader = held_by_another(lock, "read")
guard = lock.upgradable_read()

def direct():
    eventually(lambda: kinds(lock) == ["thread"])
    reading = spawn(lambda: lock.read(timeout=HANG))
    eventually(lambda: len(kinds(lock)) == 2)
    interrupt()
    return reading

directing = spawn(direct)
try:
    guard.upgrade()
except KeyboardInterrupt:
    pass
directing.result().result().release()
assert lock._state() == state(readers=1, upgradable=True)
reader.release()
guard.release()
assert lock._state() == FREE
""")


def test_a_handler_that_returns_runs_outside_the_queue_and_keeps_the_place():
    run("""
lock = RWLock([])
guard = held_by_another(lock, "write")
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(len(kinds(lock))))

def second():
    with lock.write(timeout=HANG) as guard:
        guard.value.append("second")

def direct():
    eventually(lambda: len(kinds(lock)) == 1)
    waiting = spawn(second)
    for count in range(10):
        eventually(lambda: len(kinds(lock)) == 2)
        interrupt(signal.SIGUSR1)
        eventually(lambda: len(seen) == count + 1)
    eventually(lambda: len(kinds(lock)) == 2)
    guard.release(fair=True)
    return waiting

directing = spawn(direct)
with lock.write(timeout=HANG) as mine:
    mine.value.append("first")
directing.result().result()
assert seen == [1] * 10, "only the second waiter is queued while the handler of the first runs"
with lock.read() as after:
    assert after.value == ["first", "second"]
assert lock._state() == FREE
""")


@pytest.mark.parametrize("wait", ["lock.write(timeout=0.3)", "guard.upgrade(timeout=0.3)"])
def test_a_handler_that_returns_keeps_the_deadline(wait):
    run(f"""
lock = RWLock()
reader = held_by_another(lock, "read")
guard = lock.upgradable_read() if "upgrade" in {wait!r} else None
before = lock._state()
handled = []
signal.signal(signal.SIGALRM, lambda *_: handled.append(1))
begun = time.monotonic()
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
try:
    {wait}
except Timeout:
    waited = time.monotonic() - begun
signal.setitimer(signal.ITIMER_REAL, 0)
assert 0.3 <= waited < 6, waited
assert len(handled) > 1
assert lock._state() == before
reader.release()
if guard is not None:
    guard.release()
""")


@pytest.mark.parametrize("way", ["read", "read_recursive", "upgradable", "write"])
@pytest.mark.parametrize("depth", [1, 10])
def test_a_handler_may_wait_for_the_same_lock(depth, way):
    """And a handler that interrupts that one, and so on."""
    run(f"""
DEPTH = {depth}
lock = RWLock([])
guard = held_by_another(lock, "write")
entered, ended = [], []

def handler(*_):
    mine = len(entered)
    entered.append(mine)
    with TAKE[{way!r}](lock, timeout=HANG):
        ended.append(mine)

signal.signal(signal.SIGUSR1, handler)

def direct():
    for count in range(DEPTH):
        eventually(lambda: len(entered) == count and kinds(lock) == ["thread"])
        interrupt(signal.SIGUSR1)
    eventually(lambda: len(entered) == DEPTH and kinds(lock) == ["thread"])
    guard.release()

directing = spawn(direct)
with lock.write(timeout=HANG):
    ended.append("main")
directing.result()
assert ended == [*reversed(range(DEPTH)), "main"]
assert lock._state() == FREE
""")


def test_a_handler_may_end_the_hold_that_its_thread_waits_for():
    run("""
lock = RWLock("kept")
guard = held_by_another(lock, "write")
signal.signal(signal.SIGUSR1, lambda *_: guard.release())
interrupter = signal_when(lambda: kinds(lock) == ["thread"], signal.SIGUSR1)
with lock.read(timeout=HANG) as mine:
    assert mine.value == "kept"
interrupter.result()
assert lock._state() == FREE
""")


def test_a_handler_may_end_the_guard_that_its_thread_upgrades():
    run("""
lock = RWLock("kept")
reader = held_by_another(lock, "read")
guard = lock.upgradable_read()
signal.signal(signal.SIGUSR1, lambda *_: guard.release())
interrupter = signal_when(lambda: kinds(lock) == ["thread"], signal.SIGUSR1)
try:
    guard.upgrade(timeout=HANG)
except RuntimeError:
    pass
else:
    raise SystemExit("upgraded although it was released")
interrupter.result()
assert lock._state() == state(readers=1)
reader.release()
""")


@pytest.mark.parametrize("held", ["upgradable", "write"])
def test_a_handler_may_try_the_lock_that_its_thread_holds(held):
    run(f"""
lock = RWLock()
seen = []

def handler(*_):
    seen.append(TRY[{held!r}](lock))
    try:
        lock.write()
    except WouldDeadlock:
        seen.append(WouldDeadlock)

signal.signal(signal.SIGUSR1, handler)
with holding(lock, {held!r}):
    signal.raise_signal(signal.SIGUSR1)
assert seen == [None, WouldDeadlock]
assert lock._state() == FREE
""")


def test_an_exception_of_a_handler_ends_the_wait():
    run("""
class Enough(Exception):
    pass

def handler(*_):
    raise Enough

lock = RWLock()
guard = held_by_another(lock, "read")
signal.signal(signal.SIGUSR1, handler)
interrupter = signal_when(lambda: kinds(lock) == ["thread"], signal.SIGUSR1)
try:
    lock.write(timeout=HANG)
except Enough:
    pass
else:
    raise SystemExit("not interrupted")
interrupter.result()
assert lock._state() == state(readers=1)
guard.release()
""")


@pytest.mark.parametrize("way", ["read", "upgradable", "write"])
def test_ctrl_c_at_the_end_of_unlocked_takes_the_lock_again_first(way):
    run(f"""
lock = RWLock("kept")
interrupted = []

def handler(*_):
    interrupted.append(1)
    raise KeyboardInterrupt

signal.signal(signal.SIGINT, handler)

def direct(other):
    eventually(lambda: kinds(lock) == ["thread"])
    interrupt()
    eventually(lambda: interrupted and kinds(lock) == ["thread"])
    other.release()

guard = TAKE[{way!r}](lock)
try:
    with guard.unlocked():
        directing = spawn(direct, held_by_another(lock, "write"))
except KeyboardInterrupt:
    assert guard.value == "kept"
else:
    raise SystemExit("not interrupted")
directing.result()
assert lock._state() == state(**KINDS[{way!r}])
guard.release()
assert lock._state() == FREE
""")


STORMS = [
    "with lock.write(timeout=0.0005) as guard: guard.value += 0",
    "with lock.read(timeout=0.0005): pass",
    "with lock.upgradable_read(timeout=0.0005) as guard: guard.upgrade(timeout=0.0005)",
    "with lock.upgradable_read() as guard:\n            with guard.upgraded(): pass",
    "with lock.write() as guard: guard.downgrade()",
]


@pytest.mark.parametrize("wait", STORMS, ids=["write", "read", "upgrade", "upgraded", "downgrade"])
def test_a_storm_of_interrupts_while_the_lock_is_passed_around_loses_nothing(wait):
    run(f"""
import warnings
warnings.simplefilter("ignore", ResourceWarning)    # a guard that Ctrl-C kept from its `with` dies holding
lock = RWLock(0)
stop = []

def attempt():
    try:
        {wait}
    except Timeout:
        pass

def count():
    mine = 0
    while not stop:
        with lock.write() as guard:
            guard.value += 1
            mine += 1
            time.sleep(0)
        with lock.read() as guard:
            time.sleep(0)
    return mine

counting = [spawn(count) for _ in range(3)]
storm_of_interrupts(attempt)
stop.append(True)
total = sum(one.result() for one in counting)
with lock.read(timeout=HANG) as guard:
    assert guard.value == total, (guard.value, total)
assert lock._state() == FREE
""")


@pytest.mark.parametrize("way", ["read", "upgradable", "write"])
def test_ctrl_c_with_parked_tasks(way, loop_name):
    run(f"""
import asyncio
from tests.support.driver import new_loop, turns
from tests.support.rwlocks import TAKE_ASYNC
lock = RWLock()
guard = lock.write()

async def main():
    tasks = [asyncio.create_task(TAKE_ASYNC[{way!r}](lock)) for _ in range(10)]
    await turns()
    assert kinds(lock) == ["task"] * 10
    signal.raise_signal(signal.SIGINT)
    await asyncio.gather(*tasks)

try:
    with asyncio.Runner(loop_factory=lambda: new_loop({loop_name!r})) as runner:
        runner.run(main())
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("not interrupted")
assert kinds(lock) == []
guard.release()
lock.write(timeout=HANG).release()
assert lock._state() == FREE
""")
