"""The async face of a Pool with sync hooks: tasks of any loop, and threads, lease from it and wait in one queue."""

import asyncio
import gc
import inspect
import itertools
import time
import weakref
from functools import partial

import pytest

from ferrule import AsyncLease, Lease, Pool, PoolClosed, PoolTimeout, aio
from tests.support.driver import (
    Followed,
    LoopThread,
    Stepper,
    cancel_at_every_step,
    cancel_everywhere,
    complete,
    new_loop,
    run,
    turns,
)
from tests.support.hostile import returning
from tests.support.pools import (
    Hooks,
    Thing,
    amade,
    arests,
    ause,
    close,
    exhausted,
    figures,
    rests,
    soon,
    waiting_thread,
    waits_behind,
)
from tests.support.race import HANG, eventually, spawn

pytestmark = pytest.mark.filterwarnings("error")


made = partial(amade, asynchronous=False)


async def queued_task(pool, coroutine):
    """A task that waits for an object by now."""
    before = pool.waiting
    task = asyncio.create_task(coroutine)
    await turns()
    assert pool.waiting == before + 1
    return task


class TestOneTask:
    def test_what_need_not_wait_never_suspends(self):
        pool, hooks = made(2, min_size=1)
        assert complete(pool.warm_up()) is None
        lease = complete(pool.acquire())
        assert type(lease) is AsyncLease
        assert complete(lease.release()) is None
        assert complete(complete(pool.acquire(timeout=0)).discard()) is None
        assert complete(pool.acquire()).detach().number == 1
        hooks.live -= 1
        pool.attach(Thing(9))
        hooks.live += 1
        assert complete(pool.retain(returning(True))) == 0
        assert complete(pool.reap()) == 0
        assert complete(pool.resize(1)) is None
        entering = pool.acquire(timeout=1)
        assert complete(entering.__aenter__()) is not None
        complete(entering.__aexit__(None, None, None))
        assert complete(pool.close()) is None
        assert complete(pool.__aexit__(None, None, None)) is None

    def test_nothing_happens_before_the_first_step(self):
        pool, hooks = made(2, min_size=2)
        pool.attach(object())
        calls = [
            pool.acquire(),
            pool.resize(1),
            pool.retain(returning(False)),
            pool.reap(),
            pool.warm_up(),
            pool.close(),
        ]
        for call in calls:
            assert inspect.iscoroutine(call) or hasattr(call, "send")
            call.close()
        assert figures(pool) == (1, 0, 1, 0)
        assert (pool.max_size, pool.closed, hooks.calls) == (2, False, [])

    def test_what_is_never_awaited_warns(self):
        pool, _ = made()
        for call in (pool.acquire, pool.close, pool.reap):
            with pytest.warns(RuntimeWarning, match="never awaited"):
                call()
        assert figures(pool) == (0, 0, 0, 0)

    def test_it_is_awaited_once(self):
        async def main():
            pool, hooks = made()
            acquiring = pool.acquire()
            lease = await acquiring
            with pytest.raises(RuntimeError):
                await acquiring
            await lease.release()
            await arests(pool, hooks)

        run(main())

    def test_async_with_gives_the_object_and_ends_the_lease(self, loop_name):
        async def main():
            pool, hooks = made()
            for _ in range(3):
                async with pool.acquire() as thing:
                    assert thing.number == 0
                    assert figures(pool) == (0, 1, 1, 0)
            assert hooks.destroyed == []
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_a_lease_ends_once(self):
        async def main():
            for first, second in itertools.product(
                (AsyncLease.release, AsyncLease.discard, AsyncLease.detach), repeat=2
            ):
                pool, _ = made()
                lease = await pool.acquire()
                if (ending := first(lease)) and inspect.isawaitable(ending):
                    await ending
                before = figures(pool)
                with pytest.raises(RuntimeError, match="ended"):
                    await second(lease)
                with pytest.raises(RuntimeError, match="ended"):
                    _ = lease.value
                assert figures(pool) == before

        run(main())

    @pytest.mark.parametrize("accepts", [True, False, None])
    @pytest.mark.parametrize("by", ["cancel", "KeyboardInterrupt", "timeout"])
    def test_a_body_ended_by_force_leaves_the_object_to_validate(self, accepts, by, loop_name):
        async def main():
            hooks = Hooks(1)
            pool = aio.Pool(max_size=1, **(hooks.only() if accepts is None else hooks.all()))

            async def body():
                async with pool.acquire():
                    hooks.does["validate"] = lambda _: accepts
                    if by == "KeyboardInterrupt":
                        raise KeyboardInterrupt
                    await asyncio.sleep(HANG)

            if by == "KeyboardInterrupt":
                stepper = Stepper(body())
                stepper.step()
                with pytest.raises(KeyboardInterrupt):
                    stepper.result()
            elif by == "timeout":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(body(), 0.001)
            else:
                task = asyncio.create_task(body())
                await turns()
                task.cancel()
                await asyncio.wait([task])
            assert hooks.destroyed == ([] if accepts else [0])
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_an_exception_in_the_body_gives_the_object_back(self):
        async def main():
            pool, hooks = made()
            with pytest.raises(KeyError):
                async with pool.acquire():
                    raise KeyError
            assert hooks.destroyed == []
            await arests(pool, hooks)

        run(main())

    def test_async_with_on_the_pool_closes_it(self):
        async def main():
            hooks = Hooks(1)
            async with aio.Pool(max_size=1, **hooks.all()) as pool:
                assert isinstance(pool, aio.Pool)
                await ause(pool)
            assert pool.closed
            hooks.check(0)
            with pytest.raises(PoolTimeout):
                async with aio.Pool(object, max_size=1, wait_timeout=0.001) as other:
                    lease = await other.acquire()
            await lease.release()

        run(main())

    def test_arguments_are_refused_by_the_call(self):
        pool, _ = made()
        for call, error in (
            (lambda: pool.acquire(timeout=-1), ValueError),
            (lambda: pool.acquire(timeout="1"), TypeError),
            (lambda: pool.acquire(1), TypeError),
            (lambda: pool.close(timeout=-1), ValueError),
            (lambda: pool.resize(0), ValueError),
            (lambda: pool.resize("1"), TypeError),
            (lambda: pool.retain(None), TypeError),
            (lambda: pool.acquire_or(None), TypeError),
        ):
            with pytest.raises(error):
                call()

    def test_constructing_a_face_makes_a_pool(self):
        pool = aio.Pool(object, max_size=3, create_timeout=1)
        assert isinstance(pool.sync, Pool)
        assert pool == pool.sync.aio
        assert pool != aio.Pool(object, max_size=3)
        assert pool != 5
        assert len({pool, pool.sync.aio}) == 1
        for error, options in ((ValueError, {"max_size": 0}), (TypeError, {}), (ValueError, {"order": "x"})):
            with pytest.raises(error):
                aio.Pool(object, **({"max_size": 1, **options} if options else {}))


