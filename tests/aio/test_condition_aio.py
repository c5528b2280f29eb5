"""Condition through its async face: tasks of one loop, of two, and threads, in one queue; what becomes of a wait."""

import asyncio
import collections
import contextvars
import copy
import gc
import pickle
import threading
import time
import weakref

import pytest

import ferrule
from ferrule import AsyncMutexGuard, BlockingInEventLoop, Condition, Mutex, Timeout, WouldDeadlock, aio, allow_blocking
from tests.support.conditions import notify, notify_async, waiting, waiting_task, waiting_thread, waits
from tests.support.driver import HandLoop, LoopThread, Stepper, complete, new_loop, run, turns
from tests.support.mutexes import FREE, TAKEN, kinds
from tests.support.names import shown
from tests.support.race import HANG, eventually, spawn
from tests.support.timeouts import DO_NOT_WAIT, FOR_EVER, NEGATIVE, OTHER_TYPES


class TestFaces:
    def test_a_new_one_over_each_kind_of_mutex(self):
        mutex = Mutex()
        assert type(aio.Condition()) is aio.Condition
        for given in (mutex, mutex.aio):
            complete(aio.Condition(given).acquire())
            assert mutex.locked()
            mutex.release()
        complete(aio.Condition(mutex=mutex).acquire())
        assert mutex.locked()

    @pytest.mark.parametrize("other", [asyncio.Lock(), 1, Condition], ids=shown)
    def test_refuses_any_other_lock(self, other):
        with pytest.raises(TypeError, match=r"ferrule\.Mutex"):
            aio.Condition(other)

    def test_faces_of_one_condition_are_equal(self):
        condition = Condition()
        assert condition.aio == condition.aio
        assert hash(condition.aio) == hash(condition.aio)
        assert condition.aio.sync is condition
        assert condition.aio != Condition().aio
        assert condition.aio != condition
        assert aio.Condition[int].__origin__ is aio.Condition

    @pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_refuses_copies(self, how):
        with pytest.raises(TypeError, match="cannot pickle or copy"):
            how(aio.Condition())

    def test_async_with_and_its_guard_are_the_mutexs(self, mutex, condition, loop_name):
        async def main():
            async with condition.aio as guard:
                assert type(guard) is AsyncMutexGuard
                assert guard.value == "value"
                assert condition.aio.locked()
                assert mutex._state() == TAKEN
            assert await condition.aio.acquire() is True
            with pytest.raises(Timeout):
                await condition.aio.acquire(timeout=0.001)
            condition.aio.release()
            assert mutex._state() == FREE

        run(main(), loop_name)


class TestNotHeld:
    def test_what_waits_raises_at_its_first_step(self, condition):
        for call in (condition.aio.wait, lambda: condition.aio.wait_for(lambda: True)):
            coroutine = call()
            with pytest.raises(RuntimeError, match="without the mutex held"):
                complete(coroutine)

    def test_what_does_not_wait_raises_at_once(self, condition):
        for call in (condition.aio.notify, condition.aio.notify_all):
            with pytest.raises(RuntimeError, match="without the mutex held"):
                call()

    def test_held_in_another_thread(self, mutex, condition):
        with LoopThread() as there:
            guard = there.run(mutex.aio.lock())
            with pytest.raises(RuntimeError, match="without the mutex held"):
                complete(condition.aio.wait())
            with pytest.raises(RuntimeError, match="without the mutex held"):
                condition.aio.notify()
            guard.release()

    def test_argument_errors_are_the_calls(self, condition):
        for timeout in NEGATIVE + OTHER_TYPES:
            for call in (condition.aio.wait, lambda timeout: condition.aio.wait_for(lambda: True, timeout=timeout)):
                with pytest.raises((TypeError, ValueError)):
                    call(timeout=timeout)
        with pytest.raises(TypeError, match="predicate must be callable"):
            condition.aio.wait_for(None)

    def test_what_is_never_awaited_has_done_nothing(self, mutex, condition):
        complete(mutex.aio.acquire())
        with pytest.warns(RuntimeWarning, match=r"'Condition\.wait' was never awaited"):
            condition.aio.wait()
        assert mutex._state() == TAKEN


