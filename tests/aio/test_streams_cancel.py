"""Cancelled reads lose no byte, cancelled waits disturb nobody: step by step, and over sockets."""

import asyncio
import contextlib
import itertools

import pytest

from ferrule.aio.streams import (
    Framed,
    JsonLinesCodec,
    LengthDelimitedCodec,
    LinesCodec,
    StreamReader,
    open_connection,
)
from tests.support.driver import Stepper, turns
from tests.support.streams import (
    HOST,
    OVER,
    End,
    against_raw,
    contexts,
    drive,
    fill,
    pair,
    recv_all,
    reset,
    serving,
    until,
)

DATA = b"\x00\x00\x00\x07\n\n first\nand a second line, --\n{}\n"
PIECES = [DATA[:1], DATA[1:6], DATA[6:20], DATA[20:]]

READS = {
    "read": lambda r: r.read(),
    "read some": lambda r: r.read(3),
    "readline": lambda r: r.readline(),
    "readuntil": lambda r: r.readuntil(b"--\n"),
    "readuntil several": lambda r: r.readuntil((b"xyz", b"--\n")),
    "readexactly": lambda r: r.readexactly(len(DATA) - 1),
    "async for": lambda r: r.__anext__(),
}

RECEIVES = {
    "lines": lambda r: Framed(r, None, LinesCodec()).recv(),
    "JSON lines": lambda r: Framed(r, None, JsonLinesCodec()).recv(),
    "length delimited": lambda r: Framed(r, None, LengthDelimitedCodec(1, includes_length=True)).recv(),
}

MOMENTS = ["before", "tie", "woken"]


async def cancelled_at(call, suspension, moment):
    """Cancels the read at that suspension; what can be read then, or None when it was done before.

    `moment`: before anything comes, in the same tick and ahead of it, or when the read is woken and has not run.
    """
    reader = StreamReader(loop=asyncio.get_running_loop())
    coming = iter(PIECES)
    reading = Stepper(call(reader))
    for _ in range(suspension):
        if reading.step():
            return None
        while not reading.future.done():
            if (piece := next(coming, None)) is None:
                reader.feed_eof()
            else:
                reader.feed_data(piece)
    if reading.step():
        return None
    if moment == "before":
        reading.cancel()
        reading.step()
    if moment == "tie":
        reading.cancel()
    for piece in coming:
        reader.feed_data(piece)
    reader.feed_eof()
    if moment == "woken":
        assert reading.future.done()
        reading.cancel()
    if moment != "before":
        reading.step()
    assert reading.cancelled
    return await reader.read()


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("read", READS)
def test_a_read_cancelled_at_any_step_has_taken_nothing(loop_name, read, moment):
    async def main():
        suspension = 0
        while (left := await cancelled_at(READS[read], suspension, moment)) is not None:
            assert left == DATA, (suspension, left)
            suspension += 1
        return suspension

    assert drive(main(), loop_name) >= 1


@pytest.mark.parametrize("read", [*READS, *RECEIVES])
def test_a_cancelled_read_called_again_gives_what_it_would_have_given(loop_name, read):
    """The same object goes on, so that what a codec has seen of the frame counts."""
    kinds = {"lines": LinesCodec(), "JSON lines": JsonLinesCodec(), "length delimited": LengthDelimitedCodec(1)}
    data = {"JSON lines": b'{"a": [1, 2]}\n', "length delimited": b"\x08payload.", "lines": b"a line\r\n"}.get(
        read, DATA
    )

    async def main():
        seen = []
        for disturbed in (False, True):
            reader = StreamReader(loop=asyncio.get_running_loop())
            framed = Framed(reader, None, kinds.get(read, LinesCodec()))
            call = framed.recv if read in RECEIVES else lambda reader=reader: READS[read](reader)
            reading = asyncio.ensure_future(call())
            for n in range(len(data)):
                await turns(1)
                reader.feed_data(data[n : n + 1])
                if disturbed and not reading.done():
                    await turns(n % 3)
                    if reading.cancel():
                        await asyncio.wait([reading])
                        reading = asyncio.ensure_future(call())
            reader.feed_eof()
            seen.append((await reading, await reader.read()))
        return seen

    undisturbed, disturbed = drive(main(), loop_name)
    assert undisturbed == disturbed


