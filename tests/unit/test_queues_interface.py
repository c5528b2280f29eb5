"""What code does with a queue besides calling it: subclasses with hooks, and the parts behind the interface."""

import asyncio
import inspect
import logging.handlers
import queue as standard
import threading
import weakref
from collections import deque

import pytest

from ferrule import Mutex, WouldDeadlock
from ferrule.dropin import asyncio as tasks
from ferrule.dropin import queue as threads
from ferrule.dropin.queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown
from tests.support.queues import THREADS, Last, opened, state, waiting
from tests.support.race import eventually, spawn


@pytest.fixture(params=[Queue, LifoQueue, PriorityQueue], ids=lambda cls: cls.__name__)
def cls(request):
    return request.param


class TestSignatures:
    @pytest.mark.parametrize(
        ("ours", "theirs", "names"),
        [
            (threads, standard, ["Queue", "LifoQueue", "PriorityQueue", "SimpleQueue"]),
            (tasks, asyncio, ["Queue", "LifoQueue", "PriorityQueue"]),
        ],
        ids=["queue", "asyncio"],
    )
    def test_every_public_method_has_the_same_parameters(self, ours, theirs, names):
        for name in names:
            here, there = getattr(ours, name), getattr(theirs, name)
            for member in {member for member in dir(there) if not member.startswith("_")} | {"__init__"}:
                method = inspect.getattr_static(there, member)
                if not inspect.isroutine(method) or (name == "SimpleQueue" and member == "__init__"):
                    continue
                one, other = (inspect.signature(getattr(owner, member)).parameters for owner in (here, there))
                assert [(p.name, p.kind, p.default) for p in one.values()][1:] == [
                    (p.name, p.kind, p.default) for p in other.values()
                ][1:], f"{name}.{member}"

    def test_the_constructor_has_too(self, cls):
        assert str(inspect.signature(cls).replace(return_annotation=inspect.Signature.empty)) in (
            "(maxsize: 'int' = 0)",
            "(maxsize: int = 0)",
        )

    def test_every_public_name_is_there(self):
        for ours, theirs in ((threads, standard), (tasks, asyncio.queues)):
            assert set(theirs.__all__) <= set(ours.__all__)


class TestInstances:
    def test_they_take_attributes_and_weak_references(self, cls):
        q = cls()
        q.name = "jobs"
        assert q.name == "jobs"
        assert weakref.ref(q)() is q

    def test_the_classes_are_generic_at_run_time(self, cls):
        assert cls[int].__origin__ is cls
        assert threads.SimpleQueue[int].__args__ == (int,)

    def test_a_subclass_without_hooks_is_as_fast_as_its_base(self, cls):
        class Named(cls):
            def __init__(self, name, maxsize=0):
                super().__init__(maxsize)
                self.name = name

        q = Named("jobs", 3)
        assert (q.name, q.maxsize, state(q)["order"]) == ("jobs", 3, state(cls())["order"])
        assert state(q)["order"] != "hooks"

    def test_put_nowait_and_get_nowait_come_to_put_and_get_of_a_subclass(self, cls):
        class Counting(cls):
            calls = ()

            def put(self, item, block=True, timeout=None):
                self.calls += (("put", item, block, timeout),)
                super().put(item, block, timeout)

            def get(self, block=True, timeout=None):
                self.calls += (("get", block, timeout),)
                return super().get(block, timeout)

        q = Counting()
        q.put_nowait(1)
        assert q.get_nowait() == 1
        assert q.calls == (("put", 1, False, None), ("get", False, None))


