"""Signals while the main thread waits at a pool, or runs its hooks: nothing is lost, and nobody stays queued."""

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import asyncio, signal, threading, time, warnings
from ferrule import Lease, Pool, PoolClosed, PoolTimeout
from tests.support.hostile import returning
from tests.support.pools import Hooks, close, exhausted, figures, rests, waiting_thread
from tests.support.processes import interrupted, interrupted_ahead_of, signal_when, storm_of_interrupts
from tests.support.race import HANG, eventually, outcome, spawn

def made(size, **options):
    hooks = Hooks(size)
    return Pool(max_size=size, **hooks.all(), **options), hooks
"""


def run(code):
    in_subprocess(SETUP + code, timeout=90)


@pytest.mark.parametrize("wait", ["pool.acquire()", "pool.acquire(timeout=HANG)", "pool.acquire(timeout=None)"])
def test_ctrl_c_interrupts_a_wait_and_changes_nothing(wait):
    run(f"""
pool, (lease,) = exhausted()
for n in range(20):
    with interrupted(lambda: pool.waiting == 1):
        {wait}
    assert figures(pool) == (0, 1, 1, 0)
lease.release()
rests(pool)
""")


@pytest.mark.parametrize("wait", ["pool.close()", "pool.close(timeout=HANG)"])
def test_ctrl_c_interrupts_close(wait):
    run(f"""
pool, hooks = made(2)
leases = [pool.acquire() for _ in range(2)]
leases.pop().release()
with interrupted(lambda: pool.closed):
    {wait}
assert figures(pool) == (0, 1, 1, 0)
leases.pop().release()
pool.close(timeout=0)
hooks.check(0)
""")


def test_who_waits_behind_gets_the_object():
    run("""
pool, (lease,) = exhausted()
for _ in range(10):
    with interrupted_ahead_of(lambda: pool.acquire(timeout=HANG), lambda: pool.waiting) as running:
        pool.acquire()
    lease.release()
    lease = running[0].result()
lease.release()
rests(pool)
""")


def test_a_handler_may_use_the_pool_that_the_main_thread_waits_at():
    run("""
pool, (lease,) = exhausted()
seen = []

def handler(*_):
    seen.append((pool.waiting, pool.try_acquire(), outcome(lambda: pool.acquire(timeout=0.001), PoolTimeout)()))
    lease.release()

signal.signal(signal.SIGUSR1, handler)
sending = signal_when(lambda: pool.waiting == 1, signal.SIGUSR1)
with pool.acquire(timeout=HANG):
    pass
sending.result()
assert seen == [(0, None, PoolTimeout)]     # it runs while the waiter is in no queue
rests(pool)
""")


@pytest.mark.parametrize("name", ["create", "reset", "validate", "destroy", "on_event"])
def test_ctrl_c_in_each_hook(name):
    run(f"""
pool, hooks = made(1)
pool.acquire().release()
for _ in range(10):
    inside = []

    def hang(*_):
        inside.append(1)
        time.sleep(HANG)

    if {name!r} == "create":
        pool.retain(returning(False))
    if {name!r} == "on_event":
        hooks.does["reset"] = returning(False)
    waiting = []

    def begin():
        lease = pool.acquire()
        if {name!r} in ("reset", "destroy", "on_event"):
            waiting.append(waiting_thread(pool))
        hooks.does[{name!r}] = lambda *_: hang() if not inside else None
        lease.discard() if {name!r} == "destroy" else lease.release()
        if {name!r} == "validate":
            pool.acquire()

    if {name!r} == "create":
        hooks.does[{name!r}] = lambda *_: hang() if not inside else None
    with interrupted(lambda: inside):
        begin()
    for thread in waiting:
        thread.result()
    assert pool.in_use == 0
    hooks.does.clear()
    rests(pool, hooks)
""")


@pytest.mark.parametrize(
    "use",
    [
        "pool.acquire().release()",
        "pool.acquire(timeout=1).discard()",
        "pool.try_acquire()",
        "pool.acquire_or(list)",
        "pool.retain(returning(True)); pool.warm_up(); pool.reap()",
        "pool.resize(1); pool.resize(2)",
    ],
)
@pytest.mark.parametrize("hooked", [True, False])
def test_a_storm_of_interrupts_loses_nothing(use, hooked):
    """KeyboardInterrupt between any two calls: a lease that was never seen is given back when it is collected."""
    run(f"""
warnings.simplefilter("ignore", ResourceWarning)
hooks = Hooks(2) if {hooked} else None
pool = Pool(max_size=2, min_size=1, **hooks.all()) if {hooked} else Pool(object, max_size=2, min_size=1)

def attempt():
    {use}

calls, count = storm_of_interrupts(attempt, seconds=0.3)
assert count
pool.resize(2)
assert pool.in_use == 0, figures(pool)
rests(pool)
""")


def test_a_storm_while_others_wait():
    run("""
warnings.simplefilter("ignore", ResourceWarning)
pool, hooks = made(1)
stop = []

def other():
    count = 0
    while not stop:
        with pool.acquire(timeout=HANG):
            count += 1
    return count

threads = [spawn(other) for _ in range(2)]

def attempt():
    with pool.acquire(timeout=HANG):
        pass

calls, count = storm_of_interrupts(attempt, seconds=0.5)
stop.append(1)
assert all(thread.result() for thread in threads)
rests(pool, hooks)
""")