@OVER
@pytest.mark.parametrize("how", ["cancel", "wait_for", "timeout"])
def test_reads_cancelled_at_random_lose_no_byte(loop_name, tls, how, rng):
    sent = b"".join(b"%05d%s\n" % (n, b"." * rng.randrange(40)) for n in range(600))

    async def main():
        async with pair(tls, limit=500) as (here, there):

            async def send():
                at = 0
                while at < len(sent):
                    there.writer.write(sent[at : at + (size := rng.randint(1, 200))])
                    at += size
                    await there.writer.drain()
                    await turns(rng.randrange(2))
                there.writer.close()

            calls = [
                lambda: here.reader.readline(),
                lambda: here.reader.read(rng.randint(1, 100)),
                lambda: here.reader.readexactly(rng.randint(0, 700)),
                lambda: here.reader.readuntil((b"9\n", b"123")),
            ]
            sending = asyncio.ensure_future(send())
            got, cancelled = [], 0
            while not here.reader.at_eof():
                call = rng.choice(calls)
                try:
                    match how if rng.random() < 0.6 else "leave it":
                        case "cancel":
                            reading = asyncio.ensure_future(call())
                            await turns(rng.randrange(3))
                            reading.cancel()
                            got.append(await reading)
                        case "wait_for":
                            got.append(await asyncio.wait_for(call(), rng.choice([0, 1e-6, 1e-4])))
                        case "timeout":
                            async with asyncio.timeout(rng.choice([0, 1e-6, 1e-4])):
                                got.append(await call())
                        case _:
                            got.append(await call())
                except (asyncio.CancelledError, TimeoutError):
                    cancelled += 1
                except asyncio.IncompleteReadError as error:
                    got.append(error.partial)
                except asyncio.LimitOverrunError:
                    got.append(await here.reader.read(300))
            await sending
            return b"".join(got), cancelled

    came, cancelled = drive(main(), loop_name)
    assert came == sent
    assert cancelled


def test_a_read_of_all_that_was_cancelled_leaves_all(loop_name):
    async def main():
        async with against_raw(limit=100) as (end, peer):
            reading = asyncio.ensure_future(end.reader.read())
            await asyncio.get_running_loop().sock_sendall(peer, bytes(300_000))
            await until(lambda: len(end.reader._buffer) == 300_000)
            reading.cancel()
            await asyncio.wait([reading])
            peer.close()
            return len(await end.reader.read())

    assert drive(main(), loop_name) == 300_000


@pytest.mark.parametrize("read", READS)
def test_a_coroutine_that_is_closed_while_it_waits_has_taken_nothing(loop_name, read):
    async def main():
        async with against_raw() as (end, peer):
            for n in range(2):
                reading = Stepper(READS[read](end.reader))
                reading.step()
                assert reading.suspended
                peer.send(b"%d" % n)
                if n:
                    await until(lambda: len(end.reader._buffer) == 2)
                reading.close()
                assert end.reader._waiter is None
            peer.close()
            return await end.reader.read()

    assert drive(main(), loop_name) == b"01"


def test_a_coroutine_that_was_never_awaited_has_taken_nothing(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            peer.send(b"line\n")
            end.reader.readline().close()
            return await end.reader.readline()

    assert drive(main(), loop_name) == b"line\n"


@pytest.mark.parametrize("second", READS)
@pytest.mark.parametrize("first", ["read", "readline", "readexactly", "recv"])
def test_two_reads_at_once_are_refused_and_the_first_goes_on(loop_name, first, second):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, LinesCodec())
            call = framed.recv if first == "recv" else lambda: READS[first](end.reader)
            reading = asyncio.ensure_future(call())
            await turns()
            with pytest.raises(RuntimeError, match="already waiting"):
                await READS[second](end.reader)
            with pytest.raises(RuntimeError, match="already waiting"):
                await framed.recv()
            peer.send(DATA)
            peer.close()
            return await reading

    expected = {"read": DATA, "readline": DATA[:5], "readexactly": DATA[:-1], "recv": DATA[:4]}
    assert drive(main(), loop_name) == expected[first]


