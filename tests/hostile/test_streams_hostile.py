"""Codecs and protocols that raise, lie, call back or drop the connection; writers and loops that nobody closed."""

import asyncio
import contextlib
import gc
import os

import pytest

from ferrule import MISSING
from ferrule.aio.streams import BytesProtocol, Codec, Framed, LinesCodec, open_connection
from tests.support.driver import turns
from tests.support.leaks import in_subprocess
from tests.support.loops import LOOPS
from tests.support.streams import HOST, OVER, against_raw, contexts, drive, raw_connection, recv_all, serving, until

# --- codecs ---


class Hostile(Codec):
    """Lines; before that, `action(codec, buffer)` may do, give or raise something else."""

    def __init__(self, action=lambda codec, buffer: None, **attributes):
        self.action = action
        vars(self).update(attributes)

    def decode(self, buffer):
        if (given := self.action(self, buffer)) is not None:
            return given
        line = buffer.try_get_until(b"\n")
        return MISSING if line is None else line

    def encode(self, frame):
        yield frame
        if frame == b"bad":
            raise KeyError(frame)
        yield b"\n"


def raising(error):
    def action(codec, buffer):
        if buffer and not vars(codec).pop("calm", False):
            codec.calm = True
            raise error

    return action


@pytest.mark.parametrize(
    "error", [KeyError(), EOFError(), OSError(), StopIteration(), MemoryError(), RecursionError()], ids=repr
)
def test_what_a_codec_raises_reaches_recv_and_the_connection_goes_on(loop_name, error):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, Hostile(raising(error)))
            receiving = asyncio.ensure_future(framed.recv())
            await turns()
            peer.send(b"one\ntwo\n")
            got = []
            for _ in range(2):
                with pytest.raises(RuntimeError if isinstance(error, StopIteration) else type(error)):
                    await receiving
                got.append(await framed.recv())
                receiving = asyncio.ensure_future(framed.recv())
            receiving.cancel()
            await framed.send(b"answer")
            return got, await asyncio.get_running_loop().sock_recv(peer, 100)

    assert drive(main(), loop_name) == ([b"one\n", b"two\n"], b"answer\n")


@pytest.mark.parametrize("frame", [b"bad", "text", None, 5])
def test_a_frame_that_cannot_be_encoded_leaves_nothing_behind(loop_name, frame):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, Hostile())
            for call in (lambda: framed.send(frame), lambda: framed.send_many([frame])):
                with pytest.raises((KeyError, TypeError)):
                    await call()
            await framed.send(b"good")
            framed.close()
            return await recv_all(peer)

    assert drive(main(), loop_name) == b"good\n"


@pytest.mark.parametrize("parts", [None, 5, b"bytes are numbers", [b"ok", "text"], [None]], ids=repr)
def test_an_encode_that_gives_no_parts_leaves_nothing_behind(loop_name, parts):
    class Encodes(Hostile):
        def encode(self, frame):
            return parts

    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, Encodes())
            for call in (lambda: framed.send(b""), lambda: framed.send_many([b""])):
                with pytest.raises(TypeError):
                    await call()
            framed.close()
            return await recv_all(peer)

    assert drive(main(), loop_name) == b""


def test_a_codec_that_takes_nothing_gives_the_same_again(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, Hostile(lambda codec, buffer: bytes(buffer) if buffer else None))
            peer.send(b"same")
            got = [await framed.recv() for _ in range(3)]
            return got, await end.reader.readexactly(4)

    assert drive(main(), loop_name) == ([b"same"] * 3, b"same")


def test_a_codec_that_takes_all_and_gives_nothing_waits_for_the_end(loop_name):
    def take(codec, buffer):
        codec.taken = getattr(codec, "taken", 0) + len(buffer)
        buffer.advance(len(buffer))
        return MISSING

    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, Hostile(take, limit=100))
            receiving = asyncio.ensure_future(framed.recv())
            await asyncio.get_running_loop().sock_sendall(peer, bytes(1_000_000))
            peer.close()
            with pytest.raises(EOFError):
                await receiving
            return framed.codec.taken

    assert drive(main(), loop_name) == 1_000_000


def test_a_codec_that_keeps_what_it_was_given(loop_name):
    """The buffer, parts of it, its spare room: the connection goes on, and no part changes."""

    def keep(codec, buffer):
        if buffer:
            kept.append((buffer[:], bytes(buffer)))
            kept.append((buffer.spare(10), None))
            kept.append((buffer, None))

    kept = []

    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, Hostile(keep))
            got = []
            for n in range(200):
                peer.send(b"%0100d\n" % n)
                got.append(await framed.recv())
            return got

    assert drive(main(), loop_name) == [b"%0100d\n" % n for n in range(200)]
    assert all(bytes(view) == was for view, was in kept if was is not None)


