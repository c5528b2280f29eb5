"""Racing calls on one Condition: every result that is allowed, and why; anything else fails."""

import asyncio
import time

import pytest

from ferrule import Condition, Mutex, Timeout
from tests.support.conditions import notify, waiting, waiting_thread
from tests.support.driver import LoopThread
from tests.support.mutexes import FREE
from tests.support.race import RACES, eventually, outcome, raced, refused, run_together, spawn

DONE = "returned"


@pytest.fixture(params=[False, True], ids=["eventually-fair", "fair"])
def fair(request):
    return request.param


def waits(condition, timeout=None):
    """DONE or Timeout; the lock is held again in either case."""
    with condition as guard:
        try:
            condition.wait(timeout=timeout)
        except Timeout:
            assert guard.value is None
            return Timeout
        assert guard.value is None
        return DONE


def at_rest(condition, mutex):
    return waiting(condition) == [] and mutex._state() == FREE


@raced(RACES // 2)
def test_who_looks_and_waits_under_the_lock_misses_nothing(fair):
    """The change and its notification come before the look, or find the waiter queued."""
    condition = Condition(Mutex([], fair=fair))

    def consume():
        with condition as guard:
            looks = 1
            while not guard.value:
                condition.wait()
                looks += 1
            return guard.value.pop(), looks

    def produce():
        with condition as guard:
            guard.value.append("item")
            condition.notify()

    (item, looks), _ = run_together(consume, produce)
    assert item == "item"
    assert looks in {1, 2}  # it was there at once; it came, and no wake-up was made up
    assert waiting(condition) == []


@raced(RACES // 4)
def test_of_two_waiters_one_notification_wakes_one():
    """A waiter that times out just then has used it, or it goes to the other, or came too late for both."""
    allowed = {
        (DONE, "waits"),  # the notification was first
        (Timeout, DONE),  # the time was up first: the next one is notified
    }
    mutex = Mutex()
    condition = Condition(mutex)
    first = spawn(waits, condition, 0.0005)
    eventually(lambda: waiting(condition) or not first.alive)
    second = waiting_thread(condition, done=lambda: DONE)
    time.sleep(0.0003)
    notify(condition)
    given = first.result()
    eventually(lambda: given is DONE or not second.alive)
    assert (given, "waits" if second.alive else second.result()) in allowed
    if second.alive:
        notify(condition)
        assert second.result() == DONE
    assert at_rest(condition, mutex)


@raced(RACES // 4)
def test_two_notifications_wake_two_whoever_sends_them(fair):
    mutex = Mutex(fair=fair)
    condition = Condition(mutex)
    waiters = [waiting_thread(condition, done=lambda: DONE) for _ in range(3)]
    run_together(lambda: notify(condition), lambda: notify(condition))
    eventually(lambda: [waiter.alive for waiter in waiters] == [False, False, True])
    notify(condition)
    assert [waiter.result() for waiter in waiters] == [DONE] * 3
    assert at_rest(condition, mutex)


@raced(RACES // 4)
def test_a_wait_and_a_release_of_its_guard_elsewhere(fair):
    allowed = {
        (RuntimeError, None),  # released first: there is no hold to wait under
        (Timeout, RuntimeError),  # given up first: the guard refuses, and the hold is there again in the end
        (Timeout, None),  # released after the wait, which had its hold again
    }
    mutex = Mutex(fair=fair)
    condition = Condition(mutex)
    guards = []

    def wait():
        guard = mutex.lock()
        guards.append(guard)
        try:
            return outcome(lambda: condition.wait(timeout=1e-5), RuntimeError, Timeout)()
        finally:
            refused(guard.release)()

    def release():
        while not guards:
            time.sleep(0)
        return refused(guards[0].release)()

    assert run_together(wait, release) in allowed
    assert at_rest(condition, mutex)


@raced(RACES // 4)
def test_of_two_waits_under_one_unowned_hold_one_gives_it_up():
    allowed = {
        (Timeout, RuntimeError),
        (RuntimeError, Timeout),  # the other had given up the only hold
        (Timeout, Timeout),  # one after the other: the first had it again
    }
    mutex = Mutex()
    condition = Condition(mutex)
    mutex.acquire()
    wait = outcome(lambda: condition.wait(timeout=1e-4), RuntimeError, Timeout)
    assert run_together(wait, wait) in allowed
    mutex.release()
    assert at_rest(condition, mutex)


@raced(RACES // 4)
def test_a_notification_and_a_cancellation_at_once(fair):
    """The task uses it or the thread behind it does; never both, never none."""
    allowed = {
        (DONE, "waits"),  # notified, and done before the cancellation came
        (asyncio.CancelledError, DONE),  # cancelled first, or while it took the lock again: passed on
    }
    mutex = Mutex(fair=fair)
    condition = Condition(mutex)
    future = LOOP.spawn(wait_async(condition))
    eventually(lambda: waiting(condition))
    thread = waiting_thread(condition, done=lambda: DONE)
    run_together(lambda: notify(condition), lambda: LOOP.loop.call_soon_threadsafe(TASKS.pop().cancel))
    eventually(future.done)
    given = future.result()
    eventually(lambda: given is DONE or not thread.alive)
    assert (given, "waits" if thread.alive else thread.result()) in allowed
    if thread.alive:
        notify(condition)
        assert thread.result() == DONE
    assert at_rest(condition, mutex)


TASKS: list[asyncio.Task] = []
LOOP: LoopThread


async def wait_async(condition):
    async def waits():
        async with condition.aio as guard:
            try:
                await condition.aio.wait()
            finally:
                assert guard.value is None

    task = asyncio.create_task(waits())
    TASKS.append(task)
    await asyncio.wait([task])
    return asyncio.CancelledError if task.cancelled() else task.result() or DONE


@pytest.fixture(scope="module", autouse=True)
def loop_thread():
    global LOOP
    with LoopThread() as LOOP:
        yield


@raced(RACES // 4)
def test_a_waiter_sees_what_was_done_before_its_notification():
    """Also what was done to plain objects, without the lock: the notifier did it before."""
    condition = Condition()
    box = []
    waiter = waiting_thread(condition, done=lambda: box[0])
    box.append("seen")
    notify(condition)
    assert waiter.result() == "seen"


@raced(RACES // 8)
def test_a_loop_that_closes_and_a_notification(fair):
    """The thread behind the loop's task gets it, whichever comes first."""
    mutex = Mutex(fair=fair)
    condition = Condition(mutex)
    loop = asyncio.SelectorEventLoop()
    loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending!" is meant
    kept = []

    async def park():
        await condition.aio.acquire()
        kept.append(loop.create_task(condition.aio.wait()))
        await asyncio.sleep(0)

    loop.run_until_complete(park())
    assert waiting(condition) == ["task"]
    waiter = waiting_thread(condition, done=lambda: DONE)
    run_together(lambda: notify(condition), loop.close)
    kept.clear()
    assert waiter.result() == DONE
    assert at_rest(condition, mutex)
