"""Async hooks of a Pool: each failing and hanging; the loop that the pool belongs to from then on."""

import asyncio
import contextlib
import gc
import itertools
import threading
import weakref

import pytest

from ferrule import AsyncLease, PoolTimeout, aio
from tests.support.driver import LoopThread, complete, new_loop, run, turns
from tests.support.hostile import raising, returning, unraisable
from tests.support.pools import Thing, amade, arests, ause, figures, soon
from tests.support.race import HANG, eventually, outcome, spawn

pytestmark = pytest.mark.filterwarnings("error")

NAMES = ["create", "reset", "validate", "destroy", "on_event"]
FAILURES = [returning(False), raising(KeyError)]
each_failure = pytest.mark.parametrize("fails", FAILURES, ids=["False", "raises"])


class Fatal(BaseException):
    """What is no Exception, and ends no event loop."""


async def use(pool):
    """The number of an object that was leased and given back."""
    return (await ause(pool)).number


async def waiting_tasks(pool, count):
    tasks = [asyncio.create_task(use(pool)) for _ in range(count)]
    while pool.waiting < count:
        await asyncio.sleep(0)
    return tasks


async def filled(size, **options):
    """A pool with so many idle objects."""
    pool, hooks = amade(size, **options)
    for lease in [await pool.acquire() for _ in range(size)]:
        await lease.release()
    return pool, hooks


async def never():
    await asyncio.sleep(10 * HANG)


async def provoke(pool, hooks, name):
    """Has the hook called once, and gives what was leased back, for a pool that has an idle object."""
    if name == "on_event":
        hooks.does["reset"] = returning(False)
    if name == "create":
        await pool.retain(returning(False))
    lease = await pool.acquire()
    await (lease.discard() if name == "destroy" else lease.release())


