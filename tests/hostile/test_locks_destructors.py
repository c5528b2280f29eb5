"""Values, guards and callbacks that use a lock, of either kind, at the worst moment, or take it into the garbage."""

import asyncio
import collections.abc
import contextvars
import gc
import inspect
import types
import weakref

import pytest

import ferrule.aio
from ferrule import Mutex, RWLock, Timeout, WouldDeadlock
from tests.support.driver import Stepper, complete, run, turns
from tests.support.each import PLAIN, each
from tests.support.hostile import calling, hostile, raising, resurrecting, unraisable, yielding
from tests.support.leaks import in_subprocess
from tests.support.locks import LOCKS, WAYS, kinds
from tests.support.race import HANG, eventually, outcome, run_together, spawn

DESCRIPTORS = types.MethodDescriptorType, types.WrapperDescriptorType, types.GetSetDescriptorType


each_way = each(PLAIN)
each_guarded = each([way for way in PLAIN if way.guarded])
each_writing = each([way for way in PLAIN if way.writes])
each_one_call = each([way for way in PLAIN if way.one_call])
each_lock = each([way for way in LOCKS if not way.fair])


@each_writing
class TestValues:
    """The value that is replaced dies after everything else, with nothing held but the lock itself."""

    def test_a_destructor_that_uses_the_lock(self, way):
        lock = way.make()
        seen = []

        def use():
            seen.append((lock.locked(), guard.value, lock._state()))
            seen.extend(other.attempt(lock) for other in way.siblings)
            seen.append(outcome(way.take, WouldDeadlock)(lock))

        with way.within(lock) as guard:
            guard.value = hostile(__del__=calling(use))
            guard.value = "new"
            state, *taken, refusal = seen
            assert state == (True, "new", way.held)
            assert not any(taken)
            assert len(taken) == len(way.siblings)
            assert refusal is WouldDeadlock
            assert guard.value == "new"
        assert lock._state() == way.free

    @pytest.mark.parametrize("by", ["guard", "way"])
    def test_a_destructor_that_releases_the_hold(self, way, by):
        lock = way.make()
        guard = way.take(lock)
        guard.value = hostile(__del__=calling(guard.release if by == "guard" else lambda: way.end(lock, guard)))
        guard.value = "new"
        assert lock._state() == way.free
        with pytest.raises(RuntimeError):
            guard.release()
        with way.within(lock) as again:
            assert again.value == "new"

    def test_a_destructor_that_replaces_the_value_again(self, way):
        lock = way.make()
        with way.within(lock) as guard:
            guard.value = hostile(__del__=calling(lambda: setattr(guard, "value", "the destructor's")))
            guard.value = "mine"
            assert guard.value == "the destructor's"
        assert lock._state() == way.free

    def test_a_destructor_that_waits_for_another_thread_that_waits_for_the_lock(self, way):
        lock = way.make()
        with way.within(lock) as guard:

            def let_another_in():
                with guard.unlocked():
                    spawn(lambda: way.alone.take(lock, timeout=HANG).release()).result()

            guard.value = hostile(__del__=calling(let_another_in))
            guard.value = "new"
            assert guard.value == "new"
        assert lock._state() == way.free

    def test_a_destructor_that_raises_is_reported_and_changes_nothing(self, way):
        lock = way.make()
        with unraisable() as reported, way.within(lock) as guard:
            guard.value = hostile(__del__=raising(KeyError("mine")))
            guard.value = "new"
            assert guard.value == "new"
        assert [type(error) for error in reported] == [KeyError]
        assert lock._state() == way.free

    def test_a_value_that_comes_back_to_life(self, way):
        lock, grave = way.make(), []
        with way.within(lock) as guard:
            guard.value = hostile(__del__=resurrecting(grave))
            guard.value = None
            guard.value = grave.pop()
            assert guard.value is not None
            guard.value = None
        assert lock._state() == way.free

    def test_a_value_that_brings_its_lock_back_to_life(self, way):
        grave = []

        class Value:
            def __del__(self):
                grave.append(self.lock)

        lock = way.make()
        with way.within(lock) as guard:
            guard.value = Value()
            guard.value.lock = lock
        del lock, guard
        gc.collect()
        [lock] = grave
        with way.within(lock) as guard:
            assert type(guard.value) is Value
            guard.value = None
        assert lock._state() == way.free

    def test_values_that_yield_to_other_threads_while_they_die(self, way):
        lock = way.make()

        def replace():
            for _ in range(200):
                with way.within(lock) as guard:
                    guard.value = hostile(__del__=yielding())
                for other in way.siblings:
                    with other.within(lock):
                        pass

        run_together(replace, replace, replace)
        assert lock._state() == way.free


@each_lock
def test_a_value_dies_with_its_lock(way):
    died = []
    lock = way.make(hostile(__del__=calling(lambda: died.append(1))))
    del lock
    assert died == [1]