async def by_async_with(mutex, condition):
    face = condition.aio
    guard = await face.__aenter__()
    return guard, lambda: face.__aexit__(None, None, None)


async def by_lock(mutex, condition):
    guard = await mutex.aio.lock()

    async def end():
        guard.release()

    return guard, end


async def by_acquire(mutex, condition):
    await condition.aio.acquire()

    async def end():
        condition.aio.release()

    return None, end


async def by_sync_with(mutex, condition):
    guard = condition.__enter__()

    async def end():
        condition.__exit__(None, None, None)

    return guard, end


@pytest.mark.parametrize("hold", [by_async_with, by_lock, by_acquire, by_sync_with])
class TestHolds:
    def test_is_given_up_and_taken_again_for_the_same_guard(self, hold, mutex, condition, loop_name):
        async def main():
            async def work():
                guard, end = await hold(mutex, condition)
                given.append(guard)
                assert await condition.aio.wait() is None
                assert mutex._state() == TAKEN
                assert guard is None or guard.value == "value"
                await end()

            given = []
            task = asyncio.create_task(work())
            await turns()
            assert mutex._state() == FREE
            if given[0] is not None:
                with pytest.raises(RuntimeError):
                    given[0].release()
                assert "given up for a while" in repr(given[0])
            await notify_async(condition)
            await task
            assert mutex._state() == FREE

        run(main(), loop_name)

    @pytest.mark.parametrize("ended", ["timed out", "cancelled", "thrown into"])
    def test_is_held_again_when_an_exception_leaves_wait(self, ended, hold, mutex, condition, loop_name):
        async def main():
            guard, end = await hold(mutex, condition)
            stepper = Stepper(condition.aio.wait(timeout=0.001 if ended == "timed out" else None))
            stepper.step()
            match ended:
                case "cancelled":
                    stepper.cancel()
                    stepper.step()
                case "thrown into":
                    stepper.throw(KeyError("mine"))
            with pytest.raises((Timeout, asyncio.CancelledError, KeyError)):
                await stepper.finish()
            assert mutex._state() == TAKEN
            assert guard is None or guard.value == "value"
            assert waiting(condition) == []
            await end()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_is_not_held_when_the_wait_is_closed(self, hold, mutex, condition, loop_name):
        """A coroutine that is closed cannot wait for the lock; the end of its block is quiet."""

        async def main():
            _, end = await hold(mutex, condition)
            stepper = Stepper(condition.aio.wait())
            stepper.step()
            stepper.close()
            assert waiting(condition) == []
            assert mutex._state() == FREE
            if hold in (by_async_with, by_sync_with):
                await end()
            else:
                with pytest.raises(RuntimeError):
                    await end()
            assert mutex._state() == FREE

        run(main(), loop_name)


