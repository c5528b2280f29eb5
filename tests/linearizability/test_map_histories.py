"""Recorded histories of threads on the keys of one map can all be explained one call at a time, key by key."""

import collections
import random
import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ferrule import ABORT, MISSING, REMOVE, ConcurrentMap, WouldDeadlock
from tests.support.history import History
from tests.support.linearizability import check
from tests.support.maps import CLASH, Key, assert_at_rest
from tests.support.models import Blocked
from tests.support.race import run_together

ERRORS = (KeyError, WouldDeadlock)
CALLS = 8
"""Random calls of each thread; two more at most let go of the keys it may still have entered."""


@dataclass(frozen=True)
class KeyModel:
    """One key of a ConcurrentMap: its value or MISSING, and who has entered it."""

    value: Hashable = MISSING
    owner: Hashable = None

    def _write(self, who: Hashable, answer: Any, value: Hashable) -> tuple[Any, "KeyModel"]:
        """A call that waits while another has the key entered, and would deadlock where its own thread has."""
        if self.owner == who:
            return WouldDeadlock, self
        if self.owner is not None:
            raise Blocked
        return answer, replace(self, value=value)

    def get(self) -> tuple[Any, "KeyModel"]:
        """`m.get(key, MISSING)`."""
        return self.value, self

    def contains(self) -> tuple[Any, "KeyModel"]:
        """`key in m`."""
        return self.value is not MISSING, self

    def set(self, who: Hashable, value: Hashable) -> tuple[Any, "KeyModel"]:
        """`m[key] = value`."""
        return self._write(who, None, value)

    def delete(self, who: Hashable) -> tuple[Any, "KeyModel"]:
        """`del m[key]`."""
        return self._write(who, KeyError if self.value is MISSING else None, MISSING)

    def pop(self, who: Hashable) -> tuple[Any, "KeyModel"]:
        """`m.pop(key, MISSING)`."""
        return self._write(who, self.value, MISSING)

    def setdefault(self, who: Hashable, value: Hashable) -> tuple[Any, "KeyModel"]:
        """`m.setdefault(key, value)`, which does not wait where the key is present."""
        return self._write(who, value, value) if self.value is MISSING else (self.value, self)

    def insert(self, who: Hashable, value: Hashable) -> tuple[Any, "KeyModel"]:
        """`m.insert(key, value, MISSING)`."""
        return self._write(who, self.value, value)

    def compare_and_set(self, who: Hashable, expected: Hashable, value: Hashable) -> tuple[Any, "KeyModel"]:
        """`m.compare_and_set(key, expected, value)`."""
        done = self.value == expected
        return self._write(who, done, value if done else self.value)

    def increment(self, who: Hashable) -> tuple[Any, "KeyModel"]:
        """`m.increment(key)`."""
        value = (self.value or 0) + 1
        return self._write(who, value, value)

    def compute(self, who: Hashable, answer: Hashable) -> tuple[Any, "KeyModel"]:
        """`m.compute(key, f)` where f gives twice the value, or this answer if it is REMOVE or ABORT."""
        if answer is ABORT:
            return self._write(who, self.value, self.value)
        value = MISSING if answer is REMOVE else (self.value or 0) * 2
        return self._write(who, value, value)

    def remove_even(self, who: Hashable) -> tuple[Any, "KeyModel"]:
        """`m.remove_if(key, even)`."""
        even = self.value is not MISSING and self.value % 2 == 0
        return self._write(who, even, MISSING if even else self.value)

    def enter(self, who: Hashable) -> tuple[Any, "KeyModel"]:
        """`m.entry(key)`."""
        return self._write(who, None, self.value)[0], (self if self.owner == who else replace(self, owner=who))

    def try_enter(self, who: Hashable) -> tuple[Any, "KeyModel"]:
        """`m.try_entry(key)`, which gave an entry."""
        return (True, replace(self, owner=who)) if self.owner is None else (False, self)

    def entry_insert(self, value: Hashable) -> tuple[Any, "KeyModel"]:
        """`entry.insert(value, MISSING)` by the owner."""
        return self.value, replace(self, value=value)

    def entry_remove(self) -> tuple[Any, "KeyModel"]:
        """`entry.remove(MISSING)` by the owner."""
        return self.value, replace(self, value=MISSING)

    def leave(self) -> tuple[Any, "KeyModel"]:
        """`entry.release()`."""
        return None, replace(self, owner=None)


