"""Channels at work: in one thread, between threads, between tasks of a loop, and from threads to loops and back.

A figure is for one item, sent and received, or for one round trip, however many threads or tasks took part in it. Every
item is the same small int, which no thread has to make or to drop. A consumer knows how many items will come; nobody
closes anything. Each call makes a fresh queue, as those of some contenders belong to one loop, and if need be its
threads and loops: all contenders bear that alike.
"""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from itertools import repeat
from queue import SimpleQueue
from time import perf_counter_ns
from typing import Any

from benchmarks.peers import channel as peers
from benchmarks.peers.channel import Pair, Queue
from benchmarks.scenarios import Loop, Run, Scenario, Tail, kinds_of_loops, run_loops, shares

ITEM = 1
CAPACITY = 100
TRIPS = 20_000

Call = Callable[..., Any]


# What one thread or one task does.


def send_each(send: Call, n: int) -> None:
    for _ in repeat(None, n):
        send(ITEM)


def recv_each(recv: Call, n: int) -> None:
    for _ in repeat(None, n):
        recv()


def answer_each(recv: Call, send: Call, n: int) -> None:
    for _ in repeat(None, n):
        send(recv())


def ask_each(send: Call, recv: Call, n: int) -> None:
    for _ in repeat(None, n):
        send(ITEM)
        recv()


async def async_send_each(send: Call, n: int) -> None:
    for _ in repeat(None, n):
        await send(ITEM)


async def async_recv_each(recv: Call, n: int) -> None:
    for _ in repeat(None, n):
        await recv()


async def async_answer_each(recv: Call, send: Call, n: int) -> None:
    for _ in repeat(None, n):
        await send(await recv())


async def async_ask_each(send: Call, recv: Call, n: int) -> None:
    for _ in repeat(None, n):
        await send(ITEM)
        await recv()


# Threads.


def seq(contender: Queue, threads: int, capacity: int | None) -> list[Loop]:
    made = contender.make(capacity)
    return [lambda n: ask_each(contender.send(made), contender.recv(made), n)]


def through(contender: Queue, threads: int, capacity: int | None, producers: int = 1) -> list[Loop]:
    """The threads that are no producers are consumers."""

    def loop(n: int) -> None:
        made = contender.make(capacity)
        sending = [lambda _, n=share: send_each(contender.send(made), n) for share in shares(n, producers)]
        receiving = [lambda _, n=share: recv_each(contender.recv(made), n) for share in shares(n, threads - producers)]
        run_loops([*sending, *receiving], n)

    return [loop]


def ping_pong(contender: Queue, threads: int) -> list[Loop]:
    def loop(n: int) -> None:
        there, back = contender.make(None), contender.make(None)
        asking = partial(ask_each, contender.send(there), contender.recv(back))
        run_loops([asking, partial(answer_each, contender.recv(there), contender.send(back))], n)

    return [loop]


def trips(contender: Queue, calls: int) -> array[int]:
    """The time of each round trip."""
    there, back = contender.make(None), contender.make(None)
    answering = threading.Thread(target=answer_each, args=(contender.recv(there), contender.send(back), calls))
    answering.start()
    took = array("Q")
    note, send, recv = took.append, contender.send(there), contender.recv(back)
    for _ in repeat(None, calls):
        started = perf_counter_ns()
        send(ITEM)
        recv()
        note(perf_counter_ns() - started)
    answering.join()
    return took


# Tasks of one loop.


def async_seq(contender: Queue, threads: int, capacity: int | None, run: Run) -> list[Loop]:
    async def task(n: int) -> None:
        made = contender.make(capacity)
        await async_ask_each(contender.async_send(made), contender.async_recv(made), n)
        contender.close(made)

    return [lambda n: run(task(n))]


def async_through(contender: Queue, threads: int, capacity: int | None, run: Run) -> list[Loop]:
    async def tasks(n: int) -> None:
        made = contender.make(capacity)
        await asyncio.gather(
            async_send_each(contender.async_send(made), n), async_recv_each(contender.async_recv(made), n)
        )
        contender.close(made)

    return [lambda n: run(tasks(n))]


def async_ping_pong(contender: Queue, threads: int, run: Run) -> list[Loop]:
    async def tasks(n: int) -> None:
        there, back = contender.make(None), contender.make(None)
        await asyncio.gather(
            async_ask_each(contender.async_send(there), contender.async_recv(back), n),
            async_answer_each(contender.async_recv(there), contender.async_send(back), n),
        )
        contender.close(there)
        contender.close(back)

    return [lambda n: run(tasks(n))]


# Between threads and loops.


