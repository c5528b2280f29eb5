"""Selects and plain calls, disturbed in any order: no item is lost or doubled, and nobody waits beside what it wants.

Nothing runs by itself here: what waits are coroutines driven by hand, in loops that turn when they are told to. So a
leave can be met at each place on its way to a select, while others use what it was for, on any of its arms. The steps
are drawn at random, not by Hypothesis: which arm a select takes is open, so no run can be repeated step by step.
"""

import asyncio
import collections
import contextlib

import pytest

from ferrule import Disconnected, Empty, Full, Timeout, aio, never, try_select
from tests.support.channels import channel, waiting
from tests.support.driver import HandLoop, Stepper

KINDS = ("receive", "send", "reserve")
STEPS = 60
REFUSALS = (Disconnected, Empty, Full, Timeout, asyncio.CancelledError)


class Wait:
    """A coroutine that waits, what its arms are, and the loop that it is in."""

    def __init__(self, name, coroutine, arms, loop):
        self.name = name
        self.stepper = Stepper(coroutine)
        self.arms = arms
        self.loop = loop
        self.begun = False

    @property
    def can_step(self):
        return not self.begun or self.stepper.future is None or self.stepper.future.done()  # None: it lets its loop run


class Program:
    """Random steps on three channels, and what came of them."""

    def __init__(self, rng):
        self.rng = rng
        self.ends = [channel(rng.choice([0, 0, 1, 2])) for _ in range(3)]
        self.loops = [HandLoop(), HandLoop()]
        self.waits = []
        self.count = 0
        self.sent = collections.Counter()  # certainly
        self.maybe = set()  # by one that was cancelled after its item may have been taken
        self.received = collections.Counter()
        self.steps = [
            *[self.begin_select] * 4,
            *[self.begin_plain] * 2,
            *[self.step_one] * 4,
            *[self.turn] * 3,
            *[self.disturb] * 2,
            self.try_select,
            self.try_recv,
            self.try_send,
            self.close,
            self.come_to_rest,
        ]

    def run(self):
        for _ in range(STEPS):
            self.rng.choice(self.steps)()
            self.check()
        self.come_to_rest()
        self.check()
        for wait in self.waits:
            wait.stepper.close()
        assert all(waiting(tx) == {"senders": 0, "receivers": 0, "reserved": 0} for tx, _ in self.ends)

    def some_arms(self):
        arms = [(self.rng.choice(KINDS), self.rng.randrange(3)) for _ in range(self.rng.randrange(1, 5))]
        return [("send" if kind == "reserve" and self.ends[n][0].capacity == 0 else kind, n) for kind, n in arms]

    def item(self):
        self.count += 1
        return self.count

    # --- what is done ---------------------------------------------------------------------------------------------

    def begin_select(self):
        item, arms = self.item(), self.some_arms()
        given = [self.arm(kind, n, item) for kind, n in arms]
        coroutine = aio.select(*given, never(), biased=self.rng.random() < 0.5)
        self.begin(Wait(item, coroutine, arms, self.rng.choice(self.loops)))

    def begin_plain(self):
        item, kind, n = self.item(), self.rng.choice(KINDS[:2]), self.rng.randrange(3)
        tx, rx = self.ends[n]
        coroutine = tx.aio.send(item) if kind == "send" else rx.aio.recv()
        self.begin(Wait(item, coroutine, [(kind, n)], self.rng.choice(self.loops)))

    def arm(self, kind, n, item):
        tx, rx = self.ends[n]
        return {"receive": lambda: rx, "send": lambda: tx.sending(item), "reserve": tx.reserving}[kind]()

    def begin(self, wait):
        self.waits.append(wait)
        self.step(wait)

    def step_one(self):
        if ready := [wait for wait in self.waits if wait.can_step]:
            self.step(self.rng.choice(ready))

    def step(self, wait):
        wait.begun = True
        with wait.loop.running():
            wait.stepper.step()
        self.note(wait)

    def note(self, wait):
        if not wait.stepper.done:
            return
        self.waits.remove(wait)
        try:
            result = wait.stepper.result()
        except REFUSALS:
            return
        if result is None:
            self.sent[wait.name] += 1
        elif isinstance(result, int):
            self.received[result] += 1
        elif not result.closed:
            self.took(wait.arms[result.index][0], result.value, wait.name)

    def took(self, kind, value, name):
        if kind == "receive":
            self.received[value] += 1
            return
        if kind == "reserve":
            with contextlib.suppress(Disconnected):
                value.send(name)
                self.sent[name] += 1
            return
        self.sent[name] += 1

    def try_select(self):
        item, arms = self.item(), self.some_arms()
        taken = try_select(*(self.arm(kind, n, item) for kind, n in arms))
        if taken is not None and not taken.closed:
            self.took(arms[taken.index][0], taken.value, item)

    def try_recv(self):
        with contextlib.suppress(Disconnected, Empty):
            self.received[self.rng.choice(self.ends)[1].try_recv()] += 1

    def try_send(self):
        item = self.item()
        with contextlib.suppress(Disconnected, Full):
            self.rng.choice(self.ends)[0].try_send(item)
            self.sent[item] += 1

    def disturb(self):
        if not self.waits:
            return
        wait, how = self.rng.choice(self.waits), self.rng.choice(["cancel", "close", "throw"])
        if any(kind == "send" and self.ends[n][0].capacity == 0 for kind, n in wait.arms):
            self.maybe.add(wait.name)
        with wait.loop.running():
            if how == "cancel":
                wait.stepper.cancel()
                if wait.can_step:
                    wait.stepper.step()
            elif how == "close":
                wait.stepper.close()
            else:
                wait.stepper.throw(asyncio.CancelledError())
        if wait.stepper.done:
            self.waits.remove(wait)

    def turn(self):
        self.rng.choice(self.loops).turn()

    def close(self):
        if self.rng.random() < 0.2:
            tx = self.rng.choice(self.ends)[0]
            self.rng.choice([tx.close, tx.close_channel])()

    # --- what must be so ------------------------------------------------------------------------------------------

    def come_to_rest(self):
        """Everybody who was woken goes on; then nobody waits beside what it wants."""
        while any(loop.due for loop in self.loops) or any(wait.can_step for wait in self.waits):
            for loop in self.loops:
                loop.turn()
            for wait in [wait for wait in self.waits if wait.can_step]:
                self.step(wait)
        for wait in self.waits:
            for kind, n in wait.arms:
                tx, rx = self.ends[n]
                assert not tx.is_closed
                assert not tx.is_disconnected
                others = [arm for other in self.waits if other is not wait for arm in other.arms]
                if kind == "receive":
                    assert len(rx) == 0, wait.name
                    assert tx.capacity != 0 or ("send", n) not in others, wait.name
                else:
                    assert tx.is_full, wait.name
                    assert tx.capacity != 0 or ("receive", n) not in others, wait.name
        for n, (tx, _) in enumerate(self.ends):
            arms = [kind for wait in self.waits for kind, m in wait.arms if m == n]
            assert waiting(tx) == {
                "senders": len(arms) - arms.count("receive"),
                "receivers": arms.count("receive"),
                "reserved": 0,
            }

    def check(self):
        """Nothing is lost or doubled."""
        assert all(count == 1 for count in self.received.values())
        assert self.received.keys() <= self.sent.keys() | self.maybe | {wait.name for wait in self.waits}
        queued = sum(len(rx) for _, rx in self.ends)
        taken = sum(self.received.values())
        assert (
            sum(rx.stats()["sent"] for _, rx in self.ends)
            == sum(rx.stats()["received"] for _, rx in self.ends) + queued
        )
        assert taken <= sum(rx.stats()["received"] for _, rx in self.ends) <= taken + len(self.maybe)


@pytest.mark.filterwarnings("ignore:a permit was collected unused:ResourceWarning")
def test_programs_of_random_steps(rng):
    for _ in range(400):
        Program(rng).run()
