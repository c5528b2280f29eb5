"""The drop-in queues of asyncio: what each class promises; several loops and threads; cancellation at every step."""

import asyncio
import gc
import sys
import warnings
import weakref
from collections import deque
from collections.abc import Coroutine

import pytest

from ferrule import WouldDeadlock
from ferrule.dropin.asyncio import LifoQueue, PriorityQueue, Queue, QueueEmpty, QueueFull, QueueShutDown
from tests.support.driver import (
    HandLoop,
    LoopThread,
    Stepper,
    cancel_at_every_step,
    cancel_everywhere,
    complete,
    run,
    turns,
)
from tests.support.hostile import calling, hostile
from tests.support.queues import FIFO_KINDS, ORDERS, TASKS, opened, state, waiting
from tests.support.race import HANG, eventually, spawn

QUIET = {"getters": 0, "putters": 0, "joiners": 0}


@pytest.fixture(params=TASKS)
def kind(request):
    return request.param


@pytest.fixture
def make(kind):
    return TASKS[kind]


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, HANG)


class TestAtOnce:
    def test_what_can_be_done_at_once_never_suspends(self, kind, make):
        q = make(3)
        for item in (2, 3, 1):
            assert complete(q.put(item)) is None
        expected = {"fifo": [2, 3, 1], "lifo": [1, 3, 2], "heap": [1, 2, 3]}[ORDERS[kind]]
        assert [complete(q.get()) for _ in range(3)] == expected
        for _ in range(3):
            q.task_done()
        assert complete(q.join()) is None

    def test_nothing_happens_before_the_first_step(self, make):
        q = make()
        for awaitable in (q.put(1), q.get(), q.join()):
            assert isinstance(awaitable, Coroutine)
            assert asyncio.iscoroutine(awaitable)
            awaitable.close()
        assert (q.qsize(), waiting(q)) == (0, QUIET)

    def test_one_never_awaited_warns(self, make):
        with pytest.warns(RuntimeWarning, match=r"'Queue\.get' was never awaited"):
            make().get()
            gc.collect()

    def test_plain_calls(self, make):
        q = make(1)
        with pytest.raises(QueueEmpty):
            q.get_nowait()
        q.put_nowait(1)
        with pytest.raises(QueueFull):
            q.put_nowait(2)
        assert (q.qsize(), q.empty(), q.full(), q.maxsize) == (1, False, True, 1)
        assert q.get_nowait() == 1
        assert (q.qsize(), q.empty(), q.full()) == (0, True, False)
        with pytest.raises(ValueError, match="too many times"):
            [q.task_done() for _ in range(2)]

    def test_the_errors_are_those_of_asyncio(self):
        assert QueueEmpty is asyncio.QueueEmpty
        assert QueueFull is asyncio.QueueFull
        if sys.version_info >= (3, 13):
            assert QueueShutDown is asyncio.QueueShutDown

    def test_what_it_shows_of_itself(self, make):
        q = make(2)
        name = type(q).__name__
        assert str(q) == f"<{name} maxsize=2>"
        assert repr(q) == f"<{name} at {id(q):#x} maxsize=2>"
        q.put_nowait(1)
        assert str(q) == f"<{name} maxsize=2 _queue=[1] tasks=1>"
        q.shutdown()
        assert str(q) == f"<{name} maxsize=2 _queue=[1] tasks=1 shutdown>"


