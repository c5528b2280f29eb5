"""Framed with each codec over sockets and TLS, on each kind of loop."""

import asyncio
import contextlib
import random

import pytest

from ferrule import MISSING, Bytes
from ferrule.aio.streams import (
    Codec,
    Framed,
    FrameTooLarge,
    JsonLinesCodec,
    LengthDelimitedCodec,
    LinesCodec,
    open_connection,
)
from tests.support.driver import turns
from tests.support.streams import (
    HOST,
    OVER,
    End,
    against_raw,
    drive,
    fill,
    pair,
    pieces,
    recv_all,
    reset,
    serving,
    until,
)


class Tagged(Codec):
    """A user's: a tag, a size in one byte, a payload; a tag of 0 is None, which is a frame like others."""

    limit = 300

    def decode(self, buffer):
        if len(buffer) < 2 or len(buffer) < 2 + buffer[1]:
            return MISSING
        tag, size = buffer.get_u8(), buffer.get_u8()
        payload = buffer.get_bytes(size)
        return (tag, payload) if tag else None

    def encode(self, frame):
        tag, payload = frame or (0, b"")
        yield bytes([tag, len(payload)])
        yield payload


SIZES = [0, 1, 2, 3, 100, 255, 4095, 4096, 4097, 70_000, 0, 5]

CODECS = {
    "lines": (LinesCodec(limit=100_000), [b"x" * n for n in SIZES]),
    "text": (LinesCodec(encoding="utf-8", limit=500_000), ["é" * n for n in SIZES]),
    "JSON": (JsonLinesCodec(), [{"n": n, "text": "\n" * n} for n in SIZES] + [None, [], 5, "é", False]),
    "1 byte": (LengthDelimitedCodec(1), [b"\n" * n for n in SIZES if n < 256]),
    "2 bytes, all of them": (LengthDelimitedCodec(2, includes_length=True), [b"\0" * n for n in SIZES if n < 65534]),
    "4 bytes, little": (LengthDelimitedCodec(4, "little"), [b"\xff" * n for n in SIZES]),
    "8 bytes": (LengthDelimitedCodec(8), [b"abc" * n for n in SIZES]),
    "a user's": (Tagged(), [(1 + n % 9, b"p" * n) for n in SIZES if n < 256] + [None, (1, b"")]),
}


def encoded(codec, frames):
    return b"".join(bytes(part) for frame in frames for part in codec.encode(frame))


@pytest.mark.parametrize("codec", CODECS)
@OVER
def test_frames_arrive_as_they_were_sent(loop_name, tls, codec):
    codec, frames = CODECS[codec]

    async def main():
        async with pair(tls) as ends:
            here, there = (Framed(*end, codec) for end in ends)

            async def send():
                for frame in frames:
                    await here.send(frame)
                assert await here.send_many(iter(frames)) == len(frames)
                here.close()

            sending = asyncio.ensure_future(send())
            got = [frame async for frame in there]
            await sending
            return got

    assert drive(main(), loop_name) == frames * 2


@pytest.mark.parametrize("codec", CODECS)
def test_frames_in_pieces(loop_name, codec, rng):
    codec, frames = CODECS[codec]
    frames = [frame for frame in frames if len(encoded(codec, [frame])) < 5000]
    stream = encoded(codec, frames)

    async def main():
        async with against_raw() as (end, peer):
            receiving = asyncio.ensure_future(collect(Framed(*end, codec)))
            for piece in pieces(stream, rng, 300):
                await asyncio.get_running_loop().sock_sendall(peer, piece)
                await turns(rng.randrange(3))
            peer.close()
            return await receiving

    assert drive(main(), loop_name) == frames


async def collect(framed):
    return [frame async for frame in framed]


def test_frames_are_views_that_stay(loop_name):
    async def main():
        async with pair() as ends:
            here, there = (Framed(*end, LengthDelimitedCodec(2)) for end in ends)
            sending = asyncio.ensure_future(here.send_many(b"%06d" % n for n in range(5000)))
            frames = [await there.recv() for _ in range(5000)]
            assert await sending == 5000
            assert all(type(frame) is Bytes for frame in frames)
            return frames

    assert drive(main(), loop_name) == [b"%06d" % n for n in range(5000)]