class TestEach:
    def test_all_are_awaited(self, loop_name):
        async def main():
            pool, hooks = await filled(1)
            await use(pool)
            assert hooks.calls == [("create", 0), ("reset", 0), ("validate", 0), ("reset", 0)]
            await pool.close()
            assert hooks.calls[-1] == ("destroy", 0)
            hooks.check(0)

        run(main(), loop_name)

    def test_creates_of_different_slots_run_side_by_side(self):
        async def main():
            pool, hooks = amade(4)
            inside = []

            async def together():
                inside.append(1)
                while len(inside) < 4:
                    await asyncio.sleep(0)

            hooks.does["create"] = together
            leases = await soon(asyncio.gather(*(pool.acquire() for _ in range(4))))
            for lease in leases:
                await lease.release()
            await arests(pool, hooks)

        run(main())

    @pytest.mark.parametrize("error", [KeyError, Fatal])
    def test_create_that_raises_reaches_the_caller_and_serves_the_next(self, error, loop_name):
        async def main():
            pool, hooks = amade()
            turn = itertools.count()

            async def create():
                if next(turn) == 0:
                    await turns()
                    assert pool.waiting == 3
                    raise error

            hooks.does["create"] = create
            first = asyncio.create_task(pool.acquire())
            await asyncio.sleep(0)
            tasks = await waiting_tasks(pool, 3)
            with pytest.raises(error):
                await soon(first)
            assert await soon(asyncio.gather(*tasks)) == [1, 1, 1]
            await arests(pool, hooks)

        run(main(), loop_name)

    @each_failure
    @pytest.mark.parametrize("name", ["reset", "validate"])
    def test_one_that_fails_ends_the_object_and_serves_the_next(self, name, fails, loop_name):
        async def main():
            pool, hooks = amade(2)
            leases = [await pool.acquire(), await pool.acquire()]
            tasks = await waiting_tasks(pool, 5)
            failing = {0, 1}
            hooks.does[name] = lambda thing: fails() if thing.number in failing else None
            for lease in leases:
                await lease.release()
            numbers = await soon(asyncio.gather(*tasks))
            assert set(numbers) <= {2, 3}
            assert hooks.destroyed == [0, 1]
            assert [type(error) for _, error in hooks.named(name)] == [
                KeyError if fails is FAILURES[1] else type(None)
            ] * 2
            await arests(pool, hooks)

        run(main(), loop_name)

    @pytest.mark.parametrize("name", ["reset", "validate", "destroy", "on_event"])
    def test_what_is_no_exception_reaches_the_caller_and_loses_no_slot(self, name, loop_name):
        for asynchronous in (True, tuple(other for other in NAMES if other != name)):

            async def main(asynchronous=asynchronous):
                pool, hooks = await filled(1, asynchronous=asynchronous)
                hooks.does[name] = raising(Fatal)
                with pytest.raises(Fatal):
                    await soon(provoke(pool, hooks, name))
                assert figures(pool) == (0, 0, 0, 0)
                await arests(pool, hooks)

            run(main(), loop_name)

    @pytest.mark.parametrize("name", ["reset", "destroy"])
    def test_a_lease_kept_after_a_hook_that_ended_by_force_has_no_slot(self, name, loop_name):
        """Also where the hook is sync: the slot is free as soon as the caller is told."""

        async def main(asynchronous):
            pool, hooks = await filled(1, asynchronous=asynchronous)
            lease = await pool.acquire()
            (waiting,) = await waiting_tasks(pool, 1)
            hooks.does[name] = lambda thing: raising(Fatal)() if thing.number == 0 else None
            with pytest.raises(Fatal):
                await soon(lease.release() if name == "reset" else lease.discard())
            assert await soon(waiting) == 1
            assert repr(lease).endswith(", ended>")
            await arests(pool, hooks)

        for asynchronous in (False, True, ("destroy",), ("reset",)):
            run(main(asynchronous), loop_name)

    def test_destroy_that_raises_goes_to_on_event(self):
        async def main():
            pool, hooks = await filled(3)
            hooks.does["destroy"] = raising(KeyError)
            assert await pool.retain(returning(False)) == 3
            assert [type(error) for _, error in hooks.named("destroy")] == [KeyError] * 3
            await arests(pool, hooks)

        run(main())

    def test_on_event_that_raises_is_shown(self):
        async def main():
            pool, hooks = await filled(1)
            hooks.does["on_event"] = raising(ZeroDivisionError)
            with unraisable() as seen:
                await provoke(pool, hooks, "on_event")
            assert [type(error) for error in seen] == [ZeroDivisionError]
            await arests(pool, hooks)

        run(main())

    def test_a_future_or_any_awaitable_will_do(self, loop_name):
        class Awaitable:
            def __await__(self):
                yield from asyncio.sleep(0).__await__()
                return "made"

        async def main():
            future = asyncio.get_running_loop().create_future()
            future.set_result("made")
            for given in (future, Awaitable()):
                pool = aio.Pool(lambda given=given: given, max_size=1)
                async with pool.acquire() as obj:
                    assert obj == "made"

        run(main(), loop_name)


class TestTimeLimits:
    @pytest.mark.parametrize("name", ["create", "validate"])
    def test_one_that_hangs_is_cancelled(self, name, loop_name):
        async def main():
            pool, hooks = amade(1, **{f"{name}_timeout": 0.001})
            hooks.slow = False  # who never suspends is never late
            await use(pool)
            hanging = []

            async def hang(*_):
                if hanging:
                    return
                hanging.append("begun")
                try:
                    await never()
                finally:
                    hanging.append("cancelled")

            if name == "create":
                await pool.retain(returning(False))
            hooks.does[name] = hang
            first = asyncio.create_task(use(pool))
            while not hanging:
                await asyncio.sleep(0)
            tasks = await waiting_tasks(pool, 2)
            if name == "create":
                with pytest.raises(PoolTimeout, match="create of") as caught:
                    await soon(first)
                error = caught.value
            else:
                assert await soon(first) == 1  # a new one
                (((_, error)),) = hooks.named("validate")
            assert (type(error), error.stage, error.size, error.in_use) == (PoolTimeout, name, 1, 1)
            assert error.waiting == 2
            assert isinstance(error.__cause__, TimeoutError)
            assert hanging == ["begun", "cancelled"]
            assert len(set(await soon(asyncio.gather(*tasks)))) == 1
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_its_own_timeout_error_is_an_error_like_any_other(self):
        async def main():
            pool, hooks = await filled(1, validate_timeout=HANG, create_timeout=HANG)
            hooks.does["validate"] = raising(TimeoutError)
            assert await use(pool) == 1
            assert [type(error) for _, error in hooks.named("validate")] == [TimeoutError]
            hooks.does["create"] = raising(TimeoutError)
            with pytest.raises(TimeoutError) as caught:
                await use(pool)
            assert type(caught.value) is TimeoutError
            await arests(pool, hooks)

        run(main())

    def test_one_that_is_in_time_is_not_disturbed(self, loop_name):
        async def main():
            pool, hooks = await filled(1, validate_timeout=HANG, create_timeout=HANG)
            for _ in range(5):
                assert await use(pool) == 0
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_a_cancellation_is_not_taken_for_a_timeout(self, loop_name):
        async def main():
            pool, hooks = amade(create_timeout=HANG)
            hooks.does["create"] = never
            task = asyncio.create_task(use(pool))
            await turns()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_a_wait_for_around_it_is_not_taken_for_the_limit(self, loop_name):
        async def main():
            pool, hooks = amade(create_timeout=HANG)
            hooks.does["create"] = never
            with pytest.raises(TimeoutError) as caught:
                await asyncio.wait_for(use(pool), 0.001)
            assert not isinstance(caught.value, PoolTimeout)
            await arests(pool, hooks)

        run(main(), loop_name)