class TestWaiting:
    def test_getters_are_served_in_order(self, make, loop_name):
        async def main():
            q = make()
            getting = [asyncio.create_task(q.get()) for _ in range(3)]
            await turns()
            assert waiting(q)["getters"] == len(q._getters) == 3
            assert "_getters[3]" in str(q)
            for n in range(3):
                q.put_nowait(n)
                await turns()
            return await soon(asyncio.gather(*getting))

        assert run(main(), loop_name) == [0, 1, 2]

    def test_putters_are_let_in_in_order(self, make, loop_name):
        async def main():
            q = make(1)
            q.put_nowait(0)
            putting = [asyncio.create_task(q.put(n)) for n in (1, 2, 3)]
            await turns()
            assert waiting(q)["putters"] == len(q._putters) == 3
            got = []
            for _ in range(4):
                got.append(q.get_nowait())
                await turns()
            await soon(asyncio.gather(*putting))
            return got

        assert run(main(), loop_name) == [0, 1, 2, 3]

    def test_producers_and_consumers(self, make, loop_name):
        async def main():
            q = make(3)

            async def produce(first):
                for n in range(first, first + 500):
                    await q.put(n)

            async def consume():
                got = []
                while (item := await q.get()) >= 0:
                    got.append(item)
                    q.task_done()
                    await asyncio.sleep(0)
                q.task_done()
                return got

            consuming = [asyncio.create_task(consume()) for _ in range(3)]
            await soon(asyncio.gather(*(produce(first) for first in (0, 500, 1000))))
            await soon(q.join())
            for _ in consuming:
                await q.put(-1)
            got = await soon(asyncio.gather(*consuming))
            await soon(q.join())
            return sorted(item for items in got for item in items)

        assert run(main(), loop_name) == list(range(1500))

    def test_join_ends_though_more_comes_at_once(self, make, loop_name):
        async def main():
            q = make()
            q.put_nowait(1)
            joining = asyncio.create_task(q.join())
            await turns()
            q.task_done()
            q.put_nowait(2)
            await soon(joining)

        run(main(), loop_name)

    def test_wait_for(self, make, loop_name):
        async def main():
            q = make(1)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(q.get(), 0.01)
            await q.put(1)
            for wait in (q.put(2), q.join()):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(wait, 0.01)
            assert (q.qsize(), waiting(q)) == (1, QUIET)

        run(main(), loop_name)

    @pytest.mark.parametrize("immediate", [False, True])
    def test_shutdown_tells_who_waits(self, make, immediate, loop_name):
        async def main():
            q = make(1)
            getting = [asyncio.create_task(q.get()) for _ in range(2)]
            await turns()
            q.shutdown(immediate)
            results = await soon(asyncio.gather(*getting, q.get(), q.put(1), return_exceptions=True))
            assert list(map(type, results)) == [QueueShutDown] * 4
            q = make(1)
            q.put_nowait(1)
            waits = [asyncio.create_task(wait) for wait in (q.put(2), q.put(3), q.join())]
            await turns()
            q.shutdown(immediate)
            results = await soon(asyncio.gather(*waits[:2], return_exceptions=True))
            assert list(map(type, results)) == [QueueShutDown] * 2
            if immediate:
                assert q.empty()
            else:
                assert await q.get() == 1
                q.task_done()
            await soon(waits[2])
            for call in (q.get_nowait, lambda: q.put_nowait(1)):
                with pytest.raises(QueueShutDown):
                    call()
            assert waiting(q) == QUIET

        run(main(), loop_name)


class TestCancellation:
    def test_a_cancelled_get_loses_nothing(self, make, loop_name):
        async def main():
            q = None

            def begin():
                nonlocal q
                q = make()
                return q.get(), lambda: q.put_nowait("item")

            async def check():
                if q.empty():
                    q.put_nowait("item")
                assert await soon(q.get()) == "item"
                assert (q.qsize(), waiting(q)) == (0, QUIET)

            assert await cancel_at_every_step(begin, check) == 1

        run(main(), loop_name)

    @pytest.mark.parametrize("from_thread", [False, True])
    def test_the_leave_of_a_cancelled_get_goes_to_the_next(self, make, from_thread, loop_name):
        async def main():
            q = make()
            first, second = Stepper(q.get()), Stepper(q.get())
            first.step()
            second.step()
            if from_thread:
                spawn(q.put_nowait, "item").result()  # the loop has not yet heard of it
            else:
                q.put_nowait("item")
            first.cancel()
            first.step()
            assert first.cancelled
            assert await soon(second.finish()) == "item"
            assert (q.qsize(), waiting(q)) == (0, QUIET)

        run(main(), loop_name)

    def test_a_cancelled_put_puts_nothing_and_lets_the_next_one_in(self, make, loop_name):
        async def main():
            q = None

            def begin():
                nonlocal q
                q = make(1)
                q.put_nowait(0)
                return q.put(1), q.get_nowait

            async def check():
                other = asyncio.ensure_future(q.put(2))
                if q.full():
                    assert q.get_nowait() == 0
                await soon(other)
                assert q.get_nowait() == 2
                assert (q.qsize(), waiting(q)) == (0, QUIET)

            assert await cancel_at_every_step(begin, check) == 1

        run(main(), loop_name)

    def test_a_cancelled_join(self, make, loop_name):
        async def main():
            q = None

            def begin():
                nonlocal q
                q = make()
                q.put_nowait(0)
                return q.join(), q.task_done

            async def check():
                assert waiting(q) == QUIET

            assert await cancel_at_every_step(begin, check) == 1

        run(main(), loop_name)

    def test_a_worker_cancelled_anywhere(self, make, loop_name):
        async def main():
            q = source = None
            done = []

            async def work():
                while True:
                    item = await q.get()
                    done.append(item)
                    q.task_done()
                    if item == 3:
                        return

            def begin():
                nonlocal q, source
                done.clear()
                q = make(1)

                async def produce():
                    for n in range(4):
                        await q.put(n)

                source = asyncio.create_task(produce())
                return work()

            async def check():
                while not (source.done() and q.empty()):
                    done.append(await soon(q.get()))
                    q.task_done()
                    await turns(1)
                await soon(source)
                await soon(q.join())
                assert done == [0, 1, 2, 3]
                assert waiting(q) == QUIET

            await cancel_everywhere(begin, check)

        run(main(), loop_name)


