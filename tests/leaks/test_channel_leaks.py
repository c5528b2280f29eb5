"""References, objects and memory come back to the start after every kind of call on a channel, also one that raises."""

from pathlib import Path

import pytest

from tests.support.leaks import assert_few_objects_left, assert_no_leak, in_subprocess
from tests.support.settings import FREE_THREADED

SETUP = """
import asyncio, gc, warnings, weakref
from ferrule import Disconnected, Empty, Full, Timeout, WeakSender, aio, bounded, unbounded
from tests.support.driver import Stepper, complete, new_loop, turns
from tests.support.race import eventually, raises, spawn

warnings.simplefilter("ignore")
item, other, default = object(), object(), object()
tx, rx = unbounded()
stx, srx = tx.aio, rx.aio
full, of_full = bounded(1)
full.send(item)
meeting, of_meeting = bounded(0)
slots, of_slots = bounded(3)
closed, of_closed = bounded(2)
of_closed.close()
ended, of_ended = bounded(2)
ended.close()
loop = new_loop("asyncio")
error = KeyError("mine")

def items_that_raise():
    yield item
    raise error

def driven(coroutine):
    # What it gives; now and then it lets the loop run before.
    while True:
        try:
            assert coroutine.send(None) is None
        except StopIteration as stop:
            return stop.value
"""

WATCH = ["item", "other", "default", "tx", "rx", "stx", "srx", "full", "of_full", "meeting", "slots", "closed", "error"]

