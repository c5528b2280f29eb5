"""Conservation under load: whatever happens to threads, tasks and loops, each hold is exclusive and none is lost."""

import asyncio
import collections
import gc
import random
import time
import warnings

import pytest

from ferrule import Mutex, Timeout
from tests.support.driver import LoopThread, new_loop, run, turns
from tests.support.loops import CALLED_WHILE_IT_CLOSES, LOOPS
from tests.support.mutexes import FREE
from tests.support.race import HANG, eventually, spawn, storm

pytestmark = pytest.mark.stress


@pytest.fixture(params=[False, True], ids=["eventually-fair", "fair"])
def fair(request):
    return request.param


@pytest.fixture
def seconds(seconds):
    """A quarter of what others take: there are many of these."""
    return seconds / 4


class Account:
    """What a mutex protects: a broken exclusion shows as a lost update or as a visitor who meets another."""

    def __init__(self):
        self.total = 0
        self.inside = None

    def add(self, who):
        assert self.inside is None, f"{who} met {self.inside}"
        self.inside = who
        total = self.total
        self.total = total + 1
        assert self.inside is who
        self.inside = None

    async def add_slowly(self, who):
        assert self.inside is None, f"{who} met {self.inside}"
        self.inside = who
        total = self.total
        try:
            await asyncio.sleep(0)
        finally:  # a visitor cancelled here has been here all the same
            self.total = total + 1
            assert self.inside is who
            self.inside = None


def total_of(mutex):
    assert mutex._state() == FREE
    with mutex.lock(timeout=HANG) as guard:
        return guard.value.total


def take_somehow(mutex, account, who, rng):
    """One visit by any of the ways in; whether it got in."""
    match rng.randrange(6):
        case 0:
            with mutex as guard:
                guard.value.add(who)
        case 1:
            with mutex.lock() as guard:
                guard.value.add(who)
                if rng.random() < 0.3:
                    guard.release(fair=True)
        case 2:
            mutex.acquire()
            account.add(who)
            mutex.release()
        case 3:
            if (guard := mutex.try_lock()) is None:
                return False
            guard.value.add(who)
            guard.release()
        case 4:
            try:
                guard = mutex.lock(timeout=rng.uniform(1e-5, 1e-3))
            except Timeout:
                return False
            guard.value.add(who)
            guard.release()
        case 5:
            if not mutex.acquire(timeout=rng.uniform(1e-5, 1e-3)):
                return False
            account.add(who)
            mutex.release()
    return True


@pytest.fixture
def account():
    return Account()


@pytest.fixture
def mutex(account, fair):
    return Mutex(account, fair=fair)


@pytest.mark.parametrize("threads", [2, 8])
def test_every_way_in_from_threads(threads, mutex, account, rng, seconds):
    seeds = [random.Random(rng.random()) for _ in range(threads)]
    visits = collections.Counter()

    def visit(number):
        if take_somehow(mutex, account, number, seeds[number]):
            visits[number] += 1

    storm(threads, visit, seconds)
    assert total_of(mutex) == visits.total()


def test_threads_that_mostly_time_out(fair, rng, seconds):
    mutex = Mutex(Account(), fair=fair)
    seeds = [random.Random(rng.random()) for _ in range(6)]
    got = collections.Counter()

    def visit(number):
        try:
            guard = mutex.lock(timeout=seeds[number].uniform(1e-5, 1e-3))
        except Timeout:
            return
        guard.value.add(number)
        time.sleep(seeds[number].uniform(0, 5e-4))
        guard.release()
        got[number] += 1

    storm(6, visit, seconds)
    assert total_of(mutex) == got.total()


@pytest.mark.parametrize("second_loop", LOOPS)
def test_threads_and_tasks_of_two_loops(second_loop, mutex, account, rng, seconds):
    """With random timeouts and cancellations: nothing lost, doubled or left locked, nobody left waiting."""
    deadline = time.monotonic() + seconds
    seeds = [random.Random(rng.random()) for _ in range(24)]
    visits = collections.Counter()

    async def visit(name, dice):
        if dice.random() < 0.5:
            async with mutex.aio as guard:
                visits[name] += 1
                await guard.value.add_slowly(name) if dice.random() < 0.2 else guard.value.add(name)
        elif dice.random() < 0.5:
            try:
                guard = await mutex.aio.lock(timeout=dice.uniform(1e-5, 1e-3))
            except Timeout:
                return
            guard.value.add(name)
            visits[name] += 1
            guard.release()
        else:
            await mutex.aio.acquire()
            account.add(name)
            visits[name] += 1
            mutex.release()

    async def client(name, dice):
        while time.monotonic() < deadline:
            task = asyncio.create_task(visit(name, dice))
            if dice.random() < 0.3:
                await turns(dice.randrange(4))
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                task.result()

    async def clients(first):
        async with asyncio.TaskGroup() as group:
            for number in range(first, first + 8):
                group.create_task(client(f"task-{number}", seeds[number]))

    def thread(number):
        while time.monotonic() < deadline:
            if take_somehow(mutex, account, number, seeds[number]):
                visits[number] += 1

    with LoopThread("asyncio") as one, LoopThread(second_loop) as other:
        running = [spawn(thread, number) for number in range(16, 19)]
        running += [one.spawn(clients(0)), other.spawn(clients(8))]
        for part in running:
            part.result(seconds + HANG)
    assert total_of(mutex) == visits.total()


