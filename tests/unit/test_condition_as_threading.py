"""What CPython's documentation says of threading.Condition, a test for each sentence: it holds of both."""

import threading

import pytest

from ferrule import Condition, Mutex, Timeout
from tests.support.race import HANG, eventually, spawn

CLASSES = {"ferrule": (Mutex, Condition), "threading": (threading.Lock, threading.Condition)}


@pytest.fixture(params=CLASSES)
def classes(request):
    return CLASSES[request.param]


@pytest.fixture
def lock(classes):
    return classes[0]()


@pytest.fixture
def condition(classes, lock):
    return classes[1](lock)


def gives_up(condition, timeout):
    """Whether a wait ended by its timeout, which is an exception here and False there."""
    try:
        return condition.wait(timeout=timeout) is False
    except Timeout:
        return True


class Waiters:
    """Threads that wait, each behind those before it; `woken` has those that returned from wait(), in order."""

    def __init__(self, condition, count, wait=None):
        self.woken = []
        self.threads = [self.start(condition, number, wait or condition.wait) for number in range(count)]

    def start(self, condition, number, wait):
        inside = []

        def run():
            with condition:
                inside.append(number)
                wait()
                self.woken.append(number)

        thread = spawn(run)
        eventually(lambda: inside)
        with condition:  # it has given up the lock, so it waits
            return thread

    def join(self):
        for thread in self.threads:
            thread.result()


class TestTheLock:
    """A condition variable is always associated with some kind of lock; this can be passed in or one will be created
    by default."""

    def test_one_is_made_by_default(self, classes):
        condition = classes[1]()
        with condition:
            assert not spawn(condition.acquire, False).result()
        assert spawn(lambda: condition.acquire(False) and not condition.release()).result()

    def test_one_is_shared_by_several(self, classes, lock):
        """Passing one in is useful when several condition variables must share the same lock."""
        one, other = classes[1](lock), classes[1](lock)
        waiters = Waiters(one, 1)
        with other:
            other.notify_all()
            assert lock.locked()
        assert waiters.woken == []
        with one:
            one.notify()
        waiters.join()

    def test_with_holds_it_for_the_block(self, condition, lock):
        with condition:
            assert lock.locked()
        assert not lock.locked()

    def test_acquire_and_release_are_the_locks(self, condition, lock):
        assert condition.acquire() is True
        assert lock.locked()
        assert condition.acquire(False) is False
        assert condition.acquire(timeout=1e-3) is False
        assert condition.release() is None
        assert not lock.locked()


class TestNotHeld:
    """If the calling thread has not acquired the lock when this method is called, a RuntimeError is raised."""

    @pytest.mark.parametrize("call", ["wait", "notify", "notify_all"])
    def test_by_nobody(self, condition, call):
        with pytest.raises(RuntimeError):
            getattr(condition, call)()

    def test_release_by_nobody(self, condition):
        with pytest.raises(RuntimeError):
            condition.release()


class TestWait:
    def test_releases_the_lock_then_blocks_then_has_it_again(self, condition, lock):
        """This method releases the underlying lock, and then blocks until it is awakened by a notify() or
        notify_all() call [...]. Once awakened or timed out, it re-acquires the lock and returns."""
        held = []
        waiters = Waiters(condition, 1, lambda: condition.wait() or held.append(lock.locked()))
        assert not lock.locked()
        assert waiters.woken == []
        with condition:
            condition.notify()
        waiters.join()
        assert waiters.woken == [0]
        assert all(held)

    def test_is_not_over_before_the_notifier_has_released_the_lock(self, condition):
        """The notify() and notify_all() methods don't release the lock; this means that the thread or threads
        awakened will not return from their wait() call immediately, but only when the thread that called notify() or
        notify_all() finally relinquishes ownership of the lock."""
        waiters = Waiters(condition, 3)
        with condition:
            condition.notify_all()
            assert all(thread.alive for thread in waiters.threads)
            assert waiters.woken == []
        waiters.join()

    @pytest.mark.parametrize("timeout", [0, 1e-3])
    def test_a_timeout_ends_it_with_the_lock_held(self, condition, lock, timeout):
        with condition:
            assert gives_up(condition, timeout)
            assert lock.locked()

    def test_a_notification_comes_before_the_timeout(self, condition):
        waiters = Waiters(condition, 1, lambda: gives_up(condition, HANG) and pytest.fail("it timed out"))
        with condition:
            condition.notify()
        waiters.join()


class TestWaitFor:
    def test_waits_until_the_predicate_is_true_and_gives_what_it_gave(self, condition):
        """predicate should be a callable which result will be interpreted as a boolean value. [...] will return the
        last return value of the predicate"""
        answers, given = [[], 0, "yes"], []
        waiters = Waiters(condition, 1, lambda: given.append(condition.wait_for(lambda: answers.pop(0))))
        assert answers == [0, "yes"]
        for left in (1, 0):
            assert given == []
            with condition:
                condition.notify()
            eventually(lambda left=left: len(answers) == left)
        waiters.join()
        assert given == ["yes"]

    def test_a_true_predicate_waits_for_nothing(self, condition):
        with condition:
            assert condition.wait_for(lambda: 7) == 7

    def test_rules_of_wait_hold(self, condition):
        """the same rules apply as with wait(): The lock must be held when called and is re-acquired on return. The
        predicate is evaluated with the lock held."""
        with pytest.raises(RuntimeError):
            condition.wait_for(lambda: False)
        held = []
        with condition:
            condition.wait_for(lambda: held.append(not spawn(condition.acquire, False).result()) or True)
        assert held == [True]


class TestNotify:
    @pytest.mark.parametrize("n", [0, 1, 2, 3, 10])
    def test_wakes_at_most_n(self, condition, n):
        """This method wakes up at most n of the threads waiting for the condition variable; it is a no-op if no
        threads are waiting."""
        waiters = Waiters(condition, 3)
        with condition:
            condition.notify(n)
        eventually(lambda: len(waiters.woken) == min(n, 3))
        with condition:
            assert len(waiters.woken) == min(n, 3)
            condition.notify_all()
        waiters.join()

    def test_is_a_no_op_if_nobody_waits(self, condition):
        with condition:
            condition.notify()
            condition.notify(5)
            condition.notify_all()
            assert gives_up(condition, 1e-3), "a notification is not kept"

    def test_all_wakes_all(self, condition):
        """Wake up all threads waiting on this condition. This method acts like notify(), but wakes up all."""
        waiters = Waiters(condition, 10)
        with condition:
            condition.notify_all()
        waiters.join()
        assert sorted(waiters.woken) == list(range(10))


def test_the_producer_and_the_consumer_of_the_documentation(condition):
    """# Consume one item / with cv: while not an_item_is_available(): cv.wait() ..."""
    items, got = [], []

    def consume():
        for _ in range(200):
            with condition:
                while not items:
                    condition.wait()
                got.append(items.pop(0))

    def produce(first):
        for item in range(first, 600, 3):
            with condition:
                items.append(item)
                condition.notify()

    threads = [spawn(consume) for _ in range(3)] + [spawn(produce, first) for first in range(3)]
    for thread in threads:
        thread.result()
    assert sorted(got) == list(range(600))