@pytest.mark.parametrize("codec", CODECS)
def test_tasks_may_share_send(loop_name, codec):
    """Each frame is whole, and those of one task are in order."""
    codec, _ = CODECS[codec]
    kind = {
        LinesCodec: str if getattr(codec, "encoding", None) else str.encode,
        LengthDelimitedCodec: str.encode,
        JsonLinesCodec: lambda text: {"text": text},
        Tagged: lambda text: (1, text.encode()),
    }[type(codec)]

    async def main():
        async with pair() as ends:
            here, there = (Framed(*end, codec) for end in ends)
            here.writer.transport.set_write_buffer_limits(high=50)

            async def send(name):
                for n in range(40):
                    await here.send(kind(f"{name} {n} " + "." * (n * 5)))

            async with asyncio.TaskGroup() as group:
                for name in range(5):
                    group.create_task(send(name))
                return [await there.recv() for _ in range(200)]

    got = drive(main(), loop_name)
    for name in range(5):
        expected = [kind(f"{name} {n} " + "." * (n * 5)) for n in range(40)]
        assert [frame for frame in got if frame in expected] == expected


@OVER
@pytest.mark.parametrize("codec", ["lines", "JSON", "4 bytes, little"])
def test_both_send_at_once_and_both_receive(loop_name, tls, codec):
    codec, frames = CODECS[codec]

    async def main():
        async with pair(tls) as ends:
            framed = [Framed(*end, codec) for end in ends]
            sending = [asyncio.ensure_future(one.send_many(frames * 3)) for one in framed]
            receiving = [asyncio.ensure_future(receive(one, len(frames) * 3)) for one in framed]
            await asyncio.gather(*sending)
            return await asyncio.gather(*receiving)

    async def receive(one, count):
        return [await one.recv() for _ in range(count)]

    assert drive(main(), loop_name) == [frames * 3] * 2


# --- ends ---


@OVER
def test_an_end_between_two_frames(loop_name, tls):
    async def main():
        async with pair(tls) as ends:
            here, there = (Framed(*end, LengthDelimitedCodec()) for end in ends)
            await here.send(b"one")
            here.close()
            assert await there.recv() == b"one"
            for _ in range(2):
                with pytest.raises(EOFError) as raised:
                    await there.recv()
                assert type(raised.value) is EOFError
            return [frame async for frame in there]

    assert drive(main(), loop_name) == []


CUT = {
    "4 bytes": (LengthDelimitedCodec(), b"\0\0\0\x09cut"),
    "4 bytes, of the length": (LengthDelimitedCodec(), b"\0\0\0"),
    "all of them": (LengthDelimitedCodec(2, "little", includes_length=True), b"\x09\0cut"),
    "a user's": (Tagged(), b"\x01\x09cut"),
}


@pytest.mark.parametrize("cut", CUT)
@pytest.mark.parametrize("way", ["recv", "async for"])
def test_an_end_within_a_frame(loop_name, cut, way):
    codec, data = CUT[cut]

    async def main():
        async with against_raw() as (end, peer):
            peer.send(data)
            framed = Framed(*end, codec)
            receiving = asyncio.ensure_future(framed.recv() if way == "recv" else collect(framed))
            await until(lambda: not end.reader._buffer or len(end.reader._buffer) == len(data))
            peer.close()
            with pytest.raises(asyncio.IncompleteReadError) as raised:
                await receiving
            with pytest.raises(EOFError):
                await framed.recv()
            return raised.value.partial

    assert drive(main(), loop_name) == data


