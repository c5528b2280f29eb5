"""Framed over a reader fed by hand and a fake transport: frames in and out, the end, errors, codecs of one's own."""

import asyncio
import ctypes

import pytest

from ferrule import MISSING, Bytes
from ferrule.aio.streams import (
    Codec,
    Framed,
    FrameTooLarge,
    JsonLinesCodec,
    LengthDelimitedCodec,
    LinesCodec,
    StreamReader,
)
from tests.support.driver import HandLoop, Stepper, complete, run, turns
from tests.support.fake_transport import FakeTransport, GatheringTransport, connect
from tests.support.framing import splits


class Pairs(Codec):
    """Two bytes each; it says what it lacks, and how often it was asked."""

    limit = 10

    def __init__(self):
        self.calls = 0

    def decode(self, buffer):
        self.calls += 1
        self.need = 2 - len(buffer)
        return MISSING if len(buffer) < 2 else bytes(buffer.get_bytes(2))

    def encode(self, frame):
        yield frame[:1]
        yield frame[1:]


class Until(Codec):
    """What ends with "!"; never more than 10 bytes."""

    limit = 10

    def decode(self, buffer):
        return MISSING if (frame := buffer.try_get_until(b"!")) is None else frame

    def encode(self, frame):
        return [frame, b"!"]


class Picky(Until):
    """It refuses what begins with "?", and has taken it by then."""

    def decode(self, buffer):
        frame = super().decode(buffer)
        if frame is not MISSING and frame.startswith(b"?"):
            raise KeyError(bytes(frame))
        return frame


class Rest(Until):
    """What stands behind the last "!" is a frame as well."""

    def decode_eof(self, buffer):
        frame = self.decode(buffer)
        return buffer.get_bytes(len(buffer)) if frame is MISSING and buffer else frame


def receiving(codec, *parts, eof=False, limit=65536):
    """A Framed to which the parts have come; it has nobody to send to."""
    reader = StreamReader(limit, HandLoop())
    for part in parts:
        reader.feed_data(part)
    if eof:
        reader.feed_eof()
    return Framed(reader, None, codec)


def received(framed):
    """All frames until one has to wait, with the type of what ends them."""
    frames = []
    while True:
        recv = Stepper(framed.recv())
        if not recv.step():
            recv.close()
            return frames
        try:
            frames.append(recv.result())
        except (EOFError, ValueError) as error:
            frames.append(type(error))
            if isinstance(error, EOFError):
                return frames


def framed_over(body, codec, transport=None):
    """Runs body(framed, transport) over a fake transport, and closes; what it gives."""

    async def main():
        reader, writer, made = await connect(transport)
        async with Framed(reader, writer, codec) as framed:
            return await body(framed, made)

    return run(main())


STREAMS = {
    "lines": (LinesCodec(), b"ab\n\r\nc", [b"ab", b"", b"c"]),
    "text": (LinesCodec(encoding="utf-8"), "ü\nb\n".encode(), ["ü", "b"]),
    "length-delimited": (LengthDelimitedCodec(2), b"\0\1a\0\0\0\2bc", [b"a", b"", b"bc"]),
    "json": (JsonLinesCodec(), b'[1]\n\n{"a":2}', [[1], {"a": 2}]),
    "one's own": (Until(), b"ab!!c!", [b"ab!", b"!", b"c!"]),
    "one's own, with need": (Pairs(), b"abcdef", [b"ab", b"cd", b"ef"]),
    "one's own, with an end": (Rest(), b"ab!c", [b"ab!", b"c"]),
}


# --- receiving ---


@pytest.mark.parametrize("kind", STREAMS)
def test_frames_in_every_split(kind):
    codec, stream, frames = STREAMS[kind]
    for parts in splits(stream):
        assert received(receiving(codec, *parts, eof=True)) == [*frames, EOFError]


@pytest.mark.parametrize("kind", STREAMS)
def test_frames_in_every_split_as_they_come(kind):
    """The receiver waits for each part."""
    codec, stream, frames = STREAMS[kind]

    async def main():
        for parts in splits(stream):
            framed, got = Framed(StreamReader(), None, codec), []
            receiver = asyncio.create_task(collect(framed, got))
            for part in parts:
                await turns(2)
                framed.reader.feed_data(part)
            framed.reader.feed_eof()
            await receiver
            assert got == frames

    run(main())


