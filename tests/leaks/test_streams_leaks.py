"""Memory, objects and descriptors come back after connections; an idle one keeps little; no ring is left of one."""

import asyncio
import contextlib
import gc
import os
import weakref

import pytest

from ferrule.aio.streams import Framed, LinesCodec, StreamWriter, open_connection
from tests.support.driver import turns
from tests.support.leaks import assert_no_leak
from tests.support.loops import LOOPS
from tests.support.streams import (
    HOST,
    OVER,
    End,
    against_raw,
    contexts,
    drive,
    pair,
    raw_connection,
    reset,
    serving,
    until,
)

SETUP = """
import asyncio, contextlib
from ferrule.aio.streams import *
from tests.support.driver import new_loop, turns
from tests.support.streams import HOST, End, against_raw, contexts, reset

server_side, client_side = contexts()
loop = new_loop(KIND)
accepted = []

async def listen(tls):  # once: a server leaves a little behind, of asyncio or of uvloop
    server = await start_server(lambda *end: accepted.append(End(*end)), HOST, 0, ssl=server_side if tls else None)
    return server, server.sockets[0].getsockname()[1]

servers = [loop.run_until_complete(listen(tls)) for tls in (False, True)]

@contextlib.asynccontextmanager
async def pair(tls=False):
    here = End(*await open_connection(HOST, servers[tls][1], ssl=client_side if tls else None))
    while not accepted:
        await asyncio.sleep(0)
    there = accepted.pop()
    yield here, there
    for end in (here, there):
        end.abort()
    for end in (here, there):
        await end.close()

async def conversation(tls):
    async with pair(tls) as ends:
        here, there = (Framed(*end, LengthDelimitedCodec()) for end in ends)
        sending = asyncio.ensure_future(here.send_many([b"small", bytes(30_000)]))
        for _ in range(2):
            await there.recv()
        await sending
        receiving = asyncio.ensure_future(there.recv())
        await turns()
        receiving.cancel()

async def reads():
    async with against_raw(limit=100) as (end, peer):
        peer.send(b"line\\n" * 100)
        for call in (end.reader.readline(), end.reader.readexactly(150), end.reader.readuntil(b"e\\n")):
            await call
        peer.send(b"x" * 1000)
        with contextlib.suppress(ValueError):
            while True:
                await end.reader.readline()
        end.writer.writelines([b"a", b"b" * 100_000])
        reset(peer)
        for call in (end.reader.read, end.writer.drain, end.writer.wait_closed):
            with contextlib.suppress(OSError):
                await call()
"""

CALLS = {
    "frames": "conversation(False)",
    "frames over TLS": "conversation(True)",
    "reads, and a reset": "reads()",
}


@pytest.mark.parametrize("kind", LOOPS)
@pytest.mark.parametrize("call", CALLS)
def test_everything_comes_back(kind, call):
    """Memory and objects; the collector may have to look for the frames that errors kept."""
    assert_no_leak(
        f"loop.run_until_complete({CALLS[call]})",
        setup=f"KIND = {kind!r}" + SETUP,
        repeats=70,
        spare_bytes=100,
    )


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="this system does not show descriptors")
@OVER
def test_descriptors_come_back(loop_name, tls):
    def count():
        return len(os.listdir("/proc/self/fd"))

    async def main():
        server_side, client_side = contexts() if tls else (None, None)

        async def serve(reader, writer):
            with contextlib.suppress(OSError):
                async for line in reader:
                    writer.write(line)
            if len(reader._buffer) % 2:
                raise KeyError
            writer.close()

        async with serving(serve, ssl=server_side) as port:
            before = count()
            for n in range(30):
                end = End(*await open_connection(HOST, port, ssl=client_side))
                end.writer.write(b"line\n")
                await end.reader.readline()
                if n % 3:
                    await end.close()
                else:
                    end.abort()
                del end
            await until(lambda: count() <= before)
            return count() - before

    assert drive(main(), loop_name) <= 0


@OVER
def test_idle_connections_keep_little(loop_name, tls):
    """After a burst through each of them that was taken; both ends."""

    async def main():
        server_side, client_side = contexts() if tls else (None, None)
        readers = []

        async def serve(reader, writer):
            readers.append(reader)
            while data := await reader.read(1 << 20):
                writer.write(data)
            writer.close()

        async def burst(port):
            end = End(*await open_connection(HOST, port, ssl=client_side))
            readers.append(end.reader)
            end.writer.write(bytes(1 << 20))
            await end.reader.readexactly(1 << 20)
            return end

        async with serving(serve, ssl=server_side, backlog=100) as port:
            ends = [await burst(port) for _ in range(20)]
            await turns()
            kept = [reader._buffer.capacity for reader in readers]
            await asyncio.gather(*(end.close() for end in ends))
            await until(lambda: all(reader.at_eof() for reader in readers))
            return kept

    kept = drive(main(), loop_name)
    assert len(kept) == 40
    assert max(kept) <= (16_384 if tls else 4096)


