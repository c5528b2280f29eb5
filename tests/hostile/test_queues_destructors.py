"""Items of the drop-in queues that call back, raise, or take the queue with them, at the worst moment."""

import gc
import heapq
import itertools
import sys
import weakref

import pytest

from ferrule import WouldDeadlock
from ferrule.dropin.asyncio import PriorityQueue as AsyncPriorityQueue
from ferrule.dropin.queue import Empty, Full, PriorityQueue, Queue, ShutDown, SimpleQueue
from tests.support.driver import complete
from tests.support.hostile import calling, dropping, hostile, raising, returning, unraisable, yielding
from tests.support.leaks import in_subprocess
from tests.support.queues import ORDERS, TASKS, THREADS, waiting
from tests.support.race import eventually, outcome, spawn

QUIET = {"getters": 0, "putters": 0, "joiners": 0}
UNORDERED = [kind for kind in THREADS if ORDERS[kind] != "heap"]
HEAPS = {"for threads": PriorityQueue, "for tasks": AsyncPriorityQueue}


@pytest.mark.parametrize("kind", THREADS)
class TestDestructors:
    def test_one_that_uses_the_queue(self, kind):
        q = THREADS[kind](2)
        seen = []

        def use():
            seen.append(outcome(q.put_nowait, Full, ShutDown)("its"))
            seen.append(outcome(q.get_nowait, Empty, ShutDown)())
            q.qsize()

        for end in (q.get, lambda: q.shutdown(immediate=True)):
            q.put(hostile(__del__=calling(use)))
            end()
            gc.collect()
        assert seen == [None, "its", ShutDown, ShutDown]
        assert (q.qsize(), waiting(q)) == (0, QUIET)

    def test_one_that_raises_does_not_stop_the_others(self, kind):
        q, died = THREADS[kind](), []

        def item(action):
            return hostile(__del__=action, __lt__=returning(False))

        q.put(item(calling(lambda: died.append(1))))
        q.put(item(raising(KeyError)))
        q.put(item(calling(lambda: died.append(2))))
        with unraisable() as seen:
            q.shutdown(immediate=True)
            gc.collect()
        assert sorted(died) == [1, 2]
        assert [type(error) for error in seen] == [KeyError]

    def test_the_queue_dies_with_its_items(self, kind):
        died = []
        q = THREADS[kind]()
        for n in range(3):
            q.put(hostile(__del__=calling(lambda n=n: died.append(n)), __lt__=returning(False)))
        del q
        gc.collect()
        assert sorted(died) == [0, 1, 2]

    def test_the_last_reference_to_the_queue_is_dropped_by_its_own_item(self, kind):
        holder = [THREADS[kind]()]
        gone = weakref.ref(holder[0])
        holder[0].put(hostile(__del__=dropping(holder)))
        holder[0].get()
        gc.collect()
        assert gone() is None


@pytest.mark.parametrize("kind", [kind for kind in THREADS if "with" not in kind])
def test_an_item_that_looks_at_the_container_while_the_queue_begins_again(kind):
    """The constructor, called again, drops it; the queue is a new one by then, and stays one that works."""
    q = THREADS[kind]()
    seen = []
    q.put(hostile(__del__=calling(lambda: seen.append(list(q.queue)))))
    q.__init__(2)
    gc.collect()
    assert seen == [[]]
    q.put(1)
    assert list(q.queue) == [1]
    assert q.get() == 1


class TestSimpleQueue:
    def test_destructors_of_garbage_put_at_any_moment(self):
        """What CPython promises of SimpleQueue: put() may interrupt another put() or get() of the same thread."""
        q, numbers = SimpleQueue(), itertools.count()

        class Circular:
            def __init__(self):
                self.circular = self

            def __del__(self):
                q.put(next(numbers))

        got = []
        for _ in range(3000):
            Circular()
            q.put(next(numbers))
            got.append(q.get())
        gc.collect()
        got += [q.get() for _ in range(q.qsize())]
        assert got == list(range(6000))

    def test_a_callback_of_a_weak_reference_puts(self):
        q = SimpleQueue()

        class Item:
            pass

        item = Item()
        reference = weakref.ref(item, q.put)
        del item
        gc.collect()
        assert q.get_nowait() is reference


