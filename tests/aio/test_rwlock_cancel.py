"""Tasks that are cancelled, or time out, in upgrades and conversions: what test_locks_cancel.py cannot say."""

import asyncio

import pytest

from ferrule import RWLock, Timeout
from tests.support.driver import Followed, cancel_at_every_step, cancel_everywhere, run, turns
from tests.support.race import HANG
from tests.support.rwlocks import FREE, TAKE_ASYNC, state


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
            lock.try_read().release()
            guard.try_upgrade().release()
            assert lock._state() == FREE

        assert await cancel_at_every_step(begin, check) == 1
        coroutine.taken.release()
        assert lock._state() == FREE

    run(main(), loop_name)


def test_a_task_cancelled_in_the_middle_of_every_conversion(loop_name):
    """A real task, after every number of turns of its loop."""

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
