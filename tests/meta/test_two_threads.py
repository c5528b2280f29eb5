"""Two threads use each object at once, every public method of it: no crash, no hang, no error but the documented ones.

Each public class has an entry in USES, and so has each class that a public method gives without exporting it.
"""

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

import ferrule
from ferrule import Timeout, aio
from ferrule.dropin import asyncio as dropin_asyncio
from ferrule.dropin import queue as dropin_queue
from tests.support.race import outcome, run_together
from tests.support.two_threads import Run, Use
from tests.support.uses_of_bytes import BYTES_USES
from tests.support.uses_of_maps import MAP_USES
from tests.support.uses_of_pool import POOL_USES
from tests.support.uses_of_queues import QUEUE_USES
from tests.support.uses_of_select import SELECT_USES, give_back

PUBLIC = {
    f"{module.__name__}.{name}": cls
    for module in (ferrule, aio, dropin_queue, dropin_asyncio)
    for name, cls in ((name, getattr(module, name)) for name in module.__all__)
    if isinstance(cls, type) and not issubclass(cls, Exception)
}

SHORT = 0.001


def ready(awaitable: Any) -> Any:
    """The result of an awaitable that need not wait."""
    with pytest.raises(StopIteration) as stop:
        awaitable.__await__().send(None)
    return stop.value.value


async def with_block(context: Any, body: Callable[[Any], Any] = lambda _: None) -> None:
    async with context as entered:
        body(entered)


async def waits_in(condition: Any, wait: Callable[[Any], Awaitable[Any]]) -> None:
    async with condition as guard:
        await wait(guard)


def sync_with(context: Any, body: Callable[[Any], Any] = lambda _: None) -> None:
    with context as entered:
        body(entered)


def increment(guard: Any) -> None:
    guard.value += 1


async def stepped(call: Callable[[], Any]) -> Any:
    """A call that needs a running loop, made in one."""
    return call()


async def cancelled_until_it_ends(coroutine: Awaitable[Any]) -> None:
    """As wait_for(), which cancels once: then a wait for the mutex is left, and a task does not see it being closed."""
    task = asyncio.ensure_future(coroutine)
    while not (await asyncio.wait([task], timeout=SHORT))[0]:
        task.cancel()
    if not task.cancelled():
        task.result()


def step(advance: Callable[[], Any]) -> None:
    """One step of a coroutine that may end with a guard."""
    try:
        advance()
    except StopIteration as stop:
        if stop.value is not None:
            end_of(stop.value)


def end_of(guard: Any) -> None:
    """Releases a guard that may be spent; its mutex is then free."""
    outcome(guard.release, RuntimeError)()


MUTEX = Use(
    make=lambda: ferrule.Mutex(0),
    calls={
        "lock": lambda m, _: sync_with(m.lock(timeout=SHORT), increment),
        "try_lock": lambda m, _: sync_with(m.try_lock() or contextlib.nullcontext()),
        "acquire": lambda m, _: m.acquire(timeout=SHORT) and m.release(),
        "release": lambda m, _: m.release(),
        "locked": lambda m, _: m.locked(),
        "aio": lambda m, run: run(with_block(m.aio)),
        "with": lambda m, _: sync_with(m, increment),
        "repr": lambda m, _: repr(m),
    },
    errors=(Timeout, RuntimeError),
    rest=lambda m: sync_with(m.lock(timeout=0)),
)

ASYNC_MUTEX = Use(
    make=lambda: aio.Mutex(0),
    calls={
        "lock": lambda m, run: run(with_block(m.lock(timeout=SHORT), increment)),
        "try_lock": lambda m, _: (guard := m.try_lock()) and guard.release(),
        "acquire": lambda m, run: run(m.acquire(timeout=SHORT)) and m.release(),
        "release": lambda m, _: m.release(),
        "locked": lambda m, _: m.locked(),
        "sync": lambda m, _: sync_with(m.sync.lock(timeout=SHORT)),
        "with": lambda m, run: run(with_block(m, increment)),
        "repr": lambda m, _: (repr(m), hash(m), m == m.sync.aio),
    },
    errors=(Timeout, RuntimeError),
    rest=lambda m: ready(m.lock(timeout=0)).release(),
)

GUARD = Use(
    make=lambda: ferrule.Mutex(0).lock(),
    calls={
        "value": lambda g, _: increment(g),
        "release": lambda g, _: g.release(),
        "unlocked": lambda g, _: sync_with(g.unlocked()),
        "with": lambda g, _: sync_with(g, increment),
        "repr": lambda g, _: repr(g),
    },
    errors=(RuntimeError,),
    rest=end_of,
)

