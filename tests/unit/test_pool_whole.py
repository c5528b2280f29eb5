"""What is done to a whole Pool, by its sync face: it is resized, sifted, warmed up and closed; leases are forgotten."""

import gc
import threading
import weakref

import pytest

from ferrule import Lease, Pool, PoolClosed, PoolTimeout
from tests.support.hostile import unraisable
from tests.support.pools import Hooks, close, exhausted, figures, filled, rests, waiting_thread, waits_behind
from tests.support.race import HANG, eventually, spawn

pytestmark = pytest.mark.filterwarnings("error")


class TestResize:
    def test_to_more_lets_the_waiting_in(self):
        pool, leases = exhausted(1)
        threads = [waiting_thread(pool) for _ in range(3)]
        pool.resize(4)
        for thread in threads:
            thread.result()
        assert pool.max_size == 4
        leases.pop().release()
        rests(pool)

    def test_to_more_lets_in_as_many_as_there_is_room_for(self):
        pool, leases = exhausted(1)
        together = threading.Barrier(3)

        def keep():
            with pool.acquire():
                together.wait(HANG)

        threads = [waits_behind(pool, lambda: spawn(keep)) for _ in range(3)]
        pool.resize(4)
        for thread in threads:
            thread.result()
        leases.pop().release()
        rests(pool)

    def test_to_less_destroys_what_is_idle(self):
        pool, hooks = filled(5)
        pool.resize(2)
        assert figures(pool) == (2, 0, 2, 0)
        assert hooks.destroyed == [0, 1, 2]  # those that came back first
        hooks.limit = 5
        rests(pool, hooks)

    def test_to_less_while_leased_ends_them_as_they_come_back(self):
        pool, hooks = filled(4)
        leases = [pool.acquire() for _ in range(4)]
        pool.resize(2)
        assert figures(pool) == (0, 4, 4, 0)
        assert pool.try_acquire() is None
        sizes = []
        for lease in leases:
            lease.release()
            sizes.append((pool.size, pool.idle))
        assert sizes == [(3, 0), (2, 0), (2, 1), (2, 2)]
        assert len(hooks.destroyed) == 2
        rests(pool, hooks)

    def test_to_less_ends_as_many_as_are_too_many_also_side_by_side(self):
        pool, hooks = filled(4)
        first, second, *others = [pool.acquire() for _ in range(4)]
        ended = first.value.number
        pool.resize(3)
        hooks.does["destroy"] = lambda thing: second.release()
        first.release()
        assert hooks.destroyed == [ended]
        assert figures(pool) == (1, 2, 3, 0)
        for lease in others:
            lease.release()
        rests(pool, hooks)

    def test_while_there_are_too_many_nobody_who_waits_gets_one(self):
        pool, leases = exhausted(3)
        waiting = waiting_thread(pool)
        pool.resize(1)
        leases.pop().release()
        leases.pop().detach()
        assert (pool.size, pool.waiting, waiting.alive) == (1, 1, True)
        leases.pop().release()
        waiting.result()
        rests(pool)

    def test_a_size_that_is_none_is_refused(self):
        pool, hooks = filled(2)
        for size in (0, -1):
            for call in (pool.resize, pool.aio.resize):
                with pytest.raises(ValueError):
                    call(size)
        for size in (None, "1", 1.5):
            for call in (pool.resize, pool.aio.resize):
                with pytest.raises(TypeError):
                    call(size)
        assert pool.max_size == 2
        rests(pool, hooks)

    def test_up_and_down_again(self):
        pool = Pool(object, max_size=1)
        for size in (5, 2, 1, 7, 3):
            pool.resize(size)
            rests(pool)


