"""get_or_compute() among tasks: plain and async factories, threads and several loops, and every way to end."""

import asyncio
import collections.abc
import contextlib
import gc
import threading
import types
import weakref

import pytest

from ferrule import BlockingInEventLoop, ConcurrentMap, Timeout, WouldDeadlock, aio, allow_blocking
from tests.support.driver import (
    HandLoop,
    LoopThread,
    Stepper,
    cancel_at_every_step,
    cancel_everywhere,
    complete,
    new_loop,
    run,
    turns,
)
from tests.support.flights import AsyncFactory, Factory, assert_landed, computing, waiters
from tests.support.race import HANG, eventually, outcome, spawn


class Fault(Exception):
    pass


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, HANG)


async def begun(m, key, factory):
    """A task whose factory, a closed one, is under way."""
    task = asyncio.create_task(m.aio.get_or_compute(key, factory))
    await turns(factory._turns + 2)
    assert factory.runs
    return task


async def waits(m, key, factory):
    """A task that waits for another's."""
    count = len(m._state().get(key, []))
    task = asyncio.create_task(m.aio.get_or_compute(key, factory))
    await turns()
    assert len(m._state()[key]) == count + 1
    return task


class TestFactories:
    def test_what_is_ready_never_suspends(self):
        m = ConcurrentMap({"k": 1})
        never = Factory(0)
        assert complete(m.aio.get_or_compute("k", never)) == 1
        assert never.runs == 0
        assert complete(m.aio.get_or_compute("plain", Factory(2))) == 2

        async def at_once():
            return 3

        async def main():
            return complete(m.aio.get_or_compute("async", at_once))

        assert asyncio.run(main()) == 3
        assert_landed(m, {"k": 1, "plain": 2, "async": 3})

    def test_it_does_nothing_until_its_first_step(self):
        hashed = []

        class Key:
            def __hash__(self):
                hashed.append(self)
                return 1

        m = ConcurrentMap()
        factory = Factory(1)
        coroutine = m.aio.get_or_compute(Key(), factory)
        assert isinstance(coroutine, collections.abc.Coroutine)
        assert (hashed, factory.runs, m._state()) == ([], 0, {})
        coroutine.close()
        assert (hashed, factory.runs) == ([], 0)
        coroutine = m.aio.get_or_compute(Key(), factory)
        assert complete(coroutine) == 1
        assert len(hashed) == 1
        with pytest.raises(RuntimeError):
            complete(coroutine)

    def test_one_never_awaited_says_so(self):
        with pytest.warns(RuntimeWarning, match=r"ConcurrentMap\.get_or_compute"):
            ConcurrentMap().aio.get_or_compute("k", Factory(1))

    def test_the_call_raises_for_bad_arguments(self):
        face = aio.ConcurrentMap()
        with pytest.raises(ValueError, match="timeout"):
            face.get_or_compute("k", Factory(1), timeout=-1)
        with pytest.raises(TypeError):
            face.get_or_compute("k")
        with pytest.raises(TypeError, match="unhashable"):
            complete(face.get_or_compute([], Factory(1)))

    @pytest.mark.parametrize("kind", ["coroutine", "future", "task", "generator", "ferrule", "awaitable"])
    def test_whatever_can_be_awaited(self, kind, loop_name):
        @types.coroutine
        def generator():
            yield
            return 1

        class Awaitable:
            def __await__(self):
                return generator().__await__() if hasattr(generator(), "__await__") else generator()

        def factory():
            loop = asyncio.get_running_loop()
            if kind == "future":
                future = loop.create_future()
                loop.call_soon(future.set_result, 1)
                return future
            coroutine = AsyncFactory(1)()
            if kind == "coroutine":
                return coroutine
            if kind == "task":
                return loop.create_task(coroutine)
            coroutine.close()
            if kind == "ferrule":
                return ConcurrentMap().aio.get_or_compute("inner", AsyncFactory(1))
            return generator() if kind == "generator" else Awaitable()

        m = ConcurrentMap()

        async def main():
            assert await soon(m.aio.get_or_compute("k", factory)) == 1

        run(main(), loop_name)
        assert_landed(m, {"k": 1})

    def test_nothing_that_says_there_is_no_value(self):
        from ferrule import MISSING

        m = ConcurrentMap()
        with pytest.raises(ValueError, match="cannot be a value"):
            asyncio.run(m.aio.get_or_compute("k", AsyncFactory(MISSING)))
        with pytest.raises(ValueError, match="cannot be a value"):
            complete(m.aio.get_or_compute("k", Factory(MISSING)))
        assert_landed(m, {})

    @pytest.mark.parametrize("make", [Factory, AsyncFactory])
    def test_what_it_raises_reaches_the_caller(self, make):
        m = ConcurrentMap()
        with pytest.raises(Fault):
            asyncio.run(m.aio.get_or_compute("k", make(Fault)))
        assert_landed(m, {})
        assert asyncio.run(m.aio.get_or_compute("k", make(1))) == 1

    def test_it_runs_in_the_callers_task_and_context(self):
        m = ConcurrentMap()

        async def main():
            async def factory():
                await asyncio.sleep(0)
                return asyncio.current_task()

            assert await m.aio.get_or_compute("k", factory) is asyncio.current_task()

        asyncio.run(main())


