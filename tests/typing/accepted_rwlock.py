"""What a type checker must accept of RWLock, with the types that it must infer. Checked by mypy, never run."""

import asyncio
from typing import Any, assert_type

from ferrule import (
    AsyncReadGuard,
    AsyncUpgradableGuard,
    AsyncWriteGuard,
    ReadGuard,
    RWLock,
    UpgradableGuard,
    WriteGuard,
    aio,
    debug,
)


def a_lock_knows_the_type_of_its_value(names: RWLock[list[str]]) -> None:
    assert_type(RWLock(0), RWLock[int])
    assert_type(RWLock("a", debug=True), RWLock[str])
    assert_type(RWLock(), RWLock[None])
    with names.read() as reader:
        assert_type(reader, ReadGuard[list[str]])
        assert_type(reader.value, list[str])
    with names.write(timeout=1) as writer:
        assert_type(writer, WriteGuard[list[str]])
        writer.value = [*writer.value, "a"]
    with names.upgradable_read(timeout=None) as guard:
        assert_type(guard, UpgradableGuard[list[str]])
        with guard.upgraded() as inner:
            assert_type(inner, WriteGuard[list[str]])
    assert_type(names.try_read(), ReadGuard[list[str]] | None)
    assert_type(names.try_read_recursive(), ReadGuard[list[str]] | None)
    assert_type(names.try_write(), WriteGuard[list[str]] | None)
    assert_type(names.try_upgradable_read(), UpgradableGuard[list[str]] | None)
    assert_type(names.readers, int)
    assert_type(names.locked() or names.locked_exclusive(), bool)


def conversions(lock: RWLock[int]) -> None:
    guard = lock.write()
    upgradable = guard.downgrade_to_upgradable()
    assert_type(upgradable, UpgradableGuard[int])
    assert_type(upgradable.try_upgrade(), WriteGuard[int] | None)
    writer = upgradable.upgrade(timeout=0.5)
    assert_type(writer, WriteGuard[int])
    reader = writer.downgrade()
    assert_type(reader, ReadGuard[int])
    with reader.unlocked():
        pass
    reader.release(fair=True)


async def the_async_face(lock: aio.RWLock[int]) -> None:
    assert_type(lock.sync.aio, aio.RWLock[int])
    async with lock.read() as reader:
        assert_type(reader, AsyncReadGuard[int])
        async with reader.unlocked():
            pass
    async with lock.upgradable_read() as guard:
        assert_type(guard, AsyncUpgradableGuard[int])
        async with guard.upgraded() as inner:
            inner.value += 1
        writer = await guard.upgrade(timeout=1)
        assert_type(writer, AsyncWriteGuard[int])
        assert_type(writer.downgrade(), AsyncReadGuard[int])
    assert_type(await asyncio.wait_for(lock.write(), 1), AsyncWriteGuard[int])
    task = asyncio.create_task(lock.read_recursive())
    assert_type(await task, AsyncReadGuard[int])


def deadlocks() -> None:
    for cycle in debug.deadlocks():
        for held in cycle:
            assert_type(held.holder, str)
            assert_type(held.stack, str | None)
            holder, thing, wanted, stack = held
            print(holder, thing is wanted, stack)
    found: Any = debug.Held("a", 1, 2, None)
    print(found)
