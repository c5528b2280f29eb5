"""What api.md promises of Mutex's async face: the same lock, its holds and guards, who owns it."""

import asyncio
import contextvars
import copy
import decimal
import fractions
import gc
import math
import pickle

import pytest

import ferrule.aio
from ferrule import AsyncMutexGuard, Mutex, MutexGuard, Timeout, WouldDeadlock
from tests.support.driver import LoopThread, Stepper, complete, run, turns
from tests.support.mutexes import FREE, TAKE, TAKEN, kinds
from tests.support.names import shown
from tests.support.race import spawn

FOR_EVER = [None, math.inf, 1e308, 10**400]
FINITE = [20, 5.0, True, 1e-9]
DO_NOT_WAIT = [0, 0.0, False]
NEGATIVE = [-1, -1e-9, -math.inf, math.nan, -(10**400)]
OTHER_TYPES = ["1", 1j, [], fractions.Fraction(1, 2), decimal.Decimal(1)]


class TestFaces:
    def test_are_one_object(self):
        mutex = Mutex(1)
        face = mutex.aio
        assert isinstance(face, ferrule.aio.Mutex)
        assert face.sync is mutex
        assert mutex.aio == face
        assert hash(mutex.aio) == hash(face)
        assert len({mutex.aio, mutex.aio}) == 1

    def test_of_two_objects_differ(self):
        one, other = Mutex(), Mutex()
        assert one.aio != other.aio
        assert one.aio != one

    def test_a_new_one_is_made_with_its_value(self):
        face = ferrule.aio.Mutex("value", fair=True)
        assert type(face) is ferrule.aio.Mutex
        assert type(face.sync) is Mutex
        with face.sync as guard:
            assert guard.value == "value"
        with ferrule.aio.Mutex().sync as guard:
            assert guard.value is None

    @pytest.mark.parametrize(("args", "named"), [((1, True), {}), ((), {"value": 1}), ((), {"unfair": True})])
    def test_a_new_one_takes_what_the_sync_one_takes(self, args, named):
        with pytest.raises(TypeError):
            ferrule.aio.Mutex(*args, **named)

    def test_the_face_keeps_the_mutex(self):
        face = Mutex("kept").aio
        gc.collect()
        guard = face.try_lock()
        assert guard.value == "kept"
        guard.release()

    def test_both_see_one_hold(self):
        mutex = Mutex()
        face = mutex.aio
        guard = complete(face.lock())
        assert mutex.locked() is face.locked() is True
        assert mutex.try_lock() is None
        guard.release()
        mutex.acquire()
        assert face.try_lock() is None
        face.release()
        assert mutex._state() == FREE

    def test_try_lock_is_a_plain_method_and_gives_an_async_guard(self):
        mutex = Mutex(1)
        guard = mutex.aio.try_lock()
        assert type(guard) is AsyncMutexGuard
        assert guard.value == 1
        assert mutex.aio.try_lock() is None
        guard.release()
        assert mutex._state() == FREE

    def test_what_is_given_is_of_the_face_it_was_asked_on(self):
        mutex = Mutex()
        for taken, kind in [(mutex.try_lock, MutexGuard), (mutex.aio.try_lock, AsyncMutexGuard)]:
            guard = taken()
            assert type(guard) is kind
            guard.release()
        guard = complete(mutex.aio.lock())
        assert type(guard) is AsyncMutexGuard
        guard.release()

    def test_releasing_a_free_lock_is_an_error(self):
        with pytest.raises(RuntimeError):
            Mutex().aio.release()

    def test_is_generic_at_run_time(self):
        assert ferrule.aio.Mutex[int].__origin__ is ferrule.aio.Mutex
        assert AsyncMutexGuard[int].__origin__ is AsyncMutexGuard
        assert type(ferrule.aio.Mutex[int](3)) is ferrule.aio.Mutex

    def test_cannot_be_subclassed(self):
        for final in (ferrule.aio.Mutex, AsyncMutexGuard):
            with pytest.raises(TypeError):
                type("Sub", (final,), {})

    @pytest.mark.parametrize("refused", [copy.copy, copy.deepcopy, pickle.dumps])
    def test_copying_and_pickling_are_refused(self, refused):
        face = Mutex().aio
        guard = face.try_lock()
        for thing in (face, guard):
            with pytest.raises(TypeError):
                refused(thing)
        guard.release()

    def test_repr_shows_the_state(self):
        face = Mutex().aio
        free = repr(face)
        guard = face.try_lock()
        taken, held = repr(face), repr(guard)
        guard.release()
        assert "Mutex" in free
        assert free != taken
        assert "AsyncMutexGuard" in held
        assert repr(guard) != held

    def test_is_no_sync_context_manager(self):
        face = Mutex().aio
        assert not hasattr(face, "__enter__")
        assert not hasattr(Mutex(), "__aenter__")


