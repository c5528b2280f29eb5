"""References, objects and memory come back to the start after every kind of call on a Pool, also one that raises."""

import pytest

from tests.support.leaks import assert_no_leak

SETUP = """
import asyncio, gc, warnings, weakref
from ferrule import Pool, PoolClosed, PoolTimeout, aio
from tests.support.driver import Stepper, complete, new_loop, turns
from tests.support.hostile import raising, returning
from tests.support.pools import close
from tests.support.race import raises, spawn

warnings.simplefilter("ignore")
thing, other = object(), object()
create, nothing = returning(thing), returning(None)
pool = Pool(create, max_size=3, reset=nothing, validate=nothing, destroy=nothing, on_event=nothing)
face = pool.aio
full = Pool(create, max_size=1)
lease = full.acquire()
ended = Pool(create, max_size=1)
ended.close()
error = KeyError("mine")
fails = raising(error)
bad = Pool(create, max_size=2, reset=fails, validate=fails, destroy=fails, on_event=nothing)
uncreated = Pool(fails, max_size=1)
loop = new_loop("asyncio")

async def gives(*_):
    await asyncio.sleep(0)
    return thing

async def fails_later(*_):
    await asyncio.sleep(0)
    raise error

hooks = dict.fromkeys(["reset", "validate", "destroy", "on_event"], gives)
failing = dict.fromkeys(["reset", "validate", "destroy"], fails_later)

def forget():
    error.__traceback__ = None
    error.__context__ = None
"""

WATCH = ["thing", "other", "pool", "face", "full", "lease", "ended", "error", "bad", "gives"]

CALLS = {
    "pools": """
        Pool(create, max_size=1); aio.Pool(create, max_size=2, min_size=1); Pool[int]; aio.Pool[int]; pool.aio.sync
        raises(ValueError, Pool, create, max_size=0); raises(TypeError, Pool, create); raises(TypeError, Pool)
        raises(TypeError, Pool, 5, max_size=1); raises(ValueError, Pool, create, max_size=1, create_timeout=1)
        raises(ValueError, aio.Pool, create, max_size=0); raises(ValueError, Pool, create, max_size=1, order="x")
        p = Pool(create, max_size=2); p.acquire().release(); p.attach(other)
        p = Pool(create, max_size=2); p.acquire(); del p
        with Pool(create, max_size=1) as p: p.acquire().release()
        repr(pool); repr(face); repr(lease); hash(face); face == pool.aio; pool.stats(); weakref.ref(pool)
    """,
    "leases": """
        pool.acquire().release(); pool.acquire(timeout=1).discard(); pool.acquire().detach()
        pool.try_acquire().release()
        with pool.acquire() as obj: assert obj is thing
        with pool.acquire() as obj: pass
        try:
            with pool.acquire(): raise error
        except KeyError: forget()
        try:
            with pool.acquire(): raise KeyboardInterrupt
        except KeyboardInterrupt: pass
        a = pool.acquire(); a.value; a.release(); raises(RuntimeError, a.release); raises(RuntimeError, a.detach)
        pool.acquire_or(create).release()
    """,
    "refusals": """
        raises(PoolTimeout, full.acquire, timeout=0); raises(PoolTimeout, full.acquire, timeout=1e-6)
        full.try_acquire()
        full.acquire_or(create).release(); full.acquire_or(create).detach(); raises(KeyError, full.acquire_or, fails)
        forget()
        raises(TypeError, full.acquire_or, 5); raises(ValueError, full.attach, other)
        raises(PoolClosed, ended.acquire)
        raises(PoolClosed, ended.try_acquire); raises(PoolClosed, ended.attach, other)
        raises(PoolClosed, ended.warm_up)
        raises(ValueError, pool.resize, 0); raises(TypeError, pool.retain, 5)
        raises(ValueError, pool.acquire, timeout=-1)
        raises(KeyError, uncreated.acquire); raises(KeyError, uncreated.try_acquire)
        forget()
    """,
    "the whole pool": """
        pool.attach(other); pool.retain(returning(False)); pool.acquire().release()
        raises(KeyError, pool.retain, fails); forget()
        pool.resize(1); pool.resize(3); pool.reap(); pool.warm_up()
        p = Pool(create, max_size=3, min_size=2, idle_timeout=1e-9, lifetime=1e-9); p.warm_up(); p.reap()
        p.acquire().release(); p.close()
        p = Pool(create, max_size=1); a = p.acquire(); raises(PoolTimeout, p.close, timeout=1e-6); a.release()
    """,
    "hooks that fail": """
        bad.acquire().release(); bad.attach(other); bad.acquire().discard(); bad.acquire_or(create).release()
        bad.attach(other); bad.retain(returning(False))
        forget()
    """,
    "leases that are collected": """
        pool.acquire(); bad.acquire(); full.acquire_or(create); pool.aio.try_acquire()
        p = Pool(list, max_size=1); a = p.acquire(); a.value.append(a); del a, p; gc.collect()
        p = Pool(create, max_size=1, debug=True); p.acquire()
        forget()
    """,
    "tasks that need not wait": """
        complete(complete(face.acquire()).release()); complete(complete(face.acquire()).discard())
        complete(face.retain(returning(False))); complete(face.reap()); complete(face.resize(3))
        complete(face.warm_up())
        c = face.acquire(); complete(c.__aenter__()); complete(c.__aexit__(None, None, None))
        raises(PoolTimeout, complete, full.aio.acquire(timeout=0)); raises(PoolClosed, complete, ended.aio.acquire())
        face.acquire().close(); face.acquire(); face.close()
        p = aio.Pool(create, max_size=1); complete(p.acquire()); complete(p.close())
    """,
}

