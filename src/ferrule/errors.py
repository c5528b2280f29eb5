"""Every exception of ferrule, the sentinel MISSING, and the leave to block an event loop.

An error says what happened and carries what would otherwise be lost: the item that was not sent, the bytes that were
asked for. Its fields are attributes, and every error pickles: a field that cannot is replaced by MISSING on the way.

The ground floor of the library: it imports nothing of ours.
"""

from __future__ import annotations

import contextlib
import contextvars
import pickle
import queue
from collections.abc import Iterator
from typing import Any, Final, final

__all__ = [
    "MISSING",
    "BlockingInEventLoop",
    "ChannelError",
    "Disconnected",
    "Empty",
    "FerruleError",
    "Full",
    "NotEnoughBytes",
    "PoolClosed",
    "PoolError",
    "PoolTimeout",
    "Timeout",
    "WouldDeadlock",
    "allow_blocking",
]


@final
class _Missing:
    """The type of MISSING, the one value that says "nothing here" where None is a value like any other."""

    __slots__ = ()

    def __new__(cls) -> _Missing:
        return MISSING

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ferrule.MISSING"

    def __reduce__(self) -> str:
        return "MISSING"


MISSING: Final[_Missing] = object.__new__(_Missing)
"""Stands for an absent value. Falsy; only one exists, also after copying and pickling."""


def _picklable(value: Any) -> Any:
    """The value itself if it pickles, else MISSING."""
    try:
        pickle.dumps(value)
    except Exception:  # a value's own __reduce__ may raise anything
        return MISSING
    return value


class FerruleError(Exception):
    """The base of every exception that ferrule raises on its own account."""

    def __reduce__(self) -> tuple[Any, ...]:
        reduced: Any = super().__reduce__()
        kind, args = reduced[:2]
        fields = {name: _picklable(value) for name, value in self.__dict__.items()}
        return kind, tuple(map(_picklable, args)), fields


class _CarriesItem(FerruleError):
    """An error that may carry the item a call was given."""

    item: Any
    """What the failed call was given, or MISSING."""
    sent: int
    """How many items `send_many` had sent before it failed; 0 for every other call."""

    def __init__(self, message: str = "", /, *, item: Any = MISSING, sent: int = 0) -> None:
        super().__init__(*((message,) if message else ()))
        self.item = item
        self.sent = sent


class Timeout(_CarriesItem, TimeoutError):
    """The time allowed for a call ran out, and the call changed nothing.

    `item` is what a timed-out send was given; `sent` counts what `send_many` had sent before.
    """


class WouldDeadlock(FerruleError, RuntimeError):
    """The wait could only end by an act of the one who would wait; the message names the holder."""


class BlockingInEventLoop(FerruleError, RuntimeError):
    """A sync call would have waited for an event in a thread whose event loop is running, and so have frozen it.

    Use the async face (`x.aio`), or `with allow_blocking():` where the freeze is meant.
    """


class ChannelError(FerruleError):
    """The base of what a channel raises."""


class Disconnected(_CarriesItem, ChannelError):
    """The other side of the channel is gone, the channel was closed, or this end was; the message says which.

    `item` is what the failed send was given; `sent` counts what `send_many` had sent before.
    """


class Full(_CarriesItem, ChannelError, queue.Full):
    """`try_send` found no room. `item` is what it was given."""


class Empty(ChannelError, queue.Empty):
    """`try_recv` found no item."""


class PoolError(FerruleError):
    """The base of what a pool raises."""


class PoolClosed(PoolError):
    """The pool was closed, before the call or while it waited."""


class PoolTimeout(PoolError, Timeout):
    """No object could be leased in time.

    `stage` says what took too long ("wait", "create" or "validate"); `size`, `in_use` and `waiting` are the pool's
    figures at that moment.
    """

    def __init__(
        self, message: str = "", /, *, stage: str = "wait", size: int = 0, in_use: int = 0, waiting: int = 0
    ) -> None:
        super().__init__(message)
        self.stage = stage
        self.size = size
        self.in_use = in_use
        self.waiting = waiting


class NotEnoughBytes(FerruleError, EOFError):
    """A read asked for more bytes than there are; the cursor did not move.

    `requested` and `available` are in bytes.
    """

    def __init__(self, message: str = "", /, *, requested: int = 0, available: int = 0) -> None:
        super().__init__(message or f"{requested} bytes requested, {available} available")
        self.requested = requested
        self.available = available


_blocking_allowed: contextvars.ContextVar[bool] = contextvars.ContextVar("ferrule.allow_blocking", default=False)


@contextlib.contextmanager
def allow_blocking() -> Iterator[None]:
    """Lifts BlockingInEventLoop inside the `with` block, in this context (this task, or this thread outside of tasks).

    >>> with allow_blocking():
    ...     pass  # a sync call that waits for an event may block this thread's event loop here
    """
    token = _blocking_allowed.set(True)
    try:
        yield
    finally:
        _blocking_allowed.reset(token)
