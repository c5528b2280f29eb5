"""Plain models: what an object answers when nobody else is there.

A model is an immutable value. Each of its methods is one operation: it returns what the call answers and the model
after it; an error is answered as its type (as `race.outcome` does), and a call that could only wait raises Blocked.

    answer, model = model.try_lock("T1", "g1")

So one class serves the state machines of tests/property, which go one way, and the checker of linearizability.py, which
tries every order and remembers the states it has seen.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from typing import Any

from ferrule import Disconnected, Empty, Full, Timeout, WouldDeadlock

__all__ = ["Blocked", "ChannelModel", "GatesModel", "MutexModel"]


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


@dataclass(frozen=True)
class ChannelModel:
    """A channel of ferrule: its items, what is promised, which ends are open, and who waits at them.

    The caller names ends and permits as it likes. A waiter is any object with `end` and, where it sends, `item`: what
    comes next. One that was claimed is in no queue: it has leave to try again, or was told that its end, the other
    side or the channel is gone, or (`handed`) its item was taken out of its hands.
    """

    capacity: int | None
    senders: frozenset[Hashable] = frozenset({"tx"})  # that are open
    receivers: frozenset[Hashable] = frozenset({"rx"})
    closed: bool = False
    items: tuple[Hashable, ...] = ()
    permits: frozenset[Hashable] = frozenset()  # that are not spent
    sending: tuple[Any, ...] = ()
    receiving: tuple[Any, ...] = ()
    leave: frozenset[Any] = frozenset()
    told: frozenset[Any] = frozenset()
    handed: frozenset[Any] = frozenset()
    sent: int = field(default=0, compare=False)  # what stats() shows: of no consequence
    received: int = field(default=0, compare=False)
    high_water: int = field(default=0, compare=False)
    waits: int = field(default=0, compare=False)

    @property
    def free(self) -> float:
        """How many slots are neither taken nor promised."""
        return math.inf if self.capacity is None else self.capacity - len(self.items) - len(self.permits)

    @property
    def waiting(self) -> tuple[Any, ...]:
        return self.sending + self.receiving

    @property
    def claimed(self) -> frozenset[Any]:
        return self.leave | self.told | self.handed

    def is_disconnected(self, *, sends: bool) -> bool:
        """Whether the other side is gone, or the channel is closed."""
        return self.closed or not (self.receivers if sends else self.senders)

    # --- waiters

    def links(self, waiter: Any, *, sends: bool, first: bool) -> "ChannelModel":
        """The waiter queues, before all others if it has been there before, else behind them."""
        queue = self.sending if sends else self.receiving
        queue = (waiter, *queue) if first else (*queue, waiter)
        model = replace(self, waits=self.waits + (not first))
        return replace(model, sending=queue) if sends else replace(model, receiving=queue)

    def leaves(self, waiter: Any) -> "ChannelModel":
        """The waiter is in no queue and not claimed."""
        return replace(
            self,
            sending=tuple(other for other in self.sending if other is not waiter),
            receiving=tuple(other for other in self.receiving if other is not waiter),
            leave=self.leave - {waiter},
            told=self.told - {waiter},
            handed=self.handed - {waiter},
        )

    def gives_up(self, waiter: Any) -> "ChannelModel":
        """The waiter wants nothing any more. The leave that it may have goes to others, by the state alone."""
        model = self.leaves(waiter)
        return model.give_leave() if waiter in self.leave | self.told else model

    def claims_first(self, *, sends: bool) -> "ChannelModel":
        """The first who waits on that side, if anybody does, has leave to try."""
        queue = self.sending if sends else self.receiving
        if not queue:
            return self
        return replace(self.leaves(queue[0]), leave=self.leave | {queue[0]})

    def give_leave(self) -> "ChannelModel":
        """Somebody on each side that could go on now has leave to try."""
        model = self.claims_first(sends=False) if self.items else self
        return model.claims_first(sends=True) if model.free > 0 else model

    def _tell(self, waiters: tuple[Any, ...]) -> "ChannelModel":
        model = self
        for waiter in waiters:
            model = model.leaves(waiter)
        return replace(model, told=model.told.union(waiters))

    # --- sending

    def _refuses(self, end: Hashable) -> bool:
        return end not in self.senders or self.closed or not self.receivers

    def _put(self, item: Hashable) -> "ChannelModel":
        items = (*self.items, item)
        model = replace(self, items=items, sent=self.sent + 1, high_water=max(self.high_water, len(items)))
        return model.claims_first(sends=False)

    def try_send(self, end: Hashable, item: Hashable) -> tuple[Any, "ChannelModel"]:
        """`tx.try_send(item)`."""
        if self._refuses(end):
            return Disconnected, self
        fits = bool(self.receiving) if self.capacity == 0 else self.free > 0
        return (None, self._put(item)) if fits else (Full, self)

    def send(self, end: Hashable, item: Hashable) -> tuple[Any, "ChannelModel"]:
        """`tx.send(item)`."""
        return _waits(Full, self.try_send(end, item))

    def send_within(self, end: Hashable, item: Hashable) -> tuple[Any, "ChannelModel"]:
        """`tx.send(item, timeout=...)`; it may have run out of time if there was no room at one moment."""
        return _runs_out(Full, self.try_send(end, item))

    def force_send(self, end: Hashable, item: Hashable) -> tuple[Any, "ChannelModel"]:
        """`tx.force_send(item)`."""
        answer, model = self.try_send(end, item)
        if answer is not Full or not self.capacity or not self.items:
            return answer, model
        return self.items[0], replace(self, items=(*self.items[1:], item), sent=self.sent + 1)

    def reserve(self, end: Hashable, permit: Hashable) -> tuple[Any, "ChannelModel"]:
        """`permit = tx.reserve()`; not with no capacity."""
        return _waits(Full, self.try_reserve(end, permit))

    def reserve_within(self, end: Hashable, permit: Hashable) -> tuple[Any, "ChannelModel"]:
        """`permit = tx.reserve(timeout=...)`."""
        return _runs_out(Full, self.try_reserve(end, permit))

    def try_reserve(self, end: Hashable, permit: Hashable) -> tuple[Any, "ChannelModel"]:
        """`permit = tx.reserve()`, where it does not wait; Full if it would."""
        if self._refuses(end):
            return Disconnected, self
        return (None, replace(self, permits=self.permits | {permit})) if self.free > 0 else (Full, self)

    def permit_send(self, permit: Hashable, item: Hashable) -> tuple[Any, "ChannelModel"]:
        """`permit.send(item)`."""
        if permit not in self.permits:
            return RuntimeError, self
        if not self.receivers:
            return Disconnected, self._spend(permit)
        return None, self._put(item)._spend(permit)

    def permit_release(self, permit: Hashable) -> tuple[Any, "ChannelModel"]:
        """`permit.release()`."""
        return (None, self._spend(permit).give_leave()) if permit in self.permits else (RuntimeError, self)

    def _spend(self, permit: Hashable) -> "ChannelModel":
        """While there is a permit something may still come; after the last one receivers may have to be told."""
        model = replace(self, permits=self.permits - {permit})
        return model._tell(model.receiving) if model._is_over() else model

    def _is_over(self) -> bool:
        """Whether nothing more can be sent."""
        return not self.permits and (self.closed or not self.senders)

    # --- receiving

    def try_recv(self, end: Hashable) -> tuple[Any, "ChannelModel"]:
        """`rx.try_recv()`."""
        if end not in self.receivers:
            return Disconnected, self
        if self.items:
            model = replace(self, items=self.items[1:], received=self.received + 1)
            return self.items[0], model.claims_first(sends=True) if self.capacity else model
        if self.capacity == 0 and self.sending:
            sender = self.sending[0]
            model = replace(self.leaves(sender), sent=self.sent + 1, received=self.received + 1)
            return sender.item, replace(model, handed=model.handed | {sender})
        return (Disconnected if self._is_over() else Empty), self

    def recv(self, end: Hashable) -> tuple[Any, "ChannelModel"]:
        """`rx.recv()`."""
        return _waits(Empty, self.try_recv(end))

    def recv_within(self, end: Hashable) -> tuple[Any, "ChannelModel"]:
        """`rx.recv(timeout=...)`; it may have run out of time if there was no item at one moment."""
        return _runs_out(Empty, self.try_recv(end))

    def try_recv_many(self, end: Hashable, limit: float = math.inf) -> tuple[Any, "ChannelModel"]:
        """`tuple(rx.recv_many(limit))`, where it does not wait; Empty if it would."""
        answer, model = self.try_recv(end)
        if answer in (Disconnected, Empty):
            return answer, self
        received = [answer]
        while len(received) < limit and (model.items or (model.capacity == 0 and model.sending)):
            answer, model = model.try_recv(end)
            received.append(answer)
        return tuple(received), model

    def drain(self, end: Hashable) -> tuple[Any, "ChannelModel"]:
        """`tuple(rx.drain())`."""
        answer, model = self.try_recv_many(end)
        return (() if answer is Empty or (answer is Disconnected and end in self.receivers) else answer), model

    # --- ends

    def clone(self, end: Hashable, other: Hashable) -> tuple[Any, "ChannelModel"]:
        """`other = end.clone()`."""
        if end in self.senders:
            return None, replace(self, senders=self.senders | {other})
        if end in self.receivers:
            return None, replace(self, receivers=self.receivers | {other})
        return Disconnected, self

    def new_sender(self, other: Hashable) -> tuple[Any, "ChannelModel"]:
        """`other = end.new_sender()`, of any end."""
        if self.closed or not self.senders:
            return Disconnected, self
        return None, replace(self, senders=self.senders | {other})

    def new_receiver(self, other: Hashable) -> tuple[Any, "ChannelModel"]:
        """`other = end.new_receiver()`, of any end."""
        if not self.receivers:
            return Disconnected, self
        return None, replace(self, receivers=self.receivers | {other})

    def close(self, end: Hashable) -> tuple[None, "ChannelModel"]:
        """`end.close()`."""
        model = self._tell(tuple(waiter for waiter in self.waiting if waiter.end == end))
        if end in self.senders:
            model = replace(model, senders=self.senders - {end})
            return None, model if model.senders else model._tell(model.receiving)
        if end in self.receivers:
            model = replace(model, receivers=self.receivers - {end})
            return None, model if model.receivers else replace(model._tell(model.sending), items=())
        return None, self

    def close_channel(self) -> tuple[None, "ChannelModel"]:
        """`end.close_channel()`, of any end."""
        return None, replace(self._tell(self.waiting), closed=True)

    def length(self) -> tuple[int, "ChannelModel"]:
        """`len(end)`."""
        return len(self.items), self


def _waits(busy: Any, answered: tuple[Any, Any]) -> tuple[Any, Any]:
    """The answer of a call that waits where the other one was `busy`."""
    if answered[0] is busy:
        raise Blocked
    return answered


def _runs_out(busy: Any, answered: tuple[Any, Any]) -> tuple[Any, Any]:
    return (Timeout, answered[1]) if answered[0] is busy else answered
