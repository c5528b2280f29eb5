"""How two threads use a Pool and its leases, of either face."""

import contextlib
import random
from collections.abc import Callable
from typing import Any

import ferrule
from ferrule import Lease, PoolClosed, PoolTimeout

from .driver import complete
from .two_threads import Run, Use

__all__ = ["POOL_USES"]

SHORT = 0.001
SIZE = 2


def pool() -> Any:
    """A pool of lists with every hook that does something."""
    return ferrule.Pool(list, max_size=SIZE, min_size=1, reset=list.clear, validate=len, destroy=list.clear)


async def leased(pool: Any) -> None:
    async with pool.acquire(timeout=SHORT) as items:
        items.append(1)


async def entered(pool: Any) -> None:
    async with pool:
        await leased(pool)


def use(lease: Lease[Any] | None) -> None:
    """Uses a lease by `with`, if there is one."""
    if lease is not None:
        with lease as items:
            items.append(1)


def end(lease: Any, run: Run) -> None:
    if lease is not None:
        run(lease.release())


LOOKS: dict[str, Callable[[Any, Run], Any]] = {
    "idle": lambda p, _: p.idle,
    "in_use": lambda p, _: p.in_use,
    "size": lambda p, _: p.size,
    "waiting": lambda p, _: p.waiting,
    "max_size": lambda p, _: p.max_size,
    "closed": lambda p, _: p.closed,
    "stats": lambda p, _: p.stats(),
    "repr": lambda p, _: repr(p),
    "attach": lambda p, _: p.attach([]),
}


def rests(pool: Any) -> None:
    """Nothing is leased and nobody waits; all that there may be can be leased, or the pool is closed and empty."""
    assert (pool.in_use, pool.waiting, pool.idle) == (0, 0, pool.size)
    assert pool.size <= pool.max_size
    if pool.closed:
        assert pool.size == 0
        return
    leases = [pool.acquire(timeout=0) for _ in range(pool.max_size)]
    assert pool.try_acquire() is None
    for lease in leases:
        lease.release()
    pool.close(timeout=0)


POOL = Use(
    make=pool,
    calls={
        "acquire": lambda p, _: use(p.acquire(timeout=SHORT)),
        "try_acquire": lambda p, _: use(p.try_acquire()),
        "acquire_or": lambda p, _: use(p.acquire_or(list)),
        "resize": lambda p, _: p.resize(random.randint(1, SIZE)),
        "retain": lambda p, _: p.retain(len),
        "reap": lambda p, _: p.reap(),
        "warm_up": lambda p, _: p.warm_up(),
        "close": lambda p, _: random.random() < 0.1 and p.close(timeout=SHORT),
        "with": lambda p, _: random.random() < 0.1 and p.__exit__(None, None, None),
        "aio": lambda p, run: run(leased(p.aio)),
        **LOOKS,
    },
    errors=(PoolTimeout, PoolClosed, ValueError),
    rest=rests,
)

ASYNC_POOL = Use(
    make=lambda: pool().aio,
    calls={
        "acquire": lambda p, run: run(leased(p)),
        "try_acquire": lambda p, run: end(p.try_acquire(), run),
        "acquire_or": lambda p, run: end(p.acquire_or(list), run),
        "resize": lambda p, run: run(p.resize(random.randint(1, SIZE))),
        "retain": lambda p, run: run(p.retain(len)),
        "reap": lambda p, run: run(p.reap()),
        "warm_up": lambda p, run: run(p.warm_up()),
        "close": lambda p, run: random.random() < 0.1 and run(p.close(timeout=SHORT)),
        "with": lambda p, run: random.random() < 0.1 and run(entered(p)),
        "sync": lambda p, _: use(p.sync.try_acquire()),
        "look": lambda p, _: (hash(p), p == p.sync.aio),
        **LOOKS,
    },
    errors=POOL.errors,
    rest=lambda p: rests(p.sync),
)


def held(make: Callable[[], Any]) -> Callable[[], Any]:
    """A lease and its pool, which is whole when the lease has ended."""
    return lambda: (shared := make(), shared.try_acquire())


def ended(shared: Any, finish: Callable[[Any], Any]) -> None:
    """The lease has ended, or ends now; the pool is whole."""
    of, lease = shared
    with contextlib.suppress(RuntimeError):
        finish(lease)
    rests(of)


LEASE = Use(
    make=held(pool),
    calls={
        "value": lambda s, _: s[1].value.append(1),
        "release": lambda s, _: s[1].release(),
        "detach": lambda s, _: s[1].detach(),
        "discard": lambda s, _: s[1].discard(),
        "with": lambda s, _: use(s[1]),
        "repr": lambda s, _: repr(s[1]),
    },
    errors=(RuntimeError,),
    rest=lambda s: ended(s, lambda lease: lease.release()),
)

ASYNC_LEASE = Use(
    make=held(lambda: pool().aio),
    calls={
        "value": lambda s, _: s[1].value.append(1),
        "release": lambda s, run: run(s[1].release()),
        "detach": lambda s, _: s[1].detach(),
        "discard": lambda s, run: run(s[1].discard()),
        "repr": lambda s, _: repr(s[1]),
    },
    errors=(RuntimeError,),
    rest=lambda s: ended((s[0].sync, s[1]), lambda lease: complete(lease.release())),
)

ACQUIRING = Use(
    make=lambda: (shared := pool(), shared.aio.acquire()),
    calls={
        "send": lambda s, _: stepped(s[1].send, None),
        "throw": lambda s, _: stepped(s[1].throw, KeyError()),
        "close": lambda s, _: s[1].close(),
        "repr": lambda s, _: repr(s[1]),
    },
    errors=(RuntimeError, KeyError, ValueError),  # reused; what is thrown; driven twice at once
    rest=lambda s: closed(*s),
)


def closed(pool: Any, acquiring: Any) -> None:
    """The coroutine has ended, or ends now; the pool is whole."""
    acquiring.close()
    rests(pool)


def stepped(advance: Callable[[Any], Any], argument: Any) -> None:
    """One step of acquire(); what it leases goes back."""
    try:
        advance(argument)
    except StopIteration as stop:
        complete(stop.value.release())


POOL_USES = {
    "ferrule.Pool": POOL,
    "ferrule.aio.Pool": ASYNC_POOL,
    "ferrule.Lease": LEASE,
    "ferrule.AsyncLease": ASYNC_LEASE,
    "what aio.Pool.acquire() gives": ACQUIRING,
}