ASYNC_GUARD = Use(
    make=lambda: ready(aio.Mutex(0).lock()),
    calls={
        "value": lambda g, _: increment(g),
        "release": lambda g, _: g.release(fair=True),
        "unlocked": lambda g, run: run(with_block(g.unlocked())),
        "repr": lambda g, _: repr(g),
    },
    errors=(RuntimeError,),
    rest=end_of,
)

CONDITION = Use(
    make=lambda: ferrule.Condition(ferrule.Mutex(0)),
    calls={
        "wait": lambda c, _: sync_with(c, lambda _: c.wait(timeout=SHORT)),
        "wait_for": lambda c, _: sync_with(c, lambda guard: c.wait_for(lambda: guard.value > 3, timeout=SHORT)),
        "notify": lambda c, _: sync_with(c, lambda guard: (increment(guard), c.notify())),
        "notify_all": lambda c, _: sync_with(c, lambda _: c.notify_all()),
        "acquire": lambda c, _: c.acquire(timeout=SHORT) and c.release(),
        "release": lambda c, _: c.acquire(timeout=SHORT) and c.release(),  # another's hold would be kept by its wait()
        "locked": lambda c, _: c.locked(),
        "aio": lambda c, run: run(with_block(c.aio)),
        "with": lambda c, _: sync_with(c, increment),
        "repr": lambda c, _: (repr(c), c._state()),
    },
    errors=(Timeout, RuntimeError),
    rest=lambda c: sync_with(c),
)

ASYNC_CONDITION = Use(
    make=lambda: aio.Condition(ferrule.Mutex(0)),
    calls={
        "wait": lambda c, run: run(waits_in(c, lambda _: c.wait(timeout=SHORT))),
        "wait_for": lambda c, run: run(waits_in(c, lambda g: c.wait_for(lambda: g.value > 3, timeout=SHORT))),
        "notify": lambda c, run: run(with_block(c, lambda guard: (increment(guard), c.notify()))),
        "notify_all": lambda c, run: run(with_block(c, lambda _: c.notify_all())),
        "acquire": lambda c, run: run(c.acquire(timeout=SHORT)) and c.release(),
        "release": lambda c, run: run(c.acquire(timeout=SHORT)) and c.release(),
        "locked": lambda c, _: c.locked(),
        "sync": lambda c, _: sync_with(c.sync),
        "repr": lambda c, _: (repr(c), hash(c), c == c.sync.aio),
    },
    errors=(Timeout, RuntimeError),
    rest=lambda c: sync_with(c.sync),
)

UNLOCKED = Use(
    make=lambda: ferrule.Mutex(0).lock().unlocked(),
    calls={
        "enter": lambda u, _: u.__enter__(),
        "exit": lambda u, _: u.__exit__(None, None, None),
        "with": lambda u, _: sync_with(u),
    },
    errors=(RuntimeError,),
    rest=lambda u: (outcome(u.__enter__, RuntimeError)(), u.__exit__(None, None, None), u.__enter__()),
)

ASYNC_UNLOCKED = Use(
    make=lambda: ready(aio.Mutex(0).lock()).unlocked(),
    calls={
        "enter": lambda u, run: run(u.__aenter__()),
        "exit": lambda u, run: run(u.__aexit__(None, None, None)),
        "with": lambda u, run: run(with_block(u)),
    },
    errors=(RuntimeError,),
    rest=lambda u: (
        outcome(lambda: ready(u.__aenter__()), RuntimeError)(),
        ready(u.__aexit__(None, None, None)),
        ready(u.__aenter__()),
    ),
)


class HeldMutexCoroutine:
    """The coroutine of lock() on a mutex that is held at first."""

    def __init__(self) -> None:
        self.mutex = ferrule.Mutex()
        self.mutex.acquire()
        self.coroutine = self.mutex.aio.lock()

    def rest(self) -> None:
        self.coroutine.close()
        outcome(self.mutex.release, RuntimeError)()
        self.mutex.lock(timeout=0).release()