# --- drain() and wait_closed() ---


@pytest.mark.parametrize("gone", range(3))
@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_drain_that_is_gone_leaves_the_others_alone(loop_name, gone, how):
    async def main():
        async with against_raw() as (end, peer):
            await fill(end)
            if how == "close":
                doomed = Stepper(end.writer.drain())
            waiting = []
            for n in range(3):
                if n == gone and how == "close":
                    doomed.step()
                else:
                    waiting.append(asyncio.ensure_future(end.writer.drain()))
                await turns()
            if how == "close":
                doomed.close()
            else:
                doomed = waiting.pop(gone)
                doomed.cancel()
            await turns()
            assert not any(task.done() for task in waiting)
            reading = asyncio.ensure_future(recv_all(peer))
            await asyncio.gather(*waiting)
            end.writer.close()
            await reading
            assert len(waiting) == 2
            assert not end.writer._protocol._drains
            return doomed.done if how == "close" else doomed.cancelled()

    assert drive(main(), loop_name)


@pytest.mark.parametrize("ends", ["close", "reset"])
@pytest.mark.parametrize("gone", range(3))
def test_a_wait_for_the_end_that_is_gone_leaves_the_others_alone(loop_name, gone, ends):
    async def main():
        async with against_raw() as (end, peer):
            waiting = [asyncio.ensure_future(end.writer.wait_closed()) for _ in range(3)]
            closed = Stepper(end.writer.wait_closed())
            closed.step()
            await turns()
            waiting[gone].cancel()
            closed.close()
            await turns()
            assert [task.done() for task in waiting] == [n == gone for n in range(3)]
            assert len(end.writer._protocol._closes) == 2
            if ends == "close":
                end.writer.close()
            else:
                reset(peer)
            return await asyncio.gather(*waiting, return_exceptions=True)

    results = drive(main(), loop_name)
    assert type(results.pop(gone)) is asyncio.CancelledError
    assert [type(result) for result in results] == [type(None) if ends == "close" else ConnectionResetError] * 2


def test_waits_cancelled_in_the_tick_that_wakes_them(loop_name):
    """Neither is anything raised in the loop, nor does a future keep an error that nobody fetches."""

    async def main():
        async with against_raw() as (end, peer):
            await fill(end)
            waiting = [
                asyncio.ensure_future(call()) for call in (end.writer.drain, end.writer.wait_closed) for _ in "ab"
            ]
            reading = asyncio.ensure_future(end.reader.read())
            await turns()
            end.writer._protocol.connection_lost(ConnectionResetError())
            for task in (*waiting, reading):
                task.cancel()
            results = await asyncio.gather(*waiting, reading, return_exceptions=True)
            peer.close()
            end.writer.transport.abort()
            return results

    assert [type(result) for result in drive(main(), loop_name)] == [asyncio.CancelledError] * 5


def test_a_task_group_that_ends_takes_its_reads_with_it(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            with pytest.raises(ExceptionGroup):
                async with asyncio.TaskGroup() as group:
                    group.create_task(end.reader.readexactly(10))
                    peer.send(b"some")
                    await until(lambda: len(end.reader._buffer) == 4)
                    raise KeyError
            peer.send(b" more\n")
            return await end.reader.readline()

    assert drive(main(), loop_name) == b"some more\n"


@OVER
def test_a_connection_whose_opening_is_cancelled(loop_name, tls):
    """Whenever that comes, no connection is left open: the server sees its end."""
    begun = ended = 0

    async def serve(reader, writer):
        nonlocal begun, ended
        begun += 1
        with contextlib.suppress(OSError):
            await reader.read()
        writer.close()
        ended += 1

    async def main():
        server_side, client_side = contexts() if tls else (None, None)
        async with serving(serve, ssl=server_side) as port:
            for count in itertools.count():
                opening = asyncio.ensure_future(open_connection(HOST, port, ssl=client_side))
                await turns(count)
                if not opening.cancel():
                    await End(*opening.result()).close()
                    break
                await asyncio.wait([opening])
            await until(lambda: begun and begun == ended)
        return count

    assert drive(main(), loop_name) >= 1
