"""Racing calls on one pool: every result that is allowed, and why; anything else fails."""

import asyncio
import contextlib

import pytest

from ferrule import Lease, Pool, PoolClosed, PoolTimeout
from ferrule._core import periodic
from tests.support.driver import LoopThread, complete
from tests.support.hostile import returning
from tests.support.pools import Hooks, close, figures, rests, waits_behind
from tests.support.race import HANG, RACES, eventually, outcome, raced, refused, run_together, soon, spawn

ENDS = {
    "release": Lease.release,
    "discard": Lease.discard,
    "detach": Lease.detach,
}
PAIRS = [(a, b) for a in ENDS for b in ENDS if a <= b]
DONE = "returned"


@pytest.fixture(scope="module")
def there():
    """A loop in a thread of its own."""
    with LoopThread() as loop:
        yield loop


def pool_of(size=1, **options):
    """A pool with hooks that count."""
    hooks = Hooks(size)
    return Pool(max_size=size, **{**hooks.only(), **options}), hooks


def leasing(pool, **timeout):
    """Leases and gives back: DONE, or why not."""

    def lease():
        pool.acquire(**timeout).release()
        return DONE

    return outcome(lease, PoolTimeout, PoolClosed)


def waiting_for(pool):
    """A thread that waits for an object; its result is the lease."""
    return waits_behind(pool, lambda: spawn(outcome(pool.acquire, PoolClosed)))


