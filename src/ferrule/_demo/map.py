"""Section map: words counted by threads into one shared map, with no lock of the caller's."""

from __future__ import annotations

import statistics
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from .. import MISSING, ConcurrentMap
from .job import Job, Sample, Table, Words, count_in_threads

EVERY = 2
"""Every second file only: each contender counts them by one thread and by many."""


class Contender(ABC):
    """One way to count words into one table from threads."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop

    @abstractmethod
    def in_thread(self, words: Words) -> None:
        """Counts them."""

    @abstractmethod
    def counts(self) -> Mapping[str, int]:
        """When all threads are done."""


class DictInLock(Contender):
    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self.numbers: dict[str, int] = {}
        self.lock = threading.Lock()

    def in_thread(self, words: Words) -> None:
        numbers, lock = self.numbers, self.lock
        for word in words:
            with lock:
                numbers[word] = numbers.get(word, 0) + 1

    def counts(self) -> Mapping[str, int]:
        return self.numbers


class CountersMerged(Contender):
    """Each file into a Counter of its own, which is then added to the shared one under a lock."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self.total: Counter[str] = Counter()
        self.lock = threading.Lock()

    def in_thread(self, words: Words) -> None:
        counter = Counter(words)
        with self.lock:
            self.total.update(counter)

    def counts(self) -> Mapping[str, int]:
        return self.total


class MapIncrement(Contender):
    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self.numbers: ConcurrentMap[str, int] = ConcurrentMap()

    def in_thread(self, words: Words) -> None:
        increment = self.numbers.increment
        for word in words:
            increment(word)

    def counts(self) -> Mapping[str, int]:
        return self.numbers.snapshot()


class MapCompute(MapIncrement):
    def in_thread(self, words: Words) -> None:
        compute = self.numbers.compute
        for word in words:
            compute(word, _one_more)


def _one_more(number: Any) -> int:
    return 1 if number is MISSING else number + 1


CONTENDERS: dict[str, type[Contender]] = {
    "dict + threading.Lock": DictInLock,
    "a Counter a file, merged in a lock": CountersMerged,
    "ConcurrentMap, compute": MapCompute,
    "ConcurrentMap, increment": MapIncrement,
}


def count_into_map(job: Job) -> Iterator[Table]:
    sample, counts = job.sample.every(EVERY), sorted({1, job.threads})
    seconds: dict[tuple[str, int], list[float]] = {(name, n): [] for name in CONTENDERS for n in counts}
    with job.bar("counting into maps", job.rounds * len(seconds)) as step:
        for _ in job.turns():
            for (name, n), took in seconds.items():
                took.append(count_in_threads(name, CONTENDERS[name], sample, n))
                step()

    medians = {cell: statistics.median(took) for cell, took in seconds.items()}
    rounds = min(map(len, seconds.values()))
    locked, *_ = CONTENDERS
    yield Table(
        f"{sample.tokens:,} tokens into one table",
        ["", *(column for n in counts for column in (f"tokens/s, {n} thread{'s' if n > 1 else ''}", "/ Lock"))],
        [
            [name, *(cell for n in counts for cell in _figures(sample, medians[name, n], medians[locked, n]))]
            for name in CONTENDERS
        ],
        [
            "Merged Counters share nothing until a file ends; the other tables are right at every moment.",
            f"Medians of interleaved rounds: {rounds}. Every count equals the plain one, word by word.",
        ],
    )


def _figures(sample: Sample, seconds: float, locked: float) -> list[str]:
    return [f"{sample.tokens / seconds / 1e6:.2f} M", f"{locked / seconds:.2f}x"]
