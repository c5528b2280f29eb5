"""Signals that arrive while the main thread is in wait(): nothing is lost, nothing is made up, the lock is held."""

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import signal, sys, threading, time
from ferrule import Condition, Mutex, Timeout, WouldDeadlock
from tests.support.conditions import notify, waiting, waiting_thread
from tests.support.mutexes import FREE, TAKEN, kinds
from tests.support.processes import in_child, interrupt, signal_when, storm_of_interrupts
from tests.support.race import HANG, eventually, spawn

"""


def run(code):
    in_subprocess(SETUP + code, timeout=90)


WAITS = [
    "condition.wait()",
    "condition.wait(timeout=HANG)",
    "condition.wait_for(lambda: False)",
    "condition.wait_for(lambda: False, timeout=HANG)",
]


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_interrupts_every_wait_and_the_lock_is_held_then(wait, fair):
    run(f"""
mutex = Mutex("kept", fair={fair})
condition = Condition(mutex)
for _ in range(20):
    interrupter = signal_when(lambda: waiting(condition) == ["thread"])
    with condition as guard:
        try:
            {wait}
        except KeyboardInterrupt:
            pass
        else:
            raise SystemExit("not interrupted")
        assert mutex._state() == TAKEN
        assert guard.value == "kept"
        assert waiting(condition) == []
    interrupter.result()
assert mutex._state() == FREE
""")


@pytest.mark.parametrize("fair", [False, True])
def test_interrupted_it_waits_for_the_lock_before_it_raises(fair):
    run(f"""
mutex = Mutex(fair={fair})
condition = Condition(mutex)

def hold():
    eventually(lambda: waiting(condition))
    with mutex:
        interrupt()
        eventually(lambda: kinds(mutex) == ["thread"])
        assert waiting(condition) == []
        interrupt()    # a second one changes nothing
        time.sleep(0.02)
        released.append(1)

released = []
holder = spawn(hold)
with condition:
    try:
        condition.wait()
    except KeyboardInterrupt:
        assert released
        assert mutex.locked()
    else:
        raise SystemExit("not interrupted")
holder.result()
assert mutex._state() == FREE
""")


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("wait", ["condition.wait()", "condition.wait_for(lambda: False)"])
def test_a_notification_that_met_the_interrupt_goes_to_the_next(wait, fair):
    """Interrupted while notified: in the queue for the lock, whose holder is the notifier."""
    run(f"""
mutex = Mutex(fair={fair})
condition = Condition(mutex)

def notifier():
    eventually(lambda: waiting(condition))
    waiter = waiting_thread(condition)
    with condition:
        condition.notify()
        assert kinds(mutex) == ["thread"]
        assert waiting(condition) == ["thread"]
        interrupt()
        eventually(lambda: len(kinds(mutex)) == 2)      # passed on; and it wants the lock back
        assert waiting(condition) == []
    waiter.result()

notifying = spawn(notifier)
with condition:
    try:
        {wait}
    except KeyboardInterrupt:
        pass
    else:
        raise SystemExit("not interrupted")
notifying.result()
assert mutex._state() == FREE
""")


def test_a_notification_that_comes_while_a_handler_runs_is_not_lost():
    """The waiter stays in its queue, in its place, while a handler runs that returns."""
    run("""
mutex = Mutex([])
condition = Condition(mutex)
go_on = threading.Event()
seen = []

def handler(*_):
    seen.append(waiting(condition))
    go_on.set()
    eventually(lambda: not waiting(condition))      # notified meanwhile
    seen.append(kinds(mutex))

signal.signal(signal.SIGUSR1, handler)

def notifier():
    eventually(lambda: waiting(condition))
    interrupt(signal.SIGUSR1)
    go_on.wait(HANG)
    notify(condition)

notifying = spawn(notifier)
with condition:
    assert condition.wait() is None
notifying.result()
assert seen == [["thread"], []], seen
assert mutex._state() == FREE
""")


@pytest.mark.parametrize("wait", ["condition.wait()", "condition.wait_for(lambda: False)"])
def test_a_notification_that_comes_while_a_handler_runs_that_raises_goes_to_the_next(wait):
    run(f"""
mutex = Mutex()
condition = Condition(mutex)
go_on = threading.Event()

def handler(*_):
    go_on.set()
    eventually(lambda: len(waiting(condition)) == 1)
    raise KeyError("the handler's")

signal.signal(signal.SIGUSR1, handler)

def notifier():
    eventually(lambda: waiting(condition))
    waiter = waiting_thread(condition)
    interrupt(signal.SIGUSR1)
    go_on.wait(HANG)
    notify(condition)
    waiter.result()

notifying = spawn(notifier)
with condition:
    try:
        {wait}
    except KeyError:
        assert mutex.locked()
    else:
        raise SystemExit("nothing was raised")
notifying.result()
assert mutex._state() == FREE
""")


def test_handlers_that_return_wake_nobody_and_keep_the_place_and_the_deadline():
    run("""
