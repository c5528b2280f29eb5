"""What the methods of Mutex's async face return: a coroutine in every eye, for whatever runs coroutines."""

import asyncio
import collections.abc
import gc
import inspect
import warnings

import pytest

from ferrule import Mutex
from tests.support.driver import LoopThread, Stepper, complete, run, turns
from tests.support.mutexes import FREE, TAKEN
from tests.support.race import eventually, spawn


class TestCoroutine:
    """What every async method returns."""

    def test_is_a_coroutine_in_every_eye(self, take):
        coroutine = take(Mutex().aio)
        assert isinstance(coroutine, collections.abc.Coroutine)
        assert asyncio.iscoroutine(coroutine)
        assert inspect.isawaitable(coroutine)
        coroutine.close()

    def test_does_nothing_when_called(self, take):
        mutex = Mutex()
        coroutine = take(mutex.aio)
        assert mutex._state() == FREE
        coroutine.close()
        assert mutex._state() == FREE

    def test_acts_at_its_first_step_and_completes_without_suspending(self, take):
        mutex = Mutex("value")
        taken = complete(take(mutex.aio))
        assert mutex._state() == TAKEN
        assert taken is True or taken.value == "value"
        mutex.release()

    def test_needs_no_loop_until_it_must_wait(self, take):
        mutex = Mutex()
        mutex.acquire()
        with pytest.raises(RuntimeError):
            take(mutex.aio).send(None)
        assert mutex._state() == TAKEN

    def test_takes_no_turn_of_the_loop(self, take, loop_name):
        async def main():
            turned = []
            asyncio.get_running_loop().call_soon(turned.append, 1)
            mutex = Mutex()
            taken = await take(mutex.aio)
            mutex.release()
            async with mutex.aio, asyncio.timeout(20):
                pass
            assert taken
            assert turned == []
            await turns()
            assert turned == [1]

        run(main(), loop_name)

    def test_awaited_again_is_an_error(self, take):
        mutex = Mutex()
        coroutine = take(mutex.aio)
        taken = complete(coroutine)
        for again in (lambda: coroutine.send(None), lambda: coroutine.throw(KeyError("mine"))):
            with pytest.raises(RuntimeError):
                again()
        assert mutex._state() == TAKEN
        assert taken
        mutex.release()

    def test_awaited_again_in_a_loop_is_an_error(self, take):
        async def main():
            mutex = Mutex()
            coroutine = take(mutex.aio)
            taken = await coroutine
            with pytest.raises(RuntimeError):
                await coroutine
            assert taken
            mutex.release()
            assert mutex._state() == FREE

        run(main())

    def test_awaited_by_two_tasks_serves_the_first(self, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            coroutine = take(mutex.aio)

            async def awaits():
                return await coroutine

            first = asyncio.create_task(awaits())
            await turns()
            second = asyncio.create_task(awaits())
            await turns()
            mutex.release()
            with pytest.raises(RuntimeError):
                await second
            await first
            assert mutex._state() == TAKEN
            mutex.release()

        run(main(), loop_name)

    def test_never_awaited_warns_having_done_nothing(self, take):
        mutex = Mutex()
        coroutine = take(mutex.aio)
        with pytest.warns(RuntimeWarning, match="never awaited"):
            del coroutine
        assert mutex._state() == FREE

    def test_unlocked_never_entered_does_nothing(self):
        mutex = Mutex()
        guard = mutex.aio.try_lock()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            guard.unlocked()
        assert guard.value is None
        guard.release()
        assert mutex._state() == FREE

    def test_closed_before_its_start_is_silent_and_done(self, take):
        mutex = Mutex()
        coroutine = take(mutex.aio)
        coroutine.close()
        coroutine.close()
        with pytest.raises(RuntimeError):
            coroutine.send(None)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            del coroutine
        assert seen == []
        assert mutex._state() == FREE

    def test_thrown_into_before_its_start_does_nothing(self, take):
        mutex = Mutex()
        coroutine = take(mutex.aio)
        with pytest.raises(KeyError, match="mine"):
            coroutine.throw(KeyError("mine"))
        assert mutex._state() == FREE
        with pytest.raises(RuntimeError):
            coroutine.send(None)
        assert mutex._state() == FREE

    def test_closed_while_it_waits_leaves_the_queue(self, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            stepper = Stepper(take(mutex.aio))
            stepper.step()
            assert len(mutex._state()["waiters"]) == 1
            stepper.close()
            assert mutex._state() == TAKEN
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_dropped_while_it_waits_passes_its_turn_on(self, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            stepper = Stepper(take(mutex.aio))
            stepper.step()
            other = Stepper(take(mutex.aio))
            other.step()
            del stepper
            gc.collect()
            mutex.release()
            assert await other.finish()
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_sent_to_early_goes_on_waiting(self, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            stepper = Stepper(take(mutex.aio))
            stepper.step()
            for _ in range(3):
                assert not stepper.send()
                assert len(mutex._state()["waiters"]) == 1
            mutex.release()
            await stepper.finish()
            assert mutex._state() == TAKEN
            mutex.release()

        run(main(), loop_name)

    def test_sent_to_early_while_claimed_goes_on_waiting(self, take, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            stepper = Stepper(take(mutex.aio))
            stepper.step()
            spawn(mutex.release).result()
            if not stepper.send():
                await stepper.finish()
            assert mutex._state() == TAKEN
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_repr_and_the_repr_of_its_task_are_clear(self, loop_name):
        async def main():
            mutex = Mutex()
            coroutine = mutex.aio.lock()
            assert "lock" in repr(coroutine)
            task = asyncio.create_task(coroutine)
            assert repr(task)
            (await task).release()

        run(main(), loop_name, debug=True)


class TestRunners:
    """What takes a coroutine takes these."""

    def test_asyncio_run(self, take):
        mutex = Mutex()
        taken = asyncio.run(take(mutex.aio))
        assert taken
        assert mutex._state() == TAKEN
        mutex.release()

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
    def test_one(self, take, through, locked, loop_name):
        async def main():
            mutex = Mutex()
            if locked:
                mutex.acquire()
                asyncio.get_running_loop().call_later(0.001, mutex.release)
            taken = await through(take(mutex.aio))
            assert taken
            assert mutex._state() == TAKEN
            mutex.release()

        run(main(), loop_name)

    def test_many(self, take, loop_name):
        async def main():
            mutex = Mutex(0)
            assert len(await asyncio.gather(*(release_after(mutex, take) for _ in range(10)))) == 10
            tasks = [asyncio.create_task(release_after(mutex, take)) for _ in range(10)]
            done, pending = await asyncio.wait(tasks)
            assert (len(done), len(pending)) == (10, 0)
            for task in done:
                task.result()
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(release_after(mutex, take))
            with mutex as guard:
                assert guard.value == 30
            assert mutex._state() == FREE

        async def release_after(mutex, take):
            taken = await take(mutex.aio)
            await asyncio.sleep(0)
            assert taken
            assert mutex.locked()
            mutex.release()
            async with mutex.aio as guard:
                guard.value += 1

        run(main(), loop_name)

    def test_bare_ones_in_gather_and_a_task_group(self, loop_name):
        async def main():
            one, other = Mutex(1), Mutex(2)
            guards = await asyncio.gather(one.aio.lock(), other.aio.lock())
            assert [guard.value for guard in guards] == [1, 2]
            for guard in guards:
                guard.release()
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(mutex.aio.lock()) for mutex in (one, other)]
            for task in tasks:
                task.result().release()
            assert one._state() == other._state() == FREE

        run(main(), loop_name)

    def test_run_coroutine_threadsafe(self, take, loop_name):
        mutex = Mutex()
        mutex.acquire()
        with LoopThread(loop_name) as there:
            future = asyncio.run_coroutine_threadsafe(take(mutex.aio), there.loop)
            eventually(lambda: mutex._state()["waiters"])
            mutex.release()
            assert future.result(30)
            assert mutex._state() == TAKEN
        mutex.release()
