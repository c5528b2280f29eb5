"""examples/services/worker_pool.py: who asks what gets its answer, and what is left of a pool that ends is known."""

import asyncio
import contextlib
import random
import socket

import pytest
import worker_pool
from worker_pool import UNANSWERED, Service, Workers

from tests.support.driver import run, turns
from tests.support.loops import LOOPS
from tests.support.race import HANG
from tests.support.servers import WorkerPool

pytestmark = pytest.mark.services

HOST = "127.0.0.1"


class Reports(list):
    """What the workers report, without the times."""

    def __call__(self, batch):
        self.extend(line.rpartition(",")[0] + ")" for line in batch)


async def shout(line):
    return line.upper()


async def until(condition):
    """The loop runs until the condition is true."""
    async with asyncio.timeout(HANG):
        while not condition():
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def serving(handle, reports=None, **options):
    """The port, and a function that ends the service and gives what was given up."""
    service = Service(Workers(handle, Reports() if reports is None else reports, limit=HANG, **options))
    port = await service.start(HOST, 0)
    yield port, service.stop
    await service.stop(HANG)


@contextlib.asynccontextmanager
async def client(port):
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ask(port, *lines):
    """The answers to these lines."""
    async with client(port) as (reader, writer):
        writer.write("".join(f"{line}\n" for line in lines).encode())
        writer.write_eof()
        return (await asyncio.wait_for(reader.read(), HANG)).decode().splitlines()


def test_each_of_many_clients_gets_its_answers_in_order(loop_name, rng):
    chance = random.Random(rng.random())
    reports = Reports()

    async def slowly(line):
        await asyncio.sleep(chance.random() * 0.002)
        return line.upper()

    async def main():
        asked = [[f"c{client} {n}" for n in range(15)] for client in range(30)]
        async with serving(slowly, reports, workers=8, backlog=1000) as (port, stop):
            answered = await asyncio.gather(*(ask(port, *lines) for lines in asked))
            assert await stop(HANG) == []
        assert answered == [[f"ok {line.upper()}" for line in lines] for lines in asked]
        assert sorted(reports) == sorted(f"ok {line.upper()} ({line!r})" for lines in asked for line in lines)

    run(main(), loop_name)


def test_a_full_backlog_answers_that_it_is_busy(loop_name):
    async def main():
        go_on = asyncio.Event()

        async def handle(line):
            await go_on.wait()
            return line

        workers = Workers(handle, Reports(), workers=1, backlog=2)
        first = workers.take("first")
        await turns()  # its worker has it
        others = [workers.take(f"{n}") for n in range(4)]
        assert [other.done() for other in others] == [False, False, True, True]
        go_on.set()
        assert [await answer for answer in [first, *others]] == ["ok first", "ok 0", "ok 1", "busy", "busy"]
        assert await workers.stop(HANG) == []
        assert await workers.take("too late") == "closing"

    run(main(), loop_name)


def test_who_has_many_answers_to_get_is_not_read_from(loop_name):
    async def main():
        begun, go_on = [], asyncio.Event()

        async def handle(line):
            begun.append(line)
            if line != "other":
                await go_on.wait()
            return line

        async with serving(handle, workers=500, backlog=500) as (port, _):
            many = asyncio.create_task(ask(port, *map(str, range(300))))
            # In its queue, with the task that writes, and in the hand of the one that reads.
            await until(lambda: len(begun) == UNANSWERED + 2)
            assert await ask(port, "other") == ["ok other"]
            assert len(begun) == UNANSWERED + 3
            go_on.set()
            assert await many == [f"ok {n}" for n in range(300)]

    run(main(), loop_name)


def test_a_job_that_takes_too_long_is_cancelled(loop_name):
    async def main():
        seen = []

        async def handle(line):
            seen.append(f"{line} begins")
            if line == "slow":
                try:
                    await asyncio.sleep(HANG)
                finally:
                    seen.append("slow ends")
                    await asyncio.sleep(0.02)  # meanwhile the worker has no other job
            return line

        reports = Reports()
        workers = Workers(handle, reports, workers=1, limit=0.01)
        answers = [workers.take("slow"), workers.take("waits")]
        assert [await answer for answer in answers] == ["late", "late"]
        assert seen == ["slow begins", "slow ends"], "what is late already is not begun"
        assert await workers.take("next") == "ok next"
        assert await workers.stop(HANG) == []
        assert reports == ["late ('slow')", "late ('waits')", "ok next ('next')"]

    run(main(), loop_name)