class TestTimeouts:
    def test_the_error_tells_what_there_was(self, loop_name):
        async def main():
            pool, (lease,) = exhausted()
            for timeout in (0, 0.001):
                with pytest.raises(PoolTimeout) as caught:
                    await pool.aio.acquire(timeout=timeout)
                error = caught.value
                assert (error.stage, error.size, error.in_use, error.waiting) == ("wait", 1, 1, 0)
            with pytest.raises(PoolTimeout):
                async with pool.aio.acquire(timeout=0.001):
                    raise AssertionError
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.aio.acquire(timeout=None), 0.001)
            assert pool.stats()["timeouts"] == 3
            assert pool.waiting == 0
            lease.release()
            rests(pool)

        run(main(), loop_name)

    def test_the_pools_own_timeout(self):
        async def main():
            pool, (lease,) = exhausted(wait_timeout=0.001)
            with pytest.raises(PoolTimeout, match=r"within 0\.001 s"):
                await pool.aio.acquire()
            task = await queued_task(pool, ause(pool.aio, timeout=None))
            lease.release()
            await soon(task)

        run(main())

    @pytest.mark.parametrize("limit", [{"create_timeout": 1}, {"validate_timeout": 1}, {"create_timeout": 0}])
    def test_limits_for_async_hooks_are_refused_with_sync_ones(self, limit):
        async def main():
            pool, hooks = made(**limit)
            with pytest.raises(ValueError, match="async"):
                await ause(pool)
                await ause(pool)
            assert figures(pool) == (0, 0, 0, 0)
            hooks.check(0)

        run(main())

    def test_a_limit_for_a_validate_that_is_not_there_is_refused(self):
        with pytest.raises(ValueError, match="validate"):
            aio.Pool(object, max_size=1, validate_timeout=1)

    def test_close_waits_for_leases(self, loop_name):
        async def main():
            pool, hooks = made(2)
            first, second = await pool.acquire(), await pool.acquire()
            await first.release()
            for timeout in (0, 0.001):
                with pytest.raises(PoolTimeout) as caught:
                    await pool.close(timeout=timeout)
                assert caught.value.stage == "close"
            closing = [asyncio.create_task(pool.close()) for _ in range(3)]
            doomed = asyncio.create_task(pool.close())
            thread = spawn(pool.sync.close)
            await turns()
            doomed.cancel()
            await asyncio.wait([doomed])
            assert doomed.cancelled()
            assert not any(task.done() for task in closing)
            await second.release()
            await soon(asyncio.gather(*closing))
            thread.result()
            hooks.check(0)

        run(main(), loop_name)


