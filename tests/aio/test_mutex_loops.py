"""Mutex and loops that stop, close, move to another thread, or are debugged; several loops and threads in one queue."""

import asyncio
import contextlib
import gc

import pytest

import ferrule.aio
from ferrule import AsyncMutexGuard, Mutex, WouldDeadlock
from tests.support.driver import LoopThread, Stepper, new_loop, run, turns
from tests.support.loops import LOOPS
from tests.support.mutexes import FREE, TAKE, TAKEN, kinds
from tests.support.race import HANG, eventually, spawn


@pytest.fixture(params=["lock", "acquire"])
def take(request):
    return TAKE[request.param]


def loop_with_parked_tasks(loop_name, mutex, count, take):
    """A loop that is not running, with so many of its tasks parked on the mutex, and these tasks."""
    loop = new_loop(loop_name)
    loop.set_exception_handler(
        lambda loop, context: None
    )  # "Task was destroyed but it is pending!" is what we are after
    before = len(mutex._state()["waiters"])

    async def park():
        tasks = [loop.create_task(take(mutex.aio)) for _ in range(count)]
        await turns()
        return tasks

    tasks = loop.run_until_complete(park())
    assert len(mutex._state()["waiters"]) == before + count
    return loop, tasks


def assert_still_works(mutex):
    assert mutex._state() == FREE
    mutex.lock(timeout=HANG).release()
    spawn(lambda: mutex.lock(timeout=HANG).release()).result()
    assert mutex._state() == FREE


def assert_still_works_without(tasks, mutex):
    """Once the tasks that a closed loop left behind are gone."""
    tasks.clear()
    gc.collect()
    assert_still_works(mutex)


class TestClosedLoops:
    """The permissions of a closed loop's tasks go on to the waiters behind them."""

    @pytest.mark.parametrize("kept", [False, True], ids=["tasks-dropped", "tasks-kept"])
    @pytest.mark.parametrize("count", [1, 3, 2000])
    def test_closed_with_parked_tasks_then_released_to_a_thread(self, count, kept, fair, take, loop_name):
        mutex = Mutex(fair=fair)
        mutex.acquire()
        loop, tasks = loop_with_parked_tasks(loop_name, mutex, count, take)
        waiting = spawn(lambda: mutex.acquire(timeout=HANG))
        eventually(lambda: len(mutex._state()["waiters"]) == count + 1)
        loop.close()
        if not kept:
            tasks.clear()
            gc.collect()
        mutex.release()
        assert waiting.result() is True
        assert mutex._state() == TAKEN
        mutex.release()
        assert_still_works_without(tasks, mutex)

    def test_closed_with_parked_tasks_then_released_to_a_task_of_another_loop(self, fair, take, loop_name):
        mutex = Mutex(fair=fair)
        mutex.acquire()
        loop, tasks = loop_with_parked_tasks(loop_name, mutex, 5, take)
        with LoopThread(loop_name) as there:
            future = there.spawn(mutex.aio.acquire(timeout=HANG))
            eventually(lambda: len(mutex._state()["waiters"]) == 6)
            loop.close()
            mutex.release()
            assert future.result(HANG) is True
        mutex.release()
        assert_still_works_without(tasks, mutex)

    def test_closed_with_parked_tasks_and_nobody_behind(self, fair, take, loop_name):
        mutex = Mutex(fair=fair)
        mutex.acquire()
        loop, tasks = loop_with_parked_tasks(loop_name, mutex, 3, take)
        loop.close()
        mutex.release()
        assert not mutex.locked()
        assert_still_works_without(tasks, mutex)

    @pytest.mark.parametrize("kept", [False, True], ids=["tasks-dropped", "tasks-kept"])
    @pytest.mark.parametrize("behind", [False, True])
    def test_closed_between_claim_and_delivery(self, behind, kept, fair, take, loop_name):
        """Another thread claims a task of a loop that does not run; the loop is closed before it hears of it."""
        mutex = Mutex(fair=fair)
        mutex.acquire()
        loop, tasks = loop_with_parked_tasks(loop_name, mutex, 3, take)
        waiting = spawn(lambda: mutex.acquire(timeout=HANG)) if behind else None
        eventually(lambda: len(mutex._state()["waiters"]) == 3 + behind)
        spawn(mutex.release).result()
        loop.close()
        if not kept:
            tasks.clear()
        gc.collect()
        if waiting:
            assert waiting.result() is True
            mutex.release()
        assert not mutex.locked()
        assert_still_works_without(tasks, mutex)

    @pytest.mark.parametrize("kept", [False, True], ids=["tasks-dropped", "tasks-kept"])
    def test_closed_between_delivery_and_the_tasks_run(self, kept, fair, take, loop_name):
        """The loop's own thread releases, so the future is resolved at once; the loop never turns again."""
        mutex = Mutex(fair=fair)
        mutex.acquire()
        loop, tasks = loop_with_parked_tasks(loop_name, mutex, 1, take)
        waiting = spawn(lambda: mutex.acquire(timeout=HANG))
        eventually(lambda: len(mutex._state()["waiters"]) == 2)
        mutex.release()
        loop.close()
        if not kept:
            tasks.clear()
        gc.collect()
        assert waiting.result() is True
        mutex.release()
        assert_still_works_without(tasks, mutex)

    def test_released_by_many_threads_while_loops_with_parked_tasks_close(self, loop_name):
        mutex = Mutex(0)
        rounds = 20

        def close_loops():
            for _ in range(rounds):
                loop = new_loop(loop_name)
                loop.set_exception_handler(lambda loop, context: None)

                async def park(loop=loop):
                    for _ in range(5):
                        loop.create_task(touch())
                    await turns(2)

                loop.run_until_complete(park())
                loop.close()
                gc.collect()

        async def touch():
            async with mutex.aio.lock() as guard:  # left by whoever destroys the task, which `mutex.aio` refuses
                guard.value += 0
                await asyncio.sleep(0)

        def count():
            for _ in range(300):
                with mutex.lock(timeout=HANG) as guard:
                    guard.value += 1

        working = [spawn(close_loops), spawn(count), spawn(count)]
        for one in working:
            one.result()
        gc.collect()
        with mutex.lock(timeout=HANG) as guard:
            assert guard.value == 600
        assert_still_works(mutex)

    def test_a_coroutine_that_outlives_its_loop_can_be_closed(self, fair, loop_name):
        mutex = Mutex(fair=fair)
        mutex.acquire()
        coroutine = mutex.aio.lock()
        loop = new_loop(loop_name)

        async def park():
            coroutine.send(None)

        loop.run_until_complete(park())
        loop.close()
        coroutine.close()
        assert mutex._state() == TAKEN
        mutex.release()
        assert_still_works(mutex)