IN_A_LOOP = {
    "async hooks": """
        p = aio.Pool(gives, max_size=2, **hooks)
        async with p.acquire() as obj: assert obj is thing
        a = await p.acquire(); await a.discard()
        a = await p.acquire(); await a.release(); await p.retain(returning(False)); p.try_acquire()
        await p.close()
    """,
    "async hooks that fail": """
        p = aio.Pool(gives, max_size=2, on_event=gives, **failing)
        for _ in range(2):
            a = await p.acquire(); await a.release()
        p.attach(other); await (await p.acquire()).discard(); await p.close()
        p = aio.Pool(fails_later, max_size=1)
        try: await p.acquire()
        except KeyError: pass
        forget()
    """,
    "waits that are cancelled and closed": """
        p = Pool(create, max_size=1); a = p.acquire()
        tasks = [asyncio.create_task(p.aio.acquire()) for _ in range(3)]
        s = Stepper(p.aio.acquire(timeout=5)); s.step(); s.close()
        await turns()
        tasks[0].cancel(); a.release()
        await asyncio.wait([tasks[0], tasks[1]])
        await tasks[1].result().release()
        await (await tasks[2]).release()
        del tasks
    """,
    "hooks that are cancelled": """
        p = aio.Pool(gives, max_size=1, create_timeout=5, **hooks)
        for n in range(5):
            t = asyncio.create_task(p.acquire()); await turns(n); t.cancel()
            await asyncio.wait([t])
            if not t.cancelled(): await t.result().release()
        p = aio.Pool(lambda: asyncio.sleep(100), max_size=1, create_timeout=1e-6)
        try: await p.acquire()
        except PoolTimeout: pass
        del t
    """,
    "leases that are collected": """
        p = aio.Pool(gives, max_size=1, **hooks); a = await p.acquire(); del a; gc.collect()
        await turns(6)
        assert p.size == 0
    """,
}


@pytest.mark.parametrize("calls", CALLS.values(), ids=CALLS)
def test_calls_leave_nothing(calls):
    assert_no_leak(calls, setup=SETUP, watch=WATCH, repeats=200)


@pytest.mark.parametrize("calls", IN_A_LOOP.values(), ids=IN_A_LOOP)
def test_tasks_leave_nothing(calls):
    indented = calls.replace("\n        ", "\n            ")
    assert_no_leak(
        f"""
        async def main():
            {indented.strip()}

        loop.run_until_complete(main())
        """,
        setup=SETUP,
        watch=WATCH,
        repeats=200,
    )


def test_threads_that_wait_leave_nothing():
    assert_no_leak(
        """
        p = Pool(create, max_size=1)
        a = p.acquire()
        threads = [spawn(lambda: p.acquire().release()) for _ in range(2)]
        a.release()
        for thread in threads: thread.result()
        p.close()
        """,
        setup=SETUP,
        watch=WATCH,
        repeats=200,
        spare_bytes=100,
    )


def test_upkeep_leaves_nothing():
    assert_no_leak(
        """
        p = Pool(create, max_size=2, min_size=1, reap_every=1e-4, idle_timeout=1e-9)
        p.acquire().detach()
        eventually(lambda: p.size)
        p.close()
        eventually(lambda: periodic._thread is None)
        """,
        setup=SETUP + "\nfrom ferrule._core import periodic\nfrom tests.support.race import eventually\n",
        watch=WATCH,
        repeats=200,
        spare_bytes=100,
    )
