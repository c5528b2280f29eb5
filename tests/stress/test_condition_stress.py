"""Conservation of notifications under load: none is lost, none is made up, and every hold is exclusive."""

import asyncio
import random
import time

import pytest

from ferrule import Condition, Mutex, Timeout
from tests.support.conditions import waiting
from tests.support.driver import LoopThread, run, turns
from tests.support.mutexes import FREE
from tests.support.race import HANG, eventually, spawn, storm

pytestmark = pytest.mark.stress


@pytest.fixture(params=[False, True], ids=["eventually-fair", "fair"])
def fair(request):
    return request.param


@pytest.fixture
def seconds(seconds):
    """Half of what others take: there are several of these."""
    return seconds / 2


class Tokens:
    """What is waited for. All is touched with the lock held; who finds another one inside has found a fault."""

    def __init__(self):
        self.there = self.made = self.used = 0
        self.inside = None

    def visit(self, who):
        assert self.inside is None, f"{who} met {self.inside}"
        self.inside = who

    def leave(self, who):
        assert self.inside is who
        self.inside = None

    def make(self, who, count):
        self.visit(who)
        self.there += count
        self.made += count
        self.leave(who)

    def use(self, who):
        self.visit(who)
        assert self.there > 0
        self.there -= 1
        self.used += 1
        self.leave(who)


@pytest.fixture
def condition(fair):
    return Condition(Mutex(Tokens(), fair=fair))


def consume(condition, rng):
    """One token, or None when the time was up; waits in one of the ways there are."""
    timeout = rng.choice([None, None, 1e-5, 1e-4, 1e-3])
    who = object()
    with condition as guard:
        tokens = guard.value
        try:
            if rng.random() < 0.5:
                condition.wait_for(lambda: tokens.there, timeout=timeout)
            else:
                while not tokens.there:
                    condition.wait(timeout=timeout)
        except Timeout:
            assert guard.value is tokens
            return None
        if tokens.there:
            tokens.use(who)
        return who


async def consume_async(condition, rng):
    timeout = rng.choice([None, None, 1e-4, 1e-3])
    who = object()
    face = condition.aio
    async with face as guard:
        tokens = guard.value
        try:
            if rng.random() < 0.5:
                await face.wait_for(lambda: tokens.there, timeout=timeout)
            else:
                while not tokens.there:
                    await face.wait(timeout=timeout)
        except Timeout:
            assert guard.value is tokens
            return
        finally:
            assert guard.value is tokens
        if rng.random() < 0.2:
            await asyncio.sleep(0)
        tokens.use(who)


def produce(condition, rng):
    count = rng.choice([1, 1, 1, 2, 5])
    with condition as guard:
        guard.value.make(object(), count)
        if rng.random() < 0.1:
            condition.notify_all()
        else:
            condition.notify(count)


def test_no_wake_up_is_lost(condition, rng, seconds, loop_name):
    """Threads, and tasks of two loops of which many are cancelled, use up what threads and tasks make.

    Where a notification was lost, somebody sleeps at the end although there are tokens.
    """
    deadline = time.monotonic() + seconds
    seeds = iter([rng.random() for _ in range(20)])

    def consumer(rng):
        while time.monotonic() < deadline:
            consume(condition, rng)

    async def loop_of_consumers(rng):
        async def consumer(rng):
            while time.monotonic() < deadline:
                task = asyncio.create_task(consume_async(condition, rng))
                if rng.random() < 0.4:
                    await turns(rng.randrange(6))
                    task.cancel()
                await asyncio.wait([task])
                if not task.cancelled():
                    task.result()

        await asyncio.gather(*(consumer(random.Random(rng.random())) for _ in range(5)))

    def quiet():
        with condition as guard:
            tokens = guard.value
            if waiting(condition) and not tokens.there:
                tokens.make("the last one", 1)
                condition.notify()
            return not (tokens.there and waiting(condition))

    with LoopThread(loop_name) as there:
        consumers = [spawn(consumer, random.Random(next(seeds))) for _ in range(3)]
        loops = [there.spawn(loop_of_consumers(random.Random(next(seeds))))]
        loops_too = spawn(lambda: run(loop_of_consumers(random.Random(next(seeds))), loop_name))
        producer = random.Random(next(seeds))
        while time.monotonic() < deadline:
            produce(condition, producer)
            if producer.random() < 0.2:
                time.sleep(0)
        # From now on tokens are made one by one, each for one who waits: it must get there.
        ends = [*consumers, loops_too]
        eventually(lambda: quiet() and not any(one.alive for one in ends) and all(f.done() for f in loops))
        for one in ends:
            one.result()
        for future in loops:
            future.result()
    assert waiting(condition) == []
    with condition as guard:
        assert guard.value.made == guard.value.used + guard.value.there
        assert guard.value.used > 0


