"""What the async faces of the locks return: a coroutine in every eye, for whatever runs coroutines."""

import asyncio
import collections.abc
import gc
import inspect
import warnings

import pytest

from tests.support.driver import LoopThread, Stepper, complete, run, turns
from tests.support.each import PLAIN, each
from tests.support.locks import kinds
from tests.support.race import HANG, eventually, spawn

each_way = each(way for way in PLAIN if way.name != "upgrade")
"""An upgrade of WAYS is a coroutine of Python's around two of ours."""


@each_way
class TestCoroutine:
    """What every async method returns."""

    def test_is_a_coroutine_in_every_eye(self, way):
        coroutine = way.take_async(way.make())
        assert isinstance(coroutine, collections.abc.Coroutine)
        assert asyncio.iscoroutine(coroutine)
        assert inspect.isawaitable(coroutine)
        coroutine.close()

    def test_does_nothing_when_called(self, way):
        lock = way.make()
        coroutine = way.take_async(lock)
        assert lock._state() == way.free
        coroutine.close()
        assert lock._state() == way.free

    def test_acts_at_its_first_step_and_completes_without_suspending(self, way):
        lock = way.make("value")
        hold = complete(way.take_async(lock))
        assert lock._state() == way.held
        assert hold is True or hold.value == "value"
        way.end(lock, hold)

    def test_needs_no_loop_until_it_must_wait(self, way):
        lock = way.make()
        hold = way.alone.take(lock)
        with pytest.raises(RuntimeError):
            way.take_async(lock).send(None)
        assert lock._state() == way.alone.held
        way.alone.end(lock, hold)

    def test_takes_no_turn_of_the_loop(self, way, loop_name):
        async def main():
            turned = []
            asyncio.get_running_loop().call_soon(turned.append, 1)
            lock = way.make()
            way.end(lock, await way.take_async(lock))
            async with way.within_async(lock), asyncio.timeout(20):
                pass
            assert turned == []
            await turns()
            assert turned == [1]

        run(main(), loop_name)

    def test_awaited_again_is_an_error(self, way):
        lock = way.make()
        coroutine = way.take_async(lock)
        hold = complete(coroutine)
        for again in (lambda: coroutine.send(None), lambda: coroutine.throw(KeyError("mine"))):
            with pytest.raises(RuntimeError):
                again()
        assert lock._state() == way.held
        way.end(lock, hold)

    def test_awaited_again_in_a_loop_is_an_error(self, way):
        async def main():
            lock = way.make()
            coroutine = way.take_async(lock)
            hold = await coroutine
            with pytest.raises(RuntimeError):
                await coroutine
            way.end(lock, hold)
            assert lock._state() == way.free

        run(main())

    def test_awaited_by_two_tasks_serves_the_first(self, way, loop_name):
        async def main():
            lock = way.make()
            hold = way.alone.take(lock)
            coroutine = way.take_async(lock)

            async def awaits():
                return await coroutine

            first = asyncio.create_task(awaits())
            await turns()
            second = asyncio.create_task(awaits())
            await turns()
            way.alone.end(lock, hold)
            with pytest.raises(RuntimeError):
                await second
            hold = await first
            assert lock._state() == way.held
            way.end(lock, hold)

        run(main(), loop_name)

    def test_never_awaited_warns_having_done_nothing(self, way):
        lock = way.make()
        coroutine = way.take_async(lock)
        with pytest.warns(RuntimeWarning, match="never awaited"):
            del coroutine
        assert lock._state() == way.free

    def test_closed_before_its_start_is_silent_and_done(self, way):
        lock = way.make()
        coroutine = way.take_async(lock)
        coroutine.close()
        coroutine.close()
        with pytest.raises(RuntimeError):
            coroutine.send(None)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            del coroutine
        assert seen == []
        assert lock._state() == way.free

    def test_thrown_into_before_its_start_does_nothing(self, way):
        lock = way.make()
        coroutine = way.take_async(lock)
        with pytest.raises(KeyError, match="mine"):
            coroutine.throw(KeyError("mine"))
        assert lock._state() == way.free
        with pytest.raises(RuntimeError):
            coroutine.send(None)
        assert lock._state() == way.free

    def test_closed_while_it_waits_leaves_the_queue(self, way, loop_name):
        async def main():
            lock = way.make()
            hold = way.alone.take(lock)
            stepper = Stepper(way.take_async(lock))
            stepper.step()
            assert kinds(lock) == ["task"]
            stepper.close()
            assert lock._state() == way.alone.held
            way.alone.end(lock, hold)
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_dropped_while_it_waits_passes_its_turn_on(self, way, loop_name):
        async def main():
            lock = way.make()
            hold = way.alone.take(lock)
            stepper = Stepper(way.take_async(lock))
            stepper.step()
            other = Stepper(way.take_async(lock))
            other.step()
            del stepper
            gc.collect()
            way.alone.end(lock, hold)
            way.end(lock, await other.finish())
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_sent_to_early_goes_on_waiting(self, way, loop_name):
        async def main():
            lock = way.make()
            hold = way.alone.take(lock)
            stepper = Stepper(way.take_async(lock))
            stepper.step()
            for _ in range(3):
                assert not stepper.send()
                assert kinds(lock) == ["task"]
            way.alone.end(lock, hold)
            hold = await stepper.finish()
            assert lock._state() == way.held
            way.end(lock, hold)

        run(main(), loop_name)

    def test_sent_to_early_while_claimed_goes_on_waiting(self, way, loop_name):
        async def main():
            lock = way.make()
            hold = way.alone.take(lock)
            stepper = Stepper(way.take_async(lock))
            stepper.step()
            spawn(way.alone.end, lock, hold).result()
            stepper.send()
            hold = await stepper.finish()
            assert lock._state() == way.held
            way.end(lock, hold)
            assert lock._state() == way.free

        run(main(), loop_name)

    def test_repr_and_the_repr_of_its_task_are_clear(self, way, loop_name):
        async def main():
            lock = way.make()
            coroutine = way.take_async(lock)
            assert way.name in repr(coroutine)
            task = asyncio.create_task(coroutine)
            assert repr(task)
            way.end(lock, await task)

        run(main(), loop_name, debug=True)


