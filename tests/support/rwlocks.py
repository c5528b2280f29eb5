"""An RWLock seen from outside: how it is at rest, who waits for it, and each way to hold it."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ferrule import RWLock

from .mutexes import kinds

__all__ = ["FREE", "KINDS", "TAKE", "TAKE_ASYNC", "TRY", "holding", "kinds", "state"]

FREE = {"readers": 0, "upgradable": False, "writer": False, "parked": False, "waiters": []}
"""`lock._state()` when nobody holds it and nobody waits."""

TAKE: dict[str, Callable[..., Any]] = {
    "read": RWLock.read,
    "read_recursive": RWLock.read_recursive,
    "upgradable": RWLock.upgradable_read,
    "write": RWLock.write,
}
"""Each way to wait for a hold in a thread."""

TAKE_ASYNC: dict[str, Callable[..., Any]] = {
    "read": lambda lock, **named: lock.aio.read(**named),
    "read_recursive": lambda lock, **named: lock.aio.read_recursive(**named),
    "upgradable": lambda lock, **named: lock.aio.upgradable_read(**named),
    "write": lambda lock, **named: lock.aio.write(**named),
}
"""Each way to wait for a hold in a task, given the sync lock."""

TRY: dict[str, Callable[..., Any]] = {
    "read": RWLock.try_read,
    "read_recursive": RWLock.try_read_recursive,
    "upgradable": RWLock.try_upgradable_read,
    "write": RWLock.try_write,
}
"""Each way to take a hold if it can be had at once."""

KINDS: dict[str, dict[str, Any]] = {
    "read": {"readers": 1},
    "read_recursive": {"readers": 1},
    "upgradable": {"upgradable": True},
    "write": {"writer": True},
}
"""How `lock._state()` differs from FREE while there is one such hold."""


def state(**differences: Any) -> dict[str, Any]:
    """`lock._state()` of a lock that differs from a free one in just this."""
    return FREE | differences


@contextlib.contextmanager
def holding(lock: RWLock[Any], *ways: str) -> Iterator[list[Any]]:
    """Holds the lock in each of these ways inside the block, which may end the holds itself."""
    guards = [TAKE[way](lock) for way in ways]
    try:
        yield guards
    finally:
        for guard in guards:
            guard.__exit__(None, None, None)
