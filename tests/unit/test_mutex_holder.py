"""Who waits for whom: the register of sleepers leads to the mutex, the mutex to the owner of its hold."""

import asyncio
import contextvars

from ferrule import Mutex
from ferrule._core.parking import sleepers
from tests.support.race import eventually, spawn


def waits():
    return {(id(target), thread) for target, thread, _ in sleepers()}


def test_two_threads_that_wait_for_each_other_can_be_walked():
    one, other = Mutex(), Mutex()

    def cross(mine, wanted):
        with mine:
            eventually(lambda: one.locked() and other.locked())
            return wanted.acquire(timeout=30)

    def ring():
        owners = one._holder(), other._holder()  # None until somebody waits for the hold
        return None not in owners and {(id(other), owners[0][0]), (id(one), owners[1][0])} <= waits()

    first, second = spawn(cross, one, other), spawn(cross, other, one)
    eventually(ring)
    one.release()
    assert second.result()  # and has left the other to the first
    assert first.result()
    other.release()
    assert one._holder() is other._holder() is None


def test_a_task_is_its_context():
    async def main():
        mutex = Mutex()
        async with mutex.aio:
            thread, context = mutex._holder()
            assert list(context) == list(contextvars.copy_context())
            waiting = asyncio.create_task(mutex.aio.lock())
            await asyncio.sleep(0)
            assert (mutex, thread) in [(target, sleeper) for target, sleeper, _ in sleepers()]
        (await waiting).release()
        assert mutex._holder() is None

    asyncio.run(main())


def test_a_hold_that_nobody_waits_for_and_no_block_keeps_is_not_looked_at():
    mutex = Mutex()
    with mutex.lock():
        assert mutex._holder() is None
    mutex.acquire()
    assert mutex._holder() is None
    mutex.release()