class TestHooks:
    def test_they_are_called_with_the_mutex_held(self):
        calls = []

        class Watching(Queue):
            def _init(self, maxsize):
                calls.append(("init", maxsize))
                super()._init(maxsize)

            def _qsize(self):
                calls.append(("qsize", self.mutex.locked()))
                return super()._qsize()

            def _put(self, item):
                calls.append(("put", self.mutex.locked()))
                super()._put(item)

            def _get(self):
                calls.append(("get", self.mutex.locked()))
                return super()._get()

        q = Watching(2)
        q.put(1)
        assert q.get() == 1
        assert (q.qsize(), q.empty(), q.full()) == (0, True, False)
        q.put(2)
        q.shutdown(immediate=True)
        assert calls.pop(0) == ("init", 2)
        assert {name for name, _ in calls} == {"qsize", "put", "get"}
        assert all(held for _, held in calls)
        assert not q.mutex.locked()

    def test_the_order_is_theirs(self):
        q = Last()
        for item in "abcab":
            q.put(item)
        assert q.qsize() == 3
        assert [q.get() for _ in range(3)] == ["c", "a", "b"]
        assert q.unfinished_tasks == 5

    def test_one_that_raises_ends_the_call_and_leaves_the_queue_usable(self):
        class Refusing(Queue):
            def _put(self, item):
                if item == "bad":
                    raise KeyError(item)
                super()._put(item)

            def _get(self):
                if self.queue[0] == "sour":
                    raise LookupError
                return super()._get()

        q = Refusing(2)
        with pytest.raises(KeyError):
            q.put("bad")
        assert (q.qsize(), q.unfinished_tasks, q.mutex.locked()) == (0, 0, False)
        q.put("sour")
        with pytest.raises(LookupError):
            q.get()
        assert (q.qsize(), q.mutex.locked()) == (1, False)
        q.queue[0] = "sweet"
        assert q.get() == "sweet"

    def test_the_leave_of_a_put_whose_hook_raises_goes_to_the_next(self):
        class Refusing(Queue):
            def _put(self, item):
                if item == "bad":
                    raise KeyError(item)
                super()._put(item)

        q = Refusing(1)
        q.put("first")
        bad = spawn(q.put, "bad")
        eventually(lambda: waiting(q)["putters"] == 1)
        good = spawn(q.put, "good")
        eventually(lambda: waiting(q)["putters"] == 2)
        assert q.get() == "first"
        with pytest.raises(KeyError):
            bad.result()
        good.result()
        assert q.get() == "good"

    def test_an_error_in_the_middle_of_an_immediate_shutdown(self):
        class Sticky(Queue):
            def _get(self):
                raise LookupError

        q = Sticky()
        q.put(1)
        with pytest.raises(LookupError):
            q.shutdown(immediate=True)
        assert q.is_shutdown
        assert not q.mutex.locked()
        with pytest.raises(ShutDown):
            q.put(2)

    def test_a_class_may_get_hooks_later(self, cls):
        class Later(cls):
            pass

        plain = Later()
        Later._put = lambda self, item: self.queue.append(-item)
        hooked = Later()
        for q in (plain, hooked):
            q.put(1)
        assert [plain.get(), hooked.get()] == [1, -1]

    def test_the_base_hooks_work_by_hand(self, cls):
        q = cls()
        with q.mutex:
            q._put(2)
            q._put(1)
            assert q._qsize() == 2
            assert q._get() == (2 if cls is Queue else 1)
        assert q.qsize() == 1

    def test_without_a_container_the_attribute_is_missing(self):
        q = THREADS["Queue with hooks"]()
        with pytest.raises(AttributeError, match="no attribute 'queue'"):
            _ = q.queue
        assert not hasattr(q, "queue")

    def test_a_queue_called_within_its_own_mutex_would_deadlock_and_says_so(self, cls):
        q = cls()
        with q.mutex:
            for call in (lambda: q.put(1), q.get_nowait, q.qsize, q.task_done, q.shutdown):
                with pytest.raises(WouldDeadlock):
                    call()
        q.put(1)
        assert q.get() == 1


class TestContainer:
    def test_it_has_the_items_and_is_what_the_queue_works_on(self, cls):
        q = cls(5)
        for item in (2, 3, 1):
            q.put(item)
        first = q.queue
        assert q.queue is first
        assert type(first) is (deque if cls is Queue else list)
        assert sorted(first) == [1, 2, 3]
        assert state(q)["order"] == "hooks"
        with q.mutex:
            q.queue.clear()
        assert q.empty()
        q.put(7)
        assert list(q.queue) == [7]
        assert q.get() == 7

    def test_a_look_at_the_first(self):
        q = PriorityQueue()
        for item in (2, 3, 1):
            q.put(item)
        with q.mutex:
            assert q.queue[0] == 1
        assert [q.get() for _ in range(3)] == [1, 2, 3]

    def test_it_may_be_replaced(self, cls):
        q = cls()
        q.put("old")
        q.queue = deque([1, 2]) if cls is Queue else [1, 2]
        assert q.qsize() == 2
        assert [q.get(), q.get()] == ([1, 2] if cls is not LifoQueue else [2, 1])

    def test_emptied_by_hand_as_is_often_done(self, cls):
        q = cls(1)
        q.put(1)
        putting = spawn(q.put, 2)
        joining = spawn(q.join)
        eventually(lambda: (waiting(q)["putters"], waiting(q)["joiners"]) == (1, 1))
        with q.mutex:
            q.queue.clear()
            q.all_tasks_done.notify_all()
            q.unfinished_tasks = 0
            q.not_full.notify()
        joining.result()
        putting.result()
        assert q.get() == 2

    def test_opened_while_others_wait_and_work(self, cls):
        """What was there before is still served."""
        q = cls(1)
        getting = spawn(q.get)
        eventually(lambda: waiting(q)["getters"] == 1)
        opened(q)
        q.put("item")
        assert getting.result() == "item"
        with pytest.raises(Empty):
            q.get_nowait()
        q.put(1)
        with pytest.raises(Full):
            q.put_nowait(2)