@pytest.mark.parametrize("how", ["split", "clear", "replace", "put"])
def test_a_codec_that_changes_the_buffer(loop_name, how):
    def change(codec, buffer):
        match how if buffer else None:
            case "split":
                return buffer.split()
            case "clear":
                buffer.clear()
            case "replace":
                codec.framed.reader._let_go()
                return b"let go"
            case "put":
                buffer.put(b"more\n")
        return None

    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, Hostile(change))
            framed.codec.framed = framed
            receiving = asyncio.ensure_future(framed.recv())
            await turns()
            peer.send(b"data\n")
            if how == "clear":
                await until(lambda: not end.reader._buffer)
                framed.codec.action = lambda *_: None
                peer.send(b"data\n")
            first = await receiving
            framed.codec.action = lambda *_: None
            peer.send(b"next\n")
            while (line := await framed.recv()) != b"next\n":
                assert line in (b"data\n", b"more\n")
            return bytes(first)

    assert drive(main(), loop_name) == (b"let go" if how == "replace" else b"data\n")


@pytest.mark.parametrize("how", ["recv", "send", "close", "abort", "drop", "read"])
def test_a_codec_that_calls_back(loop_name, how):
    holder = []

    def call_back(codec, buffer):
        if not buffer or vars(codec).pop("called", False):
            return
        codec.called = True
        framed = holder[-1]
        match how:
            case "recv" | "read":
                again = framed.recv() if how == "recv" else framed.reader.readuntil(b"x")
                with contextlib.suppress(StopIteration):
                    again.send(None)
                again.close()
            case "send":
                sending = framed.send(b"from within")
                with contextlib.suppress(StopIteration):
                    sending.send(None)
            case "close":
                framed.close()
            case "abort":
                framed.writer.transport.abort()
            case "drop":
                holder.clear()

    async def main():
        async with against_raw() as (end, peer):
            holder.append(Framed(*end, Hostile(call_back)))
            receiving = asyncio.ensure_future(holder[-1].recv())
            await turns()
            peer.send(b"one\ntwo\n")
            first = await receiving
            if how in ("close", "abort"):
                assert end.writer.is_closing()
                assert await recv_all(peer) == b""
            elif how == "send":
                assert await asyncio.get_running_loop().sock_recv(peer, 100) == b"from within\n"
            return first, b"two\n" if how == "recv" else await end.reader.readline()

    first = b"two\n" if how == "recv" else b"one\n"  # there the call within has had the first
    assert drive(main(), loop_name) == (first, b"two\n")


@pytest.mark.parametrize("need", [-1, None, 1.5, "5", 1 << 80])
def test_a_need_that_is_no_number_of_bytes_hangs_nothing(loop_name, need):
    async def main():
        async with against_raw() as (end, peer):
            codec = Hostile(lambda codec, buffer: setattr(codec, "need", need))
            receiving = asyncio.ensure_future(Framed(*end, codec).recv())
            await turns()
            with contextlib.suppress(OSError):
                peer.send(b"line\n")
                await turns(20)
            peer.close()
            return (await asyncio.gather(receiving, return_exceptions=True))[0]

    result = drive(main(), loop_name, reported := [])
    assert result == b"line\n" or isinstance(result, (TypeError, OSError, EOFError, RuntimeError))
    assert reported == [] or isinstance(result, Exception)


# --- protocols ---


class Protocol(BytesProtocol):
    """Does to itself what the test says, each time that something comes."""

    def __init__(self, action):
        super().__init__()
        self.action = action
        self.came = []
        self.lost = asyncio.get_running_loop().create_future()

    def bytes_received(self, buffer):
        self.came.append(buffer.get_bytes(len(buffer)))
        self.action(self)

    def connection_lost(self, error):
        super().connection_lost(error)
        self.lost.set_result(error)


def raise_error(protocol):
    raise KeyError("within")


ENDING = {
    "raises": raise_error,
    "closes": lambda protocol: protocol.transport.close(),
    "aborts": lambda protocol: protocol.transport.abort(),
    "writes and closes": lambda protocol: (protocol.transport.write(b"bye"), protocol.transport.close()),
    "closes and raises": lambda protocol: (protocol.transport.close(), raise_error(protocol)),
}


@OVER
@pytest.mark.parametrize("action", ENDING)
def test_a_protocol_that_ends_its_connection_within_the_call(loop_name, tls, action):
    server_side, client_side = contexts() if tls else (None, None)

    async def main():
        loop = asyncio.get_running_loop()
        protocols = []
        server = await loop.create_server(
            lambda: protocols.append(Protocol(ENDING[action])) or protocols[-1], HOST, 0, ssl=server_side
        )
        async with server:
            reader, writer = await open_connection(*server.sockets[0].getsockname(), ssl=client_side)
            writer.write(b"question")
            answer = b""
            with contextlib.suppress(OSError):
                answer = await reader.read()
            await protocols[0].lost
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        return answer, protocols[0].came, protocols[0].buffer

    answer, came, buffer = drive(main(), loop_name, reported := [])
    assert answer == (b"bye" if action == "writes and closes" else b"")
    assert came == [b"question"]
    assert buffer == b""
    assert all(isinstance(context["exception"], KeyError) for context in reported)
    assert bool(reported) >= (action == "raises")


