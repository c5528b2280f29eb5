"""The hooks of a Pool, sync: what each may do, whatever it does wrong, and who is told; nobody else is to feel it."""

import asyncio
import gc
import itertools
import threading
import weakref

import pytest

from ferrule import Lease, Pool, PoolClosed, PoolTimeout
from ferrule._core import periodic
from tests.support.hostile import raising, returning, unraisable
from tests.support.pools import Hooks, close, exhausted, figures, rests, waiting_thread
from tests.support.race import HANG, eventually, outcome, run_together, spawn

pytestmark = pytest.mark.filterwarnings("error")

FORCES = [KeyboardInterrupt, asyncio.CancelledError, SystemExit, GeneratorExit]
FAILURES = [returning(False), raising(KeyError)]
each_failure = pytest.mark.parametrize("fails", FAILURES, ids=["False", "raises"])


def made(size=1, **options):
    hooks = Hooks(size)
    return Pool(max_size=size, **{**hooks.all(), **options}), hooks


class TestCreate:
    @pytest.mark.parametrize("error", [KeyError, *FORCES])
    def test_what_it_raises_reaches_the_caller_and_frees_the_slot(self, error):
        pool, hooks = made()
        hooks.does["create"] = raising(error)
        for call in (pool.acquire, pool.try_acquire, lambda: pool.acquire(timeout=0), lambda: pool.acquire_or(list)):
            with pytest.raises(error):
                call()
            assert figures(pool) == (0, 0, 0, 0)
        rests(pool, hooks)

    def test_who_waits_makes_one_then(self):
        entered, go = [], []
        pool, hooks = made()

        def create():
            if not entered:
                entered.append(1)
                eventually(lambda: go)
                raise KeyError

        hooks.does["create"] = create
        making = spawn(outcome(pool.acquire, KeyError))
        eventually(lambda: entered)
        waiting = waiting_thread(pool)
        go.append(1)
        assert making.result() is KeyError
        assert waiting.result().number == 1
        rests(pool, hooks)

    def test_creates_of_different_slots_run_side_by_side(self):
        inside = []
        pool = Pool(lambda: [inside.append(1), eventually(lambda: len(inside) == 4)], max_size=4)
        leases = run_together(*[pool.acquire] * 4)
        for lease in leases:
            lease.release()
        rests(pool)

    def test_while_one_is_made_others_are_leased(self):
        entered, go = [], []
        pool, hooks = made(2)
        first = pool.acquire()
        hooks.does["create"] = lambda: (entered.append(1), eventually(lambda: go))
        making = spawn(pool.acquire)
        eventually(lambda: entered)
        first.release()
        with pool.acquire(timeout=0) as thing:
            assert thing.number == 0
        go.append(1)
        making.result().release()
        rests(pool, hooks)


