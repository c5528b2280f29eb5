"""What the sections of `python -m ferrule` share: the data that they work on, and the tables that they give."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import sysconfig
import threading
import tokenize
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TypeVar

Words = list[str]
Bar = Callable[[str, int], contextlib.AbstractContextManager[Callable[[], None]]]
"""bar(title, total) shows a bar of progress while its `with` block lasts; what it gives moves the bar on by one."""


class Failure(Exception):
    """The job cannot be done, or a contender did it wrongly; the message says which."""


@dataclass(frozen=True)
class Run:
    """One contender's time for the whole sample, and the longest time that its event loop was held up.

    laps: how often was done what went on beside it.
    """

    seconds: float
    pause: float = 0.0
    laps: int = 0


@dataclass(frozen=True)
class Sample:
    """The tokens of some source files, one list a file, and how often each occurs, counted plainly in one thread."""

    files: list[Words]
    skipped: int = 0
    seconds: float = 0.0

    @classmethod
    def read(cls, limit: int | None, bar: Bar) -> Sample:
        """The first `limit` modules of the standard library by name, or with None all files of it."""
        library = Path(sysconfig.get_path("stdlib"))
        if limit is None:
            paths = sorted(p for p in library.rglob("*.py") if not {"site-packages", "dist-packages"} & set(p.parts))
        else:
            paths = sorted(library.glob("*.py"))[:limit]
        started = perf_counter()
        files = []
        with bar("cutting into tokens", len(paths)) as step:
            for path in paths:
                # Some files of the standard library's own tests are broken on purpose.
                with contextlib.suppress(SyntaxError, UnicodeDecodeError, tokenize.TokenError):
                    files.append(_tokens(path))
                step()
        if not any(files):
            raise Failure(f"there is no source of the standard library in {library}")
        return cls(files, len(paths) - len(files), perf_counter() - started)

    @cached_property
    def expected(self) -> Counter[str]:
        return Counter(word for words in self.files for word in words)

    @property
    def tokens(self) -> int:
        return self.expected.total()

    def every(self, nth: int) -> Sample:
        """Each nth file of this sample."""
        return Sample(self.files[::nth])

    def check(self, contender: str, counts: Mapping[str, int]) -> None:
        """Raises Failure unless `counts` equals the plain count, key by key; so those that pass are equal."""
        wrong = sorted(w for w in counts.keys() | self.expected.keys() if counts.get(w) != self.expected.get(w))
        if wrong:
            word = wrong[0]
            raise Failure(
                f"{contender} counted {len(wrong)} words wrongly, "
                f"among them {word!r}: {counts.get(word, 0)} instead of {self.expected[word]}"
            )

    def __str__(self) -> str:
        skipped = f" ({self.skipped} skipped: no valid source)" if self.skipped else ""
        return (
            f"{len(self.files)} files of the standard library{skipped}, {self.tokens:,} tokens, "
            f"{len(self.expected):,} different, cut in {self.seconds:.1f} s before any contender ran"
        )


def _tokens(path: Path) -> Words:
    with tokenize.open(path) as source:
        # Interned, so that the dict finds a word by identity: without the GIL, threads that look up equal strings which
        # are different objects hold each other up inside the dict, and that would be measured in place of the lock.
        return [sys.intern(token.string) for token in tokenize.generate_tokens(source.readline) if token.string.strip()]


@dataclass(frozen=True)
class Job:
    """What a section is given."""

    limit: int | None
    threads: int
    rounds: int
    seconds: float
    bar: Bar

    @cached_property
    def sample(self) -> Sample:
        return Sample.read(self.limit, self.bar)

    def turns(self) -> Iterator[int]:
        """Numbers the rounds: `rounds` of them, or fewer where one more would last beyond `seconds`; at least one."""
        started = perf_counter()
        for number in range(self.rounds):
            spent = perf_counter() - started
            if number and spent + spent / number > self.seconds:
                return
            yield number


class Contender(Protocol):
    """Counts words from many threads; when `stop` is set, its threads end soon."""

    stop: threading.Event

    def in_thread(self, words: Words) -> None: ...
    def counts(self) -> Mapping[str, int]: ...


def count_in_threads(name: str, kind: Callable[[threading.Event], Contender], sample: Sample, threads: int) -> float:
    """The seconds that the threads took for the sample; raises Failure unless every count is right."""
    stop = threading.Event()
    contender = kind(stop)
    with ThreadPoolExecutor(threads) as pool:
        started = perf_counter()
        try:
            shares = [sample.files[i::threads] for i in range(threads)]
            for future in [pool.submit(count_in_thread, contender, share) for share in shares]:
                future.result()
        finally:
            stop.set()
        seconds = perf_counter() - started
    sample.check(name, contender.counts())
    return seconds


class MixedContender(Contender, Protocol):
    """Counts words from tasks of one loop too; it is made there."""

    async def in_task(self, words: Words) -> None: ...


Mixed = TypeVar("Mixed", bound=MixedContender)


def count_in_threads_and_tasks(
    name: str,
    kind: Callable[[threading.Event], Mixed],
    sample: Sample,
    threads: int,
    tasks: int,
    beside: Callable[[Mixed], Coroutine[Any, Any, int]] | None = None,
) -> Run:
    """Half of the files each; raises Failure unless every count is right.

    `beside` goes on in the loop meanwhile, until it finds that the contender's `stop` is set.
    """
    stop = threading.Event()

    async def run() -> Run:
        contender, loop = kind(stop), asyncio.get_running_loop()
        ticker = asyncio.create_task(longest_pause(stop))
        other = asyncio.create_task(beside(contender)) if beside else None
        await asyncio.sleep(0)
        for_threads, for_tasks = sample.files[0::2], sample.files[1::2]
        started = perf_counter()
        async with asyncio.TaskGroup() as group:
            for i in range(tasks):
                group.create_task(_count_in_task(contender, for_tasks[i::tasks]))
            shares = [for_threads[i::threads] for i in range(threads)]
            await asyncio.gather(*[loop.run_in_executor(pool, count_in_thread, contender, share) for share in shares])
        seconds = perf_counter() - started
        stop.set()
        pause, laps = await ticker, await other if other else 0
        sample.check(name, contender.counts())
        return Run(seconds, pause, laps)

    with ThreadPoolExecutor(threads) as pool:
        try:
            return asyncio.run(run())
        finally:
            stop.set()


async def _count_in_task(contender: MixedContender, files: list[Words]) -> None:
    for words in files:
        await contender.in_task(words)
        await asyncio.sleep(0)  # here a real task would wait for its next file


def count_in_thread(contender: Contender, files: list[Words]) -> None:
    for words in files:
        if contender.stop.is_set():
            return
        contender.in_thread(words)


@dataclass(frozen=True)
class Table:
    """Named columns, one row a contender, and lines below that say what the figures are."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str]

    def __str__(self) -> str:
        lines = [self.columns, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        rule = "-" * (sum(widths) + 2 * len(widths) - 2)
        head, *body = [
            "  ".join([first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True))])
            for first, *rest in lines
        ]
        return "\n".join([self.title, rule, head, rule, *body, rule, *self.notes])


async def longest_pause(stop: threading.Event) -> float:
    """How long the event loop was held up at most, in seconds, until it was stopped."""
    longest = 0.0
    while not stop.is_set():
        before = perf_counter()
        await asyncio.sleep(0.001)
        longest = max(longest, perf_counter() - before - 0.001)
    return longest
