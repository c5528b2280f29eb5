"""The Mutex under all that an interpreter can be told to check: the tests of its contract run again in each setting."""

import sysconfig

import pytest

from tests.support.leaks import in_subprocess

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

RUN_TESTS = """
import gc, sys
import pytest

gc.set_threshold({threshold})
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-x", *{tests!r}]))
"""

SETTINGS = {
    # Development mode turns on the debug allocator and asyncio's debug mode.
    "warnings as errors in development mode": {"options": ["-W", "error", "-X", "dev"]},
    # Every block from the C library, which fills it when it is freed; without the GIL there is only Python's allocator.
    "a collection at every allocation": {
        "threshold": 1,
        "env": {"PYTHONMALLOC": "debug" if FREE_THREADED else "malloc", "MALLOC_PERTURB_": "165"},
    },
}

TESTS = [
    f"tests/{name}.py"
    for name in ("unit/test_mutex", "unit/test_mutex_guard", "aio/test_mutex_aio", "aio/test_mutex_coroutine")
]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting):
    named = dict(SETTINGS[setting])
    in_subprocess(RUN_TESTS.format(threshold=named.pop("threshold", 700), tests=TESTS), timeout=120, **named)


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