condition = Condition()
order, seen = [], []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(waiting(condition)))

def direct():
    eventually(lambda: waiting(condition))
    second = waiting_thread(condition, done=lambda: order.append("second"))
    for count in range(10):
        interrupt(signal.SIGUSR1)
        eventually(lambda: len(seen) == count + 1)
    assert order == []
    notify(condition)
    eventually(lambda: order)
    notify(condition)
    second.result()

directing = spawn(direct)
with condition:
    condition.wait()
    order.append("first")
directing.result()
assert order == ["first", "second"]
assert seen == [["thread"] * 2] * 10, seen

signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
seen.clear()
begun = time.monotonic()
with condition:
    try:
        condition.wait(timeout=0.3)
    except Timeout:
        waited = time.monotonic() - begun
signal.setitimer(signal.ITIMER_REAL, 0)
assert 0.3 <= waited < 6, waited
assert len(seen) > 1
""")


@pytest.mark.parametrize("fair", [False, True])
def test_a_handler_may_use_the_same_condition(fair):
    """It takes the lock, notifies its own thread's wait, waits itself, with a timeout and until it is notified."""
    run(f"""
mutex = Mutex([], fair={fair})
condition = Condition(mutex)

def handler(*_):
    with condition as guard:
        guard.value.append("handled")
        condition.notify()
    with condition:
        try:
            condition.wait(timeout=0.001)
        except Timeout:
            pass
    others = len(waiting(condition))
    nested = spawn(lambda: (eventually(lambda: len(waiting(condition)) > others), notify(condition, 2)))
    with condition:
        condition.wait()
    nested.result()

signal.signal(signal.SIGUSR1, handler)
sender = signal_when(lambda: waiting(condition), signal.SIGUSR1)
with condition as guard:
    condition.wait()
    assert guard.value == ["handled"]
sender.result()
assert waiting(condition) == []
assert mutex._state() == FREE
""")


def test_a_handler_that_keeps_the_lock_is_waited_for_by_its_own_thread():
    """WouldDeadlock: nobody but this thread could end that hold, so it cannot have its own again."""
    run("""
mutex = Mutex()
condition = Condition(mutex)
kept = []

def handler(*_):
    kept.append(mutex.lock())
    condition.notify()

signal.signal(signal.SIGUSR1, handler)
sender = signal_when(lambda: waiting(condition), signal.SIGUSR1)
with condition as guard:
    try:
        condition.wait()
    except WouldDeadlock:
        pass
    else:
        raise SystemExit("it has the lock twice")
sender.result()
kept.pop().release()
assert mutex._state() == FREE
""")


def test_a_storm_of_interrupts_loses_no_notification():
    """Whoever is interrupted passes on: of the threads behind, as many return as were notified in all."""
    run("""
mutex = Mutex([0, 0])   # made, used
condition = Condition(mutex)
stop = []

def attempt():
    with condition as guard:
        while guard.value[0] == guard.value[1]:
            condition.wait()
        guard.value[1] += 1

def consumer():
    while not stop:
        with condition as guard:
            while guard.value[0] == guard.value[1] and not stop:
                condition.wait()
            if guard.value[0] > guard.value[1]:
                guard.value[1] += 1

def producer():
    while not stop:
        with condition as guard:
            if guard.value[0] - guard.value[1] < 3:
                guard.value[0] += 1
                condition.notify()
        time.sleep(0)

threads = [spawn(consumer), spawn(consumer), spawn(producer)]
calls, interrupted = storm_of_interrupts(attempt, seconds=1.0)
assert calls >= interrupted > 0
stop.append(1)
threads[2].result()
with condition:
    condition.notify_all()
for thread in threads:
    thread.result()
assert waiting(condition) == []
assert mutex._state() == FREE
""")


@pytest.mark.parametrize("call", ["condition.wait()", "condition.wait_for(lambda: True if asked else asked.append(1))"])
def test_a_handler_forks_while_its_thread_waits(call):
    """In the child the wait goes on, in a new queue; each process has a notifier of its own."""
    run(f"""
import os, warnings
warnings.simplefilter("ignore", DeprecationWarning)
mutex = Mutex("kept")
condition = Condition(mutex)
children, asked = [], []

def notifier():
    eventually(lambda: waiting(condition) == ["thread"])
    notify(condition)

def handler(*_):
    assert waiting(condition) == ["thread"]
    children.append(os.fork())
    if children == [0]:
        assert waiting(condition) == []
    notifiers.append(spawn(notifier))

notifiers = []
signal.signal(signal.SIGUSR1, handler)
sender = signal_when(lambda: waiting(condition), signal.SIGUSR1)
with condition as guard:
    {call}
    assert guard.value == "kept"
notifiers[0].result()
assert waiting(condition) == []
assert mutex._state() == FREE
if children == [0]:
    os._exit(7)
sender.result()
_, status = os.waitpid(children[0], 0)
assert os.waitstatus_to_exitcode(status) == 7
""")
