"""Selects and plain calls, disturbed in any order: no item is lost or doubled, and nobody waits beside what it wants.

The steps are drawn at random, not by Hypothesis: which arm a select takes is open, so no run can be repeated step by
step.
"""

import asyncio
import collections
import contextlib

import pytest

from ferrule import Disconnected, Empty, Full, Timeout, aio, never, try_select
from tests.support.channels import channel, waiting
from tests.support.programs import Program, run_programs

KINDS = ("receive", "send", "reserve")


class Selects(Program):
    """Random steps on three channels, and what came of them."""

    refusals = (Disconnected, Empty, Full, Timeout, asyncio.CancelledError)

    def __init__(self, rng):
        super().__init__(rng)
        self.ends = [channel(rng.choice([0, 0, 1, 2])) for _ in range(3)]
        self.sent = collections.Counter()  # certainly
        self.maybe = set()  # by one that was cancelled after its item may have been taken
        self.received = collections.Counter()
        self.steps += [
            *[self.begin_select] * 4,
            *[self.begin_plain] * 2,
            self.try_select,
            self.try_recv,
            self.try_send,
            self.close,
        ]

    def some_arms(self):
        arms = [(self.rng.choice(KINDS), self.rng.randrange(3)) for _ in range(self.rng.randrange(1, 5))]
        return [("send" if kind == "reserve" and self.ends[n][0].capacity == 0 else kind, n) for kind, n in arms]

    # --- what is done ---------------------------------------------------------------------------------------------

    def begin_select(self):
        item, arms = self.item(), self.some_arms()
        given = [self.arm(kind, n, item) for kind, n in arms]
        self.begin(item, aio.select(*given, never(), biased=self.rng.random() < 0.5), arms)

    def begin_plain(self):
        item, kind, n = self.item(), self.rng.choice(KINDS[:2]), self.rng.randrange(3)
        tx, rx = self.ends[n]
        self.begin(item, tx.aio.send(item) if kind == "send" else rx.aio.recv(), [(kind, n)])

    def arm(self, kind, n, item):
        tx, rx = self.ends[n]
        return {"receive": lambda: rx, "send": lambda: tx.sending(item), "reserve": tx.reserving}[kind]()

    def note(self, result, wait):
        if result is None:
            self.sent[wait.name] += 1
        elif isinstance(result, int):
            self.received[result] += 1
        elif not result.closed:
            self.took(wait.wants[result.index][0], result.value, wait.name)

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

    def note_disturbance(self, wait):
        if any(kind == "send" and self.ends[n][0].capacity == 0 for kind, n in wait.wants):
            self.maybe.add(wait.name)

    def close(self):
        if self.rng.random() < 0.2:
            tx = self.rng.choice(self.ends)[0]
            self.rng.choice([tx.close, tx.close_channel])()

    # --- what must be so ------------------------------------------------------------------------------------------

    def check_rest(self):
        """Nobody waits beside what it wants."""
        for wait in self.waits:
            for kind, n in wait.wants:
                tx, rx = self.ends[n]
                assert not tx.is_closed
                assert not tx.is_disconnected
                others = [arm for other in self.waits if other is not wait for arm in other.wants]
                if kind == "receive":
                    assert len(rx) == 0, wait.name
                    assert tx.capacity != 0 or ("send", n) not in others, wait.name
                else:
                    assert tx.is_full, wait.name
                    assert tx.capacity != 0 or ("receive", n) not in others, wait.name
        for n, (tx, _) in enumerate(self.ends):
            arms = [kind for wait in self.waits for kind, m in wait.wants if m == n]
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

    def check_the_end(self):
        assert all(waiting(tx) == {"senders": 0, "receivers": 0, "reserved": 0} for tx, _ in self.ends)


@pytest.mark.filterwarnings("ignore:a permit was collected unused:ResourceWarning")
def test_programs_of_random_steps(rng):
    run_programs(Selects, 400, rng)