CALLS = {
    "new channels": """
        bounded(0); bounded(5); unbounded(); aio.bounded(1); aio.unbounded(); bounded[int](1)
        raises(ValueError, bounded, -1); raises(TypeError, bounded, "1"); raises(TypeError, unbounded, item)
        a, b = bounded(2); a.send(item); a.send(other)
        a, b = unbounded(); a.send_many([item] * 100); b.close()
        a, b = unbounded(); a.send_many([item] * 100); del b
        a, b = unbounded(); a.send_many([item] * 100); a.close_channel(); list(b)
    """,
    "sends and receives": """
        tx.send(item); tx.send(other, timeout=1); tx.try_send(item); tx.force_send(other)
        rx.recv(); rx.recv(timeout=0); rx.try_recv(); rx.try_recv(default); rx.try_recv(default)
        tx.send_many([item, other] * 20); rx.recv_many(7); rx.recv_many(100, timeout=1)
        tx.send_many((item, other)); next(rx); rx.drain(); rx.drain(); list(rx.try_iter())
        full.force_send(other); full.force_send(item, default)
        for _ in range(40): tx.send(item)
        for _ in range(40): rx.recv()
    """,
    "ends": """
        tx.clone(); rx.clone(); tx.new_receiver(); tx.new_sender(); rx.new_receiver(); rx.new_sender(); stx.clone().sync
        with tx.clone() as a, rx.clone() as b: a.send(item); b.recv()
        try:
            with tx.clone(): raise error
        except KeyError as caught:
            caught.__traceback__ = None
        weak = tx.downgrade(); weak.upgrade(); weak.upgrade().send(item); rx.recv(); WeakSender[int]
        raises(Disconnected, closed.new_receiver); raises(Disconnected, of_ended.new_sender)
        raises(Disconnected, of_closed.clone); ended.downgrade().upgrade()
        complete(stx.__aenter__()); complete(stx.clone().__aexit__(None, None, None))
    """,
    "permits": """
        slots.reserve().send(item); of_slots.recv(); slots.reserve().release(); slots.reserve()
        with slots.reserve() as p: p.send(other)
        of_slots.drain()
        with slots.reserve() as p: pass
        raises(RuntimeError, p.send, item); raises(RuntimeError, p.release)
        p, q, r = slots.reserve(), slots.reserve(), slots.reserve()
        raises(Full, slots.force_send, item); raises(Timeout, slots.reserve, timeout=0)
        p.release(); q.send(item); r.send(other); of_slots.drain(); raises(ValueError, meeting.reserve)
        a, b = bounded(1); p = a.reserve(); b.close(); raises(Disconnected, p.send, item)
        complete(slots.aio.reserve()).release()
    """,
    "refusals": """
        for call in (full.try_send, meeting.try_send, meeting.force_send): raises(Full, call, other)
        raises(Timeout, full.send, other, timeout=0); raises(Timeout, full.send, other, timeout=1e-6)
        raises(Timeout, full.send_many, [other, item], timeout=0); raises(Timeout, full.reserve, timeout=1e-6)
        raises(Timeout, full.send_many, iter([other, item]), timeout=1e-6)
        raises(Timeout, meeting.send, other, timeout=1e-6); raises(Timeout, of_meeting.recv, timeout=1e-6)
        raises(Empty, rx.try_recv); raises(Timeout, rx.recv, timeout=0); raises(Timeout, rx.recv_many, 5, timeout=1e-6)
        for call in (closed.send, closed.try_send, closed.force_send): raises(Disconnected, call, other)
        raises(Disconnected, closed.send_many, [other]); raises(Disconnected, closed.reserve)
        for call in (of_ended.recv, of_ended.try_recv, of_closed.drain): raises(Disconnected, call)
        raises(Disconnected, of_ended.recv_many, 3); raises(StopIteration, next, of_ended); list(of_ended)
        for bad in (-2, float("nan"), "x", object):
            raises((ValueError, TypeError), tx.send, item, timeout=bad)
            raises((ValueError, TypeError), rx.recv, timeout=bad)
            raises((ValueError, TypeError), tx.send_many, [item], timeout=bad)
            raises((ValueError, TypeError), slots.reserve, timeout=bad)
            raises((ValueError, TypeError), rx.recv_many, bad)
            raises((ValueError, TypeError), srx.recv, timeout=bad); raises((ValueError, TypeError), srx.recv_many, bad)
            raises((ValueError, TypeError), stx.send, item, timeout=bad)
            raises((ValueError, TypeError), stx.send_many, [item], timeout=bad)
        raises(TypeError, tx.send_many, None); raises(TypeError, stx.send_many, item)
        raises(KeyError, tx.send_many, items_that_raise())
        raises(KeyError, complete, stx.send_many(items_that_raise()))
        error.__traceback__ = None
        rx.drain(); raises(TypeError, tx.same_channel, item); raises(TypeError, tx.__reduce__)
    """,
    "reading": """
        repr(tx); repr(srx); hash(tx); tx == stx.sync; tx == rx; len(tx); bool(rx); tx.stats(); tx._state(); tx.capacity
        tx.is_closed; tx.is_disconnected; tx.is_empty; full.is_full; tx.sender_count; rx.receiver_count; srx.sync
        tx.same_channel(srx); weakref.ref(tx); weakref.ref(tx.downgrade()); tx.try_send(item); rx.try_iter(); rx.drain()
    """,
    "coroutines": """
        complete(stx.send(item)); complete(srx.recv()); complete(stx.send_many([item, other]))
        driven(srx.recv_many(5)); complete(stx.send(other)); driven(srx.__anext__())
        stx.send(item); stx.send_many([item]); stx.reserve(); srx.recv(); srx.recv_many(3); srx.__anext__()
        stx.send(item).close(); srx.recv().close(); raises(KeyError, stx.send(item).throw, error)
        raises(KeyError, srx.recv_many(2).throw, error); raises(KeyError, stx.send_many(iter([item])).throw, error)
        error.__traceback__ = None
        c = stx.send(item); complete(c); raises(RuntimeError, c.send, None); rx.drain()
        raises(Timeout, complete, full.aio.send(other, timeout=0))
        raises(Timeout, complete, full.aio.send_many([other], timeout=0))
        raises(Timeout, complete, srx.recv(timeout=0)); raises(Disconnected, complete, of_ended.aio.recv())
        for call in (closed.aio.send(other), closed.aio.send_many([other])): raises(Disconnected, complete, call)
        raises(StopAsyncIteration, complete, of_ended.aio.__anext__())
    """,
    "threads that wait": """
        waits = spawn(lambda: full.send(other, timeout=20))
        eventually(lambda: full._state()["senders"])
        of_full.recv(); waits.result(); of_full.recv(); full.send(item)
        waits = spawn(lambda: full.reserve(timeout=20).send(item))
        eventually(lambda: full._state()["senders"])
        of_full.recv(); waits.result()
        waits = spawn(lambda: rx.recv_many(3, timeout=20))
        eventually(lambda: rx._state()["receivers"])
        tx.send(item); waits.result()
        waits = spawn(lambda: meeting.send_many([item, other], timeout=20))
        of_meeting.recv(timeout=20); of_meeting.recv(timeout=20); waits.result()
        a, b = bounded(0)
        waits = spawn(lambda: raises(Disconnected, a.send, item))
        eventually(lambda: a._state()["senders"])
        b.close(); waits.result()
    """,
    "tasks that wait": """
        async def send(end, *items):
            await end.aio.send_many(items)
        async def receive(end, count):
            for _ in range(count):
                await end.aio.recv(timeout=20)
        async def main():
            await asyncio.gather(send(meeting, item, other), receive(of_meeting, 3), send(meeting, item))
            await asyncio.gather(send(full, other, item), receive(of_full, 2))
            async with tx.aio.clone() as mine:
                await mine.send(item)
            async for received in srx:
                break
            first, second = Stepper(srx.recv()), Stepper(srx.recv_many(3))
            first.step()
            second.step()
            tx.send(item)
            await first.woken()
            first.cancel()
            first.step()
            await second.finish()
        loop.run_until_complete(main())
    """,
    "tasks that give up": """
        async def main():
            for wait in (
                full.aio.send(other, timeout=1e-6), full.aio.send_many([other], timeout=1e-6),
                full.aio.reserve(timeout=1e-6), srx.recv(timeout=1e-6), srx.recv_many(3, timeout=1e-6),
                meeting.aio.send(other, timeout=1e-6), asyncio.wait_for(srx.recv(), 0),
                asyncio.wait_for(full.aio.send(other), 0),
            ):
                try:
                    await wait
                except TimeoutError:
                    pass
            waits = srx.recv(), full.aio.send(other), full.aio.send_many([other, item]), meeting.aio.send(other)
            tasks = [asyncio.ensure_future(wait) for wait in waits]
            await turns()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for wait in (srx.recv(), full.aio.send(other), full.aio.reserve(), meeting.aio.send(other)):
                stepper = Stepper(wait)
                stepper.step()
                stepper.close()
        loop.run_until_complete(main())
    """,
}