def test_no_wake_up_is_made_up(fair, rng, seconds, loop_name):
    """wait() returns at most as often as somebody who waited was notified."""
    mutex = Mutex([0, 0], fair=fair)  # notified, returned
    condition = Condition(mutex)
    deadline = time.monotonic() + seconds

    def returned(guard):
        guard.value[1] += 1
        assert guard.value[1] <= guard.value[0]

    def waits(rng):
        while time.monotonic() < deadline:
            with condition as guard:
                try:
                    condition.wait(timeout=rng.choice([1e-5, 1e-4, 0.01]))
                except Timeout:
                    continue
                returned(guard)

    async def loop_of_waits(rng):
        async def waits():
            async with condition.aio as guard:
                await condition.aio.wait(timeout=rng.choice([1e-4, 0.01]))
                returned(guard)

        while time.monotonic() < deadline:
            tasks = [asyncio.create_task(waits()) for _ in range(10)]
            await turns(rng.randrange(6))
            for task in tasks[::3]:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled() and not isinstance(task.exception(), Timeout):
                    task.result()

    def notifies(rng):
        while time.monotonic() < deadline:
            with condition as guard:
                n = rng.randrange(3)
                guard.value[0] += min(n, len(waiting(condition)))
                condition.notify(n)
            time.sleep(0)

    work = [waits, waits, notifies, lambda rng: run(loop_of_waits(rng), loop_name)]
    for one in [spawn(function, random.Random(rng.random())) for function in work]:
        one.result()
    assert waiting(condition) == []
    assert mutex._state() == FREE
    with mutex as guard:
        assert 0 < guard.value[1] <= guard.value[0]


def test_ten_thousand_tasks_of_which_a_third_are_cancelled(fair, rng, loop_name):
    async def main():
        mutex = Mutex(0, fair=fair)
        condition = Condition(mutex)

        async def waits():
            async with condition.aio as guard:
                await condition.aio.wait()
                guard.value += 1

        tasks = [asyncio.create_task(waits()) for _ in range(10_000)]
        while len(waiting(condition)) < len(tasks):
            await asyncio.sleep(0)
        doomed = [task for task in tasks if rng.random() < 0.3]
        kept = len(tasks) - len(doomed)
        for task in doomed[::2]:
            task.cancel()
        async with condition.aio:
            condition.aio.notify(kept)
        for task in doomed[1::2]:
            task.cancel()
        await asyncio.wait([task for task in tasks if task not in set(doomed)], timeout=HANG)
        await asyncio.wait(doomed)
        with mutex as guard:
            assert guard.value + sum(task.cancelled() for task in tasks) == len(tasks)
            assert guard.value >= kept
        assert waiting(condition) == []
        assert mutex._state() == FREE

    run(main(), loop_name)


@pytest.mark.parametrize("timed", [False, True])
def test_threads_that_pass_a_turn_around(timed, fair, seconds):
    """Each waits for its own turn and notifies the next: one notification too few, and all stand still."""
    count = 4
    condition = Condition(Mutex(0, fair=fair))
    deadline = time.monotonic() + seconds

    def work(number):
        with condition as guard:
            while True:
                try:
                    condition.wait_for(lambda: guard.value % count == number, timeout=1e-4 if timed else None)
                except Timeout:
                    if time.monotonic() > deadline:
                        return
                    continue
                guard.value += 1
                condition.notify_all()
                if time.monotonic() > deadline and guard.value > 100 * count:
                    return

    if timed:
        storm(count, work, seconds)
    else:
        running = [spawn(work, number) for number in range(count)]
        for one in running:
            while one.alive:
                with condition as guard:
                    if time.monotonic() > deadline + 1:
                        guard.value += 1  # those who have gone are passed over
                        condition.notify_all()
                time.sleep(0.001)
            one.result()
    assert waiting(condition) == []
    with condition as guard:
        assert guard.value > 100
