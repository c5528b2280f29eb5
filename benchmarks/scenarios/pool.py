"""Pools at work: an object is taken and given back, by threads, by tasks, and by threads and tasks together.

A figure is for one object, taken and given back once, however many threads or tasks took part in it. The objects are
small, and nothing is done with them but what a hook would show; what a pool saves depends on what its objects cost, and
that is not measured here.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from itertools import repeat
from time import perf_counter_ns
from typing import Any

from benchmarks.peers import pool as peers
from benchmarks.peers.pool import Item, Kind
from benchmarks.scenarios import Loop, Run, Scenario, Waiting, kinds_of_loops, run_loops, run_noting, shares

TASKS = 10
HOLD = 0.001
"""How long each holder sleeps where threads take turns, in seconds."""


# The hooks, functions in Python as a user's would be.


def reset(item: Item) -> None:
    item.uses = 0


def validate(item: Item) -> bool:
    return item.uses == 0


async def async_validate(item: Item) -> bool:
    return item.uses == 0


# Threads.


def take_give(contender: Kind, threads: int, objects: int, timed: bool = False) -> list[Loop]:
    made = contender.make(objects)

    def leases(n: int) -> None:
        acquire = contender.timed(made) if timed else contender.take(made)
        for _ in repeat(None, n):
            lease = acquire()
            lease.release()

    def plain(n: int) -> None:
        take, give = contender.timed(made) if timed else contender.take(made), contender.give(made)
        for _ in repeat(None, n):
            item = take()
            give(item)

    return [leases if contender.form == "leases" else plain] * threads


def with_each(contender: Kind, threads: int, objects: int) -> list[Loop]:
    return [_with_each(contender, contender.make(objects))] * threads


def _with_each(contender: Kind, made: Any) -> Loop:
    """What comes back whatever happens."""

    def leases(n: int) -> None:
        acquire = contender.take(made)
        for _ in repeat(None, n):
            with acquire():
                pass

    def plain(n: int) -> None:
        take, give = contender.take(made), contender.give(made)
        for _ in repeat(None, n):
            item = take()
            try:
                pass
            finally:
                give(item)

    return leases if contender.form == "leases" else plain


def resetting(contender: Kind, threads: int, objects: int) -> list[Loop]:
    """Each object is changed, and as it was before it comes back."""
    made = contender.make(objects, reset=reset)

    def leases(n: int) -> None:
        acquire = contender.take(made)
        for _ in repeat(None, n):
            with acquire() as item:
                item.uses += 1

    def plain(n: int) -> None:
        take, give = contender.take(made), contender.give(made)
        for _ in repeat(None, n):
            item = take()
            try:
                item.uses += 1
            finally:
                reset(item)
                give(item)

    return [leases if contender.form == "leases" else plain] * threads


def validating(contender: Kind, threads: int, objects: int) -> list[Loop]:
    """Each object is looked at before it is used; all are good."""
    made = contender.make(objects, validate=validate)

    def leases(n: int) -> None:
        acquire = contender.take(made)
        for _ in repeat(None, n):
            with acquire():
                pass

    def plain(n: int) -> None:
        take, give = contender.take(made), contender.give(made)
        for _ in repeat(None, n):
            item = take()
            if not validate(item):
                item = Item()
            try:
                pass
            finally:
                give(item)

    return [leases if contender.form == "leases" else plain] * threads


# Tasks.


def async_take_give(contender: Kind, threads: int, objects: int, run: Run) -> list[Loop]:
    async def leases(n: int) -> None:
        acquire = contender.async_take(contender.make(objects))
        for _ in repeat(None, n):
            lease = await acquire()
            await lease.release()

    async def plain(n: int) -> None:
        made = contender.make(objects)
        take, give = contender.async_take(made), contender.give(made)
        for _ in repeat(None, n):
            item = await take()
            give(item)

    task = leases if contender.form == "leases" else plain
    return [lambda n: run(task(n))]


def async_with_each(contender: Kind, threads: int, objects: int, run: Run) -> list[Loop]:
    async def leases(n: int) -> None:
        acquire = contender.async_take(contender.make(objects))
        for _ in repeat(None, n):
            async with acquire():
                pass

    async def plain(n: int) -> None:
        made = contender.make(objects)
        take, give = contender.async_take(made), contender.give(made)
        for _ in repeat(None, n):
            item = await take()
            try:
                pass
            finally:
                give(item)

    task = leases if contender.form == "leases" else plain
    return [lambda n: run(task(n))]


def async_resetting(contender: Kind, threads: int, objects: int, run: Run) -> list[Loop]:
    async def leases(n: int) -> None:
        acquire = contender.async_take(contender.make(objects, reset=reset))
        for _ in repeat(None, n):
            async with acquire() as item:
                item.uses += 1

    async def plain(n: int) -> None:
        made = contender.make(objects)
        take, give = contender.async_take(made), contender.give(made)
        for _ in repeat(None, n):
            item = await take()
            try:
                item.uses += 1
            finally:
                reset(item)
                give(item)

    task = leases if contender.form == "leases" else plain
    return [lambda n: run(task(n))]


def async_validating(contender: Kind, threads: int, objects: int, run: Run) -> list[Loop]:
    """By a hook that is a coroutine, though it waits for nothing."""

    async def leases(n: int) -> None:
        acquire = contender.async_take(contender.make(objects, validate=async_validate))
        for _ in repeat(None, n):
            async with acquire():
                pass

    async def plain(n: int) -> None:
        made = contender.make(objects)
        take, give = contender.async_take(made), contender.give(made)
        for _ in repeat(None, n):
            item = await take()
            if not await async_validate(item):
                item = Item()
            try:
                pass
            finally:
                give(item)

    task = leases if contender.form == "leases" else plain
    return [lambda n: run(task(n))]


def async_shared(contender: Kind, threads: int, objects: int, run: Run) -> list[Loop]:
    """TASKS tasks; whoever has an object lets the others run meanwhile."""

    async def tasks(n: int) -> None:
        made, task = contender.make(objects), _task_of(contender)
        await asyncio.gather(*[task(made, share) for share in shares(n, TASKS)])

    return [lambda n: run(tasks(n))]


def _task_of(contender: Kind) -> Callable[[Any, int], Coroutine[Any, Any, None]]:
    async def leases(made: Any, n: int) -> None:
        acquire = contender.async_take(made)
        for _ in repeat(None, n):
            async with acquire():
                await asyncio.sleep(0)

    async def plain(made: Any, n: int) -> None:
        take, give = contender.async_take(made), contender.give(made)
        for _ in repeat(None, n):
            item = await take()
            try:
                await asyncio.sleep(0)
            finally:
                give(item)

    return leases if contender.form == "leases" else plain


# Both.


def with_thread(contender: Kind, threads: int, objects: int, run: Run) -> list[Loop]:
    """Half of the objects are taken in a thread, and half by TASKS tasks of a loop."""

    def loop(n: int) -> None:
        made = contender.make(objects)
        in_thread, in_task = _with_each(contender, made), _task_of(contender)

        async def tasks(n: int) -> None:
            await asyncio.gather(*[in_task(made, share) for share in shares(n, TASKS)])

        by_thread, by_tasks = shares(n, 2)
        run_loops([lambda _: in_thread(by_thread), lambda _: run(tasks(by_tasks))], n)

    return [loop]


# Turns.


def turns(contender: Kind, threads: int, objects: int, seconds: float) -> list[array[int]]:
    """Each thread takes an object, sleeps, gives it back, and begins again. Gives the waits of each, in ns."""
    made = contender.make(objects)

    def work(waits: array[int]) -> None:
        take, give = contender.take(made), contender.give and contender.give(made)
        end = perf_counter_ns() + int(seconds * 1e9)
        while (now := perf_counter_ns()) < end:
            taken = take()
            waits.append(perf_counter_ns() - now)
            time.sleep(HOLD)
            if give is None:
                taken.release()
            else:
                give(taken)

    return run_noting([work] * threads)


# The list.


def _count(objects: int) -> str:
    return f"{objects} object{'s' if objects > 1 else ''}"


def _threads() -> Iterator[Scenario]:
    yield Scenario(
        "alone",
        "`acquire()`, `release()`, 1 object, in one thread",
        peers.ALONE,
        (1,),
        partial(take_give, objects=1),
    )
    for objects in (1, 2, 4, 64):
        yield Scenario(
            f"objects_{objects}",
            f"`acquire()`, `release()`, {_count(objects)}",
            peers.THREADS,
            (1, 2, 4),
            partial(take_give, objects=objects),
        )
    yield Scenario(
        "timed_4",
        "`acquire(timeout=1.0)`, `release()`, 4 objects",
        peers.THREADS,
        (1, 2),
        partial(take_give, objects=4, timed=True),
    )
    for objects in (1, 4):
        yield Scenario(
            f"with_{objects}",
            f"`with pool.acquire()` (peers: `try`, `finally`), {_count(objects)}",
            peers.THREADS,
            (1, 2, 4),
            partial(with_each, objects=objects),
        )
    for name, hook, loops in [("reset", "`reset`", resetting), ("validate", "`validate`", validating)]:
        yield Scenario(
            f"{name}_4", f"`with pool.acquire()` and {hook}, 4 objects", peers.HOOKED, (1, 2), partial(loops, objects=4)
        )


def _with_loops(kind: str, run: Run, missing: str) -> Iterator[Scenario]:
    def scenario(
        name: str, title: str, contenders: Sequence[Kind], loops: Callable[..., list[Loop]], objects: int
    ) -> Scenario:
        there = [Kind(kind, None, missing)] if missing else contenders
        threads = 2 if contenders is peers.BOTH else 1
        call = partial(loops, objects=objects, run=run)
        return Scenario(f"{kind}_{name}", f"{kind}: {title}, {_count(objects)}", there, (threads,), call)

    yield scenario("take_1", "`await acquire()`, `await release()` in one task", peers.TASKS, async_take_give, 1)
    yield scenario("with_1", "`async with pool.acquire()` in one task", peers.TASKS, async_with_each, 1)
    yield scenario("reset_1", "`async with`, `reset`, in one task", peers.TASKS, async_resetting, 1)
    yield scenario("validate_1", "`async with`, an async `validate`, in one task", peers.TASKS, async_validating, 1)
    for objects in (1, 4):
        yield scenario(
            f"tasks_{objects}",
            f"`async with`, `await sleep(0)` inside, {TASKS} tasks",
            peers.TASKS,
            async_shared,
            objects,
        )
    yield scenario(
        "thread_and_tasks_4", f"1 thread and {TASKS} tasks, half of the work each", peers.BOTH, with_thread, 4
    )


def _all() -> Iterator[Scenario]:
    yield from _threads()
    for kind, run, missing in kinds_of_loops():
        yield from _with_loops(kind, run, missing)


SCENARIOS = [*_all()]
WAITINGS = [
    Waiting(
        f"sleepers_{threads}_{objects}",
        f"{threads} threads over {_count(objects)}, each kept for 1 ms, in which its holder sleeps",
        peers.THREADS,
        threads,
        partial(turns, objects=objects),
        1.0,
    )
    for threads, objects in [(4, 1), (8, 2)]
]