async def collect(framed, got):
    """All frames up to a clean end."""
    async for frame in framed:
        got.append(frame)


@pytest.mark.parametrize("kind", STREAMS)
def test_a_clean_end_is_eof_error_each_time(kind):
    framed = receiving(STREAMS[kind][0], eof=True)
    for _ in range(2):
        with pytest.raises(EOFError) as error:
            complete(framed.recv())
        assert type(error.value) is EOFError


@pytest.mark.parametrize(
    ("codec", "stream", "partial"),
    [
        (LengthDelimitedCodec(2), b"\0\1a\0", b"\0"),
        (LengthDelimitedCodec(2), b"\0\1a\0\3bc", b"\0\3bc"),
        (LengthDelimitedCodec(2, "little", includes_length=True), b"\3\0a\5\0bc", b"\5\0bc"),
        (Until(), b"a!bc", b"bc"),
        (Pairs(), b"abc", b"c"),
    ],
)
def test_an_end_within_a_frame_gives_what_there_was(codec, stream, partial):
    for parts in splits(stream):
        framed = receiving(codec, *parts, eof=True)
        complete(framed.recv())
        with pytest.raises(asyncio.IncompleteReadError) as error:
            complete(framed.recv())
        assert (error.value.partial, error.value.expected) == (partial, None)
        assert type(error.value.partial) is Bytes
        with pytest.raises(EOFError) as error:
            complete(framed.recv())
        assert type(error.value) is EOFError


def test_an_end_that_comes_while_recv_waits_gives_what_there_was():
    framed = receiving(LengthDelimitedCodec(1), b"\5ab")
    recv = Stepper(framed.recv())
    recv.step()
    framed.reader.feed_eof()
    assert recv.step()
    with pytest.raises(asyncio.IncompleteReadError) as error:
        recv.result()
    assert error.value.partial == b"\5ab"


def test_a_loop_ends_at_a_clean_end():
    got = []
    complete(collect(receiving(LinesCodec(), b"a\nb\n", eof=True), got))
    assert got == [b"a", b"b"]


def test_a_loop_raises_for_a_frame_cut_short():
    got = []
    with pytest.raises(asyncio.IncompleteReadError) as error:
        complete(collect(receiving(Until(), b"a!b", eof=True), got))
    assert (got, error.value.partial) == ([b"a!"], b"b")


def test_a_loop_goes_on_behind_an_error():
    framed = receiving(LinesCodec(limit=3), b"a\n12345\nb\n", eof=True)
    first, second = [], []
    with pytest.raises(FrameTooLarge):
        complete(collect(framed, first))
    complete(collect(framed, second))
    assert (first, second) == ([b"a"], [b"b"])


def test_an_error_of_the_connection_is_raised():
    framed = receiving(LinesCodec(), b"a\n")
    framed.reader.set_exception(OSError("gone"))
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            complete(framed.recv())


def test_an_error_of_the_connection_reaches_the_recv_that_waits():
    framed = receiving(LinesCodec())
    recv = Stepper(framed.recv())
    recv.step()
    framed.reader.set_exception(OSError("gone"))
    assert recv.step()
    with pytest.raises(OSError, match="gone"):
        recv.result()


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("late", [False, True], ids=["before more came", "after more came"])
def test_a_cancelled_recv_loses_nothing(kind, late):
    codec, stream, frames = STREAMS[kind]
    for n in range(len(stream)):
        framed = receiving(codec, stream[:n])
        got = []
        recv = Stepper(framed.recv())
        while recv.step():
            got.append(recv.result())
            recv = Stepper(framed.recv())
        if late:
            framed.reader.feed_data(stream[n:])
        recv.cancel()
        recv.step()
        assert recv.cancelled
        if not late:
            framed.reader.feed_data(stream[n:])
        framed.reader.feed_eof()
        assert got + received(framed) == [*frames, EOFError]


