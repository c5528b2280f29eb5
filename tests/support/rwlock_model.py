"""A plain model of ferrule.RWLock, in the manner of models.py: who holds it, who waits, and who was let in.

A guard is a `Guard`, which says all that never changes about it. A hold is the guard that is in force for it, so a
conversion exchanges one guard for another that began with the same.

Nothing here tells the time. Whether somebody who waits is handed the lock or has leave to try for it, is asked of
`hands`: a caller who wants to know all that may happen answers in every way.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from ferrule import Timeout, WouldDeadlock

from .models import Blocked

__all__ = ["Guard", "RWLockModel"]

Answered = tuple[Any, "RWLockModel"]


class Guard(NamedTuple):
    """What is constant in a guard."""

    name: Hashable
    kind: str  # "read", "upgradable" or "write"
    owner: Hashable  # the thread or task that took the hold
    first: Hashable  # the name of the guard that the hold began with

    @classmethod
    def of(cls, name: Hashable, kind: str, owner: Hashable) -> "Guard":
        """The first guard of a hold."""
        return cls(name, kind, owner, name)

    def successor(self, name: Hashable, kind: str) -> "Guard":
        """What it may be converted into."""
        return Guard(name, kind, self.owner, self.first)


def _keeps_out(held: Iterable[str], kind: str) -> bool:
    """Whether holds of these kinds keep one of that kind out."""
    if kind == "read":
        return "write" in held
    return any(other != "read" or kind == "write" for other in held)


def _never(_: Any) -> bool:
    return False


@dataclass(frozen=True)
class RWLockModel:
    """ferrule.RWLock: the guards in force, and who waits.

    A waiter is any object with `guard`, which it wants; `before`, the guard that is to be upgraded, or None; `passes`,
    whether it passes those who wait. One that was claimed is in no queue: it has leave to try again, or its guard is in
    force already.
    """

    value: Hashable = None
    holds: frozenset[Guard] = frozenset()
    queue: tuple[Any, ...] = ()
    upgrades: tuple[Any, ...] = ()
    leave: frozenset[Any] = frozenset()
    handed: frozenset[Any] = frozenset()
    hands: Callable[[Any], bool] = field(default=_never, compare=False)

    @property
    def kinds(self) -> list[str]:
        return [guard.kind for guard in self.holds]

    @property
    def exclusive(self) -> Guard | None:
        """The guard of the hold to write, or of the upgradable one."""
        return next((guard for guard in self.holds if guard.kind != "read"), None)

    @property
    def waiting(self) -> tuple[Any, ...]:
        return self.upgrades + self.queue

    @property
    def claimed(self) -> frozenset[Any]:
        return self.leave | self.handed

    def claimed_since(self, before: "RWLockModel") -> list[Any]:
        """Who waited then and has been claimed, in that order."""
        return [waiter for waiter in before.waiting if waiter in self.claimed]

    def state(self) -> dict[str, Any]:
        """What `lock._state()` shows, with the number of the waiters for the waiters."""
        return {
            "readers": self.kinds.count("read"),
            "upgradable": "upgradable" in self.kinds,
            "writer": "write" in self.kinds,
            "parked": bool(self.waiting),
            "waiters": len(self.waiting),
        }

    # --- holds

    def admits(self, kind: str, *, passes: bool = False) -> bool:
        """Whether a newcomer may have a hold of that kind; one that passes is kept out by holders only."""
        if _keeps_out(self.kinds, kind):
            return False
        waits = any(waiter.guard.kind != "upgradable" for waiter in self.queue)
        return passes or not self.holds or not (waits or self.upgrades)

    def try_take(self, guard: Guard, passes: bool = False) -> Answered:
        """`(guard := lock.try_read()) is not None`, and the like; `passes`: try_read_recursive()."""
        if not self.admits(guard.kind, passes=passes):
            return False, self
        return True, replace(self, holds=self.holds | {guard})

    def take_now(self, guard: Guard, passes: bool = False) -> Answered:
        """`guard = lock.read(timeout=0)`, and the like."""
        taken, model = self.try_take(guard, passes)
        return (None if taken else Timeout), model

    def take(self, guard: Guard, passes: bool = False) -> Answered:
        """`guard = lock.read()`, and the like."""
        taken, model = self.try_take(guard, passes)
        if taken:
            return None, model
        if self.exclusive is not None and self.exclusive.owner == guard.owner:
            return WouldDeadlock, self
        raise Blocked

    def refuses(self, kind: str) -> tuple[bool, "RWLockModel"]:
        """Whether a try for it may have been in vain, if anybody may have waited: never where the lock is free."""
        return (_keeps_out(self.kinds, kind) if kind == "write" else bool(self.holds)), self

    def release(self, guard: Guard, fair: bool = False) -> Answered:
        """`guard.release(fair=fair)`."""
        if guard not in self.holds:
            return RuntimeError, self
        return None, replace(self, holds=self.holds - {guard}).admit(fair=fair)

    def leave_block(self, guard: Guard) -> Answered:
        """The end of `with guard`, or of its last reference: of the whole hold, whatever became of it."""
        rest = frozenset(other for other in self.holds if other.first != guard.first)
        return None, self if rest == self.holds else replace(self, holds=rest).admit()

    def convert(self, guard: Guard, successor: Guard) -> Answered:
        """`successor = guard.downgrade()` or `guard.downgrade_to_upgradable()`."""
        if guard not in self.holds:
            return RuntimeError, self
        return None, self._becomes(guard, successor).admit()

    def try_upgrade(self, guard: Guard, successor: Guard) -> Answered:
        """`(successor := guard.try_upgrade()) is not None`."""
        if guard not in self.holds:
            return RuntimeError, self
        return (True, self._becomes(guard, successor)) if self.holds == {guard} else (False, self)

    def upgrade(self, guard: Guard, successor: Guard) -> Answered:
        """`successor = guard.upgrade()`."""
        answer, model = self.try_upgrade(guard, successor)
        if answer is False:
            raise Blocked
        return (None if answer is True else answer), model

    def restore(self, guard: Guard) -> Answered:
        """The end of `with guard.upgraded()`."""
        exclusive = self.exclusive
        if exclusive is None or exclusive.first != guard.first:
            return None, self
        return None, self._becomes(exclusive, guard).admit()

    def _becomes(self, guard: Guard, successor: Guard) -> "RWLockModel":
        return replace(self, holds=self.holds - {guard} | {successor})

    def get(self, guard: Guard) -> Answered:
        """`guard.value`."""
        return (self.value if guard in self.holds else RuntimeError), self

    def set(self, guard: Guard, value: Hashable) -> Answered:
        """`guard.value = value`, of a guard to write."""
        return (None, replace(self, value=value)) if guard in self.holds else (RuntimeError, self)

    def locked(self) -> tuple[bool, "RWLockModel"]:
        """`lock.locked()`."""
        return bool(self.holds), self

    def locked_exclusive(self) -> tuple[bool, "RWLockModel"]:
        """`lock.locked_exclusive()`."""
        return "write" in self.kinds, self

    def readers(self) -> tuple[int, "RWLockModel"]:
        """`lock.readers`."""
        return self.kinds.count("read"), self

    # --- waiters

    def admit(self, *, fair: bool = False) -> "RWLockModel":
        """Lets in whom the holders do not keep out: an upgrade, one writer, or readers and one upgradable."""
        model = self
        while model.upgrades:
            waiter = model.upgrades[0]
            if waiter.before not in model.holds:
                model = model._claims(waiter, handed=False)  # it will find out
            elif model.holds == {waiter.before}:
                model = replace(model._claims(waiter, handed=True), holds=frozenset({waiter.guard}))
            else:
                return model
        granted = model.kinds
        for waiter in model.queue:
            kind = waiter.guard.kind
            if "write" in granted:
                break
            if not _keeps_out(granted, kind):
                granted.append(kind)
                handed = fair or self.hands(waiter)
                model = model._claims(waiter, handed=handed)
                if handed:
                    model = replace(model, holds=model.holds | {waiter.guard})
            elif kind == "write":
                break
        return model

    def _claims(self, waiter: Any, *, handed: bool) -> "RWLockModel":
        model = self.leaves(waiter)
        if handed:
            return replace(model, handed=model.handed | {waiter})
        return replace(model, leave=model.leave | {waiter})

    def leaves(self, waiter: Any) -> "RWLockModel":
        """The waiter is in no queue and not claimed; what it was handed it has."""
        return replace(
            self,
            queue=tuple(other for other in self.queue if other is not waiter),
            upgrades=tuple(other for other in self.upgrades if other is not waiter),
            leave=self.leave - {waiter},
            handed=self.handed - {waiter},
        )

    def gives_up(self, waiter: Any) -> "RWLockModel":
        """The waiter wants nothing any more. Whom it kept out, or what it was given would let in, goes on."""
        model = self.leaves(waiter)
        if waiter in self.handed:
            if waiter.before is not None:
                return model.restore(waiter.before)[1]
            return model.leave_block(waiter.guard)[1]
        return model.admit() if waiter in self.waiting or waiter in self.leave else model

    def attempt(self, waiter: Any, *, again: bool) -> Answered:
        """A try by a waiter, which is in no queue: None, Timeout for one in vain, or an error.

        `again`: it has been queued before, and nobody who waits keeps it out.
        """
        model = self.leaves(waiter)
        if waiter.before is None:
            return model.take_now(waiter.guard, again or waiter.passes)
        answer, model = model.try_upgrade(waiter.before, waiter.guard)
        return {True: None, False: Timeout}.get(answer, answer), model

    def links(self, waiter: Any, *, first: bool) -> Answered:
        """The waiter queues, before all others if it has been there before. Refused if it would wait for itself."""
        if waiter.before is not None:
            rest = self.upgrades
            return "waits", replace(self, upgrades=(waiter, *rest) if first else (*rest, waiter))
        if self.exclusive is not None and self.exclusive.owner == waiter.guard.owner:
            return WouldDeadlock, self.admit() if first else self
        return "waits", replace(self, queue=(waiter, *self.queue) if first else (*self.queue, waiter))