COROUTINE = Use(
    make=HeldMutexCoroutine,
    calls={
        "send": lambda h, run: run(stepped(lambda: step(lambda: h.coroutine.send(None)))),
        "throw": lambda h, run: run(stepped(lambda: step(lambda: h.coroutine.throw(KeyError("thrown"))))),
        "close": lambda h, _: h.coroutine.close(),
        "next": lambda h, run: run(stepped(lambda: step(lambda: next(h.coroutine.__await__())))),
        "await": lambda h, run: run(asyncio.wait_for(h.coroutine, SHORT)).release(),
        "exit": lambda h, _: h.coroutine.__aexit__(None, None, None).close(),
        "release": lambda h, _: h.mutex.release(),
        "repr": lambda h, _: (repr(h.coroutine), h.coroutine.cr_running, h.coroutine.cr_await),
    },
    errors=(RuntimeError, ValueError, KeyError, TimeoutError),
    rest=HeldMutexCoroutine.rest,
)


class BegunWait:
    """The coroutine of wait() on a condition whose mutex is held without an owner."""

    def __init__(self) -> None:
        self.condition = ferrule.Condition()
        self.condition.acquire()
        self.coroutine = self.condition.aio.wait(timeout=SHORT)

    def notify(self) -> None:
        if self.condition.acquire(timeout=SHORT):
            self.condition.notify()
            self.condition.release()

    def rest(self) -> None:
        self.coroutine.close()
        outcome(self.condition.release, RuntimeError)()
        assert self.condition._state() == []
        assert self.condition.acquire(timeout=0)


WAIT = Use(
    make=BegunWait,
    calls={
        "send": lambda h, run: run(stepped(lambda: step(lambda: h.coroutine.send(None)))),
        "throw": lambda h, run: run(stepped(lambda: step(lambda: h.coroutine.throw(KeyError("thrown"))))),
        "close": lambda h, _: h.coroutine.close(),
        "await": lambda h, run: run(cancelled_until_it_ends(h.coroutine)),
        "notify": lambda h, _: h.notify(),
        "release": lambda h, _: h.condition.release(),
        "repr": lambda h, _: (repr(h.coroutine), h.coroutine.cr_running, h.coroutine.cr_await),
    },
    # What the one throws in may reach the other: it is kept until the mutex is had again.
    errors=(RuntimeError, ValueError, KeyError, TimeoutError, asyncio.CancelledError),
    rest=BegunWait.rest,
)


def checked(m: Any) -> None:
    """The map or set is whole, and no entry holds a key of it."""
    m._check()
    assert sum(shard["entered"] for shard in m.stats()) == 0


MAP = Use(
    make=lambda: ferrule.ConcurrentMap({n: n for n in range(8)}),
    calls={
        "[]": lambda m, _: (m[1], m.__setitem__(2, 2), m.__delitem__(3)),
        "in": lambda m, _: (1 in m, len(m), bool(m), m == {1: 1}, repr(m)),
        "|": lambda m, _: (m | {9: 9}, {9: 9} | m, m.__ior__({9: 9})),
        "iteration": lambda m, _: list(m),
        "get": lambda m, _: m.get(1),
        "setdefault": lambda m, _: m.setdefault(4, 4),
        "pop": lambda m, _: m.pop(4),
        "popitem": lambda m, _: m.popitem(),
        "update": lambda m, _: m.update({5: 5, 6: 6}),
        "clear": lambda m, _: m.clear(),
        "copy": lambda m, _: m.copy()._check(),
        "keys": lambda m, _: (1 in m.keys(), list(m.keys()), m.keys() & {1, 2}),  # noqa: SIM118 the view is used
        "values": lambda m, _: (1 in m.values(), list(m.values())),
        "items": lambda m, _: ((1, 1) in m.items(), list(m.items())),
        "fromkeys": lambda m, _: m.fromkeys(m),
        "insert": lambda m, _: m.insert(1, 1),
        "compare_and_set": lambda m, _: m.compare_and_set(1, 1, 1),
        "remove_if": lambda m, _: m.remove_if(2, lambda value: value == 2),
        "increment": lambda m, _: m.increment(7),
        "compute": lambda m, _: m.compute(7, lambda old: 1),
        "get_or_compute": lambda m, _: m.get_or_compute(3, lambda: 3),
        "aio": lambda m, run: run(m.aio.set(1, 1)),
        "retain": lambda m, _: m.retain(lambda key, value: key != 5),
        "entry": lambda m, _: sync_with(m.entry(1, timeout=SHORT), lambda e: e.or_insert(1)),
        "try_entry": lambda m, _: sync_with(m.try_entry(1) or contextlib.nullcontext()),
        "entries": lambda m, _: sync_with(m.entries(2, 1, timeout=SHORT)),
        "get_many": lambda m, _: m.get_many([1, 2, 3]),
        "set_many": lambda m, _: m.set_many({1: 1, 2: 2}),
        "snapshot": lambda m, _: m.snapshot(),
        "freeze": lambda m, _: m.freeze(),
        "capacity": lambda m, _: m.capacity,
        "reserve": lambda m, _: m.reserve(100),
        "shrink": lambda m, _: m.shrink(),
        "collect": lambda m, _: m.collect(),
        "shards": lambda m, _: m.shards,
        "stats": lambda m, _: (m.stats(), sys.getsizeof(m)),
    },
    errors=(KeyError, Timeout),
    rest=checked,
)