class TestReset:
    def test_it_is_called_each_time_an_object_comes_back(self):
        pool, hooks = made()
        for _ in range(3):
            pool.acquire().release()
        assert [call for call in hooks.calls if call[0] == "reset"] == [("reset", 0)] * 3

    @pytest.mark.parametrize("given", [None, True, 0, "", []])
    def test_whatever_it_gives_but_false_is_fine(self, given):
        pool, hooks = made(reset=returning(given))
        pool.acquire().release()
        assert figures(pool) == (1, 0, 1, 0)
        assert hooks.events == []

    @each_failure
    def test_one_that_fails_ends_the_object_and_tells_on_event(self, fails):
        pool, hooks = made()
        lease = pool.acquire()
        thing = lease.value
        hooks.does["reset"] = fails
        lease.release()
        assert hooks.destroyed == [0]
        ((obj, error),) = hooks.named("reset")
        assert obj is thing
        assert type(error) is (KeyError if fails is FAILURES[1] else type(None))
        assert figures(pool) == (0, 0, 0, 0)
        rests(pool, hooks)

    @each_failure
    def test_who_waits_gets_the_slot(self, fails):
        pool, hooks = made()
        lease = pool.acquire()
        threads = [waiting_thread(pool) for _ in range(3)]
        hooks.does["reset"] = fails
        lease.release()
        assert [thread.result().number for thread in threads] == [1, 2, 3]
        assert hooks.destroyed == [0, 1, 2, 3]
        rests(pool, hooks)

    @pytest.mark.parametrize("error", FORCES)
    @pytest.mark.parametrize("end", [Lease.release, lambda lease: lease.__exit__(None, None, None)])
    def test_what_is_no_exception_reaches_the_caller_and_ends_the_object(self, error, end):
        pool, hooks = made()
        lease = pool.acquire()
        waiting = waiting_thread(pool)
        hooks.does["reset"] = raising(error)
        with pytest.raises(error):
            end(lease)
        with pytest.raises(error):  # by the waiter's own release
            waiting.result()
        assert hooks.destroyed == [0, 1]
        assert hooks.events == []
        with pytest.raises(RuntimeError):
            lease.release()
        rests(pool, hooks)

    def test_not_for_an_object_that_ends_anyway(self):
        pool, hooks = made(max_uses=1)
        pool.acquire().release()
        pool.acquire().discard()
        pool.acquire().detach()
        hooks.live -= 1
        over = pool.acquire()
        close(pool)
        over.release()
        assert ("reset", 0) not in hooks.calls
        assert "reset" not in {name for name, _ in hooks.calls}
        hooks.check(0)


class TestValidate:
    def test_it_is_called_before_an_idle_object_is_leased_and_not_for_a_new_one(self):
        pool, hooks = made()
        for take in (pool.acquire, pool.try_acquire, lambda: pool.acquire_or(pytest.fail)):
            take().release()
        assert [call for call in hooks.calls if call[0] == "validate"] == [("validate", 0)] * 2

    @pytest.mark.parametrize("given", [None, True, 0, "", []])
    def test_whatever_it_gives_but_false_is_fine(self, given):
        pool, _ = made(validate=returning(given))
        pool.acquire().release()
        assert pool.acquire().detach().number == 0

    @each_failure
    @pytest.mark.parametrize("take", [Pool.acquire, Pool.try_acquire, lambda pool: pool.acquire_or(pytest.fail)])
    def test_one_that_fails_ends_the_object_and_the_caller_gets_a_new_one(self, fails, take):
        pool, hooks = made()
        pool.acquire().release()
        hooks.does["validate"] = fails
        lease = take(pool)
        assert lease.value.number == 1
        assert hooks.destroyed == [0]
        ((obj, error),) = hooks.named("validate")
        assert obj.number == 0
        assert type(error) is (KeyError if fails is FAILURES[1] else type(None))
        lease.release()
        rests(pool, hooks)

    @each_failure
    def test_it_goes_on_to_the_next_idle_one(self, fails):
        pool, hooks = made(3)
        for lease in [pool.acquire() for _ in range(3)]:
            lease.release()
        hooks.does["validate"] = lambda thing: thing.number == 0 or fails()
        with pool.acquire() as thing:
            assert thing.number == 0
        assert hooks.destroyed == [2, 1]
        rests(pool, hooks)

    @pytest.mark.parametrize("error", FORCES)
    def test_what_is_no_exception_reaches_the_caller_and_ends_the_object(self, error):
        pool, hooks = made()
        for take in (pool.acquire, pool.try_acquire, lambda: pool.acquire_or(pytest.fail)):
            hooks.does.clear()
            pool.acquire().release()
            hooks.does["validate"] = raising(error)
            with pytest.raises(error):
                take()
            assert figures(pool) == (0, 0, 0, 0)
        assert hooks.events == []
        rests(pool, hooks)

    @each_failure
    def test_who_waits_for_an_object_looks_at_it_too(self, fails):
        pool, hooks = made()
        lease = pool.acquire()
        waiting = waiting_thread(pool)
        hooks.does["validate"] = fails
        lease.release()
        assert waiting.result().number == 1
        rests(pool, hooks)

    def test_if_there_is_no_new_one_either_the_caller_is_told_why(self):
        pool, hooks = made()
        pool.acquire().release()
        hooks.does.update(validate=returning(False), create=raising(KeyError))
        with pytest.raises(KeyError):
            pool.acquire()
        assert figures(pool) == (0, 0, 0, 0)
        rests(pool, hooks)


