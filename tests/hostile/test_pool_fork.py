"""Processes: forks, whose children never touch the parent's objects, and interpreters that end with leases alive."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import asyncio, functools, gc, os, sys, threading, time, warnings
from ferrule import Pool, PoolClosed, PoolTimeout, aio
from tests.support.hostile import returning
from tests.support.pools import Hooks, close, figures, queued, rests, waiting_thread
from tests.support.processes import in_child
from tests.support.race import HANG, eventually, outcome, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
warnings.simplefilter("error", ResourceWarning)

def made(size, **options):
    hooks = Hooks(size)
    pool = Pool(max_size=size, **hooks.all(), **options)
    return pool, hooks

class Inherited:
    # What of the parent's is not to be touched in the child: the hooks' calls on its objects.
    def __init__(self, hooks):
        self.hooks = hooks
        self.numbers = {number for _, number in hooks.calls}
        self.before = len(hooks.calls)
        self.destroyed = len(hooks.destroyed)

    def untouched(self):
        for name, number in self.hooks.calls[self.before:]:
            assert number not in self.numbers, (name, number)
        assert not self.numbers & set(self.hooks.destroyed[self.destroyed:])

def workload(pool, hooks, patience=0):
    # Threads and tasks over a pool that is empty and at which nobody waits.
    inherited = Inherited(hooks)
    assert figures(pool) == (0, 0, 0, 0), figures(pool)
    hooks.live = hooks.most = 0

    def lease():
        for _ in range(50):
            with pool.acquire(timeout=HANG):
                pass

    async def lease_too():
        for _ in range(50):
            async with pool.aio.acquire(timeout=HANG):
                await asyncio.sleep(0)

    running = [spawn(lease) for _ in range(3)] + [spawn(lambda: asyncio.run(lease_too()))]
    for one in running:
        one.result()
    rests(pool, hooks)
    pool.retain(returning(False))
    pool.close(timeout=patience)
    hooks.check(0)
    inherited.untouched()
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def run(code, **named):
    return in_subprocess(SETUP + code, timeout=60, **named)


@pytest.mark.parametrize("options", ["", "reap_every=0.001, min_size=1", "idle_timeout=HANG, order='fifo'"])
def test_from_the_main_thread_and_from_another(options):
    patience = "HANG" if "reap_every" in options else "0"  # what looks after the pool may have an object in hand
    run(f"""
pool, hooks = made(4, {options})
leases = [pool.acquire() for _ in range(4)]
leases.pop().release()
leases.pop().release()
before = set(hooks.destroyed)

def work():
    workload(pool, hooks, {patience})

in_child(work)
spawn(in_child, work).result()
in_child(lambda: in_child(work))
assert not pool.closed
for lease in leases:
    lease.release()
rests(pool, hooks)
pool.close()
""")


def test_what_becomes_of_the_parents_leases():
    run("""
pool, hooks = made(4)
leases = [pool.acquire() for _ in range(4)]
over = pool.acquire_or(lambda: "over")
values = [lease.value for lease in leases]
calls = len(hooks.calls)

def work():
    first, second, third, fourth = leases
    leases.clear()
    assert [lease.value for lease in (first, second, third, fourth)] == values      # still there
    assert over.value == "over"
    first.release()
    assert outcome(first.release, RuntimeError)() is RuntimeError
    assert second.detach() is values[1]
    assert outcome(second.detach, RuntimeError)() is RuntimeError
    third.discard()
    del fourth, first, second, third        # collected: no warning, no hook
    gc.collect()
    over.discard()
    assert hooks.calls[calls:] == [] and hooks.events == []
    workload(pool, hooks)

in_child(work)
for lease in leases:
    lease.release()
over.detach()
rests(pool, hooks)
""")


def test_who_waits_in_the_parent_does_not_wait_in_the_child():
    run("""
pool, hooks = made(1)
lease = pool.acquire()
threads = [waiting_thread(pool) for _ in range(3)]
closing = []

def work():
    assert pool.waiting == 0
    workload(pool, hooks)

in_child(work)
assert pool.waiting == 3
lease.release()
for thread in threads:
    thread.result()
rests(pool, hooks)
""")


def test_a_closed_pool_stays_closed():
    run("""
pool, hooks = made(2)
lease = pool.acquire()
close(pool)
closing = spawn(pool.close)

def work():
    assert outcome(pool.acquire, PoolClosed)() is PoolClosed
    pool.close(timeout=0)       # nothing is leased here
    lease.release()

in_child(work)
lease.release()
closing.result()
hooks.check(0)
""")


def test_while_threads_hammer():
    run("""
pool, hooks = made(5, max_uses=20)
stop = []

def lease(discards):
    while not stop:
        with pool.acquire(timeout=HANG):
            pass
        if discards:
            pool.acquire().discard()
        pool.retain(lambda thing: thing.number % 10)