def test_a_last_line_without_its_end_is_a_frame(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            peer.send(b"one\r\ntwo")
            peer.close()
            return await collect(Framed(*end, LinesCodec()))

    assert drive(main(), loop_name) == [b"one", b"two"]


@pytest.mark.parametrize("cut", CUT)
@pytest.mark.parametrize("when", ["waiting", "between"])
def test_a_reset_within_a_frame(loop_name, cut, when):
    codec, data = CUT[cut]

    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, codec)
            receiving = asyncio.ensure_future(framed.recv())
            peer.send(data)
            await turns(10)
            if when == "between":
                receiving.cancel()
                await asyncio.wait([receiving])
                receiving = None
            reset(peer)
            if receiving is None:
                await until(framed.reader.exception)
            for again in (receiving or framed.recv(), framed.recv(), framed.__anext__()):
                with pytest.raises(ConnectionResetError):
                    await again

    drive(main(), loop_name)


@pytest.mark.parametrize("ended_by", ["peer", "us"])
def test_a_send_after_the_end(loop_name, ended_by):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, LinesCodec())
            if ended_by == "peer":
                reset(peer)
                await until(end.reader.exception)
            else:
                framed.close()
                await framed.wait_closed()
            for send in (lambda: framed.send(b"frame"), lambda: framed.send_many([b"frame"])):
                with pytest.raises(ConnectionResetError):
                    await send()

    drive(main(), loop_name)


def test_an_end_within_a_frame_that_is_passed_over(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, LengthDelimitedCodec(limit=10))
            peer.send(b"\0\0\0\x64" + b"x" * 50)
            peer.close()
            with pytest.raises(FrameTooLarge):
                await framed.recv()
            with pytest.raises(asyncio.IncompleteReadError):
                await framed.recv()

    drive(main(), loop_name)


# --- limits ---

LARGE = {
    "lines": (LinesCodec(limit=1000), b"x" * 3_000_000 + b"\r\n", b"next\n", b"next"),
    "text": (LinesCodec(limit=1000, encoding="ascii"), b"\xff" * 3_000_000 + b"\n", b"next\n", "next"),
    "JSON": (JsonLinesCodec(limit=1000), b"[" * 3_000_000 + b"\n", b'"next"\n', "next"),
    "4 bytes": (
        LengthDelimitedCodec(limit=1000),
        (3_000_000).to_bytes(4, "big") + bytes(3_000_000),
        b"\0\0\0\1n",
        b"n",
    ),
}


