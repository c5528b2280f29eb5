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
from tests.support.race import outcome, run_together

PUBLIC = {
    f"{module.__name__}.{name}": cls
    for module in (ferrule, aio)
    for name, cls in ((name, getattr(module, name)) for name in module.__all__)
    if isinstance(cls, type) and not issubclass(cls, Exception)
}

Run = Callable[[Awaitable[Any]], Any]  # runs an awaitable in the calling thread's own event loop
SHORT = 0.001


@dataclass(frozen=True)
class Use:
    """How two threads use one object.

    `make` gives a fresh object for each round; `calls` uses each public name, and leaves nothing held that it took;
    `errors` are those that the documentation allows; `rest` brings the object to rest and checks it.
    """

    make: Callable[[], Any]
    calls: dict[str, Callable[[Any, Run], Any]]
    errors: tuple[type[BaseException], ...]
    rest: Callable[[Any], Any]


def ready(awaitable: Any) -> Any:
    """The result of an awaitable that need not wait."""
    with pytest.raises(StopIteration) as stop:
        awaitable.__await__().send(None)
    return stop.value.value


async def with_block(context: Any, body: Callable[[Any], Any] = lambda _: None) -> None:
    async with context as entered:
        body(entered)


def sync_with(context: Any, body: Callable[[Any], Any] = lambda _: None) -> None:
    with context as entered:
        body(entered)


def increment(guard: Any) -> None:
    guard.value += 1


async def stepped(call: Callable[[], Any]) -> Any:
    """A call that needs a running loop, made in one."""
    return call()


def step(advance: Callable[[], Any]) -> None:
    """One step of a coroutine that may end with a guard."""
    try:
        advance()
    except StopIteration as stop:
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

USES = {
    "ferrule.Mutex": MUTEX,
    "ferrule.MutexGuard": GUARD,
    "ferrule.AsyncMutexGuard": ASYNC_GUARD,
    "ferrule.aio.Mutex": ASYNC_MUTEX,
    "what MutexGuard.unlocked() gives": UNLOCKED,
    "what AsyncMutexGuard.unlocked() gives": ASYNC_UNLOCKED,
    "what aio.Mutex.lock() gives": COROUTINE,
}


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
