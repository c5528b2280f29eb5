"""What a type checker must accept of Condition, with the types that it must infer. Checked by mypy, never run."""

import asyncio
from collections.abc import Coroutine
from typing import Any, assert_type

from ferrule import AsyncMutexGuard, Condition, Mutex, MutexGuard, aio


def a_condition_knows_the_type_of_its_mutexs_value(mutex: Mutex[list[str]], face: aio.Mutex[int]) -> None:
    assert_type(Condition(), Condition[None])
    assert_type(Condition(None), Condition[None])
    assert_type(Condition(mutex), Condition[list[str]])
    assert_type(Condition(mutex=face), Condition[int])
    assert_type(aio.Condition(mutex), aio.Condition[list[str]])
    assert_type(aio.Condition(face), aio.Condition[int])
    with Condition(mutex) as guard:
        assert_type(guard, MutexGuard[list[str]])
        guard.value.append("b")


def waiting(condition: Condition[list[str]]) -> None:
    with condition as guard:
        assert_type(condition.wait_for(lambda: guard.value), list[str])
        assert_type(condition.wait_for(lambda: len(guard.value) > 3, timeout=1), bool)
        condition.wait()
        condition.wait(timeout=0.5)
        condition.notify()
        condition.notify(n=2)
        condition.notify_all()
    assert_type(condition.acquire(False), bool)
    assert_type(condition.locked(), bool)
    condition.release()


def faces(condition: Condition[int]) -> None:
    assert_type(condition.aio, aio.Condition[int])
    assert_type(condition.aio.sync, Condition[int])


async def the_async_face(condition: aio.Condition[list[str]]) -> None:
    async with condition as guard:
        assert_type(guard, AsyncMutexGuard[list[str]])
        assert_type(await condition.wait_for(lambda: guard.value, timeout=None), list[str])
        await condition.wait(timeout=0.5)
        condition.notify(True)
        condition.notify_all()
        coroutine: Coroutine[Any, Any, None] = condition.wait()
        await asyncio.wait_for(coroutine, 1)
    assert_type(await condition.acquire(timeout=1), bool)
    condition.release()
