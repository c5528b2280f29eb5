"""Plain models: what an object answers when nobody else is there.

A model is an immutable value. Each of its methods is one operation: it returns what the call answers and the model
after it; an error is answered as its type (as `race.outcome` does), and a call that could only wait raises Blocked.

    answer, model = model.try_lock("T1", "g1")

So one class serves the state machines of tests/property, which go one way, and the checker of linearizability.py, which
tries every order and remembers the states it has seen.
"""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from ferrule import Timeout, WouldDeadlock

__all__ = ["Blocked", "MutexModel"]


class Blocked(Exception):
    """The call cannot end in this state: it waits for somebody else."""


@dataclass(frozen=True)
class MutexModel:
    """ferrule.Mutex: a hold, who took it, and the guard that stands for it.

    The caller names owners and guards as it likes. A guard that is not in force is spent, so `unlocked()` is
    `guard_release` followed by `lock` under the same name.
    """

    value: Hashable = None
    held: bool = False
    owner: Hashable = None  # who took the hold by lock() or `with`; acquire() records nobody
    guard: Hashable = None  # the guard in force; None for a hold of acquire()

    def _taken(self, owner: Hashable, guard: Hashable) -> "MutexModel":
        return replace(self, held=True, owner=owner, guard=guard)

    def _free(self) -> "MutexModel":
        return replace(self, held=False, owner=None, guard=None)

    def _in_force(self, guard: Hashable) -> bool:
        return self.held and guard is not None and self.guard == guard

    def lock(self, owner: Hashable, guard: Hashable) -> tuple[Any, "MutexModel"]:
        """`guard = mutex.lock()`, and `with mutex as guard` on entry."""
        if not self.held:
            return None, self._taken(owner, guard)
        if self.owner is not None and self.owner == owner:
            return WouldDeadlock, self
        raise Blocked

    def lock_now(self, owner: Hashable, guard: Hashable) -> tuple[Any, "MutexModel"]:
        """`guard = mutex.lock(timeout=0)`."""
        return (Timeout, self) if self.held else (None, self._taken(owner, guard))

    def try_lock(self, owner: Hashable, guard: Hashable) -> tuple[bool, "MutexModel"]:
        """`(guard := mutex.try_lock()) is not None`."""
        return (False, self) if self.held else (True, self._taken(owner, guard))

    def acquire(self) -> tuple[bool, "MutexModel"]:
        """`mutex.acquire()`."""
        if self.held:
            raise Blocked
        return True, self._taken(None, None)

    def try_acquire(self) -> tuple[bool, "MutexModel"]:
        """`mutex.acquire(blocking=False)`."""
        return (False, self) if self.held else (True, self._taken(None, None))

    def release(self) -> tuple[Any, "MutexModel"]:
        """`mutex.release()`, which spends the guard of the hold if it has one."""
        return (None, self._free()) if self.held else (RuntimeError, self)

    def locked(self) -> tuple[bool, "MutexModel"]:
        """`mutex.locked()`."""
        return self.held, self

    def guard_release(self, guard: Hashable) -> tuple[Any, "MutexModel"]:
        """`guard.release()`."""
        return (None, self._free()) if self._in_force(guard) else (RuntimeError, self)

    def leave(self, owner: Hashable, guard: Hashable) -> tuple[Any, "MutexModel"]:
        """The end of the `with mutex` block whose entry was `lock(owner, guard)`, reached as `owner`."""
        if not self._in_force(guard):
            return None, self
        return (None, self._free()) if self.owner == owner else (RuntimeError, self)

    def get(self, guard: Hashable) -> tuple[Any, "MutexModel"]:
        """`guard.value`."""
        return (self.value if self._in_force(guard) else RuntimeError), self

    def set(self, guard: Hashable, value: Hashable) -> tuple[Any, "MutexModel"]:
        """`guard.value = value`."""
        return (None, replace(self, value=value)) if self._in_force(guard) else (RuntimeError, self)