class TestLoops:
    def test_two_loops_and_a_thread_at_one_queue(self, kind, make, loop_name):
        q = make(2)
        with LoopThread(loop_name) as here, LoopThread() as there:

            async def put_all(first):
                for n in range(first, first + 300):
                    await q.put(n)

            async def get_all(count):
                return [await q.get() for _ in range(count)]

            putting = [loop.spawn(put_all(first)) for loop, first in ((here, 0), (there, 300))]
            getting = [loop.spawn(get_all(300)) for loop in (here, there)]
            for future in putting:
                future.result(HANG)
            got = [future.result(HANG) for future in getting]
        assert sorted(got[0] + got[1]) == list(range(600))
        assert waiting(q) == QUIET

    def test_a_thread_without_a_loop_wakes_a_task(self, make, loop_name):
        q = make(1)
        with LoopThread(loop_name) as there:
            getting = there.spawn(q.get())
            eventually(lambda: waiting(q)["getters"] == 1)
            q.put_nowait("item")
            assert getting.result(HANG) == "item"
            q.put_nowait("first")
            putting = there.spawn(q.put("second"))
            eventually(lambda: waiting(q)["putters"] == 1)
            assert q.get_nowait() == "first"
            putting.result(HANG)
            joining = there.spawn(q.join())
            eventually(lambda: waiting(q)["joiners"] == 1)
            for _ in range(3):
                q.task_done()
            joining.result(HANG)

    def test_the_tasks_of_a_closed_loop_pass_on_what_they_got(self, make):
        q = make()
        loop = HandLoop()
        stranded = Stepper(q.get())
        with loop.running():
            stranded.step()
        with LoopThread() as there:
            getting = there.spawn(q.get())
            eventually(lambda: waiting(q)["getters"] == 2)
            loop.close()
            q.put_nowait("item")
            assert getting.result(HANG) == "item"
        stranded.close()

    def test_two_runs_on_one_queue(self, make, loop_name):
        q = make()
        for n in range(3):

            async def main(n=n):
                getting = asyncio.create_task(q.get())
                await turns()
                await q.put(n)
                return await soon(getting)

            assert run(main(), loop_name) == n