THROUGH = {
    "create_task": asyncio.create_task,
    "ensure_future": asyncio.ensure_future,
    "shield": asyncio.shield,
    "wait_for": lambda coroutine: asyncio.wait_for(coroutine, HANG),
    "gather": lambda coroutine: first_of(asyncio.gather(coroutine)),
    "TaskGroup": lambda coroutine: in_group(coroutine),
}


async def first_of(results):
    return (await results)[0]


async def in_group(coroutine):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(coroutine)
    return task.result()


@pytest.mark.parametrize("through", THROUGH)
def test_whatever_runs_coroutines(through, loop_name):
    """Runs the factory, and waits for one."""
    m = ConcurrentMap()

    async def main():
        assert await THROUGH[through](m.aio.get_or_compute("own", AsyncFactory(1))) == 1
        factory = AsyncFactory(2, closed=True)
        task = await begun(m, "k", factory)
        asyncio.get_running_loop().call_later(0.001, factory.open)
        assert await THROUGH[through](m.aio.get_or_compute("k", AsyncFactory("never"))) == 2
        assert await task == 2

    run(main(), loop_name)
    assert_landed(m, {"own": 1, "k": 2})


def test_another_thread_runs_it():
    m = ConcurrentMap()
    with LoopThread() as there:
        future = asyncio.run_coroutine_threadsafe(m.aio.get_or_compute("k", AsyncFactory(1)), there.loop)
        assert future.result(HANG) == 1