class TestDestroy:
    @pytest.mark.parametrize("error", [KeyError, ZeroDivisionError])
    def test_what_it_raises_goes_to_on_event_and_frees_the_slot(self, error):
        pool, hooks = made()
        lease = pool.acquire()
        thing = lease.value
        waiting = waiting_thread(pool)
        hooks.does["destroy"] = raising(error)
        lease.discard()
        assert waiting.result().number == 1
        ((obj, seen),) = hooks.named("destroy")
        assert obj is thing
        assert type(seen) is error
        rests(pool, hooks)

    def test_that_it_gives_false_means_nothing(self):
        pool, hooks = made()
        hooks.does["destroy"] = returning(False)
        pool.acquire().discard()
        assert hooks.events == []

    @pytest.mark.parametrize("error", FORCES)
    @pytest.mark.parametrize(
        "end",
        [
            lambda pool, lease: lease.discard(),
            lambda pool, lease: (lease.release(), pool.retain(returning(False))),
            lambda pool, lease: (lease.release(), pool.close()),
            lambda pool, lease: (close(pool), lease.release()),
            lambda pool, lease: lease.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None),
        ],
        ids=["discard", "retain", "close", "release", "with"],
    )
    def test_what_is_no_exception_reaches_the_caller_and_frees_the_slot(self, error, end):
        hooks = Hooks(1)
        pool = Pool(max_size=1, **hooks.only())
        lease = pool.acquire()
        hooks.does["destroy"] = raising(error)
        with pytest.raises(error):
            end(pool, lease)
        assert figures(pool) == (0, 0, 0, 0)
        if not pool.closed:
            rests(pool, hooks)
        hooks.check(pool.size)

    def test_of_many_each_is_called(self):
        pool, hooks = made(5)
        for lease in [pool.acquire() for _ in range(5)]:
            lease.release()
        hooks.does["destroy"] = raising(KeyError)
        pool.close()
        assert sorted(hooks.destroyed) == list(range(5))
        assert len(hooks.named("destroy")) == 5

    def test_its_slot_counts_until_it_is_done(self):
        entered, go = [], []
        pool, hooks = made()
        lease = pool.acquire()
        hooks.does["destroy"] = lambda _: (entered.append(1), eventually(lambda: go))
        discarding = spawn(lease.discard)
        eventually(lambda: entered)
        assert figures(pool) == (0, 1, 1, 0)
        assert pool.try_acquire() is None
        go.append(1)
        discarding.result()
        rests(pool, hooks)


class TestOnEvent:
    def test_what_it_raises_is_shown_and_changes_nothing(self):
        pool, hooks = made()
        lease = pool.acquire()
        waiting = waiting_thread(pool)
        hooks.does.update(reset=returning(False), on_event=raising(ZeroDivisionError))
        with unraisable() as seen:
            lease.release()
            waiting.result()
        assert {type(error) for error in seen} == {ZeroDivisionError}
        assert hooks.destroyed == [0, 1]
        rests(pool, hooks)

    @pytest.mark.parametrize("error", FORCES)
    @pytest.mark.parametrize("what", ["reset", "validate", "destroy"])
    def test_what_is_no_exception_reaches_the_caller_and_loses_no_slot(self, error, what):
        pool, hooks = made()
        pool.acquire().release()
        hooks.does.update({what: raising(KeyError), "on_event": raising(error)})
        with pytest.raises(error):
            lease = pool.acquire()
            lease.discard() if what == "destroy" else lease.release()
        assert figures(pool) == (0, 0, 0, 0)
        rests(pool, hooks)

    def test_without_it_errors_are_nobodys(self):
        hooks = Hooks(1)
        pool = Pool(max_size=1, **hooks.all("on_event"))
        hooks.does.update(reset=raising(KeyError), destroy=raising(KeyError))
        pool.acquire().release()
        assert figures(pool) == (0, 0, 0, 0)
        rests(pool, hooks)


