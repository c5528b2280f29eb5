"""What a Mutex's word and its references must be at every moment: faults here are slow to show anywhere else."""

import asyncio
import gc
import sys
import weakref

import pytest

from ferrule import Mutex
from tests.support.driver import Stepper, complete, run
from tests.support.mutexes import FREE, TAKEN

ROUNDS = 50
"""A waiter is patient for 0-1 ms, drawn at random: that it was patient all these times does not happen."""


def queued(mutex, count):
    """So many coroutines that wait for the taken mutex."""
    steppers = [Stepper(mutex.aio.acquire()) for _ in range(count)]
    for stepper in steppers:
        stepper.step()
    assert len(mutex._state()["waiters"]) == count
    return steppers


class TestQueueBit:
    def test_says_whether_somebody_is_queued_at_every_step(self, loop_name):
        def check(mutex):
            state = mutex._state()
            assert state["parked"] is bool(state["waiters"])

        async def main():
            for _ in range(ROUNDS):
                mutex = Mutex()
                mutex.acquire()
                for stepper in queued(mutex, 3):
                    check(mutex)
                    mutex.release()
                    check(mutex)
                    assert await stepper.finish() is True
                mutex.release()
                assert mutex._state() == FREE

        run(main(), loop_name)

    def test_is_kept_by_who_barges_in(self, loop_name):
        async def pass_through(mutex, waiter):
            assert await waiter.finish() is True
            mutex.release()

        async def main():
            barged = 0
            for _ in range(ROUNDS):
                mutex = Mutex()
                mutex.acquire()
                waiters = queued(mutex, 2)
                mutex.release()
                if guard := mutex.try_lock():
                    barged += 1
                    state = mutex._state()
                    assert (state["parked"], len(state["waiters"])) == (True, 1)
                    guard.release()
                await asyncio.gather(*(pass_through(mutex, waiter) for waiter in waiters))
                assert mutex._state() == FREE
            assert barged, "a release hands the lock to those alone who have waited for a while"

        run(main(), loop_name)


class TestHandingOver:
    def test_to_a_waiter_that_has_lost_patience(self, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            (waiter,) = queued(mutex, 1)
            await asyncio.sleep(0.002)
            mutex.release()
            assert mutex._state() == TAKEN
            assert await waiter.finish() is True
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    @pytest.mark.parametrize(
        "release",
        [
            lambda mutex, guard: guard.release(),
            lambda mutex, guard: mutex.release(),
            lambda mutex, guard: guard.__exit__(None, None, None),
        ],
        ids=["guard", "mutex", "with"],
    )
    def test_by_every_release_of_a_fair_mutex(self, release, loop_name):
        async def main():
            for _ in range(ROUNDS):
                mutex = Mutex(fair=True)
                guard = mutex.lock()
                (waiter,) = queued(mutex, 1)
                release(mutex, guard)
                assert mutex._state() == TAKEN
                assert await waiter.finish() is True
                mutex.release()

        run(main(), loop_name)

    def test_by_a_fair_release(self, loop_name):
        async def main():
            for _ in range(ROUNDS):
                mutex = Mutex()
                guard = mutex.lock()
                (waiter,) = queued(mutex, 1)
                guard.release(fair=True)
                assert mutex._state() == TAKEN
                assert await waiter.finish() is True
                mutex.release()

        run(main(), loop_name)


class TestPassingOn:
    """Of two waiters the first is cancelled after the release: the second is woken at once."""

    @pytest.mark.parametrize("fair", [False, True], ids=["leave to try", "the lock itself"])
    def test_to_the_next_in_the_queue(self, fair, loop_name):
        async def main():
            for _ in range(ROUNDS):
                mutex = Mutex(fair=fair)
                mutex.acquire()
                first, second = queued(mutex, 2)
                mutex.release()
                first.cancel()
                assert first.step()
                with pytest.raises(asyncio.CancelledError):
                    first.result()
                assert second.future.done()
                assert second.step()
                assert second.result() is True
                mutex.release()
                assert mutex._state() == FREE

        run(main(), loop_name)


class TestGuardsGo:
    """The guard of an `async with` block, and with it the mutex, dies with the block."""

    def test_of_a_block_that_waited(self, loop_name):
        async def main():
            mutex = Mutex()
            gone = weakref.ref(mutex)
            mutex.acquire()
            waiter = Stepper(mutex.aio.__aenter__())
            waiter.step()
            mutex.release()
            await waiter.finish()
            leaving = mutex.aio.__aexit__(None, None, None)
            with pytest.raises(StopIteration):
                waiter.context.run(leaving.send, None)
            assert mutex._state() == FREE
            del mutex, waiter, leaving
            gc.collect()
            assert gone() is None

        run(main(), loop_name)

    def test_of_a_block_handed_to_a_cancelled_task(self, loop_name):
        async def main():
            mutex = Mutex(fair=True)
            gone = weakref.ref(mutex)
            mutex.acquire()
            waiter = Stepper(mutex.aio.__aenter__())
            waiter.step()
            mutex.release()
            assert mutex._state() == TAKEN
            waiter.cancel()
            assert waiter.step()
            with pytest.raises(asyncio.CancelledError):
                waiter.result()
            assert mutex._state() == FREE
            with pytest.raises(RuntimeError, match="not at all"):  # the block did not begin
                waiter.context.run(complete, mutex.aio.__aexit__(None, None, None))
            del mutex, waiter
            gc.collect()
            assert gone() is None

        run(main(), loop_name)


def test_an_unlocked_block_ends_only_once_and_only_if_it_was_entered():
    mutex = Mutex()
    guard = mutex.lock()
    unlocked = guard.unlocked()
    with unlocked:
        pass
    for not_open in (unlocked, guard.unlocked()):
        with pytest.raises(RuntimeError, match=r"unlocked\(\)"):
            not_open.__exit__(None, None, None)
    assert guard.value is None
    guard.release()
    for not_open in (unlocked, guard.unlocked()):
        with pytest.raises(RuntimeError, match=r"unlocked\(\)"):
            not_open.__exit__(None, None, None)
    assert mutex._state() == FREE


@pytest.mark.parametrize("ended", [False, True])
def test_a_block_that_was_unlocked_is_entered_again(ended):
    """The mutex refers to the guard of an open block once; nothing is left of that for the collector."""
    mutex = Mutex("kept")
    gone = weakref.ref(mutex)
    with mutex as guard:
        for _ in range(3):
            with guard.unlocked():
                pass
            assert guard.value == "kept"
        if ended:
            guard.release()
    assert mutex._state() == FREE
    gc.disable()
    try:
        del mutex, guard
        assert gone() is None
    finally:
        gc.enable()


def test_every_use_of_the_value_leaves_as_many_references_as_it_must():
    value, other = object(), object()
    kept = [value, other] * 100  # so that one reference too few is counted, not missed
    mutex = Mutex(value)
    guard = mutex.lock()
    counts = sys.getrefcount(value), sys.getrefcount(other)
    for _ in range(10):
        assert guard.value is value
        guard.value = other
        assert guard.value is other
        guard.value = value
    assert (sys.getrefcount(value), sys.getrefcount(other)) == counts
    guard.release()
    for _ in range(10):
        with pytest.raises(RuntimeError):
            _ = guard.value
        with pytest.raises(RuntimeError):
            guard.value = other
    assert (sys.getrefcount(value), sys.getrefcount(other)) == counts
    del mutex, guard
    assert sys.getrefcount(value) == counts[0] - 1
    assert len(kept) == 200
