"""Whatever waits, is claimed, woken, disturbed or dropped, in any order: gates and their waiters are as the model's.

Nothing runs by itself here: the waits are coroutines driven by hand, in loops that turn when they are told to. So a
permission can be met at each place on its way to the waiter: in a wake list, in a mailbox, in a resolved future.
"""

import asyncio
import contextlib
import itertools
import sys
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from ferrule import Timeout
from ferrule._core import parking
from tests.support.driver import HandLoop, Stepper, complete
from tests.support.models import GatesModel
from tests.support.race import outcome

probe = pytest.importorskip("ferrule._core.probe", reason="built without FERRULE_PROBE=1")

LONG = 9e9
"""A timeout that is up only when the test has the timer call."""

GATE = st.sampled_from([0, 0, 1])
WAITS_AT = st.sampled_from([(0,), (0,), (0,), (0,), (1,), (0, 1), (1, 0), (0, 0)])
DISTURBANCES = ["cancel", "cancel", "throw", "throw", "close", "drop", "send", "close its loop"]

KIND = st.tuples(WAITS_AT, st.sampled_from([0, 1]), st.booleans(), st.booleans(), st.sampled_from([True, True, False]))
"""A wait: its gates, its loop, whether it has a timeout, whether it insists, whether it has made its first step."""


class Loop(HandLoop):
    """A loop, and who is on the way to it in the model's view."""

    def __init__(self, name):
        super().__init__()
        self.name = name
        self.mailbox = []

    def __repr__(self):
        return self.name


class Wait:
    """One wait: what drives it, and where it stands in the model's view."""

    def __init__(self, name, gates, loop, target, coroutine, *, timed, insists):
        self.name = name
        self.gates = gates
        self.loop = loop
        self.target = target  # as the register of sleepers shows it
        self.stepper = Stepper(coroutine)  # None: it was dropped, and the queue or the mailbox keeps it alive
        self.timed = timed
        self.timer = None  # while it may call
        self.insists = insists
        self.begun = False
        self.expired = False  # the timer has called
        self.delivered = False  # its loop has resolved its future: it was claimed, or its time is up
        self.cancelled = False  # its future, or its next step
        self.kept = None  # what was first raised in it while it insisted

    def __repr__(self):
        return self.name

    @property
    def stranded(self):
        """Its loop is closed: nobody steps it any more."""
        return self.loop.is_closed()

    @property
    def can_step(self):
        return not self.stranded and (not self.begun or self.delivered or self.cancelled)


def one_of(name):
    """One of the things that the machine has under that name."""
    return st.runner().flatmap(lambda machine: st.sampled_from(getattr(machine, name)))


WITHIN = st.none() | one_of("loops")
"""The loop that runs in the thread that does something, if one does."""


def within(loop):
    return contextlib.nullcontext() if loop is None else loop.running()


def if_any(name):
    return precondition(lambda machine: getattr(machine, name))


def end_of(stepper):
    """What it returned or raised."""
    try:
        return stepper.result()
    except (Timeout, KeyError, asyncio.CancelledError) as error:
        return error


class FloorMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.gates = [probe.Gate(), probe.Gate()]
        self.model = GatesModel.of(0, 0)
        self.given = self.taken = 0
        self.loops = [Loop("loop0"), Loop("loop1")]
        self.waits = []  # those that have a driver and have not ended
        self.dropped = []  # those that have no driver and have not ended
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

    @property
    def can_step(self):
        return [wait for wait in self.waits if wait.can_step]

    @property
    def called(self):
        return [loop for loop in self.loops if loop.due]

    @property
    def with_timer(self):
        return [wait for wait in self.waits if wait.timer]

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
        wait = Wait(next(self.names), gates, self.loops[loop], target, coroutine, timed=timed, insists=insists)
        self.waits.append(wait)
        if stepped:
            self.step(wait)

    @if_any("can_step")
    @rule(wait=one_of("can_step"))
    def step(self, wait):
        first = not wait.begun
        with wait.loop.running():
            wait.stepper.step()
        if wait.cancelled:
            self.raised(wait, asyncio.CancelledError, wait.loop)
        else:
            self.goes_on(wait)
        if first and wait.begun and wait.timed:
            wait.timer = wait.loop.timers[-1]

    @property
    def with_timer_and_more_of_the_claimed(self):
        return self.with_timer + 3 * [wait for wait in self.with_timer if wait in self.model.claimed]

    @if_any("with_timer")
    @rule(wait=one_of("with_timer_and_more_of_the_claimed"))
    def time_is_up(self, wait):
        wait.loop.fire(wait.timer)
        wait.timer = None
        wait.expired = True
        if wait in self.model.waiting:
            self.model = self.model.leaves(wait)
            wait.delivered = True

    @if_any("waits")
    @rule(wait=one_of("waits"), how=st.sampled_from(DISTURBANCES), where=WITHIN)
    def disturb(self, wait, how, where):
        match how:
            case "cancel" if not wait.cancelled and not wait.stranded:
                wait.stepper.cancel()
                wait.cancelled = True
            case "throw" if not wait.cancelled and not wait.stranded:
                self.throw(wait, wait.loop if wait.insists else where)  # one that insists may have to wait on
            case "send" if not wait.can_step and not wait.stranded:
                self.send(wait, where)
            case "close":
                self.close(wait, where)
            case "drop" if not wait.timed and wait.kept is None:  # a timer, or a traceback, and its wait make a cycle
                self.drop(wait, where)
            case "close its loop" if not wait.stranded:
                self.close_loop(wait.loop)

    def throw(self, wait, where):
        error = KeyError(wait.name)
        with within(where):
            wait.stepper.throw(error)
        self.raised(wait, error, where)

    def send(self, wait, where):
        """Before its time."""
        future = wait.stepper.future
        with within(where):
            assert not wait.stepper.send()
        assert wait.stepper.future is future

    def close(self, wait, where):
        with within(where):
            wait.stepper.close()
        self.waits.remove(wait)
        self.woken(self.gives_up(wait), where)

    def drop(self, wait, where):
        """Its driver lets go of it. The queue, or who brings it the permission, may still have it."""
        with within(where), contextlib.nullcontext() if wait.begun else pytest.warns(match="never awaited"):
            wait.stepper = None
        self.waits.remove(wait)
        if wait in self.model.waiting or (wait in self.model.claimed and not wait.delivered):
            self.dropped.append(wait)
        else:
            self.woken(self.gives_up(wait), where)

    # --- loops --------------------------------------------------------------------------------------------------------

    @if_any("called")
    @rule(loop=one_of("called"), closes=st.sampled_from([False, False, True]))
    def turn(self, loop, closes):
        """The loop turns, or is closed before it does."""
        if closes:
            self.close_loop(loop)
        else:
            loop.turn()
            posted, loop.mailbox = loop.mailbox, []
            for wait in posted:
                self.delivered(wait)

    def close_loop(self, loop):
        """Another one takes its place; who waits in it can only give up."""
        self.loops[self.loops.index(loop)] = Loop(loop.name)
        loop.close()
        for wait in self.waits:
            if wait.loop is loop:
                wait.timer = None
        self.woken([other for wait in loop.mailbox for other in self.gives_up(wait)], None)

    # --- the model's view ---------------------------------------------------------------------------------------------

    def woken(self, claimed, where):
        """Each is woken at once in its own loop. Else it is on its way, or passes on what it got in a closed loop."""
        claimed = list(claimed)
        while claimed:
            wait = claimed.pop(0)
            if wait.stranded:
                claimed += self.gives_up(wait)
            elif wait.loop is where:
                self.delivered(wait)
            else:
                wait.loop.mailbox.append(wait)

    def delivered(self, wait):
        wait.delivered = True
        if wait in self.dropped:
            self.woken(self.gives_up(wait), wait.loop)

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

    def who_was_woken_knows(self):
        """And nobody else: so the order of wake-ups is the model's, and none comes before its loop turns."""
        for wait in self.waits:
            if wait.begun:
                assert wait.stepper.suspended
                assert wait.stepper.future.done() is (wait.delivered or wait.cancelled)

    def each_loop_is_called_once_and_only_if_there_is_something_for_it(self):
        for loop in self.loops:
            assert len(loop.due) == bool(loop.mailbox)

    def each_timer_has_a_wait(self):
        for loop in self.loops:
            timers = {id(wait.timer) for wait in self.with_timer if wait.loop is loop}
            assert {id(timer) for timer in loop.timers} == timers

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
TestFloorModel.settings = settings(max_examples=100, stateful_step_count=50, deadline=None, report_multiple_bugs=False)
