"""What api.md promises of MutexGuard: a capability for one hold."""

import gc
import sys
import warnings
import weakref

import pytest

from ferrule import Mutex, Timeout, WouldDeadlock
from tests.support.mutexes import FREE
from tests.support.race import spawn


def assert_spent(guard):
    with pytest.raises(RuntimeError):
        _ = guard.value
    with pytest.raises(RuntimeError):
        guard.value = "written"
    with pytest.raises(RuntimeError):
        guard.release()


class TestValue:
    def test_is_read_and_written(self):
        mutex = Mutex([])
        first = mutex.lock()
        value = first.value
        first.value = "new"
        assert (value, first.value) == ([], "new")
        first.release()
        with mutex as second:
            assert second.value == "new"

    def test_cannot_be_deleted(self):
        with Mutex(1) as guard:
            with pytest.raises((AttributeError, TypeError, NotImplementedError)):
                del guard.value
            assert guard.value == 1

    @pytest.mark.parametrize("end", [lambda mutex, guard: guard.release(), lambda mutex, guard: mutex.release()])
    def test_is_refused_after_the_hold(self, end):
        mutex = Mutex("kept")
        guard = mutex.lock()
        end(mutex, guard)
        assert_spent(guard)
        with mutex as other:
            assert other.value == "kept"

    def test_is_refused_while_another_hold_is_in_force(self):
        mutex = Mutex("kept")
        old = mutex.lock()
        old.release()
        new = mutex.lock()
        assert_spent(old)
        assert new.value == "kept"
        new.release()
        mutex.acquire()
        assert_spent(old)
        assert mutex.locked()
        mutex.release()
        assert mutex._state() == FREE

    def test_is_reached_from_another_thread_while_the_hold_is_in_force(self):
        mutex = Mutex(1)
        guard = mutex.lock()

        def work():
            guard.value += 1
            return guard.value

        assert spawn(work).result() == 2
        guard.release()
        assert mutex._state() == FREE


class TestRelease:
    def test_twice_is_an_error(self):
        mutex = Mutex()
        guard = mutex.lock()
        guard.release()
        assert_spent(guard)
        assert mutex._state() == FREE

    @pytest.mark.parametrize("fair", [False, True, 0, 1])
    def test_with_nobody_waiting_fair_makes_no_difference(self, fair):
        mutex = Mutex()
        mutex.lock().release(fair=fair)
        assert mutex._state() == FREE

    def test_fair_is_a_keyword(self):
        mutex = Mutex()
        guard = mutex.lock()
        for args, named in [((True,), {}), ((), {"timeout": 1})]:
            with pytest.raises(TypeError):
                guard.release(*args, **named)
        assert guard.value is None, "a refused call changes nothing"
        guard.release()

    def test_in_another_thread(self):
        mutex = Mutex()
        spawn(mutex.lock().release).result()
        assert mutex._state() == FREE

    def test_a_guard_made_in_another_thread(self):
        mutex = Mutex()
        spawn(mutex.lock).result().release()
        assert mutex._state() == FREE

    def test_by_the_mutex_spends_the_guard_in_force(self):
        mutex = Mutex()
        guard = mutex.lock()
        spawn(mutex.release).result()
        assert_spent(guard)
        assert mutex._state() == FREE

    def test_of_a_spent_guard_leaves_the_hold_in_force(self):
        mutex = Mutex()
        old = mutex.lock()
        mutex.release()
        new = mutex.lock()
        assert_spent(old)
        del old
        assert new.value is None
        new.release()
        assert mutex._state() == FREE

    def test_the_mutex_lives_as_long_as_its_guard(self):
        value = ["kept"]
        guard = Mutex(value).lock()
        gc.collect()
        assert guard.value is value
        guard.release()
        assert_spent(guard)


class TestWith:
    def test_enters_as_itself_and_releases(self):
        mutex = Mutex()
        guard = mutex.lock()
        with guard as entered:
            assert entered is guard
            assert mutex.locked()
        assert mutex._state() == FREE
        assert_spent(guard)

    @pytest.mark.parametrize("end", [lambda mutex, guard: guard.release(), lambda mutex, guard: mutex.release()])
    def test_a_hold_released_within_ends_quietly(self, end):
        mutex = Mutex()
        with mutex.lock() as guard:
            end(mutex, guard)
        assert mutex._state() == FREE

    @pytest.mark.parametrize("take", [Mutex.lock, Mutex.acquire, Mutex.__enter__])
    def test_a_hold_released_within_leaves_the_next_one_alone(self, take):
        mutex = Mutex()
        with mutex.lock() as guard:
            guard.release()
            taken = take(mutex)
        assert mutex.locked()
        mutex.release()
        if taken is not True:
            assert_spent(taken)
        assert mutex._state() == FREE

    def test_an_exception_passes_and_the_lock_is_free(self):
        mutex = Mutex()
        with pytest.raises(KeyError, match="mine"), mutex.lock():
            raise KeyError("mine")
        assert mutex._state() == FREE

    def test_of_try_lock(self):
        mutex = Mutex(3)
        with mutex.try_lock() as guard:
            assert guard.value == 3
        assert mutex._state() == FREE

    def test_is_left_quietly_in_another_thread(self):
        mutex = Mutex()
        guard = mutex.lock()
        guard.__enter__()
        spawn(guard.__exit__, None, None, None).result()
        guard.__exit__(None, None, None)
        assert mutex._state() == FREE


