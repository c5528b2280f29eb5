"""A task that waits for an RWLock is cancelled, at every step and from every side: its turn goes to those behind it."""

import asyncio
import random

import pytest

from ferrule import RWLock, Timeout
from tests.support.driver import (
    Followed,
    LoopThread,
    Moment,
    Stepper,
    cancel_at_every_step,
    cancel_everywhere,
    run,
    turns,
)
from tests.support.race import HANG, eventually, spawn
from tests.support.rwlocks import FREE, KINDS, TAKE, TAKE_ASYNC, kinds, state

WAITS = [(held, way) for held in ("read", "upgradable", "write") for way in TAKE_ASYNC]
WAITS = [(held, way) for held, way in WAITS if "write" in (held, way) or (held, way) == ("upgradable", "upgradable")]
each_wait = pytest.mark.parametrize(("held", "way"), WAITS)


def in_a_thread(there):
    def wait(lock, way):
        waiting = spawn(lambda: TAKE[way](lock, timeout=HANG))

        async def end():
            while waiting.alive:
                await asyncio.sleep(0.0005)
            return waiting.result()

        return end

    return wait


def in_the_same_loop(there):
    def wait(lock, way):
        stepper = Stepper(TAKE_ASYNC[way](lock, timeout=HANG))
        stepper.step()
        return stepper.finish

    return wait


def in_another_loop(there):
    def wait(lock, way):
        future = there.spawn(TAKE_ASYNC[way](lock, timeout=HANG))

        async def end():
            return await asyncio.wrap_future(future)

        return end

    return wait


class Stage:
    """A held lock, a coroutine that waits for it, and behind that one a writer, who must get it."""

    def __init__(self, held, way, fair, successor):
        self.lock = RWLock()
        self.holder = TAKE[held](self.lock)
        self.held = held
        self.fair = fair
        self.end_of_successor = None
        self.coroutine = Followed(TAKE_ASYNC[way](self.lock), lambda: self.follow(successor))

    def follow(self, successor):
        self.end_of_successor = successor(self.lock, "write")
        eventually(lambda: len(kinds(self.lock)) == 2)

    def wake(self):
        self.holder.release(fair=self.fair)
        self.holder = None

    async def check(self):
        if self.end_of_successor is None:
            assert self.lock._state() == state(**KINDS[self.held]), "cancelled before its first step, it did nothing"
            self.holder.release()
            return
        if self.holder is not None:
            self.wake()
        guard = await self.end_of_successor()
        assert self.lock._state() == state(writer=True)
        guard.release()
        assert self.lock._state() == FREE


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("successor", [in_a_thread, in_the_same_loop, in_another_loop])
@each_wait
def test_a_cancelled_waiter_passes_its_turn_on_at_every_step(held, way, successor, fair, loop_name):
    async def main(there):
        stage = None

        def begin():
            nonlocal stage
            stage = Stage(held, way, fair, successor(there))
            return stage.coroutine, stage.wake

        assert await cancel_at_every_step(begin, lambda: stage.check()) == 1
        stage.coroutine.taken.release()
        await stage.check()

    with LoopThread(loop_name) as there:
        run(main(there), loop_name)


@pytest.mark.parametrize("fair", [False, True])
@pytest.mark.parametrize("upgraded", [False, True], ids=["upgrade", "upgraded"])
def test_a_cancelled_upgrade_leaves_its_guard_at_every_step(upgraded, fair, loop_name):
    async def main():
        lock = guard = reader = coroutine = None

        def begin():
            nonlocal lock, guard, reader, coroutine
            lock = RWLock("value")
            guard, reader = lock.aio.try_upgradable_read(), lock.read()
            coroutine = Followed(guard.upgraded().__aenter__() if upgraded else guard.upgrade())
            return coroutine, wake

        def wake():
            nonlocal reader
            reader.release(fair=fair)
            reader = None

        def check():
            if reader is not None:
                wake()
            assert lock._state() == state(upgradable=True)
            assert guard.value == "value"
            guard.try_upgrade().release()
            assert lock._state() == FREE

        assert await cancel_at_every_step(begin, check) == 1
        coroutine.taken.release()
        assert lock._state() == FREE

    run(main(), loop_name)


@pytest.mark.parametrize("moment", Moment)
def test_it_is_free_after_the_holder_has_left_and_every_waiter_is_cancelled(moment, loop_name):
    async def main():
        lock = RWLock()
        guard = lock.write()
        steppers = [Stepper(take(lock)) for take in (*TAKE_ASYNC.values(), *TAKE_ASYNC.values())]
        for stepper in steppers:
            stepper.step()
        if moment in (Moment.DELIVERED, Moment.POSTED):
            spawn(guard.release).result()
        if moment is Moment.DELIVERED:
            await steppers[0].woken()
        for stepper in steppers:
            stepper.cancel()
        if moment is Moment.TIE:
            guard.release()
        for stepper in steppers:
            await stepper.woken()
            stepper.step()
            with pytest.raises(asyncio.CancelledError):
                stepper.result()
        if moment is Moment.BEFORE:
            guard.release()
        await turns()
        assert lock._state() == FREE

    run(main(), loop_name)


