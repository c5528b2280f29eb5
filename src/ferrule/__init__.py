"""ferrule: hot-path concurrency primitives for threads and asyncio, compiled with Cython.

Everything that can wait has two faces on one object: `x.aio` is the async face of a sync object, `y.sync` the sync face
of an async one, so threads and tasks of any number of event loops meet in one queue.

    bounded, unbounded
                channels between threads and tasks in any combination, with back-pressure and disconnection
    ConcurrentMap, ConcurrentSet, FrozenMap
                hash tables that many threads read and write at once, with entries that hold a key
    Mutex       a lock around a value; eventually fair, never poisoned
    errors      what ferrule raises; every error carries what would be lost
    aio         the async faces under the same names
"""

from . import aio
from .channel import Permit, Receiver, Sender, WeakSender, bounded, unbounded
from .concurrent_map import ABORT, REMOVE, ConcurrentMap, ConcurrentSet, Entries, Entry, FrozenMap
from .errors import (
    MISSING,
    BlockingInEventLoop,
    ChannelError,
    Disconnected,
    Empty,
    FerruleError,
    Full,
    NotEnoughBytes,
    PoolClosed,
    PoolError,
    PoolTimeout,
    Timeout,
    WouldDeadlock,
    allow_blocking,
)
from .mutex import AsyncMutexGuard, Mutex, MutexGuard

__version__ = "0.1.0"

__all__ = [
    "ABORT",
    "MISSING",
    "REMOVE",
    "AsyncMutexGuard",
    "BlockingInEventLoop",
    "ChannelError",
    "ConcurrentMap",
    "ConcurrentSet",
    "Disconnected",
    "Empty",
    "Entries",
    "Entry",
    "FerruleError",
    "FrozenMap",
    "Full",
    "Mutex",
    "MutexGuard",
    "NotEnoughBytes",
    "Permit",
    "PoolClosed",
    "PoolError",
    "PoolTimeout",
    "Receiver",
    "Sender",
    "Timeout",
    "WeakSender",
    "WouldDeadlock",
    "__version__",
    "aio",
    "allow_blocking",
    "bounded",
    "unbounded",
]