SET = Use(
    make=lambda: ferrule.ConcurrentSet(range(8)),
    calls={
        "in": lambda s, _: (1 in s, len(s), bool(s), s == {1}, repr(s), s < {1}, s >= {1}),
        "|": lambda s, _: (s | {9}, {9} | s, s & {1}, s - {1}, s ^ {1}),
        "|=": lambda s, _: (s.__ior__({9}), s.__iand__(set(range(8))), s.__isub__({9}), s.__ixor__({1, 2})),
        "iteration": lambda s, _: list(s),
        "insert": lambda s, _: s.insert(1),
        "add": lambda s, _: s.add(1),
        "discard": lambda s, _: s.discard(2),
        "remove": lambda s, _: s.remove(3),
        "pop": lambda s, _: s.pop(),
        "remove_if": lambda s, _: s.remove_if(4, lambda item: True),
        "retain": lambda s, _: s.retain(lambda item: item != 5),
        "clear": lambda s, _: s.clear(),
        "copy": lambda s, _: s.copy()._check(),
        "snapshot": lambda s, _: s.snapshot(),
        "union": lambda s, _: s.union([1, 2]),
        "intersection": lambda s, _: s.intersection([1, 2]),
        "difference": lambda s, _: s.difference([1, 2]),
        "symmetric_difference": lambda s, _: s.symmetric_difference([1, 2]),
        "update": lambda s, _: s.update([1, 2]),
        "intersection_update": lambda s, _: s.intersection_update(range(6)),
        "difference_update": lambda s, _: s.difference_update([1, 2]),
        "symmetric_difference_update": lambda s, _: s.symmetric_difference_update([1, 2]),
        "isdisjoint": lambda s, _: s.isdisjoint([1, 2]),
        "issubset": lambda s, _: s.issubset(range(8)),
        "issuperset": lambda s, _: s.issuperset([1]),
        "capacity": lambda s, _: s.capacity,
        "reserve": lambda s, _: s.reserve(100),
        "shrink": lambda s, _: s.shrink(),
        "collect": lambda s, _: s.collect(),
        "shards": lambda s, _: s.shards,
        "stats": lambda s, _: (s.stats(), sys.getsizeof(s)),
    },
    errors=(KeyError,),
    rest=checked,
)

FROZEN = Use(
    make=lambda: ferrule.FrozenMap({1: 1, 2: 2}),
    calls={
        "[]": lambda f, _: (f[1], 1 in f, len(f), list(f), f == {1: 1}, hash(f), repr(f), f | {3: 3}),
        "get": lambda f, _: f.get(1),
        "keys": lambda f, _: list(f.keys()),
        "values": lambda f, _: list(f.values()),
        "items": lambda f, _: list(f.items()),
    },
    errors=(),
    rest=lambda f: f[1],
)


class HeldEntry:
    """An entry, and the map that it is of."""

    def __init__(self) -> None:
        self.map = ferrule.ConcurrentMap({1: 1})
        self.entry = self.map.entry(1)

    def rest(self) -> None:
        outcome(self.entry.release, RuntimeError)()
        checked(self.map)


ENTRY = Use(
    make=HeldEntry,
    calls={
        "key": lambda h, _: h.entry.key,
        "value": lambda h, _: increment(h.entry),
        "present": lambda h, _: h.entry.present,
        "get": lambda h, _: h.entry.get(),
        "or_insert": lambda h, _: h.entry.or_insert(1),
        "or_insert_with": lambda h, _: h.entry.or_insert_with(lambda: 1),
        "insert": lambda h, _: h.entry.insert(1),
        "remove": lambda h, _: h.entry.remove(),
        "release": lambda h, _: h.entry.release(),
        "with": lambda h, _: sync_with(h.entry),
        "repr": lambda h, _: repr(h.entry),
    },
    errors=(RuntimeError, KeyError),
    rest=HeldEntry.rest,
)


class HeldEntries:
    """The entries of two keys, and the map that they are of."""

    def __init__(self) -> None:
        self.map = ferrule.ConcurrentMap({1: 1})
        self.entries = self.map.entries(2, 1)

    def rest(self) -> None:
        outcome(self.entries.release, RuntimeError)()
        checked(self.map)