# --- no ring is left, so no collection is needed ---


class Watched:
    """Weak references to what a connection is made of."""

    def __init__(self):
        self.references = []

    def add(self, reader, writer, *others):
        self.references += map(weakref.ref, (reader, writer, writer._protocol, *others))

    @property
    def left(self):
        return [one for reference in self.references if (one := reference()) is not None]


@contextlib.contextmanager
def no_collection():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


ENDS = ["close", "peer closes", "abort", "peer's end, then close"]


@pytest.mark.parametrize("ends", ENDS)
@OVER
def test_no_ring_is_left_of_a_connection(tls, ends):
    watched = Watched()

    async def converse():
        server_side, client_side = contexts() if tls else (None, None)

        async def serve(reader, writer):
            watched.add(reader, writer)
            framed = Framed(reader, writer, LinesCodec())
            async for line in framed:
                await framed.send(line)
            framed.close()
            await framed.wait_closed()

        async with serving(serve, ssl=server_side) as port:
            reader, writer = await open_connection(HOST, port, ssl=client_side)
            watched.add(reader, writer)
            writer.write(b"line\n")
            await reader.readline()
            match ends:
                case "close":
                    writer.close()
                case "abort":
                    writer.transport.abort()
                case "peer closes" if not tls:
                    writer.write_eof()
                    await reader.read()
                    writer.close()
                case _:
                    writer.close()
                    await reader.read()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def main():
        with no_collection():
            await converse()
            for _ in range(200):
                if not watched.left:
                    break
                await asyncio.sleep(0)
            return watched.left

    assert drive(main(), "asyncio") == []
    assert len(watched.references) == 6


def test_no_ring_is_left_of_a_connection_that_went_over_to_tls():
    watched = Watched()

    async def converse():
        server_side, client_side = contexts()
        async with pair() as (here, there):
            watched.add(*here)
            watched.add(*there)
            await asyncio.gather(here.writer.start_tls(client_side), there.writer.start_tls(server_side))
            here.writer.write(b"line\n")
            assert await there.reader.readline() == b"line\n"
            here.writer.close()
            assert await there.reader.read() == b""

    async def main():
        with no_collection():
            await converse()
            await turns(10)
            return watched.left

    assert drive(main(), "asyncio") == []


def test_no_ring_is_left_of_waits_that_were_cancelled():
    watched = Watched()

    async def converse():
        async with against_raw() as (end, _):
            watched.add(*end)
            framed = Framed(*end, LinesCodec())
            for call in (framed.recv, framed.wait_closed, end.reader.readline, end.reader.read):
                task = asyncio.ensure_future(call())
                await turns()
                task.cancel()
                await asyncio.wait([task])
            watched.references.append(weakref.ref(framed))

    async def main():
        with no_collection():
            await converse()
            await turns(10)
            return watched.left

    assert drive(main(), "asyncio") == []


@pytest.mark.parametrize("call", ["read", "readline", "recv"])
def test_what_is_left_of_a_connection_that_was_reset_is_collected(call):
    """Its reader keeps the error, and the error, by its traceback, the reader."""
    watched = Watched()

    async def converse():
        async with against_raw() as (end, peer):
            watched.add(*end)
            framed = Framed(*end, LinesCodec())
            reset(peer)
            with contextlib.suppress(ConnectionResetError):
                await (framed.recv() if call == "recv" else getattr(end.reader, call)())

    async def main():
        await converse()
        await turns(10)
        gc.collect()
        return watched.left

    assert drive(main(), "asyncio") == []


def test_reads_of_a_lost_connection_do_not_add_up(loop_name):
    def length(traceback):
        count = 0
        while traceback is not None:
            traceback, count = traceback.tb_next, count + 1
        return count

    async def main():
        async with against_raw() as (end, peer):
            reset(peer)
            await until(end.reader.exception)
            lengths = []
            for _ in range(10):
                with pytest.raises(ConnectionResetError) as raised:
                    await end.reader.read()
                lengths.append(length(raised.value.__traceback__))
            return lengths

    assert len(set(drive(main(), loop_name))) == 1


def test_a_writer_that_is_dropped_goes_at_once():
    """With it the connection, though nobody collects."""

    async def main():
        ours, peer = raw_connection()
        with peer, no_collection():
            end = await open_connection(sock=ours)
            writer = weakref.ref(end[1])
            assert isinstance(writer(), StreamWriter)
            with pytest.warns(ResourceWarning, match="unclosed"):
                del end
            assert writer() is None
            return await asyncio.get_running_loop().sock_recv(peer, 1)

    assert drive(main(), "asyncio") == b""
