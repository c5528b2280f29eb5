"""Locks around a value: what a user would pick in place of ferrule.RWLock, for threads and for tasks.

A peer's value stands in a cell beside its lock. Where a peer has several ways to the same, it is the fastest.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.peers import optional
from ferrule import RWLock

Calls = tuple[Callable[..., Any], Callable[[], object]]


def _itself(lock: Any) -> Any:
    return lock


@dataclass(frozen=True)
class Lock:
    """A kind of lock. What a thread or task enters to read or to write is, by `form`:

    kept: a context manager that it makes once; called: what makes one for each block; guards: the same, but the value
    is reached by what the block is entered with.
    """

    name: str
    make: Callable[[], Any] | None
    missing: str = ""
    form: Literal["kept", "called", "guards"] = "kept"
    reader: Callable[[Any], Any] = _itself
    writer: Callable[[Any], Any] = _itself
    read: Callable[[Any], Calls] | None = None
    write: Callable[[Any], Calls] | None = None
    shared: bool = True
    """Whether many read at once."""
    tries: bool = True
    """Whether a reader's acquire() takes blocking=False."""
    ours: bool = False

    def read_calls(self, lock: Any) -> Calls:
        """What takes and what ends a hold to read, to be made once by each thread or task."""
        return self.read(lock) if self.read else _calls(self.reader(lock))

    def write_calls(self, lock: Any) -> Calls:
        return self.write(lock) if self.write else _calls(self.writer(lock))


def _calls(kept: Any) -> Calls:
    return kept.acquire, kept.release


THREAD = Lock("threading.Lock", threading.Lock, shared=False)
THREAD_RLOCK = Lock("threading.RLock", threading.RLock, shared=False)
READERWRITERLOCK = Lock(
    "readerwriterlock.RWLockFair",
    *optional("readerwriterlock.rwlock", lambda module: module.RWLockFair),
    reader=lambda lock: lock.gen_rlock(),
    writer=lambda lock: lock.gen_wlock(),
)
READERWRITERLOCK_READ = Lock(
    "readerwriterlock.RWLockRead",
    *optional("readerwriterlock.rwlock", lambda module: module.RWLockRead),
    reader=lambda lock: lock.gen_rlock(),
    writer=lambda lock: lock.gen_wlock(),
)
"""The fastest of its package where nobody writes: it lets readers pass all writers."""
RWLOCK = Lock(
    "rwlock.RWLock",
    *optional("rwlock", lambda module: module.RWLock),
    reader=lambda lock: lock.reader_lock,
    writer=lambda lock: lock.writer_lock,
)
FASTENERS = Lock(
    "fasteners.ReaderWriterLock",
    *optional("fasteners", lambda module: module.ReaderWriterLock),
    form="called",
    reader=lambda lock: lock.read_lock,
    writer=lambda lock: lock.write_lock,
    read=lambda lock: (lock.acquire_read_lock, lock.release_read_lock),
    write=lambda lock: (lock.acquire_write_lock, lock.release_write_lock),
    tries=False,
)


def _contexts() -> Any:
    return importlib.import_module("ft_utils.synchronization")


FT_UTILS = Lock(
    "ft_utils.RWLock",
    *optional("ft_utils.synchronization", lambda module: module.RWLock),
    reader=lambda lock: _contexts().RWReadContext(lock),
    writer=lambda lock: _contexts().RWWriteContext(lock),
    read=lambda lock: (lock.lock_read, lock.unlock_read),
    write=lambda lock: (lock.lock_write, lock.unlock_write),
    tries=False,
)
OURS = Lock(
    "ferrule.RWLock",
    lambda: RWLock(0),
    form="guards",
    reader=lambda lock: lock.read,
    writer=lambda lock: lock.write,
    ours=True,
)
ASYNCIO = Lock("asyncio.Lock", asyncio.Lock, shared=False)
AIORWLOCK = Lock(
    "aiorwlock.RWLock",
    *optional("aiorwlock", lambda module: module.RWLock),
    reader=lambda lock: lock.reader,
    writer=lambda lock: lock.writer,
)
AIORWLOCK_FAST = Lock(
    "aiorwlock.RWLock, fast=True",
    *optional("aiorwlock", lambda module: lambda: module.RWLock(fast=True)),
    reader=lambda lock: lock.reader,
    writer=lambda lock: lock.writer,
)
"""Without the turn of the loop that each taking of the other costs."""
OURS_AIO = Lock(
    "ferrule.aio.RWLock",
    lambda: RWLock(0).aio,
    form="guards",
    reader=lambda lock: lock.read,
    writer=lambda lock: lock.write,
    ours=True,
)


ONLY_SHARED = [READERWRITERLOCK, READERWRITERLOCK_READ, RWLOCK, FASTENERS, FT_UTILS]
THREADS = [THREAD, THREAD_RLOCK, *ONLY_SHARED, OURS]
TRYING = [contender for contender in THREADS if contender.tries]
TASKS = [ASYNCIO, AIORWLOCK, AIORWLOCK_FAST, OURS_AIO]
TAKING_TURNS = [THREAD, READERWRITERLOCK, RWLOCK, FASTENERS, FT_UTILS, OURS]
"""One of each package; RWLockRead lets readers that never rest keep all writers out, and means to."""
