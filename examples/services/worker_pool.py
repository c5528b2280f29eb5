"""A pool of workers behind a TCP port: a line is a job, and the line that comes back says what became of it.

    python examples/services/worker_pool.py --port 6400 --workers 8 --grace 10
    printf 'wait 0.5\nhello\n' | nc -N 127.0.0.1 6400     # "ok WAIT 0.5", then "ok HELLO"
    kill %1                                               # finishes what is queued, for 10 seconds at most

- Jobs are in a bounded channel. When it is full the answer is "busy", at once: a client that is told can go elsewhere,
  one that is held back waits in a queue that nobody sees. The answers that one client has to get are in a bounded
  asyncio queue. When that is full its reader waits, so who sends and does not read holds up nobody else.
- Each job has a timer from its arrival on: what has waited too long is not begun any more. A timer is an object, not a
  thread and not a call of the loop, so that a long queue of jobs is a long queue of timers too.
- A worker waits for a job, for a tick at which it reports what it has done, and for the word to give up. That word is a
  channel on which nothing is sent: it is closed, and so everybody has it.
- On SIGTERM no more is accepted, and the channel of jobs is closed: the workers end when it is empty. What is not done
  after the time of grace is given up, answered so, and printed.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from kv_server import LOOPS, in_a_loop

from ferrule import Disconnected, Full, aio
from ferrule.dropin.asyncio import Queue, QueueShutDown

UNANSWERED = 64
"""Jobs of one client, after which its next line is read when the first one is answered."""

LINGER = 1.0
"""Seconds in which the clients have to read their last answers."""

log = logging.getLogger(__name__)


def end_of(task: asyncio.Future[Any]) -> aio.Receiver[None]:
    """An arm of a select that is ready, as closed, when the task has ended."""
    tx, rx = aio.bounded[None](0)
    task.add_done_callback(lambda _: tx.close())
    return rx


@dataclass(eq=False)
class Job:
    line: str
    late: aio.Receiver[float]
    answer: asyncio.Future[str] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    came: float = field(default_factory=time.monotonic)

    def answered(self, answer: str) -> str:
        """Once; what is to be reported of it. A client that has gone does not wait any more."""
        if not self.answer.done():
            self.answer.set_result(answer)
        return f"{answer} ({self.line!r}, {time.monotonic() - self.came:.3f} s)"


class Workers:
    """So many tasks that handle jobs; to be made in the event loop that they run in."""

    def __init__(
        self,
        handle: Callable[[str], Awaitable[str]],
        report: Callable[[list[str]], object],
        *,
        workers: int = 4,
        backlog: int = 100,
        limit: float = 5.0,
        every: float = 1.0,
    ) -> None:
        self._handle = handle
        self._report = report
        self._limit = limit
        self._every = every
        self._queue, self._jobs = aio.bounded[Job](backlog)
        self._give_up, self._given_up = aio.bounded[None](0)
        self._left: list[str] = []
        self._workers = [asyncio.create_task(self._live(number)) for number in range(workers)]

    def take(self, line: str) -> asyncio.Future[str]:
        """A job; what is to be answered."""
        job = Job(line, aio.after(self._limit))
        try:
            self._queue.try_send(job)
        except Full:
            job.answered("busy")
        except Disconnected:
            job.answered("closing")
        return job.answer

    async def stop(self, grace: float) -> list[str]:
        """Takes no more, and returns when all is done or `grace` seconds are over: the jobs that were given up."""
        self._queue.close()
        all_have_ended = end_of(asyncio.gather(*self._workers))
        if (await aio.select(all_have_ended, aio.after(grace), biased=True)).index == 1:
            self._give_up.close()
            await aio.select(all_have_ended)
        if rest := [self._leave(job) for job in self._jobs.drain()]:
            self._report(rest)
        return self._left

    async def _live(self, number: int) -> None:
        while True:
            try:
                return await self._work()
            except Exception:
                log.exception("worker %d has failed, and begins again", number)

    async def _work(self) -> None:
        every = aio.tick(self._every)
        done: list[str] = []
        while True:
            # Not biased: a tick shall come, however many jobs there are.
            index, job, closed = await aio.select(self._jobs, every, self._given_up)
            if index == 0 and not closed:
                done.append(await self._run(job))
            elif done:
                batch, done = done, []
                self._report(batch)
            if closed:
                return

    async def _run(self, job: Job) -> str:
        """Answers the job, whatever becomes of it."""
        running = asyncio.create_task(self._handled(job.line))
        end = end_of(running)
        try:
            # Biased: one that is late already is cancelled before its first step.
            index = (await aio.select(self._given_up, job.late, end, biased=True)).index
            if index == 0:
                return self._leave(job)
            if index == 1:
                running.cancel()
                await aio.select(end, self._given_up)  # as many run at once as there are workers
                return job.answered("late")
            if running.cancelled():
                return job.answered("failed: cancelled")
            if error := running.exception():
                return job.answered(f"failed: {error!r}")
            return job.answered(f"ok {running.result()}")
        finally:
            running.cancel()

    async def _handled(self, line: str) -> str:
        return await self._handle(line)

    def _leave(self, job: Job) -> str:
        self._left.append(job.line)
        return job.answered("given up")


class Service:
    """The workers' clients. Each is answered in the order of its lines."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._finish, self._finished = aio.bounded[None](0)
        self._talks: set[asyncio.Task[Any]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listens; on which port."""
        self._server = await asyncio.start_server(self._talk, host, port)
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self, grace: float) -> list[str]:
        """Accepts no more and lets the workers end; then the clients, who get their last answers before."""
        self._server.close()
        try:
            return await self._workers.stop(grace)
        finally:
            self._finish.close()
            all_have_ended = end_of(asyncio.gather(*self._talks, return_exceptions=True))
            await aio.select(all_have_ended, aio.after(LINGER))
            for talk in self._talks:
                talk.cancel()
            await aio.select(all_have_ended)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers: Queue[asyncio.Future[str]] = Queue(UNANSWERED)
        reading = asyncio.create_task(self._read(reader, answers))
        writing = asyncio.create_task(self._write(writer, answers))
        talk = asyncio.current_task()
        assert talk
        self._talks.add(talk)
        try:
            await aio.select(end_of(reading), end_of(writing), self._finished)
            answers.shutdown()  # what is in there is written yet
            await aio.select(end_of(writing))
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        finally:
            self._talks.discard(talk)
            reading.cancel()
            writing.cancel()
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader, answers: Queue[asyncio.Future[str]]) -> None:
        # It ends with the client, with the service, and with a line that is too long (a ValueError).
        with contextlib.suppress(ConnectionError, QueueShutDown, ValueError):
            async for line in reader:
                await answers.put(self._workers.take(line.decode(errors="replace").strip()))

    async def _write(self, writer: asyncio.StreamWriter, answers: Queue[asyncio.Future[str]]) -> None:
        with contextlib.suppress(ConnectionError, QueueShutDown):
            while True:
                answer = await answers.get()
                writer.write(f"{await answer}\n".encode())
                await writer.drain()


async def handle(line: str) -> str:
    """In place of real work: "wait 0.5" takes half a second, as a question to another service would."""
    word, _, rest = line.partition(" ")
    if word == "wait":
        await asyncio.sleep(float(rest))
    return line.upper()


async def serve(options: argparse.Namespace) -> None:
    """Until SIGTERM or Ctrl-C."""
    stop, stopped = aio.bounded[None](0)
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.close)
    workers = Workers(
        handle,
        lambda batch: print(*batch, sep="\n", flush=True),
        workers=options.workers,
        backlog=options.backlog,
        limit=options.limit,
    )
    service = Service(workers)
    port = await service.start(options.host, options.port)
    print(f"listening on {options.host}:{port}", flush=True)
    await aio.select(stopped)
    left = await service.stop(options.grace)
    print(f"{len(left)} jobs were given up", *left, sep="\n", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description="A pool of workers behind a TCP port.")
    options.add_argument("--host", default="127.0.0.1")
    options.add_argument("--port", type=int, default=6400, help="0: a free one")
    options.add_argument("--workers", type=int, default=4, help="how many jobs are handled at once")
    options.add_argument("--backlog", type=int, default=100, help="how many wait for that")
    options.add_argument("--limit", type=float, default=5.0, help="seconds that a job may take, waiting included")
    options.add_argument("--grace", type=float, default=10.0, help="seconds for what is left, at the end")
    options.add_argument("--loop", choices=LOOPS, default=LOOPS[0])
    chosen = options.parse_args()
    in_a_loop(serve(chosen), chosen.loop)


if __name__ == "__main__":
    main()
