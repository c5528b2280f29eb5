"""Recorded histories of threads on one Mutex can all be explained one call at a time."""

import random
import threading

import pytest

from ferrule import Mutex, Timeout, WouldDeadlock
from tests.support.history import History
from tests.support.linearizability import check
from tests.support.models import MutexModel
from tests.support.race import run_together

ERRORS = (Timeout, WouldDeadlock, RuntimeError)
CALLS = 8
"""Random calls of each thread; two more at most let go of what it may still hold."""
METHODS = ["lock", "lock_now", "try_lock", "acquire", "release", "release_guard", "get", "set", "set", "locked"]


class Actor:
    """One thread's random calls on the mutex, recorded as the model names them.

    It waits only while it holds nothing itself, as far as it knows, and lets go at the end: so nobody waits for ever.
    """

    def __init__(self, name, mutex, history, rng):
        self.name = name
        self.mutex = mutex
        self.log = history.recorder(name)
        self.rng = rng
        self.guards = {}
        self.last = None
        self.acquired = False

    def run(self):
        for _ in range(CALLS):
            getattr(self, self.rng.choice(METHODS))()
        if self.last:
            self.release_guard()
        if self.acquired:
            self.release()

    def take(self, function, name):
        """Keeps the guard under the model's name for it; says only whether there was one."""

        def taken():
            if (guard := function()) is None:
                return False
            self.guards[name] = guard
            return True

        return taken

    def fresh(self):
        return f"{self.name}-{len(self.guards)}"

    def lock(self):
        if self.acquired:
            return self.locked()
        name = self.fresh()
        take = self.take(self.mutex.lock, name)
        if self.log(lambda: take() and None, "lock", self.name, name, errors=ERRORS) is None:
            self.last = name
        return None

    def lock_now(self):
        name = self.fresh()
        take = self.take(lambda: self.mutex.lock(timeout=0), name)
        if self.log(lambda: take() and None, "lock_now", self.name, name, errors=ERRORS) is None:
            self.last = name

    def try_lock(self):
        name = self.fresh()
        if self.log(self.take(self.mutex.try_lock, name), "try_lock", self.name, name):
            self.last = name

    def acquire(self):
        if self.last or self.acquired:
            self.acquired |= self.log(lambda: self.mutex.acquire(False), "try_acquire")
        else:
            self.acquired |= self.log(self.mutex.acquire, "acquire")

    def release(self):
        self.acquired = False
        self.log(self.mutex.release, "release", errors=ERRORS)

    def release_guard(self):
        if name := self.last or next(iter(self.guards), None):
            self.last = None
            self.log(self.guards[name].release, "guard_release", name, errors=ERRORS)

    def get(self):
        if self.guards:
            name = self.rng.choice(list(self.guards))
            self.log(lambda: self.guards[name].value, "get", name, errors=ERRORS)

    def set(self):
        if self.guards:
            name, value = self.rng.choice(list(self.guards)), self.rng.randrange(10**9)
            self.log(lambda: setattr(self.guards[name], "value", value), "set", name, value, errors=ERRORS)

    def locked(self):
        self.log(self.mutex.locked, "locked")


@pytest.mark.parametrize("fair", [False, True], ids=["eventually-fair", "fair"])
@pytest.mark.parametrize("threads", [2, 3])
def test_every_history_is_linearizable(threads, fair, rng, request):
    for _ in range(10_000 if request.config.option.long else 300):
        mutex, history = Mutex("first", fair=fair), History()
        actors = [Actor(f"T{n}", mutex, history, random.Random(rng.random())) for n in range(threads)]
        run_together(*(actor.run for actor in actors))
        verdict = check(history.calls(), MutexModel("first"))
        assert verdict, repr(verdict)
        if mutex.locked():
            mutex.release()
        assert mutex._state() == {"locked": False, "parked": False, "waiters": []}


def test_a_thread_that_takes_what_another_released_sees_it_released():
    """The shortest histories that a lock without order would get wrong: two threads, one hold passed on."""
    for _ in range(300):
        mutex, history = Mutex(0), History()
        guard = mutex.lock()
        started = threading.Event()
        history.recorder("main")(lambda: None, "lock", "main", "g")

        def release(history=history, guard=guard, started=started):
            log = history.recorder("main")
            started.set()
            log(lambda: setattr(guard, "value", 1), "set", "g", 1)
            log(guard.release, "guard_release", "g")

        def take(history=history, mutex=mutex, started=started):
            log = history.recorder("other")
            started.wait()
            taken = []
            log(lambda: taken.append(mutex.lock()), "lock", "other", "h")
            log(lambda: taken[0].value, "get", "h")
            log(taken[0].release, "guard_release", "h")

        run_together(release, take)
        verdict = check(history.calls(), MutexModel(0))
        assert verdict, repr(verdict)
