"""What api.md promises of Mutex itself, on the sync face: locking, timeouts, `with`, owners, what it refuses."""

import contextlib
import copy
import pickle
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import ferrule
from ferrule import Mutex, MutexGuard, Timeout, WouldDeadlock
from tests.support.mutexes import FREE, TAKEN
from tests.support.names import shown
from tests.support.race import eventually, spawn
from tests.support.timeouts import DO_NOT_WAIT, FINITE, FOR_EVER, NEGATIVE, OTHER_TYPES


class TestMaking:
    def test_protects_none_unless_given_a_value(self):
        with Mutex() as guard:
            assert guard.value is None

    def test_protects_the_value_it_was_given(self):
        value = object()
        with Mutex(value) as guard:
            assert guard.value is value

    @pytest.mark.parametrize("fair", [False, True])
    def test_is_free_when_made(self, fair):
        mutex = Mutex([], fair=fair)
        assert not mutex.locked()
        assert mutex._state() == FREE

    @pytest.mark.parametrize(("args", "named"), [((1, True), {}), ((), {"value": 1}), ((), {"unfair": True})])
    def test_value_is_positional_and_fair_a_keyword(self, args, named):
        with pytest.raises(TypeError):
            Mutex(*args, **named)

    def test_making_it_again_is_refused_or_changes_nothing(self):
        mutex = Mutex(1)
        guard = mutex.lock()
        with contextlib.suppress(TypeError):
            mutex.__init__(2)
        assert mutex.locked()
        guard.release()
        assert mutex._state() == FREE

    def test_is_generic_at_run_time(self):
        alias = Mutex[int]
        assert alias.__origin__ is Mutex
        assert alias.__args__ == (int,)
        assert type(alias(3)) is Mutex
        assert MutexGuard[int].__origin__ is MutexGuard

    def test_cannot_be_subclassed(self):
        for final in (Mutex, MutexGuard):
            with pytest.raises(TypeError):
                type("Sub", (final,), {})

    def test_guards_are_made_by_locking_alone(self):
        for guard_class in (MutexGuard, ferrule.AsyncMutexGuard):
            for args in ((), (Mutex(),)):
                with pytest.raises(TypeError):
                    guard_class(*args)

    def test_takes_no_foreign_attributes(self):
        mutex = Mutex()
        with pytest.raises(AttributeError):
            mutex.colour = "red"
        with mutex as guard, pytest.raises(AttributeError):
            guard.colour = "red"


