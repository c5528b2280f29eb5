"""Values, guards and callbacks that use the RWLock at the worst moment, or take it with them into the garbage."""

import asyncio
import contextvars
import gc
import warnings
import weakref

import pytest

import ferrule.aio
from ferrule import (
    AsyncReadGuard,
    AsyncUpgradableGuard,
    AsyncWriteGuard,
    ReadGuard,
    RWLock,
    Timeout,
    UpgradableGuard,
    WouldDeadlock,
    WriteGuard,
)
from tests.support.driver import Stepper, run, turns
from tests.support.hostile import calling, hostile, raising, resurrecting, unraisable, yielding
from tests.support.leaks import in_subprocess
from tests.support.race import HANG, eventually, outcome, run_together, spawn
from tests.support.rwlocks import FREE, TAKE, TAKE_ASYNC, TRY, kinds, state

GUARDS = [ReadGuard, WriteGuard, UpgradableGuard, AsyncReadGuard, AsyncWriteGuard, AsyncUpgradableGuard]
each_way = pytest.mark.parametrize("way", TAKE)


class TestValues:
    """The value that is replaced dies after everything else, with nothing held but the lock itself."""

    def test_a_destructor_that_uses_the_lock(self):
        lock = RWLock()
        seen = []

        def use():
            seen.append((lock.locked(), *(take(lock) for take in TRY.values()), guard.value, lock._state()))
            seen.append(outcome(lock.read, WouldDeadlock)())

        with lock.write() as guard:
            guard.value = hostile(__del__=calling(use))
            guard.value = "new"
            assert seen == [(True, None, None, None, None, "new", state(writer=True)), WouldDeadlock]
            assert guard.value == "new"
        assert lock._state() == FREE

    @pytest.mark.parametrize("end", ["release", "downgrade", "downgrade_to_upgradable"])
    def test_a_destructor_that_ends_or_converts_the_hold(self, end):
        lock = RWLock()
        guard = lock.write()
        after = []
        guard.value = hostile(__del__=calling(lambda: after.append(getattr(guard, end)())))
        guard.value = "new"
        assert refused(guard.release) is RuntimeError
        for other in after:
            if other is not None:
                assert other.value == "new"
                other.release()
        assert lock._state() == FREE

    def test_a_destructor_that_replaces_the_value_again(self):
        lock = RWLock()
        with lock.write() as guard:
            guard.value = hostile(__del__=calling(lambda: setattr(guard, "value", "the destructor's")))
            guard.value = "mine"
            assert guard.value == "the destructor's"
        assert lock._state() == FREE

    def test_a_destructor_that_waits_for_another_thread_that_waits_for_the_lock(self):
        lock = RWLock()
        with lock.write() as guard:

            def let_another_in():
                with guard.unlocked():
                    spawn(lambda: lock.write(timeout=HANG).release()).result()

            guard.value = hostile(__del__=calling(let_another_in))
            guard.value = "new"
            assert guard.value == "new"
        assert lock._state() == FREE

    def test_a_destructor_that_raises_is_reported_and_changes_nothing(self):
        lock = RWLock()
        with unraisable() as reported, lock.write() as guard:
            guard.value = hostile(__del__=raising(KeyError("mine")))
            guard.value = "new"
            assert guard.value == "new"
        assert [type(error) for error in reported] == [KeyError]
        assert lock._state() == FREE

    def test_a_value_that_comes_back_to_life(self):
        lock, grave = RWLock(), []
        with lock.write() as guard:
            guard.value = hostile(__del__=resurrecting(grave))
            guard.value = None
            guard.value = grave.pop()
            assert guard.value is not None
            guard.value = None
        assert lock._state() == FREE

    def test_a_value_dies_with_its_lock(self):
        died = []
        lock = RWLock(hostile(__del__=calling(lambda: died.append(1))))
        del lock
        assert died == [1]

    def test_a_value_that_brings_its_lock_back_to_life(self):
        grave = []

        class Value:
            def __del__(self):
                grave.append(self.lock)

        lock = RWLock()
        with lock.write() as guard:
            guard.value = Value()
            guard.value.lock = lock
        del lock, guard
        gc.collect()
        [lock] = grave
        with lock.write() as guard:
            assert type(guard.value) is Value
            guard.value = None
        assert lock._state() == FREE

    def test_a_value_whose_repr_raises(self):
        lock = RWLock(hostile(__repr__=raising(KeyError("mine"))))
        with lock.read() as guard:
            for thing in (lock, guard, lock.aio):
                assert "reading" in outcome(repr, KeyError)(thing)
        assert lock._state() == FREE

    def test_values_that_yield_to_other_threads_while_they_die(self):
        lock = RWLock()

        def replace():
            for _ in range(200):
                with lock.write() as guard:
                    guard.value = hostile(__del__=yielding())
                with lock.read() as guard:
                    assert guard.value is not None

        run_together(replace, replace, replace)
        assert lock._state() == FREE