class TestWaiting:
    def test_tasks_of_two_loops_and_threads_get_one_value(self, loop_name):
        m = ConcurrentMap()
        value = object()
        factory = AsyncFactory(value, closed=True)
        with LoopThread(loop_name) as here, LoopThread() as there:
            first = here.spawn(m.aio.get_or_compute("k", factory))
            eventually(lambda: factory._futures)
            tasks = [loop.spawn(m.aio.get_or_compute("k", factory)) for loop in (here, there) for _ in range(3)]
            waiters(m, "k", 6)
            threads = [spawn(m.get_or_compute, "k", Factory("never")) for _ in range(3)]
            assert sorted(waiters(m, "k", 9)) == [("task", "parked")] * 6 + [("thread", "parked")] * 3
            factory.open()
            assert all(one.result(HANG) is value for one in (first, *tasks, *threads))
        assert factory.runs == 1
        assert_landed(m, {"k": value})

    def test_a_thread_computes_for_tasks(self, loop_name):
        m = ConcurrentMap()
        factory = Factory(1, closed=True)
        running = computing(m, "k", factory)

        async def main():
            tasks = [await waits(m, "k", AsyncFactory("never")) for _ in range(3)]
            factory.open()
            assert await soon(asyncio.gather(*tasks)) == [1, 1, 1]

        run(main(), loop_name)
        assert running.result() == 1

    def test_the_turn_goes_round_in_the_order_of_waiting(self, loop_name):
        m = ConcurrentMap()
        ran = []

        def failing(number):
            async def factory():
                ran.append(number)
                await asyncio.sleep(0)
                raise Fault

            return factory

        def plain():
            ran.append("thread")
            raise Fault

        async def main():
            first = AsyncFactory(Fault, closed=True)
            tasks = [await begun(m, "k", first)]
            tasks += [await waits(m, "k", failing(n)) for n in range(3)]
            thread = spawn(outcome(m.get_or_compute, Fault), "k", plain)
            await asyncio.to_thread(waiters, m, "k", 4)
            last = await waits(m, "k", AsyncFactory("value"))
            first.open()
            assert [type(e) for e in await soon(asyncio.gather(*tasks, return_exceptions=True))] == [Fault] * 4
            assert await soon(last) == "value"
            assert thread.result() is Fault

        run(main(), loop_name)
        assert ran == [0, 1, 2, "thread"]
        assert_landed(m, {"k": "value"})

    @pytest.mark.parametrize("timeout", [0, 1e-9, 0.01])
    def test_timeout(self, timeout, loop_name):
        m = ConcurrentMap()

        async def main():
            factory = AsyncFactory(1, closed=True)
            task = await begun(m, "k", factory)
            with pytest.raises(Timeout, match="'k'"):
                await m.aio.get_or_compute("k", AsyncFactory(2), timeout=timeout)
            assert m._state() == {"k": []}
            factory.open()
            assert await soon(task) == 1

        run(main(), loop_name)
        assert_landed(m, {"k": 1})

    def test_the_timeout_is_not_for_ones_own_factory(self):
        m = ConcurrentMap()
        factory = AsyncFactory(1, turns=20)
        assert asyncio.run(m.aio.get_or_compute("k", factory, timeout=0)) == 1

    def test_the_sync_face_refuses_to_freeze_the_loop(self):
        m = ConcurrentMap()
        factory = Factory(1, closed=True)
        running = computing(m, "k", factory)

        async def main():
            with pytest.raises(BlockingInEventLoop):
                m.get_or_compute("k", Factory(2))

        asyncio.run(main())
        factory.open()
        assert running.result() == 1


class TestOthersWrite:
    @pytest.mark.parametrize("make", [Factory, AsyncFactory])
    def test_an_existing_value_wins_and_all_get_it(self, make):
        m = ConcurrentMap()

        async def main():
            def factory():
                m["k"] = "theirs"
                return made()

            made = make("ours")
            assert await m.aio.get_or_compute("k", factory) == "theirs"

        asyncio.run(main())
        assert_landed(m, {"k": "theirs"})

    @pytest.mark.parametrize("make", [Factory, AsyncFactory])
    def test_publication_awaits_the_entry(self, make, loop_name):
        """Of another task of the same loop, where a plain write would deadlock."""
        m = ConcurrentMap()

        async def main():
            entry = await m.aio.entry("k")
            task = asyncio.create_task(m.aio.get_or_compute("k", make("ours")))
            await turns(5)
            other = await waits(m, "k", Factory("never"))
            assert not task.done()
            entry.release()
            assert await soon(asyncio.gather(task, other)) == ["ours", "ours"]

        run(main(), loop_name)
        assert_landed(m, {"k": "ours"})

    def test_what_the_entry_puts_in_wins(self):
        m = ConcurrentMap()

        async def main():
            async with m.aio.entry("k") as entry:
                task = asyncio.create_task(m.aio.get_or_compute("k", AsyncFactory("ours")))
                await turns(5)
                entry.value = "theirs"
            assert await soon(task) == "theirs"

        asyncio.run(main())
        assert_landed(m, {"k": "theirs"})

    def test_who_comes_while_a_value_is_published_sees_what_happens_after(self):
        """Who waited for the factory gets its value whatever happens; who came later is not given what is removed."""
        m = ConcurrentMap()

        async def main():
            factory = AsyncFactory("first", closed=True)
            entry = await m.aio.entry("k")

            async def computes_and_removes():
                value = await m.aio.get_or_compute("k", factory)
                del m["k"]  # in the same step: nobody has run since it was published
                return value

            task = asyncio.create_task(computes_and_removes())
            await turns(5)
            early = asyncio.create_task(m.aio.get_or_compute("k", Factory("early's")))
            await turns()
            factory.open()
            await turns(5)
            late = asyncio.create_task(m.aio.get_or_compute("k", Factory("late's")))
            await turns()
            assert len(m._state()["k"]) == 2
            entry.release()
            assert await soon(asyncio.gather(task, early, late)) == ["first", "first", "late's"]

        asyncio.run(main())
        assert_landed(m, {"k": "late's"})

    def test_who_holds_the_entry_cannot_wait_for_who_needs_it(self):
        m = ConcurrentMap()

        async def main():
            factory = AsyncFactory(1, closed=True)
            task = await begun(m, "k", factory)
            async with m.aio.entry("k"):
                with pytest.raises(WouldDeadlock, match="entry of 'k'"):
                    await m.aio.get_or_compute("k", Factory(2))
            async with m.aio.entry("other"):
                with pytest.raises(WouldDeadlock):
                    await m.aio.get_or_compute("other", AsyncFactory(2))
            factory.open()
            assert await soon(task) == 1

        asyncio.run(main())
        assert_landed(m, {"k": 1})


