"""What a type checker must accept, with the types that it must infer. Checked by mypy, never run."""

import asyncio
from collections.abc import Coroutine
from typing import Any, assert_type

import ferrule
from ferrule import MISSING, AsyncMutexGuard, Full, Mutex, MutexGuard, NotEnoughBytes, PoolTimeout, Timeout, aio


def a_mutex_knows_the_type_of_its_value(names: Mutex[list[str]]) -> None:
    assert_type(Mutex(0), Mutex[int])
    assert_type(Mutex("a", fair=True), Mutex[str])
    assert_type(Mutex(), Mutex[None])
    with names as guard:
        assert_type(guard, MutexGuard[list[str]])
        assert_type(guard.value, list[str])
        guard.value.append("b")
        guard.value = ["c"]


def a_mutex_of_something_wider() -> None:
    maybe: Mutex[int | None] = Mutex(None)
    with maybe as guard:
        guard.value = 3


def guards(mutex: Mutex[int]) -> None:
    guard = mutex.lock()
    assert_type(guard, MutexGuard[int])
    with guard.unlocked():
        pass
    assert_type(guard.release(fair=True), None)
    with mutex.lock(timeout=0.5) as guard:
        assert_type(guard.value, int)
    mutex.lock(timeout=None).release()
    mutex.lock(timeout=1).release()
    assert_type(mutex.try_lock(), MutexGuard[int] | None)
    if tried := mutex.try_lock():
        assert_type(tried.value, int)


def as_threading_lock(mutex: Mutex[None]) -> None:
    assert_type(mutex.acquire(), bool)
    assert_type(mutex.acquire(False), bool)
    assert_type(mutex.acquire(True, 1.5), bool)
    assert_type(mutex.acquire(blocking=True, timeout=-1), bool)
    assert_type(mutex.locked(), bool)
    assert_type(mutex.release(), None)


def faces(mutex: Mutex[int]) -> None:
    assert_type(mutex.aio, aio.Mutex[int])
    assert_type(mutex.aio.sync, Mutex[int])
    assert_type(aio.Mutex("a"), aio.Mutex[str])
    assert_type(aio.Mutex(fair=True), aio.Mutex[None])


async def the_async_face(mutex: aio.Mutex[int]) -> None:
    async with mutex as guard:
        assert_type(guard, AsyncMutexGuard[int])
        assert_type(guard.value, int)
        guard.value += 1
        async with guard.unlocked():
            pass
    async with mutex.lock(timeout=1) as guard:
        assert_type(guard, AsyncMutexGuard[int])
    guard = await mutex.lock()
    assert_type(guard.release(), None)
    assert_type(mutex.try_lock(), AsyncMutexGuard[int] | None)
    assert_type(await mutex.acquire(timeout=0.5), bool)
    assert_type(mutex.locked(), bool)
    assert_type(mutex.release(), None)


async def what_async_methods_return(mutex: aio.Mutex[int]) -> None:
    coroutine: Coroutine[Any, Any, AsyncMutexGuard[int]] = mutex.lock()
    assert_type(await asyncio.create_task(coroutine), AsyncMutexGuard[int])
    assert_type(await asyncio.wait_for(mutex.lock(), 1), AsyncMutexGuard[int])
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(mutex.acquire()), asyncio.Task[bool])


def errors() -> None:
    try:
        Mutex().lock(timeout=0)
    except Timeout as error:
        assert_type(error.sent, int)
    try:
        raise Full("no room", item=3)
    except ferrule.ChannelError as error:
        raise NotEnoughBytes(requested=8, available=3) from error


def fields(timeout: PoolTimeout, short: NotEnoughBytes) -> None:
    assert_type(timeout.stage, str)
    assert_type((timeout.size, timeout.in_use, timeout.waiting), tuple[int, int, int])
    assert_type((short.requested, short.available), tuple[int, int])


def blocking(item: object) -> None:
    with ferrule.allow_blocking():
        pass
    if item is MISSING or not MISSING:
        pass
    assert_type(ferrule.__version__, str)
