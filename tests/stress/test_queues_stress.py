"""Conservation under load: whatever happens to those who put and get, each item is got exactly once."""

import asyncio
import collections
import contextlib
import random
import threading

import pytest

from ferrule.dropin.asyncio import QueueEmpty, QueueFull, QueueShutDown
from ferrule.dropin.queue import Empty, Full, ShutDown, SimpleQueue
from tests.support.driver import LoopThread
from tests.support.loops import LOOPS
from tests.support.queues import ORDERS, TASKS, THREADS, opened, waiting
from tests.support.race import HANG, spawn

pytestmark = pytest.mark.stress

QUIET = {"getters": 0, "putters": 0, "joiners": 0}
PRODUCERS = CONSUMERS = 3


@pytest.fixture
def seconds(seconds):
    """A fraction of what others take: there are many of these."""
    return seconds / 4


def check(put, got, fifo):
    """Exactly once; and of a FIFO queue the items of each producer in their order at each consumer."""
    assert sorted(item for items in got for item in items) == sorted(item for items in put for item in items)
    if fifo:
        for items in got:
            last = collections.defaultdict(lambda: -1)
            for producer, number in items:
                assert number > last[producer]
                last[producer] = number


def putting(q, producer, stop, chance):
    """A thread that puts numbered items by every verb, and knows which it has put."""
    put, number = [], 0
    while not stop.is_set():
        item = producer, number
        with contextlib.suppress(Full):
            match chance.randrange(3):
                case 0:
                    q.put(item)
                case 1:
                    q.put(item, timeout=chance.random() * 1e-3)
                case _:
                    q.put_nowait(item)
            put.append(item)
        number += 1
    return put


def getting(q, chance):
    """A thread that gets by every verb until the queue is shut down and empty."""
    got = []
    with contextlib.suppress(ShutDown):
        while True:
            with contextlib.suppress(Empty):
                match chance.randrange(3):
                    case 0:
                        got.append(q.get())
                    case 1:
                        got.append(q.get(timeout=chance.random() * 1e-3))
                    case _:
                        got.append(q.get_nowait())
                q.task_done()
    return got


@pytest.mark.parametrize("maxsize", [0, 1, 7])
@pytest.mark.parametrize("kind", THREADS)
def test_threads(kind, maxsize, seconds, rng):
    q = THREADS[kind](maxsize)
    stop = threading.Event()
    producers = [spawn(putting, q, n, stop, random.Random(rng.random())) for n in range(PRODUCERS)]
    consumers = [spawn(getting, q, random.Random(rng.random())) for _ in range(CONSUMERS)]
    stop.wait(seconds)
    stop.set()
    put = [producer.result() for producer in producers]
    q.join()
    assert q.unfinished_tasks == 0
    q.shutdown()
    check(put, [consumer.result() for consumer in consumers], ORDERS[kind] == "fifo")
    assert (q.qsize(), waiting(q)) == (0, QUIET)


@pytest.mark.parametrize("kind", ["Queue", "LifoQueue", "PriorityQueue"])
def test_opened_in_the_middle_of_it(kind, seconds, rng):
    """Who has begun on the engine's items goes on with the container, and nothing is lost on the way there."""
    for _ in range(5):
        q = THREADS[kind](rng.choice([1, 50, 1000]))
        stop = threading.Event()
        producers = [spawn(putting, q, n, stop, random.Random(rng.random())) for n in range(PRODUCERS)]
        consumers = [spawn(getting, q, random.Random(rng.random())) for _ in range(2)]
        stop.wait(rng.random() * seconds / 20)
        for opener in [spawn(lambda q=q: q.mutex), spawn(lambda q=q: q.queue), spawn(lambda q=q: q.not_full)]:
            opener.result()
        stop.wait(seconds / 40)
        stop.set()
        put = [producer.result() for producer in producers]
        q.shutdown()
        check(put, [consumer.result() for consumer in consumers], ORDERS[kind] == "fifo")
        assert (q.qsize(), waiting(q)) == (0, QUIET)


@pytest.mark.parametrize("kind", THREADS)
def test_an_immediate_shutdown_loses_only_what_it_counts_as_done(kind, rng):
    for _ in range(20):
        q = THREADS[kind](rng.choice([3, 1000]))

        def put_all(q=q):
            put = 0
            with contextlib.suppress(ShutDown):
                while True:
                    q.put(put)
                    put += 1
            return put

        def get_all(q=q):
            got = 0
            with contextlib.suppress(ShutDown):
                while True:
                    q.get()
                    got += 1
            return got

        putters, getters = [spawn(put_all) for _ in range(2)], [spawn(get_all) for _ in range(2)]
        joining = spawn(q.join)
        threading.Event().wait(rng.random() * 0.01)
        q.shutdown(immediate=True)
        put, got = (sum(thread.result() for thread in threads) for threads in (putters, getters))
        assert q.unfinished_tasks == got <= put
        for _ in range(got):
            q.task_done()
        joining.result()