@each_guarded
def test_a_value_whose_repr_raises(way):
    lock = way.make(hostile(__repr__=raising(KeyError("mine"))))
    with way.within(lock) as guard:
        for thing in (lock, guard, lock.aio):
            assert "ferrule" in outcome(repr, KeyError)(thing)
    assert lock._state() == way.free


class TestTimeoutArguments:
    @each_one_call
    def test_an_index_that_takes_the_lock(self, way):
        lock, taken = way.make(), []
        patience = hostile(__index__=calling(lambda: taken.append(way.alone.take(lock)), then=0))
        with pytest.raises(Timeout):
            way.take(lock, timeout=patience)
        taken.pop().release()
        assert lock._state() == way.free

    @each_one_call
    def test_an_index_that_ends_the_hold_in_the_way(self, way):
        lock = way.make()
        guard = way.alone.take(lock)
        way.end(lock, way.take(lock, timeout=hostile(__index__=calling(guard.release, then=0))))
        assert lock._state() == way.free

    @each_lock
    def test_an_index_that_drops_the_lock(self, way):
        holder = [way.make()]
        patience = hostile(__index__=calling(holder.clear, then=0))
        getattr(holder[0], way.name)(timeout=patience).release()
        assert holder == []

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
    @each_one_call
    def test_an_index_that_raises(self, way, error):
        lock = way.make()
        patience = hostile(__index__=raising(error))
        for take in (way.take, way.take_async):
            with pytest.raises(error):
                take(lock, timeout=patience)
        assert lock._state() == way.free

    @each_one_call
    def test_an_index_that_answers_nonsense(self, way):
        lock = way.make()
        for take in (way.take, way.take_async):
            with pytest.raises(TypeError):
                take(lock, timeout=hostile(__index__=calling(lambda: None, then="0")))
        assert lock._state() == way.free

    @each_guarded
    def test_a_truth_value_that_raises(self, way):
        lock = way.make()
        guard = way.take(lock)
        with pytest.raises(KeyError, match="mine"):
            guard.release(fair=hostile(__bool__=raising(KeyError("mine"))))
        assert guard.value is None
        guard.release()
        assert lock._state() == way.free

    def test_a_truth_value_that_raises_instead_of_saying_whether_to_wait(self):
        mutex = Mutex()
        with pytest.raises(KeyError, match="mine"):
            mutex.acquire(hostile(__bool__=raising(KeyError("mine")), __index__=raising(KeyError("mine"))))
        assert not mutex.locked()


@pytest.fixture
def dies(way):
    """Called with a function that ties a knot with the lock: both must go."""

    def check(tangle):
        lock = way.make()
        reference = weakref.ref(lock)
        tangle(lock)
        del lock
        gc.collect()
        assert reference() is None

    return check