class TestItsLoop:
    def test_an_async_hook_binds_the_pool_to_the_loop_that_calls_it(self, loop_name):
        with LoopThread(loop_name) as there:
            pool, hooks = amade(2)
            assert pool.sync.aio == pool  # no hook has been called yet
            lease = there.run(pool.acquire())
            with pytest.raises(TypeError, match="async hooks"):
                _ = pool.sync

            async def main():
                for call in (pool.acquire, lease.release, lease.discard, pool.reap, pool.warm_up, pool.close):
                    with pytest.raises(RuntimeError, match="another event loop"):
                        await call()
                for wait in (pool.resize(1), pool.retain(returning(False)), use(pool)):
                    with pytest.raises(RuntimeError, match="another event loop"):
                        await wait
                for call in (pool.try_acquire, lambda: pool.acquire_or(list), lambda: pool.attach(object())):
                    with pytest.raises(RuntimeError, match="another event loop"):
                        call()

            run(main(), loop_name)
            assert figures(pool) == (0, 1, 1, 0)
            assert (pool.max_size, pool.closed) == (2, False)
            there.run(lease.release())
            there.run(arests(pool, hooks))

    @pytest.mark.parametrize("name", NAMES)
    def test_whichever_hook_it_is(self, name, loop_name):
        pool, hooks = amade(2, asynchronous=(name,))

        async def main():
            await use(pool)
            assert (name == "create") is (outcome(lambda: pool.sync, TypeError)() is TypeError) or name == "reset"
            await provoke(pool, hooks, name)
            with pytest.raises(TypeError):
                _ = pool.sync

        run(main(), loop_name)
        with pytest.raises(RuntimeError, match="another event loop"):
            run(use(pool), loop_name)

    def test_a_second_run_is_another_loop(self, loop_name):
        pool, _ = amade()
        run(use(pool), loop_name)
        with pytest.raises(RuntimeError, match="another event loop"):
            run(use(pool), loop_name)
        assert figures(pool) == (1, 0, 1, 0)

    def test_while_one_loop_makes_an_object_another_cannot(self, loop_name):
        """Both have called the hook: the second is told, and what it called is closed."""
        with LoopThread(loop_name) as there:
            pool, hooks = amade(2)
            entered = []
            hooks.does["create"] = lambda: entered.append(1) or asyncio.sleep(0.01)
            first = there.spawn(use(pool))
            eventually(lambda: entered)
            with pytest.raises(RuntimeError, match="another event loop"):
                run(use(pool), loop_name)
            first.result(HANG)
            there.run(arests(pool, hooks))

    def test_of_two_loops_that_call_the_hook_at_once_one_has_the_pool(self, loop_name):
        both, given = threading.Barrier(2, timeout=HANG), []

        def create():
            both.wait()
            given.append(asyncio.sleep(0, Thing(0)))
            return given[-1]

        pool = aio.Pool(create, max_size=2)
        with LoopThread(loop_name) as here, LoopThread() as there:
            futures = [here.spawn(use(pool)), there.spawn(use(pool))]
            results = [outcome(future.result, RuntimeError)(HANG) for future in futures]
        assert sorted(results, key=str) == [0, RuntimeError]
        assert figures(pool) == (1, 0, 1, 0)
        assert [coroutine.cr_frame for coroutine in given] == [None, None]

    def test_a_sync_face_taken_before_leases_what_it_can_without_a_hook(self):
        pool, hooks = amade(2)
        sync = pool.sync
        with pytest.raises(TypeError, match="awaitable"):
            sync.acquire()
        assert figures(pool) == (0, 0, 0, 0)
        run(use(pool))
        hooks.check(1)

    def test_it_keeps_its_loop_and_dies_with_it(self):
        loop = new_loop("asyncio")
        pool, _ = amade()
        loop.run_until_complete(use(pool))
        loop.close()
        seen = weakref.ref(loop)
        del loop
        gc.collect()
        assert seen() is not None
        del pool
        gc.collect()
        assert seen() is None


