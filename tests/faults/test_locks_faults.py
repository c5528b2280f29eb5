"""The locks under all that an interpreter can be told to check: the tests of their contract, again in each setting."""

import pytest

from tests.support.each import each
from tests.support.leaks import in_subprocess
from tests.support.locks import LOCKS
from tests.support.settings import SETTINGS, run_under

TESTS = {
    "Mutex": ["unit/test_mutex", "unit/test_mutex_guard", "aio/test_mutex_aio"],
    "RWLock": ["unit/test_rwlock", "unit/test_rwlock_guard", "aio/test_rwlock_aio"],
    "both": ["aio/test_locks_coroutine"],
}


@pytest.mark.parametrize("lock", TESTS)
@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting, lock):
    run_under(setting, [f"tests/{name}.py" for name in TESTS[lock]])


@each(LOCKS)
def test_uvloops_debug_mode(way):
    pytest.importorskip("uvloop", reason="uvloop is not installed here")
    in_subprocess(
        f"""
        import asyncio
        from ferrule import Timeout
        from tests.support.driver import run, turns
        from tests.support.locks import WAYS
        from tests.support.race import spawn

        way = WAYS["{way}"]

        async def main():
            assert asyncio.get_running_loop().get_debug()
            lock = way.make(0)

            async def count():
                added = 0
                for _ in range(50):
                    for other in way.siblings:
                        added += await other.visit_async(lock)
                    try:
                        async with way.within_async(lock, timeout=1e-6) as guard, guard.unlocked():
                            await asyncio.sleep(0)
                    except Timeout:
                        pass
                return added

            tasks = [asyncio.create_task(count()) for _ in range(10)]
            doomed = [asyncio.create_task(other.visit_async(lock)) for other in way.siblings * 4]
            await turns()
            for task in doomed:
                task.cancel()
            added = sum(await asyncio.gather(*tasks))
            added += sum(end for end in await asyncio.gather(*doomed, return_exceptions=True) if type(end) is int)
            hold = way.take(lock)
            waiting = asyncio.create_task(way.take_async(lock))
            await turns()
            spawn(way.end, lock, hold)
            hold = await waiting
            assert hold.value == added
            way.end(lock, hold)
            assert lock._state() == way.free

        run(main(), "uvloop", debug=True)
        """,
        options=["-X", "dev"],
    )
