"""The Mutex under all that an interpreter can be told to check: the tests of its contract run again in each setting."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.settings import SETTINGS, run_under

TESTS = [
    f"tests/{name}.py"
    for name in ("unit/test_mutex", "unit/test_mutex_guard", "aio/test_mutex_aio", "aio/test_mutex_coroutine")
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting):
    run_under(setting, TESTS)


def test_uvloops_debug_mode():
    pytest.importorskip("uvloop", reason="uvloop is not installed here")
    in_subprocess(
        """
        import asyncio
        from ferrule import Mutex, Timeout
        from tests.support.driver import run, turns
        from tests.support.race import spawn

        async def main():
            loop = asyncio.get_running_loop()
            assert loop.get_debug()
            mutex = Mutex(0)

            async def count():
                for _ in range(50):
                    async with mutex.aio as guard:
                        value = guard.value
                        await asyncio.sleep(0)
                        guard.value = value + 1
                    try:
                        await mutex.aio.lock(timeout=1e-6)
                    except Timeout:
                        pass

            tasks = [asyncio.create_task(count()) for _ in range(10)]
            doomed = [asyncio.create_task(mutex.aio.lock()) for _ in range(10)]
            await turns()
            for task in doomed:
                task.cancel()
            await asyncio.wait([*tasks, *doomed])
            for task in tasks:
                task.result()
            mutex.acquire()
            waiting = asyncio.create_task(mutex.aio.lock())
            await turns()
            spawn(mutex.release)
            (await waiting).release()
            with mutex as guard:
                assert guard.value == 500

        run(main(), "uvloop", debug=True)
        """,
        options=["-X", "dev"],
    )


@pytest.mark.parametrize("call", ["mutex.lock(timeout=0)", "mutex.lock(timeout=0.0001)", "held.lock()"])
def test_a_refusal_without_memory_is_still_one(call):
    """Each allocation fails in turn: what is raised is the refusal or MemoryError, and no lock is given."""
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    in_subprocess(f"""
        import _testcapi
        from ferrule import Mutex, Timeout, WouldDeadlock
        from tests.support.race import spawn

        mutex, held = Mutex(), Mutex()
        spawn(mutex.acquire).join()
        guard = held.lock()
        seen = set()
        for number in range(60):
            result = None
            try:
                _testcapi.set_nomemory(number, number + 1)
                result = {call}
            except (MemoryError, Timeout, WouldDeadlock) as error:
                result = error
            _testcapi.remove_mem_hooks()
            assert isinstance(result, (MemoryError, Timeout, WouldDeadlock)), (number, result)
            seen.add(type(result))
        assert len(seen) == 2, seen
        guard.release()
        mutex.release()
    """)