class TestMutex:
    def test_it_keeps_others_out(self, cls):
        q = cls()
        assert isinstance(q.mutex, Mutex)
        assert q.mutex is q.mutex
        with q.mutex:
            putting = spawn(q.put, 1)
            looking = spawn(q.qsize)
            eventually(lambda: len(q.mutex._state()["waiters"]) == 2)
            assert len(q.queue) == 0
        putting.result()
        looking.result()
        assert q.get() == 1

    def test_acquire_and_release(self, cls):
        q = cls()
        assert q.mutex.acquire(timeout=1)
        assert not q.mutex.acquire(blocking=False)
        q.mutex.release()
        q.put(1)


class TestConditions:
    def test_they_are_conditions_of_the_mutex(self, cls):
        q = cls()
        for name in ("not_empty", "not_full", "all_tasks_done"):
            condition = getattr(q, name)
            assert isinstance(condition, threading.Condition)
            assert getattr(q, name) is condition
            with condition:
                assert q.mutex.locked()
            assert not q.mutex.locked()
            with pytest.raises(RuntimeError):
                condition.notify()

    def test_who_waits_for_an_item_by_hand_is_told_of_one(self, cls):
        q = cls()
        waits = threading.Event()

        def peek():
            with q.not_empty:
                while not q._qsize():
                    waits.set()
                    q.not_empty.wait()
                return q.queue[0]

        peeking = spawn(peek)
        waits.wait()
        q.put("item")
        assert peeking.result() == "item"
        assert q.get() == "item"

    def test_who_waits_for_room_by_hand_is_told_of_it(self, cls):
        q = cls(1)
        q.put(1)
        waits = threading.Event()

        def until_there_is_room():
            with q.not_full:
                while q._qsize():
                    waits.set()
                    q.not_full.wait()

        waiter = spawn(until_there_is_room)
        waits.wait()
        assert q.get() == 1
        waiter.result()

    @pytest.mark.parametrize("how", ["task_done", "shutdown"])
    def test_who_waits_for_all_tasks_by_hand_is_told_of_them(self, cls, how):
        q = cls()
        q.put(1)
        waits = threading.Event()

        def join():
            with q.all_tasks_done:
                while q.unfinished_tasks:
                    waits.set()
                    q.all_tasks_done.wait()

        joining = spawn(join)
        waits.wait()
        if how == "task_done":
            q.task_done()
        else:
            q.shutdown(immediate=True)
        joining.result()

    @pytest.mark.parametrize("how", ["notify", "notify_all"])
    def test_who_waits_in_get_is_told_by_hand(self, cls, how):
        q = cls()
        getting = spawn(q.get)
        eventually(lambda: waiting(q)["getters"] == 1)
        with q.not_empty:
            q.queue.append("item")
            getattr(q.not_empty, how)()
        assert getting.result() == "item"

    def test_one_notification_wakes_one(self, cls):
        q = cls()
        getting = [spawn(q.get) for _ in range(2)]
        eventually(lambda: waiting(q)["getters"] == 2)
        with q.not_empty:
            q.queue.append("item")
            q.not_empty.notify()
        eventually(lambda: waiting(q)["getters"] == 1)
        q.put("other")
        assert sorted(thread.result() for thread in getting) == ["item", "other"]

    def test_a_wait_by_hand_may_time_out(self, cls):
        q = cls()
        with q.not_empty:
            assert not q.not_empty.wait(0.01)
            assert not q.not_empty.wait_for(q._qsize, 0.01)
            assert q.mutex.locked()
        assert not q.mutex.locked()


@pytest.mark.parametrize("make", [Queue, lambda: Queue(1), threads.SimpleQueue], ids=["Queue", "of one", "SimpleQueue"])
def test_the_standard_librarys_logging_by_a_queue(make):
    """It puts with put_nowait(), ends its thread by a sentinel, and says task_done() where the queue has that."""
    q, heard = make(), []

    class Keep(logging.Handler):
        def emit(self, record):
            heard.append(record.getMessage())

    class Sends(logging.handlers.QueueHandler):
        def enqueue(self, record):
            self.queue.put(record)

    listener = logging.handlers.QueueListener(q, Keep())
    listener.enqueue_sentinel = lambda: q.put(None)
    listener.start()
    logger = logging.Logger("by a queue")
    logger.addHandler(Sends(q))
    for n in range(20):
        logger.info("message %d", n)
    listener.stop()
    assert heard == [f"message {n}" for n in range(20)]
    if hasattr(q, "join"):
        q.join()
    assert q.empty()