ENTRIES = Use(
    make=HeldEntries,
    calls={
        "[]": lambda h, _: (h.entries[0].insert(1), len(h.entries), list(h.entries), repr(h.entries)),
        "release": lambda h, _: h.entries.release(),
        "with": lambda h, _: sync_with(h.entries),
    },
    errors=(RuntimeError,),
    rest=HeldEntries.rest,
)


@dataclass
class SharedIterator:
    """An iterator over a map that changes."""

    map: Any
    iterator: Any

    def rest(self) -> None:
        list(self.iterator)
        checked(self.map)


def shared_iterator() -> SharedIterator:
    m = ferrule.ConcurrentMap({n: n for n in range(200)})
    return SharedIterator(m, iter(m.items()))


ITERATOR = Use(
    make=shared_iterator,
    calls={
        "next": lambda h, _: [next(h.iterator) for _ in range(20)],
        "hint": lambda h, _: h.iterator.__length_hint__(),
        "change": lambda h, _: (h.map.popitem(), h.map.insert(random.random(), 1)),
    },
    errors=(StopIteration,),
    rest=SharedIterator.rest,
)


class Ends:
    """Both ends of a channel, sync or async."""

    def __init__(self, tx: Any, rx: Any) -> None:
        self.tx = tx
        self.rx = rx

    def rest(self) -> None:
        for end in (self.tx, self.rx):
            end.close()
        assert self.rx._state() == {"senders": 0, "receivers": 0, "reserved": 0}
        assert len(self.rx) == 0

    def permit(self) -> None:
        with self.tx.reserve(timeout=SHORT) as permit:
            permit.send(1)

    async def async_permit(self) -> None:
        with await self.tx.reserve(timeout=SHORT) as permit:
            permit.send(1)


EVERY_END: dict[str, Callable[[Any], Any]] = {
    "clone": lambda end: end.clone(),
    "is_closed": lambda end: end.is_closed,
    "is_disconnected": lambda end: end.is_disconnected,
    "is_empty": lambda end: end.is_empty,
    "is_full": lambda end: end.is_full,
    "capacity": lambda end: end.capacity,
    "sender_count": lambda end: end.sender_count,
    "receiver_count": lambda end: end.receiver_count,
    "new_sender": lambda end: end.new_sender(),
    "new_receiver": lambda end: end.new_receiver(),
    "same_channel": lambda end: end.same_channel(end),
    "stats": lambda end: end.stats(),
    "look": lambda end: (len(end), repr(end), end == end.clone(), hash(end)),
}
RARELY: dict[str, Callable[[Any], Any]] = {
    "close": lambda end: random.random() < 0.1 and end.close(),
    "close_channel": lambda end: random.random() < 0.1 and end.close_channel(),
}
REFUSALS = (ferrule.Disconnected, ferrule.Full, ferrule.Empty, Timeout)


def end_calls(side: str) -> dict[str, Callable[[Any, Run], Any]]:
    """What every end can do, done with that end of an Ends."""
    return {
        name: lambda h, _, call=call: call(getattr(h, side))  # type: ignore[misc]
        for name, call in (EVERY_END | RARELY).items()
    }