class TestLock:
    def test_takes_the_lock_and_gives_its_guard(self):
        mutex = Mutex()
        guard = mutex.lock()
        assert type(guard) is MutexGuard
        assert mutex.locked()
        guard.release()
        assert mutex._state() == FREE

    def test_each_hold_has_its_own_guard(self):
        mutex = Mutex()
        first = mutex.lock()
        first.release()
        second = mutex.lock()
        assert second is not first
        second.release()

    @pytest.mark.parametrize("timeout", FOR_EVER + FINITE + DO_NOT_WAIT, ids=shown)
    def test_a_free_lock_is_taken_whatever_the_timeout(self, timeout):
        mutex = Mutex()
        mutex.lock(timeout=timeout).release()
        assert mutex._state() == FREE

    @pytest.mark.parametrize("locked", [False, True])
    @pytest.mark.parametrize(
        ("timeout", "error"),
        [(t, ValueError) for t in NEGATIVE] + [(t, TypeError) for t in OTHER_TYPES],
        ids=shown,
    )
    def test_a_bad_timeout_is_refused_also_by_a_free_lock(self, locked, timeout, error):
        mutex = Mutex()
        if locked:
            mutex.acquire()
        with pytest.raises(error):
            mutex.lock(timeout=timeout)
        assert mutex._state() == (TAKEN if locked else FREE)

    def test_an_index_that_raises_is_the_callers_error(self):
        class Broken:
            def __index__(self):
                raise KeyError("mine")

        mutex = Mutex()
        with pytest.raises(KeyError, match="mine"):
            mutex.lock(timeout=Broken())
        assert mutex._state() == FREE

    def test_the_timeout_is_a_keyword(self):
        mutex = Mutex()
        for args, named in [((1,), {}), ((), {"timeout": 1, "blocking": True})]:
            with pytest.raises(TypeError):
                mutex.lock(*args, **named)
        with pytest.raises(TypeError):
            mutex.try_lock(timeout=0)
        assert mutex._state() == FREE

    @pytest.mark.parametrize("timeout", [*DO_NOT_WAIT, 1e-9, 0.001, sys.float_info.min])
    def test_a_taken_lock_times_out(self, timeout):
        mutex = Mutex()
        mutex.acquire()
        with pytest.raises(Timeout) as raised:
            mutex.lock(timeout=timeout)
        assert isinstance(raised.value, TimeoutError)
        assert mutex._state() == TAKEN
        mutex.release()
        assert mutex._state() == FREE

    def test_waits_as_long_as_it_was_told(self):
        mutex = Mutex()
        mutex.acquire()
        begun = time.monotonic()
        with pytest.raises(Timeout):
            mutex.lock(timeout=0.05)
        assert time.monotonic() - begun >= 0.05

    @pytest.mark.parametrize("timeout", [*FOR_EVER, 20, True], ids=shown)
    def test_waits_until_another_thread_releases(self, timeout):
        mutex = Mutex("kept")
        mutex.acquire()
        waiting = spawn(lambda: mutex.lock(timeout=timeout))
        eventually(lambda: mutex._state()["waiters"])
        mutex.release()
        guard = waiting.result()
        assert guard.value == "kept"
        guard.release()
        assert mutex._state() == FREE

    def test_a_thousand_time_outs_leave_nothing(self):
        mutex = Mutex()
        mutex.acquire()
        for _ in range(1000):
            with pytest.raises(Timeout):
                mutex.lock(timeout=1e-6)
        mutex.release()
        mutex.lock(timeout=0).release()
        assert mutex._state() == FREE


class TestTryLock:
    def test_takes_a_free_lock(self):
        mutex = Mutex(5)
        guard = mutex.try_lock()
        assert type(guard) is MutexGuard
        assert guard.value == 5
        guard.release()
        assert mutex._state() == FREE

    def test_gives_none_for_a_taken_one(self):
        mutex = Mutex()
        mutex.acquire()
        assert mutex.try_lock() is None
        assert spawn(mutex.try_lock).result() is None
        mutex.release()
        assert mutex._state() == FREE