class TestRetain:
    def test_it_destroys_what_the_predicate_refuses(self):
        pool, hooks = filled(5)
        assert pool.retain(lambda thing: thing.number % 2) == 3
        assert sorted(hooks.destroyed) == [0, 2, 4]
        assert figures(pool) == (2, 0, 2, 0)
        rests(pool, hooks)

    @pytest.mark.parametrize("order", ["lifo", "fifo"])
    def test_it_leaves_the_order_alone(self, order):
        pool, _ = filled(5, order=order)
        assert pool.retain(lambda thing: thing.number != 2) == 1
        leased = [pool.acquire().detach().number for _ in range(4)]
        assert leased == ([4, 3, 1, 0] if order == "lifo" else [0, 1, 3, 4])

    def test_leased_objects_are_left_alone(self):
        pool, _ = filled(2)
        lease = pool.acquire()
        assert pool.retain(lambda _: False) == 1
        lease.release()
        assert pool.idle == 1

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
    def test_what_the_predicate_raises_reaches_the_caller_and_nothing_is_lost(self, error):
        pool, hooks = filled(4)

        def predicate(thing):
            if thing.number == 2:
                raise error
            return thing.number

        with pytest.raises(error):
            pool.retain(predicate)
        assert hooks.destroyed == [0]
        assert figures(pool) == (3, 0, 3, 0)
        rests(pool, hooks)

    def test_each_idle_object_is_seen_once(self):
        pool, _ = filled(4)
        seen = []
        assert pool.retain(lambda thing: seen.append(thing.number) or True) == 0
        assert seen == [0, 1, 2, 3]

    def test_a_predicate_that_cannot_be_called_is_refused(self):
        for pool in (filled(2)[0], Pool(object, max_size=1)):
            before = figures(pool)
            for call in (pool.retain, pool.aio.retain):
                with pytest.raises(TypeError):
                    call(5)
            assert figures(pool) == before

    def test_what_it_accepts_goes_where_it_has_made_the_pool_smaller(self):
        pool, hooks = filled(4)
        assert pool.retain(lambda _: pool.resize(3) or True) == 1
        assert hooks.destroyed == [0]
        assert figures(pool) == (3, 0, 3, 0)

    def test_who_waits_gets_an_object_that_the_predicate_accepts(self):
        pool, hooks = filled(1)
        waiting = []

        def accepts(thing):
            waiting.append(waiting_thread(pool))
            return True

        assert pool.retain(accepts) == 0
        assert waiting[0].result().number == 0
        rests(pool, hooks)

    def test_who_waits_gets_the_slot_of_one_that_it_refuses(self):
        pool, hooks = filled(1)
        waiting = []
        assert pool.retain(lambda _: waiting.append(waiting_thread(pool))) == 1
        assert waiting[0].result().number == 1
        rests(pool, hooks)


class TestWarmUp:
    def test_it_makes_min_size_objects(self):
        hooks = Hooks(5)
        pool = Pool(max_size=5, min_size=3, **hooks.all())
        assert pool.warm_up() is None
        assert figures(pool) == (3, 0, 3, 0)
        pool.warm_up()
        assert figures(pool) == (3, 0, 3, 0)
        rests(pool, hooks)

    def test_what_is_leased_counts(self):
        pool = Pool(object, max_size=5, min_size=3)
        with pool.acquire():
            pool.warm_up()
            assert figures(pool) == (2, 1, 3, 0)

    def test_by_default_it_makes_nothing(self):
        pool = Pool(pytest.fail, max_size=5)
        pool.warm_up()
        assert pool.size == 0

    @pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
    def test_it_raises_what_create_raises_and_keeps_what_there_is(self, error):
        hooks = Hooks(5)
        pool = Pool(max_size=5, min_size=4, **hooks.all())

        def fails():
            if len(hooks.calls) == 3:
                raise error

        hooks.does["create"] = fails
        with pytest.raises(error):
            pool.warm_up()
        assert figures(pool) == (2, 0, 2, 0)
        rests(pool, hooks)

    def test_a_closed_pool_refuses(self):
        pool = Pool(object, max_size=1, min_size=1)
        pool.close()
        with pytest.raises(PoolClosed):
            pool.warm_up()

    def test_never_over_max_size(self):
        pool = Pool(object, max_size=5, min_size=4)
        pool.resize(2)
        pool.warm_up()
        assert pool.size == 2