SENDER = Use(
    make=lambda: Ends(*ferrule.bounded(3)),
    calls={
        **end_calls("tx"),
        "send": lambda h, _: h.tx.send(1, timeout=SHORT),
        "try_send": lambda h, _: h.tx.try_send(1),
        "force_send": lambda h, _: h.tx.force_send(1),
        "send_many": lambda h, _: h.tx.send_many([1, 2], timeout=SHORT),
        "reserve": lambda h, _: h.permit(),
        "downgrade": lambda h, _: h.tx.downgrade(),
        "sending": lambda h, _: ferrule.select(h.tx.sending(1), h.rx, timeout=SHORT),
        "reserving": lambda h, _: give_back(ferrule.try_select(h.tx.reserving())),
        "aio": lambda h, _: h.tx.aio,
        "recv": lambda h, _: h.rx.recv(timeout=SHORT),
        "with": lambda h, _: sync_with(h.tx.clone()),
    },
    errors=REFUSALS,
    rest=Ends.rest,
)
RECEIVER = Use(
    make=lambda: Ends(*ferrule.bounded(3)),
    calls={
        **end_calls("rx"),
        "recv": lambda h, _: h.rx.recv(timeout=SHORT),
        "try_recv": lambda h, _: h.rx.try_recv(),
        "recv_many": lambda h, _: h.rx.recv_many(5, timeout=SHORT),
        "drain": lambda h, _: h.rx.drain(),
        "try_iter": lambda h, _: list(h.rx.try_iter()),
        "aio": lambda h, _: h.rx.aio,
        "send": lambda h, _: h.tx.send(1, timeout=SHORT),
        "next": lambda h, _: h.rx.is_empty or next(h.rx.try_iter()),
        "with": lambda h, _: sync_with(h.rx.clone()),
    },
    errors=(*REFUSALS, StopIteration),
    rest=Ends.rest,
)
ASYNC_SENDER = Use(
    make=lambda: Ends(*aio.bounded(3)),
    calls={
        **end_calls("tx"),
        "send": lambda h, run: run(h.tx.send(1, timeout=SHORT)),
        "try_send": lambda h, _: h.tx.try_send(1),
        "force_send": lambda h, _: h.tx.force_send(1),
        "send_many": lambda h, run: run(h.tx.send_many([1, 2], timeout=SHORT)),
        "reserve": lambda h, run: run(h.async_permit()),
        "downgrade": lambda h, _: h.tx.downgrade(),
        "sending": lambda h, run: run(aio.select(h.tx.sending(1), h.rx, timeout=SHORT)),
        "reserving": lambda h, _: give_back(aio.try_select(h.tx.reserving())),
        "sync": lambda h, _: h.tx.sync,
        "recv": lambda h, run: run(h.rx.recv(timeout=SHORT)),
        "with": lambda h, run: run(with_block(h.tx.clone())),
    },
    errors=REFUSALS,
    rest=Ends.rest,
)
ASYNC_RECEIVER = Use(
    make=lambda: Ends(*aio.bounded(3)),
    calls={
        **end_calls("rx"),
        "recv": lambda h, run: run(h.rx.recv(timeout=SHORT)),
        "try_recv": lambda h, _: h.rx.try_recv(),
        "recv_many": lambda h, run: run(h.rx.recv_many(5, timeout=SHORT)),
        "drain": lambda h, _: h.rx.drain(),
        "try_iter": lambda h, _: list(h.rx.try_iter()),
        "sync": lambda h, _: h.rx.sync,
        "send": lambda h, run: run(h.tx.send(1, timeout=SHORT)),
        "with": lambda h, run: run(with_block(h.rx.clone())),
    },
    errors=REFUSALS,
    rest=Ends.rest,
)


class OneWeak(Ends):
    def __init__(self) -> None:
        super().__init__(*ferrule.unbounded())
        self.weak = self.tx.downgrade()


WEAK_SENDER = Use(
    make=OneWeak,
    calls={
        "upgrade": lambda h, _: h.weak.upgrade(),
        "send": lambda h, _: (sender := h.weak.upgrade()) and sender.send(1),
        "close": lambda h, _: random.random() < 0.1 and h.tx.close(),
    },
    errors=REFUSALS,
    rest=Ends.rest,
)


class OnePermit(Ends):
    def __init__(self) -> None:
        super().__init__(*ferrule.bounded(1))
        self.promised = self.tx.reserve()

    def rest(self) -> None:
        outcome(self.promised.release, RuntimeError)()
        super().rest()


PERMIT = Use(
    make=OnePermit,
    calls={
        "send": lambda h, _: h.promised.send(1),
        "release": lambda h, _: h.promised.release(),
        "with": lambda h, _: random.random() < 0.5 and sync_with(h.promised),
        "recv": lambda h, _: h.rx.try_recv(),
        "close": lambda h, _: random.random() < 0.1 and h.rx.close(),
    },
    errors=(*REFUSALS, RuntimeError),
    rest=OnePermit.rest,
)


def making(make: Callable[[], Any]) -> Use:
    """A class that is called for what it makes: nothing is shared."""
    return Use(make=lambda: None, calls={"make": lambda _, __: make()}, errors=(), rest=lambda _: None)


