"""Conservation under selects: whatever ends them, each item is received exactly once, and everybody finds a partner."""

import asyncio
import collections
import contextlib
import random
import threading
import time

import pytest

from ferrule import Disconnected, Timeout, after, aio, bounded, select, tick, try_select
from tests.support.channels import channel, waiting
from tests.support.driver import LoopThread
from tests.support.loops import LOOPS
from tests.support.race import HANG, spawn

pytestmark = pytest.mark.stress

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}
CROWD = 44


@pytest.fixture
def seconds(seconds):
    """A fraction of what others take: there are many of these."""
    return seconds / 4


@pytest.mark.parametrize("loop", LOOPS)
def test_in_a_crowd_of_threads_and_tasks_at_one_rendezvous_all_pair_up(loop, seconds):
    """Each both sends and receives on the one channel: nobody stays alone, and nobody meets itself."""
    tx, rx = bounded(0)
    deadline = time.monotonic() + seconds
    rounds = 0
    with LoopThread(loop) as there:
        while rounds == 0 or time.monotonic() < deadline:
            tasks = [there.spawn(aio.select(tx.sending(n), rx, timeout=HANG)) for n in range(CROWD)]
            threads = [spawn(lambda n=n: select(tx.sending(n), rx, timeout=HANG)) for n in range(CROWD, 2 * CROWD)]
            taken = [task.result(HANG) for task in tasks] + [thread.result() for thread in threads]
            sent = [n for n, one in enumerate(taken) if one == (0, None, False)]
            received = {n: one.value for n, one in enumerate(taken) if one.index == 1}
            assert len(sent) == len(received) == CROWD
            assert sorted(received.values()) == sent
            assert all(n != item for n, item in received.items())
            assert (waiting(tx), len(rx)) == (QUIET, 0)
            rounds += 1


@pytest.mark.parametrize("loop", LOOPS)
def test_in_a_crowd_at_many_rendezvous_all_pair_up(loop, seconds, rng):
    """Each listens to some of the channels and sends on others, again and again; who gives up is one less.

    A last one takes part until all others are done, so nobody has to stay alone.
    """
    ends = [bounded(0) for _ in range(4)]
    stop = threading.Event()
    counts = collections.Counter()
    latch = threading.Lock()

    def arms(chance, name):
        chosen = [chance.choice(ends) for _ in range(chance.randrange(1, 7))]
        return [rx if chance.random() < 0.5 else tx.sending(name) for tx, rx in chosen]

    def note(given, taken):
        with latch:
            counts["sent" if not hasattr(given[taken.index], "recv") else "received"] += 1

    def thread(name):
        chance = random.Random(rng.random())
        while not stop.is_set():
            given = arms(chance, name)
            with contextlib.suppress(Timeout):
                note(given, select(*given, timeout=chance.random() * 2e-3, biased=chance.random() < 0.3))

    async def task(name):
        chance = random.Random(rng.random())
        while not stop.is_set():
            given = arms(chance, name)
            with contextlib.suppress(Timeout):
                note(given, await aio.select(*given, timeout=chance.random() * 2e-3))
            await asyncio.sleep(0)

    with LoopThread(loop) as there:
        tasks = [there.spawn(task(n)) for n in range(6)]
        threads = [spawn(thread, n) for n in range(4)]
        time.sleep(seconds)
        stop.set()
        for one in [*tasks, *threads]:
            one.result(HANG)
    left = sum(len(rx.drain()) for _, rx in ends)  # paired with one that gave up in the same moment
    assert counts["sent"] == counts["received"] + left
    assert sum(rx.stats()["sent"] for _, rx in ends) == counts["sent"]
    assert counts["received"] > 0
    assert [waiting(rx) for _, rx in ends] == [QUIET] * 4


def send_arms(ends, item, chance):
    """Arms that send the item, or reserve a slot for it, on some of the channels, in any order."""
    chosen = chance.sample(ends, chance.randrange(1, len(ends) + 1))
    return [tx.reserving() if tx.capacity and chance.random() < 0.2 else tx.sending(item) for tx, _ in chosen]


def settle_sent(taken, item):
    if taken.value is not None:  # a permit
        taken.value.send(item)


def sending(ends, producer, stop, chance):
    sent, number = [], 0
    while not stop.is_set():
        item = producer, number
        arms = send_arms(ends, item, chance)
        try:
            if chance.random() < 0.3:
                taken = try_select(*arms)
            else:
                taken = select(*arms, timeout=chance.choice([None, chance.random() * 1e-3]))
        except Timeout:
            taken = None
        if taken is not None:
            settle_sent(taken, item)
            sent.append(item)
        number += 1
    return sent


def receiving(ends, chance):
    """Until all of them are closed, which a closed arm says that was asked alone."""
    open_ends, received = [rx for _, rx in ends], []
    ticker = tick(0.0005)
    while open_ends:
        arms = chance.sample(open_ends, chance.randrange(1, len(open_ends) + 1))
        try:
            taken = select(*arms, ticker, timeout=chance.choice([None, chance.random() * 1e-3]))
        except Timeout:
            continue
        if taken.index == len(arms):
            continue
        if taken.closed:
            open_ends.remove(arms[taken.index])
        else:
            received.append(taken.value)
    return received


