"""Section rwlock: requests of threads and of tasks, routed by one table, which is reloaded in place meanwhile."""

from __future__ import annotations

import asyncio
import importlib
import statistics
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from .. import RWLock
from .job import Job, Run, Table, Words, count_in_threads_and_tasks

EVERY = 3
"""Every third file only: a lock written in Python takes microseconds."""
TASKS = 10
REQUEST = 20
"""Words that are looked up in one hold, so that all their routes are of one version of the table."""
PERIOD = 0.01
"""From the end of a reload to the next one, in seconds."""
HANDLERS = 256


class Routes:
    """A routing table: the number of each word's handler, which is the table's version, so that half a reload shows."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.handlers: dict[str, int] = {}
        self.load(0)

    def load(self, version: int) -> None:
        handlers, self.version = self.handlers, version % HANDLERS
        for word in self.words:
            handlers[word] = version % HANDLERS

    def count(self, request: Words, numbers: dict[str, int]) -> None:
        """A word is counted if its handler is of the table's version; so who sees half a reload miscounts."""
        handlers, version = self.handlers, self.version
        for word in request:
            if handlers[word] == version:
                numbers[word] = numbers.get(word, 0) + 1


def requests(words: Words) -> Iterator[Words]:
    for first in range(0, len(words), REQUEST):
        yield words[first : first + REQUEST]


class Contender(ABC):
    """One way to keep those who read a table away while it is being reloaded."""

    needs: tuple[str, ...] = ()
    """What it imports besides the standard library and ferrule."""

    def __init__(self, routes: Routes, stop: threading.Event) -> None:
        self.routes = routes
        self.stop = stop
        self.parts: list[dict[str, int]] = []

    def in_thread(self, words: Words) -> None:
        numbers: dict[str, int] = {}
        self.route(words, numbers)
        self.parts.append(numbers)

    async def in_task(self, words: Words) -> None:
        numbers: dict[str, int] = {}
        await self.route_in_task(words, numbers)
        self.parts.append(numbers)

    @abstractmethod
    def route(self, words: Words, numbers: dict[str, int]) -> None:
        """Counts them, a request in a hold."""

    @abstractmethod
    async def route_in_task(self, words: Words, numbers: dict[str, int]) -> None:
        """The same, and after each request the other tasks have their turn."""

    @abstractmethod
    def reload(self, version: int) -> None:
        """In a thread."""

    async def reload_from_loop(self, version: int) -> None:
        await asyncio.to_thread(self.reload, version)

    def counts(self) -> Mapping[str, int]:
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(part)
        return total


class InLock(Contender):
    """In a task, waiting for the lock holds up the whole loop."""

    def __init__(self, routes: Routes, stop: threading.Event) -> None:
        super().__init__(routes, stop)
        self.writer: Any = threading.Lock()

    def make_reader(self) -> Any:
        """For one thread or task, which enters it again and again."""
        return self.writer

    def route(self, words: Words, numbers: dict[str, int]) -> None:
        reader = self.make_reader()
        for request in requests(words):
            with reader:
                self.routes.count(request, numbers)

    async def route_in_task(self, words: Words, numbers: dict[str, int]) -> None:
        reader = self.make_reader()
        for request in requests(words):
            with reader:
                self.routes.count(request, numbers)
            await asyncio.sleep(0)

    def reload(self, version: int) -> None:
        with self.writer:
            self.routes.load(version)


class InReaderWriterLock(InLock):
    needs: tuple[str, ...] = ("readerwriterlock.rwlock",)

    def __init__(self, routes: Routes, stop: threading.Event) -> None:
        super().__init__(routes, stop)
        self.lock = importlib.import_module("readerwriterlock.rwlock").RWLockFair()
        self.writer = self.lock.gen_wlock()

    def make_reader(self) -> Any:
        return self.lock.gen_rlock()