class TestRealTasks:
    """Tasks on their loop, cancelled after every number of its turns."""

    @pytest.mark.parametrize("way", TAKE_ASYNC)
    def test_async_with_among_others(self, way, loop_name):
        async def main():
            lock = RWLock(0)
            others = []

            async def visit(take):
                async with take(lock):
                    await asyncio.sleep(0)

            async def work():
                others[:] = [asyncio.create_task(visit(take)) for take in TAKE_ASYNC.values()]
                await asyncio.sleep(0)
                async with TAKE_ASYNC[way](lock):
                    others.extend(asyncio.create_task(visit(take)) for take in TAKE_ASYNC.values())
                    await turns(2)

            async def check():
                await asyncio.wait_for(asyncio.gather(*others), HANG)
                assert lock._state() == FREE

            assert await cancel_everywhere(work, check) > 0

        run(main(), loop_name)

    def test_every_conversion(self, loop_name):
        async def main():
            lock = RWLock(0)
            others = []

            async def visit(take):
                async with take(lock):
                    await turns(2)

            async def work():
                others[:] = [asyncio.create_task(visit(take)) for take in TAKE_ASYNC.values()]
                await asyncio.sleep(0)
                async with lock.aio.upgradable_read() as guard:
                    async with guard.upgraded() as writer:
                        writer.value += 1
                    others.append(asyncio.create_task(visit(TAKE_ASYNC["read"])))
                    await asyncio.sleep(0)
                    writer = await guard.upgrade()
                    async with writer.unlocked():
                        await asyncio.sleep(0)
                    guard = writer.downgrade_to_upgradable()
                    await asyncio.sleep(0)
                    guard.downgrade()
                    await asyncio.sleep(0)

            async def check():
                await asyncio.wait_for(asyncio.gather(*others), HANG)
                assert lock._state() == FREE

            assert await cancel_everywhere(work, check) > 0

        run(main(), loop_name)

    @pytest.mark.parametrize("way", TAKE_ASYNC)
    def test_unlocked(self, way, loop_name):
        """Cancelled anywhere in `async with guard.unlocked()`, the task holds the lock when the exception leaves it."""

        async def main():
            lock = RWLock("value")

            async def hold_a_turn():
                async with lock.aio.write():
                    await turns(2)

            async def work():
                async with TAKE_ASYNC[way](lock) as guard:
                    other = asyncio.create_task(hold_a_turn())
                    try:
                        async with guard.unlocked():
                            await asyncio.sleep(0)
                    finally:
                        assert guard.value == "value"
                        guard.release()
                        await other

            def check():
                assert lock._state() == FREE

            assert await cancel_everywhere(work, check) > 0

        run(main(), loop_name)


def test_ten_thousand_tasks_of_which_30_percent_are_cancelled_leave_it_free(rng, loop_name):
    seed = rng.random()

    async def main():
        chance = random.Random(seed)
        lock = RWLock(0)
        wrote = 0

        async def visit(way):
            nonlocal wrote
            async with TAKE_ASYNC[way](lock, timeout=chance.choice([None, HANG])) as guard:
                if way == "upgradable":
                    guard = await guard.upgrade()
                if way in ("upgradable", "write"):
                    before = guard.value
                    await asyncio.sleep(0)
                    assert guard.value == before, "another one wrote meanwhile"
                    guard.value += 1
                    wrote += 1
                else:
                    await asyncio.sleep(0)

        guard = lock.write()
        ways = chance.choices(list(TAKE_ASYNC), weights=[4, 1, 1, 1], k=10_000)
        tasks = [asyncio.create_task(visit(way)) for way in ways]
        await turns()
        guard.release()
        del guard
        doomed = chance.sample(tasks, 3_000)
        for number, task in enumerate(doomed):
            task.cancel()
            if number % 100 == 0:
                await asyncio.sleep(0)
        done, left = await asyncio.wait(tasks, timeout=4 * HANG)
        assert not left
        assert all(task.cancelled() or task.exception() is None for task in done)
        assert 7_000 <= sum(not task.cancelled() for task in done) < 10_000
        assert lock._state() == FREE
        with lock.read() as after:
            assert after.value == wrote

    run(main(), loop_name)


def test_a_thousand_time_outs_of_writers_and_upgrades_leave_the_word_as_it_was(loop_name):
    async def main():
        lock = RWLock()
        reader, guard = lock.read(), lock.aio.try_upgradable_read()

        async def in_vain(wait):
            with pytest.raises(Timeout):
                await wait

        for _ in range(10):
            waits = [lock.aio.write(timeout=1e-3) for _ in range(100)] + [guard.upgrade(timeout=1e-3)]
            await asyncio.gather(*map(in_vain, waits))
            assert lock._state() == state(readers=1, upgradable=True)
            lock.try_read().release()
        reader.release()
        guard.try_upgrade().release()
        lock.write(timeout=HANG).release()
        assert lock._state() == FREE

    run(main(), loop_name)