class TestQueue:
    def test_what_comes_back_is_the_first_tasks_at_once(self, loop_name):
        """Nobody overtakes it, not even who gave the object back, however short the wait was."""

        async def main():
            for _ in range(20):
                pool, (lease,) = exhausted()
                first, second = Stepper(pool.aio.acquire()), Stepper(pool.aio.acquire())
                first.step()
                second.step()
                lease.release()
                assert pool.try_acquire() is None
                first.step()
                await first.result().release()
                assert pool.try_acquire() is None
                second.step()
                await second.result().release()
                rests(pool)

        run(main(), loop_name)

    def test_tasks_and_threads_are_served_in_turn(self, loop_name):
        async def main(there):
            pool, (lease,) = exhausted()
            served = []

            def in_thread(number):
                with pool.acquire(timeout=HANG):
                    served.append(number)

            async def in_task(number):
                async with pool.aio.acquire():
                    served.append(number)

            waiters = []
            for number in range(12):
                match number % 3:
                    case 0:
                        waiters.append(waits_behind(pool, lambda n=number: spawn(in_thread, n)))
                    case 1:
                        waiters.append(await queued_task(pool, in_task(number)))
                    case 2:
                        waiters.append(waits_behind(pool, lambda n=number: there.spawn(in_task(n))))
            lease.release()
            while len(served) < 12:
                await asyncio.sleep(0.0005)
            for number, waiter in enumerate(waiters):
                if number % 3 == 1:
                    await waiter
                else:
                    waiter.result()
            assert served == list(range(12))
            rests(pool)

        with LoopThread(loop_name) as there:
            run(main(there), loop_name)

    def test_close_tells_everybody(self, loop_name):
        async def main(there):
            pool, (lease,) = exhausted()
            task = await queued_task(pool, ause(pool.aio))
            thread = waiting_thread(pool)
            other = waits_behind(pool, lambda: there.spawn(ause(pool.aio)))
            close(pool)
            for waiting in (task, asyncio.wrap_future(other), asyncio.to_thread(thread.result)):
                with pytest.raises(PoolClosed):
                    await soon(waiting)
            lease.release()
            assert figures(pool) == (0, 0, 0, 0)

        with LoopThread(loop_name) as there:
            run(main(there), loop_name)

    def test_resize_lets_everybody_in(self, loop_name):
        async def main():
            pool, (lease,) = exhausted()
            tasks = [await queued_task(pool, ause(pool.aio)) for _ in range(3)]
            threads = [waiting_thread(pool) for _ in range(2)]
            await pool.aio.resize(6)
            await soon(asyncio.gather(*tasks))
            for thread in threads:
                await asyncio.to_thread(thread.result)
            lease.release()
            rests(pool)

        run(main(), loop_name)

    def test_the_waiting_of_a_closed_loop_are_passed_over(self, loop_name):
        for claimed in (False, True):
            pool, (lease,) = exhausted()
            loop = new_loop(loop_name)
            stepper = []

            async def begin(pool=pool, stepper=stepper):
                stepper.append(Stepper(pool.aio.acquire()))
                stepper[0].step()

            loop.run_until_complete(begin())
            waiting = waiting_thread(pool)
            if claimed:
                lease.release()
            loop.close()
            if not claimed:
                lease.release()
            waiting.result()
            stepper[0].close()
            gc.collect()
            rests(pool)

    def test_one_pool_in_two_runs_and_in_threads(self, loop_name):
        pool, hooks = made(2)
        for _ in range(2):
            run(ause(pool), loop_name)
            spawn(lambda: run(ause(pool), loop_name)).result()
            with pool.sync.acquire():
                pass
        assert pool.stats()["created"] == 1
        rests(pool.sync, hooks)

    def test_ten_thousand_tasks_over_eight_objects_of_which_a_third_is_cancelled(self, loop_name, rng):
        run(crowd(rng), loop_name)

    def test_the_same_with_eager_tasks(self, rng):
        async def main():
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
            await crowd(rng)

        if not hasattr(asyncio, "eager_task_factory"):
            pytest.skip("this Python has no eager tasks")
        run(main())