class InBothLocks(InReaderWriterLock):
    """Threads take the one, tasks the other, and a reload both."""

    needs = ("readerwriterlock.rwlock", "aiorwlock")

    def __init__(self, routes: Routes, stop: threading.Event) -> None:
        super().__init__(routes, stop)
        self.lock_of_tasks = importlib.import_module("aiorwlock").RWLock(fast=True)

    async def route_in_task(self, words: Words, numbers: dict[str, int]) -> None:
        reader = self.lock_of_tasks.reader
        for request in requests(words):
            async with reader:
                self.routes.count(request, numbers)
            await asyncio.sleep(0)

    async def reload_from_loop(self, version: int) -> None:
        async with self.lock_of_tasks.writer:
            await super().reload_from_loop(version)


class InRWLock(Contender):
    def __init__(self, routes: Routes, stop: threading.Event) -> None:
        super().__init__(routes, stop)
        self.lock = RWLock(routes)

    def route(self, words: Words, numbers: dict[str, int]) -> None:
        read = self.lock.read
        for request in requests(words):
            with read() as guard:
                guard.value.count(request, numbers)

    async def route_in_task(self, words: Words, numbers: dict[str, int]) -> None:
        read = self.lock.aio.read
        for request in requests(words):
            async with read() as guard:
                guard.value.count(request, numbers)
            await asyncio.sleep(0)

    def reload(self, version: int) -> None:
        with self.lock.write() as guard:
            guard.value.load(version)


CONTENDERS: dict[str, type[Contender]] = {
    "threading.Lock, blocking the loop": InLock,
    "readerwriterlock, blocking the loop": InReaderWriterLock,
    "readerwriterlock, aiorwlock in tasks": InBothLocks,
    "ferrule.RWLock, with and async with": InRWLock,
}


def route_requests(job: Job) -> Iterator[Table]:
    sample, threads = job.sample.every(EVERY), job.threads
    runs: dict[str, list[Run]] = {name: [] for name, kind in CONTENDERS.items() if not _missing(kind)}
    with job.bar("routing", job.rounds * len(runs)) as step:
        for _ in job.turns():
            for name, took in runs.items():
                make = partial(CONTENDERS[name], Routes([*sample.expected]))
                took.append(count_in_threads_and_tasks(name, make, sample, threads, TASKS, _reload))
                step()

    seconds = {name: statistics.median(run.seconds for run in took) for name, took in runs.items()}
    lock, *_ = CONTENDERS

    def cells(name: str) -> list[str]:
        if missing := _missing(CONTENDERS[name]):
            return [f"not installed: {', '.join(missing)}", "", "", ""]
        return [
            f"{sample.tokens / seconds[name] / 1e6:.2f} M",
            f"{seconds[lock] / seconds[name]:.2f}x",
            f"{statistics.median(run.laps / run.seconds for run in runs[name]):.0f}",
            f"{statistics.median(run.pause for run in runs[name]) * 1000:.1f} ms",
        ]

    yield Table(
        f"{threads} threads and {TASKS} tasks of one loop, {sample.tokens:,} tokens, half of the files each",
        ["", "tokens/s", "/ Lock", "reloads/s", "loop held up"],
        [[name, *cells(name)] for name in CONTENDERS],
        [
            f"Requests of {REQUEST} words, each in one hold. From one reload to the next: {PERIOD * 1000:.0f} ms.",
            "loop held up: the longest delay of a task that only sleeps, 1 ms at a time, in the same loop.",
            f"Medians of interleaved rounds: {len(runs[lock])}. Nobody saw half a reload, and every count equals the",
            "plain one, word by word.",
        ],
    )


def _missing(kind: type[Contender]) -> list[str]:
    """The packages of PyPI that the contender needs and that are not installed."""
    missing = []
    for module in kind.needs:
        try:
            importlib.import_module(module)
        except ImportError:
            missing.append(module.partition(".")[0])
    return missing


async def _reload(contender: Contender) -> int:
    """Until the contender is stopped; how often."""
    reloads = 0
    while not contender.stop.is_set():
        reloads += 1
        await contender.reload_from_loop(reloads)
        await asyncio.sleep(PERIOD)
    return reloads