async def lease_too():
    while not stop:
        async with pool.aio.acquire(timeout=HANG):
            await asyncio.sleep(0)

running = [spawn(lease, number % 2) for number in range(18)] + [spawn(lambda: asyncio.run(lease_too())) for _ in "ab"]

def work():
    stop.append(1)
    hooks.lock = threading.Lock()       # ours, which a thread that is no more may have held
    hooks.limit = 5
    inherited = Inherited(hooks)
    assert figures(pool) == (0, 0, 0, 0)
    hooks.live = hooks.most = 0
    leases = [pool.acquire() for _ in range(5)]
    assert pool.try_acquire() is None
    for lease in leases:
        lease.release()
    pool.close()
    hooks.check(0)
    inherited.untouched()

for _ in range(10):
    in_child(work)
stop.append(1)
for one in running:
    one.result()
assert figures(pool) == (pool.size, 0, pool.size, 0)
pool.close(timeout=0)
hooks.check(0)
""")


@pytest.mark.parametrize("name", ["create", "reset", "validate", "destroy", "on_event"])
def test_inside_a_hook(name):
    """Both go on: the parent with its object, the child with a pool that is empty when the call is over."""
    run(f"""
pool, hooks = made(2)
pool.acquire().release()
children = []

def fork(*_):
    if children:
        return
    children.append(os.fork())
    hooks.does.pop({name!r})

if {name!r} == "create":
    pool.retain(returning(False))
if {name!r} == "on_event":
    hooks.does["validate"] = returning(False)
hooks.does[{name!r}] = fork
lease = pool.acquire()
hooks.does.pop("validate", None)
if {name!r} == "destroy":
    lease.discard()
else:
    lease.release()
if children == [0]:
    try:
        hooks.live = hooks.most = 0
        assert pool.in_use == 0
        pool.retain(returning(False))
        hooks.live = hooks.most = pool.size
        rests(pool, hooks)
        pool.close()
        sys.stdout.flush()
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
eventually(lambda: os.waitpid(children[0], os.WNOHANG) == (children[0], 0))
rests(pool, hooks)
""")


def test_a_bound_pool_is_bound_no_more():
    run("""
hooks = Hooks(2, asynchronous=True)
pool = aio.Pool(max_size=2, **hooks.all())

async def use():
    async with pool.acquire():
        await asyncio.sleep(0)

def work():
    assert figures(pool) == (0, 0, 0, 0)
    assert pool.sync.aio == pool
    hooks.live = hooks.most = 0
    inherited = Inherited(hooks)
    asyncio.run(use())
    hooks.check(1)
    inherited.untouched()
    assert outcome(lambda: pool.sync, TypeError)() is TypeError

async def main():
    await use()
    lease = await pool.acquire()
    spawn(in_child, work).result()      # in a thread, where no loop runs
    await lease.release()
    await use()

asyncio.run(main())
""")


def test_upkeep_begins_again_in_the_child():
    run("""
pool, hooks = made(2, min_size=1, reap_every=0.001)
pool.acquire().release()

def work():
    hooks.live = hooks.most = 0
    assert figures(pool) == (0, 0, 0, 0)
    pool.acquire().detach()
    eventually(lambda: pool.idle == 1)
    pool.close()

in_child(work)
assert hooks.destroyed == []
pool.close()
""")


ENDINGS = {
    "leases in globals": "leases = [pool.acquire() for _ in range(2)]",
    "idle objects": "pool.acquire().release()",
    "a thread that waits": "leases = [pool.acquire() for _ in range(2)]; waiting_thread(pool)",
    "a thread that closes": "leases = [pool.acquire()]; spawn(pool.close); eventually(lambda: pool.closed)",
    "leases in a cycle": "lease = pool.acquire(); lease.value.lease = lease; del lease",
    "a thread inside a hook": """
hooks.does["create"] = lambda: entered.append(1) or time.sleep(100)
entered = []
spawn(pool.acquire)
eventually(lambda: entered)
""",
    "a task that waits in a loop that never goes on": """
leases = [pool.acquire() for _ in range(2)]
loop = asyncio.new_event_loop()
task = loop.create_task(use())
loop.run_until_complete(asyncio.sleep(0))
""",
}


@pytest.mark.parametrize("upkeep", ["", "reap_every=0.0001, min_size=2, idle_timeout=1e-9"], ids=["", "with upkeep"])
@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_the_interpreter_ends(ending, upkeep):
    output = run(f"""
warnings.simplefilter("ignore")
pool, hooks = made(2, {upkeep})

async def use():
    async with pool.aio.acquire(timeout=None):
        pass

{ending}
print("the end")
""")
    assert output.stdout == "the end\n"
    assert "Traceback" not in output.stderr
    assert "Fatal" not in output.stderr