class TestWithoutWaiting:
    """try_acquire() and acquire_or() never await: where a hook would have to be awaited they give what they give."""

    def test_a_create_that_has_to_be_awaited(self, loop_name):
        async def main():
            pool, hooks = amade()
            for _ in range(3):  # the first time it shows by being called
                assert pool.try_acquire() is None
                lease = pool.acquire_or(lambda: Thing(99))
                assert lease.value.number == 99
                hooks.live += 1
                await lease.release()
            assert len([call for call in hooks.calls if call[0] == "create"]) <= 1
            assert hooks.most <= 1
            hooks.most = hooks.live
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_a_validate_that_has_to_be_awaited(self, loop_name):
        async def main():
            pool, hooks = await filled(1)
            for _ in range(3):
                assert pool.try_acquire() is None
                assert figures(pool) == (1, 0, 1, 0)
            lease = pool.acquire_or(lambda: "over")
            assert lease.value == "over"
            assert lease.detach() == "over"
            assert hooks.destroyed == []
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_what_need_not_be_awaited_is_leased(self):
        async def main():
            pool, hooks = await filled(2, asynchronous=("create", "reset", "destroy", "on_event"))
            lease = pool.try_acquire()
            assert type(lease) is AsyncLease
            other = pool.acquire_or(pytest.fail)
            assert pool.try_acquire() is None
            await lease.release()
            await other.release()
            await arests(pool, hooks)

        run(main())

    def test_outside_of_any_loop_it_is_not_for_a_bound_pool(self):
        pool, _ = amade()
        run(use(pool))
        with pytest.raises(RuntimeError):
            pool.try_acquire()

    @pytest.mark.parametrize("why", ["stale", "refused"])
    def test_an_object_that_must_be_destroyed_is_left_to_the_loop(self, why, loop_name):
        async def main():
            options = {"idle_timeout": 1e-9} if why == "stale" else {}
            pool, hooks = await filled(2, asynchronous=("create", "reset", "destroy", "on_event"), **options)
            if why == "refused":
                hooks.does["validate"] = returning(False)
            assert pool.try_acquire() is None
            while hooks.live:
                await asyncio.sleep(0)
            assert sorted(hooks.destroyed) == [0, 1]
            assert hooks.named("destroy") == []
            while pool.size:
                await asyncio.sleep(0)
            if why == "refused":
                await arests(pool, hooks)

        run(main(), loop_name)

    def test_what_a_fallback_made_is_destroyed_by_an_async_destroy(self):
        async def main():
            pool, hooks = await filled(1)
            lease = await pool.acquire()
            over = pool.acquire_or(lambda: Thing(9))
            hooks.live += 1
            await over.release()
            assert hooks.destroyed == [9]
            await lease.release()
            hooks.most = 1
            await arests(pool, hooks)

        run(main())