def refused(function):
    return outcome(function, RuntimeError)()


class TestTimeoutArguments:
    def test_an_index_that_takes_the_lock(self):
        lock, taken = RWLock(), []
        patience = hostile(__index__=calling(lambda: taken.append(lock.write()), then=0))
        with pytest.raises(Timeout):
            lock.read(timeout=patience)
        taken.pop().release()
        assert lock._state() == FREE

    @each_way
    def test_an_index_that_ends_the_hold_in_the_way(self, way):
        lock = RWLock()
        guard = lock.write()
        TAKE[way](lock, timeout=hostile(__index__=calling(guard.release, then=0))).release()
        assert lock._state() == FREE

    def test_an_index_that_spends_the_guard_that_is_to_be_upgraded(self):
        lock = RWLock()
        guard = lock.upgradable_read()
        with pytest.raises(RuntimeError):
            guard.upgrade(timeout=hostile(__index__=calling(guard.release, then=0)))
        assert lock._state() == FREE

    def test_an_index_that_drops_the_lock(self):
        holder = [RWLock()]
        patience = hostile(__index__=calling(holder.clear, then=0))
        holder[0].write(timeout=patience).release()
        assert holder == []

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
    def test_an_index_that_raises(self, error):
        lock = RWLock()
        patience = hostile(__index__=raising(error))
        for take in (*TAKE.values(), *TAKE_ASYNC.values()):
            with pytest.raises(error):
                take(lock, timeout=patience)
        with lock.upgradable_read() as guard:
            with pytest.raises(error):
                guard.upgrade(timeout=patience)
            assert guard.value is None
        assert lock._state() == FREE

    def test_a_truth_value_that_raises(self):
        lock = RWLock()
        doubtful = hostile(__bool__=raising(KeyError("mine")), __index__=raising(KeyError("mine")))
        for take in TAKE.values():
            guard = take(lock)
            with pytest.raises(KeyError, match="mine"):
                guard.release(fair=doubtful)
            assert guard.value is None
            guard.release()
        assert lock._state() == FREE


