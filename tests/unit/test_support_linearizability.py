"""The linearizability checker accepts and rejects planted histories, and agrees with a search of every order."""

import itertools
import random
import threading
from dataclasses import dataclass, replace

import pytest

from tests.support.history import Call, History, call
from tests.support.linearizability import MOST_CALLS, check
from tests.support.models import Blocked, MutexModel
from tests.support.race import eventually, run_together, spawn


@dataclass(frozen=True)
class Register:
    value: int = 0

    def read(self):
        return self.value, self

    def write(self, value):
        return None, Register(value)


@dataclass(frozen=True)
class Queue:
    items: tuple = ()

    def put(self, item):
        return None, Queue((*self.items, item))

    def get(self):
        if not self.items:
            raise Blocked
        return self.items[0], Queue(self.items[1:])

    def try_get(self):
        return self.get() if self.items else (None, self)


ACCEPTED = {
    "nothing happened": (Register(), []),
    "one after the other": (Register(), [call(0, 1, "write", 1), call(2, 3, "read", result=1)]),
    "a read during a write sees the old value": (Register(), [call(0, 9, "write", 1), call(1, 2, "read", result=0)]),
    "a read during a write sees the new value": (Register(), [call(0, 9, "write", 1), call(1, 2, "read", result=1)]),
    "two writes overlap and the earlier wins": (
        Register(),
        [call(0, 9, "write", 1), call(1, 8, "write", 2), call(10, 11, "read", result=1)],
    ),
    "equal times overlap": (Register(), [call(0, 1, "write", 1), call(1, 2, "read", result=0)]),
    "a pending write took effect": (Register(), [call(0, None, "write", 1), call(1, 2, "read", result=1)]),
    "a pending write took no effect": (Register(), [call(0, None, "write", 1), call(1, 2, "read", result=0)]),
    "a lock changes hands": (
        MutexModel(),
        [
            call(0, 1, "lock", "A", "a"),
            call(2, 7, "lock", "B", "b"),
            call(3, 4, "try_lock", "C", "c", result=False),
            call(5, 6, "guard_release", "a"),
            call(8, 9, "guard_release", "b"),
        ],
    ),
    "one of two racing releases wins": (
        MutexModel(),
        [
            call(0, 1, "lock", "A", "a"),
            call(2, 5, "guard_release", "a", result=RuntimeError),
            call(3, 4, "guard_release", "a"),
        ],
    ),
    "a waiter of a lock never got it": (MutexModel(), [call(0, 1, "lock", "A", "a"), call(2, None, "lock", "B", "b")]),
    "first in, first out": (
        Queue(),
        [call(0, 1, "put", 1), call(2, 3, "put", 2), call(4, 5, "get", result=1), call(4, 5, "get", result=2)],
    ),
    "a get waits for its put": (Queue(), [call(0, 9, "get", result=1), call(1, 2, "put", 1)]),
    "overlapping puts come in either order": (
        Queue(),
        [call(0, 5, "put", 1), call(1, 4, "put", 2), call(6, 7, "get", result=2), call(8, 9, "get", result=1)],
    ),
}

