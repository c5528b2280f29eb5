"""Waits that a state machine drives by hand, in loops that turn when they are told to; see tests/property.

A subclass of WaitsMachine says what is waited for: it begins waits, has a `model` with the sets `waiting` and `claimed`
and a method `leaves(wait)`, and says what a wait does when it goes on, gives up, or is raised in.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from .driver import HandLoop, Stepper

__all__ = ["LONG", "WITHIN", "Loop", "Wait", "WaitsMachine", "if_any", "one_of", "within"]

LONG = 9e9
"""A timeout that is up only when the test has the timer call."""

DISTURBANCES = ["cancel", "cancel", "throw", "throw", "close", "drop", "send", "close its loop"]


class Loop(HandLoop):
    """A loop, and who is on the way to it in the model's view."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.mailbox: list[Wait] = []

    def __repr__(self) -> str:
        return self.name


class Wait:
    """One wait: what drives it, and where it stands in the model's view."""

    insists = False

    def __init__(self, name: str, loop: Loop, *, timed: bool) -> None:
        self.name = name
        self.loop = loop
        self.timed = timed
        self.stepper: Stepper | None = None  # None: it was dropped, and the queue or the mailbox keeps it alive
        self.timer: Any = None  # while it may call
        self.paused = False  # it has let its loop run once before it queues
        self.begun = False
        self.expired = False  # the timer has called
        self.delivered = False  # its loop has resolved its future: it was claimed, or its time is up
        self.cancelled = False  # its future, or its next step
        self.kept: Any = None  # what was first raised in it while it insisted

    def __repr__(self) -> str:
        return self.name

    @property
    def stranded(self) -> bool:
        """Its loop is closed: nobody steps it any more."""
        return self.loop.is_closed()

    @property
    def can_step(self) -> bool:
        return not self.stranded and (not self.begun or self.delivered or self.cancelled)


def one_of(name: str) -> Any:
    """One of the things that the machine has under that name."""
    return st.runner().flatmap(lambda machine: st.sampled_from(list(getattr(machine, name))))


WITHIN = st.none() | one_of("loops")
"""The loop that runs in the thread that does something, if one does."""


def within(loop: Loop | None) -> Any:
    return contextlib.nullcontext() if loop is None else loop.running()


def if_any(name: str) -> Any:
    return precondition(lambda machine: getattr(machine, name))


