"""The async faces, under the same nouns as the sync ones.

`ferrule.aio.X(...)` makes a new object and gives its async face; `x.aio` is the async face of an object there is, and
`face.sync` leads back. What waits is awaitable here, what does not is the same plain method. The face of a
ConcurrentMap has only what can wait long; all else is on the map.
"""

from ..channel import AsyncReceiver as Receiver
from ..channel import AsyncSender as Sender
from ..channel import async_after as after
from ..channel import async_at as at
from ..channel import async_bounded as bounded
from ..channel import async_never as never
from ..channel import async_select as select
from ..channel import async_tick as tick
from ..channel import async_unbounded as unbounded
from ..channel import try_select
from ..concurrent_map import AsyncConcurrentMap as ConcurrentMap
from ..mutex import AsyncCondition as Condition
from ..mutex import AsyncMutex as Mutex
from ..pool import AsyncPool as Pool
from ..rwlock import AsyncRWLock as RWLock

__all__ = [
    "ConcurrentMap",
    "Condition",
    "Mutex",
    "Pool",
    "RWLock",
    "Receiver",
    "Sender",
    "after",
    "at",
    "bounded",
    "never",
    "select",
    "tick",
    "try_select",
    "unbounded",
]