class TestCollector:
    """Every cycle through a lock is collected, in whatever state it is."""

    @pytest.fixture
    def dies(self):
        """Called with what makes a cycle through the lock and gives what should be kept of it: nothing."""

        def check(tangle):
            lock = RWLock()
            reference = weakref.ref(lock)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tangle(lock)
                del lock
                gc.collect()
            assert reference() is None

        return check

    @each_way
    def test_a_cycle_through_the_value_and_a_guard_in_force(self, way, dies):
        def tangle(lock):
            guards = []
            with lock.write() as guard:
                guard.value = guards
            guards += [lock, TAKE[way](lock)]

        dies(tangle)

    @pytest.mark.parametrize("face", ["sync", "aio"])
    def test_a_cycle_through_the_guards_of_a_converted_hold(self, face, dies):
        def tangle(lock):
            first = lock.try_write() if face == "sync" else lock.aio.try_write()
            second = first.downgrade_to_upgradable()
            third = second.try_upgrade()
            third.value = values = [lock, first, second]
            values.append(third.downgrade())

        dies(tangle)

    def test_a_cycle_through_a_guard_that_has_ended(self, dies):
        def tangle(lock):
            guard = lock.write()
            guard.value = [lock, guard]
            guard.release()

        dies(tangle)

    @pytest.mark.parametrize("block", ["unlocked", "upgraded"])
    def test_a_cycle_through_an_open_block(self, block, dies):
        def tangle(lock):
            values = []
            with lock.write() as guard:
                guard.value = values
            guard = lock.upgradable_read()
            opened = getattr(guard, block)()
            values += [lock, guard, opened, opened.__enter__()]

        dies(tangle)

    def test_a_cycle_through_a_coroutine_never_awaited(self, dies):
        def tangle(lock):
            guard = lock.aio.try_write()
            guard.value = [lock.aio.read(), lock.aio.write()]
            guard.value.append(guard.downgrade_to_upgradable().upgrade())

        dies(tangle)

    def test_a_cycle_through_a_face(self, dies):
        def tangle(lock):
            with lock.write() as guard:
                guard.value = lock.aio

        dies(tangle)

    @pytest.mark.parametrize("in_task", [False, True])
    def test_a_guard_in_a_context_variable(self, in_task, dies):
        """The owner keeps its context, the context keeps the guard, the guard keeps the lock."""
        variable = contextvars.ContextVar("variable")

        async def hold(face):
            variable.set(await face.write())

        def tangle(lock):
            if in_task:
                run(hold(lock.aio))
            else:
                contextvars.copy_context().run(lambda: variable.set(lock.write()))

        dies(tangle)

    @pytest.mark.parametrize("way", [*TAKE_ASYNC, "upgrade"])
    def test_tasks_parked_on_a_lock_that_nobody_else_knows(self, way, loop_name):
        """Whom a guard in the same garbage lets in is garbage too: asyncio must not meet a task taken apart."""
        in_subprocess(f"""
            import asyncio, gc, warnings, weakref
            from ferrule import RWLock
            from tests.support.driver import run, turns
            from tests.support.rwlocks import TAKE_ASYNC, kinds
            warnings.simplefilter("ignore", ResourceWarning)

            async def main():
                asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
                lock = RWLock()
                reference = weakref.ref(lock)
                with lock.write() as guard:
                    guard.value = holds = []
                if {way!r} == "upgrade":
                    guard = lock.aio.try_upgradable_read()
                    holds += [lock.read(), guard]
                    tasks = [asyncio.create_task(guard.upgrade()) for _ in range(3)]
                else:
                    holds += [lock.write()]
                    tasks = [asyncio.create_task(TAKE_ASYNC[{way!r}](lock)) for _ in range(3)]
                await turns()
                assert len(kinds(lock)) == 3
                del lock, guard, holds
                tasks.clear()
                for _ in range(3):
                    gc.collect()
                    await turns()
                assert reference() is None

            run(main(), {loop_name!r})
        """)

    def test_writers_parked_on_a_lock_whose_reader_nobody_knows(self, loop_name):
        """A hold without a guard ends never: the waits are garbage, and go with the lock."""

        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            lock = RWLock()
            reference = weakref.ref(lock)
            lock._add_readers(1)
            tasks = [asyncio.create_task(lock.aio.write()) for _ in range(3)]
            await turns()
            assert len(kinds(lock)) == 3
            del lock
            tasks.clear()
            gc.collect()
            await turns()
            gc.collect()
            assert reference() is None

        run(main(), loop_name)

    @each_way
    def test_a_guard_collected_where_another_thread_waits_for_its_lock(self, way):
        lock = RWLock()

        def abandon():
            cycle = [TAKE[way](lock)]
            cycle.append(cycle)

        gc.disable()
        try:
            abandon()
            waiting = spawn(lambda: lock.write(timeout=HANG))
            eventually(lambda: kinds(lock))
            with pytest.warns(ResourceWarning, match="guard"):
                gc.collect()
        finally:
            gc.enable()
        waiting.result().release()
        assert lock._state() == FREE

    def test_everything_with_a_collection_at_every_allocation(self):
        in_subprocess("""
            import asyncio, gc, time, warnings
            from ferrule import RWLock, Timeout
            from tests.support.race import spawn
            warnings.simplefilter("ignore", ResourceWarning)
            lock = RWLock(0)

            def thread():
                for _ in range(150):
                    with lock.write() as guard:
                        guard.value += 1
                    with lock.upgradable_read() as guard, guard.upgrade() as writer:
                        writer.value += 1
                    cycle = [lock.read()]
                    cycle.append(cycle)
                    del cycle           # collected, and so released, sooner or later

            async def task():
                for _ in range(100):
                    async with lock.aio.write() as guard:
                        guard.value += 1
                        await asyncio.sleep(0)
                    try:
                        async with lock.aio.upgradable_read(timeout=0.0001) as guard:
                            async with guard.upgraded() as writer:
                                writer.value += 0
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
            with lock.read(timeout=10) as guard:
                assert guard.value == 800, guard.value
        """)


class TestWeakReferences:
    def test_a_callback_that_uses_what_is_left_of_the_lock(self):
        seen = []
        lock = RWLock(["value"])
        face, guard = lock.aio, lock.write()
        guard.release()
        reference = weakref.ref(lock, lambda dead: seen.append(dead()))
        del lock
        assert seen == [], "its face and its guard keep it"
        del face
        assert seen == []
        del guard
        assert seen == [None]
        assert reference() is None

    def test_a_callback_that_takes_another_lock(self):
        other, seen = RWLock(), []

        def callback(_):
            with other.write(timeout=HANG):
                seen.append(other.locked_exclusive())

        lock = RWLock()
        reference = weakref.ref(lock, callback)
        with other.read() as guard, guard.unlocked():
            del lock
        assert seen == [True]
        assert reference() is None

    def test_dies_while_others_look(self):
        for _ in range(100):
            holder = [RWLock()]
            reference = weakref.ref(holder[0])

            def look(reference=reference):
                if lock := reference():
                    with lock.read(timeout=HANG):
                        return lock.locked()
                return None

            looked, *_ = run_together(look, look, holder.clear)
            assert looked in (True, None)
            assert reference() is None