@pytest.mark.parametrize("calls", CALLS)
def test_everything_comes_back(calls):
    assert_no_leak(CALLS[calls], setup=SETUP, watch=WATCH, repeats=2_000)


@pytest.mark.parametrize(
    "code",
    [
        "tx.send(item); rx.recv()",
        "tx.send(object()); rx.recv_many(5)",
        "full.force_send(item)",
        "slots.reserve().release()",
        "complete(stx.send(item)); complete(srx.recv())",
        "rx.try_recv(default)",
    ],
)
def test_memory_is_flat_over_a_hundred_thousand_calls(code):
    assert_no_leak(code, setup=SETUP, watch=WATCH, repeats=100_000)


CYCLES = {
    "both ends": "tx.send((tx, rx))",
    "an end each": "tx.send(tx); tx.send(rx)",
    "async faces": "tx.send(tx.aio); tx.send(rx.aio)",
    "bound methods": "tx.send(rx.recv); tx.send(tx.send)",
    "clones": "tx.send(tx.clone()); tx.send(rx.clone())",
    "closed ends": "a, b = tx.clone(), rx.clone(); a.close(); b.close(); tx.send((a, b, tx, rx))",
    "a closed channel": "tx.send((tx, rx)); tx.close_channel()",
    "a weak sender": "tx.send((tx.downgrade(), rx))",
    "an iterator": "tx.send(rx.try_iter())",
    "a permit": "tx.send((tx.reserve(), rx))",
    "a spent permit": "p = tx.reserve(); p.send((p, rx))",
    "a generic alias and an error": "e = error_of(tx, rx); tx.send(e)",
    "a coroutine that receives": "tx.send((tx, rx.aio.recv()))",
    "a coroutine that receives many": "tx.send((tx, rx.aio.recv_many(5)))",
    "a coroutine that iterates": "tx.send((tx, anext(rx.aio)))",
    "a coroutine and its item": "c = tx.aio.send([rx]); tx.send(c)",
    "a coroutine and its items": "c = tx.aio.send_many([rx, tx]); tx.send((c, rx))",
    "a coroutine that reserves": "tx.send((tx.aio.reserve(), rx))",
    "coroutines of a block": "tx.send((tx.aio.__aenter__(), rx.aio.__aenter__(), tx.aio.__aexit__(None, None, None)))",
    "a coroutine's item that is the coroutine": "i = []; c = tx.aio.send(i); i.append(c)",
    "a list that is sent and its channel": "i = [tx, rx]; i.append(i); tx.send(i)",
    "another channel": "a, b = unbounded(); tx.send((a, b)); a.send((tx, rx))",
    "many blocks": "tx.send_many([(tx, rx)] * 1000 + [(rx, tx)] * 1000)",
}


