"""Section mutex: words counted into one shared dict under one lock, taken once a word."""

from __future__ import annotations

import asyncio
import statistics
import threading
from collections.abc import Iterator

from .. import Mutex
from .job import Job, Run, Sample, Table, Words, count_in_threads, count_in_threads_and_tasks

TASKS = 10
MIXED_EVERY = 4
"""The contenders for threads and tasks count every fourth file only: a call_soon_threadsafe a word takes long."""


class Contender:
    """One way to count words into one shared dict from threads, and from tasks of one loop beside them.

    Each word has its cell there, a list of one number. Were the numbers themselves the dict's values, a run without the
    GIL would show, in place of the lock, what it costs that one thread looks up and drops what another thread made.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.cells: dict[str, list[int]] = {}
        self.stop = stop

    def counts(self) -> dict[str, int]:
        return {word: cell[0] for word, cell in self.cells.items()}

    def in_thread(self, words: Words) -> None:
        raise NotImplementedError

    async def in_task(self, words: Words) -> None:
        self.in_thread(words)


class NoLock(Contender):
    """Right in one thread only: what the counting itself costs."""

    def in_thread(self, words: Words) -> None:
        cells = self.cells
        for word in words:
            cell = cells.get(word)
            if cell is None:
                cells[word] = [1]
            else:
                cell[0] += 1


class InLock(Contender):
    """In a task, waiting for the lock holds up the whole loop."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self.lock = threading.Lock()

    def in_thread(self, words: Words) -> None:
        lock, cells = self.lock, self.cells
        for word in words:
            with lock:
                cell = cells.get(word)
                if cell is None:
                    cells[word] = [1]
                else:
                    cell[0] += 1


class InMutex(Contender):
    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self.mutex = Mutex(self.cells)

    def in_thread(self, words: Words) -> None:
        mutex = self.mutex
        for word in words:
            with mutex as guard:
                cells = guard.value
                cell = cells.get(word)
                if cell is None:
                    cells[word] = [1]
                else:
                    cell[0] += 1

    async def in_task(self, words: Words) -> None:
        mutex = self.mutex.aio
        for word in words:
            async with mutex as guard:
                cells = guard.value
                cell = cells.get(word)
                if cell is None:
                    cells[word] = [1]
                else:
                    cell[0] += 1


class PostToLoop(Contender):
    """The loop's thread alone touches the dict: threads post each word to it, and wait for it at the end of a file."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self.loop = asyncio.get_running_loop()

    def in_thread(self, words: Words) -> None:
        call_soon, counted = self.loop.call_soon_threadsafe, threading.Event()
        for word in words:
            call_soon(self._count, word)
        call_soon(counted.set)
        while not (counted.wait(0.1) or self.stop.is_set()):
            pass

    async def in_task(self, words: Words) -> None:
        cells = self.cells
        for word in words:
            cell = cells.get(word)
            if cell is None:
                cells[word] = [1]
            else:
                cell[0] += 1

    def _count(self, word: str) -> None:
        cell = self.cells.get(word)
        if cell is None:
            self.cells[word] = [1]
        else:
            cell[0] += 1


BY_THREADS: dict[str, type[Contender]] = {
    "threading.Lock": InLock,
    "ferrule.Mutex": InMutex,
}
BY_THREADS_AND_TASKS: dict[str, type[Contender]] = {
    "call_soon_threadsafe, a call a word": PostToLoop,
    "threading.Lock, blocking the loop": InLock,
    "ferrule.Mutex, with and async with": InMutex,
}


COLUMNS = ["tokens/s", "in locks"]


def count_words(job: Job) -> Iterator[Table]:
    sample, part, threads = job.sample, job.sample.every(MIXED_EVERY), job.threads
    alone: list[Run] = []
    by_threads: dict[str, list[Run]] = {name: [] for name in BY_THREADS}
    mixed: dict[str, list[Run]] = {name: [] for name in BY_THREADS_AND_TASKS}
    with job.bar("counting words", job.rounds * (1 + len(by_threads) + len(mixed))) as step:
        for _ in job.turns():
            alone.append(Run(count_in_threads("no lock", NoLock, sample, 1)))
            step()
            for name, runs in by_threads.items():
                runs.append(Run(count_in_threads(name, BY_THREADS[name], sample, threads)))
                step()
            for name, runs in mixed.items():
                runs.append(count_in_threads_and_tasks(name, BY_THREADS_AND_TASKS[name], part, threads, TASKS))
                step()

    cost = _seconds(alone) / sample.tokens
    lock, *_ = by_threads
    yield Table(
        f"{threads} threads, {sample.tokens:,} tokens",
        ["", *COLUMNS, "/ Lock"],
        [[name, *_figures(runs, sample, cost), _ratio(by_threads[lock], runs)] for name, runs in by_threads.items()],
        [
            f"in locks: the share of the time beyond that of one thread without a lock ({1 / cost / 1e6:.1f} M/s);",
            "it holds locking, waiting, and switching between threads and tasks.",
            f"Medians of interleaved rounds: {len(alone)}. Every count equals the plain one, word by word.",
        ],
    )
    post, lock, *_ = mixed
    yield Table(
        f"{threads} threads and {TASKS} tasks of one loop, {part.tokens:,} tokens, half of the files each",
        ["", *COLUMNS, "/ call_soon", "/ Lock", "loop held up"],
        [
            [name, *_figures(runs, part, cost), _ratio(mixed[post], runs), _ratio(mixed[lock], runs), _pause(runs)]
            for name, runs in mixed.items()
        ],
        ["loop held up: the longest delay of a task that only sleeps, 1 ms at a time, in the same loop."],
    )


def _figures(runs: list[Run], sample: Sample, cost: float) -> list[str]:
    """The cells under COLUMNS; `cost` is what a token costs without a lock, in seconds."""
    seconds = _seconds(runs)
    return [f"{sample.tokens / seconds / 1e6:.2f} M", f"{max(0.0, 1 - cost * sample.tokens / seconds):.0%}"]


def _ratio(peer: list[Run], runs: list[Run]) -> str:
    return f"{_seconds(peer) / _seconds(runs):.2f}x"


def _pause(runs: list[Run]) -> str:
    return f"{statistics.median(run.pause for run in runs) * 1000:.1f} ms"


def _seconds(runs: list[Run]) -> float:
    return statistics.median(run.seconds for run in runs)
