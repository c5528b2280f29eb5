"""Conservation under load: whatever happens to senders and receivers, each item is received exactly once, in order."""

import asyncio
import collections
import contextlib
import random
import threading
import time

import pytest

from ferrule import Disconnected, Full, Timeout
from tests.support.channels import CAPACITIES, channel, waiting
from tests.support.driver import LoopThread
from tests.support.loops import LOOPS
from tests.support.race import HANG, spawn

pytestmark = pytest.mark.stress

AT_REST = {"senders": 0, "receivers": 0, "reserved": 0}
PRODUCERS = CONSUMERS = 3


@pytest.fixture
def seconds(seconds):
    """A fraction of what others take: there are many of these."""
    return seconds / 4


def check(sent, received, rx):
    """Exactly once, and the items of each producer in their order at each consumer; (producer, number) is an item."""
    for items in received:
        last = collections.defaultdict(lambda: -1)
        for producer, number in items:
            assert number > last[producer]
            last[producer] = number
    everything = sorted(item for items in received for item in items)
    assert everything == sorted(item for items in sent for item in items)
    assert waiting(rx) == AT_REST
    stats = rx.stats()
    assert stats["sent"] == stats["received"] == len(everything)


def sending(tx, producer, stop, chance):
    """A thread that sends numbered items by every verb, and knows what it has sent."""
    sent, backs, number = [], [], 0
    while not stop.is_set():
        item = producer, number
        verb = chance.randrange(4)
        try:
            if verb == 0:
                tx.send(item)
            elif verb == 1:
                tx.send(item, timeout=chance.random() * 1e-3)
            elif verb == 2:
                tx.try_send(item)
            else:
                count = chance.randrange(5)
                tx.send_many((producer, number + n) for n in range(count))
                sent += [(producer, number + n) for n in range(count)]
                number += count
                continue
        except (Full, Timeout) as refused:
            backs.append(refused.item is item)
        else:
            sent.append(item)
        number += 1
    assert all(backs)
    return sent


def receiving(rx, chance):
    """A thread that receives by every verb until the senders are gone."""
    received = []
    with contextlib.suppress(Disconnected):
        while True:
            verb = chance.randrange(4)
            try:
                if verb == 0:
                    received.append(rx.recv())
                elif verb == 1:
                    received.append(rx.recv(timeout=chance.random() * 1e-3))
                elif verb == 2:
                    received += rx.recv_many(chance.randrange(1, 9))
                else:
                    received += rx.try_iter()
            except Timeout:
                pass
    return received


@pytest.mark.parametrize("capacity", CAPACITIES)
def test_threads(capacity, seconds, rng):
    tx, rx = channel(capacity)
    stop = threading.Event()

    def produce(producer):
        with tx.clone() as mine:
            return sending(mine, producer, stop, random.Random(rng.random()))

    producing = [spawn(produce, n) for n in range(PRODUCERS)]
    consuming = [spawn(receiving, rx.clone(), random.Random(rng.random())) for _ in range(CONSUMERS)]
    time.sleep(seconds)
    stop.set()
    sent = [one.result() for one in producing]
    tx.close()
    check(sent, [one.result() for one in consuming], rx)


async def sending_task(tx, producer, stop, chance):
    """A task that sends numbered items; its waits are cancelled now and then. (What it has sent, what it may have.)"""
    sent, maybe, backs, number = [], [], [], 0
    while not stop.is_set():
        item = producer, number
        number += 1
        task = asyncio.ensure_future(tx.send(item, timeout=chance.choice([None, 1e-3])))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
            task.cancel()
        try:
            await task
        except Timeout as timeout:
            backs.append(timeout.item is item)
        except asyncio.CancelledError:
            maybe.append(item)
        else:
            sent.append(item)
        if number % 10 == 0:
            await asyncio.sleep(0)
    assert all(backs)
    return sent, maybe


