"""Once a wait was worth it, the next one lets its loop run before it queues, and queues if that brought nothing."""

import asyncio
import time

import pytest

from ferrule import Timeout, aio
from tests.support.channels import waiting
from tests.support.driver import HandLoop, Stepper, run
from tests.support.race import spawn

WAITS = ["recv", "recv_many", "__anext__", "send", "send_many", "reserve"]
NOBODY = {"senders": 0, "receivers": 0, "reserved": 0}


class Side:
    """One kind of wait at a channel of one item's room, and the other side that ends it."""

    def __init__(self, wait, capacity=1):
        self.loop = HandLoop()
        self.wait = wait
        tx, rx = aio.bounded(capacity)
        self.receives = wait in ("recv", "recv_many", "__anext__")
        self.end, self.other = (rx, tx) if self.receives else (tx, rx)
        if capacity and not self.receives:
            tx.try_send("first")

    def begin(self, end=None, **timeout):
        """A wait, not yet begun."""
        arguments = {"recv_many": [3], "send": ["item"], "send_many": [["item"]]}.get(self.wait, [])
        return Stepper(getattr(end or self.end, self.wait)(*arguments, **timeout))

    def serve(self):
        """What the wait is for: an item, or room, which is taken again by whoever gets it."""
        if self.receives:
            self.other.try_send("item")
        else:
            self.other.try_recv()

    def step(self, stepper):
        with self.loop.running():
            return stepper.step()

    def finish(self, stepper):
        """What it gave, whose slot is filled again if it was one."""
        while not stepper.done:
            self.loop.turn()
            self.step(stepper)
        if self.wait == "reserve":
            stepper.result().send("item")
        return stepper.result()

    def wait_once(self):
        """One wait that is worth it, ended by a thread."""
        stepper = self.begin()
        assert not self.step(stepper)
        assert stepper.suspended, "the first wait queues at once"
        spawn(self.serve).result()
        self.finish(stepper)

    @property
    def nobody_waits(self):
        return waiting(self.end) == NOBODY


@pytest.fixture(params=WAITS)
def side(request):
    return Side(request.param)


def paused(side, stepper):
    """Whether its first step was a pause."""
    assert not side.step(stepper)
    return not stepper.suspended and side.nobody_waits


class TestAfterAWaitThatWasWorthIt:
    def test_the_next_one_pauses_and_need_not_queue(self, side):
        side.wait_once()
        for _ in range(3):
            stepper = side.begin()
            assert paused(side, stepper)
            side.serve()
            assert side.step(stepper), "served during the pause"
            side.finish(stepper)
        assert side.end.stats()["waits"] == 1

    def test_it_pauses_once_and_then_queues(self, side):
        side.wait_once()
        stepper = side.begin()
        assert paused(side, stepper)
        assert not side.step(stepper)
        assert stepper.suspended
        assert not side.nobody_waits
        side.serve()
        side.finish(stepper)
        assert paused(side, side.begin()), "that wait was worth it, too"

    def test_after_a_pause_in_vain_the_next_one_queues_at_once(self, side):
        side.wait_once()
        stepper = side.begin()
        assert paused(side, stepper)
        stepper.cancel()
        assert side.step(stepper)
        with pytest.raises(asyncio.CancelledError):
            stepper.result()
        assert side.nobody_waits
        stepper = side.begin()
        assert not side.step(stepper)
        assert stepper.suspended

    def test_nobody_is_overtaken(self, side):
        """One waits at a clone: whoever comes later queues behind it."""
        side.wait_once()
        first = side.begin(side.end.clone())
        assert not side.step(first)
        assert first.suspended
        second = side.begin()
        assert not side.step(second)
        assert second.suspended
        side.serve()
        assert first.future.done() or side.loop.due
        side.finish(first)
        assert not second.done

    @pytest.mark.parametrize("side", sorted({*WAITS} - {"__anext__"}), indirect=True)
    def test_what_has_no_time_does_not_pause(self, side):
        side.wait_once()
        stepper = side.begin(timeout=0)
        assert side.step(stepper)
        with pytest.raises(Timeout):
            stepper.result()

    @pytest.mark.parametrize("side", sorted({*WAITS} - {"__anext__"}), indirect=True)
    def test_a_timeout_runs_from_before_the_pause(self, side):
        side.wait_once()
        stepper = side.begin(timeout=1000)
        assert paused(side, stepper)
        assert side.loop.timers == []
        time.sleep(0.01)
        side.step(stepper)
        assert side.loop.timers[-1].when() <= 999.99
        side.loop.fire(side.loop.timers[-1])
        side.step(stepper)
        with pytest.raises(Timeout):
            stepper.result()


@pytest.mark.parametrize("wait", ["recv", "send"])
def test_a_meeting_is_not_paused_for(wait):
    """Each of the two would look while the other pauses."""
    side = Side(wait, capacity=0)
    for _ in range(3):
        stepper = side.begin()
        assert not side.step(stepper)
        assert stepper.suspended
        other = Stepper(side.other.send("item") if wait == "recv" else side.other.recv())
        assert side.step(other)
        side.finish(stepper)


def test_two_tasks_at_a_channel_of_one_item_hardly_ever_queue(loop_name):
    async def main():
        tx, rx = aio.bounded(1)

        async def produce():
            async with tx:
                for n in range(1000):
                    await tx.send(n)

        producing = asyncio.create_task(produce())
        assert [item async for item in rx] == list(range(1000))
        await producing
        return rx.stats()["waits"]

    assert run(main(), loop_name) <= 10
