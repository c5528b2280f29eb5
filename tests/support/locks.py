"""The two locks behind one table, WAYS: each way to hold one, for the tests that every one of them must pass.

    way = WAYS["fair RWLock.write"]
    lock = way.make("value")
    hold = way.take(lock, timeout=1)        # or await way.take_async(lock)
    assert lock._state() == way.held
    way.end(lock, hold)
    assert lock._state() == way.free

To be imported without pytest, by interpreters that tests start.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ferrule import Mutex, RWLock, Timeout

from . import mutexes, rwlocks
from .driver import new_loop, turns
from .mutexes import kinds
from .race import HANG, spawn

__all__ = ["LOCKS", "WAITS", "WAYS", "Way", "kinds", "loop_with_parked_tasks", "passed_around"]


@dataclass(frozen=True, eq=False)
class Way:
    """One way to hold a lock; what it gives is the hold: a guard, or for Mutex.acquire() just True."""

    lock: type
    name: str
    fair: bool
    """Whether the end of such a hold hands the lock over."""
    take: Callable[..., Any]
    """take(lock, timeout=None): waits in the calling thread."""
    take_async: Callable[..., Any]
    """take_async(lock, timeout=None): the same for a task, to be awaited; given the sync lock."""
    attempt: Callable[[Any], Any]
    """attempt(lock): the hold if it can be had at once, else something false."""
    free: dict[str, Any]
    """`lock._state()` when nobody holds it and nobody waits."""
    held: dict[str, Any]
    """`lock._state()` when there is one such hold and nobody waits."""

    def __str__(self) -> str:
        return f"{'fair ' * self.fair}{self.lock.__name__}.{self.name}"

    @property
    def siblings(self) -> list["Way"]:
        """The ways to hold the same lock, this one first."""
        others = [way for way in WAYS.values() if (way.lock, way.fair) == (self.lock, self.fair) and way is not self]
        return [self, *others]

    def sibling(self, name: str) -> "Way":
        return next(way for way in self.siblings if way.name == name)

    @property
    def alone(self) -> "Way":
        """The way to hold the same lock that keeps everybody else out; its guard gives and takes the value."""
        return self.sibling("lock" if self.lock is Mutex else "write")

    @property
    def blocker(self) -> "Way":
        """A way to hold the same lock that keeps this one out; for an upgrade not at its first step."""
        return self.sibling("read") if self.name == "upgrade" else self.alone

    @property
    def guarded(self) -> bool:
        """Whether the hold is a guard, which gives the value."""
        return self.name != "acquire"

    @property
    def writes(self) -> bool:
        """Whether the hold is a guard that takes a new value."""
        return self.name in ("lock", "enter", "write", "upgrade")

    @property
    def owned(self) -> bool:
        """Whether the lock knows who took such a hold, also without debug."""
        return self.writes or self.name == "upgradable"

    @property
    def one_call(self) -> bool:
        """Whether it is one call that takes a timeout."""
        return self.name not in ("enter", "upgrade")

    @property
    def patience(self) -> dict[str, float]:
        """The timeout that tells a wait from a hang, where there can be one."""
        return {} if self.name == "enter" else {"timeout": HANG}

    def make(self, value: Any = None) -> Any:
        return Mutex(value, fair=self.fair) if self.lock is Mutex else RWLock(value)

    def end(self, lock: Any, hold: Any) -> None:
        """From whatever thread or task."""
        if isinstance(lock, Mutex):
            lock.release()
        else:
            hold.release(fair=self.fair)

    def taken_by_another(self, lock: Any) -> Any:
        """A hold whose owner is a thread that is gone."""
        return spawn(self.take, lock).result()

    @contextlib.contextmanager
    def within(self, lock: Any, **timeout: float | None) -> Iterator[Any]:
        """Holds it inside the block, by a `with` of the lock's or the guard's where there is one."""
        if self.name == "enter":
            with lock as hold:
                yield hold
        elif self.guarded:
            with self.take(lock, **timeout) as hold:
                yield hold
        else:
            hold = self.take(lock, **timeout)
            try:
                yield hold
            finally:
                self.end(lock, hold)

    @contextlib.asynccontextmanager
    async def within_async(self, lock: Any, **timeout: float | None) -> AsyncIterator[Any]:
        """The same in a task, by an `async with` of the face's or the coroutine's where there is one."""
        if self.name == "enter":
            async with lock.aio as hold:
                yield hold
        elif self.name == "upgrade":
            async with lock.aio.upgradable_read(**timeout) as guard:
                yield await guard.upgrade(**timeout)
        elif self.guarded:
            async with self.take_async(lock, **timeout) as hold:
                yield hold
        else:
            hold = await self.take_async(lock, **timeout)
            try:
                yield hold
            finally:
                self.end(lock, hold)

    def visit(self, lock: Any, **timeout: float | None) -> int:
        """Holds it once and adds 1 to the value, where such a hold can; how much it has added."""
        with self.within(lock, **timeout) as guard:
            if self.name == "upgradable":
                with guard.upgraded() as writer:
                    writer.value += 1
            elif self.writes:
                guard.value += 1
        return int(self.owned)

    async def visit_async(self, lock: Any, **timeout: float | None) -> int:
        """The same in a task, which lets others run in the middle of it."""
        async with self.within_async(lock, **timeout) as guard:
            if self.name == "upgradable":
                async with guard.upgraded() as writer:
                    await _add_slowly(writer)
            elif self.writes:
                await _add_slowly(guard)
            else:
                await asyncio.sleep(0)
        return int(self.owned)


async def _add_slowly(guard: Any) -> None:
    before = guard.value
    await asyncio.sleep(0)
    guard.value = before + 1


def _acquire(mutex: Any, *, timeout: float | None = None) -> bool:
    if not mutex.acquire(timeout=-1 if timeout is None else timeout):
        raise Timeout("acquire() gave False")
    return True


def _upgrade(lock: Any, **timeout: float | None) -> Any:
    """The hold to write, by way of the upgradable one, which is not kept if the upgrade fails."""
    guard = lock.upgradable_read(**timeout)
    try:
        return guard.upgrade(**timeout)
    except BaseException:
        guard.release()
        raise


async def _upgrade_async(lock: Any, **timeout: float | None) -> Any:
    guard = await lock.aio.upgradable_read(**timeout)
    try:
        return await guard.upgrade(**timeout)
    except BaseException:
        guard.release()
        raise


def _try_upgrade(lock: Any) -> Any:
    guard = lock.try_upgradable_read()
    if guard is None:
        return None
    writer = guard.try_upgrade()
    if writer is None:
        guard.release()
    return writer


def _ways(fair: bool) -> Iterator[Way]:
    tries: dict[str, Callable[..., Any]] = {"acquire": lambda mutex: mutex.acquire(False)}
    takes: dict[str, Callable[..., Any]] = {"lock": Mutex.lock, "acquire": _acquire, "enter": Mutex.__enter__}
    for name, take in takes.items():
        take_async = mutexes.TAKE[name]
        yield Way(
            Mutex,
            name,
            fair,
            take,
            lambda mutex, take=take_async, **timeout: take(mutex.aio, **timeout),
            tries.get(name, Mutex.try_lock),
            mutexes.FREE,
            mutexes.TAKEN,
        )
    for name, take in rwlocks.TAKE.items():
        held = rwlocks.state(**rwlocks.KINDS[name])
        yield Way(RWLock, name, fair, take, rwlocks.TAKE_ASYNC[name], rwlocks.TRY[name], rwlocks.FREE, held)
    held = rwlocks.state(writer=True)
    yield Way(RWLock, "upgrade", fair, _upgrade, _upgrade_async, _try_upgrade, rwlocks.FREE, held)


WAYS: dict[str, Way] = {str(way): way for fair in (False, True) for way in _ways(fair)}
"""Each way by its name: "Mutex.lock", "fair Mutex.lock", ..., "RWLock.upgrade", "fair RWLock.upgrade"."""

LOCKS: list[Way] = [way for way in WAYS.values() if way is way.alone]
"""One way for each kind of lock and of fairness, where it does not matter how it is taken."""

_KEEP_OUT = {
    "lock": ("acquire",),
    "acquire": ("lock",),
    "enter": ("acquire",),
    "read": ("write",),
    "read_recursive": ("write",),
    "upgradable": ("upgradable", "write"),
    "write": ("read", "upgradable", "write"),
    "upgrade": ("read", "write"),
}

WAITS: list[tuple[Way, Way]] = [(way.sibling(held), way) for way in WAYS.values() for held in _KEEP_OUT[way.name]]
"""Who holds the lock, and who is kept out by that."""


def passed_around(way: Way, lock: Any, rounds: int = 100) -> None:
    """Threads and tasks take a lock that is free in every way that it has; nothing is lost, and it is free again."""

    def visits() -> int:
        return sum(other.visit(lock, **other.patience) for _ in range(rounds) for other in way.siblings)

    async def visits_async() -> int:
        return sum([await other.visit_async(lock, **other.patience) for _ in range(rounds) for other in way.siblings])

    async def two() -> int:
        return sum(await asyncio.gather(visits_async(), visits_async()))

    with way.alone.within(lock) as guard:
        guard.value = 0
    running = [spawn(visits), spawn(visits), spawn(lambda: asyncio.run(two()))]
    total = sum(one.result() for one in running)
    assert lock._state() == way.free
    with way.alone.within(lock) as guard:
        assert guard.value == total


def loop_with_parked_tasks(
    loop_name: str, way: Way, lock: Any, count: int
) -> tuple[asyncio.AbstractEventLoop, list[asyncio.Task[Any]]]:
    """A loop that is not running, with so many of its tasks parked on the lock, and these tasks."""
    loop = new_loop(loop_name)
    # "Task was destroyed but it is pending!" is what the tests are after.
    loop.set_exception_handler(lambda loop, context: None)
    before = len(kinds(lock))

    async def park() -> list[asyncio.Task[Any]]:
        tasks = [loop.create_task(way.take_async(lock)) for _ in range(count)]
        await turns()
        return tasks

    tasks = loop.run_until_complete(park())
    assert len(kinds(lock)) == before + count
    return loop, tasks
