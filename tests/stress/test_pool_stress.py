"""Conservation under load: never more objects than may be, each in one hand at a time, and all there in the end."""

import asyncio
import contextlib
import random
import threading
import time
import warnings

import pytest

from ferrule import Pool, PoolClosed, PoolTimeout, aio
from tests.support.driver import LoopThread
from tests.support.hostile import unraisable
from tests.support.loops import LOOPS
from tests.support.pools import Hooks, arests, close, figures, rests
from tests.support.race import HANG, spawn

pytestmark = pytest.mark.stress

SIZE = 4
QUIET = (PoolTimeout, KeyError, ValueError)


@pytest.fixture
def seconds(seconds):
    """A fraction of what others take: there are many of these."""
    return seconds / 2


class Held:
    """Fails if an object is in two hands at once."""

    def __init__(self):
        self.doubled = []

    @contextlib.contextmanager
    def __call__(self, thing):
        if getattr(thing, "held", False):
            self.doubled.append(thing)
        thing.held = True
        try:
            yield
        finally:
            thing.held = False


class Failing:
    """One hook call in so many fails, in one of these ways."""

    def __init__(self, chance, often, *, raises):
        self.chance, self.often, self.raises = chance, often, raises

    def __call__(self, *_):
        if self.chance.random() < self.often:
            if self.raises or self.chance.random() < 0.5:
                raise KeyError
            return False
        return None


def arm(hooks, rng, often=0.02):
    """Every hook fails once in a while."""
    for name in ("create", "reset", "validate", "destroy"):
        hooks.does[name] = Failing(random.Random(rng.random()), often, raises=name in ("create", "destroy"))


def worker(pool, hooks, held, chance, stop):
    """A thread that leases by every verb, and gives back in every way."""
    kept = []
    try:
        while not stop.is_set():
            with contextlib.suppress(*QUIET):
                match chance.randrange(12):
                    case 0 | 1:
                        with pool.acquire(timeout=chance.random() * 1e-3) as thing, held(thing):
                            pass
                    case 2 | 3 | 4:
                        patience = 1e-3 if kept else None  # who keeps one may wait for another in vain
                        with pool.acquire(timeout=patience) as thing, held(thing):
                            time.sleep(chance.choice([0, 0, 1e-5]))
                    case 5:
                        if (lease := pool.try_acquire()) is not None:
                            with held(lease.value):
                                pass
                            lease.discard()
                    case 6:
                        lease = pool.acquire_or(lambda: None)
                        if lease.value is None:
                            lease.detach()
                        else:
                            lease.release()
                    case 7:
                        pool.retain(lambda thing: thing.number % 7)
                    case 8:
                        pool.reap()
                        pool.warm_up()
                    case 9:
                        pool.resize(chance.randint(1, SIZE))
                    case 10 if not kept:
                        kept.append(pool.acquire(timeout=0))
                    case 11 if kept:
                        kept.pop().release()
    finally:
        for lease in kept:
            lease.release()


async def task_of(pool, hooks, held, chance, stop):
    while not stop.is_set():
        with contextlib.suppress(*QUIET):
            match chance.randrange(8):
                case 0 | 1 | 2:
                    async with (
                        pool.acquire(timeout=chance.choice([None, 1e-4, 1e-3])) as thing,
                        held_async(held, thing),
                    ):
                        await asyncio.sleep(0)
                case 3:
                    lease = await pool.acquire()
                    await lease.discard()
                case 4:
                    await pool.retain(lambda thing: thing.number % 5)
                case 5:
                    await pool.reap()
                    await pool.warm_up()
                case 6:
                    await pool.resize(chance.randint(1, SIZE))
                case 7:
                    if (lease := pool.try_acquire()) is not None:
                        await lease.release()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def held_async(held, thing):
    with held(thing):
        yield


async def cancelling(make, count, chance, stop):
    """Keeps so many tasks going; each is cancelled sooner or later, and another takes its place."""
    tasks = {asyncio.create_task(make(chance)) for _ in range(count)}
    while not stop.is_set():
        await asyncio.sleep(chance.random() * 1e-3)
        doomed = chance.sample(sorted(tasks, key=id), 2)
        for task in doomed:
            task.cancel()
            tasks.remove(task)
            tasks.add(asyncio.create_task(make(chance)))
        await check_ended(doomed)
    for task in tasks:
        task.cancel()
    await check_ended(tasks)


async def check_ended(tasks):
    done, pending = await asyncio.wait(tasks, timeout=HANG)
    assert not pending
    for task in done:
        if not task.cancelled():
            task.result()


