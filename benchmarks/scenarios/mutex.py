"""Locks at work: taken and given back alone, by threads at once, by tasks, and by threads and tasks together."""

from __future__ import annotations

import asyncio
from array import array
from functools import partial
from itertools import repeat
from time import perf_counter_ns
from typing import Any

from benchmarks.peers import mutex as peers
from benchmarks.peers.mutex import Lock
from benchmarks.scenarios import Loop, Scenario, Waiting, run_noting, shares, steps

TASKS = 10


def acquire_release(contender: Lock, threads: int) -> list[Loop]:
    lock = contender.make()

    def loop(n: int) -> None:
        acquire, release = contender.calls(lock)
        for _ in repeat(None, n):
            acquire()
            release()

    return [loop] * threads


def guard_release(contender: Lock, threads: int) -> list[Loop]:
    if not contender.has_guards:
        return acquire_release(contender, threads)
    mutex = contender.make()

    def loop(n: int) -> None:
        lock = mutex.lock
        for _ in repeat(None, n):
            guard = lock()
            guard.release()

    return [loop] * threads


def with_statement(contender: Lock, threads: int) -> list[Loop]:
    lock = contender.make()

    def loop(n: int) -> None:
        for _ in repeat(None, n):
            with lock:
                pass

    return [loop] * threads


def with_counter(contender: Lock, threads: int) -> list[Loop]:
    lock, cell = contender.make(), [0]

    def loop(n: int) -> None:
        for _ in repeat(None, n):
            with lock:
                cell[0] += 1

    return [loop] * threads


def async_with(contender: Lock, threads: int) -> list[Loop]:
    async def task(n: int) -> None:
        lock = contender.make()
        for _ in repeat(None, n):
            async with lock:
                pass

    return [lambda n: asyncio.run(task(n))] * threads


def async_acquire_release(contender: Lock, threads: int) -> list[Loop]:
    async def task(n: int) -> None:
        acquire, release = contender.calls(contender.make())
        for _ in repeat(None, n):
            await acquire()
            release()

    return [lambda n: asyncio.run(task(n))] * threads


def async_contended(contender: Lock, threads: int) -> list[Loop]:
    async def task(lock: Any, n: int) -> None:
        for _ in repeat(None, n):
            async with lock:
                await asyncio.sleep(0)

    async def all_tasks(n: int) -> None:
        lock = contender.make()
        await asyncio.gather(*[task(lock, share) for share in shares(n, TASKS)])

    return [lambda n: asyncio.run(all_tasks(n))] * threads


def threads_and_tasks(contender: Lock, threads: int) -> list[Loop]:
    """`threads` threads, and one more that runs a loop of TASKS tasks; all count in one cell."""
    lock, cell = contender.make(), [0]

    def in_thread(n: int) -> None:
        for _ in repeat(None, n):
            with lock:
                cell[0] += 1

    async def blocking_task(n: int) -> None:
        in_thread(n)

    async def task(n: int) -> None:
        face = contender.face(lock)
        for _ in repeat(None, n):
            async with face:
                cell[0] += 1

    kind = blocking_task if contender.name == peers.BLOCKS_THE_LOOP else task

    async def all_tasks(n: int) -> None:
        await asyncio.gather(*[kind(share) for share in shares(n, TASKS)])

    return [*[in_thread] * threads, lambda n: asyncio.run(all_tasks(n))]


def holders(contender: Lock, threads: int, hold: float, seconds: float) -> list[array[int]]:
    """Each of `threads` threads takes the lock, works for about `hold` seconds, gives it back, and begins again.

    Gives the waits of each, in ns; their number is the number of its holds.
    """
    lock, count = contender.make(), steps(hold)

    def work(waits: array[int]) -> None:
        acquire, release = contender.calls(lock)
        now = perf_counter_ns()
        end = now + int(seconds * 1e9)
        while now < end:
            acquire()
            waits.append(perf_counter_ns() - now)
            for _ in repeat(None, count):
                pass
            release()
            now = perf_counter_ns()

    return run_noting([work] * threads)


SCENARIOS = [
    Scenario("acquire_release", "`acquire()`, `release()`", peers.THREADS, (1, 2, 4), acquire_release),
    Scenario(
        "guard_release",
        "`lock()`, `guard.release()` (peers: `acquire()`, `release()`)",
        peers.THREADS,
        (1, 2),
        guard_release,
    ),
    Scenario("with", "`with lock: pass`, every hold exclusive", peers.THREADS, (1, 2, 4), with_statement),
    Scenario("with_counter", "`with lock: cell[0] += 1`", peers.THREADS, (1, 2, 4), with_counter),
    Scenario("async_with", "`async with lock: pass`, one task", peers.TASKS, (1,), async_with),
    Scenario(
        "async_acquire_release", "`await acquire()`, `release()`, one task", peers.TASKS, (1,), async_acquire_release
    ),
    Scenario(
        "async_contended", f"`async with lock: await sleep(0)`, {TASKS} tasks", peers.TASKS, (1,), async_contended
    ),
    Scenario(
        "threads_and_tasks",
        f"`lock: cell[0] += 1` in threads and in {TASKS} tasks of a loop",
        peers.BOTH,
        (1, 3),
        threads_and_tasks,
    ),
]
WAITINGS = [
    Waiting("short_holds", "2 threads, holds of about 1 us", peers.WITH_FAIRNESS, 2, partial(holders, hold=1e-6), 1.0),
    Waiting("fairness", "4 threads, holds of about 20 us", peers.WITH_FAIRNESS, 4, partial(holders, hold=20e-6), 2.0),
]