class TestWouldDeadlock:
    def test_for_ones_own_key(self, loop_name):
        m = ConcurrentMap()

        async def again():
            await asyncio.sleep(0)
            return await m.aio.get_or_compute("k", Factory(1))

        def in_sync():
            return m.get_or_compute("k", Factory(1))

        async def main():
            for factory in (again, in_sync):
                with pytest.raises(WouldDeadlock, match=r"this (task|thread)"):
                    await soon(m.aio.get_or_compute("k", factory))

        run(main(), loop_name)
        assert_landed(m, {})

    @pytest.mark.parametrize("loops", [1, 2])
    @pytest.mark.parametrize("count", [2, 5])
    def test_over_tasks_in_a_ring(self, count, loops):
        m = ConcurrentMap()
        met = threading.Barrier(count)

        async def ring(n):
            async def factory():
                await asyncio.to_thread(met.wait, HANG)
                return n, await m.aio.get_or_compute((n + 1) % count, Factory("never"))

            try:
                return await m.aio.get_or_compute(n, factory)
            except WouldDeadlock:
                return WouldDeadlock

        with contextlib.ExitStack() as stack:
            there = [stack.enter_context(LoopThread()) for _ in range(loops)]
            tasks = [there[n % loops].spawn(ring(n)) for n in range(count)]
            results = [task.result(HANG) for task in tasks]
        assert results.count(WouldDeadlock) == 1
        assert_landed(m)

    def test_over_a_thread_and_a_task(self):
        m = ConcurrentMap()
        met = threading.Barrier(2)

        def plain():
            met.wait(HANG)
            return m.get_or_compute("task", Factory("thread's"))

        async def factory():
            await asyncio.to_thread(met.wait, HANG)
            return await m.aio.get_or_compute("thread", Factory("task's"))

        running = spawn(outcome(m.get_or_compute, WouldDeadlock), "thread", plain)
        with LoopThread() as there:
            task = there.spawn(m.aio.get_or_compute("task", factory))
            results = [running.result(), outcome(task.result, WouldDeadlock)(HANG)]
        assert results.count(WouldDeadlock) == 1
        assert_landed(m)

    def test_a_thread_that_stops_its_loop_stops_its_tasks(self):
        """A sync wait in a loop's thread, where that is allowed, is part of the ring: its tasks cannot go on."""
        m = ConcurrentMap()
        asks = threading.Event()

        def needs_the_task():
            assert asks.wait(HANG)
            waiters(m, "thread", 1)
            with pytest.raises(WouldDeadlock, match="'task'"):
                m.get_or_compute("task", Factory("never"))
            return "thread's"

        async def main():
            factory = AsyncFactory("task's", closed=True)
            task = await begun(m, "task", factory)
            running = spawn(m.get_or_compute, "thread", needs_the_task)
            while "thread" not in m._state():
                await asyncio.sleep(0)
            asks.set()
            with allow_blocking():
                assert m.get_or_compute("thread", Factory("never")) == "thread's"
            assert running.result() == "thread's"
            factory.open()
            assert await soon(task) == "task's"

        asyncio.run(main())
        assert_landed(m)

    def test_another_task_of_the_factory_is_another_owner(self):
        """Nobody knows that the factory waits for a task that it made; deadlocks() does not either. A timeout helps."""
        m = ConcurrentMap()

        async def factory():
            with pytest.raises(Timeout):
                await asyncio.create_task(m.aio.get_or_compute("k", Factory(2), timeout=0.001))
            return 1

        assert asyncio.run(m.aio.get_or_compute("k", factory)) == 1