@pytest.mark.parametrize("cycle", CYCLES)
def test_the_collector_takes_a_cycle_through(cycle):
    assert_no_leak(
        f"""
        tx, rx = unbounded()
        {CYCLES[cycle]}
        """,
        setup="""
        import gc, warnings
        from ferrule import Disconnected, bounded, unbounded
        warnings.simplefilter("ignore")

        def error_of(tx, rx):
            other, end = bounded(1)
            end.close()
            try:
                other.send((tx, rx, end))
            except Disconnected as error:
                return error
        """,
        repeats=300,
    )


COUNT = """
import sys
from ferrule import bounded, unbounded

def blocks():
    # Python counts each block of a queue, and nothing else of what is sent here: it is always the same object.
    return sys.getallocatedblocks()

tx, rx = unbounded()
item = object()
COUNT = 1_000_000
"""

BURSTS = {
    "recv": "for _ in range(COUNT): rx.recv()",
    "try_recv": "while rx.try_recv(None) is not None: pass",
    "iteration": "for _ in rx.try_iter(): pass",
    "recv_many": "while len(rx): rx.recv_many(1000)",
    "drain": "rx.drain()",
    "a task": "complete(take())",
    "the close of the last receiver": "rx.close()",
    "the end of both ends": "del tx, rx",
}


@pytest.mark.parametrize("sends", ["for _ in range(COUNT): tx.send(item)", "tx.send_many(item for _ in range(COUNT))"])
@pytest.mark.parametrize("receives", BURSTS)
def test_a_burst_of_a_million_items_leaves_no_memory_behind(receives, sends):
    """The queue of a burst has about two thousand blocks of 4 KiB; at most two stay."""
    in_subprocess(f"""{COUNT}
from tests.support.driver import complete

async def take():
    while len(rx):
        await rx.aio.recv()

def burst():
    {sends}

def receive():
    global tx, rx
    {BURSTS[receives]}

tx.send(item)
rx.recv()
before = blocks()
burst()
assert len(rx) == COUNT
assert blocks() - before > 1900, blocks() - before
receive()
assert blocks() - before < 50, blocks() - before
""")


