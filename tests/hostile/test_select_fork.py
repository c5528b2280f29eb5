"""Forks while others select, and in a task that does; timers in a child; interpreters that end meanwhile."""

import os

import pytest

from tests.support.leaks import in_subprocess

SETUP = """
import asyncio, sys, threading, time, warnings
from ferrule import Timeout, after, aio, bounded, never, select, tick, try_select
from tests.support.channels import channel, waiting
from tests.support.processes import in_child
from tests.support.race import HANG, eventually, outcome, spawn

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what is tested
QUIET = {"senders": 0, "receivers": 0, "reserved": 0}

def workload(*ends):
    # Threads and tasks of a new loop over these channels, in which nothing is.
    assert all((len(rx), waiting(rx)) == (0, QUIET) for _, rx in ends)

    def send(name):
        for n in range(60):
            select(*(tx.sending((name, n)) for tx, _ in ends), timeout=HANG)

    async def receive():
        return [(await aio.select(*(rx for _, rx in ends), timeout=HANG)).value for _ in range(120)]

    sending = [spawn(send, "a"), spawn(send, "b")]
    received = spawn(lambda: asyncio.run(receive())).result()
    for one in sending:
        one.result()
    assert sorted(received) == [(name, n) for name in "ab" for n in range(60)]
    assert all((len(rx), waiting(rx)) == (0, QUIET) for _, rx in ends)
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")


def run(code, **named):
    return in_subprocess(SETUP + code, timeout=150, **named)


@pytest.mark.parametrize("capacities", [(0, 0), (1, 3), (0, 1)])
def test_the_child_begins_anew(capacities):
    """Those who wait in the parent are not there in the child, and wait on in the parent."""
    run(f"""
ends = [channel(capacity) for capacity in {capacities}]
rxs = [rx for _, rx in ends]
threads = [spawn(lambda: select(*rxs, never(), timeout=HANG)) for _ in range(3)]
eventually(lambda: [waiting(rx)["receivers"] for rx in rxs] == [3, 3])
in_child(lambda: workload(*ends))
assert [waiting(rx)["receivers"] for rx in rxs] == [3, 3]
for n in range(3):
    ends[n % 2][0].send(n, timeout=HANG)
assert sorted(thread.result().value for thread in threads) == [0, 1, 2]
workload(*ends)
""")


def test_while_selects_hammer():
    run("""
ends = [channel(capacity) for capacity in (0, 1, 2)]
stop = []

def hammer(n):
    while not stop:
        for tx, rx in ends:
            outcome(lambda: select(tx.sending(n), *(rx for _, rx in ends), timeout=0.001), Timeout)()

threads = [spawn(hammer, n) for n in range(8)]

def work():
    for _, rx in ends:
        rx.drain()
    workload(*ends)

for _ in range(5):
    in_child(work)
stop.append(1)
for thread in threads:
    thread.result()
for _, rx in ends:
    rx.drain()
workload(*ends)
""")


@pytest.mark.parametrize("claimed", [False, True])
@pytest.mark.parametrize("end", ["stepper.close()", "del stepper", "stepper.throw(KeyError())"])
def test_a_task_that_waits_is_in_no_queue_of_the_child(claimed, end):
    """There it can only end; what it may have been claimed for is another's. In the parent it goes on."""
    run(f"""
from tests.support.driver import HandLoop, Stepper

(tx, rx), (_, other) = bounded(1), bounded(1)
loop = HandLoop()
stepper = Stepper(aio.select(other, rx, other))
with loop.running():
    stepper.step()
if {claimed}:
    tx.send("item")

def work():
    global stepper
    assert waiting(rx) == QUIET
    {end}
    stepper = None
    assert waiting(rx) == waiting(other) == QUIET
    assert rx.try_recv(None) == ("item" if {claimed} else None)
    workload((tx, rx))

in_child(work)
if not {claimed}:
    assert (waiting(rx)["receivers"], waiting(other)["receivers"]) == (1, 2)
    tx.send("item")
loop.turn()
with loop.running():
    stepper.step()
assert stepper.result() == (1, "item", False)
assert waiting(rx) == waiting(other) == QUIET
""")


def test_timers_go_on_in_the_child():
    run("""
timer, ticker, early = after(0.05), tick(0.01), after(0)
def work():
    assert early.recv() < time.monotonic()
    assert timer.recv(timeout=HANG) <= time.monotonic()
    assert [select(ticker, never(), timeout=HANG).index for _ in range(3)] == [0, 0, 0]
    async def tasks():
        assert (await aio.select(ticker, aio.never())).index == 0
        assert await aio.after(0.001).recv() <= time.monotonic()
    asyncio.run(tasks())

in_child(work)
in_child(lambda: in_child(work))
work()
""")


def test_a_fork_while_threads_and_tasks_wait_for_timers():
    """In the child they are gone, and the same timers serve others; in the parent they wait on."""
    run("""
timers = [after(0.1), tick(0.1), after(HANG)]
tx, rx = bounded(0)

def wait():
    return select(*timers, rx, timeout=HANG)

async def main():
    tasks = [asyncio.ensure_future(aio.select(*timers, rx, timeout=HANG)) for _ in range(2)]
    await asyncio.sleep(0)
    eventually(lambda: waiting(rx)["receivers"] == 4)
    before = [waiting(timer)["receivers"] for timer in timers]
    in_child(child)
    assert before == [4] * 3
    assert waiting(timers[2])["receivers"] in (2, 3, 4)  # the others may have come meanwhile
    taken = await asyncio.gather(*tasks)
    return [*taken, *[thread.result() for thread in threads]]

def child():
    assert [waiting(timer) for timer in timers] == [QUIET] * 3
    assert select(*timers[:2], timeout=HANG).index in (0, 1)
    assert asyncio.run(in_tasks()) in (0, 1)
    workload((tx, rx))

async def in_tasks():
    return (await aio.select(*timers[:2], timeout=HANG)).index

threads = [spawn(wait) for _ in range(2)]
taken = asyncio.run(main())
assert sorted(one.index for one in taken).count(0) == 1
assert {one.index for one in taken} == {0, 1}
assert [waiting(timer) for timer in timers] == [QUIET] * 3
""")


def test_an_interpreter_ends_while_daemons_select():
    ended = run("""
ends = [channel(capacity) for capacity in (0, 1)]
full, _ = bounded(1)
full.send(1)
for n in range(5):
    threading.Thread(
        target=lambda: select(*(rx for _, rx in ends), full.sending(n), tick(HANG)), daemon=True
    ).start()
eventually(lambda: waiting(ends[0][1])["receivers"] == 5)
print("end")
""")
    assert (ended.stdout, ended.stderr) == ("end\n", "")


def test_an_interpreter_ends_with_arms_timers_and_selects_in_module_globals():
    """Destructors that select run while modules are torn down, and nothing is said but what never was awaited."""
    ended = run("""
class Item:
    def __del__(self):
        try_select(tx.sending(1), rx, full.sending(2), timer)

(tx, rx), (full, of_full), timer = bounded(0), bounded(1), after(0)
full.send(Item())
arm = full.sending(Item())
result = select(never(), full.reserving(), of_full, biased=True)
full.send(Item())
loop = asyncio.new_event_loop()

async def main():
    task = asyncio.ensure_future(aio.select(full.sending(Item()), rx, tick(HANG)))
    await asyncio.sleep(0)
    return task

task = loop.run_until_complete(main())
task._log_destroy_pending = False
loop.close()
print("end")
""")
    assert (ended.stdout, ended.stderr) == ("end\n", "")
