"""Races: functions that start together in threads of their own, and that must end.

    won = run_together(lambda: m.try_lock(), lambda: m.try_lock())
    assert sum(guard is not None for guard in won) == 1

Nothing here decides a result by time: a timeout only tells a hang from a delay, and a hang fails with every stack.
"""

import faulthandler
import functools
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = [
    "EXAMPLES",
    "HANG",
    "RACES",
    "Hung",
    "Running",
    "eventually",
    "outcome",
    "raced",
    "raises",
    "refused",
    "run_together",
    "soon",
    "spawn",
    "stacks",
    "storm",
]

HANG = 30.0
"""Seconds after which a wait is a hang."""

RACES = int(os.environ.get("FERRULE_RACES", "500"))
"""How often an outcomes test races; fewer under a sanitizer, more where mutants are to be killed."""

EXAMPLES = int(os.environ.get("FERRULE_EXAMPLES", "1"))
"""How many times as many examples a property test tries: to be raised when one looks for what is rare."""

GIL = getattr(sys, "_is_gil_enabled", lambda: True)()

SPINS = 0 if GIL else 2000
"""How often a racer looks for the others before it yields its core: with the GIL they cannot come while it looks."""


class Hung(AssertionError):
    """Something did not end in time; the message shows where every thread was."""


def stacks() -> str:
    """The stack of every thread, as faulthandler sees it."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()


class Running:
    """A function running in its own thread. The thread is a daemon: one that hangs does not outlive the process."""

    def __init__(self, function: Callable[[], Any], name: str | None = None) -> None:
        self._function = function
        self._result: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._result = self._function()
        except BaseException as error:  # whatever it is, it belongs to the thread that asks for the result
            self.error = error

    @property
    def alive(self) -> bool:
        return self.thread.is_alive()

    def join(self, timeout: float = HANG) -> None:
        """Waits for the end, whatever it was. In steps: without the GIL it may need what can be destroyed here only."""
        deadline = time.monotonic() + timeout
        while self.alive and time.monotonic() < deadline:
            self.thread.join(min(timeout, 0.05))
        if self.alive:
            raise Hung(f"{self.thread.name} did not end in {timeout:g} s\n{stacks()}")

    def result(self, timeout: float = HANG) -> Any:
        """What the function returned or raised, once it ended."""
        self.join(timeout)
        if self.error is not None:
            raise self.error
        return self._result


def spawn(function: Callable[..., Any], *args: Any, name: str | None = None) -> Running:
    """Starts `function(*args)` in a thread of its own."""
    return Running(lambda: function(*args), name)


def run_together(*functions: Callable[[], Any], timeout: float = HANG) -> tuple[Any, ...]:
    """What each function returns when all run at once, each in its own thread.

    An exception is raised again after all have ended, an ExceptionGroup if there are several. A hang raises Hung.
    """
    arrived: list[None] = []
    ready: list[None] = []

    def released(function: Callable[[], Any]) -> Any:
        _meet(arrived, len(functions), spins=0)  # everybody has a thread that runs
        _meet(ready, len(functions), spins=SPINS)  # and is awake now
        for _ in range(random.randrange(4)):  # who goes first is open, and by how much
            if GIL:
                time.sleep(0)
        return function()

    running = [spawn(released, function, name=f"racer-{n}") for n, function in enumerate(functions)]
    deadline = time.monotonic() + timeout
    for one in running:
        one.join(max(0.0, deadline - time.monotonic()))
    errors = [one.error for one in running if one.error is not None]
    if len(errors) > 1:
        raise BaseExceptionGroup(f"{len(errors)} of {len(functions)} racers raised", errors)
    return tuple(one.result() for one in running)


def _meet(here: list[None], count: int, spins: int) -> None:
    here.append(None)
    while len(here) < count:
        if spins:
            spins -= 1
        else:
            time.sleep(0)


def outcome(function: Callable[..., Any], *errors: type[BaseException]) -> Callable[..., Any]:
    """`function`, but for one of these errors the exact type of what it raised is its result.

    run_together(outcome(guard.release, RuntimeError), outcome(guard.release, RuntimeError))
    """

    def caught(*args: Any) -> Any:
        try:
            return function(*args)
        except errors as error:
            return type(error)

    return caught


def storm(threads: int, work: Callable[[int], Any], seconds: float) -> list[int]:
    """Calls `work(thread number)` over and over in each of many threads at once; how often each thread did.

    Every thread calls it at least once. The first error stops all of them.
    """
    stop = threading.Event()
    deadline = time.monotonic() + seconds

    def repeat(number: int) -> int:
        calls = 0
        try:
            while not calls or (time.monotonic() < deadline and not stop.is_set()):
                work(number)
                calls += 1
        finally:
            if time.monotonic() < deadline:
                stop.set()
        return calls

    return list(run_together(*(lambda n=n: repeat(n) for n in range(threads)), timeout=seconds + HANG))


def eventually(condition: Callable[[], Any], timeout: float = HANG) -> Any:
    """Waits until `condition()` is true and returns what it was; raises Hung if it never is."""
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise Hung(f"{condition} was not true in {timeout:g} s\n{stacks()}")
        time.sleep(0.0005)
    return value


def raced(times: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A test that is one race, run so many times."""

    def repeated(race: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(race)
        def test(*args: Any, **named: Any) -> None:
            for _ in range(times):
                race(*args, **named)

        return test

    return repeated


def soon(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """The call after a random pause of up to 0.2 ms, which is about when the other side of a race acts."""

    def paused() -> Any:
        end = time.perf_counter() + random.random() * 0.0002
        while time.perf_counter() < end:
            pass
        return function(*args)

    return paused


def raises(kind: type[BaseException], function: Callable[..., Any], *args: Any, **named: Any) -> None:
    """Fails unless the call raises an error of that kind, which is dropped."""
    try:
        function(*args, **named)
    except kind:
        return
    raise AssertionError("nothing was raised")


def refused(function: Callable[..., Any], *args: Any) -> Callable[[], Any]:
    """The call, with RuntimeError as a result."""
    return lambda: outcome(function, RuntimeError)(*args)