REJECTED = {
    "a read sees what nobody wrote": (Register(), [call(0, 1, "read", result=7)]),
    "a read sees an overwritten value": (
        Register(),
        [call(0, 1, "write", 1), call(2, 3, "write", 2), call(4, 5, "read", result=1)],
    ),
    "a read sees a later write": (Register(), [call(0, 1, "read", result=1), call(2, 3, "write", 1)]),
    "two reads see an overlapping write come and go": (
        Register(),
        [call(0, 9, "write", 1), call(1, 2, "read", result=1), call(3, 4, "read", result=0)],
    ),
    "a pending write came and went": (
        Register(),
        [call(0, None, "write", 1), call(1, 2, "read", result=1), call(3, 4, "read", result=0)],
    ),
    "two hold one lock": (MutexModel(), [call(0, 5, "lock", "A", "a"), call(1, 6, "lock", "B", "b")]),
    "a free lock refuses": (
        MutexModel(),
        [
            call(0, 1, "lock", "A", "a"),
            call(2, 3, "guard_release", "a"),
            call(4, 5, "try_lock", "B", "b", result=False),
        ],
    ),
    "two releases of one guard win": (
        MutexModel(),
        [call(0, 1, "lock", "A", "a"), call(2, 5, "guard_release", "a"), call(3, 4, "guard_release", "a")],
    ),
    "an item comes twice": (
        Queue(),
        [call(0, 1, "put", 1), call(2, 5, "get", result=1), call(3, 4, "get", result=1)],
    ),
    "an item is lost": (Queue(), [call(0, 1, "put", 1), call(2, 3, "try_get", result=None)]),
    "the second item comes first": (
        Queue(),
        [call(0, 1, "put", 1), call(2, 3, "put", 2), call(4, 5, "get", result=2), call(6, 7, "get", result=1)],
    ),
    "two gets before any put": (Queue(), [call(0, 3, "get", result=1), call(4, 9, "put", 1)]),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_it_accepts(name):
    model, history = ACCEPTED[name]
    verdict = check(history, model)
    assert verdict
    assert {id(c) for c in verdict.order} >= {id(c) for c in history if not c.pending}


@pytest.mark.parametrize("name", REJECTED)
def test_it_rejects(name):
    model, history = REJECTED[name]
    assert not check(history, model)


def every_order_explains(history, model):
    """The definition itself, without pending calls: some permutation that keeps the order of time and all answers."""

    def explains(order):
        state = model
        for position, one in enumerate(order):
            if any(later.end < one.begin for later in order[position + 1 :]):
                return False
            try:
                answer, state = getattr(state, one.name)(*one.args)
            except Blocked:
                return False
            if answer != one.result:
                return False
        return True

    return any(explains(order) for order in itertools.permutations(history))


def test_it_agrees_with_a_search_of_every_order(rng):
    verdicts = []
    for _ in range(400):
        history = [random_queue_call(rng) for _ in range(5)]
        verdicts.append(bool(check(history, Queue())))
        assert verdicts[-1] == every_order_explains(history, Queue()), history
    assert set(verdicts) == {True, False}


def random_queue_call(rng: random.Random) -> Call:
    begin = rng.randrange(20)
    end = begin + rng.randrange(1, 10)
    if rng.random() < 0.5:
        return call(begin, end, "put", rng.randrange(3))
    return call(begin, end, "try_get", result=rng.choice([None, 0, 1, 2]))


def test_a_full_size_history_is_searched_quickly():
    writers = [call(10 * n, 10 * n + 25, "write", n % 3, thread=thread) for thread in "AB" for n in range(10)]
    readers = [call(10 * n, 10 * n + 25, "read", result=(n + 1) % 3, thread="C") for n in range(10)]
    assert check([*writers, *readers], Register())
    assert not check([*writers, *readers[:-1], replace(readers[-1], result=7)], Register())


def test_too_many_calls_are_refused():
    with pytest.raises(ValueError, match="too many"):
        check([call(n, n, "read", result=0) for n in range(MOST_CALLS + 1)], Register())


def test_the_verdict_explains():
    assert repr(check([call(0, 1, "write", 1)], Register())) == "linearizable:\n    T: write(1) -> None"
    verdict = check([call(0, 1, "put", 1), call(2, 3, "put", 2), call(4, 5, "get", result=2)], Queue())
    assert repr(verdict) == (
        "not linearizable; the longest explanation:\n"
        "    T: put(1) -> None\n"
        "    T: put(2) -> None\n"
        "after which none can be next:\n"
        "    T: get() -> 2    but the model answers 1"
    )


class TestRecording:
    def test_calls_carry_times_results_and_errors(self):
        history = History()
        log = history.recorder("T1")
        assert log(lambda: 5, "read") == 5
        assert log(lambda: {}["k"], "write", 1, errors=[KeyError]) is KeyError
        first, second = history.calls()
        assert (first.thread, first.name, first.args, first.result) == ("T1", "read", (), 5)
        assert (second.name, second.args, second.result) == ("write", (1,), KeyError)
        assert first.begin <= first.end <= second.begin <= second.end

    def test_a_call_that_has_not_ended_is_pending(self):
        history, inside, go_on = History(), threading.Event(), threading.Event()
        waiting = spawn(history.recorder("T1"), lambda: inside.set() or go_on.wait(), "lock", "T1", "g")
        eventually(inside.is_set)
        assert [c.pending for c in history.calls()] == [True]
        go_on.set()
        waiting.join()
        assert [c.pending for c in history.calls()] == [False]

    def test_a_real_lock_is_linearizable_and_a_broken_one_is_not(self):
        lock = threading.Lock()

        def play(acquire, release):
            history = History()

            def worker(name):
                log = history.recorder(name)
                for n in range(3):
                    if log(acquire, "try_lock", name, f"{name}{n}"):
                        log(release, "guard_release", f"{name}{n}")

            run_together(lambda: worker("A"), lambda: worker("B"))
            return history.calls()

        assert check(play(lambda: lock.acquire(blocking=False), lock.release), MutexModel())
        assert not check(play(lambda: False, lambda: None), MutexModel())