async def receiving_task(rx, chance):
    received = []
    with contextlib.suppress(Disconnected):
        while True:
            many = chance.random() < 0.3
            task = asyncio.ensure_future(rx.recv_many(4) if many else rx.recv(timeout=chance.choice([None, 1e-3])))
            if chance.random() < 0.3:
                await asyncio.sleep(0)
                task.cancel()
            try:
                result = await task
            except Timeout:
                continue
            except asyncio.CancelledError:
                continue
            received += result if many else [result]
    return received


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("capacity", CAPACITIES)
def test_threads_and_cancelled_tasks_of_two_loops(capacity, loop, seconds, rng):
    tx, rx = channel(capacity)
    stop = threading.Event()

    def chance():
        return random.Random(rng.random())

    with LoopThread(loop) as here, LoopThread(loop) as there:
        tasks = [here.spawn(sending_task(tx.aio, n, stop, chance())) for n in range(2)]
        thread = spawn(sending, tx, 2, stop, chance())
        consuming = [there.spawn(receiving_task(rx.aio, chance())), here.spawn(receiving_task(rx.aio, chance()))]
        receiver = spawn(receiving, rx, chance())
        time.sleep(seconds)
        stop.set()
        results = [task.result(HANG) for task in tasks]
        sent = [thread.result(), *(mine for mine, _ in results)]
        tx.close()
        received = [receiver.result(), *(task.result(HANG) for task in consuming)]
    # A send that was cancelled may have taken effect only where its item was taken out of its hands.
    extra = {item for items in received for item in items} - {item for items in sent for item in items}
    assert extra <= {item for _, maybe in results for item in maybe}
    assert not extra or capacity == 0
    check([*sent, sorted(extra)], received, rx)


def through_disturbances(wait, chance):
    """Has the wait, a call that gives a coroutine, come through time-outs and cancellations; what it gives at last.

    One that did not come through had no effect, so it is made again: else an item would be lost or come twice.
    """

    async def until_it_does():
        while True:
            how = chance.random()
            if how < 0.95:
                return await wait()
            try:
                if how < 0.97:
                    return await asyncio.wait_for(wait(), chance.random() * 1e-4)
                task = asyncio.ensure_future(wait())
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                task.cancel()
                return await task
            except (TimeoutError, asyncio.CancelledError):
                pass

    return until_it_does()


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", ["thread to loop", "loop to thread", "loop to loop"])
@pytest.mark.parametrize("capacity", [1, 100])
def test_a_million_items_through_cancellations(capacity, way, loop, seconds, rng):
    count = 1_000_000 if seconds > 1 else 5_000
    tx, rx = channel(capacity)

    def produce():
        for n in range(count):
            tx.send(n)

    async def produce_async(chance):
        for n in range(count):
            await through_disturbances(lambda n=n: tx.aio.send(n), chance)

    def consume():
        return sum(rx.recv() != n for n in range(count))

    async def consume_async(chance):
        wrong = 0
        for n in range(count):
            wrong += await through_disturbances(rx.aio.recv, chance) != n
        return wrong

    with LoopThread(loop) as here, LoopThread(loop) as there:
        chances = [random.Random(rng.random()) for _ in range(2)]
        producing = spawn(produce) if way == "thread to loop" else here.spawn(produce_async(chances[0]))
        consuming = spawn(consume) if way == "loop to thread" else there.spawn(consume_async(chances[1]))
        assert consuming.result(20 * HANG) == 0
        producing.result(HANG)
    assert waiting(rx) == AT_REST
    assert rx.stats()["sent"] == rx.stats()["received"] == count


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("way", ["thread to loop", "loop to thread", "loop to loop"])
def test_a_million_items_in_order(way, loop, seconds):
    count = 1_000_000 if seconds > 1 else 100_000
    tx, rx = channel(100)

    def produce():
        with tx:
            tx.send_many(range(count))

    async def produce_async():
        async with tx.aio as sender:
            await sender.send_many(range(count))

    def consume():
        return sum(item != n for n, item in enumerate(rx))

    async def consume_async():
        wrong = n = 0
        async for item in rx.aio:
            wrong += item != n
            n += 1
        return wrong

    with LoopThread(loop) as here, LoopThread(loop) as there:
        producing = spawn(produce) if way == "thread to loop" else here.spawn(produce_async())
        consuming = spawn(consume) if way == "loop to thread" else there.spawn(consume_async())
        assert consuming.result(10 * HANG) == 0
        producing.result(HANG)
    assert rx.stats()["received"] == count


def test_ends_come_and_go(seconds, rng):
    """Clones are made and closed all the time: nothing is lost while one of each side is open."""
    tx, rx = channel(3)
    stop = threading.Event()

    def produce(producer):
        sent, number = [], 0
        while not stop.is_set():
            with tx.clone() as mine, contextlib.suppress(Timeout):
                mine.send((producer, number), timeout=0.001)
                sent.append((producer, number))
            number += 1
        return sent

    def consume():
        received = []
        while not stop.is_set():
            with rx.clone() as mine, contextlib.suppress(Timeout):
                received.append(mine.recv(timeout=0.001))
        return received

    producing = [spawn(produce, n) for n in range(2)]
    consuming = [spawn(consume) for _ in range(2)]
    time.sleep(seconds)
    stop.set()
    sent = [one.result() for one in producing]
    received = [one.result() for one in consuming]
    check(sent, [*received, rx.drain()], rx)
    assert (rx.sender_count, rx.receiver_count) == (1, 1)