class TestCallingBack:
    """A hook uses its own pool: what it may do without waiting for itself is done."""

    @pytest.mark.parametrize("name", ["create", "reset", "validate", "destroy", "on_event"])
    def test_each_hook_may_use_the_pool(self, name):
        pool, hooks = made(2)
        done = []

        def use(*_):
            if done:
                return
            done.append(name)
            with pool.acquire(timeout=0) as thing:
                assert thing is not None
            pool.acquire(timeout=0).detach()
            hooks.live -= 1
            pool.retain(returning(True))
            pool.reap()
            pool.warm_up()
            pool.resize(3)
            pool.resize(2)

        pool.acquire().release()
        hooks.does[name] = use
        if name == "on_event":
            hooks.does["reset"] = returning(False)
        if name == "create":
            pool.acquire().discard()
        lease = pool.acquire()
        if name == "destroy":
            lease.discard()
        else:
            lease.release()
        assert done == [name]
        rests(pool, hooks)

    @pytest.mark.parametrize("name", ["create", "reset", "validate", "destroy", "on_event"])
    def test_each_hook_may_close_the_pool(self, name):
        pool, hooks = made(2)
        first, second = pool.acquire(), pool.acquire()
        first.release()
        if name == "create":
            pool.retain(returning(False))
        hooks.does[name] = lambda *_: close(pool)
        if name == "on_event":
            hooks.does["reset"] = returning(False)
        lease = pool.acquire()
        lease.discard() if name == "destroy" else lease.release()
        assert pool.closed
        second.release()
        hooks.check(0)
        pool.close(timeout=0)

    @pytest.mark.parametrize("name", ["create", "reset", "validate", "destroy", "on_event"])
    def test_a_hook_that_waits_for_the_pools_end_waits_for_itself(self, name):
        pool, hooks = made()
        pool.acquire().release()
        hooks.does[name] = lambda *_: pool.close(timeout=0.001)
        if name == "on_event":
            hooks.does["reset"] = returning(False)
        if name == "create":
            pool.retain(returning(False))
        with unraisable() as seen:
            end = Lease.discard if name == "destroy" else Lease.release
            result = outcome(lambda: end(pool.acquire()), PoolTimeout, PoolClosed)()
        assert result is (PoolTimeout if name == "create" else None), result
        assert [type(error) for error in seen] == ([PoolTimeout] if name == "on_event" else [])
        assert pool.closed
        assert figures(pool) == (0, 0, 0, 0)
        hooks.check(0)

    def test_reset_may_end_the_same_lease_in_vain(self):
        pool, hooks = made()
        lease = pool.acquire()
        refused = []
        hooks.does["reset"] = lambda _: refused.extend(
            outcome(end, RuntimeError)(lease) for end in (Lease.release, Lease.discard, Lease.detach)
        )
        lease.release()
        assert refused == [RuntimeError] * 3
        rests(pool, hooks)

    @pytest.mark.parametrize("name", ["create", "reset", "validate", "destroy", "on_event"])
    def test_a_hook_may_drop_the_last_reference_to_the_pool(self, name):
        hooks = Hooks(1)
        holder = [Pool(max_size=1, **hooks.all())]
        seen = weakref.ref(holder[0])
        holder[0].acquire().release()
        if name == "create":
            holder[0].retain(returning(False))
        hooks.does[name] = lambda *_: holder.clear()
        if name == "on_event":
            hooks.does["reset"] = returning(False)
        lease = holder[0].acquire()
        lease.discard() if name == "destroy" else lease.release()
        del lease
        assert holder == []
        assert seen() is None

    def test_an_objects_destructor_may_use_the_pool(self):
        class Calls:
            def __del__(self):
                if not seen:
                    seen.append(figures(pool))
                    with pool.acquire(timeout=0):
                        pass
                    pool.retain(returning(False))

        seen = []
        pool = Pool(Calls, max_size=2)
        pool.acquire().discard()
        assert seen == [(0, 1, 1, 0)]  # it counts until it is gone
        rests(pool)

    def test_retain_may_call_back(self):
        pool, hooks = made(3)
        for lease in [pool.acquire() for _ in range(3)]:
            lease.release()
        seen = []

        def predicate(thing):
            seen.append(thing.number)
            with pool.acquire(timeout=0):
                pass
            return pool.retain(returning(True)) == 0

        assert pool.retain(predicate) == 0
        assert len(seen) == 3
        rests(pool, hooks)

    def test_retain_may_be_closed_under(self):
        pool, hooks = made(3)
        for lease in [pool.acquire() for _ in range(3)]:
            lease.release()
        assert pool.retain(lambda _: close(pool) or True) == 1
        hooks.check(0)


