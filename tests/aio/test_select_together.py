"""Selects that several things end at once, in every order, and selects of very many arms that have to meet."""

import asyncio
import gc
import itertools
import time
import weakref

import pytest

from ferrule import aio, bounded, never, select
from tests.support.channels import waiting
from tests.support.driver import HandLoop, LoopThread, Stepper, run, turns
from tests.support.race import HANG, spawn

QUIET = {"senders": 0, "receivers": 0, "reserved": 0}
SOON = 0.001


class Suspended:
    """A select that waits in a loop driven by hand."""

    def __init__(self, *arms):
        self.loop = HandLoop()
        self.stepper = Stepper(aio.select(*arms))
        with self.loop.running():
            self.stepper.step()

    def cancel(self):
        with self.loop.running():
            self.stepper.cancel()

    def alarm(self):
        """The loop calls because of a timer."""
        self.loop.fire(self.loop.timers[0])

    def finish(self):
        """What it gave; None if it was cancelled."""
        while not self.stepper.done:
            self.loop.turn()
            with self.loop.running():
                if self.stepper.future is None or self.stepper.future.done():
                    self.stepper.step()
        return None if self.stepper.cancelled else self.stepper.result()


class Case:
    """A select over a channel that closes, a timer, and what `arms` gives for the ends of a third."""

    def __init__(self, order, capacity, arms, instant):
        self.order = order
        self.tx, self.rx = bounded(capacity)
        self.other_tx, self.other = bounded(1)
        self.timer = aio.at(instant)
        self.waits = Suspended(self.other, self.timer, *arms(self.tx, self.rx))

    def ended_by(self, where, **acts):
        """What came of all events, which act on the channels where the test says."""
        acts |= {"close": lambda case: case.other_tx.close()}
        for event in self.order:
            if event in acts:
                where(lambda act=acts[event]: act(self))
            else:
                getattr(self.waits, event)()
        taken = self.waits.finish()
        assert waiting(self.rx) == waiting(self.other) == waiting(self.timer) == QUIET
        return taken


def made_in_time(make):
    """The cases that make(instant) gives, when that instant of their timers has come: by then all of them waited."""
    ahead = 0.02
    while True:
        instant = time.monotonic() + ahead
        made = make(instant)
        if all(case.waits.stepper.suspended for case in made):
            break
        for case in made:
            case.waits.stepper.close()
        ahead *= 2
    time.sleep(max(0.0, instant - time.monotonic()))
    return made


def cases(events, capacity, arms):
    """One for each order of three or four of the events."""
    orders = [*itertools.permutations(events, 3), *itertools.permutations(events, 4)]
    return made_in_time(lambda instant: [Case(order, capacity, arms, instant) for order in orders])


def here(function):
    function()


def in_a_thread(function):
    spawn(function).result()


@pytest.mark.parametrize("where", [here, in_a_thread])
def test_a_receiver_that_several_things_end_in_one_tick(where):
    """One of them does, and the item and the message are with it or where they were."""
    seen = set()
    for case in cases(["item", "close", "alarm", "cancel"], 1, lambda tx, rx: [rx, rx]):
        taken = case.ended_by(where, item=lambda case: case.tx.send("item"))
        what = "cancel" if taken is None else ("close", "alarm", "item", "item")[taken.index]
        seen.add(what)
        assert what in case.order or what == "alarm"  # who looks sees that its instant has come
        assert taken is None or (taken.closed, taken.value == "item") == (what == "close", what == "item")
        assert case.rx.stats()["received"] == (what == "item")
        assert case.timer.stats()["received"] == (what == "alarm")
        assert len(case.rx) == ("item" in case.order and what != "item")
    assert seen >= {"item", "close", "cancel"}


@pytest.mark.parametrize("where", [here, in_a_thread])
def test_a_sender_that_several_things_end_in_one_tick(where):
    """A receiver that had its item before anything else ended it has it, also if it is then cancelled."""
    for case in cases(["receive", "close", "alarm", "cancel"], 0, lambda tx, rx: [tx.sending("item")]):
        received = []
        taken = case.ended_by(where, receive=lambda case, received=received: received.extend(case.rx.drain()))
        what = "cancel" if taken is None else ("close", "alarm", "receive")[taken.index]
        assert what != "receive" or received == ["item"]
        assert case.order[0] != "receive" or (received == ["item"] and what in ("receive", "cancel"))
        assert case.rx.stats()["sent"] == case.rx.stats()["received"] == len(received)
        assert case.timer.stats()["received"] == (what == "alarm")


