"""A Pool's sync face: how it is made, how objects are leased and given back, and who waits for them."""

import asyncio
import copy
import gc
import pickle
import threading
import time
import types
import weakref

import pytest

from ferrule import (
    AsyncLease,
    BlockingInEventLoop,
    Lease,
    Pool,
    PoolClosed,
    PoolError,
    PoolTimeout,
    Timeout,
    aio,
    allow_blocking,
)
from tests.support.pools import Hooks, close, exhausted, figures, filled, rests, waiting_thread, waits_behind
from tests.support.race import HANG, eventually, outcome, spawn
from tests.support.timeouts import DO_NOT_WAIT, FINITE, FOR_EVER, NEGATIVE, OTHER_TYPES, Index

pytestmark = pytest.mark.filterwarnings("error")


class TestMaking:
    def test_a_new_pool_is_empty_and_makes_nothing(self):
        hooks = Hooks(3)
        pool = Pool(max_size=3, min_size=2, **hooks.all())
        assert figures(pool) == (0, 0, 0, 0)
        assert (pool.max_size, pool.closed) == (3, False)
        assert hooks.calls == []

    @pytest.mark.parametrize("size", [1, True, 7, 2**40, Index(3)])
    def test_sizes(self, size):
        assert Pool(object, max_size=size).max_size == size.__index__()

    @pytest.mark.parametrize(
        ("error", "options"),
        [
            (TypeError, {}),
            (ValueError, {"max_size": 0}),
            (ValueError, {"max_size": -1}),
            (TypeError, {"max_size": 1.5}),
            (TypeError, {"max_size": "1"}),
            (TypeError, {"max_size": None}),
            (IndexError, {"max_size": 2**70}),
            (ValueError, {"max_size": 1, "min_size": 2}),
            (ValueError, {"max_size": 1, "min_size": -1}),
            (TypeError, {"max_size": 1, "min_size": None}),
            (ValueError, {"max_size": 1, "order": "random"}),
            (TypeError, {"max_size": 1, "order": 1}),
            (ValueError, {"max_size": 1, "max_uses": 0}),
            (TypeError, {"max_size": 1, "max_uses": 1.5}),
            (ValueError, {"max_size": 1, "reap_every": 0}),
            (ValueError, {"max_size": 1, "create_timeout": 1}),
            (ValueError, {"max_size": 1, "validate_timeout": 1}),
            (TypeError, {"max_size": 1, "size": 1}),
        ],
    )
    def test_arguments_that_make_no_sense_are_refused(self, error, options):
        if error is IndexError:
            error = (IndexError, OverflowError)
        with pytest.raises(error):
            Pool(object, **options)

    @pytest.mark.parametrize("name", ["create", "reset", "validate", "destroy", "on_event"])
    def test_what_cannot_be_called_is_no_hook(self, name):
        with pytest.raises(TypeError, match=name):
            Pool(**{"create": object, "max_size": 1, name: 5})

    def test_everything_but_create_goes_by_name(self):
        with pytest.raises(TypeError):
            Pool(object, 5)

    @pytest.mark.parametrize("name", ["idle_timeout", "lifetime", "reap_every", "wait_timeout"])
    def test_seconds(self, name):
        for seconds in NEGATIVE:
            with pytest.raises(ValueError):
                Pool(object, max_size=1, **{name: seconds})
        for seconds in OTHER_TYPES:
            with pytest.raises(TypeError):
                Pool(object, max_size=1, **{name: seconds})
        for seconds in [None, 1, 0.5, 1e308]:
            Pool(object, max_size=1, **{name: seconds})

    def test_it_is_generic(self):
        for cls in (Pool, aio.Pool, Lease, AsyncLease):
            assert isinstance(cls[int], types.GenericAlias)
            assert cls[int].__origin__ is cls
        assert Pool[int](int, max_size=1).acquire(timeout=0).detach() == 0

    @pytest.mark.parametrize("cls", [Lease, AsyncLease])
    def test_leases_come_from_a_pool_only(self, cls):
        with pytest.raises(TypeError):
            cls()
        with pytest.raises(TypeError):
            type("Mine", (cls,), {})

    @pytest.mark.parametrize("cls", [Pool, aio.Pool])
    def test_a_pool_has_no_subclasses(self, cls):
        with pytest.raises(TypeError):
            type("Mine", (cls,), {})

    def test_neither_a_pool_nor_a_lease_is_pickled_or_copied(self):
        pool, (lease,) = exhausted()
        other = Pool(object, max_size=1).aio.try_acquire()
        for thing in (pool, pool.aio, lease, other):
            for make in (copy.copy, copy.deepcopy, pickle.dumps):
                with pytest.raises(TypeError, match="pickle or copy"):
                    make(thing)
        lease.release()
        other.detach()

    def test_a_pool_can_be_referred_to_weakly_and_a_lease_cannot(self):
        pool = Pool(object, max_size=1)
        seen = weakref.ref(pool)
        assert seen() is pool
        lease = pool.acquire()
        with pytest.raises(TypeError):
            weakref.ref(lease)
        lease.release()
        del lease, pool
        assert seen() is None

    def test_repr_shows_the_state(self):
        pool, (lease, _) = leased = exhausted(2)
        leased[1].pop().release()
        assert repr(pool).startswith("<ferrule.Pool 1 in use, 1 idle, of 2 at 0x")
        assert repr(pool.aio).startswith("<ferrule.aio.Pool 1 in use, 1 idle, of 2 at 0x")
        assert repr(lease).startswith("<ferrule.Lease of <ferrule.Pool 1 in use")
        assert repr(lease).endswith(", held>")
        lease.release()
        assert repr(lease).endswith(", ended>")
        pool.close()
        assert repr(pool).startswith("<ferrule.Pool closed, 0 in use, 0 idle, of 2")


