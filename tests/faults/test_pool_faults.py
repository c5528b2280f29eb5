"""The Pool under all that an interpreter can be told to check, and where memory ends."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.settings import SETTINGS, run_under

TESTS = ["unit/test_pool", "unit/test_pool_whole", "unit/test_pool_hooks", "aio/test_pool_hooks_aio"]


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_contract_holds_under(setting):
    run_under(setting, [f"tests/{name}.py" for name in TESTS])


def test_uvloops_debug_mode():
    pytest.importorskip("uvloop", reason="uvloop is not installed here")
    in_subprocess(
        """
        import asyncio
        from ferrule import PoolTimeout, aio
        from tests.support.driver import run, turns
        from tests.support.pools import Hooks, arests, ause

        async def main():
            assert asyncio.get_running_loop().get_debug()
            hooks = Hooks(2, asynchronous=True)
            pool = aio.Pool(max_size=2, create_timeout=30, **hooks.all())
            tasks = [asyncio.create_task(ause(pool)) for _ in range(20)]
            doomed = [asyncio.create_task(ause(pool)) for _ in range(20)]
            await turns(5)
            for task in doomed:
                task.cancel()
            await asyncio.wait([*tasks, *doomed])
            for task in tasks:
                task.result()
            await arests(pool, hooks)
            await pool.close()
            hooks.check(0)

        run(main(), "uvloop", debug=True)
        """,
        options=["-X", "dev"],
    )


NO_MEMORY = """
import warnings
from ferrule import PoolClosed, PoolTimeout, Pool
from tests.support.driver import complete
from tests.support.hostile import returning
from tests.support.without_memory import every_allocation_fails

warnings.simplefilter("ignore")     # a lease that is dropped because its call failed says so

def good(obj):
    return True

def bad(obj):
    return False

class Case:
    # A pool with an idle object, one that is leased, and room for another; and one that is full.
    def __init__(self):
        self.pool = Pool(object, max_size=3, min_size=3, reset=good, validate=good, destroy=good)
        self.plain = Pool(object, max_size=3)
        self.picky = Pool(object, max_size=3, reset=bad, validate=bad)
        self.pools = [self.pool, self.plain, self.picky]
        for pool in self.pools:
            pool.attach(object())
        self.leases = [self.pool.acquire(), self.plain.acquire()]
        self.pool.attach(object())
        self.plain.attach(object())
        self.full = Pool(object, max_size=1)
        self.held = self.full.acquire()
        self.closed = Pool(object, max_size=1)
        self.closed.close()

    def seen(self):
        return [(p.idle, p.in_use, p.size, p.max_size, p.closed) for p in (*self.pools, self.full, self.closed)]

    def rests(self):
        for pool in (*self.pools, self.full):
            assert pool.waiting == 0

    def check(self):
        for lease in (*self.leases, self.held):
            try:
                lease.release()
            except RuntimeError:
                pass        # by the call
        for pool in (*self.pools, self.full):
            assert pool.in_use == 0, pool
            if not pool.closed:
                pool.resize(pool.max_size)      # where that had no memory to end what was over it
                leases = [pool.acquire(timeout=0) for _ in range(pool.max_size)]
                assert pool.try_acquire() is None
                for lease in leases:
                    lease.discard()
            pool.close(timeout=0)

OWN = PoolTimeout, PoolClosed, ValueError, RuntimeError

# Made here: an interpreter may crash where there is no memory for a function (3.12, 3.13), which is not what is tested.
def call(c):
    return {call}

assert every_allocation_fails(Case, call, OWN, atomic={atomic}) >= {least}
"""

WHOLE = {
    "acquire, and what is left is given back": "c.pool.acquire().release()",
    "try_acquire": "c.plain.try_acquire().release()",
    "acquire that makes an object": "(c.plain.acquire(), c.plain.acquire()) and None",
    "acquire with a validate that refuses": "c.picky.acquire().release()",
    "acquire of a full one": "c.full.acquire(timeout=0)",
    "acquire that waits": "c.full.acquire(timeout=0.0001)",
    "acquire of a closed one": "c.closed.acquire()",
    "acquire_or": "c.full.acquire_or(object).release()",
    "attach": "c.plain.attach(c)",
    "attach to a full one": "c.full.attach(c)",
    "release": "c.leases[0].release()",
    "release without hooks": "c.leases[1].release()",
    "detach": "c.leases[0].detach()",
    "discard": "c.leases[0].discard()",
    "resize": "c.pool.resize(1)",
    "retain": "c.pool.retain(bad)",
    "warm_up": "c.pool.warm_up()",
    "reap": "c.pool.reap()",
    "close": "c.pool.close(timeout=0)",
    "a task's acquire": "complete(complete(c.pool.aio.acquire()).release())",
    "a task's acquire of a full one": "complete(c.full.aio.acquire(timeout=0))",
    "a task's discard": "complete(complete(c.plain.aio.acquire()).discard())",
    "figures": "c.pool.stats()",
    "repr": "repr(c.pool)",
    "a new pool": "Pool(object, max_size=5, idle_timeout=1.5)",
}


@pytest.mark.parametrize("call", WHOLE.values(), ids=WHOLE)
def test_every_allocation_failing_in_turn(call):
    """What is raised is what should be, or MemoryError; no slot is lost, and the pools work on."""
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    in_subprocess(NO_MEMORY.format(call=call, atomic=False, least=0))


def test_where_memory_ends_calls_do_fail():
    pytest.importorskip("_testcapi", reason="this interpreter was built without its test modules")
    for call in ("c.pool.retain(bad)", "c.pool.stats()", "c.leases[0].discard()"):
        in_subprocess(NO_MEMORY.format(call=call, atomic=False, least=1))
