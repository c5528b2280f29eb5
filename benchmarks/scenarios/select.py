"""Waiting at several queues at once: in one thread, between threads, and between tasks of a loop.

A figure is for one item, put into one of the queues and taken by whoever waits at all of them; the queues have their
turns. Or for one step of a worker that takes an item from one queue or puts one into another, whichever can be done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice, repeat
from typing import Any

from benchmarks.peers import select as peers
from benchmarks.peers.select import Waits
from benchmarks.scenarios import Loop, Run, Scenario, kinds_of_loops, run_loops

ITEM = 1
COUNTS = (2, 8)


def put_each(puts: list[Any], n: int) -> None:
    for put in islice(cycle(puts), n):
        put(ITEM)


def seq(contender: Waits, threads: int, count: int) -> list[Loop]:
    assert contender.make is not None
    assert contender.take is not None
    queues = contender.make(count)
    puts, take = [contender.put(queues, place) for place in range(count)], contender.take(queues)

    def loop(n: int) -> None:
        for put in islice(cycle(puts), n):
            put(ITEM)
            take()

    return [loop]


def through(contender: Waits, threads: int, count: int) -> list[Loop]:
    def loop(n: int) -> None:
        assert contender.make is not None
        assert contender.take is not None
        queues = contender.make(count)
        puts, take = [contender.put(queues, place) for place in range(count)], contender.take(queues)

        def taking(n: int) -> None:
            for _ in repeat(None, n):
                take()

        run_loops([lambda n: put_each(puts, n), taking], n)

    return [loop]


def both(contender: Waits, threads: int) -> list[Loop]:
    """In turns only the one and only the other can be done: there is an item, or there is room."""
    assert contender.make is not None
    assert contender.either is not None
    assert contender.take is not None
    queues = contender.make(2, 1)
    either, put, empty = contender.either(queues), contender.put(queues, 0), contender.take(queues[1:])

    def loop(n: int) -> None:
        for step in range(n):
            if step % 2:
                put(ITEM)
                either(ITEM)
                empty()
            else:
                either(ITEM)
        if n % 2:
            empty()

    return [loop]


def tasks(contender: Waits, threads: int, count: int, run: Run) -> list[Loop]:
    async def main(n: int) -> None:
        assert contender.make is not None
        assert contender.async_put is not None
        assert contender.async_take is not None
        queues = contender.make(count)
        puts, take = [contender.async_put(queues, place) for place in range(count)], contender.async_take(queues)

        async def putting() -> None:
            for put in islice(cycle(puts), n):
                await put(ITEM)

        async def taking() -> None:
            for _ in repeat(None, n):
                await take()

        await asyncio.gather(putting(), taking())
        contender.close(queues)

    return [lambda n: run(main(n))]


def _all() -> Iterator[Scenario]:
    for count in COUNTS:
        yield Scenario(
            f"select_rx_{count}",
            f"into one of {count} queues and out by a wait at all, in one thread",
            peers.THREADS,
            (1,),
            partial(seq, count=count),
        )
        yield Scenario(
            f"select_through_{count}",
            f"1 thread to 1 that waits at {count} queues",
            peers.THREADS,
            (2,),
            partial(through, count=count),
        )
    yield Scenario("select_both", "take from one queue or put into another, in one thread", peers.EITHER, (1,), both)
    for kind, run, missing in kinds_of_loops():
        contenders = [Waits(kind, None, peers.OURS.put, missing=missing)] if missing else peers.TASKS
        for count in COUNTS:
            yield Scenario(
                f"{kind}_select_rx_{count}",
                f"{kind}: 1 task to 1 that waits at {count} queues",
                contenders,
                (1,),
                partial(tasks, count=count, run=run),
            )


SCENARIOS = [*_all()]