class TestUnlocked:
    def test_is_free_within_and_held_after(self):
        mutex = Mutex(1)
        guard = mutex.lock()
        with guard.unlocked():
            assert mutex._state() == FREE
        assert mutex.locked()
        assert guard.value == 1
        guard.value = 2
        guard.release()
        assert mutex._state() == FREE

    def test_another_thread_works_within_and_its_change_is_seen(self):
        mutex = Mutex(1)

        def work():
            with mutex as guard:
                guard.value += 1

        with mutex as guard:
            with guard.unlocked():
                spawn(work).result()
            assert guard.value == 2
        assert mutex._state() == FREE

    def test_is_held_again_when_the_body_raises(self):
        mutex = Mutex(1)
        guard = mutex.lock()
        with pytest.raises(KeyError, match="mine"), guard.unlocked():
            raise KeyError("mine")
        assert guard.value == 1
        guard.release()
        assert mutex._state() == FREE

    def test_the_guard_is_of_no_use_within(self):
        mutex = Mutex("kept")
        guard = mutex.lock()
        with guard.unlocked():
            assert_spent(guard)
            assert mutex._state() == FREE
            mutex.acquire()
            assert_spent(guard)
            mutex.release()
        assert guard.value == "kept"
        guard.release()

    def test_the_owner_may_lock_within(self):
        mutex = Mutex(1)
        with mutex as guard:
            with guard.unlocked():
                with mutex as inner:
                    inner.value += 1
                with mutex.lock() as inner:
                    inner.value += 1
            assert guard.value == 3
        assert mutex._state() == FREE

    def test_the_owner_is_recorded_again_after(self):
        mutex = Mutex()
        with mutex as guard:
            with guard.unlocked():
                pass
            with pytest.raises(WouldDeadlock):
                mutex.lock()
            with pytest.raises(Timeout):
                mutex.lock(timeout=0)
        assert mutex._state() == FREE

    def test_again_and_again(self):
        mutex = Mutex(0)
        with mutex as guard:
            for count in range(100):
                with guard.unlocked():
                    assert not mutex.locked()
                guard.value += 1
                assert guard.value == count + 1
        assert mutex._state() == FREE

    def test_within_itself_is_refused_and_the_hold_comes_back(self):
        mutex = Mutex()
        guard = mutex.lock()
        with guard.unlocked():
            with pytest.raises(RuntimeError), guard.unlocked():
                pytest.fail("unlocked twice")
            assert mutex._state() == FREE
        assert guard.value is None
        guard.release()
        assert mutex._state() == FREE

    def test_of_a_spent_guard_is_refused(self):
        mutex = Mutex()
        guard = mutex.lock()
        guard.release()
        with pytest.raises(RuntimeError), guard.unlocked():
            pytest.fail("a spent guard cannot be unlocked")
        assert mutex._state() == FREE

    def test_a_hold_kept_at_the_end_would_deadlock(self):
        mutex = Mutex()
        guard = mutex.lock()
        with pytest.raises(WouldDeadlock), guard.unlocked():
            inner = mutex.lock()
        assert inner.value is None
        with pytest.raises(RuntimeError):
            _ = guard.value
        inner.release()
        assert mutex._state() == FREE

    def test_made_but_not_entered_does_nothing(self):
        mutex = Mutex()
        guard = mutex.lock()
        guard.unlocked()
        assert guard.value is None
        guard.release()
        assert mutex._state() == FREE

    def test_takes_no_arguments(self):
        with Mutex() as guard, pytest.raises(TypeError):
            guard.unlocked(1)


class TestDropped:
    """A guard collected while it holds: the lock is free first, the warning comes last."""

    def test_releases_and_warns(self):
        mutex = Mutex()
        guard = mutex.lock()
        with pytest.warns(ResourceWarning, match="guard"):
            del guard
        assert mutex._state() == FREE

    def test_releases_before_it_warns(self, monkeypatch):
        mutex = Mutex()
        seen = []
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            monkeypatch.setattr(warnings, "showwarning", lambda *args: seen.append((args[1], mutex.locked())))
            mutex.lock()
        assert seen == [(ResourceWarning, False)]

    def test_a_warning_made_an_error_is_reported_and_the_lock_is_free(self, monkeypatch):
        mutex = Mutex()
        reported = []
        monkeypatch.setattr(sys, "unraisablehook", lambda args: reported.append((args.exc_type, mutex.locked())))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            mutex.lock()
        assert reported == [(ResourceWarning, False)]
        assert mutex._state() == FREE

    def test_a_spent_guard_says_nothing(self):
        mutex = Mutex()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            for end in (lambda guard: guard.release(), lambda guard: mutex.release()):
                end(mutex.lock())
            with mutex:
                pass
            with mutex.lock():
                pass
            gc.collect()
        assert seen == []

    def test_a_spent_guard_leaves_the_next_hold_alone(self):
        mutex = Mutex()
        old = mutex.lock()
        mutex.release()
        new = mutex.lock()
        del old
        gc.collect()
        assert new.value is None
        new.release()
        assert mutex._state() == FREE

    def test_within_a_with_statement_the_mutex_keeps_its_guard(self):
        mutex = Mutex()
        with mutex:
            gc.collect()
            assert mutex.locked()
        assert mutex._state() == FREE

    def test_in_a_cycle_with_its_own_value(self):
        mutex = Mutex([])
        reference = weakref.ref(mutex)
        guard = mutex.lock()
        guard.value.append(guard)
        with pytest.warns(ResourceWarning, match="guard"):
            del guard, mutex  # the collector may come at once
            gc.collect()
        assert reference() is None
