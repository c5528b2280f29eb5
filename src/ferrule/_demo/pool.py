"""Section pool: requests of threads and of tasks that ask a database, by connections made anew, kept, or leased."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import statistics
import tempfile
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .. import Pool
from .job import Job, Run, Sample, Table, Words, count_in_threads, count_in_threads_and_tasks

EVERY = 10
"""Every tenth file only: a query takes microseconds, to open a database a hundred of them."""
TASKS = 10
CONNECTIONS = 4
"""As many as there may be, where somebody counts them."""
ASKED = 10
"""Words that are asked for by one query; a request is two of them, by one connection."""
QUERY = f"SELECT word FROM words WHERE word IN ({', '.join('?' * ASKED)})"


class Database:
    """The words of a sample as a table in a file, for as long as a `with` block lasts."""

    def __init__(self, sample: Sample) -> None:
        import sqlite3  # not every Python has it

        self._open = partial(sqlite3.connect, check_same_thread=False)
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name, "words")
        self.connections: list[Any] = []
        with contextlib.closing(self._open(self._path)) as connection, connection:
            connection.execute("CREATE TABLE words (word BLOB PRIMARY KEY) WITHOUT ROWID")
            connection.executemany("INSERT INTO words VALUES (?)", [(_key(word),) for word in sample.expected])

    def connect(self) -> Any:
        connection = self._open(self._path)
        self.connections.append(connection)  # that of another thread may be the last one by now
        return connection

    def disconnect(self) -> int:
        """Closes what is open; how many connections there have been."""
        for connection in self.connections:
            connection.close()
        made, self.connections = len(self.connections), []
        return made

    def __enter__(self) -> Database:
        return self

    def __exit__(self, *error: object) -> None:
        self.disconnect()
        self._directory.cleanup()


def _key(word: str) -> bytes:
    # Some tests of the standard library have half a surrogate pair in their source.
    return word.encode(errors="surrogatepass")


def _ask(connection: Any, words: Words, numbers: dict[str, int]) -> None:
    """Counts those words that the database has."""
    keys = [*map(_key, words)]
    there = {word for (word,) in connection.execute(QUERY, keys + keys[-1:] * (ASKED - len(keys)))}
    for word, key in zip(words, keys, strict=True):
        if key in there:
            numbers[word] = numbers.get(word, 0) + 1


def _requests(words: Words) -> Iterator[list[Words]]:
    for first in range(0, len(words), 2 * ASKED):
        yield [part for at in (first, first + ASKED) if (part := words[at : at + ASKED])]


class Contender(ABC):
    """One way to come by a connection for each request."""

    def __init__(self, database: Database, stop: threading.Event) -> None:
        self.database = database
        self.stop = stop
        self.parts: list[dict[str, int]] = []

    @abstractmethod
    def connection(self) -> contextlib.AbstractContextManager[Any]:
        """For one request of a thread."""

    def in_thread(self, words: Words) -> None:
        numbers: dict[str, int] = {}
        for request in _requests(words):
            with self.connection() as connection:
                for part in request:
                    _ask(connection, part, numbers)
        self.parts.append(numbers)

    def counts(self) -> Mapping[str, int]:
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(part)
        return total


class MixedContender(Contender):
    @abstractmethod
    def connection_of_task(self) -> contextlib.AbstractAsyncContextManager[Any]:
        """For one request of a task, which lets the others run between its queries."""

    async def in_task(self, words: Words) -> None:
        numbers: dict[str, int] = {}
        for request in _requests(words):
            async with self.connection_of_task() as connection:
                for part in request:
                    _ask(connection, part, numbers)
                    await asyncio.sleep(0)
        self.parts.append(numbers)


class MadeAnew(MixedContender):
    def connection(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.closing(self.database.connect())

    @contextlib.asynccontextmanager
    async def connection_of_task(self) -> AsyncIterator[Any]:
        with self.connection() as connection:
            yield connection


class OfThread(Contender):
    """However many threads there are."""

    def __init__(self, database: Database, stop: threading.Event) -> None:
        super().__init__(database, stop)
        self.local = threading.local()

    def connection(self) -> contextlib.AbstractContextManager[Any]:
        if not hasattr(self.local, "connection"):
            self.local.connection = self.database.connect()
        return contextlib.nullcontext(self.local.connection)


class InQueue(MixedContender):
    """All are made at the beginning. A task that finds none has another thread wait for one."""

    def __init__(self, database: Database, stop: threading.Event) -> None:
        super().__init__(database, stop)
        self.idle: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(CONNECTIONS):
            self.idle.put(database.connect())

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        connection = self.idle.get()
        try:
            yield connection
        finally:
            self.idle.put(connection)

    @contextlib.asynccontextmanager
    async def connection_of_task(self) -> AsyncIterator[Any]:
        try:
            connection = self.idle.get_nowait()
        except queue.Empty:
            connection = await asyncio.to_thread(self.idle.get)
        try:
            yield connection
        finally:
            self.idle.put(connection)


class InBothQueues(InQueue):
    """Half of the connections are for threads, and half for tasks."""

    def __init__(self, database: Database, stop: threading.Event) -> None:
        super().__init__(database, stop)
        self.idle_of_tasks: asyncio.LifoQueue[Any] = asyncio.LifoQueue()
        for _ in range(CONNECTIONS // 2):
            self.idle_of_tasks.put_nowait(self.idle.get())

    @contextlib.asynccontextmanager
    async def connection_of_task(self) -> AsyncIterator[Any]:
        connection = await self.idle_of_tasks.get()
        try:
            yield connection
        finally:
            self.idle_of_tasks.put_nowait(connection)


class InPool(MixedContender):
    def __init__(self, database: Database, stop: threading.Event) -> None:
        super().__init__(database, stop)
        self.pool = Pool(database.connect, max_size=CONNECTIONS)
        self.face = self.pool.aio

    def connection(self) -> contextlib.AbstractContextManager[Any]:
        return self.pool.acquire()

    def connection_of_task(self) -> contextlib.AbstractAsyncContextManager[Any]:
        return self.face.acquire()


BY_THREADS: dict[str, type[Contender]] = {
    "a connection for each request": MadeAnew,
    "threading.local, one for each thread": OfThread,
    "queue.LifoQueue": InQueue,
    "ferrule.Pool": InPool,
}
BY_THREADS_AND_TASKS: dict[str, type[MixedContender]] = {
    "made anew for each request": MadeAnew,
    "queue.LifoQueue, to_thread if empty": InQueue,
    "queue.LifoQueue, asyncio.LifoQueue": InBothQueues,
    "ferrule.Pool, with and async with": InPool,
}


def lease_connections(job: Job) -> Iterator[Table]:
    sample, threads = job.sample.every(EVERY), job.threads
    alone: dict[str, list[Run]] = {name: [] for name in BY_THREADS}
    mixed: dict[str, list[Run]] = {name: [] for name in BY_THREADS_AND_TASKS}
    try:
        database = Database(sample)
    except ImportError as error:
        yield Table("No database to ask", ["", ""], [], [f"This Python has no sqlite3: {error}"])
        return
    with database, job.bar("asking a database", job.rounds * (len(alone) + len(mixed))) as step:
        for _ in job.turns():
            for name, took in alone.items():
                seconds = count_in_threads(name, partial(BY_THREADS[name], database), sample, threads)
                took.append(Run(seconds, laps=database.disconnect()))
                step()
            for name, took in mixed.items():
                kind = partial(BY_THREADS_AND_TASKS[name], database)
                run = count_in_threads_and_tasks(name, kind, sample, threads, TASKS)
                took.append(Run(run.seconds, run.pause, database.disconnect()))
                step()

    def cells(took: list[Run], runs: dict[str, list[Run]]) -> list[str]:
        first, *_ = runs.values()
        return [
            f"{sample.tokens / _median(took) / 1e6:.2f} M",
            f"{_median(first) / _median(took):.2f}x",
            f"{statistics.median(run.laps for run in took):.0f}",
        ]

    yield Table(
        f"{threads} threads, {sample.tokens:,} tokens",
        ["", "tokens/s", "/ anew", "connections"],
        [[name, *cells(took, alone)] for name, took in alone.items()],
        [
            f"Requests of two queries for {ASKED} words each, by one connection; connections: how many were made.",
            f"A queue has {CONNECTIONS} from the beginning, a pool {CONNECTIONS} at most.",
        ],
    )
    rounds = min(map(len, mixed.values()))
    yield Table(
        f"{threads} threads and {TASKS} tasks of one loop, half of the files each",
        ["", "tokens/s", "/ anew", "connections", "loop held up"],
        [
            [name, *cells(took, mixed), f"{statistics.median(run.pause for run in took) * 1000:.1f} ms"]
            for name, took in mixed.items()
        ],
        [
            "A task lets the others run between its queries.",
            "loop held up: the longest delay of a task that only sleeps, 1 ms at a time, in the same loop.",
            f"Medians of interleaved rounds: {rounds}. Every count equals the plain one, word by word.",
        ],
    )


def _median(took: list[Run]) -> float:
    return statistics.median(run.seconds for run in took)