async def crowd(rng):
    """Ten thousand tasks lease from a pool of eight; three thousand are cancelled, wherever they are by then."""
    pool, hooks = made(8)

    async def work():
        async with pool.acquire(timeout=None):
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(work()) for _ in range(10_000)]
    doomed = rng.sample(tasks, 3_000)
    for number, task in enumerate(doomed):
        task.cancel()
        if number > 1000 and number % 10 == 0:
            await asyncio.sleep(0)
    await asyncio.wait(tasks)
    assert any(task.cancelled() for task in tasks)
    assert {task.exception() for task in tasks if not task.cancelled()} == {None}
    assert figures(pool) == (8, 0, 8, 0)
    await arests(pool, hooks)


def in_a_thread(pool, there):
    waiting = waiting_thread(pool)

    async def end():
        while waiting.alive:
            await asyncio.sleep(0.0005)
        return waiting.result()

    return end


def in_the_same_loop(pool, there):
    stepper = Stepper(ause(pool.aio))
    stepper.step()
    return stepper.finish


def in_another_loop(pool, there):
    future = there.spawn(ause(pool.aio))
    return lambda: asyncio.wrap_future(future)


def wait_for_long():
    """So long that who waits is handed an object, not let go for it."""
    end = time.monotonic() + 0.0015
    while time.monotonic() < end:
        pass


class Stage:
    """A pool whose only object is leased, a coroutine that waits for it, and behind that another waiter."""

    def __init__(self, successor, there, options, takes_long, end):
        self.hooks = Hooks(1)
        self.pool = Pool(max_size=1, **self.hooks.all(), **options)
        self.lease = self.pool.acquire()
        self.successor = successor
        self.there = there
        self.takes_long = takes_long
        self.end = end
        self.end_of_successor = None
        self.coroutine = Followed(ause(self.pool.aio, timeout=HANG), self.follow)

    def follow(self):
        before = self.pool.waiting
        self.end_of_successor = self.successor(self.pool, self.there)
        eventually(lambda: self.pool.waiting == before + 1)
        if self.takes_long:
            wait_for_long()

    def wake(self):
        if self.lease is not None:
            lease, self.lease = self.lease, None
            self.end(lease)

    async def check(self):
        if self.end_of_successor is not None:
            self.wake()
            await self.end_of_successor()
        else:
            self.wake()
        rests(self.pool, self.hooks)