class TestCancellation:
    def test_at_every_step_of_waiting(self, loop_name):
        """The next who waits computes, or gets the value; nothing is lost."""
        m = factory = running = behind = None

        def begin():
            nonlocal m, factory, running, behind
            m = ConcurrentMap()
            factory = Factory(Fault, closed=True)
            running = computing(m, "k", factory)
            coroutine = m.aio.get_or_compute("k", AsyncFactory("mine"))
            behind = None
            return coroutine, wake

        def wake():
            if behind is None:
                more()
            factory.open()
            running.join()

        def more():
            nonlocal behind
            behind = spawn(m.get_or_compute, "k", Factory("behind"))
            eventually(lambda: ("thread", "parked") in m._state().get("k", []) or not behind.alive)

        async def check():
            if behind is not None:
                assert await asyncio.to_thread(behind.result) == "behind"
            factory.open()
            running.join()
            await asyncio.to_thread(eventually, lambda: m._state() == {})
            assert_landed(m)

        async def main():
            assert await cancel_at_every_step(begin, check) >= 1

        run(main(), loop_name)

    @pytest.mark.parametrize("fails", [False, True])
    @pytest.mark.parametrize("entered", [False, True])
    def test_of_who_computes_at_every_turn(self, entered, fails, loop_name):
        """While others wait, and with `entered` while an entry keeps the value from being published: one of the others
        computes then, and all of them get its value."""
        m = factory = others = holder = None

        async def holds():
            async with m.aio.entry("k"):
                await turns(8)

        async def computes():
            with contextlib.suppress(Fault):
                await m.aio.get_or_compute("k", factory)

        def make():
            nonlocal m, factory, others, holder
            m = ConcurrentMap()
            factory = AsyncFactory(*([Fault] if fails else []), "value", turns=3)
            holder = asyncio.create_task(holds()) if entered else None
            others = []
            asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, join)
            return computes()

        def join():
            others.extend(asyncio.ensure_future(m.aio.get_or_compute("k", AsyncFactory("other"))) for _ in range(3))

        async def check():
            await turns(5)
            assert len(set(await soon(asyncio.gather(*others)))) == 1
            if entered:
                await soon(holder)
            assert factory.runs == len(factory.ended)
            assert_landed(m, {"k": m["k"]})

        async def main():
            assert await cancel_everywhere(make, check) >= 3

        run(main(), loop_name)

    @pytest.mark.parametrize("how", ["throw", "close", "drop"])
    def test_the_factorys_coroutine_ends_with_it(self, how):
        m = ConcurrentMap()

        async def main():
            factory = AsyncFactory("first", closed=True)
            stepper = Stepper(m.aio.get_or_compute("k", factory))
            while not factory._futures:
                stepper.step()
            waiter = await waits(m, "k", AsyncFactory("second"))
            if how == "throw":
                stepper.throw(Fault())
                with pytest.raises(Fault):
                    stepper.result()
                assert factory.ended == [Fault]
            elif how == "close":
                stepper.close()
                assert factory.ended == [GeneratorExit]
            else:
                del stepper
                gc.collect()
                assert factory.ended == [GeneratorExit]
            assert await soon(waiter) == "second"

        asyncio.run(main())
        assert_landed(m, {"k": "second"})

    def test_one_that_swallows_the_cancellation_gives_its_value(self):
        m = ConcurrentMap()

        async def factory():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(HANG)
            return "all the same"

        async def main():
            task = asyncio.create_task(m.aio.get_or_compute("k", factory))
            await turns()
            task.cancel()
            assert await soon(task) == "all the same"

        asyncio.run(main())
        assert_landed(m, {"k": "all the same"})

    def test_a_timeout_around_the_call_passes_the_turn_on(self):
        m = ConcurrentMap()

        async def main():
            slow = AsyncFactory("slow", closed=True)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.005):
                    async with asyncio.TaskGroup() as group:
                        group.create_task(m.aio.get_or_compute("k", slow))
            assert slow.ended == [asyncio.CancelledError]
            assert await soon(m.aio.get_or_compute("k", AsyncFactory("next"))) == "next"

        asyncio.run(main())
        assert_landed(m, {"k": "next"})