class TestTimeout:
    @pytest.mark.parametrize("timeout", FOR_EVER, ids=shown)
    def test_for_ever(self, timeout, mutex, condition, loop_name):
        async def main():
            async def work():
                async with condition.aio:
                    await condition.aio.wait(timeout=timeout)
                    return True

            task = asyncio.create_task(work())
            await turns()
            await notify_async(condition)
            assert await task

        run(main(), loop_name)

    @pytest.mark.parametrize("timeout", DO_NOT_WAIT, ids=shown)
    def test_zero_does_not_wait_nor_give_up_the_lock(self, timeout, mutex, condition):
        complete(mutex.aio.acquire())
        for coroutine in (
            condition.aio.wait(timeout=timeout),
            condition.aio.wait_for(lambda: False, timeout=timeout),
        ):
            with pytest.raises(Timeout):
                complete(coroutine)
        assert mutex._state() == TAKEN

    @pytest.mark.parametrize("notified", [False, True])
    def test_waits_for_the_lock_as_long_as_it_takes(self, notified, mutex, condition):
        """Longer than the timeout, which is that of the notification: one that came in time counts."""
        loop = HandLoop()
        with loop.running():
            guard = complete(mutex.aio.lock())
            stepper = Stepper(condition.aio.wait(timeout=HANG))
            stepper.step()
        mutex.acquire()
        if notified:
            condition.notify()
            loop.turn()
            with loop.running():
                assert not stepper.step(), "the lock is taken"
        loop.fire(loop.timers[0])
        with loop.running():
            assert not stepper.step(), "it wants the lock, whose holder takes its time"
        assert waiting(condition) == []
        assert kinds(mutex) == ["task"]
        condition.notify()  # too late, or once too often
        mutex.release()
        loop.turn()
        with loop.running():
            assert stepper.step()
        if notified:
            assert stepper.result() is None
        else:
            with pytest.raises(Timeout, match="was not notified within 30 s"):
                stepper.result()
        guard.release()
        assert mutex._state() == FREE

    def test_asyncios_own_timeouts(self, mutex, condition, loop_name):
        """wait_for() may run wait() in a task of its own."""

        async def main():
            for attempt in range(2):
                async with condition.aio as guard:
                    with pytest.raises(TimeoutError) as raised:
                        if attempt:
                            async with asyncio.timeout(0.001):
                                await condition.aio.wait()
                        else:
                            await asyncio.wait_for(condition.aio.wait(), 0.001)
                    assert not isinstance(raised.value, Timeout)
                    assert guard.value == "value"
            assert mutex._state() == FREE
            assert waiting(condition) == []

        run(main(), loop_name)


class TestWaitFor:
    def test_gives_what_the_predicate_gave_without_suspending(self, mutex, condition):
        value = ["truthy"]
        complete(mutex.aio.acquire())
        assert complete(condition.aio.wait_for(lambda: value)) is value
        assert mutex._state() == TAKEN

    def test_asks_once_at_first_and_once_for_each_notification(self, mutex, condition, loop_name):
        async def main():
            asked = []

            def predicate():
                assert condition.locked()
                asked.append(1)
                return len(asked) == 4 and "done"

            async def work():
                async with condition.aio:
                    return await condition.aio.wait_for(predicate)

            task = asyncio.create_task(work())
            for n in range(1, 4):
                await turns()
                assert waiting(condition) == ["task"]
                assert len(asked) == n
                await notify_async(condition)
            assert await task == "done"
            assert len(asked) == 4
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_asks_once_more_when_the_time_is_up(self, mutex, condition, loop_name):
        async def main():
            answers = iter([False, "late", False, False])
            async with condition.aio:
                assert await condition.aio.wait_for(lambda: next(answers), timeout=0.001) == "late"
                with pytest.raises(Timeout, match="did not come to what was waited for"):
                    await condition.aio.wait_for(lambda: next(answers), timeout=0.001)
                assert mutex.locked()

        run(main(), loop_name)

    def test_what_the_predicate_raises_leaves_with_the_lock_held(self, mutex, condition, loop_name):
        async def main():
            for answers in ([], [False]):
                async with condition.aio as guard:
                    with pytest.raises(IndexError):
                        await condition.aio.wait_for(answers.pop, timeout=0.001)
                    assert guard.value == "value"
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_cancelled_it_asks_no_more(self, mutex, condition, loop_name):
        async def main():
            asked = []
            await mutex.aio.acquire()
            stepper = Stepper(condition.aio.wait_for(lambda: asked.append(1)))
            stepper.step()
            mutex.acquire()
            condition.notify()
            mutex.release()
            await stepper.woken()
            stepper.cancel()
            stepper.step()
            with pytest.raises(asyncio.CancelledError):
                await stepper.finish()
            assert len(asked) == 1
            assert mutex._state() == TAKEN

        run(main(), loop_name)

    def test_notified_and_then_timed_out_it_passes_the_notification_on(self, loop_name):
        async def main():
            condition = Condition()

            async def impatient():
                async with condition.aio:
                    await condition.aio.wait_for(lambda: False, timeout=0.05)

            async def patient():
                async with condition.aio:
                    await condition.aio.wait()

            tasks = [asyncio.create_task(impatient()), asyncio.create_task(patient())]
            await turns()
            async with condition.aio:
                condition.aio.notify()
                time.sleep(0.1)  # the time is up when it looks
            with pytest.raises(Timeout):
                await tasks[0]
            await asyncio.wait_for(tasks[1], HANG)

        run(main(), loop_name)


