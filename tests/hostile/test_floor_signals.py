"""Signals that arrive while the main thread waits: nothing is lost, nothing stays queued, handlers may wait too."""

import pytest

from tests.support.leaks import in_subprocess

pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

SETUP = """
import asyncio, itertools, signal, threading, time
from ferrule import Timeout
from ferrule._core.parking import sleepers
from ferrule._core.probe import Gate, Several
from tests.support.driver import run
from tests.support.processes import interrupt, interrupted, signal_when
from tests.support.race import HANG, eventually, spawn


def asleep(gate):
    return [target for target, _, _ in sleepers()].count(gate)
"""


def in_main_thread(code):
    in_subprocess(SETUP + code, timeout=90)


@pytest.mark.parametrize("wait", ["gate.wait()", "gate.wait(timeout=HANG)", "gate.wait(spinning=True)", "both.wait()"])
def test_ctrl_c_raises_and_leaves_nothing_queued(wait):
    in_main_thread(f"""
gate, other = Gate(), Gate()
both = Several(gate, other)
for _ in range(30):
    with interrupted(lambda: asleep(gate) or asleep(both)):
        {wait}
    assert (gate.permits, gate.waiting, other.waiting) == (0, 0, 0)
    assert sleepers() == []
gate.release()
assert {wait}
spawn(gate.release).result()
assert gate.wait(timeout=0)
assert (gate.permits, gate.waiting) == (0, 0)
""")


def test_an_interrupted_wait_that_was_claimed_meanwhile_keeps_its_permit():
    """The claim wins: the wait ends with its permit, and the interruption comes right after."""
    in_main_thread("""
gate = Gate()
for _ in range(200):
    taken = []
    def both():
        eventually(lambda: asleep(gate))
        claimed = gate.claim()
        interrupt()
        time.sleep(0.0005)
        claimed.wake()
    giver = spawn(both)
    try:
        # In C, so that no handler runs between the return of wait() and the entry of its result.
        taken.extend(itertools.starmap(gate.wait, [()]))
        time.sleep(HANG)
    except KeyboardInterrupt:
        pass
    giver.result()
    assert taken == [True], taken
    assert (gate.permits, gate.waiting) == (0, 0)
""")


def test_a_handler_that_returns_lets_the_wait_go_on_in_its_place():
    in_main_thread("""
gate = Gate()
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(gate.waiting))

def behind():
    eventually(lambda: gate.waiting == 1)
    gate.wait()
    seen.append("behind")

second = spawn(behind)

def act():
    for count in range(1, 21):
        eventually(lambda: asleep(gate) == 2)
        interrupt(signal.SIGUSR1)
        eventually(lambda: len(seen) == count)
    eventually(lambda: gate.waiting == 2)
    gate.release()

actor = spawn(act)
assert gate.wait()
assert seen == [1] * 20, seen       # the main thread was in no queue while the handler ran
actor.result()
gate.release()
second.result()
assert (gate.permits, gate.waiting) == (0, 0)
""")


@pytest.mark.parametrize("depth", [1, 3, 8])
def test_handlers_that_wait_at_the_same_gate(depth):
    in_main_thread(f"""
DEPTH = {depth}
gate = Gate()
level = 0
ended = []

def handler(*_):
    global level
    level += 1
    mine = level
    assert gate.wait()
    ended.append(mine)

signal.signal(signal.SIGUSR1, handler)

def act():
    for wanted in range(DEPTH):
        eventually(lambda: level == wanted and asleep(gate) == 1)
        assert gate.waiting == 1        # of the nested waits only the innermost is queued
        interrupt(signal.SIGUSR1)
    eventually(lambda: level == DEPTH and asleep(gate) == 1)
    for count in range(1, DEPTH + 1):
        gate.release()
        eventually(lambda: len(ended) == count and gate.waiting == 1)
    gate.release()

actor = spawn(act)
assert gate.wait()
actor.result()
assert ended == list(range(DEPTH, 0, -1)), ended
assert (gate.permits, gate.waiting) == (0, 0)
assert sleepers() == []
""")