class TestCancelled:
    @pytest.mark.parametrize("takes_long", [False, True], ids=["let go", "handed"])
    @pytest.mark.parametrize(
        ("end", "options"),
        [(Lease.release, {}), (Lease.discard, {}), (Lease.release, {"idle_timeout": 1e-9})],
        ids=["released", "discarded", "stale"],
    )
    @pytest.mark.parametrize("successor", [in_a_thread, in_the_same_loop, in_another_loop])
    def test_one_that_waits_passes_its_turn_on_at_every_step(self, successor, end, options, takes_long, loop_name):
        async def main(there):
            stage = None

            def begin():
                nonlocal stage
                stage = Stage(successor, there, options, takes_long, end)
                return stage.coroutine, stage.wake

            assert await cancel_at_every_step(begin, lambda: stage.check()) >= 1
            await stage.end_of_successor()

        with LoopThread(loop_name) as there:
            run(main(there), loop_name)

    @pytest.mark.parametrize("how", ["close", "resize"])
    @pytest.mark.parametrize("end", ["cancel", "close", "throw"])
    def test_what_it_was_handed_ends_where_it_cannot_stay(self, end, how, loop_name):
        """The pool is closed, or made smaller, between the hand-over and the cancellation."""

        async def main():
            hooks = Hooks(2)
            pool = Pool(max_size=2, **hooks.all())
            first, second = pool.acquire(), pool.acquire()
            stepper = Stepper(pool.aio.acquire())
            stepper.step()
            wait_for_long()
            first.release()
            assert figures(pool) == (0, 2, 2, 0)  # it is the waiter's already
            close(pool) if how == "close" else pool.resize(1)
            match end:
                case "cancel":
                    stepper.cancel()
                    stepper.step()
                case "throw":
                    stepper.throw(KeyError())
                case "close":
                    stepper.close()
            del stepper
            gc.collect()
            assert hooks.destroyed == [0]
            second.release()
            if how == "close":
                pool.close(timeout=0)
                hooks.check(0)
            else:
                rests(pool, hooks)

        run(main(), loop_name)

    @pytest.mark.parametrize("what", ["acquire", "use", "release", "close", "resize", "retain"])
    def test_a_task_is_cancelled_after_each_turn(self, what, loop_name):
        async def main():
            pool = hooks = lease = waiting = None

            def make():
                nonlocal pool, hooks, lease, waiting
                pool, hooks = made(1)
                waiting = []
                if what == "close":
                    lease = pool.try_acquire()
                    asyncio.get_running_loop().call_soon(lambda: complete(lease.release()))
                    return pool.close()
                if what in ("acquire", "use"):
                    lease = pool.try_acquire()
                    asyncio.get_running_loop().call_soon(lambda: complete(lease.release()))
                    waiting.append(asyncio.create_task(ause(pool)))
                match what:
                    case "acquire":
                        return acquire_and_release(pool)
                    case "use":
                        return ause(pool)
                    case "release":
                        return acquire_and_release(pool)
                    case "resize":
                        return pool.resize(1)
                    case "retain":
                        pool.attach(object())
                        return pool.retain(returning(False))

            async def check():
                for task in waiting:
                    await soon(task)
                if what == "close":
                    await pool.close(timeout=0)
                    hooks.check(0)
                elif what == "retain":
                    assert pool.in_use == 0
                else:
                    await arests(pool, hooks)

            await cancel_everywhere(make, check)

        run(main(), loop_name)

    def test_a_lease_that_arrives_with_the_cancellation_is_not_lost(self, loop_name):
        async def main():
            for turn in range(4):
                pool, (lease,) = exhausted()
                task = asyncio.create_task(pool.aio.acquire())
                await turns()
                lease.release()
                await turns(turn)
                task.cancel()
                await asyncio.wait([task])
                if not task.cancelled():
                    await task.result().release()
                del task
                rests(pool)

        run(main(), loop_name)


async def acquire_and_release(pool):
    lease = await pool.acquire()
    await lease.release()


class TestCollected:
    def test_its_object_goes_back(self, loop_name):
        async def main():
            pool, hooks = made()
            lease = await pool.acquire()
            thing = lease.value
            with pytest.warns(ResourceWarning, match="collected"):
                del lease
                gc.collect()
            assert hooks.events == [("abandoned", thing, None)]
            assert hooks.destroyed == []
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_a_waiting_task_gets_it(self, loop_name):
        async def main():
            pool, hooks = made()
            leases = [await pool.acquire()]
            task = await queued_task(pool, ause(pool))
            with pytest.warns(ResourceWarning):
                leases.clear()
                gc.collect()
            assert (await soon(task)).number == 0
            await arests(pool, hooks)

        run(main(), loop_name)

    def test_debug_tells_where_it_was_taken(self):
        async def main():
            pool = aio.Pool(object, max_size=1, debug=True)
            lease = await pool.acquire()
            with pytest.warns(ResourceWarning, match=r"test_pool_aio\.py"):
                del lease
                gc.collect()

        run(main())

    def test_a_suspended_acquire_that_is_dropped_leaves_the_queue(self, loop_name):
        async def main():
            pool, (lease,) = exhausted()
            stepper = Stepper(pool.aio.acquire())
            stepper.step()
            assert pool.waiting == 1
            stepper.close()
            assert pool.waiting == 0
            lease.release()
            rests(pool)

        run(main(), loop_name)

    def test_a_pool_with_a_waiting_task_in_a_cycle_is_collected(self):
        async def main():
            pool = aio.Pool(list, max_size=1)
            seen = weakref.ref(pool.sync)
            lease = await pool.acquire()
            stepper = Stepper(pool.acquire(timeout=None))  # a timer of the loop would keep it
            stepper.step()
            lease.value.extend([pool, stepper, lease])
            with pytest.warns(ResourceWarning):
                del pool, lease, stepper
                gc.collect()
            for _ in range(3):  # what is woken comes alive once more
                await turns()
                gc.collect()
            assert seen() is None

        run(main())
