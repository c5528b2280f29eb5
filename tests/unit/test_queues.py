"""The drop-in queues of threads: what each class promises, kept by the engine or by hooks."""

import gc
import math
import queue as standard
import sys
import threading
import time
import weakref

import pytest

from ferrule.dropin.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue
from tests.support.queues import ORDERS, THREADS, state, waiting
from tests.support.race import HANG, eventually, spawn

QUIET = {"getters": 0, "putters": 0, "joiners": 0}


@pytest.fixture(params=THREADS)
def kind(request):
    return request.param


@pytest.fixture
def make(kind):
    return THREADS[kind]


def in_order(items, kind):
    """How a queue of this kind gives the items that were put in all before."""
    return {"fifo": list, "lifo": lambda items: list(reversed(items)), "heap": sorted}[ORDERS[kind]](items)


class TestOrder:
    def test_items_come_out_in_the_order_of_the_class(self, kind, make):
        q = make()
        items = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5]
        for item in items:
            q.put(item)
        assert q.qsize() == len(items)
        assert [q.get() for _ in items] == in_order(items, kind)
        assert q.empty()

    def test_puts_and_gets_in_turn(self, kind, make, rng):
        q, kept = make(), []
        for _ in range(3000):
            if kept and rng.random() < 0.5:
                expected = in_order(kept, kind)[0]
                assert q.get() == expected
                kept.remove(expected) if kind[0] == "P" else kept.pop(-1 if kind[0] == "L" else 0)
            else:
                item = rng.randrange(1000)
                q.put(item)
                kept.append(item)
            assert q.qsize() == len(kept)
        assert [q.get_nowait() for _ in list(kept)] == in_order(kept, kind)

    def test_a_heap_sorts_whatever_there_is(self, rng):
        for size in [*range(70), 1000]:
            q = PriorityQueue()
            items = [(rng.randrange(10), n) for n in range(size)]
            for item in items:
                q.put(item)
            assert [q.get_nowait() for _ in items] == sorted(items)

    def test_many_items_leave_no_memory_behind(self, make):
        q = make()
        for n in range(100_000):
            q.put(n)
        for _ in range(100_000):
            q.get()
        assert q.empty()


class TestBlocking:
    def test_put_and_get_at_once(self, make):
        q = make(1)
        with pytest.raises(Empty):
            q.get_nowait()
        with pytest.raises(Empty):
            q.get(False)
        with pytest.raises(Empty):
            q.get(timeout=0)
        q.put_nowait(1)
        for call in (lambda: q.put_nowait(2), lambda: q.put(2, False), lambda: q.put(2, timeout=0)):
            with pytest.raises(Full):
                call()
        assert q.get_nowait() == 1
        assert waiting(q) == QUIET

    def test_timeouts(self, make):
        q = make(1)
        begin = time.monotonic()
        with pytest.raises(Empty):
            q.get(timeout=0.02)
        q.put(1)
        with pytest.raises(Full):
            q.put(2, timeout=0.02)
        assert time.monotonic() - begin >= 0.04
        assert (q.qsize(), waiting(q)) == (1, QUIET)

    def test_without_block_the_timeout_counts_for_nothing(self, make):
        q = make(1)
        with pytest.raises(Empty):
            q.get(False, -1)
        q.put(1, False, "x")
        with pytest.raises(Full):
            q.put(2, False, -1)
        assert q.get(0, "x") == 1

    @pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), (math.nan, ValueError), ("1", TypeError)])
    def test_a_wrong_timeout_is_refused_also_where_there_is_no_need_to_wait(self, make, timeout, error):
        q = make(2)
        q.put(1)
        with pytest.raises(error):
            q.put(2, timeout=timeout)
        with pytest.raises(error):
            q.get(timeout=timeout)
        assert q.qsize() == 1

    def test_a_queue_without_a_limit_looks_at_no_timeout_of_put(self, make):
        q = make()
        q.put(1, timeout=-1)
        assert q.get() == 1

    def test_get_waits_for_an_item(self, make):
        q = make()
        getting = spawn(q.get)
        eventually(lambda: waiting(q)["getters"] == 1)
        q.put("item")
        assert getting.result() == "item"
        assert waiting(q) == QUIET

    def test_put_waits_for_room(self, make):
        q = make(1)
        q.put(1)
        putting = spawn(q.put, 2)
        eventually(lambda: waiting(q)["putters"] == 1)
        assert q.get() == 1
        putting.result()
        assert q.get() == 2
        assert waiting(q) == QUIET

    def test_getters_are_served_in_the_order_of_their_arrival(self, make):
        q = make()
        got = []
        threads = []
        for n in range(3):
            threads.append(spawn(lambda n=n: got.append((n, q.get()))))
            eventually(lambda n=n: waiting(q)["getters"] == n + 1)
        for n in range(3):
            q.put(n)
            eventually(lambda n=n: len(got) == n + 1)
        for thread in threads:
            thread.result()
        assert got == [(0, 0), (1, 1), (2, 2)]


