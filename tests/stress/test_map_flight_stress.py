"""A thousand callers at once, threads and tasks of two loops: one factory at a time for a key, once if it succeeds."""

import asyncio
import random
import threading
import time
from collections import Counter

import pytest

from ferrule import ConcurrentMap, Timeout, WouldDeadlock
from tests.support.driver import LoopThread
from tests.support.flights import assert_landed
from tests.support.race import HANG, run_together, spawn

pytestmark = pytest.mark.stress


class Fault(Exception):
    pass


class Runs:
    """Counts the factories of each key that run now, and that have succeeded."""

    def __init__(self):
        self.running = Counter()
        self.succeeded = Counter()
        self.begun = Counter()
        self._latch = threading.Lock()

    def begin(self, key):
        with self._latch:
            self.begun[key] += 1
            self.running[key] += 1
            assert self.running[key] == 1, f"two factories of {key} at once"

    def end(self, key, succeeds):
        with self._latch:
            self.running[key] -= 1
            self.succeeded[key] += succeeds


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
@pytest.mark.parametrize("keys", [1, 10])
def test_a_thousand_callers(kind, keys, rng):
    """40 threads with 5 calls each, 400 tasks in each of two loops; some factories fail, some tasks are cancelled."""
    if kind == "uvloop":
        pytest.importorskip("uvloop", reason="uvloop is not there for this interpreter")
    m, runs = ConcurrentMap(), Runs()
    seeds = iter([rng.random() for _ in range(1000)])
    begin = threading.Event()
    outcomes = Counter()

    def fails(rng):
        return rng.random() < 0.3

    def calls(seed):
        rng = random.Random(seed)
        assert begin.wait(HANG)
        for _ in range(5):
            key = rng.randrange(keys)

            def factory(key=key):
                runs.begin(key)
                time.sleep(rng.random() * 0.001)
                bad = fails(rng)
                runs.end(key, not bad)
                if bad:
                    raise Fault
                return key, "value"

            while True:
                try:
                    assert m.get_or_compute(key, factory, timeout=rng.choice([None, 0.001, HANG])) == (key, "value")
                    outcomes["value"] += 1
                    break
                except Fault:
                    outcomes["fault"] += 1
                except Timeout:
                    outcomes["timeout"] += 1

    async def task(seed):
        rng = random.Random(seed)
        key = rng.randrange(keys)

        async def computes():
            runs.begin(key)
            bad = True
            try:
                await asyncio.sleep(rng.random() * 0.001)
                bad = fails(rng)
            finally:
                runs.end(key, not bad)
            if bad:
                raise Fault
            return key, "value"

        while True:
            call = asyncio.ensure_future(m.aio.get_or_compute(key, computes, timeout=rng.choice([None, 0.001, HANG])))
            if rng.random() < 0.3:
                asyncio.get_running_loop().call_later(rng.random() * 0.002, call.cancel)
            try:
                assert await call == (key, "value")
                outcomes["value"] += 1
                break
            except (Fault, Timeout, asyncio.CancelledError) as error:
                outcomes[type(error).__name__] += 1

    async def tasks(seeds):
        async with asyncio.TaskGroup() as group:
            for seed in seeds:
                group.create_task(task(seed))

    threads = [spawn(calls, next(seeds)) for _ in range(40)]
    with LoopThread(kind) as here, LoopThread() as there:
        both = [loop.spawn(tasks([next(seeds) for _ in range(400)])) for loop in (here, there)]
        begin.set()
        for one in (*both, *threads):
            one.result(HANG)
    assert runs.running.total() == 0
    assert set(runs.succeeded.values()) == {1}, runs.succeeded
    assert_landed(m, {key: (key, "value") for key in runs.succeeded})


def test_each_value_comes_from_the_run_that_was_under_way(rng, seconds):
    """Keys are removed all the time: a value is one that was computed after the call began, or that was there."""
    m, runs = ConcurrentMap(), Runs()
    end = time.monotonic() + seconds / 4
    counts = Counter()

    def calls(seed):
        rng = random.Random(seed)
        while time.monotonic() < end:
            key = rng.randrange(3)

            def factory(key=key):
                runs.begin(key)
                number = counts[key] = counts[key] + 1  # one at a time, so this is no race
                if rng.random() < 0.2:
                    time.sleep(0)
                runs.end(key, True)
                return number

            gone = removed[key]
            assert m.get_or_compute(key, factory) > gone
            if rng.random() < 0.5:
                # Once it has been taken out nobody who asks later is given it.
                taken = m.pop(key, None)
                if taken is not None:
                    removed[key] = max(removed[key], taken)

    removed = Counter()
    run_together(*(lambda seed=seed: calls(seed) for seed in [rng.random() for _ in range(4)]))
    assert runs.begun == runs.succeeded
    assert_landed(m)


def test_factories_that_ask_for_each_other_end(rng, seconds):
    """Threads and tasks ask in any order, over several keys: each call ends, and only by a value or WouldDeadlock."""
    m = ConcurrentMap()
    end = time.monotonic() + seconds / 4
    outcomes = Counter()

    def computes(key, depth, rng):
        if depth == 0 or rng.random() < 0.3:
            return key
        inner = rng.randrange(6)
        return m.get_or_compute(inner, lambda: computes(inner, depth - 1, rng))

    async def computes_too(key, depth, rng):
        await asyncio.sleep(0)
        if depth == 0 or rng.random() < 0.3:
            return key
        inner = rng.randrange(6)
        return await m.aio.get_or_compute(inner, lambda: computes_too(inner, depth - 1, rng))

    def calls(seed):
        rng = random.Random(seed)
        while time.monotonic() < end:
            key = rng.randrange(6)
            try:
                m.get_or_compute(key, lambda key=key: computes(key, 3, rng))
                outcomes["value"] += 1
            except WouldDeadlock:
                outcomes["deadlock"] += 1
            m.pop(rng.randrange(6), None)

    async def task(seed):
        rng = random.Random(seed)
        while time.monotonic() < end:
            key = rng.randrange(6)
            try:
                await m.aio.get_or_compute(key, lambda key=key: computes_too(key, 3, rng))
                outcomes["value"] += 1
            except WouldDeadlock:
                outcomes["deadlock"] += 1
            m.pop(rng.randrange(6), None)
            await asyncio.sleep(0)

    threads = [spawn(calls, rng.random()) for _ in range(3)]
    with LoopThread() as here, LoopThread() as there:
        tasks = [loop.spawn(task(rng.random())) for loop in (here, there) for _ in range(5)]
        for one in (*tasks, *threads):
            one.result(HANG)
    assert outcomes["value"]
    assert_landed(m)
