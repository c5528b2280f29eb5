"""References, objects and memory come back to the start after every kind of select and timer; cycles are collected."""

import pytest

from tests.support.leaks import assert_few_objects_left, assert_no_leak

SETUP = """
import asyncio, gc, time, warnings
from ferrule import Disconnected, Timeout, after, aio, at, bounded, never, select, tick, try_select, unbounded
from tests.support.driver import HandLoop, Stepper, complete, new_loop, turns
from tests.support.race import eventually, raises, spawn

warnings.simplefilter("ignore")
item, other = object(), object()
tx, rx = unbounded()
full, of_full = bounded(1)
full.send(item)
meeting, of_meeting = bounded(0)
slots, of_slots = bounded(3)
empty, of_empty = bounded(1)
closed, of_closed = bounded(2)
of_closed.close()
loop = new_loop("asyncio")
idle = never()
"""

WATCH = ["item", "other", "tx", "rx", "full", "of_full", "meeting", "of_meeting", "slots", "of_empty", "closed", "idle"]

CALLS = {
    "what is ready": """
        select(tx.sending(item)); select(rx); try_select(tx.aio.sending(other), idle); select(idle, rx.aio, biased=True)
        select(slots.reserving()).value.release(); select(idle, slots.reserving()).value.send(item); of_slots.drain()
        select(slots.reserving(), slots.reserving()); select(closed.sending(item), idle); select(closed.reserving())
        try_select(of_empty, full.sending(item), idle, full.reserving()); try_select()
        select(*[of_empty] * 300, tx.sending(item)); rx.recv(); repr(tx.sending(item)); tx.reserving()
    """,
    "refusals": """
        raises(Timeout, select, full.sending(item), of_empty, timeout=0)
        raises(Timeout, select, full.sending(item), full.sending(other), full.reserving(), of_empty, timeout=1e-6)
        raises(Timeout, select, meeting.sending(item), of_meeting, timeout=1e-6); raises(Timeout, select, timeout=1e-6)
        raises(TypeError, select, item); raises(TypeError, select, of_empty, full.reserving(), other)
        raises(ValueError, select); raises(ValueError, meeting.reserving); raises(TypeError, select, rx, timeout=item)
        raises(TypeError, aio.select, item); raises(ValueError, aio.select); raises(TypeError, tx.sending)
        raises(TypeError, tx.sending(item).__reduce__)
    """,
    "timers": """
        after(0).recv(); at(0).recv(); tick(9).try_recv(None); never().try_recv(None); at(5).drain(); next(at(0.5))
        select(after(9), at(1), never()); raises(Timeout, after(9).recv, timeout=1e-6); after(1e-5).recv()
        raises(ValueError, after, -1); raises(TypeError, at, item); raises(ValueError, tick, 0); aio.after(1)
        aio.tick(1)
        timer = tick(1e-5); timer.recv(); select(timer, idle); timer.aio.sync.close(); repr(timer); timer.stats()
        complete(aio.at(0).recv()); complete(aio.select(aio.at(0)))
    """,
    "coroutines": """
        complete(aio.select(tx.sending(item), idle)); complete(aio.select(rx)); aio.select(rx, tx.sending(item))
        aio.select(rx).close(); raises(KeyError, aio.select(tx.sending(item), slots.reserving()).throw, KeyError())
        raises(Timeout, complete, aio.select(full.sending(item), full.reserving(), timeout=0))
        c = aio.select(tx.sending(item)); complete(c); raises(RuntimeError, c.send, None); rx.recv()
        complete(aio.select(slots.reserving())).value.release(); complete(aio.select(closed.sending(item)))
    """,
    "threads that wait": """
        waits = spawn(lambda: select(of_empty, full.sending(other), timeout=20))
        eventually(lambda: full._state()["senders"])
        of_full.recv(); waits.result(); of_full.recv(); full.send(item)
        waits = spawn(lambda: select(of_empty, full.reserving(), of_empty, timeout=20).value.send(item))
        eventually(lambda: full._state()["senders"])
        of_full.recv(); waits.result()
        waits = spawn(lambda: select(meeting.sending(item), of_meeting, timeout=20))
        select(meeting.sending(other), of_meeting, timeout=20); waits.result()
    """,
    "tasks that wait": """
        async def main():
            await asyncio.gather(*(aio.select(meeting.sending(other), of_meeting, idle) for _ in range(4)))
            task = asyncio.ensure_future(aio.select(of_empty, full.sending(other), timeout=20))
            await turns()
            of_full.recv(); await task; of_full.recv(); full.send(item)
            await aio.select(idle, aio.after(1e-5)); await aio.after(1e-5).recv(timeout=20)
            first, second = Stepper(aio.select(idle, rx)), Stepper(aio.select(rx, idle, rx))
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
                aio.select(full.sending(other), of_empty, timeout=1e-6),
                aio.select(after(9), full.reserving(), timeout=0),
                asyncio.wait_for(aio.select(idle, of_empty, of_empty), 0), aio.never().recv(timeout=1e-6),
            ):
                try:
                    await wait
                except TimeoutError:
                    pass
            waits = aio.select(idle, of_empty), aio.select(full.sending(other), after(9)), aio.after(9).recv()
            tasks = [asyncio.ensure_future(wait) for wait in waits]
            await turns()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for wait in (aio.select(idle, of_empty), aio.select(idle, full.reserving()), aio.select(of_meeting, idle)):
                stepper = Stepper(wait)
                stepper.step()
                stepper.close()
        loop.run_until_complete(main())
    """,
    "loops that are closed": """
        for claims in False, True:
            closing = HandLoop()
            stepper = Stepper(aio.select(idle, rx, of_empty, rx))
            with closing.running():
                stepper.step()
            if claims:
                tx.send(item)
            closing.close()
            stepper.close()
            rx.drain()
    """,
}