def test_simple_queue(seconds, rng):
    q = SimpleQueue()
    stop = threading.Event()
    producers = [spawn(putting, q, n, stop, random.Random(rng.random())) for n in range(PRODUCERS)]

    def get_all(chance):
        got = []
        while True:
            with contextlib.suppress(Empty):
                item = q.get(timeout=chance.random() * 1e-3) if chance.random() < 0.5 else q.get()
                if item is None:
                    return got
                got.append(item)

    consumers = [spawn(get_all, random.Random(rng.random())) for _ in range(CONSUMERS)]
    stop.wait(seconds)
    stop.set()
    put = [producer.result() for producer in producers]
    for _ in consumers:
        q.put(None)
    check(put, [consumer.result() for consumer in consumers], True)
    assert (q.qsize(), waiting(q)) == (0, QUIET)


@pytest.mark.parametrize("loop_name", LOOPS)
@pytest.mark.parametrize("maxsize", [0, 1, 7])
@pytest.mark.parametrize("kind", TASKS)
def test_tasks_of_two_loops_and_a_thread(kind, maxsize, loop_name, seconds, rng):
    """Some of the waits are cancelled: what was put then was not, and what was got is not lost."""
    q = TASKS[kind](maxsize)
    stop = threading.Event()

    async def put_all(producer, chance):
        put, number = [], 0
        while not stop.is_set():
            item = producer, number
            number += 1
            if chance.random() < 0.3:
                putting = asyncio.ensure_future(q.put(item))
                for _ in range(chance.randrange(3)):
                    await asyncio.sleep(0)
                putting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await putting
                if not putting.cancelled():
                    put.append(item)
            else:
                await q.put(item)
                put.append(item)
            if chance.random() < 0.1:
                await asyncio.sleep(0)
        return put

    async def get_all(chance):
        got = []
        with contextlib.suppress(QueueShutDown):
            while True:
                if chance.random() < 0.3:
                    getting = asyncio.ensure_future(q.get())
                    for _ in range(chance.randrange(3)):
                        await asyncio.sleep(0)
                    getting.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        got.append(await getting)
                else:
                    got.append(await q.get())
                if chance.random() < 0.1:
                    await asyncio.sleep(0)
        return got

    def put_from_thread(producer):
        put, number = [], 0
        while not stop.is_set():
            with contextlib.suppress(QueueFull):
                q.put_nowait((producer, number))
                put.append((producer, number))
            number += 1
            stop.wait(1e-4)
        return put

    def get_from_thread():
        got = []
        with contextlib.suppress(QueueShutDown):
            while True:
                with contextlib.suppress(QueueEmpty):
                    got.append(q.get_nowait())
                stop.wait(1e-4)
        return got

    with LoopThread(loop_name) as here, LoopThread() as there:
        producers = [loop.spawn(put_all(n, random.Random(rng.random()))) for n, loop in enumerate((here, there, here))]
        consumers = [loop.spawn(get_all(random.Random(rng.random()))) for loop in (here, there, here)]
        threads = spawn(put_from_thread, 9), spawn(get_from_thread)
        stop.wait(seconds)
        stop.set()
        put = [producer.result(HANG) for producer in producers] + [threads[0].result()]
        q.shutdown()
        got = [consumer.result(HANG) for consumer in consumers] + [threads[1].result()]
    check(put, got, ORDERS[kind] == "fifo")
    assert (q.qsize(), waiting(q)) == (0, QUIET)


def test_an_asyncio_queue_opened_in_the_middle_of_it(seconds, rng):
    for _ in range(5):
        q = TASKS["Queue"](rng.choice([1, 50, 1000]))
        stop = threading.Event()

        async def put_all(producer, q=q, stop=stop):
            put = 0
            while not stop.is_set():
                await q.put((producer, put))
                put += 1
                if put % 10 == 0:
                    await asyncio.sleep(0)
            return put

        async def get_all(q=q):
            got = []
            with contextlib.suppress(QueueShutDown):
                while True:
                    got.append(await q.get())
                    if len(got) % 10 == 0:
                        await asyncio.sleep(0)
            return got

        with LoopThread() as here, LoopThread() as there:
            producers = [loop.spawn(put_all(n)) for n, loop in enumerate((here, there))]
            consumers = [loop.spawn(get_all()) for loop in (here, there)]
            stop.wait(seconds / 20)
            opened_by = [spawn(lambda q=q: q._queue) for _ in range(2)]
            for thread in opened_by:
                thread.result()
            opened_queue = q._queue
            assert q._queue is opened_queue
            stop.wait(seconds / 20)
            stop.set()
            counts = [producer.result(HANG) for producer in producers]
            q.shutdown()
            got = [consumer.result(HANG) for consumer in consumers]
        check([[(n, number) for number in range(count)] for n, count in enumerate(counts)], got, True)
        assert (q.qsize(), waiting(q)) == (0, QUIET)
        opened(q)