class TestLeases:
    def test_an_object_is_made_where_none_is_idle_and_used_again_where_one_is(self):
        hooks = Hooks(2)
        pool = Pool(max_size=2, **hooks.all())
        lease = pool.acquire()
        assert type(lease) is Lease
        first = lease.value
        assert figures(pool) == (0, 1, 1, 0)
        assert lease.release() is None
        assert figures(pool) == (1, 0, 1, 0)
        with pool.acquire() as again:
            assert again is first
        assert hooks.calls == [("create", 0), ("reset", 0), ("validate", 0), ("reset", 0)]
        rests(pool, hooks)

    def test_five_threads_get_five_objects(self):
        hooks = Hooks(5)
        pool = Pool(max_size=5, **hooks.all())
        threads = [spawn(pool.acquire) for _ in range(5)]
        leases = [thread.result() for thread in threads]
        assert {lease.value.number for lease in leases} == set(range(5))
        assert pool.try_acquire() is None
        for lease in leases:
            lease.release()
        rests(pool, hooks)

    def test_the_object_that_came_back_last_is_leased_first(self):
        pool, _ = filled(3)
        assert [pool.acquire().detach().number for _ in range(3)] == [2, 1, 0]

    def test_the_object_that_came_back_first_is_leased_first_with_fifo(self):
        pool, _ = filled(3, order="fifo")
        assert [pool.acquire().detach().number for _ in range(3)] == [0, 1, 2]

    @pytest.mark.parametrize("order", ["lifo", "fifo"])
    def test_the_order_over_many_returns(self, order, rng):
        pool = Pool(iter(range(20)).__next__, max_size=20, order=order)
        leased = [pool.acquire() for _ in range(20)]
        idle = []
        for _ in range(500):
            if leased and (not idle or rng.random() < 0.5):
                lease = leased.pop(rng.randrange(len(leased)))
                idle.append(lease.value)
                lease.release()
            else:
                lease = pool.acquire(timeout=0)
                assert lease.value == idle.pop(-1 if order == "lifo" else 0)
                leased.append(lease)
        for lease in leased:
            lease.release()
        rests(pool)

    def test_value_is_the_object_until_the_lease_ends(self):
        for end in (Lease.release, Lease.detach, Lease.discard):
            lease = Pool(dict, max_size=1).acquire()
            assert lease.value is lease.value
            end(lease)
            with pytest.raises(RuntimeError, match="ended"):
                _ = lease.value

    @pytest.mark.parametrize("first", [Lease.release, Lease.detach, Lease.discard])
    @pytest.mark.parametrize("second", [Lease.release, Lease.detach, Lease.discard, Lease.__enter__])
    def test_a_lease_ends_once(self, first, second):
        pool, hooks = filled(2)
        lease = pool.acquire()
        first(lease)
        before = figures(pool), list(hooks.calls)
        with pytest.raises(RuntimeError, match="ended"):
            second(lease)
        assert (figures(pool), hooks.calls) == before

    def test_value_cannot_be_set(self):
        _, (lease,) = exhausted()
        with pytest.raises(AttributeError):
            lease.value = 5
        lease.release()

    def test_with_gives_the_object_and_ends_the_lease(self):
        pool, (lease,) = exhausted()
        value = lease.value
        with lease as obj:
            assert obj is value
        assert figures(pool) == (1, 0, 1, 0)
        with pool.acquire() as obj:
            assert obj is value
            assert pool.in_use == 1

    @pytest.mark.parametrize("end", [Lease.release, Lease.detach, Lease.discard])
    def test_with_ends_quietly_a_lease_that_has_ended(self, end):
        pool, _ = filled(1)
        with (lease := pool.acquire()):
            end(lease)
        assert pool.in_use == 0

    def test_an_exception_in_the_body_gives_the_object_back(self):
        pool, hooks = filled(1)
        with pytest.raises(KeyError), pool.acquire():
            raise KeyError
        assert figures(pool) == (1, 0, 1, 0)
        rests(pool, hooks)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, SystemExit])
    def test_a_body_ended_by_force_destroys_the_object(self, error):
        pool, hooks = filled(1)
        with pytest.raises(error), pool.acquire():
            raise error
        assert figures(pool) == (0, 0, 0, 0)
        assert hooks.destroyed == [0]
        rests(pool, hooks)

    @pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
    @pytest.mark.parametrize("accepts", [True, False])
    def test_a_body_ended_by_force_leaves_it_to_validate(self, error, accepts):
        hooks = Hooks(1)
        pool = Pool(max_size=1, **hooks.all())
        with pytest.raises(error), pool.acquire() as thing:
            hooks.does["validate"] = lambda _: accepts
            raise error
        validated = [("create", 0), ("validate", 0)]
        assert hooks.calls == [*validated, ("reset", 0) if accepts else ("destroy", 0)]
        assert thing.destroyed is not accepts
        rests(pool, hooks)

    def test_a_lease_may_end_in_another_thread(self):
        pool, (lease,) = exhausted()
        spawn(lease.release).result()
        assert figures(pool) == (1, 0, 1, 0)

    def test_a_lease_is_never_used_again_while_alive(self):
        pool, (lease,) = exhausted()
        lease.release()
        other = pool.acquire()
        assert other is not lease
        with pytest.raises(RuntimeError):
            lease.release()
        assert pool.in_use == 1
        other.release()

    def test_a_lease_keeps_its_pool(self):
        pool = Pool(object, max_size=1)
        seen, lease = weakref.ref(pool), pool.acquire()
        del pool
        assert seen() is not None
        lease.release()
        del lease
        assert seen() is None

    @pytest.mark.parametrize("value", [None, 0, "", NotImplemented, ..., False])
    def test_any_object_will_do(self, value):
        hooks = []
        pool = Pool(lambda: value, max_size=1, reset=hooks.append, validate=hooks.append, destroy=hooks.append)
        for _ in range(2):
            with pool.acquire() as obj:
                assert obj is value
        pool.close()
        assert hooks == [value] * 4

    def test_the_same_object_twice(self):
        pool, one = Pool(object, max_size=2), object()
        pool.attach(one)
        pool.attach(one)
        first, second = pool.acquire(), pool.acquire()
        assert first.value is second.value is one
        first.release()
        second.release()
        assert figures(pool) == (2, 0, 2, 0)


