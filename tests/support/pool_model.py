"""A plain model of a Pool: what it answers when nobody else is there (see models.py)."""

from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from ferrule import PoolClosed, PoolTimeout

from .models import Blocked

__all__ = ["PoolModel"]


@dataclass(frozen=True)
class PoolModel:
    """ferrule.Pool without hooks that fail: idle objects by when they came back, and who has leased which.

    The caller names leases as it likes. An object that is made for a lease has its name; others are numbered.
    """

    max_size: int
    fifo: bool = False
    min_size: int = 0
    idle: tuple[Hashable, ...] = ()  # that which came back last is the last
    leased: frozenset[tuple[Hashable, Hashable]] = field(default_factory=frozenset)  # (lease, object)
    made: int = 0  # by warm_up()
    closed: bool = False

    @property
    def size(self) -> int:
        return len(self.idle) + len(self.leased)

    def _object(self, lease: Hashable) -> Any:
        return dict(self.leased).get(lease, RuntimeError)

    def _without(self, lease: Hashable) -> "PoolModel":
        return replace(self, leased=frozenset(pair for pair in self.leased if pair[0] != lease))

    def try_acquire(self, lease: Hashable) -> tuple[Any, "PoolModel"]:
        """`(lease := pool.try_acquire()) and lease.value`."""
        if self.closed:
            return PoolClosed, self
        if self.idle:
            obj, idle = (self.idle[0], self.idle[1:]) if self.fifo else (self.idle[-1], self.idle[:-1])
            return obj, replace(self, idle=idle, leased=self.leased | {(lease, obj)})
        if self.size < self.max_size:
            return lease, replace(self, leased=self.leased | {(lease, lease)})
        return None, self

    def acquire(self, lease: Hashable) -> tuple[Any, "PoolModel"]:
        """`(lease := pool.acquire()).value`."""
        answer, model = self.try_acquire(lease)
        if answer is None:
            raise Blocked
        return answer, model

    def acquire_within(self, lease: Hashable) -> tuple[Any, "PoolModel"]:
        """`(lease := pool.acquire(timeout=...)).value`; the time may be up if there was none at one moment."""
        answer, model = self.try_acquire(lease)
        return (PoolTimeout if answer is None else answer), model

    def release(self, lease: Hashable) -> tuple[Any, "PoolModel"]:
        """`lease.release()`."""
        obj = self._object(lease)
        if obj is RuntimeError:
            return RuntimeError, self
        model = self._without(lease)
        if self.closed or self.size > self.max_size:
            return None, model
        return None, replace(model, idle=(*model.idle, obj))

    def detach(self, lease: Hashable) -> tuple[Any, "PoolModel"]:
        """`lease.detach()`."""
        return self._object(lease), self._without(lease)

    def discard(self, lease: Hashable) -> tuple[Any, "PoolModel"]:
        """`lease.discard()`."""
        return (RuntimeError if self._object(lease) is RuntimeError else None), self._without(lease)

    def attach(self, obj: Hashable) -> tuple[Any, "PoolModel"]:
        """`pool.attach(obj)`."""
        if self.closed:
            return PoolClosed, self
        if self.size >= self.max_size:
            return ValueError, self
        return None, replace(self, idle=(*self.idle, obj))

    def resize(self, size: int) -> tuple[None, "PoolModel"]:
        """`pool.resize(size)`: those that came back first end."""
        over = min(max(0, self.size - size), len(self.idle))
        return None, replace(self, max_size=size, idle=self.idle[over:])

    def retain(self, kept: frozenset[Hashable]) -> tuple[int, "PoolModel"]:
        """`pool.retain(kept.__contains__)`."""
        idle = tuple(obj for obj in self.idle if obj in kept)
        return len(self.idle) - len(idle), replace(self, idle=idle)

    def warm_up(self) -> tuple[Any, "PoolModel"]:
        """`pool.warm_up()`."""
        if self.closed:
            return PoolClosed, self
        model = self
        while model.size < min(self.min_size, self.max_size):
            model = replace(model, made=model.made + 1, idle=(*model.idle, model.made))
        return None, model

    def close(self) -> tuple[Any, "PoolModel"]:
        """`pool.close(timeout=0)`."""
        return (PoolTimeout if self.leased else None), replace(self, closed=True, idle=())

    def figures(self) -> tuple[tuple[int, int], "PoolModel"]:
        """`(pool.idle, pool.in_use)`; to be read at one moment."""
        return (len(self.idle), len(self.leased)), self
