"""How two threads use the async face of a map, and a get_or_compute() that one of them computes for the other."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import ferrule
from ferrule import Timeout, aio

from .flights import assert_landed
from .two_threads import Run, Use

__all__ = ["MAP_USES"]

SHORT = 0.001


async def inside(block: Any, body: Callable[[Any], Any]) -> None:
    async with block as entered:
        await asyncio.sleep(0)
        body(entered)


async def slowly(value: Any = 1) -> Any:
    await asyncio.sleep(0)
    return value


def try_entry(face: Any, _: Run) -> None:
    entry = face.try_entry(1)
    if entry is not None:
        entry.release()


ASYNC_MAP = Use(
    make=lambda: aio.ConcurrentMap({n: n for n in range(4)}),
    calls={
        "get_or_compute": lambda f, run: run(f.get_or_compute(5, slowly, timeout=SHORT)),
        "plain factory": lambda f, run: run(f.get_or_compute(6, lambda: 6, timeout=SHORT)),
        "entry": lambda f, run: run(inside(f.entry(1, timeout=SHORT), lambda e: e.insert(1))),
        "try_entry": try_entry,
        "entries": lambda f, run: run(inside(f.entries(2, 1, timeout=SHORT), lambda es: es[0].remove())),
        "compute": lambda f, run: run(f.compute(3, slowly)),
        "set": lambda f, run: run(f.set(1, 1)),
        "pop": lambda f, run: run(f.pop(5, None)),
        "sync": lambda f, _: f.sync.pop(6, None),
        "repr": lambda f, _: (repr(f), hash(f), f == f.sync.aio),
    },
    errors=(Timeout,),
    rest=lambda f: assert_landed(f.sync),
)


class BegunCall:
    """What aio.ConcurrentMap.get_or_compute() gives, suspended in its factory, and another call that waits for it."""

    def __init__(self) -> None:
        self.map = ferrule.ConcurrentMap[int, int]()
        self.coroutine = self.map.aio.get_or_compute(1, slowly)
        self.waiting = self.map.aio.get_or_compute(1, slowly)

    def rest(self) -> None:
        self.coroutine.close()
        self.waiting.close()
        assert_landed(self.map)


def step(advance: Callable[[], Any]) -> Callable[[], Awaitable[None]]:
    """One step of a coroutine, made in a running loop."""

    async def stepped() -> None:
        with contextlib.suppress(StopIteration):
            advance()

    return stepped


CALL = Use(
    make=BegunCall,
    calls={
        "send": lambda h, run: run(step(lambda: h.coroutine.send(None))()),
        "wait": lambda h, run: run(step(lambda: h.waiting.send(None))()),
        "throw": lambda h, run: run(step(lambda: h.coroutine.throw(KeyError("thrown")))()),
        "close": lambda h, _: h.waiting.close(),
        "compute": lambda h, run: run(h.map.aio.get_or_compute(1, slowly, timeout=SHORT)),
        "pop": lambda h, _: h.map.pop(1, None),
        "repr": lambda h, _: (repr(h.coroutine), h.waiting.cr_running, h.waiting.cr_await),
    },
    errors=(RuntimeError, ValueError, KeyError, TimeoutError),
    rest=BegunCall.rest,
)

MAP_USES = {
    "ferrule.aio.ConcurrentMap": ASYNC_MAP,
    "what aio.ConcurrentMap.get_or_compute() gives": CALL,
}
