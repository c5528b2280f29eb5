"""Recorded histories of threads on one RWLock can all be explained one call at a time."""

import random
from dataclasses import replace

import pytest

from ferrule import RWLock, Timeout, WouldDeadlock
from tests.support.history import History
from tests.support.linearizability import MOST_CALLS, check
from tests.support.race import run_together
from tests.support.rwlock_model import Guard, RWLockModel
from tests.support.rwlocks import FREE, TAKE, TRY

ERRORS = (Timeout, WouldDeadlock, RuntimeError)
CALLS = 7
"""Random calls of each thread; three more at most end what it may still hold."""
METHODS = ["take", "take", "take_now", "try_take", "try_take", "end", "convert", "upgrade", "get", "set", "set", "look"]
WAYS = ["read", "read_recursive", "upgradable", "write", "write"]
LOOKS = ["locked", "locked_exclusive", "readers"]


class Actor:
    """One thread's random calls on the lock, recorded as the model names them.

    It waits only while it holds nothing, or for the readers in an upgrade, and ends its hold at the end: so nobody does
    for ever.
    """

    def __init__(self, name, lock, history, rng, most):
        self.name = name
        self.lock = lock
        self.record = history.recorder(name)
        self.left = most  # calls that it may make, the ends of its holds among them
        self.rng = rng
        self.guards = {}
        self.held = []  # that it has taken and not ended, as far as it knows

    def run(self):
        for _ in range(CALLS):
            if self.left < len(self.held) + 2:  # a call, and the end of one more hold
                break
            getattr(self, self.rng.choice(METHODS))()
        while self.held:
            self.end()

    def log(self, *call, **named):
        self.left -= 1
        return self.record(*call, **named)

    def fresh(self, kind):
        return Guard.of(f"{self.name}-{len(self.guards)}", kind, self.name)

    def keeps(self, guard, function):
        """The call's guard is kept under the model's name for it; there is one, or not, or an error."""

        def call():
            made = function()
            if made is not None:
                self.guards[guard] = made
            return made is not None

        return call

    def any_way(self):
        way = self.rng.choice(WAYS)
        return (way, "read", True) if way == "read_recursive" else (way, way, False)

    def take(self):
        if self.held:
            return self.try_take()
        way, kind, passes = self.any_way()
        guard = self.fresh(kind)
        function = self.keeps(guard, lambda: TAKE[way](self.lock))
        self.log(lambda: function() and None, "take", guard, passes, errors=ERRORS)
        return self.held.append(guard)

    def try_take(self):
        way, kind, passes = self.any_way()
        guard = self.fresh(kind)
        if self.log(self.keeps(guard, lambda: TRY[way](self.lock)), "try_take", guard, passes):
            self.held.append(guard)

    def take_now(self):
        way, kind, passes = self.any_way()
        guard = self.fresh(kind)
        function = self.keeps(guard, lambda: TAKE[way](self.lock, timeout=0))
        if self.log(lambda: function() and None, "take_now", guard, passes, errors=ERRORS) is None:
            self.held.append(guard)

    def end(self):
        if self.held:
            guard = self.held.pop()
            if self.rng.random() < 0.5:
                self.log(self.guards[guard].release, "release", guard, errors=ERRORS)
            else:
                self.log(lambda: self.guards[guard].__exit__(None, None, None), "leave_block", guard)

    def of_kind(self, *kinds):
        """A guard of its own, spent or not."""
        guards = [guard for guard in self.guards if guard.kind in kinds]
        return self.rng.choice(guards) if guards else None

    def convert(self):
        if guard := self.of_kind("upgradable", "write"):
            kind = "read" if guard.kind == "upgradable" else self.rng.choice(["read", "upgradable"])
            successor = guard.successor(self.fresh(kind).name, kind)
            convert = getattr(self.guards[guard], "downgrade" if kind == "read" else "downgrade_to_upgradable")
            function = self.keeps(successor, convert)
            self.converted(
                guard, successor, self.log(lambda: function() and None, "convert", guard, successor, errors=ERRORS)
            )

    def upgrade(self):
        if guard := self.of_kind("upgradable"):
            writer = guard.successor(self.fresh("write").name, "write")
            if self.held == [guard] and self.rng.random() < 0.5:
                function = self.keeps(writer, self.guards[guard].upgrade)
                answer = self.log(lambda: function() and None, "upgrade", guard, writer, errors=ERRORS)
                self.converted(guard, writer, answer)
            else:
                function = self.keeps(writer, self.guards[guard].try_upgrade)
                if self.log(function, "try_upgrade", guard, writer, errors=ERRORS) is True:
                    self.converted(guard, writer, None)

    def converted(self, guard, successor, answer):
        if answer is None:
            self.held[self.held.index(guard)] = successor

    def get(self):
        if guard := self.of_kind("read", "upgradable", "write"):
            self.log(lambda: self.guards[guard].value, "get", guard, errors=ERRORS)

    def set(self):
        if guard := self.of_kind("write"):
            value = self.rng.randrange(10**9)
            self.log(lambda: setattr(self.guards[guard], "value", value), "set", guard, value, errors=ERRORS)

    def look(self):
        name = self.rng.choice(LOOKS)
        self.log(lambda: self.lock.readers if name == "readers" else getattr(self.lock, name)(), name)