RWLOCK = Use(
    make=lambda: ferrule.RWLock(0),
    calls={
        "read": lambda k, _: sync_with(k.read(timeout=SHORT)),
        "try_read": lambda k, _: sync_with(k.try_read() or contextlib.nullcontext()),
        "read_recursive": lambda k, _: sync_with(k.read_recursive(timeout=SHORT)),
        "try_read_recursive": lambda k, _: sync_with(k.try_read_recursive() or contextlib.nullcontext()),
        "upgradable_read": lambda k, _: sync_with(k.upgradable_read(timeout=SHORT)),
        "try_upgradable_read": lambda k, _: sync_with(k.try_upgradable_read() or contextlib.nullcontext()),
        "write": lambda k, _: sync_with(k.write(timeout=SHORT), increment),
        "try_write": lambda k, _: sync_with(k.try_write() or contextlib.nullcontext()),
        "locked": lambda k, _: k.locked(),
        "locked_exclusive": lambda k, _: k.locked_exclusive(),
        "readers": lambda k, _: k.readers,
        "aio": lambda k, run: run(with_block(k.aio.write(timeout=SHORT))),
        "repr": lambda k, _: repr(k),
    },
    errors=(Timeout,),
    rest=lambda k: sync_with(k.write(timeout=0)),
)

ASYNC_RWLOCK = Use(
    make=lambda: aio.RWLock(0),
    calls={
        "read": lambda k, run: run(with_block(k.read(timeout=SHORT))),
        "try_read": lambda k, _: (guard := k.try_read()) and guard.release(),
        "read_recursive": lambda k, run: run(with_block(k.read_recursive(timeout=SHORT))),
        "try_read_recursive": lambda k, _: (guard := k.try_read_recursive()) and guard.release(),
        "upgradable_read": lambda k, run: run(with_block(k.upgradable_read(timeout=SHORT))),
        "try_upgradable_read": lambda k, _: (guard := k.try_upgradable_read()) and guard.release(),
        "write": lambda k, run: run(with_block(k.write(timeout=SHORT), increment)),
        "try_write": lambda k, _: (guard := k.try_write()) and guard.release(),
        "locked": lambda k, _: k.locked(),
        "locked_exclusive": lambda k, _: k.locked_exclusive(),
        "readers": lambda k, _: k.readers,
        "sync": lambda k, _: sync_with(k.sync.read(timeout=SHORT)),
        "repr": lambda k, _: (repr(k), hash(k), k == k.sync.aio),
    },
    errors=(Timeout,),
    rest=lambda k: ready(k.write(timeout=0)).release(),
)


def converted(successor: Any) -> None:
    """Ends the hold that a conversion gave, if there was one."""
    if successor is not None:
        end_of(successor)


def guard_use(take: Callable[[Any], Any], **more: Callable[[Any, Run], Any]) -> Use:
    """How two threads use one guard of an RWLock, given what a sync lock takes it with."""
    return Use(
        make=lambda: take(ferrule.RWLock(0)),
        calls={
            "value": lambda g, _: g.value,
            "release": lambda g, _: g.release(fair=True),
            "unlocked": lambda g, run: run_block(g.unlocked(), run),
            "repr": lambda g, _: repr(g),
        }
        | more,
        errors=(RuntimeError, Timeout),
        rest=end_of,
    )


def run_block(block: Any, run: Run) -> None:
    """Enters and leaves a block of either face."""
    if hasattr(block, "__enter__"):
        sync_with(block)
    else:
        run(with_block(block))


def block_use(make: Callable[[Any], Any]) -> Use:
    """How two threads use what unlocked() or upgraded() of a guard gives, given what makes it of a sync lock."""

    def enter(block: Any, run: Run) -> Any:
        return block.__enter__() if hasattr(block, "__enter__") else run(block.__aenter__())

    def leave(block: Any, run: Run) -> None:
        if hasattr(block, "__enter__"):
            block.__exit__(None, None, None)
        else:
            run(block.__aexit__(None, None, None))

    return Use(
        make=lambda: make(ferrule.RWLock(0)),
        calls={"enter": enter, "exit": leave, "with": run_block},
        errors=(RuntimeError,),
        rest=lambda block: (
            outcome(enter, RuntimeError)(block, ready),
            leave(block, ready),
            converted(enter(block, ready)),
        ),
    )


