"""A Condition seen from outside: who waits at it; threads and tasks that wait, and that notify."""

import asyncio
from collections.abc import Callable
from typing import Any

from .race import Running, eventually, spawn

__all__ = ["notify", "notify_async", "waiting", "waiting_task", "waiting_thread", "waits"]


def waiting(condition: Any) -> list[str]:
    """Who waits for a notification, first in line first: "thread" or "task"."""
    return [kind for kind, _ in condition._state()]


def notify(condition: Any, n: int = 1) -> None:
    """Takes the lock, notifies, and releases it."""
    with condition:
        condition.notify(n)


def waiting_thread(
    condition: Any, wait: Callable[[], Any] | None = None, done: Callable[[], Any] | None = None
) -> Running:
    """A thread that waits, behind those who wait already; it calls done() with the lock held, which is its result."""

    inside: list[None] = []

    def waits() -> Any:
        with condition:
            inside.append(None)
            given = (wait or condition.wait)()
            return done() if done else given

    running = spawn(waits)
    eventually(lambda: inside)
    eventually(lambda: not condition.locked())  # it gives up the lock when it is queued
    return running


async def waits(condition: Any, done: Callable[[], Any] = lambda: None) -> Any:
    """A task's wait at a condition of Mutex("value"); what done() gives with the lock held."""
    async with condition.aio as guard:
        assert await condition.aio.wait() is None
        assert condition.locked()
        assert guard.value == "value"
        return done()


async def waiting_task(condition: Any, *args: Callable[[], Any]) -> asyncio.Task[Any]:
    """A task that waits, behind those who wait already."""
    before = len(waiting(condition))
    task = asyncio.create_task(waits(condition, *args))
    while len(waiting(condition)) == before:
        await asyncio.sleep(0)
    return task


async def notify_async(condition: Any, n: int = 1) -> None:
    """The same as a task, of a condition of Mutex("value")."""
    async with condition.aio as guard:
        condition.aio.notify(n)
        assert guard.value == "value"