class TestCollected:
    def test_with_an_async_reset_it_is_destroyed(self, loop_name):
        async def main():
            pool, hooks = await filled(1)
            leases = [await pool.acquire()]
            (waiting,) = await waiting_tasks(pool, 1)
            with pytest.warns(ResourceWarning, match="collected"):
                leases.clear()
                gc.collect()
            assert await soon(waiting) == 1
            assert hooks.destroyed == [0]
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_with_an_async_destroy_only_it_goes_back(self):
        async def main():
            pool, hooks = await filled(1, asynchronous=("destroy",))
            leases = [await pool.acquire()]
            with pytest.warns(ResourceWarning):
                leases.clear()
                gc.collect()
            assert hooks.destroyed == []
            await arests(pool, hooks)

        run(main())

    def test_in_another_thread_the_loop_destroys_it(self, loop_name):
        with LoopThread(loop_name) as there:
            for _ in range(50):
                pool, hooks = amade(1)
                leases = [there.run(pool.acquire())]
                there.run(turns())  # it keeps what it has just given for an instant
                with pytest.warns(ResourceWarning):
                    leases.clear()
                    gc.collect()
                eventually(lambda h=hooks, p=pool: h.destroyed == [0] and p.size == 0)
                there.run(arests(pool, hooks))

    @pytest.mark.parametrize("asynchronous", [True, ("create", "destroy"), ("create", "reset")])
    def test_when_the_loop_is_closed_the_slot_is_free_all_the_same(self, asynchronous):
        pool, hooks = amade(1, asynchronous=asynchronous)
        loop = new_loop("asyncio")
        leases = [loop.run_until_complete(pool.acquire())]
        loop.close()
        hooks.does["destroy"] = lambda _: None
        with pytest.warns(ResourceWarning):
            leases.clear()
            gc.collect()
        assert pool.in_use == 0

    def test_a_loop_that_closes_before_it_comes_to_it(self):
        pool, _ = amade(1)
        loop = new_loop("asyncio")
        leases = [loop.run_until_complete(pool.acquire())]
        with pytest.warns(ResourceWarning):
            leases.clear()
            gc.collect()
        assert figures(pool) == (0, 1, 1, 0)  # the loop is to end it
        loop.close()
        gc.collect()
        assert figures(pool) == (0, 0, 0, 0)


class TestCallingBack:
    @pytest.mark.parametrize("name", NAMES)
    def test_each_hook_may_use_the_pool(self, name, loop_name):
        async def main():
            pool, hooks = await filled(3)
            done = []

            async def calls_back(*_):
                if done:
                    return
                done.append(name)
                async with pool.acquire(timeout=0):
                    pass
                lease = await pool.acquire()
                await lease.discard()
                await pool.retain(returning(True))
                await pool.reap()
                await pool.warm_up()
                await pool.resize(4)
                await pool.resize(3)

            hooks.limit = 4
            hooks.does[name] = calls_back
            await soon(provoke(pool, hooks, name))
            assert done == [name]
            await arests(pool, hooks)

        run(main(), loop_name)

    @pytest.mark.parametrize("name", NAMES)
    def test_each_hook_may_close_the_pool(self, name, loop_name):
        async def main():
            pool, hooks = await filled(2)
            other = None if name == "create" else await pool.acquire()

            async def closes(*_):
                with contextlib.suppress(PoolTimeout):
                    await pool.close(timeout=0)

            tasks = [] if name == "create" else await one_more(pool)
            hooks.does[name] = closes
            if name == "create":
                await pool.retain(returning(False))
                await (await pool.acquire()).release()
            elif name == "validate":
                await tasks.pop().release()
                await use(pool)
            else:
                if name == "on_event":
                    hooks.does["reset"] = returning(False)
                lease = tasks.pop()
                await (lease.discard() if name == "destroy" else lease.release())
            assert pool.closed
            if other is not None:
                await other.release()
            await pool.close(timeout=0)
            hooks.check(0)

        run(main(), loop_name)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_hook_may_drop_the_last_reference_to_the_pool(self, name, loop_name):
        async def main():
            pool, hooks = await filled(1)
            holder = [pool]
            if name == "create":
                await pool.retain(returning(False))
            hooks.does[name] = lambda *_: holder.clear()
            if name == "on_event":
                hooks.does["reset"] = returning(False)
            del pool
            acquiring = holder[0].acquire()
            lease = await acquiring
            await (lease.discard() if name == "destroy" else lease.release())
            assert holder == []

        run(main(), loop_name)

    def test_a_hook_may_be_hanging_when_the_pool_is_closed(self, loop_name):
        async def main():
            pool, hooks = await filled(2)
            hooks.does["reset"] = lambda _: never()
            task = asyncio.create_task(use(pool))
            await turns(12)
            with pytest.raises(PoolTimeout):
                await pool.close(timeout=0.001)
            assert figures(pool) == (0, 1, 1, 0)
            closing = asyncio.create_task(pool.close())
            await turns()
            task.cancel()
            await soon(closing)
            assert task.cancelled()
            hooks.check(0)

        run(main(), loop_name)


