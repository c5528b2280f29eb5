"""The kit's machine of waits lets a gate of plain Python pass, and finds each of its planted faults."""

import asyncio
import functools
import itertools
import types
import weakref
from collections import deque

import hypothesis.strategies as st
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import initialize, invariant, rule, run_state_machine_as_test

from ferrule import Timeout
from tests.support.driver import Stepper
from tests.support.models import GatesModel
from tests.support.race import GIL
from tests.support.waits import LONG, WITHIN, Wait, WaitsMachine, within

pytestmark = pytest.mark.skipif(not GIL, reason="plain Python, in one thread: it is no different without the GIL")


class Place:
    """One who waits: its future, and what keeps its coroutine alive while nobody else does."""

    def __init__(self):
        self.claimed = self.expired = False
        self.kept = None

    def resolve(self):
        if not self.future.done():
            self.future.set_result(None)
        self.kept = None


class Delivery:
    """What a loop calls for those who were claimed in the meantime. If it never does, others may try instead."""

    def __init__(self, gate):
        self.gate = gate
        self.places = []

    def __call__(self):
        while self.places:
            self.places.pop(0).resolve()

    def __del__(self):
        for place in self.places:
            self.gate.gives_up(place)
            place.kept = None


class Gate:
    """Permits, and the queue of those who want one, all in one thread: as GatesModel says."""

    def __init__(self):
        self.permits = 0
        self.apart = False
        self.queue = deque()
        self.deliveries = weakref.WeakValueDictionary()

    def wait(self, timeout):
        place = Place()
        coroutine = self._wait(place, timeout)
        place.coroutine = weakref.ref(coroutine)
        return coroutine

    async def _wait(self, place, timeout):
        place.loop = asyncio.get_running_loop()
        timer = None
        try:
            while not self.permits:
                if place.expired:
                    raise Timeout
                place.future = place.loop.create_future()
                place.kept = place.coroutine()
                self.links(place, first=place.claimed)
                place.claimed = False
                if timeout is not None and timer is None:
                    timer = place.loop.call_later(timeout, self.expire, place)
                await self.suspends(place)
                if not place.claimed:
                    raise Timeout
            self.permits -= 1
        except BaseException:
            self.apart = place.coroutine() is None  # it is being destroyed, which wakes nobody directly
            try:
                self.gives_up(place)
            finally:
                self.apart = False
            raise
        finally:
            place.kept = None
            if timer is not None:
                timer.cancel()

    async def suspends(self, place):
        await place.future

    def links(self, place, first):
        (self.queue.appendleft if first else self.queue.append)(place)

    def unlinks(self, place):
        if place in self.queue:
            self.queue.remove(place)

    def expire(self, place):
        place.expired = True
        if not place.claimed:
            self.unlinks(place)
            place.resolve()

    def gives_up(self, place):
        self.unlinks(place)
        if place.claimed:
            place.claimed = False
            if self.permits:
                self.claim()

    def release(self):
        self.permits += 1
        self.claim()

    def try_wait(self):
        taken = self.permits > 0
        self.permits -= taken
        return taken

    def claim(self):
        if self.queue:
            place = self.queue.popleft()
            place.claimed = True
            self.wake(place)

    def wake(self, place):
        if place.loop.is_closed():
            self.gives_up(place)
            place.kept = None
        elif place.loop is asyncio._get_running_loop() and not self.apart:
            place.resolve()
        else:
            self.posts(place)

    def posts(self, place):
        delivery = self.deliveries.get(place.loop)
        if delivery is None or not delivery.places:
            delivery = self.deliveries[place.loop] = Delivery(self)
            place.loop.call_soon_threadsafe(delivery)
        delivery.places.append(place)


WAIT = st.tuples(st.sampled_from([0, 0, 1]), st.booleans(), st.sampled_from([True, True, False]))
"""A wait: its loop, whether it has a timeout, whether it has made its first step."""


class GateWait(Wait):
    gates = (0,)