class TestClosing:
    def test_it_destroys_what_is_idle(self):
        pool, hooks = filled(3)
        assert pool.close() is None
        assert (pool.closed, figures(pool)) == (True, (0, 0, 0, 0))
        assert sorted(hooks.destroyed) == [0, 1, 2]
        hooks.check(0)

    def test_it_waits_for_leases_and_destroys_what_comes_back(self):
        pool, hooks = filled(2)
        leases = [pool.acquire(), pool.acquire()]
        closing = spawn(pool.close)
        eventually(lambda: pool.closed)
        for lease in leases:
            assert closing.alive
            lease.release()
        closing.result()
        hooks.check(0)
        assert figures(pool) == (0, 0, 0, 0)

    @pytest.mark.parametrize("end", [Lease.release, Lease.discard, Lease.detach])
    def test_however_the_last_lease_ends(self, end):
        pool, (lease,) = exhausted()
        closing = [spawn(pool.close), spawn(lambda: pool.close(timeout=HANG))]
        eventually(lambda: pool.closed)
        end(lease)
        for one in closing:
            one.result()

    @pytest.mark.parametrize("timeout", [0, 0.001])
    def test_when_the_time_is_up_the_pool_is_closed_all_the_same(self, timeout):
        pool, hooks = filled(2)
        lease = pool.acquire()
        with pytest.raises(PoolTimeout) as caught:
            pool.close(timeout=timeout)
        assert (caught.value.stage, caught.value.in_use) == ("close", 1)
        assert "leases" in str(caught.value)
        assert pool.closed
        assert len(hooks.destroyed) == 1
        lease.release()
        hooks.check(0)
        pool.close(timeout=0)

    def test_who_waits_is_told(self):
        pool, (lease,) = exhausted()
        threads = [waiting_thread(pool) for _ in range(3)]
        close(pool)
        for thread in threads:
            with pytest.raises(PoolClosed, match="is closed"):
                thread.result()
        lease.release()
        assert figures(pool) == (0, 0, 0, 0)

    def test_a_closed_pool_leases_nothing(self):
        pool, _ = filled(1)
        pool.close()
        for call in (pool.acquire, pool.try_acquire, lambda: pool.acquire(timeout=0)):
            with pytest.raises(PoolClosed):
                call()

    def test_a_closed_pool_can_still_be_looked_at(self):
        pool, _ = filled(1)
        pool.close()
        assert pool.reap() == 0
        assert pool.retain(pytest.fail) == 0
        pool.resize(3)
        assert (pool.max_size, pool.size, pool.closed) == (3, 0, True)
        pool.close()
        pool.close(timeout=0)

    def test_leases_go_on_after_it(self):
        pool, (first, second) = exhausted(2)
        close(pool)
        assert first.value is not None
        assert first.detach() is not None
        with second as obj:
            assert obj is not None
        pool.close(timeout=0)

    def test_with_closes_the_pool(self):
        hooks = Hooks(2)
        with Pool(max_size=2, **hooks.all()) as pool:
            assert isinstance(pool, Pool)
            pool.acquire().release()
        assert pool.closed
        hooks.check(0)

    def test_with_closes_it_after_an_exception_too(self):
        with pytest.raises(KeyError), Pool(object, max_size=1) as pool:
            raise KeyError
        assert pool.closed

    def test_with_waits_for_leases_as_long_as_the_pool_does(self):
        pool = Pool(object, max_size=1, wait_timeout=0.001)
        with pytest.raises(PoolTimeout), pool:
            lease = pool.acquire()
        lease.release()

    def test_a_pool_that_is_dropped_calls_no_hook_and_drops_its_objects(self):
        hooks = Hooks(2)
        pool = Pool(max_size=2, **hooks.all())
        with pool.acquire() as thing:
            seen = weakref.ref(thing)
        del thing
        calls = list(hooks.calls)
        del pool
        assert seen() is None
        assert hooks.calls == calls


