"""Values, guards and callbacks that use the Mutex at the worst moment, or take it with them into the garbage."""

import asyncio
import contextvars
import gc
import warnings
import weakref

import pytest

import ferrule.aio
from ferrule import Mutex, MutexGuard, Timeout, WouldDeadlock
from tests.support.driver import Stepper, run, turns
from tests.support.hostile import calling, hostile, raising, resurrecting, unraisable, yielding
from tests.support.leaks import in_subprocess
from tests.support.mutexes import FREE, TAKEN
from tests.support.race import HANG, eventually, outcome, run_together, spawn


class TestValues:
    """The value that is replaced dies after everything else, with nothing held but the lock itself."""

    def test_a_destructor_that_uses_the_mutex(self):
        mutex = Mutex()
        seen = []

        def use():
            seen.append((mutex.locked(), mutex.try_lock(), mutex.acquire(False), guard.value, mutex._state()))
            seen.append(outcome(mutex.lock, WouldDeadlock)())

        with mutex as guard:
            guard.value = hostile(__del__=calling(use))
            guard.value = "new"
            assert seen == [(True, None, False, "new", TAKEN), WouldDeadlock]
            assert guard.value == "new"
        assert mutex._state() == FREE

    @pytest.mark.parametrize("by", ["guard", "mutex"])
    def test_a_destructor_that_releases_the_hold(self, by):
        mutex = Mutex()
        guard = mutex.lock()
        guard.value = hostile(__del__=calling(guard.release if by == "guard" else mutex.release))
        guard.value = "new"
        assert mutex._state() == FREE
        with pytest.raises(RuntimeError):
            guard.release()
        with mutex as again:
            assert again.value == "new"

    def test_a_destructor_that_replaces_the_value_again(self):
        mutex = Mutex()
        with mutex as guard:
            guard.value = hostile(__del__=calling(lambda: setattr(guard, "value", "the destructor's")))
            guard.value = "mine"
            assert guard.value == "the destructor's"
        assert mutex._state() == FREE

    def test_a_destructor_that_waits_for_another_thread_that_waits_for_the_mutex(self):
        mutex = Mutex()
        with mutex as guard:

            def let_another_in():
                with guard.unlocked():
                    spawn(lambda: mutex.lock(timeout=HANG).release()).result()

            guard.value = hostile(__del__=calling(let_another_in))
            guard.value = "new"
            assert guard.value == "new"
        assert mutex._state() == FREE

    def test_a_destructor_that_raises_is_reported_and_changes_nothing(self):
        mutex = Mutex()
        with unraisable() as reported, mutex as guard:
            guard.value = hostile(__del__=raising(KeyError("mine")))
            guard.value = "new"
            assert guard.value == "new"
        assert [type(error) for error in reported] == [KeyError]
        assert mutex._state() == FREE

    def test_a_value_that_comes_back_to_life(self):
        mutex, grave = Mutex(), []
        with mutex as guard:
            guard.value = hostile(__del__=resurrecting(grave))
            guard.value = None
            guard.value = grave.pop()
            assert guard.value is not None
            guard.value = None
        del mutex

    def test_a_value_dies_with_its_mutex(self):
        died = []
        mutex = Mutex(hostile(__del__=calling(lambda: died.append(1))))
        del mutex
        assert died == [1]

    def test_a_value_that_brings_its_mutex_back_to_life(self):
        grave = []

        class Value:
            def __del__(self):
                grave.append(self.mutex)

        mutex = Mutex()
        with mutex as guard:
            guard.value = Value()
            guard.value.mutex = mutex
        del mutex, guard
        gc.collect()
        [mutex] = grave
        with mutex as guard:
            assert type(guard.value) is Value
            guard.value = None
        assert mutex._state() == FREE

    def test_a_value_whose_repr_raises(self):
        mutex = Mutex(hostile(__repr__=raising(KeyError("mine"))))
        with mutex as guard:
            for thing in (mutex, guard, mutex.aio):
                assert outcome(repr, KeyError)(thing)
        assert mutex._state() == FREE

    def test_values_that_yield_to_other_threads_while_they_die(self):
        mutex = Mutex()

        def replace():
            for _ in range(200):
                with mutex as guard:
                    guard.value = hostile(__del__=yielding())

        run_together(replace, replace, replace)
        assert mutex._state() == FREE