class TestNesting:
    @pytest.mark.parametrize(
        "wrap",
        [
            "RWLock",
            "lambda inner: [RWLock(inner)]",
            "lambda inner: RWLock(inner).read()",
            "lambda inner: RWLock(inner).write().downgrade_to_upgradable()",
            "lambda inner: RWLock(inner).aio",
            "lambda inner: RWLock(inner).aio.write()",
        ],
    )
    def test_a_million_deep_is_destroyed(self, wrap):
        in_subprocess(f"""
            import gc, warnings
            from ferrule import RWLock
            from tests.support.hostile import nested
            warnings.simplefilter("ignore")
            gc.disable()
            died = []
            class Innermost:
                def __del__(self):
                    died.append(1)
            outermost = nested(1_000_000, {wrap}, Innermost())
            del outermost
            gc.collect()
            assert died == [1]
        """)

    def test_a_million_deep_cycle_is_collected(self):
        in_subprocess("""
            import gc
            from ferrule import RWLock
            from tests.support.hostile import nested
            innermost = RWLock()
            outermost = nested(1_000_000, RWLock, innermost)
            with innermost.write() as guard:
                guard.value = outermost
            del outermost, innermost, guard
            assert gc.collect() >= 1_000_000
        """)


class TestWrongObjects:
    def test_methods_refuse_foreign_objects(self):
        guard = RWLock().read()
        methods = [*TAKE.values(), *TRY.values(), RWLock.locked, RWLock.locked_exclusive, RWLock._state]
        methods += [RWLock.readers.__get__, RWLock.aio.__get__, RWLock.__repr__]
        for method in methods:
            for foreign in (object(), guard, RWLock):
                with pytest.raises(TypeError):
                    method(foreign)
        guard.release()

    @pytest.mark.parametrize("kind", GUARDS)
    def test_guards_methods_refuse_foreign_objects(self, kind):
        lock = RWLock()
        others = [lock.try_read() if "Async" in kind.__name__ else lock.aio.try_read()]
        for name in ("release", "unlocked", "upgrade", "try_upgrade", "upgraded", "downgrade", "__enter__", "__exit__"):
            if (method := getattr(kind, name, None)) is not None:
                for foreign in (object(), lock, kind, *(others if name != "release" else [])):
                    with pytest.raises(TypeError):
                        method(foreign, *([None] * 3 if name == "__exit__" else []))
        for foreign in (object(), lock, kind):
            with pytest.raises(TypeError):
                kind.value.__get__(foreign)
        assert lock._state() == state(readers=1)
        others[0].release()

    def test_nothing_is_built_behind_the_constructors(self):
        lock = RWLock()
        guard = lock.upgradable_read()
        async_guard = lock.aio.try_read()
        coroutine = lock.aio.read()
        blocks = [guard.unlocked(), guard.upgraded(), async_guard.unlocked()]
        built = [*GUARDS, *(type(thing) for thing in (*blocks, coroutine)), *ReadGuard.__mro__[1:-1]]
        built += [*WriteGuard.__mro__[1:-1], *UpgradableGuard.__mro__[1:-1]]
        coroutine.close()
        guard.release()
        async_guard.release()
        for kind in built:
            for build in (kind, lambda kind=kind: kind.__new__(kind), lambda kind=kind: object.__new__(kind)):
                with pytest.raises(TypeError):
                    build()
            with pytest.raises(TypeError):
                type("Sub", (kind,), {})()
        for kind in (RWLock, ferrule.aio.RWLock):
            with pytest.raises(TypeError):
                object.__new__(kind)
            with pytest.raises(TypeError):
                type("Sub", (kind,), {})

    def test_classes_are_closed(self):
        for kind in (RWLock, ferrule.aio.RWLock, *GUARDS):
            with pytest.raises(TypeError):
                kind.read = None
        lock = RWLock()
        guards = [lock.try_read(), lock.aio.try_read()]
        for thing in (lock, lock.aio, *guards):
            with pytest.raises(AttributeError):
                thing.extra = None
        for guard in guards:
            guard.release()

    @each_way
    def test_exits_take_three_arguments(self, way):
        guard = TAKE[way](RWLock())
        for args in ((), (None,), (None, None), (None, None, None, None)):
            with pytest.raises(TypeError):
                guard.__exit__(*args)
        assert guard.value is None
        guard.release()

    @pytest.mark.parametrize("way", TAKE_ASYNC)
    def test_a_coroutine_driven_in_the_wrong_ways(self, way, loop_name):
        async def main():
            lock = RWLock()
            guard = lock.write()
            stepper = Stepper(TAKE_ASYNC[way](lock))
            stepper.step()
            stepper.future.set_result("not yours")
            await turns()
            assert not stepper.send(), "woken by a stranger, it goes on waiting"
            guard.release()
            await stepper.finish()
            stepper.result().release()
            assert lock._state() == FREE

        run(main(), loop_name)
