"""Pools whose hooks count what there is, and misbehave when told to.

hooks = Hooks(limit=2)
pool = Pool(max_size=2, **hooks.all())
hooks.does["reset"] = raising(KeyError)     # from now on; hooks.does.clear() ends it
rests(pool, hooks)                          # nothing leased, nobody waiting, no slot lost, never more than `limit`
"""

import asyncio
import contextlib
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from ferrule import Lease, Pool, PoolTimeout, aio

from .race import HANG, Running, eventually, spawn

__all__ = [
    "Hooks",
    "Thing",
    "amade",
    "arests",
    "ause",
    "close",
    "exhausted",
    "figures",
    "filled",
    "queued",
    "rests",
    "soon",
    "waiting_thread",
    "waits_behind",
]


class Thing:
    """An object of a pool."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.destroyed = False

    def __repr__(self) -> str:
        return f"<thing {self.number}>"


class Hooks:
    """The hooks of a pool: they count the objects, record their calls, and do what `does` says under their name.

    Asynchronous ones let the loop turn once before and once after that, if they are `slow`.
    """

    def __init__(self, limit: int, *, asynchronous: bool | tuple[str, ...] = False) -> None:
        self.limit = limit
        self.asynchronous = asynchronous
        self.slow = True
        self.does: dict[str, Callable[..., Any]] = {}
        self.calls: list[tuple[str, int | None]] = []
        self.events: list[tuple[str, Any, BaseException | None]] = []
        self.live = self.most = 0
        self.destroyed: list[int] = []
        self.doubled: list[Thing] = []
        self._numbers = itertools.count()
        self.lock = threading.Lock()

    def all(self, *but: str) -> dict[str, Callable[..., Any]]:
        """Every hook, as arguments for a pool."""
        names = ["create", "reset", "validate", "destroy", "on_event"]
        return {name: self._hook(name) for name in names if name not in but}

    def only(self, *names: str) -> dict[str, Callable[..., Any]]:
        """`create`, `destroy` and these."""
        return {name: self._hook(name) for name in {"create", "destroy", *names}}

    def named(self, event: str) -> list[tuple[Any, BaseException | None]]:
        """What on_event was told of that event."""
        return [(obj, error) for name, obj, error in self.events if name == event]

    def _hook(self, name: str) -> Callable[..., Any]:
        work = getattr(self, f"_{name}")
        waits = self.asynchronous if isinstance(self.asynchronous, bool) else name in self.asynchronous

        def hook(*args: Any) -> Any:
            with work(*args) as given:
                done = self._do(name, *args)
                return done if given is None else given

        async def async_hook(*args: Any) -> Any:
            with work(*args) as given:
                if self.slow:
                    await asyncio.sleep(0)
                done = self._do(name, *args)
                if inspect.isawaitable(done):
                    done = await done
                if self.slow:
                    await asyncio.sleep(0)
                return done if given is None else given

        return async_hook if waits else hook

    def _do(self, name: str, *args: Any) -> Any:
        return self.does[name](*args) if name in self.does else None

    @contextlib.contextmanager
    def _create(self) -> Iterator[Thing]:
        with self.lock:
            thing = Thing(next(self._numbers))
            self.calls.append(("create", thing.number))
            self.live += 1
            self.most = max(self.most, self.live)
        try:
            yield thing
        except BaseException:
            with self.lock:
                self.live -= 1
            raise

    @contextlib.contextmanager
    def _destroy(self, thing: Thing) -> Iterator[None]:
        with self.lock:
            self.calls.append(("destroy", thing.number))
            if thing.destroyed:
                self.doubled.append(thing)
            thing.destroyed = True
        try:
            yield
        finally:
            with self.lock:
                self.live -= 1
                self.destroyed.append(thing.number)

    @contextlib.contextmanager
    def _reset(self, thing: Thing) -> Iterator[None]:
        self.calls.append(("reset", thing.number))
        yield

    @contextlib.contextmanager
    def _validate(self, thing: Thing) -> Iterator[None]:
        self.calls.append(("validate", thing.number))
        yield

    @contextlib.contextmanager
    def _on_event(self, event: str, obj: Any, error: BaseException | None) -> Iterator[None]:
        self.events.append((event, obj, error))
        yield

    def check(self, objects: int) -> None:
        """There are so many objects, there never were too many, and none was destroyed twice."""
        assert self.most <= self.limit, f"{self.most} objects at once, where {self.limit} may be"
        assert self.live == objects
        assert self.doubled == []


def figures(pool: Any) -> tuple[int, int, int, int]:
    """(idle, in_use, size, waiting)."""
    return pool.idle, pool.in_use, pool.size, pool.waiting


def _is_quiet(pool: Any, hooks: Hooks | None) -> None:
    assert (pool.in_use, pool.waiting) == (0, 0), repr(pool)
    assert pool.idle == pool.size <= pool.max_size
    if hooks is not None:
        hooks.does.clear()
        hooks.check(pool.size)


def rests(pool: Pool[Any], hooks: Hooks | None = None) -> None:
    """Nothing is leased and nobody waits; `max_size` objects can be leased, and no more."""
    _is_quiet(pool, hooks)
    leases = [pool.acquire(timeout=0) for _ in range(pool.max_size)]
    assert len({id(lease.value) for lease in leases}) == pool.max_size
    assert pool.try_acquire() is None
    for lease in leases:
        lease.release()
    _is_quiet(pool, hooks)
    assert pool.idle == pool.max_size


async def arests(pool: Any, hooks: Hooks | None = None) -> None:
    """rests() for an aio.Pool."""
    _is_quiet(pool, hooks)
    leases = [await pool.acquire(timeout=0) for _ in range(pool.max_size)]
    assert len({id(lease.value) for lease in leases}) == pool.max_size
    assert pool.try_acquire() is None
    for lease in leases:
        await lease.release()
    _is_quiet(pool, hooks)
    assert pool.idle == pool.max_size


def queued(pool: Any, count: int) -> None:
    """Waits until so many wait."""
    eventually(lambda: pool.waiting == count)


def waits_behind(pool: Any, begin: Callable[[], Any]) -> Any:
    """Begins a wait and gives what that gave, once it is queued."""
    before = pool.waiting
    begun = begin()
    queued(pool, before + 1)
    return begun


def filled(size: int, **options: Any) -> tuple[Pool[Any], Hooks]:
    """A pool with so many idle objects, and the hooks that count them."""
    hooks = Hooks(size)
    pool = Pool(max_size=size, **{**hooks.only("on_event"), **options})
    leases = [pool.acquire() for _ in range(size)]
    for lease in leases:
        lease.release()
    return pool, hooks


def exhausted(size: int = 1, **options: Any) -> tuple[Pool[Any], list[Lease[Any]]]:
    """A pool of which every object is leased, and the leases."""
    pool = Pool(object, max_size=size, **options)
    return pool, [pool.acquire() for _ in range(size)]


def waiting_thread(pool: Any, **timeout: Any) -> Running:
    """A thread that waits for an object and gives it back; its result is the object."""

    def wait() -> Any:
        with pool.acquire(**timeout) as obj:
            return obj

    thread: Running = waits_behind(pool, lambda: spawn(wait))
    return thread


def close(pool: Any) -> None:
    """Closes it without waiting, whatever is leased."""
    with contextlib.suppress(PoolTimeout):
        pool.close(timeout=0)


def amade(size: int = 1, *, asynchronous: bool | tuple[str, ...] = True, **options: Any) -> tuple[Any, Hooks]:
    """A new aio.Pool, and its hooks."""
    hooks = Hooks(size, asynchronous=asynchronous)
    return aio.Pool(max_size=size, **{**hooks.all(), **options}), hooks


async def soon(awaitable: Any) -> Any:
    """What it gives, if that does not hang."""
    return await asyncio.wait_for(awaitable, HANG)


async def ause(pool: Any, *, timeout: float | None = None) -> Any:
    """Leases an object, lets the loop turn, and gives it back; the object."""
    async with pool.acquire(timeout=timeout) as thing:
        await asyncio.sleep(0)
        return thing