async def sending_task(ends, producer, stop, chance):
    """Selects that are cancelled now and then. (What it has sent, what it may have sent.)"""
    sent, maybe, number = [], [], 0
    while not stop.is_set():
        item = producer, number
        number += 1
        timeout = chance.choice([None, 1e-3])
        # Without permits: one that was given to a task that is then cancelled is collected unused, with a warning.
        arms = [tx.sending(item) for tx, _ in chance.sample(ends, chance.randrange(1, len(ends) + 1))]
        task = asyncio.ensure_future(aio.select(*arms, timeout=timeout))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
            task.cancel()
        try:
            await task
        except Timeout:
            pass
        except asyncio.CancelledError:
            maybe.append(item)
        else:
            sent.append(item)
        if number % 10 == 0:
            await asyncio.sleep(0)
    return sent, maybe


async def receiving_task(ends, chance):
    open_ends, received = [rx for _, rx in ends], []
    while open_ends:
        arms = chance.sample(open_ends, chance.randrange(1, len(open_ends) + 1))
        task = asyncio.ensure_future(aio.select(*arms, aio.after(chance.random() * 1e-3)))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
            task.cancel()
        try:
            taken = await task
        except asyncio.CancelledError:
            continue
        if taken.index == len(arms):
            continue
        if taken.closed:
            open_ends.remove(arms[taken.index])
        else:
            received.append(taken.value)
    return received


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("capacities", [(0, 0, 0), (1, 2, 3), (0, 1, None)])
def test_threads_and_cancelled_tasks(capacities, loop, seconds, rng):
    ends = [channel(capacity) for capacity in capacities]
    stop = threading.Event()

    def chance():
        return random.Random(rng.random())

    with LoopThread(loop) as here, LoopThread(loop) as there:
        tasks = [one.spawn(sending_task(ends, n, stop, chance())) for n, one in enumerate((here, there))]
        threads = [spawn(sending, ends, n, stop, chance()) for n in (2, 3)]
        consuming = [there.spawn(receiving_task(ends, chance())), here.spawn(receiving_task(ends, chance()))]
        receivers = [spawn(receiving, ends, chance()) for _ in range(2)]
        time.sleep(seconds)
        stop.set()
        results = [task.result(HANG) for task in tasks]
        sent = [thread.result() for thread in threads] + [mine for mine, _ in results]
        for tx, _ in ends:
            tx.close()
        received = [one.result(HANG) for one in [*consuming, *receivers]]
    counted = collections.Counter(item for items in received for item in items)
    assert set(counted.values()) <= {1}
    certain = {item for items in sent for item in items}
    # A send that was cancelled may have taken effect only where its item was taken out of its hands.
    assert certain <= counted.keys()
    extra = counted.keys() - certain
    assert extra <= {item for _, maybe in results for item in maybe}
    assert not extra or 0 in capacities
    assert [waiting(rx) for _, rx in ends] == [QUIET] * 3
    assert all(rx.stats()["sent"] == rx.stats()["received"] for _, rx in ends)


def test_ends_that_close_while_selects_wait_at_them(seconds, rng):
    """Each select ends, with an item or a closed arm; an item is sent to exactly one, or is given back."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ends = [channel(rng.choice([0, 1])) for _ in range(3)]
        chance = random.Random(rng.random())

        def take(arms, biased):
            return select(*arms, timeout=HANG, biased=biased)

        threads = [spawn(take, [rx.clone() for _, rx in ends], chance.random() < 0.5) for _ in range(2)]
        threads += [spawn(take, [tx.clone().sending(n) for tx, _ in ends], False) for n in range(2)]
        for tx, rx in ends:
            chance.choice([tx.close, rx.close, rx.close_channel, tx.clone().close])()
        for tx, _ in ends:
            tx.close_channel()
        taken = [thread.result() for thread in threads]
        received = [one.value for one in taken[:2] if not one.closed]
        with contextlib.suppress(Disconnected):
            for _, rx in ends:
                received += rx.drain()
        sent = [n for n, one in enumerate(taken[2:]) if not one.closed]
        assert set(received) <= set(sent)
        assert all(one.value == n for n, one in enumerate(taken[2:]) if one.closed)
        assert [waiting(rx) for _, rx in ends] == [QUIET] * 3


def test_timers_among_many(seconds):
    """Of a timer's one message exactly one of those that wait for it has the effect."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        timer = after(0.002)
        ends = [bounded(0) for _ in range(3)]
        threads = [spawn(lambda rx=rx, timer=timer: select(timer, rx, timeout=HANG)) for _, rx in ends]
        while sum(thread.alive for thread in threads) > 2:
            time.sleep(0.0005)
        for tx, _ in ends:
            tx.close()
        assert sorted(thread.result().index for thread in threads) == [0, 1, 1]