class TestTimeoutArguments:
    def test_an_index_that_takes_the_lock(self):
        mutex = Mutex()
        patience = hostile(__index__=calling(mutex.acquire, then=0))
        with pytest.raises(Timeout):
            mutex.lock(timeout=patience)
        mutex.release()
        assert mutex._state() == FREE

    def test_an_index_that_releases_the_lock(self):
        mutex = Mutex()
        mutex.acquire()
        mutex.lock(timeout=hostile(__index__=calling(mutex.release, then=0))).release()
        assert mutex._state() == FREE

    def test_an_index_that_drops_the_mutex(self):
        holder = [Mutex()]
        patience = hostile(__index__=calling(holder.clear, then=0))
        holder[0].lock(timeout=patience).release()
        assert holder == []

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
    def test_an_index_that_raises(self, error):
        mutex = Mutex()
        patience = hostile(__index__=raising(error))
        for call in (mutex.lock, mutex.acquire, mutex.aio.lock, mutex.aio.acquire):
            with pytest.raises(error):
                call(timeout=patience)
        assert mutex._state() == FREE

    def test_an_index_that_answers_nonsense(self):
        mutex = Mutex()
        for call in (mutex.lock, mutex.acquire, mutex.aio.lock):
            with pytest.raises(TypeError):
                call(timeout=hostile(__index__=calling(lambda: None, then="0")))
        assert mutex._state() == FREE

    def test_a_truth_value_that_raises(self):
        mutex = Mutex()
        doubtful = hostile(__bool__=raising(KeyError("mine")), __index__=raising(KeyError("mine")))
        guard = mutex.lock()
        for refuse in (lambda: mutex.acquire(doubtful), lambda: guard.release(fair=doubtful)):
            with pytest.raises(KeyError, match="mine"):
                refuse()
        assert guard.value is None
        guard.release()