# --- one lease -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("one", "other"), PAIRS)
@raced(RACES // 20)
def test_of_two_ends_of_a_lease_one_wins(one, other):
    pool, hooks = pool_of()
    lease = pool.acquire()
    results = run_together(refused(ENDS[one], lease), refused(ENDS[other], lease))
    assert results.count(RuntimeError) == 1
    winner = (one, other)[results.index(RuntimeError) - 1]
    assert figures(pool) == ((1, 0, 1, 0) if winner == "release" else (0, 0, 0, 0))
    assert hooks.destroyed == ([0] if winner == "discard" else [])
    if winner == "detach":
        hooks.live -= 1
    rests(pool, hooks)


@raced(RACES // 20)
def test_of_two_ends_in_different_faces_one_wins(there):
    pool, hooks = pool_of()
    lease = pool.aio.try_acquire()

    def release():
        return complete(lease.release())

    results = run_together(refused(release), refused(lambda: complete(lease.discard())), refused(release))
    assert results.count(RuntimeError) == 2
    rests(pool, hooks)


@raced(RACES // 20)
def test_value_against_an_end():
    """It is there, or it is not; it is never another's."""
    pool = Pool(list, max_size=1)
    lease = pool.acquire()
    obj = lease.value
    seen, _ = run_together(refused(lambda: lease.value), lease.detach)
    assert seen is obj or seen is RuntimeError


@raced(RACES // 20)
def test_with_against_a_release():
    pool, hooks = pool_of()
    lease = pool.acquire()

    def block():
        with lease:
            pass
        return DONE

    results = run_together(refused(block), refused(lease.release))
    assert results in {
        (DONE, None),  # the block found that it had ended
        (DONE, RuntimeError),  # the block ended it
        (RuntimeError, None),  # ended before the block began
    }
    rests(pool, hooks)


# --- who gets it -----------------------------------------------------------------------------------------------------


@raced(RACES // 20)
def test_a_release_against_an_acquire_that_does_not_wait():
    pool, hooks = pool_of()
    lease = pool.acquire()
    taken, _ = run_together(leasing(pool, timeout=0), lease.release)
    assert taken in (DONE, PoolTimeout)
    rests(pool, hooks)


@pytest.mark.parametrize("end", ENDS)
@raced(RACES // 20)
def test_the_end_of_a_lease_is_not_missed_by_who_begins_to_wait(end):
    pool, hooks = pool_of()
    lease = pool.acquire()
    taken, _ = run_together(leasing(pool, timeout=HANG), lambda: ENDS[end](lease))
    assert taken is DONE
    if end == "detach":
        hooks.live -= 1
        hooks.limit = 2  # with the one that is the pool's no more
    rests(pool, hooks)


@raced(RACES // 20)
def test_a_release_against_a_timeout():
    """The object wins over the deadline, or it stays idle."""
    pool, hooks = pool_of()
    lease = pool.acquire()
    taken, _ = run_together(leasing(pool, timeout=1e-4), soon(lease.release))
    assert taken in (DONE, PoolTimeout)
    rests(pool, hooks)


@raced(RACES // 20)
def test_two_releases_wake_two():
    pool, hooks = pool_of(2)
    leases = [pool.acquire(), pool.acquire()]
    threads = [waiting_for(pool) for _ in range(2)]
    run_together(*(lease.release for lease in leases))
    taken = [thread.result() for thread in threads]
    assert {lease.value.number for lease in taken} == {0, 1}
    for lease in taken:
        lease.release()
    rests(pool, hooks)


@raced(RACES // 20)
def test_a_newcomer_against_who_waits():
    """Whoever it is, the other gets it next."""
    pool, hooks = pool_of()
    lease = pool.acquire()
    waiting = spawn(leasing(pool, timeout=HANG))
    eventually(lambda: pool.waiting)
    newcomer, _ = run_together(leasing(pool, timeout=HANG), lease.release)
    assert (newcomer, waiting.result()) == (DONE, DONE)
    rests(pool, hooks)


@raced(RACES // 40)
def test_a_release_against_the_cancellation_of_who_waits(there):
    pool, hooks = pool_of()
    lease = pool.acquire()

    async def use():
        async with pool.aio.acquire():
            pass

    future = waits_behind(pool, lambda: there.spawn(use()))
    behind = spawn(leasing(pool, timeout=HANG))
    eventually(lambda: pool.waiting == 2)
    run_together(future.cancel, soon(lease.release))
    assert behind.result() is DONE
    with contextlib.suppress(asyncio.CancelledError):
        there.run(asyncio.sleep(0))
    eventually(lambda: pool.in_use == 0)
    rests(pool, hooks)


@raced(RACES // 20)
def test_two_first_leases_make_no_more_than_may_be():
    pool, hooks = pool_of(1)
    taken = run_together(pool.try_acquire, pool.try_acquire, pool.try_acquire)
    (lease,) = (lease for lease in taken if lease is not None)
    lease.release()
    rests(pool, hooks)


@raced(RACES // 20)
def test_an_attach_against_an_acquire():
    pool = Pool(lambda: "made", max_size=1)
    attached, lease = run_together(lambda: outcome(pool.attach, ValueError)("mine"), pool.try_acquire)
    assert (attached, lease and lease.value) in {
        (None, "mine"),  # attached first
        (ValueError, "made"),  # the room was taken
    }
    if lease is not None:
        lease.release()
    rests(pool)


# --- the whole pool --------------------------------------------------------------------------------------------------


@raced(RACES // 20)
def test_a_release_against_close():
    """Destroyed by one of them, once; close waits for it in any case."""
    pool, hooks = pool_of()
    lease = pool.acquire()
    run_together(lease.release, pool.close)
    assert hooks.destroyed == [0]
    assert figures(pool) == (0, 0, 0, 0)
    hooks.check(0)


@pytest.mark.parametrize("end", ENDS)
@raced(RACES // 40)
def test_two_closes_against_the_end_of_the_last_lease(end):
    pool, hooks = pool_of()
    lease = pool.acquire()
    run_together(lambda: ENDS[end](lease), pool.close, lambda: pool.close(timeout=HANG))
    assert figures(pool) == (0, 0, 0, 0)
    assert hooks.destroyed == ([] if end == "detach" else [0])


@raced(RACES // 20)
def test_an_acquire_against_close():
    pool, hooks = pool_of()
    pool.acquire().release()
    taken, _ = run_together(leasing(pool), pool.close)
    assert taken in (DONE, PoolClosed)
    hooks.check(0)
    assert hooks.destroyed == [0]


@raced(RACES // 20)
def test_who_waits_against_a_release_and_close():
    pool, hooks = pool_of()
    lease = pool.acquire()
    waiting = waiting_for(pool)
    run_together(lease.release, lambda: close(pool))
    taken = waiting.result()
    if taken is not PoolClosed:
        taken.release()
    hooks.check(0)
    assert figures(pool) == (0, 0, 0, 0)


@raced(RACES // 20)
def test_an_acquire_that_makes_an_object_against_close():
    pool, hooks = pool_of()
    taken, _ = run_together(leasing(pool), pool.close)
    assert taken in (DONE, PoolClosed)
    hooks.check(0)
    assert figures(pool) == (0, 0, 0, 0)


@raced(RACES // 20)
def test_an_attach_against_close():
    pool, hooks = pool_of()
    attached, _ = run_together(lambda: outcome(pool.attach, PoolClosed)("mine"), pool.close)
    assert attached in (None, PoolClosed)
    assert figures(pool) == (0, 0, 0, 0)
    calls = [call for call in hooks.calls if call[0] == "destroy"]
    assert calls == []


@pytest.mark.parametrize("size", [1, 3])
@raced(RACES // 20)
def test_a_resize_against_an_acquire(size):
    pool, hooks = pool_of(3)
    pool.resize(2)
    leases = [pool.acquire(), pool.acquire()]
    taken, _ = run_together(outcome(lambda: pool.acquire(timeout=0), PoolTimeout), lambda: pool.resize(size))
    if taken is not PoolTimeout:
        assert size == 3
        leases.append(taken)
    for lease in leases:
        lease.release()
    assert pool.size <= size
    rests(pool, hooks)


@raced(RACES // 20)
def test_a_resize_down_against_a_release():
    pool, hooks = pool_of(2)
    leases = [pool.acquire(), pool.acquire()]
    run_together(leases[0].release, lambda: pool.resize(1), leases[1].release)
    assert (figures(pool), len(hooks.destroyed)) in {
        ((1, 0, 1, 0), 1),
        ((0, 0, 0, 0), 2),  # each counted the other's object, which was there until it had been destroyed
    }
    rests(pool, hooks)


@raced(RACES // 20)
def test_a_resize_up_against_who_begins_to_wait():
    pool, hooks = pool_of(2)
    pool.resize(1)
    lease = pool.acquire()
    taken, _ = run_together(leasing(pool, timeout=HANG), lambda: pool.resize(2))
    assert taken is DONE
    lease.release()
    rests(pool, hooks)


@raced(RACES // 20)
def test_two_resizes():
    pool, hooks = pool_of(3)
    for lease in [pool.acquire() for _ in range(3)]:
        lease.release()
    run_together(lambda: pool.resize(1), lambda: pool.resize(2))
    assert pool.max_size in (1, 2)
    assert pool.size <= pool.max_size
    rests(pool, hooks)


@raced(RACES // 20)
def test_retain_against_an_acquire():
    """The object is leased, or destroyed, or in the hands of the predicate: then there is none for the moment."""
    pool, hooks = pool_of()
    pool.acquire().release()
    ended, lease = run_together(lambda: pool.retain(returning(False)), pool.try_acquire)
    if lease is None:
        assert ended == 1
    else:
        assert lease.value.number == ended
        lease.release()
    rests(pool, hooks)


@raced(RACES // 20)
def test_two_retains_end_each_object_once():
    pool, hooks = pool_of(3)
    for lease in [pool.acquire() for _ in range(3)]:
        lease.release()
    ended = run_together(lambda: pool.retain(returning(False)), lambda: pool.retain(returning(False)))
    assert sum(ended) == 3
    hooks.check(0)
    rests(pool, hooks)


@raced(RACES // 20)
def test_two_warm_ups_make_no_more_than_they_should():
    pool, hooks = pool_of(3, min_size=3)
    run_together(pool.warm_up, pool.warm_up)
    assert figures(pool) == (3, 0, 3, 0)
    hooks.check(3)


@raced(RACES // 20)
def test_a_fallback_against_a_release():
    pool, hooks = pool_of()
    lease = pool.acquire()
    taken, _ = run_together(lambda: pool.acquire_or(returning("over")), lease.release)
    assert taken.value == "over" or taken.value.number == 0
    taken.detach() if taken.value == "over" else taken.release()
    rests(pool, hooks)


@raced(RACES // 100)
def test_of_two_upkeeps_that_begin_at_once_one_goes_on():
    pool = Pool(object, max_size=2, reap_every=1e-3)
    for lease in run_together(pool.acquire, pool.acquire):
        lease.release()

    def mine():
        return [call for _, _, call in list(periodic._calls) if call.target() is pool]

    eventually(lambda: len(mine()) <= 1)
    pool.close()
    eventually(lambda: mine() == [])
    eventually(lambda: periodic._thread is None)
