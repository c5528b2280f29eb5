"""The drop-in queues at work, each beside its original: the work is that of the channels, by put() and get().

A figure is for one item, put and got. Every item is the same small int, so a priority queue compares as little as it
can and what is left is its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.peers import queues as peers
from benchmarks.peers.channel import Queue
from benchmarks.scenarios import Run, Scenario, kinds_of_loops
from benchmarks.scenarios.channel import (
    CAPACITY,
    async_ping_pong,
    async_seq,
    async_through,
    ping_pong,
    seq,
    through,
)


def _threads() -> Iterator[Scenario]:
    for name, contenders in peers.THREADS.items():
        what = "a subclass with hooks" if name == "hooks" else name
        short = name.lower()
        yield Scenario(
            f"{short}_seq",
            f"{what}: `put(item)`, `get()` in one thread",
            contenders,
            (1,),
            partial(seq, capacity=CAPACITY),
        )
        yield Scenario(
            f"{short}_spsc",
            f"{what}: 1 thread to 1 thread, maxsize {CAPACITY}" if name != "SimpleQueue" else f"{what}: 1 to 1 thread",
            contenders,
            (2,),
            partial(through, capacity=CAPACITY),
        )
    yield Scenario(
        "queue_spsc_1",
        "Queue: 1 thread to 1 thread, maxsize 1",
        peers.THREADS["Queue"],
        (2,),
        partial(through, capacity=1),
    )
    yield Scenario(
        "queue_mpmc",
        f"Queue: 2 threads to 2, maxsize {CAPACITY}",
        peers.THREADS["Queue"],
        (4,),
        partial(through, capacity=CAPACITY, producers=2),
    )
    yield Scenario(
        "simplequeue_ping_pong",
        "SimpleQueue: there and back between 2 threads",
        peers.THREADS["SimpleQueue"],
        (2,),
        ping_pong,
    )


def _tasks(kind: str, run: Run, missing: str) -> Iterator[Scenario]:
    for name, both in peers.TASKS.items():
        contenders = [Queue(kind, None, missing)] if missing else both
        short = f"{kind}_{name.lower()}"
        yield Scenario(
            f"{short}_seq",
            f"{kind}, {name}: `await put(item)`, `await get()` in one task",
            contenders,
            (1,),
            partial(async_seq, capacity=CAPACITY, run=run),
        )
        if name == "Queue":
            for capacity in (1, CAPACITY):
                yield Scenario(
                    f"{short}_spsc_{capacity}",
                    f"{kind}, {name}: 1 task to 1 task, maxsize {capacity}",
                    contenders,
                    (1,),
                    partial(async_through, capacity=capacity, run=run),
                )
            yield Scenario(
                f"{short}_ping_pong",
                f"{kind}, {name}: there and back between 2 tasks",
                contenders,
                (1,),
                partial(async_ping_pong, run=run),
            )


SCENARIOS = [*_threads(), *(scenario for loop in kinds_of_loops() for scenario in _tasks(*loop))]
