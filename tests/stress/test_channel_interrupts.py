"""Every item once and in order while Ctrl-C comes all the time, to a thread or to a loop, on each side of a channel."""

import pytest

from tests.support.leaks import in_subprocess
from tests.support.loops import LOOPS

SETUP = """
import asyncio, os, random, signal, threading, time
from itertools import repeat, starmap
from ferrule import bounded
from tests.support.channels import waiting
from tests.support.driver import LoopThread, new_loop, turns
from tests.support.processes import storm_of_interrupts
from tests.support.race import HANG, spawn

count, capacity, loop = {count}, {capacity}, {loop!r}
tx, rx = bounded(capacity)
sent, received = [], []     # None for each item that was sent; the items

def send_all():
    sent.extend(map(tx.send, range(len(sent), count)))

def receive_all():
    received.extend(starmap(rx.recv, repeat((), count - len(received))))

async def send_all_async():
    while len(sent) < count:
        sent.append(await tx.aio.send(len(sent)))

async def receive_all_async():
    while len(received) < count:
        received.append(await rx.aio.recv())

def in_thread(here, done):
    return storm_of_interrupts(here, done)[1]

def in_loop(here, done):
    # Ctrl-C cancels the main task, as asyncio.run() has it, and is raised by run(). One at a time.
    runs, ends, interrupts = threading.Event(), threading.Event(), threading.Lock()

    def interrupt():
        while not ends.is_set():
            time.sleep(random.random() / 500)
            with interrupts:
                if runs.is_set():
                    runs.clear()
                    os.kill(os.getpid(), signal.SIGINT)

    async def once():
        runs.set()
        await here()
        with interrupts:
            runs.clear()
        await turns(10)     # one on its way comes now: uvloop does not survive one between its last task and its end

    interrupted = 0
    interrupter = spawn(interrupt)
    with asyncio.Runner(loop_factory=lambda: new_loop(loop)) as runner:
        while not done():
            try:
                runner.run(once())
            except KeyboardInterrupt:
                interrupted += 1
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        ends.set()
        interrupter.result()
    return interrupted

def finish(interrupted):
    assert received == list(range(count))
    assert len(sent) == count
    assert interrupted > 0
    assert waiting(rx) == {{"senders": 0, "receivers": 0, "reserved": 0}}
    assert rx.stats()["sent"] == rx.stats()["received"] == count
"""

WAYS = {
    "an interrupted thread to a loop": ("in_thread(send_all, sent_all)", "there.spawn(receive_all_async())"),
    "a loop to an interrupted thread": ("in_thread(receive_all, received_all)", "there.spawn(send_all_async())"),
    "an interrupted loop to a thread": ("in_loop(send_all_async, sent_all)", "spawn(receive_all)"),
    "a thread to an interrupted loop": ("in_loop(receive_all_async, received_all)", "spawn(send_all)"),
    "an interrupted loop to a loop": ("in_loop(send_all_async, sent_all)", "there.spawn(receive_all_async())"),
    "a loop to an interrupted loop": ("in_loop(receive_all_async, received_all)", "there.spawn(send_all_async())"),
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("capacity", [1, 100])
@pytest.mark.parametrize("way", WAYS)
def test_a_million_items_through_interrupts(way, capacity, loop, seconds):
    here, there = WAYS[way]
    few = 20_000 if capacity == 1 else 300_000  # enough for a few interrupts
    in_subprocess(
        SETUP.format(count=1_000_000 if seconds > 1 else few, capacity=capacity, loop=loop)
        + f"""
def sent_all():
    return len(sent) == count

def received_all():
    return len(received) == count

with LoopThread(loop) as there:
    other = {there}
    interrupted = {here}
    other.result(HANG)
finish(interrupted)
""",
        timeout=900 if seconds > 1 else 90,
    )
