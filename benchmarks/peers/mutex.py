"""Locks: what a user would pick in place of ferrule.Mutex, for threads, for tasks, and for both at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.peers import optional
from ferrule import Mutex


@dataclass(frozen=True)
class Lock:
    """A kind of lock. Threads enter it by `with`, tasks by `async with`, and both by the methods named here."""

    name: str
    make: Callable[[], Any] | None
    missing: str = ""
    acquire: str = "acquire"
    release: str = "release"
    has_guards: bool = False
    ours: bool = False

    def calls(self, lock: Any) -> tuple[Callable[..., Any], Callable[[], None]]:
        return getattr(lock, self.acquire), getattr(lock, self.release)

    def face(self, lock: Any) -> Any:
        """What a task enters of a lock that threads take too."""
        return lock.aio if self.ours else lock


_aiologic = optional("aiologic", lambda module: module.Lock)
_fastrlock = optional("fastrlock.rlock", lambda module: module.FastRLock, turns_gil_on=True)

THREADS = [
    Lock("threading.Lock", threading.Lock),
    Lock("threading.RLock", threading.RLock),
    Lock("aiologic.Lock", *_aiologic, acquire="green_acquire", release="green_release"),
    Lock("fastrlock.FastRLock", *_fastrlock),
    Lock("ferrule.Mutex", Mutex, has_guards=True, ours=True),
]
TASKS = [
    Lock("asyncio.Lock", asyncio.Lock),
    Lock("aiologic.Lock", *_aiologic, acquire="async_acquire", release="async_release"),
    Lock("ferrule.aio.Mutex", lambda: Mutex().aio, has_guards=True, ours=True),
]
BOTH = [
    Lock("threading.Lock", threading.Lock),
    Lock("aiologic.Lock", *_aiologic),
    Lock("ferrule.Mutex", Mutex, ours=True),
]
BLOCKS_THE_LOOP = "threading.Lock"
"""The one of BOTH that tasks enter by `with`, so that waiting for it stops their whole loop."""

WITH_FAIRNESS = [
    Lock("threading.Lock", threading.Lock),
    Lock("ferrule.Mutex", Mutex, ours=True),
    Lock("ferrule.Mutex, fair=True", lambda: Mutex(fair=True), ours=True),
]
