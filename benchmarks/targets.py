"""What ferrule is to beat: in each scenario, how many times faster than the best peer known when the target was set."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A row of the page: `beat` has for each interpreter the contender and the factor, both taken in one run."""

    title: str
    room: str
    scenario: str
    threads: int
    ours: str
    beat: dict[str, tuple[str, float]]


TARGETS = [
    Target(
        "lock, `acquire()` and `release()`, 1 thread",
        "mutex",
        "acquire_release",
        1,
        "ferrule.Mutex",
        {"3.11": ("threading.RLock", 2.2), "3.13t": ("threading.Lock", 1.3)},
    ),
    Target(
        "lock, `with`, 1 thread",
        "mutex",
        "with",
        1,
        "ferrule.Mutex",
        {"3.11": ("threading.Lock", 2.5), "3.13t": ("threading.Lock", 1.6)},
    ),
    Target(
        "lock, `with`, 2 threads, every hold exclusive",
        "mutex",
        "with",
        2,
        "ferrule.Mutex",
        {"3.11": ("threading.Lock", 2.0), "3.13t": ("threading.Lock", 1.5)},
    ),
    Target(
        "async lock, `async with`, 1 task",
        "mutex",
        "async_with",
        1,
        "ferrule.aio.Mutex",
        {"3.11": ("asyncio.Lock", 3.5), "3.13t": ("asyncio.Lock", 3.5)},
    ),
]