@pytest.mark.parametrize("cls", HEAPS.values(), ids=HEAPS)
class TestComparisons:
    def filled(self, cls, count, less):
        """A queue of items whose `<` is by number until the test says otherwise."""
        q = cls()

        class Item:
            def __init__(self, number):
                self.number = number

            def __lt__(self, other):
                return less(self, other)

            def __repr__(self):
                return str(self.number)

        for n in range(count):
            q.put_nowait(Item(n))
        return q, Item

    @pytest.mark.parametrize("count", [1, 2, 3, 7, 30, 31])
    def test_one_that_raises_changes_nothing(self, cls, count):
        """At each of the comparisons that the call makes."""
        left = None

        def less(one, other):
            nonlocal left
            if left is not None:
                left -= 1
                if left < 0:
                    raise ZeroDivisionError
            return one.number < other.number

        q, item = self.filled(cls, count, less)
        failures = 0
        for fails_at in itertools.count():
            left = fails_at
            put = outcome(q.put_nowait, ZeroDivisionError)(item(-1))
            left = None
            if put is None:
                break
            failures += 1
            assert q.qsize() == count
        for fails_at in itertools.count():
            left = fails_at
            got = outcome(q.get_nowait, ZeroDivisionError)()
            left = None
            if got is not ZeroDivisionError:
                break
            failures += 1
            assert q.qsize() == count + 1
        assert failures >= (1 if count < 3 else 2)
        assert got.number == -1
        assert [q.get_nowait().number for _ in range(count)] == list(range(count))
        with pytest.raises(ValueError, match="too many times"):
            for _ in range(count + 2):
                q.task_done()

    def test_one_that_calls_the_queue_is_refused(self, cls):
        q = None
        raised = []

        def less(one, other):
            for call in (lambda: q.put_nowait(None), lambda: q.get_nowait(), lambda: q.shutdown(), q.__init__):
                with pytest.raises(WouldDeadlock) as caught:
                    call()
                raised.append(caught)
            assert q.qsize() == 1
            return one.number < other.number

        q, item = self.filled(cls, 1, less)
        q.put_nowait(item(-1))
        assert len(raised) == 4
        assert [q.get_nowait().number, q.get_nowait().number] == [-1, 0]

    def test_the_container_is_refused_to_a_comparison(self, cls):
        name = "_queue" if cls is AsyncPriorityQueue else "queue"
        q = None

        def less(one, other):
            with pytest.raises(WouldDeadlock):
                getattr(q, name)
            return one.number < other.number

        q, item = self.filled(cls, 1, less)
        q.put_nowait(item(-1))
        assert q.get_nowait().number == -1

    def test_another_thread_waits_for_one_that_takes_long(self, cls):
        q, item = self.filled(cls, 8, lambda one, other: yielding(one.number < other.number, 0.0005)())
        threads = [spawn(lambda n=n: [q.put_nowait(item(-n * 10 - k)) for k in range(5)]) for n in range(1, 4)]
        got = []
        for thread in threads:
            got.append(q.get_nowait().number)
            thread.result()
        got += [q.get_nowait().number for _ in range(q.qsize())]
        assert sorted(got) == sorted([*range(8), *(-n * 10 - k for n in range(1, 4) for k in range(5))])

    def test_answers_without_any_order_lose_nothing(self, cls, rng):
        """NaN, or a `<` that answers by chance."""
        q, item = self.filled(cls, 0, lambda one, other: rng.random() < 0.5)
        for n in range(300):
            q.put_nowait(item(n))
        assert sorted(q.get_nowait().number for _ in range(300)) == list(range(300))

    def test_what_cannot_be_compared_is_refused(self, cls):
        q = cls()
        q.put_nowait(1)
        with pytest.raises(TypeError):
            q.put_nowait("1")
        assert (q.qsize(), q.get_nowait()) == (1, 1)

    def test_one_that_drops_the_last_reference_to_the_queue(self, cls):
        holder = [cls()]
        holder[0].put_nowait(1)
        holder[0].put_nowait(hostile(__lt__=dropping(holder, then=True)))
        assert holder == []

    def test_an_answer_that_is_no_truth_value(self, cls):
        q = cls()
        q.put_nowait(1)
        bad = hostile(__lt__=returning(hostile(__bool__=raising(KeyError))))
        with pytest.raises(KeyError):
            q.put_nowait(bad)
        assert q.qsize() == 1

    def test_it_compares_what_heapq_compares(self, cls, rng):
        compared = []

        def less(one, other):
            compared.append((one.number, other.number))
            return one.number < other.number

        q, item = self.filled(cls, 0, less)
        heap = []
        for _ in range(2000):
            compared.clear()
            if heap and rng.random() < 0.45:
                got = q.get_nowait()
                ours, compared[:] = compared[:], []
                assert heapq.heappop(heap) is got
            else:
                q.put_nowait(new := item(rng.randrange(100)))
                ours, compared[:] = compared[:], []
                heapq.heappush(heap, new)
            assert ours == compared