class Meeting:
    """Of the loop that makes a queue and the other side, which waits for it.

    The loop goes on until the other side is done, which may still have something to tell it.
    """

    def __init__(self) -> None:
        self._handed: SimpleQueue[tuple[Any, Call]] = SimpleQueue()

    @asynccontextmanager
    async def open(self, made: Any) -> AsyncIterator[Any]:
        """In the loop."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._handed.put((made, partial(loop.call_soon_threadsafe, done.set_result, None)))
        yield made
        await done

    @contextmanager
    def join(self) -> Iterator[Any]:
        made, leave = self._handed.get()
        yield made
        leave()


def to_loop(contender: Queue, threads: int, capacity: int | None, run: Run) -> list[Loop]:
    def loop(n: int) -> None:
        meeting = Meeting()

        async def receiving(n: int) -> None:
            async with meeting.open(contender.make(capacity)) as made:
                await async_recv_each(contender.async_recv(made), n)

        def sending(n: int) -> None:
            with meeting.join() as made:
                send_each(contender.send(made), n)

        run_loops([sending, lambda n: run(receiving(n))], n)

    return [loop]


def from_loop(contender: Queue, threads: int, capacity: int | None, run: Run) -> list[Loop]:
    def loop(n: int) -> None:
        meeting = Meeting()

        async def sending(n: int) -> None:
            async with meeting.open(contender.make(capacity)) as made:
                await async_send_each(contender.async_send(made), n)

        def receiving(n: int) -> None:
            with meeting.join() as made:
                recv_each(contender.recv(made), n)

        run_loops([receiving, lambda n: run(sending(n))], n)

    return [loop]


def between_loops(contender: Queue, threads: int, capacity: int | None, run: Run) -> list[Loop]:
    def loop(n: int) -> None:
        meeting = Meeting()

        async def receiving(n: int) -> None:
            async with meeting.open(contender.make(capacity)) as made:
                await async_recv_each(contender.async_recv(made), n)

        async def sending(n: int) -> None:
            with meeting.join() as made:
                await async_send_each(contender.async_send(made), n)

        run_loops([lambda n: run(receiving(n)), lambda n: run(sending(n))], n)

    return [loop]


def there_and_back(contender: Pair, threads: int, run: Run) -> list[Loop]:
    def loop(n: int) -> None:
        meeting = Meeting()

        async def answering(n: int) -> None:
            async with meeting.open((contender.there.make(None), contender.back.make(None))) as (there, back):
                await async_answer_each(contender.there.async_recv(there), contender.back.async_send(back), n)

        def asking(n: int) -> None:
            with meeting.join() as (there, back):
                ask_each(contender.there.send(there), contender.back.recv(back), n)

        run_loops([asking, lambda n: run(answering(n))], n)

    return [loop]


# The list.


def _threads() -> Iterator[Scenario]:
    yield Scenario(
        "seq_bounded",
        f"`send(item)`, `recv()` in one thread, capacity {CAPACITY}",
        peers.THREADS,
        (1,),
        partial(seq, capacity=CAPACITY),
    )
    yield Scenario(
        "seq_unbounded",
        "`send(item)`, `recv()` in one thread, unbounded",
        peers.THREADS_UNBOUNDED,
        (1,),
        partial(seq, capacity=None),
    )
    for name, capacity, contenders in [
        ("0", 0, peers.THREADS_MEETING),
        ("1", 1, peers.THREADS),
        (f"{CAPACITY}", CAPACITY, peers.THREADS),
        ("unbounded", None, peers.THREADS_UNBOUNDED),
    ]:
        yield Scenario(
            f"spsc_{name}",
            f"1 thread to 1 thread, {_limit(capacity)}",
            contenders,
            (2,),
            partial(through, capacity=capacity),
        )
    for name, producers in [("mpsc", 3), ("mpmc", 2)]:
        yield Scenario(
            f"{name}_{CAPACITY}",
            f"{producers} threads to {4 - producers}, capacity {CAPACITY}",
            peers.MANY_THREADS,
            (4,),
            partial(through, capacity=CAPACITY, producers=producers),
        )
    yield Scenario("ping_pong", "there and back between 2 threads", peers.THREADS_UNBOUNDED, (2,), ping_pong)


def _with_loops(kind: str, run: Run, missing: str) -> Iterator[Scenario]:
    def there(contenders: Sequence[Any]) -> Sequence[Any]:
        return [Queue(kind, None, missing)] if missing else contenders

    def scenario(name: str, title: str, contenders: Sequence[Any], threads: int, loops: Call) -> Scenario:
        return Scenario(f"{kind}_{name}", f"{kind}: {title}", there(contenders), (threads,), partial(loops, run=run))

    bounded, unbounded = {"capacity": CAPACITY}, {"capacity": None}
    yield scenario(
        "seq",
        f"`await send(item)`, `await recv()` in one task, capacity {CAPACITY}",
        peers.TASKS,
        1,
        partial(async_seq, **bounded),
    )
    for capacity, contenders in [(0, peers.TASKS_MEETING), (1, peers.TASKS), (CAPACITY, peers.TASKS)]:
        yield scenario(
            f"spsc_{capacity}",
            f"1 task to 1 task, capacity {capacity}",
            contenders,
            1,
            partial(async_through, capacity=capacity),
        )
    yield scenario("ping_pong", "there and back between 2 tasks", peers.TASKS_UNBOUNDED, 1, async_ping_pong)
    yield scenario(
        f"from_thread_{CAPACITY}",
        f"1 thread to 1 task, capacity {CAPACITY}",
        peers.TO_LOOP,
        2,
        partial(to_loop, **bounded),
    )
    yield scenario(
        "from_thread_unbounded",
        "1 thread to 1 task, unbounded",
        peers.TO_LOOP_UNBOUNDED,
        2,
        partial(to_loop, **unbounded),
    )
    yield scenario(
        f"to_thread_{CAPACITY}",
        f"1 task to 1 thread, capacity {CAPACITY}",
        peers.FROM_LOOP,
        2,
        partial(from_loop, **bounded),
    )
    yield scenario(
        f"to_loop_{CAPACITY}",
        f"1 task to 1 task of another loop, capacity {CAPACITY}",
        peers.BETWEEN_LOOPS,
        2,
        partial(between_loops, **bounded),
    )
    yield scenario("there_and_back", "from a thread to a task and back", peers.THERE_AND_BACK, 2, there_and_back)


def _limit(capacity: int | None) -> str:
    return "unbounded" if capacity is None else f"capacity {capacity}"


def _all() -> Iterator[Scenario]:
    yield from _threads()
    for kind, run, missing in kinds_of_loops():
        yield from _with_loops(kind, run, missing)


SCENARIOS = [*_all()]
TAILS = [Tail("trips", "one round trip between 2 threads", peers.THREADS_UNBOUNDED, TRIPS, trips)]