class TestCollector:
    def test_a_mutex_that_protects_itself(self):
        mutex = Mutex()
        reference = weakref.ref(mutex)
        with mutex as guard:
            guard.value = mutex
        del mutex, guard
        gc.collect()
        assert reference() is None

    @pytest.mark.parametrize("enter", [False, True], ids=["lock", "with"])
    def test_a_cycle_through_the_value_and_the_guard_in_force(self, enter):
        mutex = Mutex()
        reference = weakref.ref(mutex)
        guard = mutex.__enter__() if enter else mutex.lock()
        guard.value = [mutex, guard]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            del mutex, guard
            gc.collect()
        assert reference() is None

    def test_a_cycle_through_the_guard_of_a_block_left_early(self):
        mutex = Mutex()
        reference = weakref.ref(mutex)
        guard = mutex.__enter__()
        guard.value = [mutex, guard]
        guard.release()
        del mutex, guard
        gc.collect()
        assert reference() is None

    def test_a_cycle_through_an_unlocked_block(self):
        mutex = Mutex()
        reference = weakref.ref(mutex)
        guard = mutex.lock()
        block = guard.unlocked()
        guard.value = [mutex, guard, block]
        block.__enter__()
        del mutex, guard, block
        gc.collect()
        assert reference() is None

    def test_a_cycle_through_a_coroutine_never_awaited(self):
        mutex = Mutex()
        reference = weakref.ref(mutex)
        with mutex as guard:
            guard.value = mutex.aio.lock()
        del mutex, guard
        with pytest.warns(RuntimeWarning, match="never awaited"):
            gc.collect()
        assert reference() is None

    def test_a_cycle_through_a_face(self):
        mutex = Mutex()
        reference = weakref.ref(mutex)
        with mutex as guard:
            guard.value = mutex.aio
        del mutex, guard
        gc.collect()
        assert reference() is None

    @pytest.mark.parametrize("in_task", [False, True])
    def test_a_guard_in_a_context_variable(self, in_task):
        """The owner keeps its context, the context keeps the guard, the guard keeps the mutex."""
        variable = contextvars.ContextVar("variable")
        mutex = Mutex()
        reference = weakref.ref(mutex)

        async def hold(face):
            variable.set(await face.lock())

        def hold_in_a_context(mutex):
            context = contextvars.copy_context()
            context.run(lambda: variable.set(mutex.lock()))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            if in_task:
                run(hold(mutex.aio))
            else:
                hold_in_a_context(mutex)
            del mutex
            gc.collect()
        assert reference() is None

    def test_a_task_parked_on_a_mutex_that_nobody_else_knows(self, loop_name):
        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            mutex = Mutex()
            reference = weakref.ref(mutex)
            mutex.acquire()
            tasks = [asyncio.create_task(mutex.aio.lock()) for _ in range(3)]
            await turns()
            assert len(mutex._state()["waiters"]) == 3
            del mutex
            tasks.clear()
            gc.collect()
            await turns()
            gc.collect()
            assert reference() is None

        run(main(), loop_name)

    def test_a_guard_collected_where_another_thread_waits_for_its_lock(self):
        mutex = Mutex()

        def abandon():
            cycle = [mutex.lock()]
            cycle.append(cycle)

        gc.disable()
        try:
            abandon()
            waiting = spawn(lambda: mutex.lock(timeout=HANG))
            eventually(lambda: mutex._state()["waiters"])
            with pytest.warns(ResourceWarning, match="guard"):
                gc.collect()
        finally:
            gc.enable()
        waiting.result().release()
        assert mutex._state() == FREE

    def test_everything_with_a_collection_at_every_allocation(self):
        in_subprocess("""
            import asyncio, gc, time, warnings
            from ferrule import Mutex, Timeout
            from tests.support.race import spawn
            warnings.simplefilter("ignore", ResourceWarning)
            mutex = Mutex(0)

            def thread():
                for _ in range(200):
                    with mutex as guard:
                        guard.value += 1
                    cycle = [mutex.lock()]
                    cycle[0].value += 1
                    cycle.append(cycle)
                    del cycle           # collected, and so released, sooner or later
                    mutex.acquire()     # waits for that; lock() would say that this thread has the lock
                    mutex.release()

            async def task():
                for _ in range(100):
                    async with mutex.aio as guard:
                        guard.value += 1
                        await asyncio.sleep(0)
                    try:
                        async with mutex.aio.lock(timeout=0.0001) as guard:
                            guard.value += 1
                            guard.value -= 1
                    except Timeout:
                        pass

            async def tasks():
                await asyncio.gather(task(), task())

            gc.set_threshold(1, 1, 1)
            running = [spawn(thread), spawn(thread), spawn(lambda: asyncio.run(tasks()))]
            while any(one.alive for one in running):
                gc.collect()    # all of them may be waiting for a hold that is garbage
                time.sleep(0.001)
            for one in running:
                one.result()
            gc.collect()
            with mutex.lock(timeout=10) as guard:
                assert guard.value == 1000, guard.value
        """)


class TestWeakReferences:
    def test_a_callback_that_uses_what_is_left_of_the_mutex(self):
        seen = []
        mutex = Mutex(["value"])
        face, guard = mutex.aio, mutex.lock()
        guard.release()
        reference = weakref.ref(mutex, lambda dead: seen.append(dead()))
        del mutex
        assert seen == [], "its face and its guard keep it"
        del face
        assert seen == []
        del guard
        assert seen == [None]
        assert reference() is None

    def test_a_callback_that_locks_another_mutex(self):
        other, seen = Mutex(), []

        def callback(_):
            with other.lock(timeout=HANG):
                seen.append(other.locked())

        mutex = Mutex()
        reference = weakref.ref(mutex, callback)
        with other as guard, guard.unlocked():
            del mutex
        assert seen == [True]
        assert reference() is None

    def test_dies_while_others_look(self):
        for _ in range(100):
            holder = [Mutex()]
            reference = weakref.ref(holder[0])

            def look(reference=reference):
                if mutex := reference():
                    with mutex.lock(timeout=HANG):
                        return mutex.locked()
                return None

            looked, *_ = run_together(look, look, holder.clear)
            assert looked in (True, None)
            assert reference() is None