@pytest.mark.parametrize("arm", ["send", "reserve"])
def test_a_loop_that_closes_between_claim_and_step(arm):
    """What the select was claimed for is the next one's, or, at a rendezvous, has been sent."""
    tx, rx = bounded(0 if arm == "send" else 1)
    if arm == "reserve":
        tx.send("old")

    def waits(item):
        return Suspended(never(), tx.reserving() if arm == "reserve" else tx.sending(item))

    first, second = waits("its"), waits("next")
    assert spawn(rx.recv).result() == ("old" if arm == "reserve" else "its")
    first.loop.close()
    if arm == "send":
        assert rx.recv(timeout=HANG) == "next"
    taken = second.finish()
    assert (taken.index, taken.closed) == (1, False)
    if arm == "reserve":
        taken.value.release()
    first.stepper.close()
    assert waiting(tx) == QUIET


def test_a_loop_that_closes_between_an_alarm_and_the_step():
    """The message is still there."""
    (case,) = made_in_time(lambda instant: [Case((), 1, lambda tx, rx: [rx], instant)])
    case.waits.alarm()
    case.waits.loop.close()
    assert isinstance(select(case.timer, timeout=HANG).value, float)
    case.waits.stepper.close()
    assert waiting(case.timer) == waiting(case.rx) == QUIET


def test_timers_that_only_those_who_wait_for_them_have(loop_name):
    async def main():
        tasks = [
            asyncio.ensure_future(wait)
            for wait in (aio.tick(SOON).recv(), anext(aio.tick(SOON)), aio.select(aio.never(), aio.tick(SOON)))
        ]
        await turns()
        thread = spawn(lambda: select(never(), aio.tick(SOON)))
        gc.collect()
        first, second, taken = await asyncio.wait_for(asyncio.gather(*tasks), HANG)
        assert [type(one) for one in (first, second, taken.value)] == [float] * 3
        assert thread.result().index == 1

    run(main(), loop_name)


def test_a_task_that_only_its_timer_may_wake_is_kept_by_its_loop():
    """The loop has the alarm, as it has what call_later() was given; the task goes with it."""
    timer = aio.tick(SOON)
    waits = Suspended(never(), timer)
    died = weakref.ref(timer)
    loop, timer, waits = waits.loop, None, None
    gc.collect()
    assert (timer, waits) == (None, None)
    assert died() is not None
    loop = None
    gc.collect()
    assert loop is None
    assert died() is None


def arms_of(ends, name, way):
    return [arm for tx, rx in ends[::way] for arm in (tx.sending(name), rx)[::way]]


@pytest.mark.parametrize(("channels", "times"), [(250, 1), (1, 50), (5, 10)])
def test_very_many_arms_of_two_loops_and_threads_find_each_other(channels, times, loop_name):
    """Each sends and receives on every channel: whichever two meet, all find somebody, and nobody itself."""
    ends = [bounded(0) for _ in range(channels)]
    with LoopThread(loop_name) as one, LoopThread() as other:
        for _ in range(5):
            given = [arms_of(ends, name, (-1) ** name) * times for name in range(8)]
            tasks = [(one, other)[n % 2].spawn(aio.select(*given[n], timeout=HANG)) for n in range(4)]
            threads = [spawn(lambda n=n, given=given: select(*given[n], timeout=HANG)) for n in range(4, 8)]
            taken = [task.result(HANG) for task in tasks] + [thread.result() for thread in threads]
            sent = {n for n, one_taken in enumerate(taken) if one_taken.value is None}
            received = {n: one_taken.value for n, one_taken in enumerate(taken) if one_taken.value is not None}
            assert len(sent) == len(received) == 4
            assert set(received.values()) == sent
    assert all((waiting(tx), len(rx)) == (QUIET, 0) for tx, rx in ends)