class TestStoppedLoops:
    def test_claimed_while_stopped_runs_when_the_loop_runs_again(self, fair, take, loop_name):
        mutex = Mutex(fair=fair)
        mutex.acquire()
        loop, tasks = loop_with_parked_tasks(loop_name, mutex, 1, take)
        spawn(mutex.release).result()
        taken = loop.run_until_complete(tasks[0])
        assert taken
        assert mutex._state() == TAKEN
        mutex.release()
        loop.close()
        assert_still_works(mutex)

    def test_stopped_and_run_between_every_two_waits(self, fair, loop_name):
        mutex = Mutex(fair=fair)
        loop = new_loop(loop_name)
        for _ in range(10):
            mutex.acquire()
            task = loop.create_task(mutex.aio.lock())
            loop.run_until_complete(turns())
            mutex.release()
            loop.run_until_complete(task).release()
        loop.close()
        assert_still_works(mutex)

    def test_a_loop_moves_to_another_thread_between_waits(self, fair, loop_name):
        mutex = Mutex(fair=fair)
        loop = new_loop(loop_name)

        async def wait_and_release():
            mutex.acquire()
            task = loop.create_task(mutex.aio.lock())
            await turns()
            other = spawn(mutex.release)
            (await task).release()
            other.join()
            mutex.acquire()
            task = loop.create_task(mutex.aio.lock())
            await turns()
            mutex.release()
            (await task).release()

        for _ in range(5):
            spawn(loop.run_until_complete, wait_and_release()).result()
        loop.run_until_complete(wait_and_release())
        loop.close()
        assert_still_works(mutex)

    def test_a_loop_moves_to_another_thread_while_its_task_waits(self, fair, take, loop_name):
        """Parked in one thread, released there while the loop runs in another, and the other way round."""
        mutex = Mutex(fair=fair)
        for releasing_thread_runs_it in (False, True):
            mutex.acquire()
            loop, tasks = loop_with_parked_tasks(loop_name, mutex, 1, take)

            async def finish(task, release):
                if release:
                    mutex.release()
                return await task

            running = spawn(loop.run_until_complete, finish(tasks[0], releasing_thread_runs_it))
            if not releasing_thread_runs_it:
                mutex.release()
            taken = running.result()
            assert taken
            assert mutex._state() == TAKEN
            mutex.release()
            loop.close()
        assert_still_works(mutex)