class TestMisuse:
    def test_the_engine_takes_no_strangers(self):
        from ferrule.dropin import _queues

        for call in (
            lambda: _queues._Queue(),
            lambda: _queues._wake_getters(None, 1),
            lambda: _queues._wake_getters(object(), 1),
            lambda: Queue.put(object(), 1),
            lambda: SimpleQueue.get(Queue()),
            lambda: _queues.adopt(1, "fifo"),
        ):
            with pytest.raises((TypeError, AttributeError)):
                call()

    @pytest.mark.parametrize("kind", TASKS)
    def test_an_instance_whose_constructor_was_not_called(self, kind):
        """A subclass forgot it: the queue is empty and unbounded, or lacks an attribute."""
        for kinds in (THREADS, TASKS):
            cls = type(kinds[kind]())
            q = cls.__new__(cls)
            assert q.qsize() == 0
            q.put_nowait(1)
            assert q.get_nowait() == 1

    def test_a_queue_in_itself(self):
        q = Queue()
        q.put(q)
        assert q.get() is q

    def test_a_hook_that_releases_the_mutex(self):
        class Releasing(Queue):
            def _put(self, item):
                self.mutex.release()

        q = Releasing()
        with pytest.raises(RuntimeError):
            q.put(1)
        assert not q.mutex.locked()

    def test_numbers_out_of_range(self):
        q = Queue()
        for bad in (2**64, -(2**64)):
            with pytest.raises(OverflowError):
                q.unfinished_tasks = bad
        with pytest.raises(TypeError):
            q.unfinished_tasks = "1"


@pytest.mark.parametrize("cls", ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue", "tasks.Queue"])
def test_a_deep_nest_is_destroyed(cls):
    in_subprocess(f"""
        from ferrule.dropin.queue import Queue, LifoQueue, PriorityQueue, SimpleQueue
        from ferrule.dropin import asyncio as tasks
        from tests.support.hostile import assert_destroyed

        def wrap(item):
            q = {cls}()
            q.put_nowait(item)
            return q

        assert_destroyed(100_000 if {cls!r} != "SimpleQueue" else 1_000_000, wrap)
    """)


def test_a_waiting_thread_is_no_reason_to_keep_items():
    q = Queue()
    getting = spawn(q.get)
    eventually(lambda: waiting(q)["getters"] == 1)
    before = sys.getrefcount(item := object())
    q.put(item)
    assert getting.result() is item
    del getting
    gc.collect()
    assert sys.getrefcount(item) == before


def test_a_coroutine_that_put_keeps_nothing():
    q = TASKS["Queue"]()
    before = sys.getrefcount(item := object())
    putting = q.put(item)
    complete(putting)
    assert q.get_nowait() is item
    assert sys.getrefcount(item) == before