@pytest.mark.filterwarnings("ignore::ResourceWarning")
class TestCollector:
    """Every cycle through a lock is collected, in whatever state it is."""

    @each_writing
    def test_a_lock_that_protects_itself(self, way, dies):
        def tangle(lock):
            with way.within(lock) as guard:
                guard.value = lock

        dies(tangle)

    @each_guarded
    def test_a_cycle_through_the_value_and_the_guard_in_force(self, way, dies):
        def tangle(lock):
            with way.alone.within(lock) as guard:
                guard.value = knot = []
            knot += [lock, way.take(lock)]

        dies(tangle)

    @each_writing
    def test_a_cycle_through_a_guard_that_has_ended(self, way, dies):
        """And, of `with mutex`, of a block that is left early and never ended."""

        def tangle(lock):
            guard = way.take(lock)
            guard.value = [lock, guard]
            guard.release()

        dies(tangle)

    @each_guarded
    def test_a_cycle_through_an_unlocked_block(self, way, dies):
        def tangle(lock):
            with way.alone.within(lock) as guard:
                guard.value = knot = []
            guard = way.take(lock)
            block = guard.unlocked()
            knot += [lock, guard, block, block.__enter__()]

        dies(tangle)

    @each_way
    def test_a_cycle_through_a_coroutine_never_awaited(self, way, dies):
        def tangle(lock):
            with way.alone.within(lock) as guard:
                guard.value = way.take_async(lock)

        with pytest.warns(RuntimeWarning, match="never awaited"):
            dies(tangle)

    @each_writing
    def test_a_cycle_through_a_face(self, way, dies):
        def tangle(lock):
            with way.within(lock) as guard:
                guard.value = lock.aio

        dies(tangle)

    @pytest.mark.parametrize("in_task", [False, True])
    @each_guarded
    def test_a_guard_in_a_context_variable(self, way, in_task, dies):
        """The owner keeps its context, the context keeps the guard, the guard keeps the lock."""
        variable = contextvars.ContextVar("variable")

        async def hold(lock):
            variable.set(await way.take_async(lock))

        def tangle(lock):
            if in_task:
                run(hold(lock))
            else:
                contextvars.copy_context().run(lambda: variable.set(way.take(lock)))

        dies(tangle)

    @each([way for way in PLAIN if way.lock is Mutex or way.name == "write"])
    def test_tasks_parked_behind_a_hold_that_nobody_can_end(self, way, loop_name):
        """The waits are garbage, and go with the lock."""

        async def main():
            asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
            lock = way.make()
            reference = weakref.ref(lock)
            if way.lock is Mutex:
                lock.acquire()
            else:
                lock._add_readers(1)
            tasks = [asyncio.create_task(way.take_async(lock)) for _ in range(3)]
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
    def test_tasks_parked_behind_a_guard_in_the_same_garbage(self, way, loop_name):
        """Whom the guard lets in is garbage too: asyncio must not meet a task taken apart."""
        in_subprocess(f"""
            import asyncio, gc, warnings, weakref
            from tests.support.driver import run, turns
            from tests.support.locks import WAYS, kinds
            warnings.simplefilter("ignore", ResourceWarning)
            way = WAYS["{way}"]

            async def main():
                asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
                lock = way.make()
                reference = weakref.ref(lock)
                with way.alone.within(lock) as guard:
                    guard.value = holds = []
                holds += [way.alone.take(lock)]
                tasks = [asyncio.create_task(way.take_async(lock)) for _ in range(3)]
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

    @each([way for way in PLAIN if way.guarded and way.name != "enter"])  # that guard is the lock's as long as it holds
    def test_a_guard_collected_where_another_thread_waits_for_its_lock(self, way):
        lock = way.make()

        def abandon():
            cycle = [way.take(lock)]
            cycle.append(cycle)

        gc.disable()
        try:
            abandon()
            waiting = spawn(lambda: way.alone.take(lock, timeout=HANG))
            eventually(lambda: kinds(lock))
            with pytest.warns(ResourceWarning, match="guard"):
                gc.collect()
        finally:
            gc.enable()
        waiting.result().release()
        assert lock._state() == way.free

    @pytest.mark.parametrize(
        ("way", "abandoned", "wait"),
        [
            # lock() would say that this thread has the lock already.
            (WAYS["Mutex.lock"], "lock.lock()", "lock.acquire(); lock.release()"),
            (WAYS["RWLock.write"], "lock.read()", "pass"),
        ],
        ids=["Mutex", "RWLock"],
    )
    def test_everything_with_a_collection_at_every_allocation(self, way, abandoned, wait):
        in_subprocess(f"""
            import asyncio, gc, time, warnings
            from ferrule import Timeout
            from tests.support.locks import WAYS
            from tests.support.race import spawn
            warnings.simplefilter("ignore", ResourceWarning)
            way = WAYS["{way}"]
            lock = way.make(0)

            def thread():
                count = 0
                for _ in range(60):
                    count += sum(other.visit(lock) for other in way.siblings)
                    cycle = [{abandoned}]
                    cycle.append(cycle)
                    del cycle           # collected, and so released, sooner or later
                    {wait}
                return count

            async def task():
                count = 0
                for _ in range(40):
                    for other in way.siblings:
                        count += await other.visit_async(lock)
                    try:
                        count += await way.visit_async(lock, timeout=0.0001)
                    except Timeout:
                        pass
                return count

            async def tasks():
                return sum(await asyncio.gather(task(), task()))

            gc.set_threshold(1, 1, 1)
            running = [spawn(thread), spawn(thread), spawn(lambda: asyncio.run(tasks()))]
            while any(one.alive for one in running):
                gc.collect()    # all of them may be waiting for a hold that is garbage
                time.sleep(0.001)
            total = sum(one.result() for one in running)
            gc.collect()
            with way.take(lock, timeout=10) as guard:
                assert guard.value == total, guard.value
        """)


@each_guarded
class TestWeakReferences:
    def test_a_callback_that_uses_what_is_left_of_the_lock(self, way):
        seen = []
        lock = way.make(["value"])
        with way.within(lock) as guard:
            face = lock.aio
        reference = weakref.ref(lock, lambda dead: seen.append(dead()))
        del lock
        assert seen == [], "its face and its guard keep it"
        del face
        assert seen == []
        del guard
        assert seen == [None]
        assert reference() is None

    def test_a_callback_that_takes_another_lock(self, way):
        other, seen = way.make(), []

        def callback(_):
            with way.alone.within(other, timeout=HANG):
                seen.append(other._state() == way.alone.held)

        lock = way.make()
        reference = weakref.ref(lock, callback)
        with way.within(other) as guard, guard.unlocked():
            del lock
        assert seen == [True]
        assert reference() is None

    def test_dies_while_others_look(self, way):
        for _ in range(100):
            holder = [way.make()]
            reference = weakref.ref(holder[0])

            def look(reference=reference):
                if lock := reference():
                    with way.within(lock, **way.patience):
                        return lock.locked()
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
            "RWLock",
            "lambda inner: [RWLock(inner)]",
            "lambda inner: RWLock(inner).read()",
            "lambda inner: RWLock(inner).write().downgrade_to_upgradable()",
            "lambda inner: RWLock(inner).aio",
            "lambda inner: RWLock(inner).aio.write()",
            "lambda inner: Mutex(RWLock(inner))",
        ],
    )
    def test_a_million_deep_is_destroyed(self, wrap):
        in_subprocess(f"""
            import warnings
            from ferrule import Mutex, RWLock
            from tests.support.hostile import assert_destroyed
            warnings.simplefilter("ignore")
            assert_destroyed(1_000_000, {wrap})
        """)

    @each_lock
    def test_a_million_deep_cycle_is_collected(self, way):
        in_subprocess(f"""
            import gc
            from tests.support.hostile import nested
            from tests.support.locks import WAYS
            way = WAYS["{way}"]
            innermost = way.make()
            outermost = nested(1_000_000, way.lock, innermost)
            with way.take(innermost) as guard:
                guard.value = outermost
            del outermost, innermost, guard
            assert gc.collect() >= 1_000_000
        """)


@pytest.fixture
def zoo():
    """An object of each class of the two locks that Python code can meet; none of them holds anything."""
    locks = [Mutex(), RWLock(), ferrule.aio.Mutex(), ferrule.aio.RWLock()]
    guards = []
    for way in PLAIN:
        for take in (way.take, lambda lock, way=way: complete(way.take_async(lock))):
            lock = way.make()
            if (guard := take(lock)) is not True:
                guards.append(guard)
                guard.release()
    blocks = [guard.unlocked() for guard in guards]
    blocks += [guard.upgraded() for guard in guards if hasattr(guard, "upgraded")]
    (coroutine := locks[2].lock()).close()
    return {"locks": locks, "guards": guards, "others": [*blocks, coroutine]}


def descriptors(kind):
    """What a class does with its instances, apart from what it has of `object`: a function of one of them."""
    for name in dir(kind):
        found = inspect.getattr_static(kind, name)
        if isinstance(found, DESCRIPTORS) and found.__objclass__ is not object:
            yield found, found if callable(found) else found.__get__


class TestWrongObjects:
    def test_methods_and_properties_refuse_foreign_objects(self, zoo):
        animals = [*zoo["locks"], *zoo["guards"], *zoo["others"]]
        refused = 0
        for kind in {type(animal) for animal in animals}:
            for descriptor, use in descriptors(kind):
                for foreign in (None, object(), kind, *animals):
                    if not isinstance(foreign, descriptor.__objclass__):
                        with pytest.raises(TypeError):
                            use(foreign)
                        refused += 1
        assert refused > 1000

    def test_nothing_is_built_behind_the_constructors(self, zoo):
        classes = {base for animal in zoo["guards"] + zoo["others"] for base in type(animal).__mro__[:-1]}
        for kind in classes - {collections.abc.Coroutine, collections.abc.Awaitable}:
            for build in (kind, lambda kind=kind: kind.__new__(kind), lambda kind=kind: object.__new__(kind)):
                with pytest.raises(TypeError):
                    build()
            with pytest.raises(TypeError):
                type("Sub", (kind,), {})()
        for lock in zoo["locks"]:
            with pytest.raises(TypeError):
                object.__new__(type(lock))
            with pytest.raises(TypeError):
                type("Sub", (type(lock),), {})

    def test_classes_and_objects_are_closed(self, zoo):
        for animal in zoo["locks"] + zoo["guards"]:
            with pytest.raises(TypeError):
                type(animal).release = None
            with pytest.raises(AttributeError):
                animal.extra = None

    @each_guarded
    def test_exits_take_three_arguments(self, way):
        lock = way.make()
        guard = way.take(lock)
        for leave in (guard.__exit__, *([lock.__exit__] if way.lock is Mutex else [])):
            for args in ((), (None,), (None, None), (None, None, None, None)):
                with pytest.raises(TypeError):
                    leave(*args)
        assert guard.value is None
        guard.release()

    @each_way
    def test_a_coroutine_driven_in_the_wrong_ways(self, way, loop_name):
        async def main():
            lock = way.make()
            guard = way.alone.take(lock)
            stepper = Stepper(way.take_async(lock))
            stepper.step()
            stepper.future.set_result("not yours")
            await turns()
            assert not stepper.send(), "woken by a stranger, it goes on waiting"
            guard.release()
            way.end(lock, await stepper.finish())
            assert lock._state() == way.free

        run(main(), loop_name)