def explained(history, value):
    """Whether the history is linearizable. It does not say who waits: a try in vain may have found somebody waiting."""
    calls = [
        replace(call, name="refuses", args=(call.args[0].kind,), result=True)
        if call.name in ("try_take", "take_now") and call.result in (False, Timeout) and not call.args[1]
        else call
        for call in history.calls()
    ]
    return check(calls, RWLockModel(value))


@pytest.mark.parametrize("threads", [2, 3])
def test_every_history_is_linearizable(threads, rng, request):
    for _ in range(10_000 if request.config.option.long else 300):
        lock, history = RWLock("first"), History()
        actors = [
            Actor(f"T{n}", lock, history, random.Random(rng.random()), MOST_CALLS // threads) for n in range(threads)
        ]
        run_together(*(actor.run for actor in actors))
        verdict = explained(history, "first")
        assert verdict, repr(verdict)
        assert lock._state() == FREE


@pytest.mark.parametrize("way", ["read", "read_recursive", "upgradable"])
def test_what_a_writer_wrote_is_there_for_who_reads_after_it(way):
    """The shortest histories that a lock without order would get wrong: two threads, one hold after the other."""
    for _ in range(300):
        lock, history = RWLock(0), History()
        guard = lock.write()
        writer = Guard.of("g", "write", "main")
        history.recorder("main")(lambda: None, "take", writer)

        def write(history=history, guard=guard, writer=writer):
            log = history.recorder("main")
            log(lambda: setattr(guard, "value", 1), "set", writer, 1)
            log(guard.release, "release", writer)

        def read(history=history, lock=lock):
            log = history.recorder("other")
            reader = Guard.of("h", "upgradable" if way == "upgradable" else "read", "other")
            taken = []
            log(lambda: taken.append(TAKE[way](lock)), "take", reader, way == "read_recursive")
            log(lambda: taken[0].value, "get", reader)
            log(taken[0].release, "release", reader)

        run_together(write, read)
        verdict = explained(history, 0)
        assert verdict, repr(verdict)


def test_the_value_does_not_change_between_an_upgradable_read_and_its_upgrade():
    for _ in range(300):
        lock, history = RWLock(0), History()

        def add(name, history=history, lock=lock):
            log = history.recorder(name)
            before = Guard.of(name, "upgradable", name)
            writer = before.successor(f"{name}-writer", "write")
            taken = []
            log(lambda: taken.append(lock.upgradable_read()), "take", before)
            value = log(lambda: taken[0].value, "get", before)
            log(lambda: taken.append(taken[0].upgrade()), "upgrade", before, writer)
            log(lambda: setattr(taken[1], "value", value + 1), "set", writer, value + 1)
            log(taken[1].release, "release", writer)

        def look(history=history, lock=lock):
            log = history.recorder("reader")
            for number in range(3):
                reader = Guard.of(f"r{number}", "read", "reader")
                taken = []
                log(lambda taken=taken: taken.append(lock.read()), "take", reader)
                log(lambda taken=taken: taken[0].value, "get", reader)
                log(taken[0].release, "release", reader)

        run_together(lambda: add("a"), lambda: add("b"), look)
        verdict = explained(history, 0)
        assert verdict, repr(verdict)
        with lock.read() as guard:
            assert guard.value == 2