async def awaitable(*_):
    raise AssertionError("a sync pool awaits nothing")


class TestAwaitablesInASyncPool:
    """It can await nothing: what a hook gives is closed, and whoever called is told."""

    @pytest.mark.parametrize("name", ["create", "reset", "validate", "destroy", "on_event"])
    def test_are_closed_and_refused(self, name):
        given = []

        def hook(*_):
            given.append(awaitable())
            return given[-1]

        hooks = Hooks(1)
        options = hooks.all()
        pool = Pool(max_size=1, **{**options, name: hook})
        if name == "on_event":
            hooks.does["reset"] = returning(False)
        with pytest.raises(TypeError, match="awaitable"):
            lease = pool.acquire()
            lease.discard() if name == "destroy" else lease.release()
            pool.acquire()
        assert [coroutine.cr_frame for coroutine in given] == [None] * len(given) != []
        assert figures(pool) == (0, 0, 0, 0)

    def test_who_waits_is_served_all_the_same(self):
        turns = itertools.count()
        pool, hooks = made()
        lease = pool.acquire()
        waiting = waiting_thread(pool)
        hooks.does["reset"] = lambda _: awaitable() if next(turns) == 0 else None
        with pytest.raises(TypeError):
            lease.release()
        assert waiting.result().number == 1
        rests(pool, hooks)

    def test_futures_are_cancelled(self):
        loop = asyncio.new_event_loop()
        future = loop.create_future()
        with pytest.raises(TypeError):
            Pool(lambda: future, max_size=1).acquire()
        assert future.cancelled()
        loop.close()


