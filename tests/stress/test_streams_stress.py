"""Many connections at once, and peers that send anything in any way: nothing is lost, hangs, or stays."""

import asyncio
import contextlib
import gc
import random
import resource
import socket
import weakref
from collections import Counter

import pytest

from ferrule.aio.streams import (
    Framed,
    FrameTooLarge,
    JsonLinesCodec,
    LengthDelimitedCodec,
    LinesCodec,
    StreamReader,
    open_connection,
)
from tests.support.driver import turns
from tests.support.streams import HOST, OVER, End, contexts, drive, pair, pieces, reset, serving, until

pytestmark = pytest.mark.stress

LIMIT = 2000

CODECS = {
    "lines": LinesCodec(limit=LIMIT),
    "text": LinesCodec(limit=LIMIT, encoding="utf-8"),
    "JSON": JsonLinesCodec(limit=LIMIT),
    "length": LengthDelimitedCodec(3, limit=LIMIT),
    "whole length": LengthDelimitedCodec(2, "little", includes_length=True, limit=LIMIT),
}


@pytest.fixture
def descriptors():
    """Enough of them for both ends of a thousand connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096
    if soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip("this system has too few descriptors")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("descriptors")
@pytest.mark.parametrize("count", [1000])
def test_many_connections_at_once(loop_name, count):
    """Each gets its own answers, all of them, in order; all are open at the same time."""
    most = 0

    async def main():
        nonlocal most
        served = set()
        all_there = asyncio.Event()

        async def serve(reader, writer):
            nonlocal most
            async with Framed(reader, writer, LengthDelimitedCodec(2)) as framed:
                served.add(framed)
                most = max(most, len(served))
                if len(served) == count:
                    all_there.set()
                async for frame in framed:
                    await framed.send(frame)
                served.discard(framed)

        async def ask(port, n):
            async with Framed(*await open_connection(HOST, port), LengthDelimitedCodec(2)) as framed:
                await all_there.wait()
                frames = [b"%d of %d" % (k, n) + b"." * (n * k) for k in range(5)]
                await framed.send_many(frames)
                return frames == [await framed.recv() for _ in frames]

        async with serving(serve, backlog=count) as port:
            answers = await asyncio.gather(*(ask(port, n) for n in range(count)))
            await until(lambda: not served)
            return answers

    assert drive(main(), loop_name) == [True] * count
    assert most == count


class Fuzzed:
    """A server whose callback takes what a codec gives and sends it back, and what is seen of its connections."""

    def __init__(self, codec):
        self.codec = codec
        self.readers = weakref.WeakSet()
        self.open = self.served = 0
        self.most = 0

    async def __call__(self, reader, writer):
        self.readers.add(reader)
        self.open += 1
        self.served += 1
        framed = Framed(reader, writer, self.codec)
        last_error = 0
        try:
            while True:
                try:
                    frame = await framed.recv()
                    last_error = 0
                    await framed.send(frame)
                except FrameTooLarge:
                    pass  # passed over; or its answer is
                except ValueError:  # of one frame; of all that follow, where nobody knows where the next one begins
                    if (last_error := last_error + 1) > 10_000 or isinstance(self.codec, LengthDelimitedCodec):
                        break
                self.most = max(self.most, reader._buffer.capacity)
        except (EOFError, OSError):
            pass
        finally:
            framed.close()
            with contextlib.suppress(OSError):
                await framed.wait_closed()
            self.open -= 1


def frame_of(codec, rng):
    text = "x" * rng.choice([0, 1, 5, 100, 1000, LIMIT - 5])
    match codec:
        case JsonLinesCodec():
            return rng.choice([None, {"text": text[:-20]}, [1.5, "é"], text[:-20]])
        case LinesCodec(encoding="utf-8"):
            return text + rng.choice(["", "é"])
    return text.encode()


async def behave(port, codec, rng):
    """A peer that says what it should, in any pieces, while it listens."""
    end = End(*await open_connection(HOST, port))
    framed = Framed(*end, codec)
    frames = [frame_of(codec, rng) for _ in range(rng.randrange(20))]

    async def send():
        data = b"".join(bytes(part) for frame in frames for part in codec.encode(frame))
        for piece in pieces(data, rng, 3000):
            end.writer.write(piece)
            await end.writer.drain()
            if rng.random() < 0.1:
                await asyncio.sleep(0)
        end.writer.write_eof()

    sending = asyncio.ensure_future(send())
    got = [frame async for frame in framed]
    await sending
    await end.close()
    assert got == frames


async def misbehave(port, codec, rng):
    """A peer that sends garbage, or half of something, slowly or all at once, listens or not, and ends in any way."""
    loop = asyncio.get_running_loop()
    with socket.socket() as peer:
        peer.setblocking(False)
        await loop.sock_connect(peer, (HOST, port))
        with contextlib.suppress(OSError):
            for _ in range(rng.randrange(6)):
                good = b"".join(bytes(part) for part in codec.encode(frame_of(codec, rng)))
                data = rng.choice(
                    [
                        good,
                        good * 20,
                        good[: rng.randint(0, len(good))],
                        rng.randbytes(rng.randrange(2000)),
                        b"\n" * rng.randrange(3000),
                        bytes(rng.randrange(3000)),
                        b"x" * rng.randrange(50_000),
                        b"\xff" * rng.randrange(20),
                    ]
                )
                match rng.randrange(4):
                    case 0:
                        await loop.sock_sendall(peer, data)
                    case 1:
                        for byte in data[:50]:
                            await loop.sock_sendall(peer, bytes([byte]))
                            await asyncio.sleep(0)
                    case 2:
                        for piece in pieces(data, rng, 2000):
                            await loop.sock_sendall(peer, piece)
                            if rng.random() < 0.2:
                                await asyncio.sleep(0)
                    case _:
                        with contextlib.suppress(BlockingIOError):
                            peer.recv(1 << rng.randrange(17))
                await turns(rng.randrange(3))
            match rng.randrange(4):
                case 0:
                    reset(peer)
                case 1:
                    peer.shutdown(socket.SHUT_WR)
                    while await loop.sock_recv(peer, 1 << 16):
                        pass
                case 2:
                    peer.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("codec", CODECS)
def test_fuzzed_peers(loop_name, codec, seconds, rng):
    """Who behaves gets all its answers; every connection ends; none keeps more than the limits; all of them go."""
    server = Fuzzed(CODECS[codec])

    async def main():
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds / 15
        async with serving(server, limit=1000, backlog=200) as port:
            while loop.time() < end:
                peers = [rng.choice([behave, misbehave]) for _ in range(20)]
                async with asyncio.TaskGroup() as group:
                    for peer in peers:
                        group.create_task(peer(port, server.codec, random.Random(rng.random())))
                await until(lambda: not server.open)

    drive(main(), loop_name)
    gc.collect()
    assert not server.readers
    assert server.served >= 5
    assert server.most <= 8 * LIMIT + 4096


def test_garbage_instead_of_tls(loop_name, seconds, rng):
    """Handshakes that anybody may begin and break off, from the first byte or by start_tls()."""
    server_side, client_side = contexts()
    open_now = 0

    async def serve(reader, writer):
        nonlocal open_now
        open_now += 1
        with contextlib.suppress(OSError, EOFError, asyncio.LimitOverrunError):
            await reader.readuntil(b"!")
            await writer.start_tls(server_side, ssl_handshake_timeout=5)
            async for line in reader:
                writer.write(line)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        open_now -= 1

    async def garble(port):
        loop = asyncio.get_running_loop()
        with socket.socket() as peer:
            peer.setblocking(False)
            await loop.sock_connect(peer, (HOST, port))
            with contextlib.suppress(OSError):
                record = bytes([rng.choice([20, 21, 22, 23]), 3, rng.randrange(4)])
                size = rng.randrange(300)
                for data in (b"!", record + size.to_bytes(2, "big") + rng.randbytes(rng.randrange(size + 10))):
                    await loop.sock_sendall(peer, data)
                    await turns(rng.randrange(3))
                if rng.random() < 0.3:
                    reset(peer)

    async def converse(port):
        end = End(*await open_connection(HOST, port))
        end.writer.write(b"!")
        await end.writer.start_tls(client_side)
        line = bytes(rng.randrange(100_000)) + b"\n"
        end.writer.write(line)
        assert await end.reader.readexactly(len(line)) == line
        await end.close()

    async def main():
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds / 12
        count = 0
        async with serving(serve, limit=200_000, backlog=100) as port:
            while loop.time() < end:
                count += 1
                async with asyncio.TaskGroup() as group:
                    for _ in range(10):
                        group.create_task(rng.choice([garble, converse])(port))
                await until(lambda: not open_now)
        return count

    assert drive(main(), loop_name) >= 1


@OVER
def test_tasks_that_send_and_are_cancelled(loop_name, tls, seconds, rng):
    """What a send was given arrives exactly once and whole, whichever side is cancelled."""

    async def main():
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds / 12
        sent, got = Counter(), Counter()
        async with pair(tls, limit=3000) as ends:
            here, there = (Framed(*one, LengthDelimitedCodec()) for one in ends)
            here.writer.transport.set_write_buffer_limits(high=20_000)

            async def send(name):
                chance, number = random.Random(rng.random()), 0
                while loop.time() < end or not number:
                    frame = b"%d %d " % (name, number) + b"." * chance.choice([0, 10, 5000, 30_000])
                    number += 1
                    sending = asyncio.ensure_future(here.send(frame))
                    sent[frame] += 1
                    if chance.random() < 0.3:
                        await turns(chance.randint(1, 3))
                        sending.cancel()
                    await asyncio.wait([sending])

            async def receive():
                with contextlib.suppress(EOFError):
                    while True:
                        receiving = asyncio.ensure_future(there.recv())
                        if rng.random() < 0.2:
                            await turns(rng.randrange(3))
                            receiving.cancel()
                        with contextlib.suppress(asyncio.CancelledError):
                            got[(await receiving).tobytes()] += 1

            receiving = asyncio.ensure_future(receive())
            await asyncio.gather(*(send(name) for name in range(5)))
            here.close()
            await receiving
        return sent, got

    sent, got = drive(main(), loop_name)
    assert got == sent
    assert set(sent.values()) == {1}


def test_no_reader_is_left_of_a_storm_of_connections(loop_name, seconds):
    """They come and go as fast as they can; objects do not add up."""

    async def serve(reader, writer):
        with contextlib.suppress(OSError):
            writer.write(await reader.read(10))
        writer.close()

    async def main():
        loop = asyncio.get_running_loop()
        counts = []
        async with serving(serve, backlog=200) as port:

            async def visit(n):
                end = End(*await open_connection(HOST, port))
                if n % 5:
                    end.writer.write(b"x")
                    assert await end.reader.read() == b"x"
                await end.close()

            end = loop.time() + seconds / 12
            while loop.time() < end or len(counts) < 3:
                await asyncio.gather(*(visit(n) for n in range(50)))
                await turns(20)
                gc.collect()
                counts.append(sum(isinstance(one, StreamReader) for one in gc.get_objects()))
        return counts

    counts = drive(main(), loop_name)
    assert max(counts[1:]) <= 20