class TestDetachDiscardAttach:
    def test_detach_gives_the_object_which_leaves_the_pool(self):
        pool, hooks = filled(2)
        lease = pool.acquire()
        thing = lease.value
        assert lease.detach() is thing
        assert figures(pool) == (1, 0, 1, 0)
        assert hooks.destroyed == []
        hooks.live -= 1
        rests(pool, hooks)

    def test_detach_lets_another_be_made(self):
        pool, (lease,) = exhausted()
        waiting = waiting_thread(pool)
        detached = lease.detach()
        assert waiting.result() is not detached
        rests(pool)

    def test_discard_destroys_and_lets_another_be_made(self):
        pool, hooks = filled(1)
        lease = pool.acquire()
        waiting = waiting_thread(pool)
        lease.discard()
        assert waiting.result().number == 1
        assert hooks.destroyed == [0]
        rests(pool, hooks)

    def test_attach_makes_an_object_one_of_the_pools(self):
        pool = Pool(object, max_size=2)
        mine = object()
        assert pool.attach(mine) is None
        assert figures(pool) == (1, 0, 1, 0)
        with pool.acquire() as obj:
            assert obj is mine
        assert pool.stats()["created"] == 0

    def test_attach_to_a_full_pool_is_refused(self):
        pool, (lease,) = exhausted()
        mine = [[]]
        with pytest.raises(ValueError, match="full"):
            pool.attach(mine[0])
        lease.release()
        with pytest.raises(ValueError, match="full"):
            pool.attach(mine[0])
        assert figures(pool) == (1, 0, 1, 0)
        seen = gc.get_referrers(mine[0])
        assert seen == [mine]

    def test_attach_to_a_closed_pool_is_refused(self):
        pool = Pool(object, max_size=1)
        pool.close()
        with pytest.raises(PoolClosed):
            pool.attach(object())

    def test_what_was_detached_may_come_back(self):
        pool, (lease,) = exhausted()
        obj = lease.detach()
        pool.attach(obj)
        assert pool.acquire().detach() is obj

    def test_attach_calls_no_hook(self):
        hooks = Hooks(1)
        pool = Pool(max_size=1, **hooks.all())
        pool.attach(object())
        assert hooks.calls == []

    def test_attach_serves_who_waits(self):
        """There is room, and somebody waits, only while a new object is refused: here a create that hangs."""
        go, entered = [], []

        def create():
            entered.append(1)
            eventually(lambda: go)
            raise KeyError

        pool = Pool(create, max_size=1)
        making = spawn(outcome(pool.acquire, KeyError))
        eventually(lambda: entered)
        waiting = waiting_thread(pool)
        pool.resize(2)
        eventually(lambda: len(entered) == 2)  # who waited makes one now too
        go.append(1)
        assert making.result() is KeyError
        with pytest.raises(KeyError):
            waiting.result()
        pool.attach(5)
        with pool.acquire() as obj:
            assert obj == 5


