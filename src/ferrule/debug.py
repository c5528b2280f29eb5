"""Who waits for whom: `deadlocks()` looks for threads and tasks that wait for each other's holds.

It looks at whatever of ferrule can be held: Mutex (also for who was notified by a Condition and wants it back), RWLock,
the entries of a ConcurrentMap, and the turn to compute a key's value in get_or_compute().
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

from ._core.parking import waits

__all__ = ["Held", "deadlocks"]


class Held(NamedTuple):
    """One hold in a cycle: who has it, what it is a hold of, what its holder waits for, and where it was taken.

    Complexity  A tuple of four.
    Threads     Immutable.
    Blocks      never.
    Calls you   never.
    Errors      none.
    """

    holder: str
    """The thread, or the task and its thread."""
    object: Any
    """What is held: the Mutex, the RWLock, the ConcurrentMap."""
    waits_for: Any
    """What the holder waits for; the next one in the cycle holds it."""
    stack: str | None
    """Where the hold was taken, as a traceback is printed; None where that is not recorded."""


class _Owner(NamedTuple):
    """Who took a hold: a thread, or a task by its context."""

    thread: int
    context: Any
    name: str | None
    stack: str | None


class _Wait(NamedTuple):
    """A sleeper, and those who must act for it to wake up."""

    serial: int
    thread: int
    ident: int
    context: Any
    target: Any
    owners: list[_Owner]

    def stops(self, owner: _Owner) -> bool:
        """Whether the owner cannot act because of this wait: its own, or that of the thread that runs its loop."""
        return self.thread == owner.thread and (self.context is None or self.context is owner.context)


def deadlocks() -> list[list[Held]]:
    """Cycles of threads and tasks that wait for each other; [] when there are none.

    In each, every holder waits for what the next one holds, and the last for what the first one holds. All its waits
    are there at one moment; one with a timeout counts until that has passed. Holds to read are seen where the RWLock
    has debug=True, or FERRULE_DEBUG=1 was set; without it only what is held exclusively. O(waits x holds).
    """
    asleep = [
        _Wait(serial, thread, ident, context, wanted, [_Owner(*owner) for owner in wanted._holders(item)])
        for serial, thread, ident, context, target, item in waits()
        if hasattr(type(wanted := _wanted(target, item)), "_holders")
    ]
    # Who is still in the same wait has been in it all the while, so what it held it still holds.
    still = {serial for serial, *_ in waits()}
    asleep = [wait for wait in asleep if wait.serial in still]
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return [_described(cycle, names) for cycle in _cycles(asleep)]


def _wanted(target: Any, item: Any) -> Any:
    """What a sleeper waits for: who was notified by a Condition wants its mutex."""
    return target._wanted(item) if hasattr(type(target), "_wanted") else target


def _cycles(asleep: list[_Wait]) -> list[list[_Wait]]:
    """Cycles in which each waits for the next, by a search in depth that enters each wait once."""
    stopped_by = {
        wait.serial: [other for other in asleep if any(other.stops(owner) for owner in wait.owners)] for wait in asleep
    }
    cycles = []
    left: set[int] = set()
    for start in asleep:
        path = [] if start.serial in left else [start]
        branches = [iter(stopped_by[start.serial])]
        while path:
            for following in branches[-1]:
                on_path = [wait.serial for wait in path]
                if following.serial in on_path:
                    cycles.append(path[on_path.index(following.serial) :])
                elif following.serial not in left:
                    path.append(following)
                    branches.append(iter(stopped_by[following.serial]))
                    break
            else:
                left.add(path.pop().serial)
                branches.pop()
    return cycles


def _described(cycle: list[_Wait], names: dict[int | None, str]) -> list[Held]:
    """The holds of a cycle of waits: each wait is for a hold of the one who waits next."""
    holds = []
    for wait, following in zip(cycle, cycle[1:] + cycle[:1], strict=True):
        owner = next(owner for owner in wait.owners if following.stops(owner))
        thread = f"thread {names.get(following.ident, following.ident)!r}"
        name = owner.name or (thread if owner.context is None else f"a task of {thread}")
        holds.append(Held(name, wait.target, following.target, owner.stack))
    return holds