class TestMaxsize:
    @pytest.mark.parametrize(
        ("maxsize", "room"), [(1, 1), (3, 3), (1.3, 2), (True, 1), (0.5, 1), (sys.maxsize, None), (2**80, None)]
    )
    def test_a_queue_is_full_at_the_first_number_of_items_that_is_not_less(self, make, maxsize, room):
        q = make(maxsize)
        assert q.maxsize is maxsize
        for n in range(room or 100):
            assert not q.full()
            q.put_nowait(n)
        assert q.full() == (room is not None)
        if room:
            with pytest.raises(Full):
                q.put_nowait(room)
            assert q.qsize() == room

    @pytest.mark.parametrize("maxsize", [0, -1, -0.5, math.inf, -math.inf, math.nan, False])
    def test_without_a_limit_it_is_never_full(self, make, maxsize):
        q = make(maxsize)
        for n in range(100):
            q.put(n)
        assert not q.full()

    def test_it_may_be_changed(self, make):
        q = make(3)
        for n in range(3):
            q.put(n)
        q.maxsize = 2
        assert (q.maxsize, q.full(), q.qsize()) == (2, True, 3)
        with pytest.raises(Full):
            q.put_nowait(3)
        q.maxsize = 4
        q.put_nowait(3)
        assert q.full()

    def test_one_that_grows_lets_those_in_who_wait(self, make):
        q = make(1)
        q.put(1)
        putting = [spawn(q.put, n) for n in (2, 3)]
        eventually(lambda: waiting(q)["putters"] == 2)
        q.maxsize = 3
        for thread in putting:
            thread.result()
        assert q.qsize() == 3

    @pytest.mark.parametrize("maxsize", [None, "1", []])
    def test_what_is_no_number_is_refused(self, make, maxsize):
        with pytest.raises(TypeError):
            make(maxsize)
        q = make(1)
        with pytest.raises(TypeError):
            q.maxsize = maxsize
        assert q.maxsize == 1


class TestTasks:
    def test_the_number_of_unfinished_tasks(self, make):
        q = make()
        assert q.unfinished_tasks == 0
        q.put(1)
        q.put(2)
        q.get()
        assert q.unfinished_tasks == 2
        q.task_done()
        q.task_done()
        assert q.unfinished_tasks == 0
        with pytest.raises(ValueError, match="too many times"):
            q.task_done()
        assert q.unfinished_tasks == 0

    def test_join_waits_for_the_last_one(self, make):
        q = make()
        q.join()
        q.put(1)
        q.put(2)
        joining = [spawn(q.join) for _ in range(2)]
        eventually(lambda: waiting(q)["joiners"] == 2)
        q.task_done()
        assert waiting(q)["joiners"] == 2
        q.task_done()
        for thread in joining:
            thread.result()

    def test_join_ends_though_more_comes_at_once(self, make):
        q = make()
        q.put(1)
        joining = spawn(q.join)
        eventually(lambda: waiting(q)["joiners"] == 1)
        q.task_done()
        q.put(2)
        joining.result()

    def test_the_number_may_be_set(self, make):
        """As code does that empties a queue by hand."""
        q = make()
        q.put(1)
        joining = spawn(q.join)
        eventually(lambda: waiting(q)["joiners"] == 1)
        q.unfinished_tasks = 0
        joining.result()
        with pytest.raises(ValueError, match="too many times"):
            q.task_done()


class TestShutdown:
    def test_puts_end_at_once_and_gets_with_the_last_item(self, make):
        q = make()
        assert q.is_shutdown is False
        q.put(1)
        q.shutdown()
        assert q.is_shutdown is True
        for call in (lambda: q.put(2), lambda: q.put_nowait(2), lambda: q.put(2, timeout=1)):
            with pytest.raises(ShutDown):
                call()
        assert q.get() == 1
        for call in (q.get, q.get_nowait, lambda: q.get(timeout=1)):
            with pytest.raises(ShutDown):
                call()
        assert q.unfinished_tasks == 1

    def test_immediate_drops_the_items_and_their_tasks(self, make):
        q = make()
        for n in range(5):
            q.put(n)
        q.get()
        q.shutdown(immediate=True)
        assert (q.qsize(), q.unfinished_tasks) == (0, 1)
        with pytest.raises(ShutDown):
            q.get()

    def test_immediate_ends_join_if_nobody_has_an_item(self, make):
        q = make()
        q.put(1)
        joining = spawn(q.join)
        eventually(lambda: waiting(q)["joiners"] == 1)
        q.shutdown(True)
        joining.result()

    @pytest.mark.parametrize("immediate", [False, True])
    def test_who_waits_is_told(self, make, immediate):
        q = make(1)
        getting = [spawn(q.get) for _ in range(3)]
        eventually(lambda: waiting(q)["getters"] == 3)
        q.shutdown(immediate)
        for thread in getting:
            with pytest.raises(ShutDown):
                thread.result()
        q = make(1)
        q.put(1)
        putting = [spawn(q.put, n) for n in range(3)]
        eventually(lambda: waiting(q)["putters"] == 3)
        q.shutdown(immediate)
        for thread in putting:
            with pytest.raises(ShutDown):
                thread.result()
        assert waiting(q) == QUIET

    def test_shut_down_twice(self, make):
        q = make()
        q.put(1)
        q.shutdown()
        q.shutdown(immediate=True)
        q.shutdown()
        assert (q.qsize(), q.unfinished_tasks, q.is_shutdown) == (0, 0, True)


