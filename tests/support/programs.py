"""Programs of random steps on what tasks wait for: nothing runs by itself, so any step can come at any moment.

What waits are coroutines driven by hand, in loops that turn when they are told to. So a leave can be met at each place
on its way to a task, while others use what it was for. A subclass says what may be done, and what must then be so.
"""

import asyncio
import gc
import random
import sys
from collections.abc import Callable
from typing import Any

from .driver import HandLoop, Stepper

__all__ = ["Item", "Program", "Wait", "run_programs"]


class Item(int):
    """A number whose references are counted for it alone."""


class Wait:
    """A coroutine that waits, what it wants, and the loop that it is in."""

    def __init__(self, name: Any, coroutine: Any, wants: Any, loop: HandLoop) -> None:
        self.name = name
        self.stepper = Stepper(coroutine)
        self.wants = wants
        self.loop = loop
        self.begun = False

    @property
    def can_step(self) -> bool:
        # Without a future it lets its loop run.
        return not self.begun or self.stepper.future is None or self.stepper.future.done()


class Program:
    """The steps that all programs have, and what waits."""

    STEPS = 60

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.loops = [HandLoop(), HandLoop()]
        self.waits: list[Wait] = []
        self.items: list[Item] = []
        self.steps: list[Callable[[], object]] = [
            *[self.step_one] * 4,
            *[self.turn] * 3,
            *[self.disturb] * 2,
            self.come_to_rest,
        ]

    def run(self) -> None:
        for _ in range(self.STEPS):
            self.rng.choice(self.steps)()
            self.check()
        self.come_to_rest()
        self.check()
        for wait in self.waits:
            wait.stepper.close()
        self.check_the_end()

    # --- for a subclass

    def note(self, result: Any, wait: Wait) -> None:
        """The coroutine has given this."""
        raise NotImplementedError

    def note_disturbance(self, wait: Wait) -> None:
        """It is about to be cancelled, closed, or thrown into."""

    def check(self) -> None:
        """What must be so after every step."""
        raise NotImplementedError

    def check_rest(self) -> None:
        """What must be so when everybody who was woken has gone on."""
        raise NotImplementedError

    def check_the_end(self) -> None:
        """What must be so when nobody waits any more."""
        raise NotImplementedError

    refusals: tuple[type[BaseException], ...] = (asyncio.CancelledError,)
    """What a coroutine may raise."""

    # --- steps

    def item(self) -> Item:
        self.items.append(Item(len(self.items)))
        return self.items[-1]

    def begin(self, name: Any, coroutine: Any, wants: Any) -> Wait:
        self.waits.append(wait := Wait(name, coroutine, wants, self.rng.choice(self.loops)))
        self.step(wait)
        return wait

    def step_one(self) -> None:
        if ready := [wait for wait in self.waits if wait.can_step]:
            self.step(self.rng.choice(ready))

    def step(self, wait: Wait) -> None:
        wait.begun = True
        with wait.loop.running():
            wait.stepper.step()
        if not wait.stepper.done:
            return
        self.waits.remove(wait)
        try:
            result = wait.stepper.result()
        except self.refusals:
            return
        self.note(result, wait)

    def turn(self) -> None:
        self.rng.choice(self.loops).turn()

    def disturb(self) -> None:
        if not self.waits:
            return
        wait, how = self.rng.choice(self.waits), self.rng.choice(["cancel", "close", "throw"])
        self.note_disturbance(wait)
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

    def come_to_rest(self) -> None:
        """Everybody who was woken goes on."""
        while any(loop.due for loop in self.loops) or any(wait.can_step for wait in self.waits):
            for loop in self.loops:
                loop.turn()
            for wait in [wait for wait in self.waits if wait.can_step]:
                self.step(wait)
        self.check_rest()


def run_programs(kind: Callable[[random.Random], Program], count: int, rng: random.Random) -> None:
    """So many of them; in the end each item has as many references as one that nobody has ever had."""
    items = [Item()]
    for _ in range(count):
        program = kind(rng)
        program.run()
        items += program.items
    del program
    gc.collect()
    assert {sys.getrefcount(items[n]) for n in range(len(items))} == {sys.getrefcount(items[0])}