class TestWith:
    def test_holds_within_and_is_free_after(self):
        mutex = Mutex([1])
        with mutex as guard:
            assert type(guard) is MutexGuard
            assert mutex.locked()
            guard.value.append(2)
        assert mutex._state() == FREE
        with mutex as guard:
            assert guard.value == [1, 2]

    def test_is_left_by_an_exception_which_passes(self):
        mutex = Mutex(1)
        with pytest.raises(KeyError, match="mine"), mutex as guard:
            guard.value = 2
            raise KeyError("mine")
        assert mutex._state() == FREE
        with mutex as guard:
            assert guard.value == 2, "never poisoned, never undone"

    @pytest.mark.parametrize("end", [lambda mutex, guard: guard.release(), lambda mutex, guard: mutex.release()])
    def test_a_hold_ended_early_ends_quietly(self, end):
        mutex = Mutex()
        with mutex as guard:
            end(mutex, guard)
            assert not mutex.locked()
        assert mutex._state() == FREE

    @pytest.mark.parametrize("end", [lambda mutex, guard: guard.release(), lambda mutex, guard: mutex.release()])
    @pytest.mark.parametrize("take", [Mutex.lock, Mutex.acquire, Mutex.__enter__])
    def test_a_hold_ended_early_leaves_the_next_holder_alone(self, end, take):
        mutex = Mutex()
        with mutex as guard:
            end(mutex, guard)
            taken = spawn(take, mutex).result()
        assert mutex.locked(), "the other thread's hold"
        if taken is not True:
            assert taken.value is None
        mutex.release()
        assert mutex._state() == FREE

    @pytest.mark.parametrize("take", [Mutex.lock, Mutex.acquire])
    def test_a_hold_ended_early_leaves_the_same_threads_next_hold_alone(self, take):
        mutex = Mutex()
        with mutex as guard:
            guard.release()
            taken = take(mutex)
        assert mutex.locked(), "`with` ends the hold that it began, and no other"
        if taken is not True:
            assert taken.value is None
        mutex.release()
        assert mutex._state() == FREE

    def test_can_be_entered_again_within_after_an_early_release(self):
        mutex = Mutex()
        with mutex as outer:
            outer.release()
            with mutex as inner:
                assert inner is not outer
                assert mutex.locked()
            assert mutex._state() == FREE
        assert mutex._state() == FREE

    def test_can_be_entered_again_one_after_the_other_a_hundred_times(self):
        mutex = Mutex(0)
        with mutex as outer:
            outer.release()
            for _ in range(100):
                with mutex as inner:
                    inner.value += 1
        with mutex as guard:
            assert guard.value == 100
        assert mutex._state() == FREE

    def test_leaving_in_another_thread_is_refused_and_the_hold_stays(self):
        mutex = Mutex("kept")
        guard = mutex.__enter__()
        with pytest.raises(RuntimeError):
            spawn(mutex.__exit__, None, None, None).result()
        assert mutex.locked()
        assert guard.value == "kept"
        mutex.__exit__(None, None, None)
        assert mutex._state() == FREE

    def test_leaving_without_having_entered_does_not_free_anothers_hold(self):
        mutex = Mutex()
        guard = mutex.lock()
        with pytest.raises(RuntimeError):
            spawn(mutex.__exit__, None, None, None).result()
        assert guard.value is None
        guard.release()
        assert mutex._state() == FREE

    def test_the_guard_may_be_released_in_another_thread(self):
        mutex = Mutex()
        with mutex as guard:
            spawn(guard.release).result()
            assert not mutex.locked()
        assert mutex._state() == FREE

    def test_lock_in_a_with_is_exact_wherever_it_is_left(self):
        mutex = Mutex()
        guard = mutex.lock()
        assert guard.__enter__() is guard
        spawn(guard.__exit__, None, None, None).result()
        assert mutex._state() == FREE