class GateMachine(WaitsMachine):
    gate_type = Gate

    def __init__(self):
        super().__init__()
        self.gate = self.gate_type()
        self.model = GatesModel.of(0)
        self.numbers = itertools.count()

    @rule(where=WITHIN)
    def release(self, where):
        with within(where):
            self.gate.release()
        claimed, self.model = self.model.release(0)
        self.woken(claimed, where)

    @rule()
    def take(self):
        claimed, self.model = self.model.take((0,))
        assert self.gate.try_wait() is (claimed is not None)

    def timer_of(self, wait):
        return functools.partial(wait.loop.fire, wait.loop.timers[-1])

    @initialize(waits=st.lists(WAIT, min_size=2, max_size=4))
    def begin_some(self, waits):
        for wait in waits:
            self.begin(wait)

    @rule(wait=WAIT)
    def begin(self, wait):
        loop, timed, stepped = wait
        wait = GateWait(f"wait{next(self.numbers)}", self.loops[loop], timed=timed)
        wait.stepper = Stepper(self.gate.wait(LONG if timed else None))
        self.waits.append(wait)
        if stepped:
            self.step(wait)

    def teardown(self):
        for wait in self.waits:
            wait.stepper.close()

    def gives_up(self, wait):
        claimed, self.model = self.model.gives_up(wait)
        if wait in self.dropped:
            self.dropped.remove(wait)
        return claimed

    def goes_on(self, wait):
        if wait.delivered and wait not in self.model.leave:
            self.ends(wait, Timeout)
            return
        taken, self.model = self.model.attempt(wait)
        if taken is not None or wait.expired:
            self.ends(wait, Timeout if taken is None else None)
        else:
            self.model = self.model.links(wait, first=wait.begun)
            wait.begun, wait.delivered, wait.cancelled = True, False, False

    def raised(self, wait, error, where):
        self.ends(wait, error if isinstance(error, type) else type(error))
        self.woken(self.gives_up(wait), where)

    def ends(self, wait, error):
        self.waits.remove(wait)
        if error is None:
            wait.stepper.result()
        else:
            with pytest.raises(error):
                wait.stepper.result()

    @invariant()
    def holds(self):
        assert (self.gate.permits, len(self.gate.queue)) == (self.model.free[0], len(self.model.queues[0]))
        self.who_was_woken_knows()
        self.each_loop_is_called_once_and_only_if_there_is_something_for_it()


class LastComeFirstWoken(Gate):
    def claim(self):
        self.queue.reverse()
        super().claim()
        self.queue.reverse()


class BehindThoseWhoCameLater(Gate):
    def links(self, place, first):
        super().links(place, first=False)


class LeaveNotPassedOn(Gate):
    def gives_up(self, place):
        self.unlinks(place)


class GivenUpButQueued(Gate):
    def gives_up(self, place):
        if place.claimed:
            super().gives_up(place)


class TimeIsUpButQueued(Gate):
    def expire(self, place):
        place.expired = True
        if not place.claimed:
            place.resolve()


class TimeBeatsTheClaim(Gate):
    def expire(self, place):
        place.claimed = False
        super().expire(place)


class WokenBeforeItsLoopTurns(Gate):
    def posts(self, place):
        place.resolve()


class OneCallForEach(Gate):
    def posts(self, place):
        self.deliveries.pop(place.loop, None)
        super().posts(place)


class OnlyTheFirstIsWoken(Gate):
    def posts(self, place):
        if not self.deliveries.get(place.loop):
            super().posts(place)


class ClosedLoopKeepsItsLeave(Gate):
    def wake(self, place):
        if not place.loop.is_closed():
            super().wake(place)


class GoesOnWhenItIsSteppedTooEarly(Gate):
    @types.coroutine
    def suspends(self, place):
        place.future._asyncio_future_blocking = True
        yield place.future


class DroppedWhileItWaits(Gate):
    def links(self, place, first):
        super().links(place, first)
        place.kept = None


def play(gate_type, **how):
    machine = type(GateMachine.__name__, (GateMachine,), {"gate_type": gate_type})
    run_state_machine_as_test(machine, settings=settings(deadline=None, stateful_step_count=50, database=None, **how))


def test_it_lets_a_gate_pass_that_is_as_its_model():
    play(Gate, max_examples=100)


@pytest.mark.parametrize("faulty", Gate.__subclasses__())
def test_it_finds(faulty):
    """By the same examples where the same modules are imported; it ends with the first that shows the fault."""
    with pytest.raises((AssertionError, Timeout)):
        play(faulty, max_examples=3000, derandomize=True, phases=[Phase.generate], report_multiple_bugs=False)