RWLOCK_USES = {
    "ferrule.RWLock": RWLOCK,
    "ferrule.aio.RWLock": ASYNC_RWLOCK,
    "ferrule.ReadGuard": guard_use(ferrule.RWLock.read, **{"with": lambda g, _: sync_with(g)}),
    "ferrule.AsyncReadGuard": guard_use(lambda k: k.aio.try_read()),
    "ferrule.WriteGuard": guard_use(
        ferrule.RWLock.write,
        **{"with": lambda g, _: sync_with(g)},
        value=lambda g, _: increment(g),
        downgrade=lambda g, _: end_of(g.downgrade()),
        downgrade_to_upgradable=lambda g, _: end_of(g.downgrade_to_upgradable()),
    ),
    "ferrule.AsyncWriteGuard": guard_use(
        lambda k: k.aio.try_write(),
        value=lambda g, _: increment(g),
        downgrade=lambda g, _: end_of(g.downgrade()),
        downgrade_to_upgradable=lambda g, _: end_of(g.downgrade_to_upgradable()),
    ),
    "ferrule.UpgradableGuard": guard_use(
        ferrule.RWLock.upgradable_read,
        **{"with": lambda g, _: sync_with(g)},
        upgrade=lambda g, _: end_of(g.upgrade(timeout=SHORT)),
        try_upgrade=lambda g, _: converted(g.try_upgrade()),
        downgrade=lambda g, _: end_of(g.downgrade()),
        upgraded=lambda g, _: sync_with(g.upgraded(), increment),
    ),
    "ferrule.AsyncUpgradableGuard": guard_use(
        lambda k: k.aio.try_upgradable_read(),
        upgrade=lambda g, run: end_of(run(g.upgrade(timeout=SHORT))),
        try_upgrade=lambda g, _: converted(g.try_upgrade()),
        downgrade=lambda g, _: end_of(g.downgrade()),
        upgraded=lambda g, run: run(with_block(g.upgraded(), increment)),
    ),
    "what ReadGuard.unlocked() gives": block_use(lambda k: k.read().unlocked()),
    "what AsyncWriteGuard.unlocked() gives": block_use(lambda k: k.aio.try_write().unlocked()),
    "what UpgradableGuard.upgraded() gives": block_use(lambda k: k.upgradable_read().upgraded()),
    "what AsyncUpgradableGuard.upgraded() gives": block_use(lambda k: k.aio.try_upgradable_read().upgraded()),
}

USES = (
    {
        "ferrule.bounded": making(lambda: ferrule.bounded(1)),
        "ferrule.unbounded": making(ferrule.unbounded),
        "ferrule.aio.bounded": making(lambda: aio.bounded(1)),
        "ferrule.aio.unbounded": making(aio.unbounded),
        "ferrule.Sender": SENDER,
        "ferrule.Receiver": RECEIVER,
        "ferrule.WeakSender": WEAK_SENDER,
        "ferrule.Permit": PERMIT,
        "ferrule.aio.Sender": ASYNC_SENDER,
        "ferrule.aio.Receiver": ASYNC_RECEIVER,
        "ferrule.ConcurrentMap": MAP,
        "ferrule.ConcurrentSet": SET,
        "ferrule.FrozenMap": FROZEN,
        "ferrule.Entry": ENTRY,
        "ferrule.Entries": ENTRIES,
        "what iter(ConcurrentMap.items()) gives": ITERATOR,
        "ferrule.Mutex": MUTEX,
        "ferrule.MutexGuard": GUARD,
        "ferrule.AsyncMutexGuard": ASYNC_GUARD,
        "ferrule.aio.Mutex": ASYNC_MUTEX,
        "ferrule.Condition": CONDITION,
        "ferrule.aio.Condition": ASYNC_CONDITION,
        "what aio.Condition.wait() gives": WAIT,
        "what MutexGuard.unlocked() gives": UNLOCKED,
        "what AsyncMutexGuard.unlocked() gives": ASYNC_UNLOCKED,
        "what aio.Mutex.lock() gives": COROUTINE,
    }
    | RWLOCK_USES
    | MAP_USES
    | BYTES_USES
    | POOL_USES
    | SELECT_USES
    | QUEUE_USES
)


def test_every_public_class_is_used():
    assert set(PUBLIC) <= set(USES)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_is_used(name):
    assert {member for member in dir(PUBLIC[name]) if not member.startswith("_")} <= set(USES[name].calls)


@pytest.mark.parametrize("name", USES)
def test_two_threads_may_use_it_at_once(name, rng):
    use = USES[name]
    sys.setswitchinterval(1e-5)  # the fixture switch_interval puts it back
    deadline = time.monotonic() + 0.5
    rounds = 0
    while time.monotonic() < deadline:
        shared = use.make()
        run_together(*(partial(play, use, shared, rng.random()) for _ in range(2)))
        use.rest(shared)
        rounds += 1
    assert rounds


def play(use: Use, shared: Any, seed: float) -> None:
    """Makes each call several times, in an order of this thread's own."""
    calls = list(use.calls.values()) * 3
    random.Random(seed).shuffle(calls)
    with asyncio.Runner() as runner:

        async def awaited(awaitable: Awaitable[Any]) -> Any:
            return await awaitable

        for call in calls:
            outcome(call, *use.errors)(shared, lambda awaitable: runner.run(awaited(awaitable)))
    use.leave(shared)
