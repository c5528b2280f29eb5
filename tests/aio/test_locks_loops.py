"""Locks of either kind, and loops that stop, close, move to another thread, run one after the other or at once."""

import asyncio
import contextlib
import gc

import pytest

from tests.support.driver import LoopThread, new_loop, run, turns
from tests.support.each import each
from tests.support.locks import LOCKS, WAYS, kinds, loop_with_parked_tasks, passed_around
from tests.support.loops import CALLED_WHILE_IT_CLOSES
from tests.support.race import HANG, eventually, spawn

each_way = each(way for way in WAYS.values() if way.name != "upgrade")
each_lock = each(LOCKS)
tasks_kept = pytest.mark.parametrize("kept", [False, True], ids=["tasks-dropped", "tasks-kept"])


def assert_still_works(way, lock):
    assert lock._state() == way.free
    passed_around(way, lock, 2)


def assert_still_works_without(tasks, way, lock):
    """Once the tasks that a closed loop left behind are gone."""
    tasks.clear()
    gc.collect()
    assert_still_works(way, lock)


@each_way
class TestClosedLoops:
    """The permissions of a closed loop's tasks go on to the waiters behind them."""

    @tasks_kept
    @pytest.mark.parametrize("count", [1, 3, 2000])
    def test_closed_with_parked_tasks_then_released_to_a_thread(self, count, kept, way, loop_name):
        lock = way.make()
        hold = way.alone.take(lock)
        loop, tasks = loop_with_parked_tasks(loop_name, way, lock, count)
        waiting = spawn(lambda: way.alone.take(lock, timeout=HANG))
        eventually(lambda: len(kinds(lock)) == count + 1)
        loop.close()
        if not kept:
            tasks.clear()
            gc.collect()
        way.alone.end(lock, hold)
        hold = waiting.result()
        assert lock.locked()
        way.alone.end(lock, hold)
        assert_still_works_without(tasks, way, lock)

    def test_closed_with_parked_tasks_then_released_to_a_task_of_another_loop(self, way, loop_name):
        lock = way.make()
        hold = way.alone.take(lock)
        loop, tasks = loop_with_parked_tasks(loop_name, way, lock, 5)
        with LoopThread(loop_name) as there:
            future = there.spawn(way.alone.take_async(lock, timeout=HANG))
            eventually(lambda: len(kinds(lock)) == 6)
            loop.close()
            way.alone.end(lock, hold)
            hold = future.result(HANG)
        way.alone.end(lock, hold)
        assert_still_works_without(tasks, way, lock)

    def test_closed_with_parked_tasks_and_nobody_behind(self, way, loop_name):
        lock = way.make()
        hold = way.alone.take(lock)
        loop, tasks = loop_with_parked_tasks(loop_name, way, lock, 3)
        loop.close()
        way.alone.end(lock, hold)
        assert not lock.locked()
        assert_still_works_without(tasks, way, lock)

    @tasks_kept
    @pytest.mark.parametrize("behind", [False, True])
    def test_closed_between_claim_and_delivery(self, behind, kept, way, loop_name):
        """Another thread claims a task of a loop that does not run; the loop is closed before it hears of it."""
        lock = way.make()
        hold = way.alone.take(lock)
        loop, tasks = loop_with_parked_tasks(loop_name, way, lock, 3)
        waiting = spawn(lambda: way.alone.take(lock, timeout=HANG)) if behind else None
        eventually(lambda: len(kinds(lock)) == 3 + behind)
        spawn(way.alone.end, lock, hold).result()
        loop.close()
        if not kept:
            tasks.clear()
        gc.collect()
        if waiting:
            way.alone.end(lock, waiting.result())
        assert not lock.locked()
        assert_still_works_without(tasks, way, lock)

    @tasks_kept
    def test_closed_between_delivery_and_the_tasks_run(self, kept, way, loop_name):
        """The loop's own thread releases, so the future is resolved at once; the loop never turns again."""
        lock = way.make()
        hold = way.alone.take(lock)
        loop, tasks = loop_with_parked_tasks(loop_name, way, lock, 1)
        waiting = spawn(lambda: way.alone.take(lock, timeout=HANG))
        eventually(lambda: len(kinds(lock)) == 2)
        way.alone.end(lock, hold)
        loop.close()
        if not kept:
            tasks.clear()
        gc.collect()
        way.alone.end(lock, waiting.result())
        assert_still_works_without(tasks, way, lock)

    def test_a_coroutine_that_outlives_its_loop_can_be_closed(self, way, loop_name):
        lock = way.make()
        hold = way.alone.take(lock)
        coroutine = way.take_async(lock)
        loop = new_loop(loop_name)

        async def park():
            coroutine.send(None)

        loop.run_until_complete(park())
        loop.close()
        coroutine.close()
        assert lock._state() == way.alone.held
        way.alone.end(lock, hold)
        assert_still_works(way, lock)


@each_lock
@pytest.mark.parametrize("loop_name", CALLED_WHILE_IT_CLOSES)
def test_released_by_many_threads_while_loops_with_parked_tasks_close(way, loop_name):
    lock = way.make(0)

    def close_loops():
        for _ in range(20):
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
        async with way.take_async(lock) as guard:  # left by whoever destroys the task, which `mutex.aio` refuses
            guard.value += 0
            await asyncio.sleep(0)

    def count():
        return sum(way.visit(lock, timeout=HANG) for _ in range(300))

    working = [spawn(close_loops), spawn(count), spawn(count)]
    for one in working:
        one.result()
    gc.collect()
    with way.within(lock, timeout=HANG) as guard:
        assert guard.value == 600
    assert_still_works(way, lock)