class TestOneQueue:
    """Threads and tasks of two loops wait for one condition."""

    def test_notified_in_order_of_arrival(self, condition, loop_name):
        order = []

        async def there_waits(n):
            await waits(condition, lambda: order.append(n))

        async def main(there):
            ends = []
            for n in range(0, 9, 3):
                ends.append(await waiting_task(condition, lambda n=n: order.append(n)))
                thread = waiting_thread(condition, done=lambda n=n: order.append(n + 1))
                ends.append(asyncio.to_thread(thread.join))
                future = there.spawn(there_waits(n + 2))
                eventually(lambda n=n: len(waiting(condition)) == n + 3)
                ends.append(asyncio.wrap_future(future))
            assert waiting(condition) == ["task", "thread", "task"] * 3
            ends = [asyncio.ensure_future(end) for end in ends]
            for n in range(9):
                await notify_async(condition)
                while len(order) <= n:
                    await asyncio.sleep(0.0005)
            await asyncio.gather(*ends)
            assert order == list(range(9))

        with LoopThread(loop_name) as there:
            run(main(there), loop_name)

    def test_all_are_notified_at_once_and_return_one_by_one(self, mutex, condition, loop_name):
        inside = collections.Counter()

        def done():
            inside["now"] += 1
            assert inside["now"] == 1
            inside["all"] += 1
            inside["now"] -= 1

        async def main(there):
            threads = [waiting_thread(condition, done=done) for _ in range(5)]
            futures = [there.spawn(waits(condition, done)) for _ in range(20)]
            tasks = [await waiting_task(condition, done) for _ in range(20)]
            while len(waiting(condition)) < 45:
                await asyncio.sleep(0.0005)
            async with condition.aio:
                condition.aio.notify_all()
                assert waiting(condition) == []
                assert kinds(mutex)[:5] == ["thread"] * 5, "they sleep on; the tasks are told at once"
            await asyncio.gather(*tasks, *map(asyncio.wrap_future, futures))
            for thread in threads:
                await asyncio.to_thread(thread.join)
            assert inside == {"all": 45, "now": 0}
            assert mutex._state() == FREE

        with LoopThread(loop_name) as there:
            run(main(there), loop_name)

    def test_a_thread_notifies_tasks_and_a_task_threads(self, condition, loop_name):
        async def main():
            task = await waiting_task(condition)
            await asyncio.to_thread(notify, condition)
            await task
            thread = await asyncio.to_thread(waiting_thread, condition)
            await notify_async(condition)
            await asyncio.to_thread(thread.join)

        run(main(), loop_name)