METHODS = [
    *["get", "contains", "set", "delete", "pop", "setdefault", "insert", "compare_and_set", "increment", "compute"],
    *["get_or_compute"] * 2,
    *["remove_even", "enter", "try_enter", "use_entry", "use_entry", "leave"],
]


class Actor:
    """One thread's random calls on the map, recorded for each key as the model names them.

    It waits for a key only while it has entered none, and lets go at the end: so nobody waits for ever. A refusal of
    try_entry() is not recorded: a call of another thread that is under way may have entered the key.
    """

    def __init__(self, name, m, histories, rng):
        self.name = name
        self.map = m
        self.keys = list(histories)
        self.logs = {key: history.recorder(name) for key, history in histories.items()}
        self.taken = collections.defaultdict(list)
        self.rng = rng
        self.entered = None

    def run(self):
        for _ in range(CALLS):
            method, key = self.rng.choice(METHODS), self.rng.choice(self.keys)
            if self.entered and method not in ("get", "contains", "try_enter", "use_entry", "leave"):
                key = self.entered[0]  # its own, which does not wait
            getattr(self, method)(key, self.logs[key])
        self.leave(None, None)

    def get(self, key, log):
        log(lambda: self.map.get(key, MISSING), "get")

    def contains(self, key, log):
        log(lambda: key in self.map, "contains")

    def set(self, key, log):
        value = self.rng.randrange(100)
        log(lambda: self.map.__setitem__(key, value), "set", self.name, value, errors=ERRORS)

    def delete(self, key, log):
        log(lambda: self.map.__delitem__(key), "delete", self.name, errors=ERRORS)

    def pop(self, key, log):
        log(lambda: self.map.pop(key, MISSING), "pop", self.name, errors=ERRORS)

    def setdefault(self, key, log):
        value = self.rng.randrange(100)
        log(lambda: self.map.setdefault(key, value), "setdefault", self.name, value, errors=ERRORS)

    def get_or_compute(self, key, log):
        """It answers as setdefault() does: its value is the one that is published, or was there, whoever made it."""
        value = self.rng.randrange(100)

        def factory():
            time.sleep(0)
            return value

        log(lambda: self.map.get_or_compute(key, factory), "setdefault", self.name, value, errors=ERRORS)

    def insert(self, key, log):
        value = self.rng.randrange(100)
        log(lambda: self.map.insert(key, value, MISSING), "insert", self.name, value, errors=ERRORS)

    def compare_and_set(self, key, log):
        expected, value = self.map.get(key, MISSING), self.rng.choice([MISSING, self.rng.randrange(100)])
        call = "compare_and_set"
        log(lambda: self.map.compare_and_set(key, expected, value), call, self.name, expected, value, errors=ERRORS)

    def increment(self, key, log):
        log(lambda: self.map.increment(key), "increment", self.name, errors=ERRORS)

    def compute(self, key, log):
        answer = self.rng.choice([None, REMOVE, ABORT])
        log(
            lambda: self.map.compute(key, lambda old: (old or 0) * 2 if answer is None else answer),
            "compute",
            self.name,
            answer,
            errors=ERRORS,
        )

    def remove_even(self, key, log):
        log(lambda: self.map.remove_if(key, lambda value: value % 2 == 0), "remove_even", self.name, errors=ERRORS)

    def enter(self, key, log):
        taken = []
        log(lambda: taken.append(self.map.entry(key)), "enter", self.name, errors=ERRORS)
        if taken:
            self.entered = key, taken[0]

    def try_enter(self, key, _):
        if self.entered and key != self.entered[0]:
            return
        taken, history = [], History()
        history.recorder(self.name)(
            lambda: taken.append(self.map.try_entry(key)) or taken[0] is not None, "try_enter", self.name
        )
        if taken[0] is not None:
            self.entered = key, taken[0]
            self.taken[key] += history.calls()

    def use_entry(self, *_):
        if self.entered:
            key, entry = self.entered
            if self.rng.random() < 0.3:
                self.logs[key](lambda: entry.remove(MISSING), "entry_remove")
            else:
                value = self.rng.randrange(100)
                self.logs[key](lambda: entry.insert(value, MISSING), "entry_insert", value)

    def leave(self, *_):
        if self.entered:
            key, entry = self.entered
            self.entered = None
            self.logs[key](entry.release, "leave")