class TestSeveralRuns:
    def test_two_runs_one_after_the_other(self, fair, loop_name):
        face = ferrule.aio.Mutex(0, fair=fair)

        async def main():
            async def count():
                for _ in range(20):
                    async with face as guard:
                        value = guard.value
                        await asyncio.sleep(0)
                        guard.value = value + 1

            await asyncio.gather(*(count() for _ in range(5)))

        run(main(), loop_name)
        run(main(), loop_name)
        with face.sync as guard:
            assert guard.value == 200
        assert_still_works(face.sync)

    def test_a_run_that_ends_with_parked_tasks_leaves_nothing(self, fair, take, loop_name):
        mutex = Mutex(fair=fair)
        mutex.acquire()

        async def main():
            tasks = [asyncio.create_task(take(mutex.aio)) for _ in range(10)]
            await turns()
            return len(tasks)

        assert run(main(), loop_name) == 10
        assert mutex._state() == TAKEN
        mutex.release()
        assert_still_works(mutex)

    def test_a_hold_of_one_run_is_released_in_the_next(self, loop_name):
        mutex = Mutex("kept")

        async def hold():
            return await mutex.aio.lock()

        async def release(guard):
            assert guard.value == "kept"
            guard.release()
            async with mutex.aio:
                pass

        run(release(run(hold(), loop_name)), loop_name)
        assert_still_works(mutex)

    def test_two_runs_at_once(self, fair, loop_name):
        face = ferrule.aio.Mutex(0, fair=fair)

        async def main():
            for _ in range(200):
                async with face as guard:
                    value = guard.value
                    await asyncio.sleep(0)
                    guard.value = value + 1

        running = [spawn(lambda: run(main(), loop_name)) for _ in range(2)]
        for one in running:
            one.result()
        with face.sync as guard:
            assert guard.value == 400
        assert_still_works(face.sync)

    @pytest.mark.parametrize("eager", [None, "eager_task_factory"])
    def test_eager_tasks(self, eager, fair):
        factory = getattr(asyncio, eager, None) if eager else None
        if eager and factory is None:
            pytest.skip("this Python has no eager tasks")

        async def main():
            asyncio.get_running_loop().set_task_factory(factory)
            mutex = Mutex(0, fair=fair)
            task = asyncio.create_task(mutex.aio.lock())
            assert task.done() is bool(eager)
            (await task).release()
            mutex.acquire()
            tasks = [asyncio.create_task(mutex.aio.lock()) for _ in range(3)]
            await turns()
            assert len(mutex._state()["waiters"]) == 3
            tasks[1].cancel()
            mutex.release()
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    (await task).release()
            assert mutex._state() == FREE

        run(main())

    def test_debug_mode(self, fair, loop_name):
        async def main():
            mutex = Mutex(fair=fair)
            mutex.acquire()
            with LoopThread(loop_name) as there:
                tasks = [asyncio.create_task(hold_a_turn(mutex)) for _ in range(3)]
                other = there.spawn(hold_a_turn(mutex))
                await asyncio.to_thread(eventually, lambda: len(mutex._state()["waiters"]) == 4)
                await asyncio.to_thread(mutex.release)
                await asyncio.gather(*tasks, asyncio.wrap_future(other))
            assert mutex._state() == FREE

        async def hold_a_turn(mutex):
            async with mutex.aio:
                await asyncio.sleep(0)

        run(main(), loop_name, debug=True)