class TestBlockingInEventLoop:
    def test_a_sync_wait_where_a_loop_runs(self, mutex, condition, loop_name):
        async def main():
            for call in (condition.wait, lambda **named: condition.wait_for(lambda: False, **named)):
                for timeout in (None, 0.001):
                    async with condition.aio as guard:
                        with pytest.raises(BlockingInEventLoop, match=r"Condition\.wait"):
                            call(timeout=timeout)
                        assert guard.value == "value"
                        with pytest.raises(Timeout):
                            call(timeout=0)
                    with condition, pytest.raises(BlockingInEventLoop):
                        call(timeout=timeout)
            with condition:
                assert condition.wait_for(lambda: "no need to wait")
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_may_be_allowed(self, mutex, condition, loop_name):
        async def main():
            notifier = spawn(lambda: (eventually(lambda: waiting(condition)), notify(condition)))
            with allow_blocking():
                with condition:
                    condition.wait()
                with condition, pytest.raises(Timeout):
                    condition.wait(timeout=0.001)
            notifier.join()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_allowed_it_does_not_wait_behind_its_own_loops_tasks(self, mutex, condition):
        """Notified, it queues for the lock ahead of them: they could not run before it does."""
        loop = HandLoop()

        def task_of_the_loop():
            task = Stepper(mutex.aio.acquire())
            with loop.running():
                task.step()
            assert task.suspended
            return task

        def notifier():  # it makes the loop's steps while the loop's own thread waits
            with condition:
                task = task_of_the_loop()
                condition.notify()
                assert kinds(mutex) == ["thread", "task"]
            return task

        mutex.acquire()
        task_of_the_loop().close()  # from now on the loop is known to have tasks that wait
        mutex.release()
        with loop.running(), allow_blocking(), condition:
            notifies = spawn(notifier)
            condition.wait()
            assert kinds(mutex) == ["task"]
        notifies.result().close()
        assert mutex._state() == FREE

    def test_would_deadlock_where_only_this_thread_could_end_the_hold(self, loop_name):
        """A task of the loop was handed the lock that the sync wait gave up; it cannot run while the thread sleeps."""

        async def main():
            mutex = Mutex(fair=True)
            condition = Condition(mutex)
            with condition as guard:
                task = asyncio.create_task(mutex.aio.lock())
                await turns()
                with allow_blocking(), pytest.raises(WouldDeadlock):
                    condition.wait(timeout=0.01)
                with pytest.raises(RuntimeError):
                    guard.release()
            (await task).release()
            assert mutex._state() == FREE

        run(main(), loop_name)


# --- loops -----------------------------------------------------------------------------------------------------------


def loop_with_waiting_tasks(loop_name, condition, count):
    """A loop that is not running, with so many of its tasks in wait(), under holds without guards; and these tasks."""
    loop = new_loop(loop_name)
    loop.set_exception_handler(lambda loop, context: None)  # "Task was destroyed but it is pending!" is meant

    async def park():
        tasks = []
        for _ in range(count):
            await condition.aio.acquire()
            tasks.append(loop.create_task(condition.aio.wait()))
            await turns()
        assert len(waiting(condition)) == count
        return tasks

    return loop, loop.run_until_complete(park())


@pytest.mark.parametrize("kept", [False, True], ids=["tasks-dropped", "tasks-kept"])
class TestClosedLoops:
    @pytest.mark.parametrize("count", [1, 3, 500])
    def test_notifications_of_a_closed_loops_tasks_go_to_the_next(self, count, kept, mutex, condition, loop_name):
        loop, tasks = loop_with_waiting_tasks(loop_name, condition, count)
        waiter = waiting_thread(condition)
        loop.close()
        if not kept:
            tasks.clear()
            gc.collect()
        notify(condition)
        waiter.result()
        tasks.clear()
        gc.collect()
        assert waiting(condition) == []
        assert mutex._state() == FREE

    def test_closed_between_the_claim_and_the_delivery(self, kept, mutex, condition, loop_name):
        loop, tasks = loop_with_waiting_tasks(loop_name, condition, 3)
        waiter = waiting_thread(condition)
        spawn(notify, condition).result()
        loop.close()
        if not kept:
            tasks.clear()
        gc.collect()
        waiter.result()
        tasks.clear()
        gc.collect()
        assert mutex._state() == FREE

    def test_closed_while_notified_and_queued_for_the_lock(self, kept, mutex, condition, loop_name):
        loop, tasks = loop_with_waiting_tasks(loop_name, condition, 2)
        waiter = waiting_thread(condition)
        with condition:
            condition.notify()
            loop.run_until_complete(turns())
            assert kinds(mutex) == ["task"]
            loop.close()
            if not kept:
                tasks.clear()
                gc.collect()
        waiter.result()
        tasks.clear()
        gc.collect()
        assert mutex._state() == FREE


