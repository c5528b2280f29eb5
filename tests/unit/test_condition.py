"""What api.md promises of Condition on the sync face: holds, notifications, timeouts, predicates, what it refuses."""

import contextlib
import copy
import pickle
import sys
import threading
import time
import weakref

import pytest

import ferrule
from ferrule import Condition, Mutex, MutexGuard, Timeout
from tests.support.conditions import notify, waiting, waiting_thread
from tests.support.mutexes import FREE, TAKEN, kinds
from tests.support.names import shown
from tests.support.race import eventually, spawn
from tests.support.timeouts import DO_NOT_WAIT, FOR_EVER, NEGATIVE, OTHER_TYPES, Index


class TestMaking:
    def test_has_a_mutex_of_its_own(self):
        condition = Condition()
        with condition as guard:
            assert type(guard) is MutexGuard
            assert guard.value is None
        assert not Condition(None).locked()

    @pytest.mark.parametrize("fair", [False, True])
    @pytest.mark.parametrize("face", ["sync", "async"])
    def test_stands_over_the_mutex_it_was_given(self, face, fair):
        mutex = Mutex([], fair=fair)
        condition = Condition(mutex=mutex if face == "sync" else mutex.aio)
        with condition as guard:
            assert guard.value == []
            assert mutex.locked()
        with mutex:
            assert condition.locked()

    @pytest.mark.parametrize("other", [threading.Lock(), threading.RLock(), 1, Mutex, MutexGuard], ids=shown)
    def test_refuses_any_other_lock(self, other):
        with pytest.raises(TypeError, match=r"ferrule\.Mutex"):
            Condition(other)

    def test_refuses_another_condition(self):
        with pytest.raises(TypeError):
            Condition(Condition())

    def test_making_it_again_is_refused_or_changes_nothing(self):
        mutex = Mutex()
        condition = Condition(mutex)
        with contextlib.suppress(TypeError):
            condition.__init__(Mutex())
        with condition:
            assert mutex.locked()

    def test_is_generic_at_run_time(self):
        alias = Condition[int]
        assert alias.__origin__ is Condition
        assert alias.__args__ == (int,)
        assert type(alias()) is Condition

    def test_cannot_be_subclassed(self):
        with pytest.raises(TypeError):
            type("Sub", (Condition,), {})

    def test_takes_no_foreign_attributes(self):
        with pytest.raises(AttributeError):
            Condition().colour = "red"

    def test_takes_weak_references(self):
        condition = Condition()
        ref = weakref.ref(condition)
        assert ref() is condition
        del condition
        assert ref() is None

    @pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_refuses_copies(self, how):
        with pytest.raises(TypeError, match="cannot pickle or copy"):
            how(Condition())

    def test_repr_says_how_it_stands(self):
        condition = Condition()
        assert repr(condition).startswith("<ferrule.Condition of <ferrule.Mutex unlocked at ")
        assert repr(condition).endswith(", 0 waiting>")
        waiter = waiting_thread(condition)
        assert repr(condition).endswith(", 1 waiting>")
        notify(condition)
        waiter.join()
        assert repr(condition.aio).startswith("<ferrule.aio.Condition of ")


class TestAsTheMutex:
    def test_with_and_its_guard_are_the_mutexs(self):
        mutex = Mutex(1)
        condition = Condition(mutex)
        with condition as guard:
            guard.value += 1
            assert mutex._state() == TAKEN
        assert mutex._state() == FREE
        with mutex as guard:
            assert guard.value == 2

    def test_acquire_release_and_locked_are_the_mutexs(self):
        mutex = Mutex()
        condition = Condition(mutex)
        assert condition.acquire() is True
        assert condition.locked()
        assert mutex.locked()
        assert condition.acquire(blocking=False) is False
        assert condition.acquire(timeout=0.001) is False
        assert condition.acquire(True, 0.001) is False
        mutex.release()
        assert not condition.locked()
        assert mutex.acquire()
        condition.release()
        with pytest.raises(RuntimeError, match="unlocked"):
            condition.release()

    def test_a_with_block_left_by_another_thread_keeps_its_hold(self):
        condition = Condition()
        with condition:
            with pytest.raises(RuntimeError, match="another thread"):
                spawn(lambda: condition.__exit__(None, None, None)).result()
            assert condition.locked()
        assert not condition.locked()