def test_bursts_of_any_length_leave_no_memory_behind():
    """With a few items that stay in the queue all the time."""
    in_subprocess(f"""{COUNT}
import random
choose = random.Random(1)
tx.send_many([item] * 3)
for round in range(300):
    count = choose.randrange(5000)
    tx.send_many([item] * count)
    for _ in range(count):
        rx.recv()
    assert len(rx) == 3
    if round == 20:
        before = blocks()
assert blocks() - before < 20, blocks() - before
""")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this platform does not tell resident sizes there")
@pytest.mark.skipif(FREE_THREADED, reason="without the GIL the interpreter's allocator keeps what was given back to it")
def test_a_burst_gives_its_memory_back_to_the_system():
    """Of what a million items take at least three quarters. Nothing is allocated between that would be in the way."""
    in_subprocess(f"""{COUNT}
import mmap, os
statm = os.open("/proc/self/statm", os.O_RDONLY)

def resident():
    return int(os.pread(statm, 100, 0).split()[1]) * mmap.PAGESIZE

def burst(send, recv):
    for _ in range(COUNT):
        send(item)
    most = resident()
    for _ in range(COUNT):
        recv()
    return most

resident()
before = resident()
most = burst(tx.send, rx.recv)
after = resident()
assert most - before > 6_000_000, (before, most)
assert after - before < (most - before) // 4, (before, most, after)
""")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="this platform does not tell resident sizes there")
def test_the_resident_size_does_not_grow_from_burst_to_burst():
    """Whether the C library gives what it has back to the system is its affair; that it can use it again is not."""
    in_subprocess(f"""{COUNT}
import mmap
from pathlib import Path

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE

def burst():
    for _ in range(COUNT):
        tx.send(item)
    most = resident()
    for _ in range(COUNT):
        rx.recv()
    return most

before = resident()
first = burst() - before
assert first > 6_000_000, "eight bytes an item are seen"
last = [burst() for _ in range(9)][-1] - before
assert last < 3 * first, (before, first, last)
""")


@pytest.mark.parametrize("length", [1, 14, 15, 100, 1000])
def test_a_queue_of_steady_length_allocates_nothing(length):
    in_subprocess(f"""{COUNT}
tx.send_many([item] * {length})

def turn():
    for _ in range(3000):
        tx.send(item)
        rx.recv()

turn()
before = blocks()
for _ in range(20):
    turn()
    assert abs(blocks() - before) < 10, blocks() - before
assert len(rx) == {length}
""")


LONG_QUEUES = {
    "senders": "waits = [full.aio.send(item) for _ in range(5000)]",
    "receivers": "waits = [rx.aio.recv() for _ in range(5000)]",
    "senders of a rendezvous": "waits = [meeting.aio.send(item) for _ in range(5000)]",
}


@pytest.mark.parametrize("end", ["cancelled", "closed", "with the loop"])
@pytest.mark.parametrize("who", LONG_QUEUES)
def test_a_long_queue_leaves_nothing(who, end):
    assert_few_objects_left(f"""{SETUP}
def once():
    full, of_full = bounded(1)
    full.send(item)
    meeting, of_meeting = bounded(0)
    tx, rx = unbounded()
    there = new_loop("asyncio")
    there.set_exception_handler(lambda loop, context: None)

    async def main():
        {LONG_QUEUES[who]}
        tasks = [there.create_task(wait) for wait in waits]
        await turns()
        assert sum(sum(end._state().values()) for end in (full, meeting, tx)) == 5000
        if {end!r} == "cancelled":
            for task in tasks:
                task.cancel()
        elif {end!r} == "closed":
            full.close_channel()
            meeting.close_channel()
            tx.close_channel()
        if {end!r} != "with the loop":
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(outcome, asyncio.CancelledError if {end!r} == "cancelled" else Disconnected)
            assert sum(sum(end._state().values()) for end in (full, meeting, tx)) == 0

    there.run_until_complete(main())
    there.close()
    if {end!r} == "with the loop":
        for end in (full, meeting, tx):
            end.close_channel()
            assert sum(end._state().values()) == 0
""")