def test_two_cannot_wait_at_once():
    framed = receiving(LinesCodec())
    first = Stepper(framed.recv())
    first.step()
    with pytest.raises(RuntimeError, match="already waiting"):
        complete(framed.recv())
    framed.reader.feed_data(b"a\n")
    assert first.step()
    assert first.result() == b"a"


def test_what_is_known_to_be_lacking_is_waited_for_at_once():
    frame = bytes(range(250)) * 20
    framed = receiving(LengthDelimitedCodec(2), len(frame).to_bytes(2, "big"))
    recv = Stepper(framed.recv())
    recv.step()
    for at in range(0, 4000, 1000):
        framed.reader.feed_data(frame[at : at + 1000])
        assert not recv.future.done()
    framed.reader.feed_data(frame[4000:])
    assert recv.step()
    assert recv.result() == frame


def test_a_received_frame_does_not_change_when_more_comes():
    framed = receiving(LengthDelimitedCodec(1), b"\x05first")
    first = complete(framed.recv())
    for n in range(100):
        framed.reader.feed_data(b"\xff" + bytes([n]) * 255)
        complete(framed.recv())
    assert first == b"first"


# --- what is too large ---


@pytest.mark.parametrize(
    ("codec", "stream"),
    [
        (LinesCodec(limit=3), b"ab\n12345678\ncd\n"),
        (JsonLinesCodec(limit=4), b'"ab"\n12345678\n"cd"\n'),
        (LengthDelimitedCodec(1, limit=3), b"\2ab\x0812345678\2cd"),
        (
            LengthDelimitedCodec(8, "little", limit=3),
            b"\2" + b"\0" * 7 + b"ab\4" + b"\0" * 7 + b"1234\2" + b"\0" * 7 + b"cd",
        ),
    ],
)
def test_a_frame_over_the_limit_is_an_error_and_the_next_follows(codec, stream):
    for parts in splits(stream):
        got = received(receiving(codec, *parts, eof=True))
        plain = [bytes(frame) if isinstance(frame, Bytes) else frame for frame in got]
        assert plain in ([b"ab", FrameTooLarge, b"cd", EOFError], ["ab", FrameTooLarge, "cd", EOFError])


@pytest.mark.parametrize("codec", [LinesCodec(limit=1000), LengthDelimitedCodec(8, limit=1000)])
def test_a_frame_over_the_limit_is_passed_over_in_little_memory(codec):
    """What has come of it is gone before the next part comes."""

    async def body(framed, transport):
        recv = asyncio.create_task(framed.recv())
        transport.deliver(b"\x7f" + b"x" * 2000)
        await turns()
        assert type(recv.exception()) is FrameTooLarge
        recv = asyncio.create_task(framed.recv())
        for _ in range(50):
            await turns(1)
            transport.deliver(b"x" * 10_000)
        await turns()
        assert not recv.done()
        assert "bytes" not in repr(framed.reader)
        recv.cancel()
        await turns()

    framed_over(body, codec)


def test_an_end_within_a_frame_that_is_passed_over_is_no_clean_one():
    framed = receiving(LengthDelimitedCodec(1, limit=3), b"\x08123", eof=True)
    with pytest.raises(FrameTooLarge):
        complete(framed.recv())
    with pytest.raises(asyncio.IncompleteReadError):
        complete(framed.recv())


def test_the_end_within_a_line_that_is_passed_over_is_its_end():
    framed = receiving(LinesCodec(limit=3), b"ab\n12345678", eof=True)
    assert received(framed) == [b"ab", FrameTooLarge, EOFError]


@pytest.mark.parametrize("waiting", [9, 10])
def test_a_codec_of_ones_own_may_have_its_limit_waiting(waiting):
    framed = receiving(Until(), b"x" * waiting)
    assert received(framed) == []
    framed.reader.feed_data(b"!")
    assert received(framed) == [b"x" * waiting + b"!"]


@pytest.mark.parametrize("waiting", [27, 50, 100_000])
def test_more_than_its_limit_is_an_error_each_time(waiting):
    framed = receiving(Until(), b"x" * waiting)
    for _ in range(3):
        with pytest.raises(FrameTooLarge) as error:
            complete(framed.recv())
        assert (error.value.size, error.value.limit) == (None, 10)


