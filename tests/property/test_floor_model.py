"""Whatever waits, is claimed, woken, disturbed or dropped, in any order: gates and their waiters are as the model's.

Nothing runs by itself here: the waits are coroutines driven by hand, in loops that turn when they are told to. So a
permission can be met at each place on its way to the waiter: in a wake list, in a mailbox, in a resolved future.
"""

import asyncio
import itertools
import sys
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import initialize, invariant, rule

from ferrule import Timeout
from ferrule._core import parking
from tests.support.driver import Stepper, complete
from tests.support.models import GatesModel
from tests.support.race import EXAMPLES, outcome
from tests.support.waits import LONG, WITHIN, Wait, WaitsMachine, if_any, within

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

GATE = st.sampled_from([0, 0, 1])
WAITS_AT = st.sampled_from([(0,), (0,), (0,), (0,), (1,), (0, 1), (1, 0), (0, 0)])

KIND = st.tuples(WAITS_AT, st.sampled_from([0, 1]), st.booleans(), st.booleans(), st.sampled_from([True, True, False]))
"""A wait: its gates, its loop, whether it has a timeout, whether it insists, whether it has made its first step."""


class GateWait(Wait):
    """A wait at some gates."""

    def __init__(self, name, gates, loop, target, coroutine, *, timed, insists):
        super().__init__(name, loop, timed=timed)
        self.gates = gates
        self.target = target  # as the register of sleepers shows it
        self.stepper = Stepper(coroutine)
        self.insists = insists


def end_of(stepper):
    """What it returned or raised."""
    try:
        return stepper.result()
    except (Timeout, KeyError, asyncio.CancelledError) as error:
        return error


