"""A Mutex seen from outside: how it is at rest, who waits for it, and how a task takes it."""

from collections.abc import Callable
from typing import Any

from ferrule.aio import Mutex

__all__ = ["FREE", "TAKE", "TAKEN", "kinds"]

FREE = {"locked": False, "parked": False, "waiters": []}
"""`mutex._state()` when nobody holds it and nobody waits."""

TAKEN = FREE | {"locked": True}
"""`mutex._state()` when somebody holds it and nobody waits."""

TAKE: dict[str, Callable[..., Any]] = {
    "lock": Mutex.lock,
    "acquire": Mutex.acquire,
    "enter": Mutex.__aenter__,
}
"""Each way to wait for the lock in a task; `mutex.release()` ends each of these holds."""


def kinds(lock: Any) -> list[str]:
    """Who waits for a Mutex or an RWLock, upgrades first, then first in line first: "thread" or "task"."""
    return [kind for kind, _ in lock._state()["waiters"]]