@pytest.mark.parametrize("waiting", [11, 26])
def test_one_more_than_its_limit_is_an_error(waiting):
    with pytest.raises(FrameTooLarge):
        complete(receiving(Until(), b"x" * waiting).recv())


@pytest.mark.parametrize("later", ["the rest of it", "the end"])
def test_more_than_its_limit_stays_an_error_whatever_comes(later):
    framed = receiving(Until(), b"x" * 50)
    with pytest.raises(FrameTooLarge):
        complete(framed.recv())
    framed.reader.feed_data(b"!a!") if later == "the rest of it" else framed.reader.feed_eof()
    with pytest.raises(FrameTooLarge):
        complete(framed.recv())


def test_sending_works_on_behind_it():
    async def body(framed, transport):
        transport.deliver(b"x" * 50)
        with pytest.raises(FrameTooLarge):
            await framed.recv()
        await framed.send(b"sorry")
        return transport.sent

    assert framed_over(body, Until()) == b"sorry!"


def test_whole_frames_may_be_larger_than_the_limit_together():
    assert len(received(receiving(Until(), b"ab!" * 100))) == 100


@pytest.mark.parametrize("limit", [1, 100])
def test_the_limit_of_the_reader_does_not_bound_a_frame(limit):
    framed = receiving(LengthDelimitedCodec(), (100_000).to_bytes(4, "big"), bytes(100_000), limit=limit)
    assert len(complete(framed.recv())) == 100_000


def test_a_length_that_cannot_be_is_an_error_each_time():
    framed = receiving(LengthDelimitedCodec(1, includes_length=True), b"\0\2a\2b")
    for _ in range(3):
        with pytest.raises(ValueError):
            complete(framed.recv())


def test_an_error_of_a_codec_of_ones_own_is_raised_and_the_next_follows():
    framed = receiving(Picky(), b"a!?b!c!")
    assert complete(framed.recv()) == b"a!"
    with pytest.raises(KeyError):
        complete(framed.recv())
    assert complete(framed.recv()) == b"c!"


@pytest.mark.parametrize("frame", [None, 0, b"", [], False])
def test_a_frame_may_be_anything_but_missing(frame):
    class Constant(Codec):
        def decode(self, buffer):
            return frame if buffer.try_get_u8() is not None else MISSING

    assert received(receiving(Constant(), b"ab", eof=True)) == [frame, frame, EOFError]


# --- back-pressure ---


def test_receiving_stops_and_goes_on_with_the_reader():
    reader = StreamReader(10, HandLoop())
    reader.set_transport(transport := FakeTransport())
    framed = Framed(reader, None, LinesCodec())
    reader.feed_data(b"12345678\n" * 3)
    assert transport.reading == ["pause"]
    complete(framed.recv())
    assert transport.reading == ["pause"]
    complete(framed.recv())
    assert transport.reading == ["pause", "resume"]


@pytest.mark.parametrize("codec", [LinesCodec(), LinesCodec(limit=20), LengthDelimitedCodec(1, limit=20)])
def test_a_frame_larger_than_what_may_wait_lets_reading_go_on(codec):
    reader = StreamReader(10, HandLoop())
    reader.set_transport(transport := FakeTransport())
    framed = Framed(reader, None, codec)
    reader.feed_data(b"\x7f" + b"x" * 50)
    recv = Stepper(framed.recv())
    if recv.step():
        with pytest.raises(FrameTooLarge):
            recv.result()
    assert transport.reading == ["pause", "resume"]
    recv.close()


# --- sending ---


@pytest.mark.parametrize(
    ("codec", "frame", "sent"),
    [
        (LinesCodec(), b"ab", b"ab\n"),
        (LinesCodec(encoding="utf-8"), "ü", "ü\n".encode()),
        (JsonLinesCodec(), {"a": 1}, b'{"a":1}\n'),
        (LengthDelimitedCodec(2, includes_length=True), b"ab", b"\0\4ab"),
        (Until(), b"ab", b"ab!"),
        (Pairs(), b"ab", b"ab"),
    ],
)
@pytest.mark.parametrize("kind", [FakeTransport, GatheringTransport])
def test_a_frame_is_sent(codec, frame, sent, kind):
    async def body(framed, transport):
        assert await framed.send(frame) is None
        return transport.sent

    assert framed_over(body, codec, kind()) == sent


