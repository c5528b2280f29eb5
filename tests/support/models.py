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

__all__ = ["Blocked", "GatesModel", "MutexModel"]


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


@dataclass(frozen=True)
class GatesModel:
    """Gates of ferrule._core.probe: semaphores, each with one queue of the waiters that want a permit of it.

    Gates are named by their numbers. A waiter is any object with `gates`, the numbers of those that it waits at, in the
    order in which it tries them. One that was claimed has leave to try again, or was handed a permit, which is counted
    nowhere else; its places in the queues of its other gates stay until it moves on.
    """

    free: tuple[int, ...]
    queues: tuple[tuple[Hashable, ...], ...]
    leave: frozenset[Hashable] = frozenset()  # claimed: may try again
    handed: frozenset[Hashable] = frozenset()  # claimed: has its permit

    @classmethod
    def of(cls, *permits: int) -> "GatesModel":
        """Gates with so many permits each, and nobody waiting."""
        return cls(permits, ((),) * len(permits))

    @property
    def claimed(self) -> frozenset[Hashable]:
        return self.leave | self.handed

    @property
    def waiting(self) -> frozenset[Hashable]:
        """Who is queued and unclaimed."""
        return frozenset(waiter for queue in self.queues for waiter in queue) - self.claimed

    def _add(self, gate: int, permits: int) -> "GatesModel":
        free = list(self.free)
        free[gate] += permits
        return replace(self, free=tuple(free))

    def _queue(self, gate: int, waiters: tuple[Hashable, ...]) -> "GatesModel":
        queues = list(self.queues)
        queues[gate] = waiters
        return replace(self, queues=tuple(queues))

    def _first(self, gate: int) -> tuple[tuple[Hashable, ...], "GatesModel"]:
        """Takes the first waiter that is not claimed yet from the queue; those before it leave this queue too."""
        for place, waiter in enumerate(self.queues[gate]):
            if waiter not in self.claimed:
                return (waiter,), self._queue(gate, self.queues[gate][place + 1 :])
        return (), self._queue(gate, ())

    def _claim(self, gate: int) -> tuple[tuple[Hashable, ...], "GatesModel"]:
        first, model = self._first(gate)
        return first, replace(model, leave=model.leave.union(first))

    def _claim_where_free(self, gates: tuple[int, ...]) -> tuple[tuple[Hashable, ...], "GatesModel"]:
        """One rule from the state alone: a permit and a waiter together mean a claim."""
        claimed: tuple[Hashable, ...] = ()
        model = self
        for gate in gates:
            if model.free[gate]:
                first, model = model._claim(gate)
                claimed += first
        return claimed, model

    def release(self, gate: int, permits: int = 1) -> tuple[tuple[Hashable, ...], "GatesModel"]:
        """`gate.release(permits)`: who was claimed, in order."""
        claimed: tuple[Hashable, ...] = ()
        model = self._add(gate, permits)
        for _ in range(permits):
            first, model = model._claim(gate)
            claimed += first
        return claimed, model

    def hand(self, gate: int) -> tuple[tuple[Hashable, ...], "GatesModel"]:
        """`gate.hand()`: who was handed a permit, if anybody waits."""
        first, model = self._first(gate)
        return first, replace(model, handed=model.handed.union(first))

    def take(self, gates: tuple[int, ...]) -> tuple[tuple[Hashable, ...] | None, "GatesModel"]:
        """A try that queues nobody, at the first of the gates that has a permit: None if none has.

        Else who may now try: one who tries at several gates may have been claimed for the permit of another of them.
        """
        for gate in gates:
            if self.free[gate]:
                model = self._add(gate, -1)
                return model._claim_where_free(gates) if len(gates) > 1 else ((), model)
        return None, self

    def leaves(self, waiter: Any) -> "GatesModel":
        """The waiter is in no queue and not claimed; if it was handed a permit, it has it."""
        model = replace(self, leave=self.leave - {waiter}, handed=self.handed - {waiter})
        for gate in waiter.gates:
            model = model._queue(gate, tuple(other for other in model.queues[gate] if other is not waiter))
        return model

    def attempt(self, waiter: Any) -> tuple[tuple[Hashable, ...] | None, "GatesModel"]:
        """As `take`, by a waiter, who is in no queue after it."""
        return self.leaves(waiter).take(waiter.gates)

    def links(self, waiter: Any, *, first: bool) -> "GatesModel":
        """The waiter queues at all its gates, before or behind all others."""
        model = self
        for gate in waiter.gates:
            queue = model.queues[gate]
            model = model._queue(gate, (waiter, *queue) if first else (*queue, waiter))
        return model

    def gives_up(self, waiter: Any) -> tuple[tuple[Hashable, ...], "GatesModel"]:
        """The waiter wants nothing any more: who may try in its place, or got what it was handed."""
        model = self.leaves(waiter)
        if waiter not in self.claimed:
            return (), model
        if waiter in self.handed:
            model = model._add(waiter.gates[0], 1)
        return model._claim_where_free(waiter.gates)