def assert_explained(histories, actors):
    """Each key's calls, whoever made them, could have happened one at a time."""
    for key, history in histories.items():
        calls = [*history.calls(), *(call for actor in actors for call in actor.taken[key])]
        verdict = check(calls, KeyModel())
        assert verdict, repr(verdict)


KEYS = {
    "one key": ["k"],
    "two keys": [1, 2],
    "compared in Python": [Key("a"), Key("b", 2)],
}


@pytest.mark.parametrize("keys", KEYS)
@pytest.mark.parametrize("resized", [False, True], ids=["alone", "while tables are replaced"])
def test_every_history_of_a_key_is_linearizable(keys, resized, rng, request):
    for _ in range(10_000 if request.config.option.long else 150):
        m = ConcurrentMap(shards=rng.choice([1, 2]))
        histories = {key: History() for key in KEYS[keys]}
        actors = [Actor(f"T{n}", m, histories, random.Random(rng.random())) for n in range(3)]
        done = []

        def resize(m=m, done=done):
            while len(done) < 3:
                for n in range(1000, 1040):
                    m[n] = n
                for n in range(1000, 1040):
                    del m[n]
                m.shrink()

        def act(actor, done=done):
            try:
                actor.run()
            finally:
                done.append(actor)

        run_together(*(lambda actor=actor: act(actor) for actor in actors), *[resize] * resized)
        assert_explained(histories, actors)
        assert_at_rest(m)


def test_every_history_of_two_clashing_keys_is_linearizable(rng):
    """Keys of equal hash share a hold, so only calls that take none are made: each key is a register of its own."""
    methods = ["get", "contains", "set", "delete", "pop", "setdefault", "insert", "compare_and_set", "increment"]
    methods += ["get_or_compute"] * 2
    for _ in range(150):
        m = ConcurrentMap()
        histories = {key: History() for key in (5, 5 + CLASH)}
        actors = [Actor(f"T{n}", m, histories, random.Random(rng.random())) for n in range(3)]

        def run(actor):
            for _ in range(CALLS):
                key = actor.rng.choice(actor.keys)
                getattr(actor, actor.rng.choice(methods))(key, actor.logs[key])

        run_together(*(lambda actor=actor: run(actor) for actor in actors))
        assert_explained(histories, actors)
        assert_at_rest(m)


def test_who_enters_a_key_sees_all_that_was_written_before_the_release():
    """Plain data of other objects too: what one wrote before it released, the next one reads."""
    for _ in range(300):
        m, written = ConcurrentMap(), collections.defaultdict(list)
        entry = m.entry("k")
        started = threading.Event()

        def release(entry=entry, written=written, started=started):
            started.set()
            written["by the first"].append(True)
            entry.release()

        def enter(m=m, written=written, started=started):
            started.wait()
            with m.entry("k"):
                return dict(written)

        assert run_together(release, enter) == (None, {"by the first": [True]})