@each_way
class TestStoppedLoops:
    def test_claimed_while_stopped_runs_when_the_loop_runs_again(self, way, loop_name):
        lock = way.make()
        hold = way.alone.take(lock)
        loop, tasks = loop_with_parked_tasks(loop_name, way, lock, 1)
        spawn(way.alone.end, lock, hold).result()
        hold = loop.run_until_complete(tasks[0])
        assert lock._state() == way.held
        way.end(lock, hold)
        loop.close()
        assert_still_works(way, lock)

    def test_stopped_and_run_between_every_two_waits(self, way, loop_name):
        lock = way.make()
        loop = new_loop(loop_name)
        for _ in range(10):
            hold = way.alone.take(lock)
            task = loop.create_task(way.take_async(lock))
            loop.run_until_complete(turns())
            way.alone.end(lock, hold)
            way.end(lock, loop.run_until_complete(task))
        loop.close()
        assert_still_works(way, lock)

    def test_a_loop_moves_to_another_thread_between_waits(self, way, loop_name):
        lock = way.make()
        loop = new_loop(loop_name)

        async def wait_and_release():
            hold = way.alone.take(lock)
            task = loop.create_task(way.take_async(lock))
            await turns()
            other = spawn(way.alone.end, lock, hold)
            way.end(lock, await task)
            other.join()
            hold = way.alone.take(lock)
            task = loop.create_task(way.take_async(lock))
            await turns()
            way.alone.end(lock, hold)
            way.end(lock, await task)

        for _ in range(5):
            spawn(loop.run_until_complete, wait_and_release()).result()
        loop.run_until_complete(wait_and_release())
        loop.close()
        assert_still_works(way, lock)

    def test_a_loop_moves_to_another_thread_while_its_task_waits(self, way, loop_name):
        """Parked in one thread, released there while the loop runs in another, and the other way round."""
        lock = way.make()
        for releasing_thread_runs_it in (False, True):
            hold = way.alone.take(lock)
            loop, tasks = loop_with_parked_tasks(loop_name, way, lock, 1)

            async def finish(task, hold):
                if hold is not None:
                    way.alone.end(lock, hold)
                return await task

            running = spawn(loop.run_until_complete, finish(tasks[0], hold if releasing_thread_runs_it else None))
            if not releasing_thread_runs_it:
                way.alone.end(lock, hold)
            hold = running.result()
            assert lock._state() == way.held
            way.end(lock, hold)
            loop.close()
        assert_still_works(way, lock)


@each_way
class TestSeveralRuns:
    def test_two_runs_one_after_the_other(self, way, loop_name):
        lock = way.make(0)

        async def main():
            async def count():
                return sum([await way.visit_async(lock) for _ in range(20)])

            return sum(await asyncio.gather(*(count() for _ in range(5))))

        added = run(main(), loop_name) + run(main(), loop_name)
        with way.alone.within(lock) as guard:
            assert guard.value == added
        assert_still_works(way, lock)

    def test_two_runs_at_once(self, way, loop_name):
        lock = way.make(0)

        async def main():
            return sum([await way.visit_async(lock) for _ in range(200)])

        running = [spawn(lambda: run(main(), loop_name)) for _ in range(2)]
        added = sum(one.result() for one in running)
        with way.alone.within(lock) as guard:
            assert guard.value == added
        assert_still_works(way, lock)

    def test_a_run_that_ends_with_parked_tasks_leaves_nothing(self, way, loop_name):
        lock = way.make()
        hold = way.alone.take(lock)

        async def main():
            tasks = [asyncio.create_task(way.take_async(lock)) for _ in range(10)]
            await turns()
            return len(tasks)

        assert run(main(), loop_name) == 10
        assert lock._state() == way.alone.held
        way.alone.end(lock, hold)
        assert_still_works(way, lock)

    def test_a_hold_of_one_run_is_released_in_the_next(self, way, loop_name):
        lock = way.make("kept")

        async def hold():
            return await way.take_async(lock)

        async def release(hold):
            assert hold is True or hold.value == "kept"
            way.end(lock, hold)
            async with way.within_async(lock):
                pass

        run(release(run(hold(), loop_name)), loop_name)
        assert_still_works(way, lock)

    @pytest.mark.parametrize("eager", [None, "eager_task_factory"])
    def test_eager_tasks(self, eager, way):
        factory = getattr(asyncio, eager, None) if eager else None
        if eager and factory is None:
            pytest.skip("this Python has no eager tasks")

        async def main():
            asyncio.get_running_loop().set_task_factory(factory)
            lock = way.make(0)
            task = asyncio.create_task(way.take_async(lock))
            assert task.done() is bool(eager)
            way.end(lock, await task)
            hold = way.alone.take(lock)
            tasks = [asyncio.create_task(way.visit_async(lock)) for _ in range(3)]
            await turns()
            assert len(kinds(lock)) == 3
            tasks[1].cancel()
            way.alone.end(lock, hold)
            for task in tasks:
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            assert tasks[1].cancelled()
            assert lock._state() == way.free

        run(main())

    def test_debug_mode(self, way, loop_name):
        async def main():
            lock = way.make(0)
            hold = way.alone.take(lock)
            with LoopThread(loop_name) as there:
                tasks = [asyncio.create_task(way.visit_async(lock)) for _ in range(3)]
                other = there.spawn(way.visit_async(lock))
                await asyncio.to_thread(eventually, lambda: len(kinds(lock)) == 4)
                await asyncio.to_thread(way.alone.end, lock, hold)
                await asyncio.gather(*tasks, asyncio.wrap_future(other))
            assert lock._state() == way.free

        run(main(), loop_name, debug=True)