@pytest.fixture(autouse=True)
def dropped_leases_are_no_news():
    """A task that is cancelled with a lease in its hand drops it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.mark.parametrize(
    "options", [{}, {"order": "fifo", "max_uses": 5}, {"idle_timeout": 1e-4, "lifetime": 1e-3}], ids=str
)
@pytest.mark.parametrize("failing", [False, True], ids=["well", "failing"])
def test_threads(options, failing, rng, seconds):
    hooks, held, stop = Hooks(SIZE), Held(), threading.Event()
    pool = Pool(max_size=SIZE, min_size=1, wait_timeout=None, **hooks.all(), **options)
    if failing:
        arm(hooks, rng)
    threads = [spawn(worker, pool, hooks, held, random.Random(rng.random()), stop) for _ in range(6)]
    time.sleep(seconds / 4)
    stop.set()
    pool.resize(SIZE)
    for thread in threads:
        thread.result()
    at_rest(pool, hooks, held)


def at_rest(pool, hooks, held):
    assert held.doubled == []
    hooks.does.clear()
    assert figures(pool) == (pool.size, 0, pool.size, 0)
    hooks.check(pool.size)
    leases = [pool.acquire(timeout=0) for _ in range(pool.max_size)]
    assert pool.try_acquire() is None
    for lease in leases:
        lease.release()
    pool.close(timeout=0)
    hooks.check(0)


@pytest.mark.parametrize("loop_name", LOOPS)
@pytest.mark.parametrize("failing", [False, True], ids=["well", "failing"])
def test_threads_and_tasks_of_two_loops(failing, loop_name, rng, seconds):
    hooks, held, stop = Hooks(SIZE), Held(), threading.Event()
    pool = Pool(max_size=SIZE, wait_timeout=None, **hooks.all())
    if failing:
        arm(hooks, rng)
    with LoopThread(loop_name) as here, LoopThread() as there, unraisable() as seen:
        threads = [spawn(worker, pool, hooks, held, random.Random(rng.random()), stop) for _ in range(3)]
        loops = [
            loop.spawn(
                cancelling(lambda c: task_of(pool.aio, hooks, held, c, stop), 5, random.Random(rng.random()), stop)
            )
            for loop in (here, there)
        ]
        time.sleep(seconds / 2)
        stop.set()
        pool.resize(SIZE)
        for thread in threads:
            thread.result()
        for future in loops:
            future.result(HANG)
    assert [error for error in seen if not isinstance(error, KeyError)] == []
    at_rest(pool, hooks, held)


@pytest.mark.parametrize("loop_name", LOOPS)
@pytest.mark.parametrize("failing", [False, True], ids=["well", "failing"])
def test_async_hooks_with_every_task_cancelled_in_the_end(failing, loop_name, rng, seconds):
    hooks, held, stop = Hooks(SIZE, asynchronous=True), Held(), threading.Event()
    pool = aio.Pool(max_size=SIZE, wait_timeout=None, create_timeout=HANG, validate_timeout=HANG, **hooks.all())
    if failing:
        arm(hooks, rng)

    async def main():
        chance = random.Random(rng.random())
        await cancelling(lambda c: task_of(pool, hooks, held, c, stop), 12, chance, stop)
        while pool.in_use:
            await asyncio.sleep(0)  # the loop is still to destroy what was dropped
        await pool.resize(SIZE)
        hooks.does.clear()
        await arests(pool, hooks)
        await pool.close(timeout=0)
        hooks.check(0)
        assert held.doubled == []

    with LoopThread(loop_name) as there, unraisable():
        future = there.spawn(main())
        time.sleep(seconds / 2)
        stop.set()
        future.result(HANG)


def test_closing_while_everybody_leases(rng, seconds):
    deadline = time.monotonic() + seconds / 2
    rounds = 0
    while time.monotonic() < deadline or not rounds:
        hooks = Hooks(2)
        pool = Pool(max_size=2, **hooks.all())

        def lease(pool=pool):
            with contextlib.suppress(PoolClosed):
                while True:
                    with pool.acquire(timeout=HANG):
                        pass

        async def lease_too(pool=pool):
            with contextlib.suppress(PoolClosed):
                while True:
                    async with pool.aio.acquire(timeout=HANG):
                        await asyncio.sleep(0)

        running = [spawn(lease) for _ in range(3)] + [spawn(lambda f=lease_too: asyncio.run(f()))]
        time.sleep(rng.random() * 1e-3)
        closing = [spawn(pool.close), spawn(lambda p=pool: close(p))]
        for one in running + closing:
            one.result()
        assert figures(pool) == (0, 0, 0, 0)
        hooks.check(0)
        rounds += 1


def test_nobody_is_starved_by_newcomers(seconds):
    """Eight threads over one object: each gets it again and again."""
    pool, stop = Pool(object, max_size=1), threading.Event()
    counts = [0] * 8

    def lease(number):
        while not stop.is_set():
            with pool.acquire(timeout=HANG):
                counts[number] += 1

    threads = [spawn(lease, number) for number in range(8)]
    deadline = time.monotonic() + HANG
    while min(counts) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.result()
    assert min(counts) >= 5
    rests(pool)


def test_attach_and_detach_keep_the_count(rng, seconds):
    """Objects go round between the pool and many hands: none is lost, none is doubled."""
    hooks, stop = Hooks(3), threading.Event()
    pool = Pool(max_size=3, **hooks.only())

    def move(chance):
        while not stop.is_set():
            with contextlib.suppress(PoolTimeout):
                lease = pool.acquire(timeout=1e-3)
                if chance.random() < 0.5:
                    thing = lease.detach()
                    try:
                        pool.attach(thing)
                    except ValueError:  # somebody has made another meanwhile
                        with hooks.lock:
                            hooks.live -= 1
                else:
                    lease.release()

    hooks.limit = 3 + 5  # those that are in a hand and not the pool's
    threads = [spawn(move, random.Random(rng.random())) for _ in range(5)]
    time.sleep(seconds / 4)
    stop.set()
    for thread in threads:
        thread.result()
    rests(pool, hooks)
