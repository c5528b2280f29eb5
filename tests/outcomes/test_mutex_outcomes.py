"""Racing calls on one Mutex: every result that is allowed, and why; anything else fails."""

import time

import pytest

from ferrule import Mutex, MutexGuard, Timeout
from tests.support.hostile import unraisable
from tests.support.mutexes import FREE, TAKEN
from tests.support.race import RACES, outcome, raced, refused, run_together

REFUSED = (RuntimeError, ValueError)
"""What a coroutine answers, as Python's own do, when it has ended and when it is being driven by somebody else."""


def step(coroutine):
    """What the coroutine gives at its first step, or the type of its refusal."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    except REFUSED as error:
        return type(error)
    raise AssertionError("it suspended")


@pytest.fixture(params=[False, True], ids=["eventually-fair", "fair"])
def fair(request):
    return request.param


@raced(RACES // 4)
def test_of_racing_try_locks_exactly_one_wins(fair):
    mutex = Mutex(fair=fair)
    guards = run_together(mutex.try_lock, mutex.try_lock, mutex.aio.try_lock)
    [winner] = [guard for guard in guards if guard is not None]
    assert mutex._state() == TAKEN
    winner.release()


@raced(RACES // 2)
def test_of_racing_non_blocking_acquires_exactly_one_wins():
    mutex = Mutex()
    won = run_together(lambda: mutex.acquire(False), lambda: mutex.acquire(timeout=0), lambda: mutex.acquire(0))
    assert sorted(won) == [False, False, True]
    mutex.release()
    assert mutex._state() == FREE


@raced(RACES // 4)
def test_of_racing_releases_of_one_guard_exactly_one_succeeds(fair):
    mutex = Mutex(fair=fair)
    guard = mutex.lock()
    answers = run_together(refused(guard.release), refused(guard.release), refused(guard.release))
    assert sorted(answers, key=str) == [RuntimeError, RuntimeError, None]
    assert mutex._state() == FREE


@raced(RACES // 2)
def test_of_racing_releases_of_the_mutex_exactly_one_succeeds():
    mutex = Mutex()
    mutex.acquire()
    assert set(run_together(refused(mutex.release), refused(mutex.release))) == {None, RuntimeError}
    assert mutex._state() == FREE


@raced(RACES // 2)
def test_a_hold_is_ended_by_its_guard_or_by_the_mutex_and_once():
    mutex = Mutex()
    guard = mutex.lock()
    assert set(run_together(refused(guard.release), refused(mutex.release))) == {None, RuntimeError}
    assert mutex._state() == FREE


@raced(RACES // 2)
def test_a_dropped_guard_and_the_mutex_end_a_hold_once():
    allowed = {
        (None, ()),  # released by the mutex: the guard was spent when it died
        (RuntimeError, (ResourceWarning,)),  # the guard died holding, released and complained
    }
    mutex = Mutex()
    ready = []

    def take_and_drop():  # by the thread that made it: without the GIL another's drop takes effect later
        guard = mutex.lock()
        ready.append(guard.value)
        time.sleep(0)
        del guard

    def release():
        while not ready:
            time.sleep(0)
        return refused(mutex.release)()

    with unraisable() as complaints:
        _, released = run_together(take_and_drop, release)
    assert (released, tuple(map(type, complaints))) in allowed
    assert mutex._state() == FREE


@raced(RACES // 2)
def test_a_read_and_a_release_give_the_value_or_an_error():
    mutex = Mutex("value")
    guard = mutex.lock()
    read, released = run_together(refused(lambda: guard.value), guard.release)
    assert (read, released) in {("value", None), (RuntimeError, None)}


@raced(RACES // 2)
def test_a_write_that_was_accepted_is_seen_by_the_next_hold():
    allowed = {
        (None, "new"),  # written, then released
        (RuntimeError, "old"),  # released first: refused, and nothing was written
    }
    mutex = Mutex("old")
    guard = mutex.lock()
    written, _ = run_together(refused(setattr, guard, "value", "new"), guard.release)
    with mutex as after:
        assert (written, after.value) in allowed


@raced(RACES // 2)
def test_a_write_to_a_spent_guard_never_reaches_the_next_hold():
    mutex = Mutex("old")
    guard = mutex.lock()

    def next_hold():
        guard.release()
        with mutex as mine:
            mine.value = "mine"
            return mine.value

    written, seen = run_together(refused(setattr, guard, "value", "stray"), next_hold)
    assert written in (None, RuntimeError)
    assert seen == "mine"
    with mutex as after:
        assert after.value == "mine"


@raced(RACES // 2)
def test_two_writes_through_one_guard_leave_one_of_them():
    mutex = Mutex()
    guard = mutex.lock()
    run_together(lambda: setattr(guard, "value", [1]), lambda: setattr(guard, "value", [2]))
    assert guard.value in ([1], [2])
    guard.release()


@raced(RACES // 4)
def test_lock_without_waiting_against_a_release(fair):
    mutex = Mutex(fair=fair)
    guard = mutex.lock()
    taken, _ = run_together(outcome(lambda: mutex.lock(timeout=0), Timeout), guard.release)
    if taken is Timeout:
        assert mutex._state() == FREE, "it came before the release"
    else:
        assert mutex._state() == TAKEN, "it came after the release"
        taken.release()


@pytest.mark.parametrize("release", [Mutex.release, lambda mutex: mutex.aio.release()], ids=["sync", "aio"])
@pytest.mark.parametrize("timeout", [1e-9, 1e-6, 5e-5, 1e-4])
@raced(RACES // 4)
def test_a_wait_that_may_time_out_against_a_release(timeout, release, fair):
    mutex = Mutex(fair=fair)
    mutex.acquire()
    taken, _ = run_together(lambda: mutex.acquire(timeout=timeout), lambda: release(mutex))
    assert mutex._state() == (TAKEN if taken else FREE), "got it, or left the turn to nobody"


@pytest.mark.parametrize("timeout", [1e-6, 5e-5, 1e-4])
@raced(RACES // 4)
def test_a_fair_release_against_a_wait_that_may_time_out(timeout):
    """A hand-off is undone when its receiver gave up."""
    mutex = Mutex()
    guard = mutex.lock()
    taken, _ = run_together(outcome(lambda: mutex.lock(timeout=timeout), Timeout), lambda: guard.release(fair=True))
    if taken is Timeout:
        assert mutex._state() == FREE
    else:
        assert type(taken) is MutexGuard
        taken.release()


@raced(RACES // 4)
def test_every_blocking_call_gets_its_turn(fair):
    mutex = Mutex(0, fair=fair)

    def with_lock():
        with mutex.lock() as guard:
            guard.value += 1

    def with_mutex():
        with mutex as guard:
            guard.value += 1

    def with_acquire():
        mutex.acquire()
        mutex.release()

    run_together(with_lock, with_mutex, with_acquire)
    with mutex as guard:
        assert guard.value == 2
    assert mutex._state() == FREE


@pytest.mark.parametrize("released", ["by its guard", "by the mutex"])
@raced(RACES // 2)
def test_leaving_a_with_against_a_release_ends_the_hold_once(released):
    mutex = Mutex()
    entered, left = [], []

    def enter_and_leave():
        with mutex as guard:
            entered.append(guard)
            while not left:
                time.sleep(0)
        return "left"

    def release():
        while not entered:
            time.sleep(0)
        left.append(True)
        return refused(entered[0].release if released == "by its guard" else mutex.release)()

    assert run_together(enter_and_leave, release) in {
        ("left", None),  # released early: the block ends quietly
        ("left", RuntimeError),  # the block had ended the hold
    }
    assert mutex._state() == FREE


@raced(RACES // 2)
def test_leaving_a_with_never_ends_the_hold_of_who_came_next():
    mutex = Mutex()
    entered, left = [], []

    def enter_and_leave():
        with mutex as guard:
            entered.append(guard)
            while not left:
                time.sleep(0)

    def release_and_take():
        while not entered:
            time.sleep(0)
        left.append(True)
        refused(entered[0].release)()
        return mutex.try_lock()

    _, mine = run_together(enter_and_leave, release_and_take)
    assert mine is not None, "the first hold had ended, one way or the other"
    assert mine.value is None
    mine.release()
    assert mutex._state() == FREE


@raced(RACES // 2)
def test_unlocked_against_a_release():
    allowed = {
        ("unlocked", RuntimeError, True),  # tried to release within: refused
        ("unlocked", None, False),  # released after the block had taken the lock again
        (RuntimeError, None, False),  # released before
    }
    mutex = Mutex()
    guard = mutex.lock()

    def unlock():
        with guard.unlocked():
            return "unlocked"

    answers = (*run_together(refused(unlock), refused(guard.release)), mutex.locked())
    assert answers in allowed
    if mutex.locked():
        guard.release()


@raced(RACES // 2)
def test_a_read_within_unlocked_never_sees_the_value():
    """Another thread holds and writes meanwhile: the guard that waits outside has no part in that hold."""
    mutex = Mutex("mine")
    guard = mutex.lock()
    unlocked = guard.unlocked()
    unlocked.__enter__()

    def other():
        with mutex as theirs:
            theirs.value = "theirs"

    read, _ = run_together(refused(lambda: guard.value), other)
    assert read is RuntimeError
    unlocked.__exit__(None, None, None)
    assert guard.value == "theirs"
    guard.release()


@raced(RACES // 2)
def test_one_coroutine_driven_by_two_threads_takes_one_hold():
    mutex = Mutex()
    coroutine = mutex.aio.lock()
    answers = run_together(lambda: step(coroutine), lambda: step(coroutine))
    [guard] = [answer for answer in answers if answer not in REFUSED]
    assert mutex._state() == TAKEN
    guard.release()


@raced(RACES // 2)
def test_a_coroutine_closed_and_driven_at_once_holds_or_does_nothing():
    mutex = Mutex()
    coroutine = mutex.aio.lock()
    taken, closed = run_together(lambda: step(coroutine), outcome(coroutine.close, ValueError))
    if taken in REFUSED:
        assert (mutex._state(), closed) == (FREE, None), "closed before its first step"
    else:
        assert mutex._state() == TAKEN, "closed while it took its step, which is refused, or after, which is nothing"
        taken.release()


@raced(RACES // 2)
def test_what_a_holder_wrote_is_seen_by_the_next():
    """Outside the value too: plain data written before a release is seen after the acquisition that follows it."""
    mutex = Mutex()
    mutex.acquire()
    data = {}

    def write():
        data["written"] = True
        mutex.release()

    def read():
        mutex.acquire()
        return data.get("written")

    assert run_together(write, read) == (None, True)
