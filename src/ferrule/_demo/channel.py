"""Section channel: words sent one by one from threads to a task of an event loop, which counts them."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import statistics
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

from .. import Disconnected, bounded
from .job import Job, Run, Sample, Table, Words, count_in_thread, longest_pause

CAPACITY = 64
EVERY = 4
"""Every fourth file only: a call_soon_threadsafe a word takes long."""
GLANCE = 0.1
"""So often who waits for a queue.Queue sees whether the run has been interrupted, in seconds."""


class Contender(ABC):
    """One way from threads to a task. It is made in the task's loop."""

    def __init__(self, stop: threading.Event) -> None:
        self.numbers: dict[str, int] = {}
        self.loop = asyncio.get_running_loop()
        self.stop = stop

    @abstractmethod
    def in_thread(self, words: Words) -> None:
        """Sends them."""

    @abstractmethod
    def end(self) -> None:
        """In a thread, when every word has been sent."""

    @abstractmethod
    async def in_task(self) -> None:
        """Counts what comes, until the end."""

    def counts(self) -> Mapping[str, int]:
        return self.numbers


class Posted(Contender):
    """Each word is put into an asyncio.Queue by a call of its own in the loop. Nothing holds up the threads."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self.items: asyncio.Queue[str | None] = asyncio.Queue()

    def in_thread(self, words: Words) -> None:
        call_soon, put = self.loop.call_soon_threadsafe, self.items.put_nowait
        for word in words:
            call_soon(put, word)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.items.put_nowait, None)

    async def in_task(self) -> None:
        numbers, get = self.numbers, self.items.get
        while (word := await get()) is not None:
            numbers[word] = numbers.get(word, 0) + 1


class Drained(Posted):
    """Into a queue.Queue, which one more thread drains into the loop."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self.sent: queue.Queue[str | None] = queue.Queue(CAPACITY)

    def in_thread(self, words: Words) -> None:
        send = self.send
        for word in words:
            send(word)

    def end(self) -> None:
        self.send(None)

    async def in_task(self) -> None:
        draining = threading.Thread(target=self.drain)
        draining.start()
        try:
            await super().in_task()
        finally:
            self.stop.set()
            draining.join()

    def send(self, word: str | None) -> None:
        while True:
            try:
                return self.sent.put(word, timeout=GLANCE)
            except queue.Full:
                if self.stop.is_set():
                    return None

    def drain(self) -> None:
        while True:
            try:
                word = self.sent.get(timeout=GLANCE)
            except queue.Empty:
                if self.stop.is_set():
                    return
                continue
            self.loop.call_soon_threadsafe(self.items.put_nowait, word)
            if word is None:
                return


class Noticed(Drained):
    """Into a queue.Queue, from where the task takes a word for each notice that it finds in an asyncio.Queue."""

    def in_thread(self, words: Words) -> None:
        send, call_soon, put = self.send, self.loop.call_soon_threadsafe, self.items.put_nowait
        for word in words:
            send(word)
            call_soon(put, None)

    def end(self) -> None:
        self.send(None)
        self.loop.call_soon_threadsafe(self.items.put_nowait, None)

    async def in_task(self) -> None:
        numbers, noticed, get = self.numbers, self.items.get, self.sent.get_nowait
        while True:
            await noticed()
            if (word := get()) is None:
                return
            numbers[word] = numbers.get(word, 0) + 1


class Channel(Contender):
    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self.tx, self.rx = bounded[str](CAPACITY)

    def in_thread(self, words: Words) -> None:
        send = self.tx.send
        with contextlib.suppress(Disconnected):  # interrupted: nobody counts any more
            for word in words:
                send(word)

    def end(self) -> None:
        self.tx.close()

    async def in_task(self) -> None:
        numbers = self.numbers
        async with self.rx.aio as words:
            async for word in words:
                numbers[word] = numbers.get(word, 0) + 1


CONTENDERS: dict[str, type[Contender]] = {
    "asyncio.Queue, call_soon_threadsafe": Posted,
    "queue.Queue, drained by a thread": Drained,
    "queue.Queue, a notice a word": Noticed,
    f"ferrule.bounded({CAPACITY}), async for": Channel,
}


def send_to_task(job: Job) -> Iterator[Table]:
    sample, threads = job.sample.every(EVERY), job.threads
    runs: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
    with job.bar("sending to a task", job.rounds * len(runs)) as step:
        for _ in job.turns():
            for name, took in runs.items():
                took.append(_run(name, CONTENDERS[name], sample, threads))
                step()

    seconds = {name: statistics.median(run.seconds for run in took) for name, took in runs.items()}
    posted, *_ = CONTENDERS
    yield Table(
        f"{threads} threads to 1 task, {sample.tokens:,} tokens",
        ["", "tokens/s", "/ call_soon", "loop held up"],
        [
            [
                name,
                f"{sample.tokens / seconds[name] / 1e6:.2f} M",
                f"{seconds[posted] / seconds[name]:.2f}x",
                f"{statistics.median(run.pause for run in took) * 1000:.1f} ms",
            ]
            for name, took in runs.items()
        ],
        [
            "The first two have no limit to what waits in the loop; the others hold up threads that run ahead.",
            "loop held up: the longest delay of a task that only sleeps, 1 ms at a time, in the same loop.",
            f"Medians of interleaved rounds: {len(runs[posted])}. Every count equals the plain one, word by word.",
        ],
    )


def _run(name: str, kind: type[Contender], sample: Sample, threads: int) -> Run:
    stop = threading.Event()

    async def run() -> Run:
        contender, loop = kind(stop), asyncio.get_running_loop()
        ticker = asyncio.create_task(longest_pause(stop))
        await asyncio.sleep(0)
        started = perf_counter()
        async with asyncio.TaskGroup() as group:
            group.create_task(contender.in_task())
            shares = [sample.files[i::threads] for i in range(threads)]
            await asyncio.gather(*[loop.run_in_executor(pool, count_in_thread, contender, share) for share in shares])
            await loop.run_in_executor(pool, contender.end)
        seconds = perf_counter() - started
        stop.set()
        pause = await ticker
        sample.check(name, contender.counts())
        return Run(seconds, pause)

    with ThreadPoolExecutor(threads) as pool:
        try:
            return asyncio.run(run())
        finally:
            stop.set()