@pytest.mark.parametrize("calls", CALLS)
def test_everything_comes_back(calls):
    assert_no_leak(CALLS[calls], setup=SETUP, watch=WATCH, repeats=1_000)


@pytest.mark.parametrize(
    "code",
    [
        "select(tx.sending(item), idle); select(rx, idle)",
        "try_select(of_empty, full.sending(item))",
        "select(slots.reserving()).value.release()",
        "after(0).recv(); at(0).recv()",
        "complete(aio.select(tx.sending(item))); complete(aio.select(rx, idle))",
    ],
)
def test_memory_is_flat_over_many_calls(code):
    assert_no_leak(code, setup=SETUP, watch=WATCH, repeats=50_000)


@pytest.mark.parametrize("make", ["after(9)", "tick(9).aio"])
def test_fifty_thousand_timers_that_are_made_and_dropped(make):
    """Nothing of the process runs for them."""
    assert_few_objects_left(f"""
import sys, threading
from ferrule import after, tick

def once():
    threads, blocks = threading.active_count(), sys.getallocatedblocks()
    timers = [{make} for _ in range(50_000)]
    assert threading.active_count() == threads
    del timers
    assert sys.getallocatedblocks() - blocks < 5_000
""")


CYCLES = {
    "an arm": "tx.send((tx.sending(rx), rx))",
    "an arm that is its own item": "i = []; i.append(tx.sending(i)); tx.send(rx)",
    "an arm that reserves": "tx.send((tx.reserving(), rx))",
    "a coroutine": "tx.send((tx, aio.select(rx, never())))",
    "a coroutine and an item": "i = [tx, rx]; i.append(aio.select(rx, tx.sending(i)))",
    "a result": "tx.send(1); i = [tx, rx]; i.append(select(rx)); tx.send(i)",
    "a result that has itself": "i = []; tx.send(i); i.append(select(rx))",
    "a timer": "tx.send((after(9), rx)); tx.send((tick(9).aio, rx))",
    "one that waits": "suspended(lambda: aio.select(rx, never()), tx, rx)",
    "one that waits to send": "suspended(lambda: aio.select(full.sending([tx, rx]), rx, rx), tx, rx, full, of_full)",
    "one that was claimed by one of two arms": "suspended(lambda: aio.select(rx, rx), tx, rx); tx.send(rx)",
    "one that waits for timers": "suspended(lambda: aio.select(after(9), rx, tick(9)), tx, rx)",
}


@pytest.mark.parametrize("cycle", CYCLES)
def test_the_collector_takes_a_cycle_through(cycle):
    assert_no_leak(
        f"""
        tx, rx = unbounded()
        full, of_full = bounded(1)
        full.send(1)
        {CYCLES[cycle]}
        """,
        setup="""
        import gc, warnings
        from ferrule import after, aio, bounded, never, select, tick, unbounded
        from tests.support.driver import HandLoop, Stepper
        warnings.simplefilter("ignore")

        class Keeps:
            pass

        def suspended(wait, *ends):
            # In a loop that goes with it; who waits has what keeps the channels.
            keeps, loop = Keeps(), HandLoop()
            stepper = Stepper(wait())
            with loop.running():
                stepper.step()
            keeps.all = stepper, ends, loop
            loop.keeps = keeps
        """,
        repeats=200,
    )
