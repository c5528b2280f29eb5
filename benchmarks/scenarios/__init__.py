"""The work that contenders are compared at, one module for each room; a scenario is named here once."""

from __future__ import annotations

import asyncio
import threading
from array import array
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from time import perf_counter
from typing import Any

from benchmarks.peers import loop_factories

Loop = Callable[[int], Any]
"""loop(n) does n operations in the thread that calls it."""


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    contenders: Sequence[Any]
    threads: tuple[int, ...]
    loops: Callable[[Any, int], list[Loop]]
    """loops(contender, threads) makes a fresh object and gives a loop for each thread that is to work on it."""


@dataclass(frozen=True)
class Waiting:
    """A scenario whose figures are how long each thread waited, and how often each got its turn."""

    name: str
    title: str
    contenders: Sequence[Any]
    threads: int
    run: Callable[..., list[array[int]]]
    """run(contender, threads, seconds=...) gives the waits of each thread in ns."""
    seconds: float
    roles: tuple[tuple[str, int], ...] = ()
    """What the threads are, if not all the same: names and how many, in the order of the threads."""


@dataclass(frozen=True)
class Tail:
    """A scenario whose figures are how long its single calls took, above all the slowest of them."""

    name: str
    title: str
    contenders: Sequence[Any]
    calls: int
    run: Callable[[Any, int], array[int]]
    """run(contender, calls) gives the time of each call in ns, with that of reading the clock."""


Run = Callable[[Coroutine[Any, Any, None]], None]
"""Runs a coroutine in a new event loop of some kind."""


def kinds_of_loops() -> Iterator[tuple[str, Run, str]]:
    """The name of each kind, what runs in it, and the reason why it is not there, if it is not."""
    for kind, (factory, missing) in loop_factories().items():
        yield kind, partial(_run_in, factory), missing


def _run_in(factory: Callable[[], Any] | None, main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main)


def empty_loop(n: int) -> None:
    """The loop of every scenario without its body: what each figure holds besides the contender."""
    for _ in repeat(None, n):
        pass


def shares(n: int, parts: int) -> list[int]:
    return [n // parts + (i < n % parts) for i in range(parts)]


def steps(seconds: float) -> int:
    """How many steps of an empty loop take so long."""
    n = 1_000_000
    fastest = min(_time_steps(n) for _ in range(3))
    return max(1, round(seconds * n / fastest))


def _time_steps(n: int) -> float:
    started = perf_counter()
    empty_loop(n)
    return perf_counter() - started


def run_loops(loops: Sequence[Loop], n: int) -> float:
    """Seconds from the first start to the last end of all the loops, each in a thread of its own if there are many."""
    if len(loops) == 1:
        started = perf_counter()
        loops[0](n)
        return perf_counter() - started

    barrier = threading.Barrier(len(loops))
    spans: list[tuple[float, float]] = []

    def work(loop: Loop) -> None:
        barrier.wait()
        started = perf_counter()
        loop(n)
        spans.append((started, perf_counter()))

    threads = [threading.Thread(target=work, args=(loop,)) for loop in loops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(spans) != len(loops):
        raise RuntimeError(f"{len(loops) - len(spans)} of {len(loops)} threads failed")
    return max(end for _, end in spans) - min(start for start, _ in spans)


Noting = Callable[["array[int]"], None]
"""What a thread does that notes its waits, in ns."""


def run_noting(works: Sequence[Noting]) -> list[array[int]]:
    """Does each in a thread of its own, all from the same moment on, and gives what each has noted."""
    barrier = threading.Barrier(len(works))
    all_waits = [array("Q") for _ in works]

    def work(does: Noting, waits: array[int]) -> None:
        barrier.wait()
        does(waits)

    threads = [threading.Thread(target=work, args=pair) for pair in zip(works, all_waits, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return all_waits
