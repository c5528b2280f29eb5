"""Both faces of an object, and both kinds of guard, have the same names; what waits is awaitable on the async face."""

import asyncio
import inspect
from collections.abc import Awaitable, Coroutine

import pytest

import ferrule
from ferrule import aio

# sync class, async class, names that lead from one face to the other
FACES = [
    (ferrule.Mutex, aio.Mutex, {"aio"}, {"sync"}),
    (ferrule.MutexGuard, ferrule.AsyncMutexGuard, set(), set()),
]

# async class -> (a new object, the methods that wait, the methods that do not)
WAITS = {
    aio.Mutex: (aio.Mutex, {"lock", "acquire"}, {"try_lock", "release", "locked"}),
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


@pytest.mark.parametrize("asynchronous", WAITS, ids=lambda cls: cls.__name__)
def test_every_method_is_said_to_wait_or_not(asynchronous):
    _, waiting, plain = WAITS[asynchronous]
    assert waiting | plain == {n for n in public(asynchronous) if callable(inspect.getattr_static(asynchronous, n))}


@pytest.mark.parametrize("asynchronous", WAITS, ids=lambda cls: cls.__name__)
def test_what_waits_gives_a_coroutine_that_has_done_nothing(asynchronous):
    make, waiting, _ = WAITS[asynchronous]
    for name in waiting:
        face = make()
        returned = getattr(face, name)()
        assert isinstance(returned, Coroutine), name
        assert isinstance(returned, Awaitable), name
        assert not face.locked()
        returned.close()


@pytest.mark.parametrize("asynchronous", WAITS, ids=lambda cls: cls.__name__)
def test_what_does_not_wait_gives_no_awaitable(asynchronous):
    make, _, plain = WAITS[asynchronous]

    async def main():
        for name in plain:
            face = make()
            await face.acquire()
            assert not isinstance(getattr(face, name)(), Awaitable), name

    asyncio.run(main())


def test_a_face_leads_back_to_its_object():
    mutex = ferrule.Mutex()
    assert isinstance(mutex.aio, aio.Mutex)
    assert mutex.aio.sync is mutex
    assert mutex.aio == mutex.aio
    assert hash(mutex.aio) == hash(mutex.aio)
    assert mutex.aio != ferrule.Mutex().aio
