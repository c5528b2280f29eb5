"""Objects of a Pool whose destructors call back, come back to life, or nest: no crash, and each dies once."""

import gc
import warnings
import weakref

import pytest

from ferrule import Pool
from tests.support.hostile import calling, hostile, resurrecting, returning
from tests.support.leaks import in_subprocess
from tests.support.pools import close, figures, rests


def test_a_destructor_that_calls_back_while_its_pool_dies():
    seen = []

    def look():
        seen.append(weakly())

    pool = Pool(lambda: hostile(__del__=calling(look)), max_size=3)
    weakly = weakref.ref(pool)
    for lease in [pool.acquire() for _ in range(3)]:
        lease.release()
    del pool, lease
    assert seen == [None] * 3


@pytest.mark.parametrize("end", ["discard", "retain", "close", "detach", "resize", "collected"])
def test_a_destructor_that_uses_the_pool(end):
    seen = []

    def use():
        if len(seen) > 20:
            return
        seen.append(figures(pool))
        pool.retain(returning(True))
        pool.reap()
        with pool.acquire_or(object):
            pass

    pool = Pool(lambda: hostile(__del__=calling(use)), max_size=2)
    lease = pool.acquire()
    pool.acquire().release()
    match end:
        case "discard":
            lease.discard()
        case "detach":
            lease.detach()
        case "retain":
            lease.release()
            pool.retain(returning(False))
        case "resize":
            lease.release()
            pool.resize(1)
        case "close":
            seen.extend([None] * 21)  # it may not be used any more
            lease.release()
            pool.close()
        case "collected":
            with pytest.warns(ResourceWarning):
                del lease
                gc.collect()
            pool.retain(returning(False))
    assert seen
    assert pool.in_use == 0
    seen.extend([None] * 21)
    if end != "close":
        rests(pool)


def test_a_destructor_that_closes_the_pool():
    pool = Pool(lambda: hostile(__del__=calling(lambda: close(pool))), max_size=3)
    leases = [pool.acquire() for _ in range(3)]
    leases.pop().discard()
    assert pool.closed
    for lease in leases:
        lease.release()
    assert figures(pool) == (0, 0, 0, 0)
    pool.close(timeout=0)


def test_an_object_that_comes_back_to_life_is_the_pools_no_more():
    grave = []
    pool = Pool(lambda: hostile(__del__=resurrecting(grave)), max_size=1)
    pool.acquire().discard()
    assert len(grave) == 1
    assert figures(pool) == (0, 0, 0, 0)
    pool.attach(grave.pop())
    assert figures(pool) == (1, 0, 1, 0)


def test_a_lease_that_its_object_brings_back_to_life_has_ended():
    grave = []
    pool = Pool(lambda: hostile(__del__=resurrecting(grave)), max_size=1)
    lease = pool.acquire()
    lease.value.lease = lease
    with pytest.warns(ResourceWarning):
        del lease
        gc.collect()
    pool.retain(returning(False))
    gc.collect()
    (obj,) = grave
    with pytest.raises(RuntimeError):
        obj.lease.release()
    del obj.lease
    grave.clear()
    rests(pool)


def test_a_weakref_callback_that_uses_the_dying_pool():
    seen = []
    pool = Pool(lambda: hostile(__del__=returning(None)), max_size=1)
    lease = pool.acquire()
    one = weakref.ref(lease.value, lambda _: seen.append(figures(pool)))
    lease.discard()
    assert seen == [(0, 1, 1, 0)]
    assert one() is None
    two = weakref.ref(pool, lambda ref: seen.append(ref()))
    pool = lease = None
    gc.collect()
    assert seen[1:] == [None]
    assert two() is None


@pytest.mark.parametrize("depth", [100_000])
@pytest.mark.parametrize(
    "wrap",
    {
        "pools in pools": "lambda inner: (pool := Pool(object, max_size=1), pool.attach(inner))[0]",
        "leases of pools of leases": "lambda inner: Pool(returning(inner), max_size=1).acquire()",
        "ended leases": "lambda inner: (lease := Pool(returning(inner), max_size=1).acquire(), lease.release())[0]",
        "pools of hooks": "lambda inner: Pool(inner if callable(inner) else returning(inner), max_size=1).acquire",
        "faces of pools": "lambda inner: (pool := aio.Pool(object, max_size=1), pool.attach(inner))[0]",
    }.items(),
    ids=lambda wrap: wrap[0],
)
def test_a_deep_nest_is_destroyed(wrap, depth):
    in_subprocess(
        f"""
        import warnings
        from ferrule import Pool, aio
        from tests.support.hostile import assert_destroyed, returning
        warnings.simplefilter("ignore")
        assert_destroyed({depth}, {wrap[1]})
        """
    )


def test_a_deep_cycle_is_collected():
    in_subprocess(
        """
        import gc
        from ferrule import Pool
        from tests.support.hostile import calling, hostile

        died = []
        innermost = hostile(__del__=calling(lambda: died.append(1)))
        outermost = innermost
        for _ in range(100_000):
            pool = Pool(object, max_size=1)
            pool.attach(outermost)
            outermost = pool
        innermost.outermost = outermost
        del outermost, innermost, pool
        gc.collect()
        assert died == [1]
        """
    )


def test_many_leases_collected_at_once():
    pool = Pool(object, max_size=10_000)
    leases = [pool.acquire() for _ in range(10_000)]
    leases.append(leases)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        del leases
        gc.collect()
    assert figures(pool) == (10_000, 0, 10_000, 0)