async def one_more(pool):
    return [await pool.acquire()]


class TestUpkeep:
    def test_a_loop_looks_after_it(self, loop_name):
        async def main():
            pool, hooks = amade(3, idle_timeout=1e-9, min_size=1, reap_every=0.001)
            leases = [await pool.acquire() for _ in range(3)]
            for lease in leases:
                await lease.release()
            while figures(pool) != (1, 0, 1, 0):
                await asyncio.sleep(0.001)
            (await pool.acquire()).detach()
            hooks.live -= 1
            while figures(pool) != (1, 0, 1, 0):
                await asyncio.sleep(0.001)
            await pool.close()
            hooks.check(0)

        run(main(), loop_name)

    def test_also_an_object_that_was_attached(self, loop_name):
        async def main():
            pool, hooks = amade(2, idle_timeout=1e-9, reap_every=0.001)
            pool.attach(Thing(5))
            hooks.live += 1
            while pool.size:
                await asyncio.sleep(0.001)
            assert hooks.destroyed == [5]
            assert hooks.events == []
            await pool.close()

        run(main(), loop_name)

    def test_it_keeps_neither_the_pool_nor_the_loop(self, loop_name):
        async def main():
            pool = aio.Pool(object, max_size=1, reap_every=0.001, destroy=never)
            seen = weakref.ref(pool.sync)
            await (await pool.acquire()).release()
            del pool
            gc.collect()
            assert seen() is None

        run(main(), loop_name)

    def test_what_it_cannot_make_goes_to_on_event_and_it_goes_on(self, loop_name):
        async def main():
            pool, hooks = amade(2, min_size=1, reap_every=0.001)
            (await pool.acquire()).detach()
            hooks.live -= 1
            hooks.does["create"] = raising(KeyError)
            while not hooks.named("create"):
                await asyncio.sleep(0.001)
            hooks.does.clear()
            while not pool.idle:
                await asyncio.sleep(0.001)
            await pool.close()
            hooks.check(0)

        run(main(), loop_name)

    def test_after_one_loop_another_does_and_then_a_thread(self, loop_name):
        pool, hooks = amade(2, asynchronous=False, idle_timeout=1e-9, min_size=1, reap_every=0.001)

        async def main():
            async with pool.acquire():
                pool.sync.acquire(timeout=0).release()
            while figures(pool) != (1, 0, 1, 0):
                await asyncio.sleep(0.001)

        for _ in range(3):
            loop = new_loop(loop_name)
            loop.run_until_complete(main())
            while asyncio.all_tasks(loop):  # what it is doing for the pool
                loop.run_until_complete(asyncio.sleep(0))
            loop.close()
        pool.sync.acquire().discard()
        pool.sync.acquire().detach()
        hooks.live -= 1
        eventually(lambda: figures(pool) == (1, 0, 1, 0))
        pool.sync.close()
        hooks.check(0)


def test_threads_that_use_a_pool_which_an_async_hook_binds_meanwhile():
    """A sync face that was there before: its threads get what there is, or are told that a hook must be awaited."""
    pool, hooks = amade(2, asynchronous=("reset",))
    sync = pool.sync

    def threads():
        return outcome(lambda: sync.acquire(timeout=HANG).release(), TypeError)()

    with LoopThread() as there:
        for _ in range(20):
            thread = spawn(threads)
            there.run(use(pool))
            assert thread.result() in (None, TypeError)
        there.run(arests(pool, hooks))


def test_complete_needs_no_loop_where_no_hook_is_async():
    pool, hooks = amade(1, asynchronous=False)
    assert complete(use_without_waiting(pool)) == 0
    hooks.check(1)


async def use_without_waiting(pool):
    async with pool.acquire() as thing:
        return thing.number