class TestCollected:
    """A lease that nobody ended."""

    def collected(self, pool, lease):
        with pytest.warns(ResourceWarning, match="collected before it was released") as warned:
            lease.clear()
            gc.collect()
        assert len(warned) == 1
        return str(warned[0].message)

    def test_its_object_goes_back(self):
        hooks = Hooks(1)
        pool = Pool(max_size=1, **hooks.all())
        lease = [pool.acquire()]
        thing = lease[0].value
        self.collected(pool, lease)
        assert figures(pool) == (1, 0, 1, 0)
        assert hooks.calls == [("create", 0), ("reset", 0)]
        assert hooks.events == [("abandoned", thing, None)]
        rests(pool, hooks)

    def test_who_waits_gets_it(self):
        pool, lease = exhausted()
        waiting = waiting_thread(pool)
        self.collected(pool, lease)
        waiting.result()
        rests(pool)

    @pytest.mark.parametrize("what", [lambda _: False, lambda _: 1 / 0])
    def test_it_is_destroyed_where_reset_refuses_it(self, what):
        hooks = Hooks(1)
        pool = Pool(max_size=1, **hooks.all())
        lease = [pool.acquire()]
        hooks.does["reset"] = what
        self.collected(pool, lease)
        assert figures(pool) == (0, 0, 0, 0)
        assert hooks.destroyed == [0]
        assert [event for event, _, _ in hooks.events] == ["reset", "abandoned"]
        rests(pool, hooks)

    def test_of_a_closed_pool(self):
        hooks = Hooks(1)
        pool = Pool(max_size=1, **hooks.all())
        lease = [pool.acquire()]
        close(pool)
        self.collected(pool, lease)
        hooks.check(0)
        pool.close(timeout=0)

    def test_of_what_a_fallback_made(self):
        destroyed = []
        pool, leases = exhausted(destroy=destroyed.append)
        over = [pool.acquire_or(lambda: "over")]
        self.collected(pool, over)
        assert destroyed == ["over"]
        leases.pop().release()
        rests(pool)

    @pytest.mark.parametrize("debug", [False, True])
    def test_with_debug_the_warning_says_where_it_was_taken(self, debug):
        for take in (lambda p: p.acquire(), lambda p: p.try_acquire(), lambda p: p.acquire_or(list)):
            pool = Pool(object, max_size=1, debug=debug)
            message = self.collected(pool, [take(pool)])
            assert ("taken here" in message) is debug
            assert (__file__ in message) is debug
        pool, leases = exhausted(debug=debug)
        assert (__file__ in self.collected(pool, [pool.acquire_or(list)])) is debug
        leases.pop().release()

    def test_in_a_cycle_through_its_object(self):
        for _ in range(3):
            pool = Pool(list, max_size=1)
            lease = pool.acquire()
            lease.value.append(lease)
            seen = weakref.ref(pool)
            with pytest.warns(ResourceWarning):
                del lease
                gc.collect()
            assert figures(pool) == (1, 0, 1, 0)
            with pool.acquire() as items:
                assert len(items) == 1  # the lease, which has ended
                items.clear()
            del items, pool
            gc.collect()
            assert seen() is None

    def test_in_a_cycle_with_its_pool(self):
        hooks = Hooks(1)

        class Owner:
            pass

        owner = Owner()
        owner.pool = Pool(max_size=1, **hooks.all())
        owner.hook = owner.pool
        owner.lease = owner.pool.acquire()
        owner.lease.value.owner = owner
        seen = weakref.ref(owner.pool)
        with pytest.warns(ResourceWarning):
            del owner
            gc.collect()
        gc.collect()
        hooks.events.clear()
        gc.collect()
        assert seen() is None

    def test_one_that_ended_says_nothing(self):
        _, leases = exhausted(3)
        for end in (Lease.release, Lease.detach, Lease.discard):
            lease = leases.pop()
            end(lease)
            del lease
        gc.collect()

    def test_where_warnings_are_errors_nothing_is_lost(self):
        pool, lease = exhausted()
        with unraisable() as seen:
            lease.clear()
            gc.collect()
        assert [type(error) for error in seen] == [ResourceWarning]
        rests(pool)
