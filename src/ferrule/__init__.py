"""ferrule: hot-path concurrency primitives for threads and asyncio, compiled with Cython.

Everything that can wait has two faces on one object: `x.aio` is the async face of a sync object, `y.sync` the sync face
of an async one, so threads and tasks of any number of event loops meet in one queue.

    bounded, unbounded
                channels between threads and tasks in any combination, with back-pressure and disconnection
    select      one wait on many channels, of which one has its effect; with timers: after, at, tick, never
    Bytes, BytesMut, Reader
                slices of shared memory, a buffer that splits and rejoins without copying, and a cursor over both
    ConcurrentMap, ConcurrentSet, FrozenMap
                hash tables that many threads read and write at once, with entries that hold a key
    Mutex       a lock around a value; eventually fair, never poisoned
    Condition   a place to wait under a Mutex, for what another thread or task notifies
    RWLock      a lock around a value that many may read or one may write; upgradable, downgradable
    Pool        objects that are dear to make, leased and given back; connections, buffers, parsers
    errors      what ferrule raises; every error carries what would be lost
    aio         the async faces under the same names
    debug       who waits for whom: deadlocks()
    dropin      the queues of queue and of asyncio, by a change of the import
"""

from . import aio, debug
from .buffer import Bytes, BytesMut, Reader
from .channel import (
    Permit,
    Receiver,
    Selected,
    Sender,
    WeakSender,
    after,
    at,
    bounded,
    never,
    select,
    tick,
    try_select,
    unbounded,
)
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
from .mutex import AsyncMutexGuard, Condition, Mutex, MutexGuard
from .pool import AsyncLease, Lease, Pool
from .rwlock import (
    AsyncReadGuard,
    AsyncUpgradableGuard,
    AsyncWriteGuard,
    ReadGuard,
    RWLock,
    UpgradableGuard,
    WriteGuard,
)

__version__ = "0.1.0"

__all__ = [
    "ABORT",
    "MISSING",
    "REMOVE",
    "AsyncLease",
    "AsyncMutexGuard",
    "AsyncReadGuard",
    "AsyncUpgradableGuard",
    "AsyncWriteGuard",
    "BlockingInEventLoop",
    "Bytes",
    "BytesMut",
    "ChannelError",
    "ConcurrentMap",
    "ConcurrentSet",
    "Condition",
    "Disconnected",
    "Empty",
    "Entries",
    "Entry",
    "FerruleError",
    "FrozenMap",
    "Full",
    "Lease",
    "Mutex",
    "MutexGuard",
    "NotEnoughBytes",
    "Permit",
    "Pool",
    "PoolClosed",
    "PoolError",
    "PoolTimeout",
    "RWLock",
    "ReadGuard",
    "Reader",
    "Receiver",
    "Selected",
    "Sender",
    "Timeout",
    "UpgradableGuard",
    "WeakSender",
    "WouldDeadlock",
    "WriteGuard",
    "__version__",
    "after",
    "aio",
    "allow_blocking",
    "at",
    "bounded",
    "debug",
    "never",
    "select",
    "tick",
    "try_select",
    "unbounded",
]
