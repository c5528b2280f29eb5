"""Who gets an RWLock that all want all the time: how many holds each has, and how many pass a waiter while it sleeps.

No clock says whether that is fair. `waits()` shows who sleeps, and whoever is there has queued before. So each holder
looks, at the beginning of its hold, whom of those that it keeps out it has passed.

What must hold, by the rules at the head of rwlock.pyx and in docs/design/0011:

- Where each end of a hold hands the lock over (`release(fair=True)`), the lock is never free while somebody is queued,
  and newcomers queue behind a waiting writer. So whoever was not queued before a waiter comes after it: while one
  sleeps, each of the others begins one hold at most that keeps it out, the one that it had, or was queued for, before.
- Where it does not, a free lock goes to whoever comes first, and it is the waiter's patience, which is a time, that
  ends this. How often a waiter is passed has no bound then, but that it gets in; -s shows how often it was.
"""

import asyncio
import collections
import statistics
import threading
import time

import pytest

from ferrule import RWLock
from ferrule._core.parking import waits
from tests.support.driver import LoopThread
from tests.support.race import HANG, eventually, spawn
from tests.support.rwlocks import FREE, TAKE, TAKE_ASYNC, kinds

pytestmark = pytest.mark.stress

HOLDS = 30
"""How many holds each of them must get."""

CROWDS = {
    "a writer among readers": ["write"] + ["read"] * 7,
    "a reader among writers": ["read"] + ["write"] * 7,
    "readers and writers": ["read", "write"] * 4,
    "an upgrade among both": ["upgradable"] + ["read"] * 4 + ["write"] * 3,
    "upgrades among both": ["upgradable"] * 3 + ["read"] * 3 + ["write"] * 2,
}


class Tally:
    """The holds that each has had, and for each wait that somebody saw the holds that passed it."""

    def __init__(self, crowd, fair):
        self.lock = RWLock()
        self.fair = fair
        self.crowd = crowd
        self.holds = collections.Counter()
        self.passed = collections.defaultdict(set)  # by the serial and the guard's kind: (who, which hold of its)
        self.failed = False
        self._latch = threading.Lock()

    @property
    def over(self):
        return self.failed or all(self.holds[who] >= HOLDS for who in range(len(self.crowd)))

    def begins(self, who, guard):
        """Who has just got that guard; which of its holds that is."""
        with self._latch:
            self.holds[who] += 1
            hold = who, self.holds[who]
        self.passes(hold, guard)
        return hold

    def passes(self, hold, guard):
        """The hold keeps out what its guard keeps out, from now on."""
        asleep = [(serial, kind(item)) for serial, *_, target, item in waits() if target is self.lock]
        with self._latch:
            for wait in asleep:
                passed = self.passed[wait]
                if keeps_out(kind(guard), wait[1]):
                    passed.add(hold)

    def by_one(self):
        """How often one of the others passed the same wait, at most."""
        return max(collections.Counter((wait, who) for wait, holds in self.passed.items() for who, _ in holds).values())

    def show(self):
        print(f"\n  holds: {', '.join(f'{way} {self.holds[who]}' for who, way in enumerate(self.crowd))}")
        passes_of = collections.defaultdict(list)
        for (_, wanted), holds in self.passed.items():
            passes_of[wanted].append(len(holds))
        for wanted, passes in passes_of.items():
            passes.sort()
            print(
                f"  passed while it slept for the hold to {wanted}, of {len(passes)} waits:"
                f" median {statistics.median(passes):g}, p99 {passes[len(passes) * 99 // 100]}, max {passes[-1]}"
            )


def kind(guard):
    """Read, Upgradable or Write."""
    return type(guard).__name__.removeprefix("Async").removesuffix("Guard")


def keeps_out(held, wanted):
    return "Write" in (held, wanted) or held == wanted == "Upgradable"


def hold_over_and_over(tally, who, way):
    try:
        while not tally.over:
            guard = TAKE[way](tally.lock, timeout=HANG)
            hold = tally.begins(who, guard)
            if way == "upgradable":
                time.sleep(0)
                guard = guard.upgrade(timeout=HANG)
                tally.passes(hold, guard)
            time.sleep(0)
            guard.release(fair=tally.fair)
    except BaseException:
        tally.failed = True
        raise


async def hold_over_and_over_async(tally, who, way):
    try:
        while not tally.over:
            guard = await TAKE_ASYNC[way](tally.lock, timeout=HANG)
            hold = tally.begins(who, guard)
            if way == "upgradable":
                await asyncio.sleep(0)
                guard = await guard.upgrade(timeout=HANG)
                tally.passes(hold, guard)
            await asyncio.sleep(0)
            guard.release(fair=tally.fair)
    except BaseException:
        tally.failed = True
        raise


@pytest.mark.parametrize("fair", [False, True], ids=["eventually-fair", "fair"])
@pytest.mark.parametrize("among", ["threads", "tasks", "both"])
@pytest.mark.parametrize("crowd", CROWDS.values(), ids=CROWDS)
def test_everybody_gets_in_and_in_turn(crowd, among, fair):
    tally = Tally(crowd, fair)
    with LoopThread("asyncio") as here, LoopThread("asyncio") as there:
        everything = tally.lock.write()
        ends = []
        for who, way in enumerate(crowd):
            # In threads alone, in the tasks of two loops, or by turns in a thread, a task here and a task there.
            match {"threads": 0, "tasks": 1 + who % 2, "both": who % 3}[among]:
                case 0:
                    ends.append(spawn(hold_over_and_over, tally, who, way))
                case 1:
                    ends.append(here.spawn(hold_over_and_over_async(tally, who, way)))
                case 2:
                    ends.append(there.spawn(hold_over_and_over_async(tally, who, way)))
        eventually(lambda: len(kinds(tally.lock)) == len(crowd))
        everything.release(fair=True)
        for end in ends:
            end.result(2 * HANG)
    tally.show()
    assert tally.lock._state() == FREE
    assert max(map(len, tally.passed.values())) > 0, "nobody was passed: this shows nothing"
    if fair:
        assert tally.by_one() == 1, "one who came later went first"