class TestNesting:
    @pytest.mark.parametrize(
        "wrap",
        [
            "Mutex",
            "lambda inner: [Mutex(inner)]",
            "lambda inner: Mutex(inner).lock()",
            "lambda inner: Mutex(inner).aio",
            "lambda inner: Mutex(inner).aio.lock()",
        ],
    )
    def test_a_million_deep_is_destroyed(self, wrap):
        in_subprocess(f"""
            import warnings
            from ferrule import Mutex
            from tests.support.hostile import assert_destroyed
            warnings.simplefilter("ignore")
            assert_destroyed(1_000_000, {wrap})
        """)

    def test_a_million_deep_cycle_is_collected(self):
        in_subprocess("""
            import gc
            from ferrule import Mutex
            from tests.support.hostile import nested
            innermost = Mutex()
            outermost = nested(1_000_000, Mutex, innermost)
            with innermost as guard:
                guard.value = outermost
            del outermost, innermost, guard
            assert gc.collect() >= 1_000_000
        """)


class TestWrongObjects:
    def test_methods_refuse_foreign_objects(self):
        guard = Mutex().lock()
        for method in (Mutex.lock, Mutex.try_lock, Mutex.acquire, Mutex.release, Mutex.locked, Mutex._state):
            for foreign in (None, object(), guard, Mutex):
                with pytest.raises(TypeError):
                    method(foreign)
        for foreign in (object(), Mutex(), MutexGuard):
            for method in (MutexGuard.release, MutexGuard.unlocked, MutexGuard.__enter__, MutexGuard.value.__get__):
                with pytest.raises(TypeError):
                    method(foreign)
        guard.release()

    def test_nothing_is_built_behind_the_constructors(self):
        mutex = Mutex()
        guard = mutex.lock()
        coroutine = mutex.aio.lock()
        kinds = [MutexGuard, ferrule.AsyncMutexGuard, type(guard.unlocked()), type(coroutine)]
        coroutine.close()
        guard.release()
        for kind in kinds:
            for build in (kind, lambda kind=kind: kind.__new__(kind), lambda kind=kind: object.__new__(kind)):
                with pytest.raises(TypeError):
                    build()
        for kind in (Mutex, ferrule.aio.Mutex):
            with pytest.raises(TypeError):
                object.__new__(kind)

    def test_classes_are_closed(self):
        for kind in (Mutex, MutexGuard, ferrule.aio.Mutex, ferrule.AsyncMutexGuard):
            with pytest.raises(TypeError):
                kind.lock = None

    def test_exits_take_three_arguments(self):
        mutex = Mutex()
        guard = mutex.lock()
        for leave in (mutex.__exit__, guard.__exit__):
            for args in ((), (None,), (None, None), (None, None, None, None)):
                with pytest.raises(TypeError):
                    leave(*args)
        assert guard.value is None
        guard.release()

    def test_a_coroutine_driven_in_the_wrong_ways(self, loop_name):
        async def main():
            mutex = Mutex()
            mutex.acquire()
            stepper = Stepper(mutex.aio.lock())
            stepper.step()
            stepper.future.set_result("not yours")
            await turns()
            assert not stepper.send(), "woken by a stranger, it goes on waiting"
            mutex.release()
            await stepper.finish()
            stepper.result().release()
            assert mutex._state() == FREE

        run(main(), loop_name)