class TestSimpleQueue:
    def test_it_is_unbounded_and_first_in_first_out(self):
        q = SimpleQueue()
        for n in range(10_000):
            q.put(n, False, -1)
        q.put_nowait(10_000)
        assert q.qsize() == 10_001
        assert [q.get() for _ in range(10_001)] == list(range(10_001))
        assert q.empty()

    def test_get(self):
        q = SimpleQueue()
        for call in (q.get_nowait, lambda: q.get(False), lambda: q.get(timeout=0), lambda: q.get(True, 0.01)):
            with pytest.raises(Empty):
                call()
        getting = spawn(lambda: q.get(timeout=HANG))
        eventually(lambda: waiting(q)["getters"] == 1)
        q.put("item")
        assert getting.result() == "item"

    @pytest.mark.parametrize(("timeout", "error"), [(-1, ValueError), ("1", TypeError)])
    def test_a_wrong_timeout_is_refused(self, timeout, error):
        q = SimpleQueue()
        q.put(1)
        with pytest.raises(error):
            q.get(timeout=timeout)
        assert q.qsize() == 1

    def test_it_takes_no_arguments_but_a_subclass_may(self):
        with pytest.raises(TypeError):
            SimpleQueue(1)

        class Named(SimpleQueue):
            def __init__(self, name):
                super().__init__()
                self.name = name

        q = Named("jobs")
        q.put(1)
        assert (q.name, q.get()) == ("jobs", 1)


class TestErrors:
    def test_the_errors_are_those_of_the_standard_library(self):
        assert Empty is standard.Empty
        assert Full is standard.Full
        if sys.version_info >= (3, 13):
            assert ShutDown is standard.ShutDown
        assert issubclass(ShutDown, Exception)

    @pytest.mark.parametrize("cls", [Queue, LifoQueue, PriorityQueue, SimpleQueue])
    def test_queues_cannot_be_copied(self, cls):
        import copy
        import pickle

        for call in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot pickle or copy"):
                call(cls())


class TestLifetime:
    @pytest.mark.parametrize("make", [*THREADS.values(), lambda maxsize: SimpleQueue()], ids=[*THREADS, "SimpleQueue"])
    def test_a_cycle_through_an_item_is_collected(self, make):
        class Item(list):
            __lt__ = object.__lt__

        q, item = make(0), Item()
        item.append(q)
        q.put(item)
        gone = weakref.ref(item), weakref.ref(q)
        del q, item
        gc.collect()
        assert [ref() for ref in gone] == [None, None]

    def test_a_cycle_through_the_conditions_is_collected(self):
        q = Queue()
        gone = weakref.ref(q)
        assert isinstance(q.not_empty, threading.Condition)
        q.itself = q
        del q
        gc.collect()
        assert gone() is None

    def test_initialised_again_it_is_empty(self, make):
        q = make(1)
        q.put(1)
        q.shutdown()
        q.__init__(2)
        assert (q.qsize(), q.maxsize, q.unfinished_tasks, q.is_shutdown) == (0, 2, 0, False)
        q.put(2)
        assert q.get() == 2

    def test_initialised_again_it_ends_waits_for_room_and_for_tasks(self, make):
        q = make(1)
        q.put(1)
        joining, putting = spawn(q.join), spawn(q.put, 2)
        eventually(lambda: waiting(q) == QUIET | {"putters": 1, "joiners": 1})
        q.__init__(1)
        joining.result()
        putting.result()
        assert q.get_nowait() == 2

    def test_initialised_again_it_has_its_container_until_the_hook_replaces_it(self):
        class Looks(Queue):
            def _init(self, maxsize):
                seen.append(list(getattr(self, "queue", "none")))
                super()._init(maxsize)

        seen = []
        q = Looks()
        q.put(1)
        q.__init__()
        assert (seen, list(q.queue), q.empty()) == ([list("none"), [1]], [], True)

    def test_state_is_quiet_afterwards(self, make):
        assert {name: len(who) for name, who in state(make()).items() if name != "order"} == QUIET