class TestLoops:
    def test_a_loop_closed_with_its_factory_suspended_passes_the_turn_on(self, loop_name):
        m = ConcurrentMap()
        loop = new_loop(loop_name)
        task = loop.create_task(m.aio.get_or_compute("k", AsyncFactory("never", closed=True)))
        loop.run_until_complete(turns())
        others = [spawn(m.get_or_compute, "k", Factory("next")) for _ in range(3)]
        waiters(m, "k", 3)
        loop.close()
        assert [one.result() for one in others] == ["next"] * 3
        assert not task.done()
        task._log_destroy_pending = False
        assert_landed(m, {"k": "next"})
        with contextlib.suppress(RuntimeError):  # by a future of a closed loop
            task.get_coro().close()
        assert_landed(m, {"k": "next"})

    def test_a_loop_closed_with_tasks_that_wait_passes_over_them(self, loop_name):
        m = ConcurrentMap()
        factory = Factory(Fault, closed=True)
        running = computing(m, "k", factory)
        loop = new_loop(loop_name)
        tasks = [loop.create_task(m.aio.get_or_compute("k", AsyncFactory("never"))) for _ in range(3)]
        loop.run_until_complete(turns())
        behind = spawn(m.get_or_compute, "k", Factory("behind"))
        waiters(m, "k", 4)
        loop.close()
        factory.open()
        assert behind.result() == "behind"
        running.join()
        for task in tasks:
            task._log_destroy_pending = False
        assert_landed(m, {"k": "behind"})

    def test_a_loop_that_is_done_with_it_has_one_timer_that_ends_of_itself(self):
        m = ConcurrentMap()
        loop = HandLoop()
        factories = [AsyncFactory(n, closed=True, turns=0) for n in range(3)]
        with loop.running():
            steppers = [Stepper(m.aio.get_or_compute(n, factory)) for n, factory in enumerate(factories)]
            for stepper in steppers:
                stepper.step()
        (timer,) = loop.timers
        with loop.running():
            for stepper in steppers[:2]:
                stepper.close()
        loop.fire(timer)
        (timer,) = loop.timers  # one of them is still suspended
        with loop.running():
            steppers[2].close()
        loop.fire(timer)
        assert loop.timers == []
        assert_landed(m, {})
        loop.close()

    def test_two_runs_on_one_map(self, loop_name):
        m = ConcurrentMap()
        for n in range(2):
            assert run(m.aio.get_or_compute(n, AsyncFactory(n)), loop_name) == n
        assert_landed(m, {0: 0, 1: 1})

    def test_the_map_lives_as_long_as_the_call(self):
        async def main():
            m = ConcurrentMap()
            gone = weakref.ref(m)
            factory = AsyncFactory("value", closed=True)
            task = await begun(m, "k", factory)
            waiter = await waits(m, "k", Factory("never"))
            del m
            gc.collect()
            assert gone() is not None
            factory.open()
            assert await soon(asyncio.gather(task, waiter)) == ["value", "value"]
            return gone

        gone = asyncio.run(main())
        gc.collect()
        assert gone() is None