class TestAcquireOr:
    def test_an_idle_object_or_room_is_used_first(self):
        pool, hooks = filled(1)
        for _ in range(2):
            with pool.acquire_or(pytest.fail) as thing:
                assert thing.number == 0
        rests(pool, hooks)

    def test_where_it_would_wait_the_fallback_makes_one_beside_the_pool(self):
        pool, (lease,) = exhausted()
        over = pool.acquire_or(lambda: "over")
        assert type(over) is Lease
        assert over.value == "over"
        assert figures(pool) == (0, 1, 1, 0)
        over.release()
        assert figures(pool) == (0, 1, 1, 0)
        lease.release()

    def test_what_the_fallback_made_is_destroyed_when_its_lease_ends(self):
        destroyed = []
        for end in (Lease.release, Lease.discard, lambda lease: lease.__exit__(None, None, None)):
            pool, (lease,) = exhausted(destroy=destroyed.append, reset=pytest.fail)
            end(pool.acquire_or(lambda: "over"))
            assert destroyed == ["over"]
            destroyed.clear()
            assert pool.acquire_or(lambda: "over").detach() == "over"
            assert destroyed == []
            lease.detach()

    def test_pull_from_empty_with_a_fallback_and_drop_all_leaves_idle_unchanged(self):
        pool = Pool(object, max_size=3)
        leases = [pool.acquire_or(list) for _ in range(10)]
        assert figures(pool) == (0, 3, 3, 0)
        for lease in leases:
            lease.release()
        assert figures(pool) == (3, 0, 3, 0)
        again = [pool.acquire_or(list) for _ in range(10)]
        assert sum(isinstance(lease.value, list) for lease in again) == 7
        for lease in reversed(again):
            lease.release()
        assert figures(pool) == (3, 0, 3, 0)
        rests(pool)

    def test_what_the_fallback_raises_reaches_the_caller(self):
        pool, (lease,) = exhausted()
        for error in (KeyError, KeyboardInterrupt):

            def fallback(error=error):
                raise error

            with pytest.raises(error):
                pool.acquire_or(fallback)
        lease.release()
        rests(pool)

    def test_the_fallback_must_be_callable(self):
        pool = Pool(object, max_size=1)
        with pytest.raises(TypeError, match="callable"):
            pool.acquire_or(None)
        assert figures(pool) == (0, 0, 0, 0)

    def test_a_fallback_that_gives_an_awaitable_is_refused(self):
        pool, (lease,) = exhausted()

        async def fallback():
            raise AssertionError

        with pytest.raises(TypeError, match="awaitable"):
            pool.acquire_or(fallback)
        lease.release()

    def test_a_closed_pool_refuses(self):
        pool = Pool(object, max_size=1)
        pool.close()
        with pytest.raises(PoolClosed):
            pool.acquire_or(pytest.fail)

    def test_a_pool_closed_by_the_fallback_refuses(self):
        pool, (lease,) = exhausted()
        with pytest.raises(PoolClosed):
            pool.acquire_or(lambda: close(pool))
        lease.release()

    def test_close_waits_for_it(self):
        pool, (lease,) = exhausted()
        over = pool.acquire_or(list)
        lease.release()
        with pytest.raises(PoolTimeout):
            pool.close(timeout=0)
        over.release()
        pool.close(timeout=0)