CALLS = {
    "wait": lambda condition: condition.wait(),
    "wait for a moment": lambda condition: condition.wait(timeout=0),
    "wait_for": lambda condition: condition.wait_for(lambda: True),
    "notify": lambda condition: condition.notify(),
    "notify nobody": lambda condition: condition.notify(0),
    "notify_all": lambda condition: condition.notify_all(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
class TestNotHeld:
    def test_by_nobody(self, call):
        mutex = Mutex()
        with pytest.raises(RuntimeError, match="without the mutex held"):
            call(Condition(mutex))
        assert mutex._state() == FREE

    def test_by_another_thread(self, call):
        mutex = Mutex()
        condition = Condition(mutex)
        with condition as guard:
            with pytest.raises(RuntimeError, match="without the mutex held"):
                spawn(lambda: call(condition)).result()
            assert mutex._state() == TAKEN
            guard.release()

    def test_by_another_thread_while_somebody_waits(self, call):
        mutex = Mutex()
        condition = Condition(mutex)
        waiter = waiting_thread(condition)
        with condition:
            for_lock = spawn(mutex.acquire)
            eventually(lambda: kinds(mutex))
            with pytest.raises(RuntimeError, match="without the mutex held"):
                spawn(lambda: call(condition)).result()
            assert waiting(condition) == ["thread"]
            condition.notify()
        for_lock.join()
        mutex.release()
        waiter.join()
        assert mutex._state() == FREE

    def test_any_more(self, call):
        mutex = Mutex()
        condition = Condition(mutex)
        with condition as guard:
            guard.release()
            with pytest.raises(RuntimeError, match="without the mutex held"):
                call(condition)
        assert mutex._state() == FREE


def test_the_predicate_is_not_asked_without_the_mutex_held():
    asked = []
    with pytest.raises(RuntimeError):
        Condition().wait_for(lambda: asked.append(1))
    assert asked == []


# Each way to take the mutex: gives what ends the hold, and its guard if there is one.


def by_with(condition, mutex):
    guard = condition.__enter__()
    return lambda: condition.__exit__(None, None, None), guard


def by_with_mutex(condition, mutex):
    guard = mutex.__enter__()
    return lambda: mutex.__exit__(None, None, None), guard


def by_lock(condition, mutex):
    guard = mutex.lock()
    return guard.release, guard


def by_try_lock(condition, mutex):
    guard = mutex.try_lock()
    return lambda: guard.__exit__(None, None, None), guard


def by_acquire(condition, mutex):
    condition.acquire()
    return condition.release, None


def by_lock_and_release(condition, mutex):
    guard = mutex.lock()
    return condition.release, guard


def by_unlocked(condition, mutex):
    guard = condition.__enter__()
    with guard.unlocked():
        pass
    return lambda: condition.__exit__(None, None, None), guard


HOLDS = [by_with, by_with_mutex, by_lock, by_try_lock, by_acquire, by_lock_and_release, by_unlocked]


@pytest.mark.parametrize("hold", HOLDS)
class TestHolds:
    """wait() gives up the hold that it runs under, and takes it again for the same guard."""

    def test_a_notified_wait_has_its_hold_again(self, hold):
        mutex = Mutex("value")
        condition = Condition(mutex)
        given = []

        def waits():
            end, guard = hold(condition, mutex)
            given.append(guard)
            assert condition.wait() is None
            assert mutex._state() == TAKEN
            if guard is not None:
                assert guard.value == "value"
            end()

        waiter = spawn(waits)
        eventually(lambda: waiting(condition))
        assert mutex._state() == FREE
        notify(condition)
        waiter.result()
        assert mutex._state() == FREE
        if (guard := given[0]) is not None:
            with pytest.raises(RuntimeError):
                guard.release()

    def test_its_guard_refuses_everything_meanwhile(self, hold):
        mutex = Mutex()
        condition = Condition(mutex)
        given = []

        def waits():
            end, guard = hold(condition, mutex)
            given.append(guard)
            condition.wait()
            end()

        waiter = spawn(waits)
        eventually(lambda: waiting(condition))
        if (guard := given[0]) is not None:
            for refused in (guard.release, guard.unlocked().__enter__, lambda: guard.value):
                with pytest.raises(RuntimeError):
                    refused()
            with pytest.raises(RuntimeError, match="not entered"):
                guard.unlocked().__exit__(None, None, None)
            assert "given up for a while" in repr(guard)
        assert mutex._state() == FREE
        notify(condition)
        waiter.result()
        assert mutex._state() == FREE

    def test_a_wait_that_times_out_has_its_hold_again(self, hold):
        mutex = Mutex()
        condition = Condition(mutex)
        end, guard = hold(condition, mutex)
        for wait in (condition.wait, lambda timeout: condition.wait_for(lambda: False, timeout=timeout)):
            with pytest.raises(Timeout):
                wait(timeout=0.001)
            assert mutex._state() == TAKEN
            assert guard is None or guard.value is None
        assert waiting(condition) == []
        end()
        assert mutex._state() == FREE

    def test_another_holder_meanwhile_is_not_disturbed(self, hold):
        mutex = Mutex()
        condition = Condition(mutex)

        def waits():
            end, _ = hold(condition, mutex)
            condition.wait()
            end()

        waiter = spawn(waits)
        eventually(lambda: waiting(condition))
        with mutex as other:
            condition.notify()
            assert kinds(mutex) == ["thread"]
            assert other.value is None
        waiter.result()
        assert mutex._state() == FREE


def test_a_predicate_that_ends_the_hold_is_the_callers_error():
    mutex = Mutex()
    condition = Condition(mutex)
    with mutex as guard, pytest.raises(RuntimeError, match="without the mutex held"):
        condition.wait_for(guard.release, timeout=0.01)
    assert mutex._state() == FREE


class TestWait:
    def test_the_lock_is_free_meanwhile_and_goes_to_others(self):
        condition = Condition()
        waiter = waiting_thread(condition)
        assert not condition.locked()
        with condition:
            pass
        assert waiter.alive
        notify(condition)
        waiter.join()

    def test_giving_up_the_lock_lets_its_next_waiter_in(self):
        mutex = Mutex()
        condition = Condition(mutex)
        with condition:
            other = spawn(lambda: mutex.lock().release())
            eventually(lambda: kinds(mutex))
            with pytest.raises(Timeout):
                condition.wait(timeout=0.05)
            other.join()

    def test_goes_on_only_once_the_lock_is_released(self):
        condition = Condition()
        done = []
        waiter = waiting_thread(condition, done=lambda: done.append(1))
        with condition:
            condition.notify()
            assert waiting(condition) == []
            time.sleep(0.02)
            assert done == []
        waiter.join()
        assert done == [1]

    def test_a_notification_that_nobody_waits_for_is_lost(self):
        condition = Condition()
        notify(condition)
        with condition:
            condition.notify_all()
            with pytest.raises(Timeout):
                condition.wait(timeout=0.01)

    def test_two_conditions_share_a_mutex(self):
        mutex = Mutex()
        one, other = Condition(mutex), Condition(mutex)
        waiters = waiting_thread(one), waiting_thread(other)
        notify(one)
        waiters[0].join()
        assert waiting(one) == []
        assert waiting(other) == ["thread"]
        with one:
            other.notify()
        waiters[1].join()

    def test_waits_again_and_again(self):
        condition = Condition()
        seen = []

        def waits():
            with condition:
                for n in range(50):
                    condition.wait()
                    seen.append(n)

        waiter = spawn(waits)
        for n in range(50):
            eventually(lambda: waiting(condition))
            notify(condition)
            eventually(lambda n=n: len(seen) == n + 1)
        waiter.join()

    def test_a_fair_mutex_lets_them_in_by_order_of_notification(self):
        condition = Condition(Mutex(fair=True))
        order = []
        waiters = [waiting_thread(condition, done=lambda n=n: order.append(n)) for n in range(20)]
        with condition:
            condition.notify_all()
        for waiter in waiters:
            waiter.join()
        assert order == list(range(20))


class TestTimeout:
    @pytest.mark.parametrize("timeout", FOR_EVER, ids=shown)
    def test_for_ever(self, timeout):
        condition = Condition()
        waiter = waiting_thread(condition, lambda: condition.wait(timeout=timeout))
        notify(condition)
        assert waiter.result() is None

    @pytest.mark.parametrize("timeout", DO_NOT_WAIT, ids=shown)
    def test_zero_does_not_wait_nor_give_up_the_lock(self, timeout):
        mutex = Mutex(fair=True)
        condition = Condition(mutex)
        with condition:
            other = spawn(lambda: mutex.lock().release())
            eventually(lambda: kinds(mutex))
            with pytest.raises(Timeout):
                condition.wait(timeout=timeout)
            with pytest.raises(Timeout):
                condition.wait_for(lambda: False, timeout=timeout)
            assert other.alive
            assert kinds(mutex) == ["thread"]
        other.join()

    @pytest.mark.parametrize("timeout", [0.001, 1e-9, Index(0)], ids=shown)
    def test_says_what_was_waited_for_and_how_long(self, timeout):
        condition = Condition()
        with condition, pytest.raises(Timeout, match=r"Condition.* was not notified within .* s$"):
            condition.wait(timeout=timeout)
        with condition, pytest.raises(TimeoutError, match=r"did not come to what was waited for within .* s$"):
            condition.wait_for(lambda: 0, timeout=timeout)

    @pytest.mark.parametrize(
        ("timeout", "error"),
        [(t, ValueError) for t in NEGATIVE] + [(t, TypeError) for t in OTHER_TYPES],
        ids=shown,
    )
    @pytest.mark.parametrize("held", [False, True])
    def test_a_bad_one_is_refused(self, held, timeout, error):
        mutex = Mutex()
        condition = Condition(mutex)
        if held:
            condition.acquire()
        with pytest.raises(error):
            condition.wait(timeout=timeout)
        with pytest.raises(error):
            condition.wait_for(lambda: True, timeout=timeout)
        assert mutex._state() == (TAKEN if held else FREE)

    def test_is_a_keyword(self):
        condition = Condition()
        with condition:
            with pytest.raises(TypeError):
                condition.wait(1)
            with pytest.raises(TypeError):
                condition.wait_for(lambda: True, 1)

    def test_who_timed_out_takes_no_notification(self):
        condition = Condition()
        with condition, pytest.raises(Timeout):
            condition.wait(timeout=0.001)
        waiter = waiting_thread(condition)
        notify(condition)
        waiter.join()

    @pytest.mark.parametrize("notified", [False, True])
    def test_waits_for_the_lock_as_long_as_it_takes(self, notified):
        """Longer than the timeout, which is that of the notification: one that came in time counts."""
        mutex = Mutex()
        condition = Condition(mutex)
        for timeout in (0.02, 0.2, 2.0):  # where the machine stalls, the time is up before anything can be done
            waiter = waiting_thread(condition, lambda timeout=timeout: condition.wait(timeout=timeout))
            begun = time.monotonic()
            with mutex:
                in_time = bool(waiting(condition))
                if in_time and notified:
                    condition.notify()
                while in_time and time.monotonic() < begun + timeout + 0.02:
                    time.sleep(0.01)
                if in_time:
                    eventually(lambda: kinds(mutex) == ["thread"])
                    assert waiting(condition) == []
                    condition.notify()  # too late, or once too often
                    assert waiter.alive
            if in_time and notified:
                assert waiter.result() is None
            else:
                with pytest.raises(Timeout):
                    waiter.result()
            assert mutex._state() == FREE
            if in_time:
                return
        raise AssertionError("the machine stood still")


class TestWaitFor:
    def test_gives_what_the_predicate_gave(self):
        condition = Condition()
        value = ["truthy"]
        with condition:
            assert condition.wait_for(lambda: value) is value

    def test_true_at_once_it_does_not_give_up_the_lock(self):
        mutex = Mutex(fair=True)
        condition = Condition(mutex)
        with condition:
            other = spawn(lambda: mutex.lock().release())
            eventually(lambda: kinds(mutex))
            assert condition.wait_for(lambda: 1, timeout=0) == 1
            assert other.alive
        other.join()

    def test_asks_once_at_first_and_once_for_each_notification(self):
        condition = Condition()
        asked = []

        def predicate():
            assert condition.locked()
            asked.append(threading.get_ident())
            return len(asked) == 4 and "done"

        waiter = waiting_thread(condition, lambda: condition.wait_for(predicate))
        for n in range(1, 4):
            eventually(lambda: waiting(condition))
            assert len(asked) == n
            notify(condition)
        assert waiter.result() == "done"
        assert asked == [waiter.thread.ident] * 4

    def test_asks_once_more_when_the_time_is_up(self):
        condition = Condition()
        answers = iter([False, "late"])
        with condition:
            assert condition.wait_for(lambda: next(answers), timeout=0.001) == "late"

    def test_the_timeout_is_for_all_of_it(self):
        condition = Condition()
        waiter = waiting_thread(condition, lambda: condition.wait_for(lambda: False, timeout=0.2))
        while waiter.alive:  # notified all the time, it never waits for 0.2 s at a stretch
            notify(condition)
            time.sleep(0.01)
        with pytest.raises(Timeout):
            waiter.result()

    def test_what_the_predicate_raises_leaves_with_the_lock_held(self):
        mutex = Mutex()
        condition = Condition(mutex)
        for answers in ([], [False]):
            remaining = iter(answers)
            with condition as guard:
                with pytest.raises(StopIteration):
                    condition.wait_for(lambda remaining=remaining: next(remaining), timeout=0.001)
                assert mutex._state() == TAKEN
                assert guard.value is None
        assert mutex._state() == FREE

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
    def test_what_the_predicate_raises_passes_the_notification_on(self, error):
        condition = Condition()
        answers = [error, False]

        def predicate():
            answer = answers.pop()
            if answer:
                raise answer
            return answer

        first = waiting_thread(condition, lambda: condition.wait_for(predicate))
        second = waiting_thread(condition)
        notify(condition)
        with pytest.raises(error):
            first.result()
        second.join()

    def test_notified_and_then_timed_out_it_passes_the_notification_on(self):
        mutex = Mutex()
        condition = Condition(mutex)
        first = waiting_thread(condition, lambda: condition.wait_for(lambda: False, timeout=0.05))
        second = waiting_thread(condition)
        with condition:
            condition.notify()
            time.sleep(0.1)  # the time is up when it looks
        with pytest.raises(Timeout):
            first.result()
        second.join()

    def test_an_answer_without_a_truth_value_is_the_callers_error(self):
        class Neither:
            def __bool__(self):
                raise KeyError("neither")

        mutex = Mutex()
        with mutex:
            with pytest.raises(KeyError):
                Condition(mutex).wait_for(Neither)
            assert mutex._state() == TAKEN

    @pytest.mark.parametrize("predicate", [None, 1, "yes", []], ids=shown)
    def test_refuses_what_cannot_be_called(self, predicate):
        condition = Condition()
        with condition, pytest.raises(TypeError, match="predicate must be callable"):
            condition.wait_for(predicate)

    def test_the_predicate_may_give_up_the_lock_and_take_it_again(self):
        mutex = Mutex()
        condition = Condition(mutex)

        def predicate():
            with guard.unlocked():
                pass
            return False

        with condition as guard, pytest.raises(Timeout):
            condition.wait_for(predicate, timeout=0.001)
        assert mutex._state() == FREE

    def test_the_predicate_may_wait_at_another_condition(self):
        mutex = Mutex()
        condition, other = Condition(mutex), Condition(mutex)
        waiter = waiting_thread(other, lambda: condition.wait_for(lambda: other.wait() or "both"))
        notify(other)
        assert waiter.result() == "both"
        assert mutex._state() == FREE


class TestNotify:
    @pytest.mark.parametrize(
        ("n", "expected"), [(1, 1), (2, 2), (3, 3), (4, 3), (10**30, 3), (0, 0), (-1, 0), (-(10**30), 0), (True, 1)]
    )
    def test_at_most_n_in_order_of_arrival(self, n, expected):
        condition = Condition()
        done = []
        waiters = [waiting_thread(condition, done=lambda n=n: done.append(n)) for n in range(3)]
        notify(condition, n)
        eventually(lambda: len(done) == expected)
        assert sorted(done) == list(range(expected))
        assert len(waiting(condition)) == 3 - expected
        with condition:
            condition.notify_all()
        for waiter in waiters:
            waiter.join()

    def test_takes_n_by_name_and_as_an_index(self):
        condition = Condition()
        waiters = [waiting_thread(condition) for _ in range(4)]
        with condition:
            condition.notify(n=1)
            condition.notify(Index(2))
            assert len(waiting(condition)) == 1
            condition.notify()
        for waiter in waiters:
            waiter.join()

    @pytest.mark.parametrize("n", [1.0, "1", None], ids=shown)
    def test_refuses_what_is_no_number_of_waiters(self, n):
        condition = Condition()
        with condition, pytest.raises(TypeError):
            condition.notify(n)

    def test_only_who_waits_already_is_notified(self):
        condition = Condition()
        first = waiting_thread(condition)
        with condition:
            condition.notify_all()
        first.join()
        second = waiting_thread(condition)
        assert waiting(condition) == ["thread"]
        notify(condition)
        second.join()

    def test_notifies_one_by_one_in_order_of_arrival(self):
        condition = Condition()
        done = []
        waiters = [waiting_thread(condition, done=lambda n=n: done.append(n)) for n in range(5)]
        for n in range(5):
            notify(condition)
            eventually(lambda n=n: len(done) == n + 1)
        assert done == list(range(5))
        for waiter in waiters:
            waiter.join()

    def test_notifying_nobody_leaves_the_mutex_as_it_was(self):
        mutex = Mutex()
        condition = Condition(mutex)
        with condition:
            condition.notify()
            condition.notify_all()
            assert mutex._state() == TAKEN
        guard = mutex.lock()
        condition.notify_all()
        assert mutex._state() == TAKEN
        guard.release()
        assert mutex._state() == FREE

    def test_an_unowned_hold_is_everybodys(self):
        """As a threading.Lock's: who took it with acquire() is not known."""
        condition = Condition()
        waiter = waiting_thread(condition)
        condition.acquire()
        spawn(condition.notify).result()
        condition.release()
        waiter.join()


def test_references_come_back():
    condition = Condition(Mutex([]))
    with condition as guard:
        before = sys.getrefcount(guard), sys.getrefcount(condition)
        for _ in range(10):
            with pytest.raises(Timeout):
                condition.wait(timeout=1e-9)
            assert condition.wait_for(lambda: True)
        assert (sys.getrefcount(guard), sys.getrefcount(condition)) == before


def test_is_what_a_threading_condition_is_over_a_mutex():
    """The two can be used over one lock: each has its own queue."""
    mutex = Mutex()
    ours, theirs = Condition(mutex), threading.Condition(mutex)
    waiter = waiting_thread(ours)
    with mutex:
        theirs.notify_all()
        assert waiting(ours) == ["thread"]
        ours.notify()
    waiter.join()
    assert mutex._state() == FREE


def test_is_exported():
    assert ferrule.Condition is Condition
