"""Conversions and upgrades at the worst moment, or in the garbage: what test_locks_destructors.py cannot say."""

import gc
import weakref

import pytest

from ferrule import RWLock
from tests.support.hostile import calling, hostile, raising
from tests.support.leaks import in_subprocess
from tests.support.race import outcome
from tests.support.rwlocks import FREE, state


class TestValues:
    @pytest.mark.parametrize("end", ["release", "downgrade", "downgrade_to_upgradable"])
    def test_a_destructor_that_ends_or_converts_the_hold(self, end):
        lock = RWLock()
        guard = lock.write()
        after = []
        guard.value = hostile(__del__=calling(lambda: after.append(getattr(guard, end)())))
        guard.value = "new"
        assert outcome(guard.release, RuntimeError)() is RuntimeError
        for other in after:
            if other is not None:
                assert other.value == "new"
                other.release()
        assert lock._state() == FREE


class TestTimeoutArguments:
    def test_an_index_that_spends_the_guard_that_is_to_be_upgraded(self):
        lock = RWLock()
        guard = lock.upgradable_read()
        with pytest.raises(RuntimeError):
            guard.upgrade(timeout=hostile(__index__=calling(guard.release, then=0)))
        assert lock._state() == FREE

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
    def test_an_index_that_raises_leaves_the_guard(self, error):
        lock = RWLock()
        for take in (lock.upgradable_read, lock.aio.try_upgradable_read):
            guard = take()
            with pytest.raises(error):
                guard.upgrade(timeout=hostile(__index__=raising(error)))
            assert lock._state() == state(upgradable=True)
            assert guard.value is None
            guard.release()
        assert lock._state() == FREE


@pytest.mark.filterwarnings("ignore")
class TestCollector:
    @pytest.fixture
    def dies(self):
        """Called with a function that ties a knot with the lock: both must go."""

        def check(tangle):
            lock = RWLock()
            reference = weakref.ref(lock)
            tangle(lock)
            del lock
            gc.collect()
            assert reference() is None

        return check

    @pytest.mark.parametrize("face", ["sync", "aio"])
    def test_a_cycle_through_the_guards_of_a_converted_hold(self, face, dies):
        def tangle(lock):
            first = lock.try_write() if face == "sync" else lock.aio.try_write()
            second = first.downgrade_to_upgradable()
            third = second.try_upgrade()
            third.value = values = [lock, first, second]
            values.append(third.downgrade())

        dies(tangle)

    def test_a_cycle_through_an_open_block(self, dies):
        def tangle(lock):
            values = []
            with lock.write() as guard:
                guard.value = values
            guard = lock.upgradable_read()
            opened = guard.upgraded()
            values += [lock, guard, opened, opened.__enter__()]

        dies(tangle)

    def test_a_cycle_through_an_upgrade_never_awaited(self, dies):
        def tangle(lock):
            guard = lock.aio.try_write()
            guard.value = values = [lock.aio.read()]
            values.append(guard.downgrade_to_upgradable().upgrade())

        dies(tangle)

    def test_upgrades_parked_behind_a_guard_in_the_same_garbage(self, loop_name):
        """Whom a guard in the same garbage lets in is garbage too: asyncio must not meet a task taken apart."""
        in_subprocess(f"""
            import asyncio, gc, warnings, weakref
            from ferrule import RWLock
            from tests.support.driver import run, turns
            from tests.support.rwlocks import kinds
            warnings.simplefilter("ignore", ResourceWarning)

            async def main():
                asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
                lock = RWLock()
                reference = weakref.ref(lock)
                with lock.write() as guard:
                    guard.value = holds = []
                guard = lock.aio.try_upgradable_read()
                holds += [lock.read(), guard]
                tasks = [asyncio.create_task(guard.upgrade()) for _ in range(3)]
                await turns()
                assert len(kinds(lock)) == 3
                del lock, guard, holds
                tasks.clear()
                for _ in range(3):
                    gc.collect()
                    await turns()
                assert reference() is None

            run(main(), {loop_name!r})
        """)