class TestWaiting:
    def test_try_acquire_never_waits(self):
        pool, (lease,) = exhausted()
        assert pool.try_acquire() is None
        lease.release()
        with pool.try_acquire() as obj:
            assert obj is not None
        assert pool.stats()["timeouts"] == 0

    def test_who_waits_gets_what_comes_back(self):
        pool, (lease,) = exhausted()
        obj = lease.value
        waiting = waiting_thread(pool, timeout=HANG)
        lease.release()
        assert waiting.result() is obj
        rests(pool)

    def test_a_thread_that_has_waited_for_long_is_handed_what_comes_back(self):
        pool, (lease,) = exhausted()
        enough = threading.Event()

        def keep():
            with pool.acquire(timeout=HANG):
                enough.wait(HANG)

        waiting = waits_behind(pool, lambda: spawn(keep))
        time.sleep(0.002)  # longer than its patience, whichever was drawn
        lease.release()
        assert pool.try_acquire() is None
        enough.set()
        waiting.result()
        rests(pool)

    def test_who_waits_is_served_in_turn(self):
        pool, (lease,) = exhausted()
        served = []

        def wait(number):
            with pool.acquire():
                served.append(number)

        threads = [waits_behind(pool, lambda n=n: spawn(wait, n)) for n in range(8)]
        lease.release()
        for thread in threads:
            thread.result()
        assert served == list(range(8))
        rests(pool)

    @pytest.mark.parametrize("timeout", DO_NOT_WAIT)
    def test_with_no_time_it_does_not_wait(self, timeout):
        pool, (lease,) = exhausted()
        with pytest.raises(PoolTimeout):
            pool.acquire(timeout=timeout)
        assert pool.stats()["waits"] == 0
        lease.release()
        pool.acquire(timeout=timeout).release()

    @pytest.mark.parametrize("timeout", [*FOR_EVER, *FINITE])
    def test_every_kind_of_time(self, timeout):
        pool = Pool(object, max_size=1)
        pool.acquire(timeout=timeout).release()

    @pytest.mark.parametrize("timeout", NEGATIVE)
    def test_times_that_are_refused(self, timeout):
        pool = Pool(object, max_size=1)
        for call in (pool.acquire, pool.close, pool.aio.acquire, pool.aio.close):
            with pytest.raises(ValueError):
                call(timeout=timeout)
        assert not pool.closed

    @pytest.mark.parametrize("timeout", OTHER_TYPES)
    def test_types_that_are_refused(self, timeout):
        pool = Pool(object, max_size=1)
        for call in (pool.acquire, pool.close, pool.aio.acquire, pool.aio.close):
            with pytest.raises(TypeError):
                call(timeout=timeout)
            with pytest.raises(TypeError):
                call(1)
        assert not pool.closed

    def test_the_error_tells_what_there_was(self):
        pool, leases = exhausted(2)
        waiting = waiting_thread(pool)
        with pytest.raises(PoolTimeout) as caught:
            pool.acquire(timeout=0.001)
        error = caught.value
        assert (error.stage, error.size, error.in_use, error.waiting) == ("wait", 2, 2, 1)
        assert "no object" in str(error)
        assert "2 of at most 2 in use, 1 waiting" in str(error)
        assert isinstance(error, (Timeout, PoolError))
        again = pickle.loads(pickle.dumps(error))
        assert (again.stage, again.size, again.in_use, again.waiting) == ("wait", 2, 2, 1)
        for lease in leases:
            lease.release()
        waiting.result()

    def test_the_pools_own_timeout_holds_where_a_call_says_nothing(self):
        pool, (lease,) = exhausted(wait_timeout=0.001)
        with pytest.raises(PoolTimeout, match=r"within 0\.001 s"):
            pool.acquire()
        waiting = waiting_thread(pool, timeout=None)
        lease.release()
        waiting.result()

    def test_thirty_seconds_is_the_default(self):
        pool, (lease,) = exhausted()
        with pytest.raises(BlockingInEventLoop):
            asyncio.run(acting(pool.acquire))
        assert "wait_timeout=30.0" in Pool.__doc__
        lease.release()

    def test_who_timed_out_is_out_of_the_queue(self):
        pool, (lease,) = exhausted()
        for _ in range(100):
            with pytest.raises(PoolTimeout):
                pool.acquire(timeout=1e-6)
        assert pool.waiting == 0
        waiting = waiting_thread(pool)
        lease.release()
        waiting.result()
        rests(pool)

    def test_a_sync_wait_in_a_loops_thread_is_refused(self):
        pool, (lease,) = exhausted()
        for timeout in (None, 1):
            with pytest.raises(BlockingInEventLoop):
                asyncio.run(acting(lambda timeout=timeout: pool.acquire(timeout=timeout)))
        with pytest.raises(PoolTimeout):
            asyncio.run(acting(lambda: pool.acquire(timeout=0)))
        assert asyncio.run(acting(pool.try_acquire)) is None
        with allow_blocking(), pytest.raises(PoolTimeout):
            asyncio.run(acting(lambda: pool.acquire(timeout=0.001)))
        with pytest.raises(BlockingInEventLoop):
            asyncio.run(acting(pool.close))
        assert pool.closed
        assert pool.waiting == 0
        lease.release()

    def test_where_nothing_waits_a_loops_thread_may_use_the_sync_face(self):
        pool = Pool(object, max_size=1)
        asyncio.run(acting(lambda: pool.acquire().release()))
        asyncio.run(acting(pool.close))