@each(way for way in PLAIN if way.guarded)
def test_unlocked_never_entered_does_nothing(way):
    lock = way.make()
    guard = complete(way.take_async(lock))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        guard.unlocked()
    assert guard.value is None
    assert lock._state() == way.held
    guard.release()
    assert lock._state() == way.free


@each_way
class TestRunners:
    """What takes a coroutine takes these."""

    def test_asyncio_run(self, way):
        lock = way.make()
        hold = asyncio.run(way.take_async(lock))
        assert lock._state() == way.held
        way.end(lock, hold)

    @pytest.mark.parametrize("locked", [False, True])
    @pytest.mark.parametrize(
        "through",
        [
            lambda coroutine: coroutine,
            asyncio.create_task,
            asyncio.ensure_future,
            asyncio.shield,
            lambda coroutine: asyncio.wait_for(coroutine, 20),
            lambda coroutine: asyncio.wait_for(coroutine, None),
        ],
        ids=["await", "create_task", "ensure_future", "shield", "wait_for", "wait_for-None"],
    )
    def test_one(self, way, through, locked, loop_name):
        async def main():
            lock = way.make()
            if locked:
                asyncio.get_running_loop().call_later(0.001, way.alone.end, lock, way.alone.take(lock))
            hold = await through(way.take_async(lock))
            assert lock._state() == way.held
            way.end(lock, hold)

        run(main(), loop_name)

    def test_many(self, way, loop_name):
        async def main():
            lock = way.make(0)
            assert len(await asyncio.gather(*(end_after(lock) for _ in range(10)))) == 10
            tasks = [asyncio.create_task(end_after(lock)) for _ in range(10)]
            done, pending = await asyncio.wait(tasks)
            assert (len(done), len(pending)) == (10, 0)
            for task in done:
                task.result()
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(end_after(lock))
            with way.alone.within(lock) as guard:
                assert guard.value == 30
            assert lock._state() == way.free

        async def end_after(lock):
            hold = await way.take_async(lock)
            await asyncio.sleep(0)
            assert lock.locked()
            way.end(lock, hold)
            async with way.alone.within_async(lock) as guard:
                guard.value += 1

        run(main(), loop_name)

    def test_bare_ones_in_gather_and_a_task_group(self, way, loop_name):
        async def main():
            locks = [way.make(), way.make()]
            for lock, hold in zip(locks, await asyncio.gather(*map(way.take_async, locks)), strict=True):
                assert lock._state() == way.held
                way.end(lock, hold)
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(way.take_async(lock)) for lock in locks]
            for lock, task in zip(locks, tasks, strict=True):
                way.end(lock, task.result())
                assert lock._state() == way.free

        run(main(), loop_name)

    def test_run_coroutine_threadsafe(self, way, loop_name):
        lock = way.make()
        hold = way.alone.take(lock)
        with LoopThread(loop_name) as there:
            future = asyncio.run_coroutine_threadsafe(way.take_async(lock), there.loop)
            eventually(lambda: kinds(lock))
            way.alone.end(lock, hold)
            hold = future.result(HANG)
            assert lock._state() == way.held
        way.end(lock, hold)