class WaitsMachine(RuleBasedStateMachine):
    """What can happen to waits, whatever they wait for."""

    closings = (False, False, True)
    """How often a loop that has been called is closed instead of turned."""

    model: Any

    def __init__(self) -> None:
        super().__init__()
        self.loops = [Loop("loop0"), Loop("loop1")]
        self.waits: list[Any] = []  # those that have a driver and have not ended
        self.dropped: list[Any] = []  # those that have no driver and have not ended

    # What a subclass says.

    def goes_on(self, wait: Any) -> None:
        """It begins, uses what it was given, or finds that its time is up."""
        raise NotImplementedError

    def raised(self, wait: Any, error: Any, where: Loop | None) -> None:
        """The error, or one of that class, was raised in it."""
        raise NotImplementedError

    def gives_up(self, wait: Any) -> Iterable[Any]:
        """The wait wants nothing any more; who was claimed in its place."""
        raise NotImplementedError

    # --- waits --------------------------------------------------------------------------------------------------------

    @property
    def can_step(self) -> list[Any]:
        return [wait for wait in self.waits if wait.can_step]

    @property
    def called(self) -> list[Loop]:
        return [loop for loop in self.loops if loop.due]

    @property
    def with_timer(self) -> list[Any]:
        return [wait for wait in self.waits if wait.timer]

    @if_any("can_step")
    @rule(wait=one_of("can_step"))
    def step(self, wait: Any) -> None:
        first = not wait.begun
        with wait.loop.running():
            wait.stepper.step()
        if wait.cancelled:
            self.raised(wait, asyncio.CancelledError, wait.loop)
        else:
            self.goes_on(wait)
        if first and wait.begun and wait.timed:
            wait.timer = self.timer_of(wait)

    def timer_of(self, wait: Any) -> Callable[[], object]:
        """What its loop calls when the time of a wait is up."""
        from ferrule._core import probe

        return functools.partial(probe.pass_deadline, wait.stepper.coroutine)

    @property
    def with_timer_and_more_of_the_claimed(self) -> list[Any]:
        return self.with_timer + 3 * [wait for wait in self.with_timer if wait in self.model.claimed]

    @if_any("with_timer")
    @rule(wait=one_of("with_timer_and_more_of_the_claimed"))
    def time_is_up(self, wait: Any) -> None:
        with wait.loop.running():
            wait.timer()
        wait.timer = None
        wait.expired = True
        if wait in self.model.waiting:
            self.woken(self.gives_up(wait), wait.loop)
            wait.delivered = True

    @if_any("waits")
    @rule(wait=one_of("waits"), how=st.sampled_from(DISTURBANCES), where=WITHIN)
    def disturb(self, wait: Any, how: str, where: Loop | None) -> None:
        match how:
            case "cancel" if not wait.cancelled and not wait.stranded:
                wait.stepper.cancel()
                wait.cancelled = True
            case "throw" if not wait.cancelled and not wait.stranded:
                self.throw(wait, wait.loop if wait.insists else where)  # one that insists may have to wait on
            case "send" if not wait.can_step and not wait.stranded:
                self.step_too_early(wait, where)
            case "close":
                self.close_wait(wait, where)
            case "drop" if not wait.timed and wait.kept is None:  # a timer, or a traceback, and its wait make a cycle
                self.drop(wait, where)
            case "close its loop" if not wait.stranded:
                self.close_loop(wait.loop)

    def throw(self, wait: Any, where: Loop | None) -> None:
        error = KeyError(wait.name)
        with within(where):
            wait.stepper.throw(error)
        self.raised(wait, error, where)

    def step_too_early(self, wait: Any, where: Loop | None) -> None:
        future = wait.stepper.future
        with within(where):
            assert not wait.stepper.send()
        assert wait.stepper.future is future

    def close_wait(self, wait: Any, where: Loop | None) -> None:
        with within(where):
            wait.stepper.close()
        self.waits.remove(wait)
        self.woken(self.gives_up(wait), where)

    def drop(self, wait: Any, where: Loop | None) -> None:
        """Its driver lets go of it. The queue, or who brings it what it was given, may still have it."""
        begun = wait.begun or wait.paused
        with within(where), contextlib.nullcontext() if begun else pytest.warns(match="never awaited"):
            wait.stepper = None
        self.waits.remove(wait)
        if wait in self.model.waiting or (wait in self.model.claimed and not wait.delivered):
            self.dropped.append(wait)
        else:
            self.woken(self.gives_up(wait), None)  # a destructor wakes nobody directly

    # --- loops --------------------------------------------------------------------------------------------------------

    @if_any("called")
    @rule(loop=one_of("called"), closes=one_of("closings"))
    def turn(self, loop: Loop, closes: bool) -> None:
        """The loop turns, or is closed before it does."""
        if closes:
            self.close_loop(loop)
        else:
            loop.turn()
            posted, loop.mailbox = loop.mailbox, []
            for wait in posted:
                self.delivered(wait)

    def close_loop(self, loop: Loop) -> None:
        """Another one takes its place; who waits in it can only give up."""
        self.loops[self.loops.index(loop)] = Loop(loop.name)
        loop.close()
        for wait in self.waits:
            if wait.loop is loop:
                wait.timer = None
        self.woken([other for wait in loop.mailbox for other in self.gives_up(wait)], None)

    # --- the model's view ---------------------------------------------------------------------------------------------

    def woken(self, claimed: Iterable[Any], where: Loop | None) -> None:
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

    def delivered(self, wait: Any) -> None:
        wait.delivered = True
        if wait in self.dropped:
            self.woken(self.gives_up(wait), None)

    # --- what must be so at any time ----------------------------------------------------------------------------------

    def who_was_woken_knows(self) -> None:
        """And nobody else: so the order of wake-ups is the model's, and none comes before its loop turns."""
        for wait in self.waits:
            if wait.begun:
                assert wait.stepper.suspended
                assert wait.stepper.future.done() is (wait.delivered or wait.cancelled)

    def each_loop_is_called_once_and_only_if_there_is_something_for_it(self) -> None:
        for loop in self.loops:
            assert len(loop.due) == bool(loop.mailbox)