def test_a_large_frame_is_sent_without_a_copy():
    async def body(framed, transport):
        frame = Bytes(b"x" * 200_000)
        await framed.send(frame)
        (view,) = [part for part in transport.written if len(part) == 200_000]
        assert view.obj is frame
        assert transport.sent == (200_000).to_bytes(4, "big") + frame

    framed_over(body, LengthDelimitedCodec(), GatheringTransport())


@pytest.mark.parametrize(
    ("codec", "frame", "error", "good"),
    [
        (LinesCodec(limit=3), b"1234", FrameTooLarge, b"123"),
        (LinesCodec(), b"a\nb", ValueError, b"ab"),
        (LengthDelimitedCodec(1), bytes(256), FrameTooLarge, bytes(255)),
        (LengthDelimitedCodec(limit=3), bytes(4), FrameTooLarge, bytes(3)),
        (JsonLinesCodec(limit=3), "12", FrameTooLarge, "1"),
        (JsonLinesCodec(), {1}, (TypeError, ValueError), [1]),
        (Pairs(), 5, TypeError, b"ab"),
    ],
)
def test_a_frame_that_cannot_be_encoded_writes_nothing(codec, frame, error, good):
    async def body(framed, transport):
        with pytest.raises(error):
            await framed.send(frame)
        assert transport.written == []
        await framed.send(good)
        assert transport.sent == b"".join(codec.encode(good))

    framed_over(body, codec)


def test_an_error_in_the_midst_of_encoding_writes_nothing():
    class Half(Codec):
        def encode(self, frame):
            yield b"half"
            raise ZeroDivisionError

    async def body(framed, transport):
        with pytest.raises(ZeroDivisionError):
            await framed.send(1)
        assert transport.written == []

    framed_over(body, Half())


def test_send_waits_while_the_peer_is_slow():
    async def body(framed, transport):
        transport.protocol.pause_writing()
        send = asyncio.create_task(framed.send(b"a"))
        await turns()
        assert (send.done(), transport.sent) == (False, b"a\n")
        transport.protocol.resume_writing()
        await send

    framed_over(body, LinesCodec())


def test_frames_of_many_tasks_are_each_written_whole():
    async def body(framed, transport):
        transport.protocol.pause_writing()
        sends = [asyncio.create_task(framed.send(bytes([65 + n]) * 2)) for n in range(20)]
        await turns()
        transport.protocol.resume_writing()
        await asyncio.gather(*sends)
        return transport.sent

    assert sorted(framed_over(body, Pairs())[::2]) == [65 + n for n in range(20)]


def test_a_cancelled_send_has_queued_its_frame():
    async def body(framed, transport):
        transport.protocol.pause_writing()
        send = asyncio.create_task(framed.send(b"a"))
        await turns()
        send.cancel()
        await turns()
        assert send.cancelled()
        transport.protocol.resume_writing()
        await framed.send(b"b")
        return transport.sent

    assert framed_over(body, LinesCodec()) == b"a\nb\n"


@pytest.mark.parametrize("count", [0, 1, 2, 511, 512, 513, 2000])
def test_send_many_says_how_many(count):
    async def body(framed, transport):
        assert await framed.send_many(b"%d" % n for n in range(count)) == count
        assert len(transport.written) <= count // 256 + 1
        return transport.sent

    assert framed_over(body, LinesCodec()) == b"".join(b"%d\n" % n for n in range(count))


def test_send_many_takes_frames_of_all_sizes_in_order():
    frames = [bytes([n % 256]) * (n * 7919 % 150_000) for n in range(40)]

    async def body(framed, transport):
        assert await framed.send_many(frames) == len(frames)
        return transport.sent

    expected = b"".join(len(frame).to_bytes(4, "big") + frame for frame in frames)
    for kind in (FakeTransport, GatheringTransport):
        assert framed_over(body, LengthDelimitedCodec(), kind()) == expected


def test_send_many_writes_small_frames_together():
    async def body(framed, transport):
        await framed.send_many([b"a"] * 100)
        return len(transport.written)

    assert framed_over(body, LinesCodec()) == 1