class TestOneQueue:
    """Threads and tasks of several loops wait in one line."""

    @pytest.mark.parametrize("second_loop", LOOPS)
    def test_a_fair_mutex_serves_threads_and_tasks_of_two_loops_in_order(self, loop_name, second_loop):
        mutex = Mutex([], fair=True)
        mutex.acquire()

        def thread(name):
            with mutex.lock(timeout=HANG) as guard:
                guard.value.append(name)

        async def task(name):
            async with mutex.aio.lock(timeout=HANG) as guard:
                guard.value.append(name)

        with LoopThread(loop_name) as one, LoopThread(second_loop) as other:
            running = []
            for number in range(12):
                if number % 3 == 0:
                    running.append(spawn(thread, number))
                else:
                    running.append((one if number % 3 == 1 else other).spawn(task(number)))
                eventually(lambda: len(mutex._state()["waiters"]) == number + 1)  # noqa: B023 (called at once)
            assert kinds(mutex) == ["thread", "task", "task"] * 4
            mutex.release()
            for one_of_them in running:
                one_of_them.result(HANG)
        with mutex as guard:
            assert guard.value == list(range(12))
        assert_still_works(mutex)

    def test_a_fair_release_hands_it_to_the_first_in_line(self, loop_name):
        async def main():
            mutex = Mutex()
            guard = mutex.lock()
            tasks = [asyncio.create_task(mutex.aio.lock()) for _ in range(2)]
            await turns()
            guard.release(fair=True)
            assert mutex.try_lock() is None, "handed on, never free in between"
            first = await tasks[0]
            first.release(fair=True)
            assert mutex.try_lock() is None
            (await tasks[1]).release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_wait_of_a_loops_thread_gets_ahead_of_its_own_tasks(self, fair, loop_name):
        """While the thread is blocked its tasks cannot run: served in line, they would all wait for ever."""
        mutex = Mutex([], fair=fair)
        mutex.acquire()

        async def task(name):
            async with mutex.aio as guard:
                guard.value.append(name)

        async def main():
            tasks = [asyncio.create_task(task(number)) for number in range(3)]
            await turns()
            with mutex.lock(timeout=HANG) as guard:
                guard.value.append("thread")
            await asyncio.gather(*tasks)

        with LoopThread(loop_name) as there:
            running = there.spawn(main())
            eventually(lambda: sorted(kinds(mutex)) == ["task", "task", "task", "thread"])
            mutex.release()
            running.result(HANG)
        with mutex as guard:
            assert guard.value[0] == "thread"
            assert sorted(guard.value[1:]) == [0, 1, 2]
        assert_still_works(mutex)

    def test_a_wait_of_a_loops_thread_gets_ahead_of_tasks_that_another_thread_parked(self, fair, loop_name):
        """The loop has moved: whose tasks they are is told by the loop, not by the thread in which they parked."""
        mutex = Mutex(fair=fair)
        mutex.acquire()
        loop, tasks = loop_with_parked_tasks(loop_name, mutex, 2, ferrule.aio.Mutex.lock)

        async def main():
            mutex.lock(timeout=HANG).release()
            for task in tasks:
                (await task).release()

        running = spawn(loop.run_until_complete, main())
        eventually(lambda: len(kinds(mutex)) == 3)
        mutex.release()
        running.result()
        loop.close()
        assert_still_works(mutex)

    def test_a_wait_of_a_loops_thread_meets_a_turn_already_given_to_its_task(self, fair, loop_name):
        """A task was claimed and has not run when its thread locks too: that wait ends, by the lock or by an error."""
        mutex = Mutex(fair=fair)

        async def main():
            mutex.acquire()
            stepper = Stepper(mutex.aio.lock())
            stepper.step()
            spawn(mutex.release).result()
            try:
                guard = mutex.lock(timeout=HANG)
            except WouldDeadlock:
                pass
            else:
                guard.release()
            assert type(await stepper.finish()) is AsyncMutexGuard
            stepper.result().release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_thread_and_the_tasks_of_a_loop_pass_it_back_and_forth(self, fair, loop_name):
        mutex = Mutex(0, fair=fair)
        rounds = 300

        def thread():
            for _ in range(rounds):
                with mutex.lock(timeout=HANG) as guard:
                    guard.value += 1

        async def task():
            for _ in range(rounds):
                async with mutex.aio.lock(timeout=HANG) as guard:
                    value = guard.value
                    await asyncio.sleep(0)
                    guard.value = value + 1

        with LoopThread(loop_name) as there:
            running = [spawn(thread), there.spawn(task()), spawn(thread), there.spawn(task())]
            for one in running:
                one.result(HANG)
        with mutex as guard:
            assert guard.value == 4 * rounds
        assert_still_works(mutex)

    def test_a_guard_goes_from_loop_to_thread_to_loop(self, loop_name):
        mutex = Mutex("kept")
        with LoopThread(loop_name) as one, LoopThread(loop_name) as other:
            guard = one.run(mutex.aio.lock())
            assert spawn(lambda: guard.value).result() == "kept"
            future = one.spawn(mutex.aio.lock())
            eventually(lambda: kinds(mutex) == ["task"])
            other.call(guard.release)
            future.result(HANG).release()
        assert_still_works(mutex)

    def test_state_names_the_kind_and_the_claim_of_each_waiter(self, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            waiting = spawn(lambda: mutex.acquire(timeout=HANG))
            await asyncio.to_thread(eventually, lambda: kinds(mutex) == ["thread"])
            task = asyncio.create_task(mutex.aio.acquire())
            await turns()
            state = mutex._state()
            assert state["locked"]
            assert state["parked"]
            assert kinds(mutex) == ["thread", "task"]
            assert all(type(claim) is str for _, claim in state["waiters"])
            mutex.release()
            while waiting.alive:
                await asyncio.sleep(0.0005)
            mutex.release()
            assert await task is True
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)