class TestLimits:
    """How long, and how often, an object is used. Time decides nothing here: each limit is over, or far away."""

    def test_max_uses(self):
        pool, hooks = made(max_uses=3)
        numbers = []
        for _ in range(7):
            with pool.acquire() as thing:
                numbers.append(thing.number)
        assert numbers == [0, 0, 0, 1, 1, 1, 2]
        assert hooks.destroyed == [0, 1]

    def test_max_uses_counts_from_attach(self):
        pool = Pool(object, max_size=1, max_uses=2)
        pool.attach("mine")
        pool.acquire().release()
        with pool.acquire() as obj:
            assert obj == "mine"
        assert figures(pool) == (0, 0, 0, 0)

    def test_who_waits_gets_the_slot_of_what_is_worn_out(self):
        pool, hooks = made(max_uses=1)
        lease = pool.acquire()
        threads = [waiting_thread(pool) for _ in range(3)]
        lease.release()
        assert [thread.result().number for thread in threads] == [1, 2, 3]
        assert hooks.destroyed == [0, 1, 2, 3]

    def test_one_that_is_past_its_lifetime_does_not_come_back(self):
        pool, hooks = made(lifetime=1e-9)
        pool.acquire().release()
        assert hooks.destroyed == [0]
        assert [name for name, _ in hooks.calls] == ["create", "destroy"]
        assert figures(pool) == (0, 0, 0, 0)

    def test_one_that_was_idle_for_too_long_is_not_leased(self):
        pool, hooks = made(idle_timeout=1e-9)
        pool.acquire().release()
        assert figures(pool) == (1, 0, 1, 0)
        for take in (pool.acquire, pool.try_acquire, lambda: pool.acquire_or(pytest.fail)):
            take().release()
        assert hooks.destroyed == [0, 1, 2]
        assert "validate" not in {name for name, _ in hooks.calls}

    @pytest.mark.parametrize("limit", [{"lifetime": 3600}, {"idle_timeout": 3600}, {"max_uses": 1000}])
    def test_a_limit_that_is_far_away_changes_nothing(self, limit):
        pool, hooks = made(2, **limit)
        for _ in range(10):
            pool.acquire().release()
        assert pool.reap() == 0
        rests(pool, hooks)
        assert hooks.destroyed == []

    def test_reap_ends_what_was_idle_for_too_long_down_to_min_size(self):
        pool, hooks = made(5, idle_timeout=1e-9, min_size=2)
        for lease in [pool.acquire() for _ in range(5)]:
            lease.release()
        assert pool.reap() == 3
        assert hooks.destroyed == [0, 1, 2]
        assert pool.reap() == 0

    def test_reap_ends_what_is_past_its_lifetime_whatever_min_size_is(self):
        pool, hooks = made(3, lifetime=0.02, min_size=3)
        pool.warm_up()
        reaped = []
        eventually(lambda: reaped.append(pool.reap()) or sum(reaped) == 3)
        assert figures(pool) == (0, 0, 0, 0)
        hooks.check(0)

    def test_what_is_leased_counts_for_min_size(self):
        pool, _ = made(3, idle_timeout=1e-9, min_size=2)
        leases = [pool.acquire() for _ in range(3)]
        leases.pop().release()
        leases.pop().release()
        assert pool.reap() == 1
        assert figures(pool) == (1, 1, 2, 0)
        leases.pop().release()

    def test_without_limits_reap_does_nothing(self):
        pool, _ = made()
        pool.acquire().release()
        assert pool.reap() == 0
        assert pool.idle == 1

    def test_reap_within_destroy_leaves_min_size_alone(self):
        pool, hooks = made(5, idle_timeout=1e-9, min_size=2)
        for lease in [pool.acquire() for _ in range(5)]:
            lease.release()
        hooks.does["destroy"] = lambda thing: pool.reap()
        pool.reap()
        assert sorted(hooks.destroyed) == [0, 1, 2]
        assert figures(pool) == (2, 0, 2, 0)

    def test_warm_up_within_destroy_makes_what_will_be_missing(self):
        pool, hooks = made(5, min_size=2)
        pool.warm_up()
        hooks.does["destroy"] = lambda thing: pool.warm_up()
        assert pool.retain(lambda thing: False) == 2
        assert hooks.destroyed == [0, 1]
        assert figures(pool) == (2, 0, 2, 0)

    def test_reap_tells_of_a_destroy_that_fails_and_goes_on(self):
        pool, hooks = made(3, idle_timeout=1e-9)
        for lease in [pool.acquire() for _ in range(3)]:
            lease.release()
        hooks.does["destroy"] = raising(KeyError)
        assert pool.reap() == 3
        assert len(hooks.named("destroy")) == 3


