"""Both faces of an object, and both kinds of guard, have the same names; what waits is awaitable on the async face."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

import ferrule
from ferrule import aio

# sync class, async class, names that lead from one face to the other
FACES = [
    (ferrule.Mutex, aio.Mutex, {"aio"}, {"sync"}),
    (ferrule.MutexGuard, ferrule.AsyncMutexGuard, set(), set()),
    (ferrule.Condition, aio.Condition, {"aio"}, {"sync"}),
    (ferrule.RWLock, aio.RWLock, {"aio"}, {"sync"}),
    (ferrule.ReadGuard, ferrule.AsyncReadGuard, set(), set()),
    (ferrule.WriteGuard, ferrule.AsyncWriteGuard, set(), set()),
    (ferrule.UpgradableGuard, ferrule.AsyncUpgradableGuard, set(), set()),
    (ferrule.Sender, aio.Sender, {"aio"}, {"sync"}),
    (ferrule.Receiver, aio.Receiver, {"aio"}, {"sync"}),
    (ferrule.Pool, aio.Pool, {"aio"}, {"sync"}),
    (ferrule.Lease, ferrule.AsyncLease, set(), set()),
]


@dataclass(frozen=True)
class Waits:
    """What of an async face waits and what does not: names, with arguments for a call.

    `make` gives a fresh object on which each call can be done at once; `state` shows whether anything was done to it,
    and `end` ends it after a call that did nothing.
    """

    make: Callable[[], Any]
    state: Callable[[Any], Any]
    waiting: dict[str, tuple[Any, ...]]
    plain: dict[str, tuple[Any, ...]]
    end: Callable[[Any], Any] = id


def channel():
    """A channel that has an item, and room for another."""
    tx, rx = aio.bounded(2)
    tx.try_send(0)
    return tx, rx


def sender_of(tx, rx):
    """The sender of a channel whose receiver stays open."""
    KEPT.append(rx)
    return tx


def receiver_of(tx, rx):
    """The receiver of a channel whose sender stays open."""
    KEPT.append(tx)
    return rx


def pool():
    """A pool that has an idle object, and room for another."""
    pool = aio.Pool(object, max_size=2, min_size=1)
    pool.attach(object())
    return pool


def figures(pool):
    return pool.idle, pool.in_use, pool.size, pool.waiting, pool.max_size, pool.closed, pool.stats()


KEPT = []
ENDS = {"clone", "close", "close_channel", "new_sender", "new_receiver", "stats"}
WAITS = {
    aio.Mutex: Waits(
        make=aio.Mutex,
        state=lambda mutex: mutex.locked(),
        waiting={"lock": (), "acquire": ()},
        plain={"try_lock": (), "locked": (), "release": ()},
    ),
    aio.Condition: Waits(
        make=aio.Condition,
        state=lambda condition: (condition.locked(), condition.sync._state()),
        waiting={"wait": (), "wait_for": (bool,), "acquire": ()},
        plain={"notify": (), "notify_all": (), "locked": (), "release": ()},
    ),
    aio.RWLock: Waits(
        make=aio.RWLock,
        state=lambda lock: lock.sync._state(),
        waiting=dict.fromkeys(["read", "read_recursive", "upgradable_read", "write"], ()),
        plain=dict.fromkeys(
            ["try_read", "try_read_recursive", "try_upgradable_read", "try_write", "locked", "locked_exclusive"], ()
        ),
    ),
    aio.Sender: Waits(
        make=lambda: sender_of(*channel()),
        state=lambda tx: (tx.stats(), tx._state()),
        waiting={"send": (1,), "send_many": ([1],), "reserve": ()},
        plain={"try_send": (1,), "force_send": (1,), "downgrade": (), "same_channel": (channel()[0],)}
        | {"sending": (1,), "reserving": ()}
        | dict.fromkeys(ENDS, ()),
    ),
    aio.Receiver: Waits(
        make=lambda: receiver_of(*channel()),
        state=lambda rx: (rx.stats(), rx._state()),
        waiting={"recv": (), "recv_many": (1,)},
        plain={"try_recv": (), "drain": (), "try_iter": (), "same_channel": (channel()[0],)} | dict.fromkeys(ENDS, ()),
    ),
    aio.Pool: Waits(
        make=pool,
        state=figures,
        waiting={"retain": (bool,), "resize": (1,)} | dict.fromkeys(["acquire", "reap", "warm_up", "close"], ()),
        plain={"try_acquire": (), "acquire_or": (object,), "attach": (object(),), "stats": ()},
    ),
    aio.ConcurrentMap: Waits(
        make=partial(aio.ConcurrentMap, {1: 1}),
        state=lambda face: (dict(face.sync), face.sync.stats(), face.sync._state()),
        waiting={
            "get_or_compute": (2, object),
            "entry": (1,),
            "entries": (1, 2),
            "compute": (1, bool),
            "set": (2, 2),
            "pop": (1,),
        },
        plain={"try_entry": (1,)},
    ),
    ferrule.AsyncLease: Waits(
        make=lambda: pool().try_acquire(),
        state=lambda lease: (repr(lease), lease.value),
        waiting={"release": (), "discard": ()},
        plain={"detach": ()},
        end=ferrule.AsyncLease.detach,
    ),
}


def public(cls):
    return {name for name in dir(cls) if not name.startswith("_")}


@pytest.mark.parametrize(("sync", "asynchronous", "only_sync", "only_async"), FACES)
def test_both_faces_have_the_same_names(sync, asynchronous, only_sync, only_async):
    assert public(sync) - only_sync == public(asynchronous) - only_async
    assert only_sync <= public(sync)
    assert only_async <= public(asynchronous)


@pytest.mark.parametrize(("sync", "asynchronous", "only_sync", "only_async"), FACES)
def test_both_faces_have_the_same_kinds_of_members(sync, asynchronous, only_sync, only_async):
    for name in public(sync) - only_sync:
        here, there = inspect.getattr_static(sync, name), inspect.getattr_static(asynchronous, name)
        assert callable(here) == callable(there), name


def test_the_face_of_maps_has_only_what_can_wait_long():
    """The one exception to the rule: all else is on the map."""
    assert public(aio.ConcurrentMap) - {"set", "sync"} < public(ferrule.ConcurrentMap)


@pytest.mark.parametrize("asynchronous", WAITS, ids=lambda cls: cls.__name__)
def test_every_method_is_said_to_wait_or_not(asynchronous):
    said = WAITS[asynchronous].waiting.keys() | WAITS[asynchronous].plain.keys()
    assert said == {n for n in public(asynchronous) if callable(inspect.getattr_static(asynchronous, n))}


@pytest.mark.parametrize("asynchronous", WAITS, ids=lambda cls: cls.__name__)
def test_what_waits_gives_a_coroutine_that_has_done_nothing(asynchronous):
    waits = WAITS[asynchronous]
    for name, args in waits.waiting.items():
        face = waits.make()
        before = waits.state(face)
        returned = getattr(face, name)(*args)
        assert isinstance(returned, Coroutine), name
        assert isinstance(returned, Awaitable), name
        assert waits.state(face) == before
        returned.close()
        waits.end(face)


@pytest.mark.parametrize("asynchronous", WAITS, ids=lambda cls: cls.__name__)
def test_what_does_not_wait_gives_no_awaitable(asynchronous):
    waits = WAITS[asynchronous]

    async def main():
        for name, args in waits.plain.items():
            face = waits.make()
            if asynchronous in (aio.Mutex, aio.Condition):
                await face.acquire()  # try_lock() then gives nothing, and there is a hold to release or notify under
            returned = getattr(face, name)(*args)
            assert not isinstance(returned, Awaitable), name
            if isinstance(face, aio.RWLock) and name.startswith("try_"):
                returned.release()
            if isinstance(returned, ferrule.AsyncLease):
                await returned.release()
            if isinstance(returned, ferrule.Entry):
                returned.release()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("make", "face"),
    [
        (ferrule.Mutex, aio.Mutex),
        (ferrule.RWLock, aio.RWLock),
        (partial(ferrule.Pool, object, max_size=1), aio.Pool),
        (ferrule.ConcurrentMap, aio.ConcurrentMap),
    ],
)
def test_a_face_leads_back_to_its_object(make, face):
    there = make()
    assert isinstance(there.aio, face)
    assert there.aio.sync is there
    assert there.aio == there.aio
    assert hash(there.aio) == hash(there.aio)
    assert there.aio != make().aio


def test_both_faces_of_an_end_are_equal_to_themselves():
    tx, rx = ferrule.bounded(1)
    for end, face in ((tx, aio.Sender), (rx, aio.Receiver)):
        assert isinstance(end.aio, face)
        assert end.aio.sync == end
        assert end.aio == end.aio
        assert hash(end.aio) == hash(end.aio)
        assert end.aio != end
        assert end.aio != end.clone().aio