def test_a_job_that_fails_is_its_own_failure(loop_name):
    async def divide(line):
        if line == "cancels":
            raise asyncio.CancelledError
        return str(1 // int(line))

    def handle(line):
        if line == "":
            raise KeyError("a job")  # before there is anything to await
        return divide(line)

    async def main():
        async with serving(handle, workers=2) as (port, _):
            assert await ask(port, "0", "1", "cancels", "", "1") == [
                "failed: ZeroDivisionError('integer division or modulo by zero')",
                "ok 1",
                "failed: cancelled",
                "failed: KeyError('a job')",
                "ok 1",
            ]

    run(main(), loop_name)


def test_a_worker_that_fails_begins_again(loop_name, caplog):
    batches = []

    def report(batch):
        batches.append(batch)
        if len(batches) == 1:
            raise OSError("the disk is full")

    async def main():
        async with serving(shout, report, workers=1, every=0.001) as (port, _):
            for n in range(3):
                assert await ask(port, f"a{n}") == [f"ok A{n}"]
                await until(lambda n=n: len(batches) == n + 1)  # the one that fails, too

    run(main(), loop_name)
    assert [record.message for record in caplog.records] == ["worker 0 has failed, and begins again"]


def test_stopping_finishes_what_is_queued(loop_name):
    async def main():
        go_on = asyncio.Event()
        begun = []

        async def handle(line):
            begun.append(line)
            await go_on.wait()
            return line

        async with serving(handle, workers=2) as (port, stop), client(port) as (reader, writer):
            lines = [f"{n}" for n in range(20)]
            writer.write("\n".join([*lines, ""]).encode())
            await until(lambda: len(begun) == 2)
            stopping = asyncio.create_task(stop(HANG))
            await turns()
            with pytest.raises(OSError):
                await ask(port, "too late")
            writer.write(b"too late\n")
            await turns()
            go_on.set()
            assert await stopping == []
            answers = (await reader.read()).decode().splitlines()
            assert answers[:20] == [f"ok {line}" for line in lines]
            assert answers[20:] in ([], ["closing"])  # it was read, or the end came before it
            assert begun == lines

    run(main(), loop_name)


@pytest.mark.parametrize("obeys", [True, False])
def test_what_is_not_done_in_time_is_given_up_and_named(obeys, loop_name):
    async def main():
        end = asyncio.Event()
        begun, ended = [], []

        async def handle(line):
            begun.append(line)
            try:
                while not end.is_set():
                    with contextlib.nullcontext() if obeys else contextlib.suppress(asyncio.CancelledError):
                        await end.wait()
            finally:
                ended.append(line)
            return line

        reports = Reports()
        async with serving(handle, reports, workers=2) as (port, stop), client(port) as (reader, writer):
            writer.write(b"a\nb\nc\nd\ne\n")
            await until(lambda: begun == ["a", "b"])  # they came together, so the others are queued
            assert sorted(await stop(0.01)) == ["a", "b", "c", "d", "e"]
            assert await reader.read() == b"given up\n" * 5
            assert sorted(reports) == [f"given up ('{line}')" for line in "abcde"]
            assert begun == ["a", "b"]
            end.set()
            await until(lambda: sorted(ended) == ["a", "b"])

    run(main(), loop_name)


def test_a_report_that_fails_at_the_very_end_keeps_no_client_waiting(loop_name):
    async def main():
        async def handle(line):
            await asyncio.Event().wait()

        def report(batch):
            if "given up" in batch[0]:
                raise OSError("the disk is full")

        service = Service(Workers(handle, report, workers=0))
        port = await service.start(HOST, 0)
        async with client(port) as (reader, writer):
            writer.write(b"a\nb\n")
            await until(lambda: len(service._workers._jobs) == 2)
            with pytest.raises(OSError, match="full"):
                await service.stop(HANG)
            assert await reader.read() == b"given up\n" * 2

    run(main(), loop_name)


def test_clients_that_go_leave_nothing_behind(loop_name):
    async def main():
        async def handle(line):
            await asyncio.sleep(0.001)
            return line

        reports = Reports()
        async with serving(handle, reports, workers=2) as (port, stop):
            for n in range(10):
                async with client(port) as (_, writer):
                    writer.write(b"job\n" * 10)
                    await asyncio.sleep(0.001 * (n % 3))  # it is answered, or has not been read yet
            assert (await ask(port, "last"))[-1] in ("ok last", "busy")
            assert await stop(HANG) == []

    run(main(), loop_name)


def test_a_client_that_does_not_read_does_not_hold_up_the_end(loop_name, monkeypatch):
    monkeypatch.setattr(worker_pool, "LINGER", 0.01)

    async def main():
        async def handle(line):
            return line * 500_000

        async with serving(handle) as (port, stop), client(port) as (_, writer):
            writer.transport.pause_reading()
            writer.write(b"x\n" * 50)
            await asyncio.sleep(0.01)
            assert await stop(HANG) == []

    run(main(), loop_name)


def test_a_line_without_end_ends_the_connection(loop_name):
    async def main():
        async with serving(shout) as (port, _):
            assert await ask(port, "first", "x" * 100_000, "last") == ["ok FIRST"]
            assert await ask(port, "ä", "", "  two words ") == ["ok Ä", "ok ", "ok TWO WORDS"]

    run(main(), loop_name)


def answers_of(connection):
    with connection, connection.makefile("rb") as file:
        return file.read().decode().splitlines()


@pytest.mark.parametrize("loop", LOOPS)
def test_sigterm_ends_the_process_when_its_work_is_done(loop):
    with WorkerPool("--loop", loop) as server, socket.create_connection((HOST, server.port), HANG) as connection:
        connection.sendall(b"hello\n" + b"wait 0.1\n" * 10)
        assert connection.recv(9, socket.MSG_WAITALL) == b"ok HELLO\n"  # so they have been read, too
        printed = server.terminate()
        assert answers_of(connection) == ["ok WAIT 0.1"] * 10
        assert printed.count("ok WAIT 0.1") == 10
        assert printed.endswith("\n0 jobs were given up\n")


@pytest.mark.parametrize("loop", LOOPS)
def test_sigterm_gives_up_what_takes_longer_than_the_time_of_grace(loop):
    options = ["--loop", loop, "--grace", "0.05", "--limit", "60", "--workers", "2"]
    with WorkerPool(*options) as server, socket.create_connection((HOST, server.port), HANG) as connection:
        connection.sendall(b"hello\n" + b"".join(b"wait 3%d\n" % n for n in range(4)))
        assert connection.recv(9, socket.MSG_WAITALL) == b"ok HELLO\n"
        printed = server.terminate()
        assert answers_of(connection) == ["given up"] * 4
        _, found, left = printed.partition("\n4 jobs were given up\n")
        assert found
        assert sorted(left.splitlines()) == [f"wait 3{n}" for n in range(4)]