class TestOwners:
    TAKE = (Mutex.lock, Mutex.__enter__)

    @pytest.mark.parametrize("timeout", [*FOR_EVER, *FINITE], ids=shown)
    @pytest.mark.parametrize("take", TAKE)
    def test_locking_again_would_deadlock_at_once(self, take, timeout):
        mutex = Mutex()
        guard = take(mutex)
        with pytest.raises(WouldDeadlock) as raised:
            mutex.lock(timeout=timeout)
        assert isinstance(raised.value, RuntimeError)
        assert guard.value is None, "the hold is untouched"
        assert mutex._state() == TAKEN
        guard.release()
        assert mutex._state() == FREE

    @pytest.mark.parametrize("take", TAKE)
    def test_entering_again_would_deadlock_at_once(self, take):
        mutex = Mutex()
        guard = take(mutex)
        with pytest.raises(WouldDeadlock), mutex:
            pytest.fail("entered twice")
        assert guard.value is None
        guard.release()
        assert mutex._state() == FREE

    def test_the_error_names_the_holder(self):
        mutex = Mutex()

        with mutex, pytest.raises(WouldDeadlock, match=r"this thread.* holds .*Mutex"):
            mutex.lock()

    @pytest.mark.parametrize("timeout", DO_NOT_WAIT, ids=shown)
    @pytest.mark.parametrize("take", TAKE)
    def test_locking_again_without_waiting_times_out(self, take, timeout):
        mutex = Mutex()
        guard = take(mutex)
        with pytest.raises(Timeout):
            mutex.lock(timeout=timeout)
        assert mutex.try_lock() is None
        assert guard.value is None
        guard.release()
        assert mutex._state() == FREE

    @pytest.mark.parametrize("take", TAKE)
    def test_acquire_asks_for_no_owner(self, take):
        mutex = Mutex()
        guard = take(mutex)
        assert mutex.acquire(timeout=0.005) is False
        guard.release()
        assert mutex._state() == FREE

    def test_acquire_records_no_owner(self):
        mutex = Mutex()
        mutex.acquire()
        with pytest.raises(Timeout):
            mutex.lock(timeout=0.005)
        mutex.release()
        assert mutex._state() == FREE

    def test_try_lock_records_its_owner(self):
        mutex = Mutex()
        guard = mutex.try_lock()
        with pytest.raises(WouldDeadlock):
            mutex.lock()
        guard.release()
        assert mutex._state() == FREE

    def test_another_thread_waits_for_an_owned_lock(self):
        mutex = Mutex()
        with mutex:

            def wait():
                with pytest.raises(Timeout):
                    mutex.lock(timeout=0.005)

            spawn(wait).result()
        assert mutex._state() == FREE

    def test_a_hold_is_its_takers_wherever_the_guard_went(self):
        mutex = Mutex()
        with ThreadPoolExecutor(1) as taker:
            guard = taker.submit(mutex.lock).result()
            with pytest.raises(Timeout):
                mutex.lock(timeout=0.005)
            with pytest.raises(WouldDeadlock):
                taker.submit(mutex.lock).result()
            guard.release()
            taker.submit(mutex.lock).result().release()
        assert mutex._state() == FREE

    def test_an_owner_is_forgotten_with_its_hold(self):
        mutex = Mutex()
        for end in (MutexGuard.release, lambda guard: mutex.release()):
            end(mutex.lock())
            mutex.acquire()
            with pytest.raises(Timeout):
                mutex.lock(timeout=0.001)
            mutex.release()
        assert mutex._state() == FREE

    def test_a_dead_threads_hold_is_not_its_successors(self):
        """A new thread often gets the identity of one that has ended; it did not take that one's locks."""
        for _ in range(200):
            mutex = Mutex()
            seen = {}

            def take(mutex=mutex, seen=seen):
                seen["owner"], seen["guard"] = threading.get_ident(), mutex.lock()

            def wait(mutex=mutex, seen=seen):
                seen["waiter"] = threading.get_ident()
                try:
                    mutex.lock(timeout=0.001)
                except ferrule.FerruleError as error:
                    seen["error"] = error

            for work in (take, wait):
                thread = threading.Thread(target=work)
                thread.start()
                thread.join()
            seen["guard"].release()
            if seen["owner"] == seen["waiter"]:
                assert type(seen["error"]) is Timeout
                return
        pytest.skip("this platform did not use the identity of a thread again in 200 tries")


class TestReading:
    def test_locked_follows_the_lock(self):
        mutex = Mutex()
        assert mutex.locked() is False
        mutex.acquire()
        assert mutex.locked() is True
        mutex.release()
        assert mutex.locked() is False

    def test_repr_shows_the_state(self):
        mutex = Mutex()
        free = repr(mutex)
        with mutex as guard:
            taken, held = repr(mutex), repr(guard)
        assert "Mutex" in free
        assert free != taken
        assert "MutexGuard" in held
        assert repr(guard) != held
        assert repr(mutex) == free

    def test_repr_of_a_mutex_that_protects_itself_ends(self):
        mutex = Mutex()
        with mutex as guard:
            guard.value = mutex
            assert repr(mutex)
            assert repr(guard)
            guard.value = None

    def test_is_weakly_referable_and_its_guard_is_not(self):
        mutex = Mutex()
        reference = weakref.ref(mutex)
        with mutex as guard:
            with pytest.raises(TypeError):
                weakref.ref(guard)
            assert reference() is mutex
        del mutex, guard
        assert reference() is None

    def test_hash_and_equality_are_by_object(self):
        one, other = Mutex(1), Mutex(1)
        assert one != other
        assert len({one, other, one}) == 2
        with one as guard:
            assert {guard: 1}[guard] == 1

    @pytest.mark.parametrize("refused", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_copying_and_pickling_are_refused(self, refused):
        mutex = Mutex()
        with mutex as guard:
            for thing in (mutex, guard):
                with pytest.raises(TypeError, match=r"Mutex|guard"):
                    refused(thing)
            assert guard.value is None
        assert mutex._state() == FREE
