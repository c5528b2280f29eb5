"""Locks around a value at work: read, written, and both, by threads, by tasks, and by threads and tasks together.

Whoever reads gets the value, whoever writes sets it; it is the same small int each time, which no thread has to make or
to drop. Of an operation of a mix that is "90/10" nine in ten read, and each tenth writes.
"""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from itertools import cycle, islice, repeat
from time import perf_counter_ns
from typing import Any

from benchmarks.peers import rwlock as peers
from benchmarks.peers.rwlock import Lock
from benchmarks.scenarios import Loop, Scenario, Waiting, run_noting, shares, steps

VALUE = 1
TASKS = 10
HOLD = 0.001
"""How long each holder sleeps where threads take turns, in seconds."""

Work = Callable[[], object]
"""What a thread does in a hold, or between two of them."""


class Cell:
    """Where the value of a lock without one stands."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = VALUE


# Threads.


def read_release(contender: Lock, threads: int) -> list[Loop]:
    lock = contender.make()

    def guards(n: int) -> None:
        read = lock.read
        for _ in repeat(None, n):
            guard = read()
            guard.release()

    def calls(n: int) -> None:
        acquire, release = contender.read_calls(lock)
        for _ in repeat(None, n):
            acquire()
            release()

    return [guards if contender.form == "guards" else calls] * threads


def write_release(contender: Lock, threads: int) -> list[Loop]:
    lock = contender.make()

    def guards(n: int) -> None:
        write = lock.write
        for _ in repeat(None, n):
            guard = write()
            guard.release()

    def calls(n: int) -> None:
        acquire, release = contender.write_calls(lock)
        for _ in repeat(None, n):
            acquire()
            release()

    return [guards if contender.form == "guards" else calls] * threads


def try_read(contender: Lock, threads: int) -> list[Loop]:
    lock = contender.make()

    def guards(n: int) -> None:
        try_read = lock.try_read
        for _ in repeat(None, n):
            guard = try_read()
            if guard is not None:
                guard.release()

    def calls(n: int) -> None:
        acquire, release = contender.read_calls(lock)
        for _ in repeat(None, n):
            if acquire(blocking=False):
                release()

    return [guards if contender.form == "guards" else calls] * threads


def with_read(contender: Lock, threads: int) -> list[Loop]:
    lock, cell = contender.make(), Cell()

    def guards(n: int) -> None:
        read = lock.read
        for _ in repeat(None, n):
            with read() as guard:
                _ = guard.value

    def called(n: int) -> None:
        read = contender.reader(lock)
        for _ in repeat(None, n):
            with read():
                _ = cell.value

    def kept(n: int) -> None:
        reader = contender.reader(lock)
        for _ in repeat(None, n):
            with reader:
                _ = cell.value

    return [{"guards": guards, "called": called, "kept": kept}[contender.form]] * threads


def mixed(contender: Lock, threads: int, every: int) -> list[Loop]:
    """One in `every` operations writes."""
    lock, cell = contender.make(), Cell()

    def guards(n: int) -> None:
        read, write = lock.read, lock.write
        for writes in _operations(n, every):
            if writes:
                with write() as guard:
                    guard.value = VALUE
            else:
                with read() as guard:
                    _ = guard.value

    def called(n: int) -> None:
        read, write = contender.reader(lock), contender.writer(lock)
        for writes in _operations(n, every):
            if writes:
                with write():
                    cell.value = VALUE
            else:
                with read():
                    _ = cell.value

    def kept(n: int) -> None:
        reader, writer = contender.reader(lock), contender.writer(lock)
        for writes in _operations(n, every):
            if writes:
                with writer:
                    cell.value = VALUE
            else:
                with reader:
                    _ = cell.value

    return [{"guards": guards, "called": called, "kept": kept}[contender.form]] * threads


def _operations(n: int, every: int) -> Iterable[bool]:
    """n times, whether to write."""
    return islice(cycle([True, *[False] * (every - 1)]), n)


# Tasks.


def async_read(contender: Lock, threads: int) -> list[Loop]:
    async def guards(n: int) -> None:
        read = contender.make().read
        for _ in repeat(None, n):
            async with read() as guard:
                _ = guard.value

    async def kept(n: int) -> None:
        reader, cell = contender.reader(contender.make()), Cell()
        for _ in repeat(None, n):
            async with reader:
                _ = cell.value

    task = guards if contender.form == "guards" else kept
    return [lambda n: asyncio.run(task(n))]


def async_mixed(contender: Lock, threads: int, every: int) -> list[Loop]:
    """TASKS tasks that await nothing in their holds."""

    async def guards(lock: Any, cell: Cell, n: int) -> None:
        read, write = lock.read, lock.write
        for writes in _operations(n, every):
            if writes:
                async with write() as guard:
                    guard.value = VALUE
            else:
                async with read() as guard:
                    _ = guard.value

    async def kept(lock: Any, cell: Cell, n: int) -> None:
        reader, writer = contender.reader(lock), contender.writer(lock)
        for writes in _operations(n, every):
            if writes:
                async with writer:
                    cell.value = VALUE
            else:
                async with reader:
                    _ = cell.value

    return _in_tasks(contender, guards if contender.form == "guards" else kept)


def async_held(contender: Lock, threads: int, every: int) -> list[Loop]:
    """TASKS tasks; whoever holds the lock lets the others run meanwhile."""

    async def guards(lock: Any, cell: Cell, n: int) -> None:
        read, write = lock.read, lock.write
        for writes in _operations(n, every):
            if writes:
                async with write() as guard:
                    await asyncio.sleep(0)
                    guard.value = VALUE
            else:
                async with read() as guard:
                    await asyncio.sleep(0)
                    _ = guard.value

    async def kept(lock: Any, cell: Cell, n: int) -> None:
        reader, writer = contender.reader(lock), contender.writer(lock)
        for writes in _operations(n, every):
            if writes:
                async with writer:
                    await asyncio.sleep(0)
                    cell.value = VALUE
            else:
                async with reader:
                    await asyncio.sleep(0)
                    _ = cell.value

    return _in_tasks(contender, guards if contender.form == "guards" else kept)


def _in_tasks(contender: Lock, task: Callable[[Any, Cell, int], Coroutine[Any, Any, None]]) -> list[Loop]:
    async def tasks(n: int) -> None:
        lock, cell = contender.make(), Cell()
        await asyncio.gather(*[task(lock, cell, share) for share in shares(n, TASKS)])

    return [lambda n: asyncio.run(tasks(n))]


# Turns.


def turns(
    contender: Lock,
    threads: int,
    writers: int,
    inside: Callable[[], Work],
    outside: Callable[[], Work],
    seconds: float,
) -> list[array[int]]:
    """Each thread takes the lock, works, gives it back, works, and begins again; the first `writers` of them write.

    Gives the waits of each, in ns; their number is the number of its holds.
    """
    lock, in_hold, between = contender.make(), inside(), outside()

    def work(waits: array[int], writes: bool) -> None:
        if contender.form == "guards":
            take = lock.write if writes else lock.read
        else:
            take, release = contender.write_calls(lock) if writes else contender.read_calls(lock)
        end = perf_counter_ns() + int(seconds * 1e9)
        while (now := perf_counter_ns()) < end:
            guard = take()
            waits.append(perf_counter_ns() - now)
            in_hold()
            if contender.form == "guards":
                guard.release()
            else:
                release()
            between()

    return run_noting([partial(work, writes=number < writers) for number in range(threads)])


def sleeping() -> Work:
    return partial(time.sleep, HOLD)


def nothing() -> Work:
    return int


def busy(seconds: float) -> Work:
    count = steps(seconds)

    def work() -> None:
        for _ in repeat(None, count):
            pass

    return work


# The list.

MIXES = {99: 100, 90: 10, 50: 2}
"""How many of a hundred operations read, and so one in how many writes."""
READERS, WRITERS = "readers", "writers"


def _scenarios() -> list[Scenario]:
    return [
        Scenario(
            "read_release",
            "`read()`, `guard.release()` (peers: `acquire()`, `release()`)",
            peers.THREADS,
            (1, 2, 4),
            read_release,
        ),
        Scenario(
            "write_release",
            "`write()`, `guard.release()` (peers: `acquire()`, `release()`)",
            peers.THREADS,
            (1, 2),
            write_release,
        ),
        Scenario(
            "try_read",
            "`try_read()`, `guard.release()` (peers: `acquire(blocking=False)`, `release()`)",
            peers.TRYING,
            (1, 2),
            try_read,
        ),
        Scenario("with_read", "`with lock.read() as guard: guard.value`", peers.THREADS, (1, 2, 4), with_read),
        *[
            Scenario(
                f"mixed_{reads}",
                f"`with`, {reads} in 100 read the value, the others set it",
                peers.THREADS,
                (1, 2, 4),
                partial(mixed, every=every),
            )
            for reads, every in MIXES.items()
        ],
        Scenario(
            "async_read", "`async with lock.read() as guard: guard.value`, one task", peers.TASKS, (1,), async_read
        ),
        Scenario(
            "async_mixed_90",
            f"`async with`, nothing awaited inside, {TASKS} tasks, 90 in 100 read",
            peers.TASKS,
            (1,),
            partial(async_mixed, every=MIXES[90]),
        ),
        *[
            Scenario(
                f"async_held_{reads}",
                f"`async with`, `await sleep(0)` inside, {TASKS} tasks, {reads} in 100 read",
                peers.TASKS,
                (1,),
                partial(async_held, every=MIXES[reads]),
            )
            for reads in (90, 50)
        ],
    ]


def _turns(
    name: str,
    work: str,
    inside: Callable[[], Work],
    outside: Callable[[], Work],
    readers: int,
    writers: int,
    seconds: float,
) -> Waiting:
    return Waiting(
        name,
        f"{readers} readers and {writers} writers, {work}",
        peers.TAKING_TURNS,
        readers + writers,
        partial(turns, writers=writers, inside=inside, outside=outside),
        seconds,
        ((WRITERS, writers), (READERS, readers)),
    )


SHORT, LONG = ("1 us", partial(busy, 1e-6)), ("20 us", partial(busy, 20e-6))

SCENARIOS = _scenarios()
WAITINGS = [
    _turns("writer_among_readers", "holds of 1 ms, in which they sleep", sleeping, nothing, 8, 1, 2.0),
    _turns("reader_among_writers", "holds of 1 ms, in which they sleep", sleeping, nothing, 1, 8, 2.0),
    *[
        _turns(
            f"turns_{readers}_{writers}_{held.replace(' ', '')}_{free.replace(' ', '')}",
            f"holds of about {held}, {free} between them",
            inside,
            outside,
            readers,
            writers,
            0.5,
        )
        for readers, writers in [(3, 1), (1, 3)]
        for held, inside in [SHORT, LONG]
        for free, outside in [("nothing", nothing), LONG]
    ],
]