class TestUpkeep:
    """reap_every: by a thread of the library's, which ends with the pools that it looks after."""

    def test_it_reaps_and_fills_up(self):
        pool, hooks = made(3, idle_timeout=1e-9, min_size=1, reap_every=0.002)
        for lease in [pool.acquire() for _ in range(3)]:
            lease.release()
        eventually(lambda: figures(pool) == (1, 0, 1, 0))
        pool.acquire().detach()
        hooks.live -= 1
        eventually(lambda: figures(pool) == (1, 0, 1, 0))
        pool.close()
        hooks.check(0)

    def test_it_ends_when_the_pool_is_closed(self):
        pool, _ = made(1, reap_every=0.001)
        pool.acquire().release()
        eventually(lambda: periodic._thread)
        pool.close()
        eventually(lambda: periodic._thread is None)

    def test_it_does_not_keep_the_pool_and_ends_with_it(self):
        pool, _ = made(1, reap_every=0.001)
        pool.acquire().release()
        seen = weakref.ref(pool)
        del pool
        eventually(lambda: gc.collect() is not None and seen() is None)
        eventually(lambda: periodic._thread is None)

    def test_what_it_cannot_make_goes_to_on_event(self):
        pool, hooks = made(2, min_size=1, reap_every=0.001)
        hooks.does["create"] = raising(KeyError)
        with pytest.raises(KeyError):
            pool.acquire()
        eventually(lambda: hooks.named("create"))
        obj, error = hooks.named("create")[0]
        assert obj is None
        assert type(error) is KeyError
        hooks.does.clear()
        eventually(lambda: pool.idle == 1)
        pool.close()
        hooks.check(0)

    def test_it_begins_with_the_first_object_also_with_one_attached(self):
        pool, _ = made(2, idle_timeout=1e-9, reap_every=0.001)
        pool.attach("mine")
        eventually(lambda: pool.size == 0)
        pool.close()

    def test_many_pools_have_one_thread(self):
        pools = [Pool(object, max_size=1, min_size=1, reap_every=0.001) for _ in range(20)]
        for pool in pools:
            pool.acquire().detach()
        thread = periodic._thread
        for pool in pools:
            eventually(lambda pool=pool: pool.idle == 1)
        assert periodic._thread is thread
        for pool in pools:
            pool.close()
        eventually(lambda: periodic._thread is None)

    def test_one_that_fails_by_force_is_shown_and_the_others_go_on(self, monkeypatch):
        shown = []
        monkeypatch.setattr(threading, "excepthook", shown.append)
        bad, hooks = made(1, min_size=1, reap_every=0.001)
        good = Pool(object, max_size=1, min_size=1, reap_every=0.001)
        leases = [pool.acquire() for pool in (bad, good)]
        hooks.does["create"] = raising(SystemExit)  # before upkeep has anything to make
        for lease in leases:
            lease.detach()
        hooks.live -= 1
        eventually(lambda: len(shown) > 2)
        eventually(lambda: good.idle == 1)
        assert {report.exc_type for report in shown} == {SystemExit}
        hooks.does.clear()
        eventually(lambda: bad.idle == 1)
        for pool in (bad, good):
            pool.close()
        hooks.check(0)


FAULTS = {"reset": FAILURES, "validate": FAILURES, "destroy": FAILURES[1:], "create": FAILURES[1:]}


@pytest.mark.parametrize("name", FAULTS)
def test_a_hook_that_fails_in_every_position_with_threads_waiting(name):
    """Of twelve calls of the hook the n-th fails, for each n: twelve leases are had in any case, or told the error."""
    for fails in FAULTS[name]:
        for position in range(12):
            hooks = Hooks(2)
            pool = Pool(max_size=2, **hooks.all())
            calls = itertools.count()
            hooks.does[name] = lambda *_, n=position, fails=fails, calls=calls: fails() if next(calls) == n else None
            leases = [lease for lease in (outcome(pool.acquire, KeyError)() for _ in range(2)) if lease is not KeyError]
            threads = [spawn(outcome(lambda p=pool: use(p), KeyError)) for _ in range(6)]
            if len(leases) == 2:
                eventually(lambda p=pool: p.waiting == 6)
            for lease in leases:
                lease.release()
            results = [thread.result() for thread in threads]
            results += [outcome(lambda p=pool: use(p), KeyError)() for _ in range(4)]
            assert results.count(KeyError) <= (name == "create")
            rests(pool, hooks)


def use(pool):
    with pool.acquire(timeout=HANG) as thing:
        return thing.number


def test_exhausted_is_what_it_says():
    pool, leases = exhausted(2)
    assert figures(pool) == (0, 2, 2, 0)
    for lease in leases:
        lease.release()