class TestHooks:
    def test_subclasses_override_as_in_asyncio(self, loop_name):
        class Newest(Queue):
            """Drops the oldest where there is no room."""

            def put_nowait(self, item):
                if self.full():
                    self.get_nowait()
                    self.task_done()
                super().put_nowait(item)

        async def main():
            q = Newest(2)
            for n in range(5):
                q.put_nowait(n)
            assert (q._unfinished_tasks, q.qsize()) == (2, 2)
            return [await q.get(), await q.get()]

        assert run(main(), loop_name) == [3, 4]

    def test_await_put_and_get_come_to_the_plain_methods_of_a_subclass(self, loop_name):
        calls = []

        class Counting(Queue):
            def put_nowait(self, item):
                calls.append(item)
                super().put_nowait(item)

            def get_nowait(self):
                calls.append("get")
                return super().get_nowait()

        async def main():
            q = Counting(1)
            await q.put(1)
            putting = asyncio.create_task(q.put(2))
            await turns()
            assert calls == [1]
            assert [await q.get(), await q.get()] == [1, 2]
            await putting

        run(main(), loop_name)
        assert calls == [1, "get", 2, "get"] or calls == [1, "get", "get", 2, "get"]

    def test_a_hook_may_call_the_queue(self, loop_name):
        class Mirror(Queue):
            """Puts what is positive twice, the second time negated."""

            def _put(self, item):
                assert self.qsize() == len(self._queue)
                super()._put(item)
                if item > 0:
                    self.put_nowait(-item)

        async def main():
            q = Mirror()
            getting = [asyncio.create_task(q.get()) for _ in range(2)]
            await turns()
            await q.put(1)
            return [await soon(task) for task in getting], q._unfinished_tasks

        assert run(main(), loop_name) == ([1, -1], 2)

    def test_one_that_raises_ends_the_call(self, loop_name):
        class Refusing(Queue):
            def _put(self, item):
                if item == "bad":
                    raise KeyError(item)
                super()._put(item)

        async def main():
            q = Refusing(1)
            with pytest.raises(KeyError):
                await q.put("bad")
            await q.put("first")
            bad, good = asyncio.create_task(q.put("bad")), asyncio.create_task(q.put("good"))
            await turns()
            assert q.get_nowait() == "first"
            with pytest.raises(KeyError):
                await soon(bad)
            await soon(good)
            return q.get_nowait()

        assert run(main(), loop_name) == "good"

    @pytest.mark.parametrize("cls", [Queue, LifoQueue, PriorityQueue])
    def test_the_container_is_what_the_queue_works_on(self, cls):
        q = cls()
        for item in (2, 3, 1):
            q.put_nowait(item)
        assert type(q._queue) is (deque if cls is Queue else list)
        assert q._queue is q._queue
        assert sorted(q._queue) == [1, 2, 3]
        q._queue.clear()
        assert q.empty()
        q.put_nowait(7)
        assert list(q._queue) == [7]
        q._queue = deque([8]) if cls is Queue else [8]
        assert q.get_nowait() == 8

    def test_names_that_asyncio_has_too(self):
        q = Queue(1)
        assert (q._maxsize, q._unfinished_tasks, q._is_shutdown) == (1, 0, False)
        q._maxsize = 2
        q._unfinished_tasks = 3
        assert (q.maxsize, q._format()) == (2, "maxsize=2 tasks=3")
        with pytest.raises(AttributeError):
            q.maxsize = 3

    def test_a_comparison_that_calls_the_queue_is_refused(self):
        for q in (PriorityQueue(), PriorityQueue(3)):
            q.put_nowait(hostile(__lt__=calling(lambda q=q: q.put_nowait(None), then=True)))
            with pytest.raises(WouldDeadlock):
                q.put_nowait(hostile(__lt__=calling(lambda q=q: q.put_nowait(None), then=True)))
            assert q.qsize() == 1


class TestLifetime:
    def test_a_cycle_through_a_waiting_task_is_collected(self, make):
        async def main():
            q = make()
            q.task = asyncio.create_task(q.get())
            await turns()
            gone = weakref.ref(q)
            q.task.cancel()
            await turns()
            del q
            gc.collect()
            assert gone() is None

        run(main())

    def test_dropped_while_it_waits(self, make, loop_name):
        async def main():
            q = make()
            stepper = Stepper(q.get())
            stepper.step()
            assert waiting(q)["getters"] == 1
            del stepper
            q.put_nowait(1)
            await turns()
            assert (q.qsize(), waiting(q)) == (1, QUIET)

        with warnings.catch_warnings():
            run(main(), loop_name)

    def test_opened_while_tasks_wait(self, loop_name):
        async def main():
            q = Queue(1)
            getting = asyncio.create_task(q.get())
            await turns()
            opened(q)
            await q.put(1)
            assert await soon(getting) == 1
            assert state(q)["order"] == "hooks"

        run(main(), loop_name)

    def test_fifo_kinds_are_first_in_first_out_among_threads(self):
        for kind in FIFO_KINDS:
            q = TASKS[kind]()
            spawn(lambda q=q: [q.put_nowait(n) for n in range(1000)]).result()
            assert [q.get_nowait() for _ in range(1000)] == list(range(1000))