def test_a_protocol_that_pauses_itself_gets_the_rest_later(loop_name):
    def pause(protocol):
        protocol.transport.pause_reading()
        asyncio.get_running_loop().call_soon(protocol.transport.resume_reading)

    async def main():
        ours, peer = raw_connection()
        with peer:
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_connection(lambda: Protocol(pause), sock=ours)
            await loop.sock_sendall(peer, bytes(300_000))
            await until(lambda: sum(map(len, protocol.came)) == 300_000)
            transport.abort()
            return await protocol.lost

    assert drive(main(), loop_name) is None


def test_a_protocol_that_does_not_say_what_to_do_with_bytes(loop_name):
    async def main():
        ours, peer = raw_connection()
        with peer:
            await asyncio.get_running_loop().create_connection(BytesProtocol, sock=ours)
            peer.send(b"x")
            with contextlib.suppress(ConnectionResetError):
                return await recv_all(peer)
        return b""

    assert drive(main(), loop_name, reported := []) == b""
    assert [type(context["exception"]) for context in reported] == [NotImplementedError]


# --- what nobody closed ---


def test_a_writer_that_is_collected_unclosed_closes_its_socket(loop_name):
    async def main():
        ours, peer = raw_connection()
        with peer:
            end = await open_connection(sock=ours)
            with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
                del end
                gc.collect()
            return await recv_all(peer)

    assert drive(main(), loop_name) == b""


def test_a_framed_that_is_collected_unclosed_closes_its_socket(loop_name):
    async def main():
        ours, peer = raw_connection()
        with peer:
            framed = Framed(*await open_connection(sock=ours), LinesCodec())
            await framed.send(b"written")
            with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
                del framed
                gc.collect()
            return await recv_all(peer)

    assert drive(main(), loop_name) == b"written\n"


@pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning")
def test_a_server_s_connection_that_nobody_keeps_is_closed(loop_name):
    """As in CPython since 3.13."""

    async def main():
        def serve(reader, writer):
            writer.write(b"hello")

        async with serving(serve) as port:
            reader, writer = await open_connection(HOST, port)
            hello = await reader.read()
            writer.close()
            await writer.wait_closed()
            return hello

    assert drive(main(), loop_name) == b"hello"


LEFT = """
import asyncio, gc, warnings
from ferrule.aio.streams import *
from tests.support.driver import new_loop, turns
from tests.support.streams import raw_connection

loop = new_loop(KIND)
ours, peer = raw_connection()

async def leave():
    global end, reading
    end = await open_connection(sock=ours)
    framed = Framed(*end, LinesCodec())
    reading = asyncio.ensure_future(framed.recv())
    await turns()

loop.run_until_complete(leave())
"""


@pytest.mark.parametrize("kind", LOOPS)
def test_a_loop_that_is_closed_with_a_connection_open(kind):
    """What is done then raises or does nothing; the writer says so when it goes."""
    in_subprocess(
        f"KIND = {kind!r}\n"
        + LEFT
        + """
loop.close()
reader, writer = end
for call in (lambda: writer.write(b"x"), writer.close, writer.is_closing, lambda: reader.feed_data(b"line\\n"),
             lambda: writer.get_extra_info("socket"), lambda: repr(writer), lambda: repr(reader)):
    try:
        call()
    except (RuntimeError, AttributeError):
        pass
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    del call, reader, writer, end
    try:
        reading._coro.close()
    except RuntimeError:
        pass
    reading._log_destroy_pending = False
    del reading
    gc.collect()
assert {warning.category for warning in said} <= {ResourceWarning}, said
"""
    )


@pytest.mark.parametrize("kind", LOOPS)
def test_an_interpreter_that_ends_with_a_connection_open(kind):
    in_subprocess(f"KIND = {kind!r}\n" + LEFT + "reading._log_destroy_pending = False\n")


@pytest.mark.skipif(os.name != "posix", reason="signals are sent to a thread")
@pytest.mark.parametrize("kind", LOOPS)
def test_ctrl_c_ends_run_and_closes_every_connection(kind):
    in_subprocess(
        f"""
import asyncio, gc, os
from ferrule.aio.streams import *
from tests.support.driver import run
from tests.support.processes import interrupted

waits = []

async def serve(reader, writer):
    async with Framed(reader, writer, LinesCodec()) as framed:
        async for line in framed:
            await framed.send(line)

async def main():
    server = await start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with Framed(*await open_connection("127.0.0.1", port), LinesCodec()) as framed:
            await framed.send(b"line")
            assert await framed.recv() == b"line"
            asyncio.get_running_loop().call_later(0.01, waits.append, None)
            await framed.recv()

before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
for _ in range(3):
    waits.clear()
    with interrupted(lambda: waits):
        run(main(), {kind!r})
    gc.collect()
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 3
""",
        options=["-W", "error"],
    )