class FloorMachine(WaitsMachine):
    def __init__(self):
        super().__init__()
        self.gates = [probe.Gate(), probe.Gate()]
        self.model = GatesModel.of(0, 0)
        self.given = self.taken = 0
        self.claims = []  # wake lists that were not woken yet, each with those whom the model claimed
        self.strangers = [target for target, _, _ in parking.sleepers()]
        self.names = (f"wait{number}" for number in itertools.count())

    def teardown(self):
        """Everybody ends, the dropped too, for whom a permit comes: nobody is queued then, and no permit is lost."""
        for wait in self.waits:
            wait.stepper.close()
        self.claims.clear()
        for gate in self.gates:
            self.given += gate.waiting
            gate.release(gate.waiting)
        while self.called:
            self.called[0].turn()
        if sys.exception() is None:
            assert [gate.waiting for gate in self.gates] == [0, 0]
            assert sum(gate.permits for gate in self.gates) == self.given - self.taken
            assert not self.sleepers()

    # --- permits ------------------------------------------------------------------------------------------------------

    @rule(gate=GATE, permits=st.integers(0, 2), how=st.sampled_from(["release", "hand", "claim"]), where=WITHIN)
    def give(self, gate, permits, how, where):
        with within(where):
            result = getattr(self.gates[gate], how)(*(() if how == "hand" else (permits,)))
        if how == "hand":
            claimed, self.model = self.model.hand(gate)
            assert result is bool(claimed)
            self.given += result
        else:
            claimed, self.model = self.model.release(gate, permits)
            self.given += permits
        if how == "claim":
            self.claims.append((result, claimed))
        else:
            self.woken(claimed, where)

    @if_any("claims")
    @rule(where=WITHIN, forgotten=st.booleans())
    def wake(self, where, forgotten):
        wakes, claimed = self.claims.pop(0)
        with within(where):
            if not forgotten:
                wakes.wake()
            del wakes
        self.woken(claimed, where)

    @rule(gates=WAITS_AT, how=st.sampled_from(["now", "soon", "in a task", "all"]), where=WITHIN)
    def take(self, gates, how, where):
        """A wait that is over when the call is, in this thread or in a task; or all permits that there are."""
        target = self.waitable(gates)
        with within(where):
            match how:
                case "now" | "soon":
                    answer = outcome(lambda: target.wait(timeout=0 if how == "now" else 1e-6), Timeout)()
                case "in a task":
                    answer = outcome(lambda: complete(target.wait_async(timeout=0)), Timeout)()
                case "all":
                    gates = gates[:1]
                    while self.gates[gates[0]].try_wait():
                        self.took(True, gates, where)
                    answer = Timeout
        self.took(answer, gates, where)

    def took(self, answer, gates, where):
        claimed, self.model = self.model.take(gates)
        assert answer is (Timeout if claimed is None else True)
        self.taken += answer is True
        self.woken(claimed or (), where)

    def waitable(self, gates):
        return self.gates[gates[0]] if len(gates) == 1 else probe.Several(*(self.gates[gate] for gate in gates))

    # --- waits --------------------------------------------------------------------------------------------------------

    @initialize(kinds=st.lists(KIND, min_size=2, max_size=6))
    def begin_some(self, kinds):
        for kind in kinds:
            self.begin(kind)

    @rule(kind=KIND)
    def begin(self, kind):
        gates, loop, timed, insists, stepped = kind
        insists = insists and len(gates) == 1
        target = self.waitable(gates)
        coroutine = target.wait_async(timeout=LONG if timed else None, **({"insists": True} if insists else {}))
        wait = GateWait(next(self.names), gates, self.loops[loop], target, coroutine, timed=timed, insists=insists)
        self.waits.append(wait)
        if stepped:
            self.step(wait)

    # --- the model's view ---------------------------------------------------------------------------------------------

    def gives_up(self, wait):
        """The wait wants nothing any more; who was claimed in its place."""
        claimed, self.model = self.model.gives_up(wait)
        if wait in self.dropped:
            self.dropped.remove(wait)
        return claimed

    def goes_on(self, wait):
        """It begins, uses what it was given, or finds that its time is up."""
        if wait in self.model.handed:
            self.model = self.model.leaves(wait)
            self.ends(wait, True)
        elif wait.delivered and wait not in self.model.leave:
            self.ends(wait, Timeout)
        else:
            claimed, self.model = self.model.attempt(wait)
            if claimed is not None:
                self.ends(wait, True)
                self.woken(claimed, wait.loop)
            elif wait.expired:
                self.ends(wait, Timeout)
            else:
                self.model = self.model.links(wait, first=wait.begun)
                wait.begun = True
                wait.delivered = wait.cancelled = False

    def raised(self, wait, error, where):
        if not wait.insists or not wait.begun:
            self.ends(wait, error)
            self.woken(self.gives_up(wait), where)
        else:
            wait.kept = wait.kept or error
            if wait.delivered or wait in self.model.waiting:
                self.goes_on(wait)
            else:  # it was claimed, and gets to know of that by another future
                wait.cancelled = False

    def ends(self, wait, answer):
        self.waits.remove(wait)
        self.taken += answer is True
        ending = end_of(wait.stepper)
        expected = answer if wait.kept is None else wait.kept
        assert expected is ending or expected is type(ending)
        if wait.kept is not None and answer is not True:
            assert type(ending.__context__) is answer

    # --- what must be so at any time ----------------------------------------------------------------------------------

    @invariant()
    def holds(self):
        self.agrees()
        self.no_permit_is_lost_or_doubled()
        self.nobody_waits_beside_a_permit_unless_somebody_has_leave_to_take_it()
        self.who_was_woken_knows()
        self.each_loop_is_called_once_and_only_if_there_is_something_for_it()
        self.each_timer_has_a_wait()
        self.the_register_has_the_sleepers()

    def agrees(self):
        assert tuple(gate.permits for gate in self.gates) == self.model.free
        assert [gate.waiting for gate in self.gates] == [len(queue) for queue in self.model.queues]

    def no_permit_is_lost_or_doubled(self):
        assert sum(gate.permits for gate in self.gates) + len(self.model.handed) + self.taken == self.given

    def nobody_waits_beside_a_permit_unless_somebody_has_leave_to_take_it(self):
        for gate, queue in enumerate(self.model.queues):
            if self.gates[gate].permits and self.model.waiting.intersection(queue):
                assert any(gate in wait.gates for wait in self.model.leave)

    def each_timer_has_a_wait(self):
        for loop in self.loops:
            timed = [wait for wait in self.with_timer if wait.loop is loop]
            assert all(probe.has_deadline(wait.stepper.coroutine) for wait in timed)
            assert probe.deadlines(loop) == len(timed)
            assert len(loop.timers) <= 1

    def the_register_has_the_sleepers(self):
        """All who are queued, and of the others only those who have not run since."""
        waits = self.waits + self.dropped
        queued = Counter(id(wait.target) for wait in waits if wait in self.model.waiting)
        suspended = Counter(id(wait.target) for wait in waits if wait.begun)
        assert queued <= self.sleepers() <= suspended

    def sleepers(self):
        """How often each object is waited for; without those of other tests."""
        targets = [target for target, _, _ in parking.sleepers()]
        return Counter(id(target) for target in targets if not any(target is other for other in self.strangers))


TestFloorModel = FloorMachine.TestCase
TestFloorModel.settings = settings(
    max_examples=60 * EXAMPLES, stateful_step_count=50, deadline=None, report_multiple_bugs=False
)