def test_tasks_that_mostly_time_out(loop_name, fair, rng, seconds):
    mutex = Mutex(Account(), fair=fair)
    got = collections.Counter()
    dice = random.Random(rng.random())

    async def client(number, deadline):
        while time.monotonic() < deadline:
            try:
                async with mutex.aio.lock(timeout=dice.uniform(1e-5, 1e-3)) as guard:
                    await guard.value.add_slowly(number)
                    got[number] += 1
            except Timeout:
                await asyncio.sleep(0)

    async def main():
        deadline = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(client(number, deadline))
        assert total_of(mutex) == got.total()

    run(main(), loop_name)


def test_unlocked_blocks_from_threads_and_tasks(mutex, loop_name, seconds):
    deadline = time.monotonic() + seconds
    visits = collections.Counter()

    def thread(number):
        with mutex as guard:
            while time.monotonic() < deadline:
                guard.value.add(number)
                visits[number] += 1
                with guard.unlocked():
                    time.sleep(0)

    async def task(number):
        async with mutex.aio as guard:
            while time.monotonic() < deadline:
                await guard.value.add_slowly(number)
                visits[number] += 1
                async with guard.unlocked():
                    await asyncio.sleep(0)

    with LoopThread(loop_name) as there:
        running = [spawn(thread, 0), spawn(thread, 1), there.spawn(task(2)), there.spawn(task(3))]
        for one in running:
            one.result(seconds + HANG)
    assert total_of(mutex) == visits.total()
    assert all(visits[number] for number in range(4))


def test_guards_released_by_other_threads(mutex, seconds):
    """Each hold is taken by one thread, used by a second and ended by a third."""
    taken, used = collections.deque(), collections.deque()
    visits = collections.Counter()

    def work(number):
        if number == 0:
            if not taken and not used:
                taken.append(mutex.lock())
        elif number == 1:
            if taken:
                taken[0].value.add(number)
                visits[number] += 1
                used.append(taken[0])
                taken.popleft()
        elif used:
            used[0].release()
            used.popleft()

    storm(3, work, seconds)
    for guard in taken:
        guard.release()
    for guard in used:
        guard.release()
    assert total_of(mutex) == visits.total()


def test_guards_dropped_while_others_wait(mutex, seconds):
    visits = collections.Counter()

    def forget(number):
        guard = mutex.lock()
        guard.value.add(number)
        visits[number] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        storm(4, forget, seconds)
    assert total_of(mutex) == visits.total()


@pytest.mark.parametrize("loop_name", CALLED_WHILE_IT_CLOSES)
def test_loops_that_close_with_parked_tasks_beside_threads(mutex, loop_name, seconds):
    visits = collections.Counter()

    async def visit():
        async with mutex.aio.lock():  # left by whoever destroys the task, which `mutex.aio` refuses
            await asyncio.sleep(0)

    async def park(loop):
        for _ in range(20):
            loop.create_task(visit())
        await turns(2)

    def work(number):
        if number == 0:
            loop = new_loop(loop_name)
            loop.set_exception_handler(lambda loop, context: None)
            loop.run_until_complete(park(loop))
            loop.close()
            del loop
            gc.collect()
        else:
            with mutex.lock(timeout=HANG) as guard:
                guard.value.add(number)
            visits[number] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        storm(3, work, seconds)
        gc.collect()
    eventually(lambda: not mutex.locked())
    assert total_of(mutex) == visits.total()


@pytest.mark.parametrize("waiter", ["thread", "task"])
def test_a_greedy_thread_starves_nobody(waiter, loop_name):
    """It locks again the moment it has released; the waiter is handed the lock after a while, again and again."""
    mutex = Mutex(0)
    stop = []

    def greedy():
        count = 0
        while not stop:
            with mutex.lock() as guard:
                guard.value += 1
                count += 1
        return count

    def thread():
        for _ in range(50):
            with mutex.lock(timeout=HANG) as guard:
                guard.value += 1

    async def task():
        for _ in range(50):
            async with mutex.aio.lock(timeout=HANG) as guard:
                guard.value += 1

    hog = spawn(greedy)
    try:
        run(task(), loop_name) if waiter == "task" else spawn(thread).result()
    finally:
        stop.append(True)
    count = hog.result() + 50
    with mutex.lock(timeout=HANG) as guard:
        assert guard.value == count
    assert mutex._state() == FREE


def test_a_fair_mutex_serves_all_alike(seconds):
    """Nobody is served twice before everybody who was already waiting has been served."""
    mutex = Mutex([], fair=True)
    threads = 4

    def visit(number):
        with mutex as guard:
            eventually(lambda: len(mutex._state()["waiters"]) == threads - 1 or stopping)
            guard.value.append(number)

    stopping = []

    def stop(_):
        time.sleep(seconds)
        stopping.append(True)

    def work(number):
        return stop(number) if number == threads else visit(number)

    def run_one(number):
        while not stopping:
            work(number)

    running = [spawn(run_one, number) for number in range(threads + 1)]
    for one in running:
        one.result(seconds + HANG)
    with mutex as guard:
        served = guard.value[: -2 * threads]
    assert len(served) > threads
    for start in range(len(served) - threads + 1):
        assert len(set(served[start : start + threads])) == threads
    assert mutex._state() == FREE
