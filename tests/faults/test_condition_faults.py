"""The Condition under all that an interpreter can be told to check, and where memory ends."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.settings import SETTINGS, run_under

TESTS = [f"tests/{name}.py" for name in ("unit/test_condition", "aio/test_condition_aio", "aio/test_condition_cancel")]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting):
    run_under(
        setting,
        ["tests/unit/test_condition.py", "tests/aio/test_condition_aio.py", "tests/aio/test_condition_cancel.py"],
    )


def test_uvloops_debug_mode():
    pytest.importorskip("uvloop", reason="uvloop is not installed here")
    in_subprocess(
        """
        import asyncio
        from ferrule import Condition, Mutex, Timeout
        from tests.support.conditions import notify
        from tests.support.driver import run, turns

        async def main():
            assert asyncio.get_running_loop().get_debug()
            condition = Condition(Mutex([]))

            async def consume():
                async with condition.aio as guard:
                    try:
                        await condition.aio.wait(timeout=1e-6)
                    except Timeout:
                        pass
                    await condition.aio.wait_for(lambda: guard.value)
                    return guard.value.pop()

            tasks = [asyncio.create_task(consume()) for _ in range(20)]
            doomed = [asyncio.create_task(consume()) for _ in range(20)]
            await turns()
            for task in doomed:
                task.cancel()
            for number in range(20):
                async with condition.aio as guard:
                    guard.value.append(number)
                    condition.aio.notify()
                await asyncio.to_thread(notify, condition)
            await asyncio.wait(doomed)
            assert sorted(await asyncio.gather(*tasks)) == list(range(20))

        run(main(), "uvloop", debug=True)
        """,
        options=["-X", "dev"],
    )


CALLS = {
    "wait": "condition.wait(timeout=0.0001)",
    "do not wait": "condition.wait(timeout=0)",
    "wait_for": "condition.wait_for(no, timeout=0.0001)",
    "wait_for something that is so": "condition.wait_for(yes)",
    "notify": "condition.notify(5)",
    "notify_all": "condition.notify_all()",
    "not held": "free.wait()",
    "not held, notify": "free.notify()",
    "a new one": "Condition()",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_every_allocation_failing_in_turn(call):
    """What is raised is what should be, or MemoryError; the lock is held as before, and nobody is queued."""
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    in_subprocess(f"""
        import _testcapi
        from ferrule import Condition, Mutex, Timeout
        from tests.support.mutexes import FREE, TAKEN

        # Made here: an interpreter may crash where there is no memory for a function (3.12, 3.13).
        yes, no = (lambda: True), (lambda: False)
        mutex, unlocked = Mutex("kept"), Mutex()
        condition, free = Condition(mutex), Condition(unlocked)
        guard = mutex.lock()
        seen = set()
        for number in range(80):
            error = None
            try:
                _testcapi.set_nomemory(number, number + 1)
                {call}
            except (MemoryError, Timeout, RuntimeError) as caught:
                error = caught
            _testcapi.remove_mem_hooks()
            seen.add(type(error))
            del error
            assert mutex._state() == TAKEN, number
            assert guard.value == "kept"
            assert unlocked._state() == FREE
            assert condition._state() == free._state() == []
        assert len(seen) <= 2, seen
        assert seen - {{MemoryError}}, seen
    """)