async def acting(call):
    """A call in a running loop."""
    return call()


class TestFigures:
    def test_stats(self):
        pool, _ = filled(2)
        assert pool.stats() == {
            "created": 2, "reused": 0, "waits": 0, "wait_seconds": 0.0, "timeouts": 0, "discarded": 0,
        }  # fmt: skip
        first, second = pool.acquire(), pool.acquire()
        waiting = waiting_thread(pool)
        with pytest.raises(PoolTimeout):
            pool.acquire(timeout=0)
        with pytest.raises(PoolTimeout):
            pool.acquire(timeout=0.001)
        first.discard()
        waiting.result()
        second.detach()
        stats = pool.stats()
        assert 0 < stats.pop("wait_seconds") < HANG
        assert stats == {"created": 3, "reused": 2, "waits": 2, "timeouts": 2, "discarded": 1}
        pool.close()
        assert pool.stats()["discarded"] == 2

    def test_stats_is_a_copy(self):
        pool = Pool(object, max_size=1)
        pool.stats()["created"] = 5
        assert pool.stats()["created"] == 0

    def test_state_cannot_be_set(self):
        pool = Pool(object, max_size=1)
        for name in ("idle", "in_use", "size", "waiting", "max_size", "closed", "aio", "more"):
            with pytest.raises(AttributeError):
                setattr(pool, name, 1)

    def test_an_object_in_the_hands_of_a_hook_is_in_use(self):
        seen = []
        pool = Pool(
            lambda: seen.append(figures(pool)), max_size=1,
            reset=lambda _: seen.append(figures(pool)), validate=lambda _: seen.append(figures(pool)),
            destroy=lambda _: seen.append(figures(pool)),
        )  # fmt: skip
        pool.acquire().release()
        pool.acquire().discard()
        assert seen == [(0, 1, 1, 0)] * 4