def test_a_stopped_loops_task_uses_its_notification_when_the_loop_runs_again(mutex, condition, loop_name):
    loop, tasks = loop_with_waiting_tasks(loop_name, condition, 1)
    notify(condition)
    loop.run_until_complete(asyncio.wait(tasks, timeout=HANG))
    assert [task.result() for task in tasks] == [None]
    condition.release()
    loop.close()
    assert mutex._state() == FREE


def test_two_runs_on_one_condition(mutex, condition, loop_name):
    async def main():
        task = await waiting_task(condition)
        await notify_async(condition)
        await task

    for _ in range(2):
        run(main(), loop_name)
    assert mutex._state() == FREE


def test_a_wait_moved_to_another_loop_is_refused(mutex, condition):
    """And has the lock: it was given back to it, and the next suspension is what fails."""

    complete(mutex.aio.acquire())
    one, other = HandLoop(), HandLoop()
    answers = iter([False, False])
    stepper = Stepper(condition.aio.wait_for(lambda: next(answers)))
    with one.running():
        stepper.step()
    mutex.acquire()
    condition.notify()
    mutex.release()
    one.turn()
    with other.running():
        stepper.step()
    with pytest.raises(RuntimeError, match="another event loop"):
        stepper.result()
    assert mutex._state() == TAKEN


class NotifyingLoop(HandLoop):
    """When a future of it is resolved, something happens within that call, as in a handler of a signal."""

    def __init__(self, then):
        super().__init__()
        self.then = then

    def call_soon(self, callback, *args, context=None):
        then, self.then = self.then, None
        if then:
            then()
        return super().call_soon(callback, *args, context=context)


def test_notified_while_it_gives_up_the_lock(fair):
    """Giving up the lock wakes a task; what runs within that wake-up notifies the one who is just about to suspend."""
    mutex = Mutex("value", fair=fair)
    condition = Condition(mutex)

    def then():
        guard = mutex.try_lock()
        if guard is None:  # handed to the other one
            return
        condition.notify()
        guard.release()
        happened.append(waiting(condition))

    happened = []
    loop = NotifyingLoop(None)
    with loop.running():
        guard = complete(mutex.aio.lock())
        for_lock = Stepper(mutex.aio.acquire())
        for_lock.step()
        stepper = Stepper(condition.aio.wait())
        # The future of the one who waits for the lock has a callback, so that resolving it calls the loop.
        for_lock.future.add_done_callback(lambda future: None)
        loop.then = then
        stepper.step()
        if not fair and happened:
            assert happened == [[]]
            assert stepper.future.done(), "the wake-up that came too early was not lost"
        for_lock.close()
        if not happened:
            notify(condition)
        assert stepper.step()
        assert stepper.result() is None
        assert guard.value == "value"
        guard.release()
    assert mutex._state() == FREE


def test_the_collector_takes_a_wait_that_nobody_can_notify():
    class Marked:
        pass

    def make():
        condition = Condition(Mutex(Marked()))
        with condition as guard:
            ref = weakref.ref(guard.value)
        loop = HandLoop()
        with loop.running():
            complete(condition.aio.acquire())
            stepper = Stepper(condition.aio.wait())
            stepper.step()
        stepper.future.add_done_callback(lambda future, stepper=stepper: None)
        return ref

    ref = make()
    gc.collect()
    assert ref() is None


def test_a_task_in_a_context_of_its_own_may_wait_for_its_caller(mutex, condition, loop_name):
    async def main():
        async with condition.aio as guard:
            inner = asyncio.get_running_loop().create_task(condition.aio.wait())
            await turns()
            assert mutex._state() == FREE
            notifier = threading.Thread(target=notify, args=[condition])
            notifier.start()
            await inner
            notifier.join()
            assert guard.value == "value"
        assert mutex._state() == FREE

    contextvars.copy_context().run(run, main(), loop_name)


def test_is_exported():
    assert ferrule.aio.Condition is aio.Condition
    assert type(Condition().aio) is aio.Condition