class TestLock:
    @pytest.mark.parametrize("timeout", FOR_EVER + FINITE + DO_NOT_WAIT, ids=shown)
    def test_a_free_lock_is_taken_whatever_the_timeout(self, timeout):
        mutex = Mutex()
        complete(mutex.aio.lock(timeout=timeout)).release()
        assert complete(mutex.aio.acquire(timeout=timeout)) is True
        mutex.release()
        assert mutex._state() == FREE

    @pytest.mark.parametrize(
        ("timeout", "error"),
        [(t, ValueError) for t in NEGATIVE] + [(t, TypeError) for t in OTHER_TYPES],
        ids=shown,
    )
    def test_a_bad_timeout_is_refused_by_the_call(self, timeout, error):
        mutex = Mutex()
        for method in (mutex.aio.lock, mutex.aio.acquire):
            with pytest.raises(error):
                method(timeout=timeout)
        assert mutex._state() == FREE

    def test_bad_arguments_are_refused_by_the_call(self):
        face = Mutex().aio
        for method in (face.lock, face.acquire):
            for args, named in [((1,), {}), ((True, -1), {}), ((), {"blocking": True})]:
                with pytest.raises(TypeError):
                    method(*args, **named)
        with pytest.raises(TypeError):
            face.try_lock(timeout=0)
        assert face.sync._state() == FREE

    @pytest.mark.parametrize("timeout", DO_NOT_WAIT, ids=shown)
    def test_a_taken_lock_times_out_without_suspending(self, timeout):
        mutex = Mutex()
        mutex.acquire()
        for method in (mutex.aio.lock, mutex.aio.acquire):
            with pytest.raises(Timeout):
                method(timeout=timeout).send(None)
        assert mutex._state() == TAKEN

    @pytest.mark.parametrize("timeout", [1e-9, 1e-5, 0.002])
    def test_a_taken_lock_times_out(self, timeout, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            for method in (mutex.aio.lock, mutex.aio.acquire):
                with pytest.raises(Timeout) as raised:
                    await method(timeout=timeout)
                assert isinstance(raised.value, TimeoutError)
                assert mutex._state() == TAKEN
            mutex.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    @pytest.mark.parametrize("timeout", [*FOR_EVER, 20, True], ids=shown)
    def test_waits_until_released(self, timeout, loop_name):
        async def main():
            for method in (ferrule.aio.Mutex.lock, ferrule.aio.Mutex.acquire):
                mutex = Mutex()
                mutex.acquire()
                stepper = Stepper(method(mutex.aio, timeout=timeout))
                stepper.step()
                assert stepper.suspended
                mutex.release()
                await stepper.finish()
                assert mutex._state() == TAKEN
                mutex.release()
                assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_timer_that_was_not_needed_does_nothing(self, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            stepper = Stepper(mutex.aio.lock(timeout=0.003))
            stepper.step()
            mutex.release()
            guard = await stepper.finish()
            await asyncio.sleep(0.01)
            assert guard.value is None
            guard.release()
            assert mutex._state() == FREE

        run(main(), loop_name)


class TestWith:
    def test_holds_within_and_is_free_after(self, loop_name):
        async def main():
            mutex = Mutex([1])
            async with mutex.aio as guard:
                assert type(guard) is AsyncMutexGuard
                assert mutex.locked()
                guard.value.append(2)
            assert mutex._state() == FREE
            async with mutex.aio.lock(timeout=1) as guard:
                assert type(guard) is AsyncMutexGuard
                assert guard.value == [1, 2]
            assert mutex._state() == FREE

        run(main(), loop_name)

    @pytest.mark.parametrize("enter", [lambda face: face, lambda face: face.lock()], ids=["face", "lock"])
    def test_an_exception_passes_and_the_lock_is_free(self, enter, loop_name):
        async def main():
            mutex = Mutex()
            with pytest.raises(KeyError, match="mine"):
                async with enter(mutex.aio):
                    raise KeyError("mine")
            assert mutex._state() == FREE

        run(main(), loop_name)

    @pytest.mark.parametrize("enter", [lambda face: face, lambda face: face.lock()], ids=["face", "lock"])
    @pytest.mark.parametrize("end", [lambda mutex, guard: guard.release(), lambda mutex, guard: mutex.release()])
    def test_a_hold_ended_early_ends_quietly(self, enter, end, loop_name):
        async def main():
            mutex = Mutex()
            async with enter(mutex.aio) as guard:
                end(mutex, guard)
                assert mutex._state() == FREE
            assert mutex._state() == FREE

        run(main(), loop_name)

    @pytest.mark.parametrize("enter", [lambda face: face, lambda face: face.lock()], ids=["face", "lock"])
    @pytest.mark.parametrize("end", [lambda mutex, guard: guard.release(), lambda mutex, guard: mutex.release()])
    def test_a_hold_ended_early_leaves_the_next_holder_alone(self, enter, end, take, loop_name):
        async def main():
            mutex = Mutex()
            async with enter(mutex.aio) as guard:
                end(mutex, guard)
                taken = await asyncio.create_task(take(mutex.aio))
            assert mutex._state() == TAKEN
            assert taken is True or taken.value is None
            mutex.release()

        run(main(), loop_name)

    def test_a_thread_may_take_it_after_an_early_release(self):
        async def main():
            mutex = Mutex()
            async with mutex.aio as guard:
                guard.release()
                taken = spawn(mutex.lock).result()
            assert taken.value is None
            taken.release()
            assert mutex._state() == FREE

        run(main())

    def test_can_be_entered_again_within_after_an_early_release(self):
        async def main():
            face = Mutex().aio
            async with face as outer:
                outer.release()
                async with face as inner:
                    assert inner.value is None
                assert face.sync._state() == FREE
            assert face.sync._state() == FREE

        run(main())

    def test_leaving_in_another_task_is_refused_and_the_hold_stays(self, loop_name):
        async def main():
            face = Mutex("kept").aio
            guard = await face.__aenter__()
            with pytest.raises(RuntimeError):
                await asyncio.create_task(face.__aexit__(None, None, None))
            assert guard.value == "kept"
            await face.__aexit__(None, None, None)
            assert face.sync._state() == FREE

        run(main(), loop_name)

    def test_leaving_on_the_other_face_is_refused_and_the_hold_stays(self):
        async def main():
            mutex = Mutex("kept")
            guard = await mutex.aio.__aenter__()
            with pytest.raises(RuntimeError):
                spawn(mutex.__exit__, None, None, None).result()
            assert guard.value == "kept"
            await mutex.aio.__aexit__(None, None, None)
            assert mutex._state() == FREE

        run(main())

    def test_lock_is_exact_wherever_it_is_left(self, loop_name):
        async def main():
            mutex = Mutex()
            held = mutex.aio.lock()
            guard = await held.__aenter__()
            assert guard.value is None
            await asyncio.create_task(held.__aexit__(None, None, None))
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_leaving_suspends_nobody(self, loop_name):
        async def main():
            face = Mutex().aio
            await face.__aenter__()
            assert complete(face.__aexit__(None, None, None)) in (None, False)
            assert face.sync._state() == FREE

        run(main(), loop_name)


class TestGuard:
    def test_value_and_release_are_refused_when_spent(self):
        mutex = Mutex(1)
        for end in (lambda guard: guard.release(), lambda guard: mutex.release(), lambda guard: mutex.aio.release()):
            guard = complete(mutex.aio.lock())
            guard.value += 1
            end(guard)
            with pytest.raises(RuntimeError):
                _ = guard.value
            with pytest.raises(RuntimeError):
                guard.value = 0
            with pytest.raises(RuntimeError):
                guard.release()
            assert mutex._state() == FREE
        with mutex as guard:
            assert guard.value == 4

    def test_is_released_in_a_thread_or_in_another_task(self, loop_name):
        async def main():
            mutex = Mutex()
            spawn((await mutex.aio.lock()).release).result()
            assert mutex._state() == FREE
            guard = await mutex.aio.lock()

            async def release():
                guard.release()

            await asyncio.create_task(release())
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_dropped_while_held_releases_first_and_then_warns(self, loop_name):
        async def main():
            mutex = Mutex()
            guard = await mutex.aio.lock()
            with pytest.warns(ResourceWarning, match="guard"):
                del guard
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_the_result_of_a_forgotten_task_is_released(self, loop_name):
        async def main():
            mutex = Mutex()
            task = asyncio.create_task(mutex.aio.lock())
            await asyncio.wait([task])
            assert mutex.locked()
            with pytest.warns(ResourceWarning, match="guard"):
                del task
            assert mutex._state() == FREE

        run(main(), loop_name)


class TestUnlocked:
    def test_is_free_within_and_held_after(self, loop_name):
        async def main():
            mutex = Mutex(1)
            guard = await mutex.aio.lock()
            async with guard.unlocked():
                assert mutex._state() == FREE
                for use in (lambda: guard.value, guard.release):
                    with pytest.raises(RuntimeError):
                        use()
                async with mutex.aio as inner:
                    inner.value += 1
                await asyncio.create_task(bump(mutex))
            assert guard.value == 3
            assert mutex._state() == TAKEN
            with pytest.raises(WouldDeadlock):
                await mutex.aio.lock()
            guard.release()
            assert mutex._state() == FREE

        async def bump(mutex):
            async with mutex.aio as guard:
                guard.value += 1

        run(main(), loop_name)

    def test_is_held_again_when_the_body_raises(self, loop_name):
        async def main():
            mutex = Mutex(1)
            async with mutex.aio as guard:
                with pytest.raises(KeyError, match="mine"):
                    async with guard.unlocked():
                        raise KeyError("mine")
                assert guard.value == 1
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_waits_to_take_it_again(self, loop_name):
        async def main():
            mutex = Mutex(1)
            guard = await mutex.aio.lock()
            unlocked = guard.unlocked()
            await unlocked.__aenter__()
            other = spawn(mutex.lock).result()
            stepper = Stepper(unlocked.__aexit__(None, None, None))
            stepper.step()
            assert stepper.suspended
            other.value = 2
            other.release()
            await stepper.finish()
            assert guard.value == 2
            guard.release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_of_a_spent_guard_is_refused(self, loop_name):
        async def main():
            mutex = Mutex()
            guard = await mutex.aio.lock()
            guard.release()
            with pytest.raises(RuntimeError):
                async with guard.unlocked():
                    pytest.fail("a spent guard cannot be unlocked")
            assert mutex._state() == FREE

        run(main(), loop_name)


class TestOwners:
    @pytest.mark.parametrize("timeout", FOR_EVER + FINITE, ids=shown)
    @pytest.mark.parametrize("first", ["lock", "enter"])
    def test_the_same_task_locking_again_would_deadlock(self, first, timeout, loop_name):
        async def main():
            mutex = Mutex()
            guard = await TAKE[first](mutex.aio)
            with pytest.raises(WouldDeadlock, match=r"this task holds .*Mutex"):
                await mutex.aio.lock(timeout=timeout)
            with pytest.raises(WouldDeadlock):
                async with mutex.aio:
                    pytest.fail("entered twice")
            assert guard.value is None
            assert mutex._state() == TAKEN
            guard.release()

        run(main(), loop_name)

    def test_the_same_task_not_waiting_times_out(self):
        async def main():
            mutex = Mutex()
            guard = await mutex.aio.lock()
            with pytest.raises(Timeout):
                await mutex.aio.lock(timeout=0)
            assert mutex.aio.try_lock() is None
            guard.release()

        run(main())

    def test_acquire_records_no_owner_and_asks_for_none(self, loop_name):
        async def main():
            mutex = Mutex()
            await mutex.aio.acquire()
            with pytest.raises(Timeout):
                await mutex.aio.lock(timeout=0.002)
            mutex.release()
            async with mutex.aio:
                with pytest.raises(Timeout):
                    await mutex.aio.acquire(timeout=0.002)
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_another_task_waits(self, loop_name):
        async def main():
            mutex = Mutex()
            async with mutex.aio:
                with pytest.raises(Timeout):
                    await asyncio.create_task(mutex.aio.lock(timeout=0.002))
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_task_that_waited_is_the_owner_too(self, loop_name):
        async def main(fair):
            mutex = Mutex(fair=fair)
            outer = await mutex.aio.lock()

            async def wait_then_lock_again():
                async with mutex.aio:
                    with pytest.raises(WouldDeadlock):
                        await mutex.aio.lock()

            task = asyncio.create_task(wait_then_lock_again())
            await turns()
            outer.release()
            await task
            assert mutex._state() == FREE

        for fair in (False, True):
            run(main(fair), loop_name)

    def test_tasks_given_one_context_are_one_owner(self):
        async def main():
            mutex = Mutex()
            context = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            guard = await loop.create_task(mutex.aio.lock(), context=context)
            with pytest.raises(WouldDeadlock):
                await loop.create_task(mutex.aio.lock(), context=context)
            guard.release()

        run(main())

    @pytest.mark.parametrize("timeout", FOR_EVER + FINITE, ids=shown)
    def test_a_sync_wait_in_the_loops_thread_for_a_tasks_hold_would_deadlock(self, timeout, loop_name):
        async def main():
            mutex = Mutex()
            guard = await asyncio.create_task(mutex.aio.lock())
            with pytest.raises(WouldDeadlock):
                mutex.lock(timeout=timeout)
            with pytest.raises(WouldDeadlock), mutex:
                pytest.fail("entered a taken lock")
            with pytest.raises(Timeout):
                mutex.lock(timeout=0)
            assert mutex.try_lock() is None
            assert mutex._state() == TAKEN
            guard.release()
            mutex.lock().release()

        run(main(), loop_name)

    def test_a_sync_wait_in_another_thread_waits(self, loop_name):
        async def main():
            mutex = Mutex()
            async with mutex.aio:
                with pytest.raises(Timeout):
                    spawn(lambda: mutex.lock(timeout=0.002)).result()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_task_waits_for_a_sync_hold_of_its_own_thread(self, loop_name):
        async def main():
            mutex = Mutex()
            guard = mutex.lock()
            task = asyncio.create_task(mutex.aio.lock())
            await turns()
            assert kinds(mutex) == ["task"]
            guard.release()
            (await task).release()
            assert mutex._state() == FREE

        run(main(), loop_name)

    def test_a_task_of_another_loop_is_another_owner(self, loop_name):
        mutex = Mutex()
        with LoopThread(loop_name) as one, LoopThread(loop_name) as other:
            guard = one.run(mutex.aio.lock())
            with pytest.raises(Timeout):
                other.run(mutex.aio.lock(timeout=0.002))
            with pytest.raises(WouldDeadlock):
                one.call(lambda: mutex.lock(timeout=20))
            with pytest.raises(Timeout):
                other.call(lambda: mutex.lock(timeout=0.002))
            guard.release()
        assert mutex._state() == FREE