def test_a_handler_that_takes_what_the_interrupted_wait_was_claimed_for():
    in_main_thread("""
gate = Gate()
taken = []

def handler(*_):
    if gate.try_wait():
        taken.append("handler")

signal.signal(signal.SIGUSR1, handler)
for _ in range(200):
    def act():
        eventually(lambda: asleep(gate))
        claimed = gate.claim()
        interrupt(signal.SIGUSR1)
        claimed.wake()
    actor = spawn(act)
    try:
        gate.wait(timeout=0.02)
        taken.append("main")
    except Timeout:
        pass
    actor.result()
    assert len(taken) == 1, taken
    assert (gate.permits, gate.waiting) == (0, 0)
    taken.clear()
""")


def test_a_handler_that_gives_what_the_interrupted_wait_waits_for():
    in_main_thread("""
gate = Gate()
signal.signal(signal.SIGUSR1, lambda *_: gate.release())
for _ in range(100):
    sender = signal_when(lambda: asleep(gate), signal.SIGUSR1)
    assert gate.wait()
    sender.result()
    assert (gate.permits, gate.waiting) == (0, 0)
""")


def test_a_handler_that_raises_in_a_wait_that_insists():
    in_main_thread("""
gate = Gate()
count = 0

def handler(*_):
    global count
    count += 1
    raise KeyError(count)

signal.signal(signal.SIGUSR1, handler)

def act():
    for wanted in range(3):
        eventually(lambda: count == wanted and asleep(gate) == 1)
        interrupt(signal.SIGUSR1)
    eventually(lambda: count == 3 and asleep(gate) == 1)
    gate.release()

actor = spawn(act)
try:
    gate.wait(insists=True)
except KeyError as error:
    assert error.args == (1,), error    # the first one counts
else:
    raise SystemExit("nothing raised")
actor.result()
assert (gate.permits, gate.waiting) == (0, 0)

# with a timeout the exception takes the place of Timeout
sender = signal_when(lambda: asleep(gate), signal.SIGUSR1)
try:
    gate.wait(insists=True, timeout=0.2)
except KeyError as error:
    assert isinstance(error.__context__, Timeout)
else:
    raise SystemExit("nothing raised")
sender.result()
assert (gate.permits, gate.waiting) == (0, 0)
""")


def test_ctrl_c_in_asyncio_run_leaves_nothing_queued():
    in_main_thread("""
gate = Gate()

async def main():
    sender = signal_when(lambda: asleep(gate))
    try:
        await gate.wait_async()
    finally:
        sender.result()
        assert (gate.permits, gate.waiting) == (0, 0)

for _ in range(10):
    with interrupted():
        asyncio.run(main())
    assert (gate.permits, gate.waiting) == (0, 0)
    assert sleepers() == []
""")


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_handler_that_raises_while_tasks_are_woken(loop):
    """The signals may arrive anywhere in release(), which runs Python code where tasks wait: all of them are woken."""
    if loop == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not installed here")
    in_main_thread(f"""
from tests.support.driver import LoopThread
class Mine(Exception):
    pass

gate = Gate()
raised = caught = 0
armed = False

def handler(*_):
    global raised, armed
    if armed:
        armed = False
        raised += 1
        raise Mine

signal.signal(signal.SIGUSR1, handler)
stop = threading.Event()

def send():
    while not stop.wait(0.00005):
        interrupt(signal.SIGUSR1)

async def wait_many(count):
    for _ in range(count):
        await gate.wait_async()

sender = spawn(send)
given = 0
with LoopThread({loop!r}) as there:
    ends = [there.spawn(wait_many(100)) for _ in range(10)]
    while not all(end.done() for end in ends):
        try:
            armed = True
            gate.release(min(gate.waiting, 3))
            armed = False
        except Mine:
            caught += 1
        time.sleep(0)
    stop.set()
    sender.result()
    for end in ends:
        end.result(HANG)
assert caught == raised, (caught, raised)
assert gate.waiting == 0
""")