@pytest.mark.parametrize("codec", LARGE)
def test_a_frame_over_the_limit_is_passed_over_and_the_next_one_comes(loop_name, codec):
    codec, large, behind, following = LARGE[codec]

    async def main():
        async with against_raw(limit=1000) as (end, peer):
            framed = Framed(*end, codec)
            most = 0

            async def send():
                for data in (large, behind, large[: -len(large) // 2], large[-len(large) // 2 :], behind):
                    await asyncio.get_running_loop().sock_sendall(peer, data)

            sending = asyncio.ensure_future(send())
            got = []
            for _ in range(2):
                with pytest.raises(FrameTooLarge) as raised:
                    await framed.recv()
                assert raised.value.limit == 1000
                most = max(most, end.reader._buffer.capacity)
                got.append(await framed.recv())
                most = max(most, end.reader._buffer.capacity)
            await sending
            return got, most

    got, most = drive(main(), loop_name)
    assert got == [following] * 2
    assert most <= 16384


@pytest.mark.parametrize("codec", LARGE)
def test_a_frame_over_the_limit_is_not_sent(loop_name, codec):
    codec, _, behind, following = LARGE[codec]

    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, codec)
            with pytest.raises(FrameTooLarge):
                await framed.send(following * 1001)
            await framed.send(following)
            framed.close()
            return await recv_all(peer)

    assert drive(main(), loop_name) == behind


class Endless(Codec):
    """Never a frame."""

    limit = 1000

    def __init__(self, need=0):
        self.always = need

    def decode(self, buffer):
        self.need = self.always
        return MISSING

    def encode(self, frame):
        return [frame]


def test_over_the_limit_of_a_users_codec_nothing_is_received_but_sent(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, Endless())
            await asyncio.get_running_loop().sock_sendall(peer, bytes(2000))
            for _ in range(3):
                with pytest.raises(FrameTooLarge) as raised:
                    await framed.recv()
                assert (raised.value.size, raised.value.limit) == (None, 1000)
            await framed.send(b"still here")
            return await asyncio.get_running_loop().sock_recv(peer, 100)

    assert drive(main(), loop_name) == b"still here"


def test_a_need_over_the_limit_does_not_lift_it(loop_name):
    """As a codec may say that has read the size of a frame and leaves the limit to Framed."""

    async def main():
        async with against_raw(limit=1000) as (end, peer):
            receiving = asyncio.ensure_future(Framed(*end, Endless(need=1 << 30)).recv())
            await turns()
            sent = 0
            while sent < 4 << 20 and not receiving.done():
                with contextlib.suppress(BlockingIOError):
                    sent += peer.send(bytes(65536))
                await turns(1)
            if not receiving.done():
                receiving.cancel()
            with pytest.raises(FrameTooLarge):
                await receiving

    drive(main(), loop_name)


class Sized(Codec):
    """A size in two bytes. Says what it needs where it knows, and leaves that there."""

    def decode(self, buffer):
        if len(buffer) < 2 or len(buffer) < (size := 2 + buffer.peek_u16()):
            self.need = size - len(buffer) if len(buffer) >= 2 else self.need
            return MISSING
        buffer.advance(2)
        return buffer.get_bytes(size - 2)


def test_the_need_of_one_frame_is_not_that_of_the_next(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, Sized())
            got = []
            for parts in ((b"\x27\x10" + b"x" * 10, b"x" * 9_990), (b"\0\3abc",)):
                receiving = asyncio.ensure_future(framed.recv())
                for part in parts:
                    await turns(10)
                    peer.send(part)
                await until(lambda receiving=receiving: end.reader._buffer or receiving.done())
                await turns(10)
                receiving.done() or receiving.cancel()
                got.append(await receiving)
            return got

    assert drive(main(), loop_name) == [b"x" * 10_000, b"abc"]


# --- the connection ---


def test_one_codec_serves_many_connections(loop_name):
    """What it keeps of a frame is of one connection."""
    codec = LengthDelimitedCodec(1)

    async def serve(reader, writer):
        async with Framed(reader, writer, codec) as framed:
            async for frame in framed:
                await framed.send(frame + b"!")

    async def ask(port, n):
        end = End(*await open_connection(HOST, port))
        framed = Framed(*end, codec)
        data = bytes([7]) + b"%03d of " % n
        for byte in data[:-1]:
            framed.writer.write(bytes([byte]))
            await turns(2)
        framed.writer.write(data[-1:])
        answer = await framed.recv()
        framed.close()
        await framed.wait_closed()
        return answer

    async def main():
        async with serving(serve) as port:
            return await asyncio.gather(*(ask(port, n) for n in range(10)))

    assert drive(main(), loop_name) == [b"%03d of !" % n for n in range(10)]


def test_the_end_of_a_with_block_closes(loop_name):
    async def main():
        async with pair() as (here, there):
            async with Framed(*here, LinesCodec()) as framed:
                await framed.send(b"bye")
                assert not framed.is_closing()
            assert framed.is_closing()
            await framed.wait_closed()
            return await there.reader.read()

    assert drive(main(), loop_name) == b"bye\n"


def test_the_error_within_a_with_block_is_the_one_that_is_seen(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            with pytest.raises(KeyError):
                async with Framed(*end, LinesCodec()):
                    reset(peer)
                    await until(end.reader.exception)
                    raise KeyError

    drive(main(), loop_name)


def test_a_with_block_raises_what_ended_the_connection(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            with pytest.raises(ConnectionResetError):
                async with Framed(*end, LinesCodec()):
                    reset(peer)
                    await until(end.reader.exception)

    drive(main(), loop_name)


def test_a_cancelled_send_has_queued_its_frame(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, LinesCodec())
            await fill(end)
            sending = asyncio.ensure_future(framed.send(b"last"))
            await turns()
            sending.cancel()
            await asyncio.wait([sending])
            assert sending.cancelled()
            reading = asyncio.ensure_future(recv_all(peer))
            framed.close()
            return (await reading).lstrip(b"\0")

    assert drive(main(), loop_name) == b"last\n"


@pytest.mark.parametrize("where", ["in it", "at its end"])
def test_a_cancelled_with_block_does_not_wait_for_a_slow_peer(loop_name, where):
    async def main():
        async with against_raw() as (end, _):

            async def block():
                async with Framed(*end, LinesCodec()) as framed:
                    await fill(end)
                    if where == "in it":
                        await framed.send(b"more")

            leaving = asyncio.ensure_future(block())
            while not end.writer._protocol._drains and not end.writer._protocol._closes:
                await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
            await end.writer.wait_closed()
            return leaving.cancelled()

    assert drive(main(), loop_name)


def test_send_many_waits_for_a_slow_peer(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, LinesCodec())
            end.writer.transport.set_write_buffer_limits(high=1000)
            taken = 0

            def frames():
                nonlocal taken
                for _ in range(20_000):
                    taken += 1
                    yield b"x" * 999

            sending = asyncio.ensure_future(framed.send_many(frames()))
            await until(lambda: end.writer._protocol._paused)
            await turns(20)
            before = taken
            reading = asyncio.ensure_future(recv_all(peer))
            count = await sending
            framed.close()
            return before, count, len(await reading)

    before, count, size = drive(main(), loop_name)
    assert before < 20_000
    assert (count, size) == (20_000, 20_000_000)


@pytest.mark.parametrize("bad", [b"two\nlines", 5, None])
def test_send_many_sends_what_comes_before_a_frame_that_is_refused(loop_name, bad):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, LinesCodec())
            with pytest.raises((ValueError, TypeError)):
                await framed.send_many([b"one", b"two", bad, b"never"])
            framed.close()
            return await recv_all(peer)

    assert drive(main(), loop_name) == b"one\ntwo\n"


def test_two_receives_at_once_are_refused(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, LengthDelimitedCodec(1))
            peer.send(b"\x03a")
            receiving = asyncio.ensure_future(framed.recv())
            await turns(10)
            with pytest.raises(RuntimeError):
                await framed.recv()
            peer.send(b"bc")
            return await receiving

    assert drive(main(), loop_name) == b"abc"


@OVER
def test_receives_cancelled_at_random_lose_no_frame(loop_name, tls, rng):
    frames = [b"%05d" % n + b"." * rng.randrange(100) for n in range(400)]

    async def main():
        async with pair(tls, limit=200) as ends:
            here, there = (Framed(*end, LengthDelimitedCodec(3)) for end in ends)

            async def send():
                for piece in pieces(encoded(here.codec, frames), random.Random(rng.random()), 500):
                    here.writer.write(piece)
                    await turns(rng.randrange(3))
                here.close()

            sending = asyncio.ensure_future(send())
            got = []
            with contextlib.suppress(EOFError):
                while True:
                    receiving = asyncio.ensure_future(there.recv())
                    if rng.random() < 0.5:
                        await turns(rng.randrange(3))
                        receiving.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        got.append(await receiving)
            await sending
            return got

    assert drive(main(), loop_name) == frames


def test_a_plain_read_between_two_receives(loop_name):
    """A cancelled recv() has taken nothing, so what it had seen may be taken otherwise."""

    async def main():
        async with against_raw() as (end, peer):
            framed = Framed(*end, LinesCodec())
            peer.send(b"abc")
            await until(lambda: end.reader._buffer)
            receiving = asyncio.ensure_future(framed.recv())
            await turns()
            receiving.cancel()
            await asyncio.wait([receiving])
            first = await end.reader.read(3)
            peer.send(b"x\nyyyy\n")
            await until(lambda: end.reader._buffer)
            return first, await framed.recv()

    assert drive(main(), loop_name) == (b"abc", b"x")