def test_send_many_waits_before_it_asks_for_ever_more():
    """It does not take all frames of an endless source while the peer is slow."""
    asked = []

    def frames():
        for n in range(100_000):
            asked.append(n)
            yield b"x" * 1000

    async def body(framed, transport):
        transport.protocol.pause_writing()
        send = asyncio.create_task(framed.send_many(frames()))
        await turns()
        assert not send.done()
        send.cancel()
        await turns()
        assert len(transport.sent) == len(asked) * 1001
        return len(asked)

    assert framed_over(body, LinesCodec()) <= 200


def test_send_many_takes_each_part_that_send_takes():
    class Numbers(Codec):
        def encode(self, frame):
            return [ctypes.c_uint16(frame)]

    async def body(framed, transport):
        await framed.send(0)
        assert await framed.send_many([0, 0]) == 2
        return transport.sent

    assert framed_over(body, Numbers()) == bytes(6)


def test_an_error_of_one_frame_ends_send_many_behind_those_before():
    async def body(framed, transport):
        with pytest.raises(ValueError, match="newline"):
            await framed.send_many([b"a", b"b", b"c\n", b"d"])
        assert transport.sent == b"a\nb\n"
        assert await framed.send_many([b"e"]) == 1
        return transport.sent

    assert framed_over(body, LinesCodec()) == b"a\nb\ne\n"


def test_an_error_of_the_source_ends_send_many_behind_those_before():
    def frames():
        yield b"a"
        raise ZeroDivisionError

    async def body(framed, transport):
        with pytest.raises(ZeroDivisionError):
            await framed.send_many(frames())
        return transport.sent

    assert framed_over(body, LinesCodec()) == b"a\n"


def test_a_lost_connection_ends_what_is_sent_and_the_wait_for_its_end():
    async def main():
        reader, writer, transport = await connect()
        framed = Framed(reader, writer, LinesCodec())
        transport.lose(OSError("gone"))
        for call in (framed.send(b"a"), framed.send_many([b"a"]), framed.wait_closed()):
            with pytest.raises(OSError, match="gone"):
                await call

    run(main())


# --- the rest ---


def test_one_codec_serves_many_connections():
    pattern = LengthDelimitedCodec(1, limit=5)
    connections = [receiving(pattern) for _ in range(3)]
    for n, framed in enumerate(connections):  # each stops at another place of a frame
        framed.reader.feed_data(b"\x03abc"[: n + 1])
        assert received(framed) == []
    for n, framed in enumerate(connections):
        framed.reader.feed_data(b"\x03abc"[n + 1 :])
        assert received(framed) == [b"abc"]
    assert received(receiving(pattern, b"\x01a")) == [b"a"]


def test_the_codec_is_a_copy():
    pattern = Pairs()
    framed = receiving(pattern, b"abcd")
    assert framed.codec is not pattern
    assert type(framed.codec) is Pairs
    received(framed)
    assert framed.codec.calls == 3
    assert pattern.calls == 0


def test_what_it_is_made_of_is_there():
    async def main():
        reader, writer, _ = await connect()
        async with Framed(reader, writer, LinesCodec()) as framed:
            assert framed.reader is reader
            assert framed.writer is writer
            assert type(framed.codec) is LinesCodec
            assert "LinesCodec" in repr(framed)

    run(main())


def test_a_block_closes_and_waits():
    async def main():
        reader, writer, transport = await connect()
        async with Framed(reader, writer, LinesCodec()) as framed:
            assert not framed.is_closing()
        assert framed.is_closing()
        assert transport.ended == ["close"]
        assert reader.at_eof()

    run(main())


def test_an_error_within_a_block_is_not_hidden_by_that_of_the_connection():
    async def main():
        reader, writer, transport = await connect()
        async with Framed(reader, writer, LinesCodec()):
            transport.lose(OSError("gone"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(main())


def test_close_and_wait_closed():
    async def body(framed, transport):
        framed.close()
        assert framed.is_closing()
        await framed.wait_closed()
        with pytest.raises(EOFError):
            await framed.recv()

    framed_over(body, LinesCodec())
