"""acquire(), release() and locked() answer as threading.Lock's do: each case is put to both."""

import decimal
import fractions
import math
import threading

import pytest

from ferrule import Mutex
from tests.support.mutexes import FREE, TAKEN
from tests.support.race import eventually, spawn


class Index:
    def __index__(self):
        return 1

    def __repr__(self):
        return "Index()"


def answer(function, *args, **named):
    """What a call gave: its value, or the class of what it raised."""
    try:
        return function(*args, **named)
    except Exception as error:
        return type(error)


ACCEPTED = [
    ((), {}),
    ((True,), {}),
    ((False,), {}),
    ((1,), {}),
    ((0,), {}),
    ((2,), {}),
    ((Index(),), {}),
    ((), {"blocking": True}),
    ((), {"blocking": False}),
    ((False, -1), {}),
    ((False, -1.0), {}),
    ((True, -1), {}),
    ((True, -1.0), {}),
    ((True, 0), {}),
    ((True, 1e-9), {}),
    ((True, True), {}),
    ((True, Index()), {}),
    ((True, 5), {}),
    ((), {"timeout": 5.5}),
    ((), {"blocking": True, "timeout": 5}),
    ((True, threading.TIMEOUT_MAX), {}),
]
REFUSED = [
    ((False, 1), {}),
    ((False, 0), {}),
    ((False, True), {}),
    ((), {"blocking": False, "timeout": 1}),
    ((True, -2), {}),
    ((True, -0.5), {}),
    ((), {"timeout": -1e-3}),
    ((True, math.nan), {}),
    ((True, math.inf), {}),
    ((True, -math.inf), {}),
    ((True, 1e308), {}),
    ((True, threading.TIMEOUT_MAX + 1), {}),
    ((True, threading.TIMEOUT_MAX * 3), {}),
    ((True, 10**40), {}),
    ((True, -(10**40)), {}),
    ((True, None), {}),
    ((True, "1"), {}),
    ((True, 1j), {}),
    ((True, fractions.Fraction(1, 2)), {}),
    ((True, decimal.Decimal(1)), {}),
    ((True, 1, 1), {}),
    ((), {"wait": True}),
    ((True,), {"blocking": True}),
]


@pytest.mark.parametrize(("args", "named"), ACCEPTED + REFUSED, ids=repr)
def test_acquiring_a_free_lock(args, named):
    model, mutex = threading.Lock(), Mutex()
    assert answer(mutex.acquire, *args, **named) == answer(model.acquire, *args, **named)
    assert mutex.locked() == model.locked()


@pytest.mark.parametrize(("args", "named"), REFUSED, ids=repr)
def test_a_refused_call_leaves_a_taken_lock_alone(args, named):
    model, mutex = threading.Lock(), Mutex()
    model.acquire()
    mutex.acquire()
    assert answer(mutex.acquire, *args, **named) == answer(model.acquire, *args, **named)
    assert mutex._state() == TAKEN


@pytest.mark.parametrize(
    ("args", "named"),
    [((False,), {}), ((0,), {}), ((True, 0), {}), ((True, 1e-9), {}), ((True, 0.01), {}), ((), {"timeout": 0.001})],
    ids=repr,
)
def test_acquiring_a_taken_lock(args, named):
    model, mutex = threading.Lock(), Mutex()
    model.acquire()
    mutex.acquire()
    assert mutex.acquire(*args, **named) is model.acquire(*args, **named) is False
    assert mutex._state() == TAKEN


@pytest.mark.parametrize(
    ("args", "named"),
    [((), {}), ((True,), {}), ((True, -1), {}), ((True, 20), {}), ((True, threading.TIMEOUT_MAX), {})],
    ids=repr,
)
def test_waits_until_another_thread_releases(args, named):
    mutex = Mutex()
    mutex.acquire()
    waiting = spawn(lambda: mutex.acquire(*args, **named))
    eventually(lambda: mutex._state()["waiters"])
    mutex.release()
    assert waiting.result() is True
    assert mutex._state() == TAKEN


def test_releasing_a_free_lock_is_the_same_error():
    model, mutex = threading.Lock(), Mutex()
    assert answer(mutex.release) is answer(model.release) is RuntimeError
    mutex.acquire()
    mutex.release()
    assert answer(mutex.release) is RuntimeError
    assert mutex.acquire(False) is True


def test_release_gives_none_and_takes_nothing():
    mutex = Mutex()
    mutex.acquire()
    assert answer(mutex.release, 1) is TypeError
    assert mutex.locked()
    assert mutex.release() is None
    assert not mutex.locked()


def test_is_released_by_another_thread():
    mutex = Mutex()
    mutex.acquire()
    spawn(mutex.release).result()
    assert mutex.locked() is False
    assert mutex.acquire(False) is True


@pytest.mark.parametrize("entered", [True, False])
def test_a_condition_of_the_standard_library_waits_and_holds_again(entered):
    """wait() gives up and retakes the hold it runs in, so the end of the block ends it."""
    mutex = Mutex(0)
    condition = threading.Condition(mutex)
    done = []

    def consume():
        if entered:
            with condition:
                assert condition.wait_for(lambda: done, timeout=30)
                assert mutex._state() == TAKEN
        else:
            condition.acquire()
            assert condition.wait_for(lambda: done, timeout=30)
            condition.release()

    with pytest.raises(RuntimeError):
        condition.notify()
    waiting = spawn(consume)
    eventually(lambda: condition._waiters)
    with condition:
        done.append(True)
        condition.notify()
    waiting.result()
    assert mutex._state() == FREE
