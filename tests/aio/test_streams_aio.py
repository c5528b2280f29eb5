"""Readers and writers of ferrule.aio.streams over sockets and TLS, on each kind of loop."""

import array
import asyncio
import contextlib
import gc
import socket

import pytest

from ferrule import Bytes, BytesMut
from ferrule.aio.streams import BytesProtocol, StreamWriter, open_connection
from tests.support.driver import turns
from tests.support.streams import (
    HOST,
    OVER,
    End,
    against_raw,
    contexts,
    drive,
    fill,
    pair,
    pieces,
    raw_connection,
    recv_all,
    reset,
    serving,
    until,
)

NUMBERED = b"".join(b"%07d\n" % n for n in range(20_000))


# --- reads ---

TEXT = b"one\ntwo\r\n\nthree--four--\x00\xff\nlast"

CALLS = {
    "lines": [lambda r: r.readline()] * 7,
    "counted": [lambda r, n=n: r.readexactly(n) for n in (0, 1, 5, 20, 100, 1)],
    "whole": [lambda r: r.readexactly(len(TEXT)), lambda r: r.read(), lambda r: r.read(5), lambda r: r.readline()],
    "read": [lambda r, n=n: r.read(n) for n in (0, 3, 10, 1000, 1, -1)],
    "rest": [lambda r: r.readline(), lambda r: r.read(-1), lambda r: r.readuntil(b"x")],
    "until": [
        lambda r: r.readuntil(b"--"),
        lambda r: r.readuntil(bytearray(b"--\x00")),
        lambda r: r.readuntil(b"nowhere"),
        lambda r: r.readuntil(),
    ],
    "refused": [lambda r: r.readexactly(-1), lambda r: r.readuntil(b""), lambda r: r.readline()],
}

OVER_THE_LIMIT = b"exactly10!\nmore than10\nok\nfar more than 10, not ended"


async def outcomes(connect, data, calls, **options):
    """What each call gives or raises, once all the data have come."""
    ours, peer = raw_connection()
    with peer:
        reader, writer = await connect(sock=ours, **options)
        await asyncio.get_running_loop().sock_sendall(peer, data)
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: len(reader._buffer) == len(data))
        seen = []
        for call in calls:
            try:
                result = await call(reader)
                seen.append((bytes(result), reader.at_eof()))
            except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
                partial = bytes(getattr(error, "partial", b""))
                seen.append((type(error), partial, getattr(error, "expected", 0), getattr(error, "consumed", 0)))
        await End(reader, writer).close()
    return seen


@pytest.mark.parametrize("calls", CALLS)
def test_reads_give_what_asyncios_give(loop_name, calls):
    async def main():
        return [await outcomes(kind, TEXT, CALLS[calls]) for kind in (open_connection, asyncio.open_connection)]

    ours, asyncios = drive(main(), loop_name)
    assert ours == asyncios


@pytest.mark.parametrize("call", [lambda r: r.readline(), lambda r: r.readuntil(), lambda r: r.readuntil(b"ok\n")])
@pytest.mark.parametrize("start", [0, 11, 22, 26])
def test_limits_are_asyncios(loop_name, call, start):
    async def main():
        kinds = (open_connection, asyncio.open_connection)
        return [await outcomes(kind, OVER_THE_LIMIT[start:], [call] * 3, limit=10) for kind in kinds]

    ours, asyncios = drive(main(), loop_name)
    assert ours == asyncios


@pytest.mark.parametrize(
    ("separators", "found"),
    [
        ((b"\n", b"\r\n"), b"one\n"),
        ((b"three", b"two"), b"one\ntwo"),
        ((b"two\r\n", b"wo\r"), b"one\ntwo\r"),  # the one that ends first
        ((b"nowhere", bytearray(b"--")), b"one\ntwo\r\n\nthree--"),
    ],
)
def test_the_first_of_several_separators_ends_a_read(loop_name, separators, found):
    async def main():
        async with against_raw() as (end, peer):
            reading = asyncio.ensure_future(end.reader.readuntil(separators))
            for byte in TEXT:
                peer.send(bytes([byte]))
                await turns()
            return await reading

    assert drive(main(), loop_name) == found


@OVER
def test_every_kind_of_read_gets_a_stream_in_pieces(loop_name, tls, rng):
    async def main():
        async with pair(tls) as (here, there):

            async def send():
                for piece in pieces(NUMBERED[:80_000], rng):
                    there.writer.write(piece)
                    if rng.random() < 0.3:
                        await there.writer.drain()
                        await asyncio.sleep(0)
                there.writer.close()

            sending = asyncio.ensure_future(send())
            got = []
            while not here.reader.at_eof():
                n = rng.randint(1, 5000)
                call, *args = rng.choice([("read", n), ("readexactly", n), ("readline",), ("readuntil", b"9\n")])
                try:
                    got.append(await getattr(here.reader, call)(*args))
                except asyncio.IncompleteReadError as error:
                    got.append(error.partial)
            await sending
            assert all(type(part) is Bytes for part in got)
            return b"".join(got)

    assert drive(main(), loop_name) == NUMBERED[:80_000]


@OVER
def test_lines_of_an_async_for(loop_name, tls):
    async def main():
        async with pair(tls) as (here, there):
            there.writer.write(NUMBERED[:8000] + b"end")
            there.writer.close()
            return [line async for line in here.reader]

    assert drive(main(), loop_name) == [*NUMBERED[:8000].splitlines(keepends=True), b"end"]


def test_what_comes_before_a_reset_can_be_read_until_it_is_known(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            peer.send(b"before")
            before = await end.reader.readexactly(6)
            waiting = asyncio.ensure_future(end.reader.readline())
            await turns()
            reset(peer)
            with pytest.raises(ConnectionResetError):
                await waiting
            for _ in range(2):
                with pytest.raises(ConnectionResetError):
                    await end.reader.read(1)
            assert isinstance(end.reader.exception(), ConnectionResetError)
            return before

    assert drive(main(), loop_name) == b"before"


@pytest.mark.parametrize("call", [lambda r: r.readline(), lambda r: r.readuntil((b"\n", b"!"))])
def test_data_and_an_error_in_one_tick_end_a_read(loop_name, call):
    async def main():
        async with against_raw() as (end, _):
            reading = asyncio.ensure_future(call(end.reader))
            await turns()
            end.reader.feed_data(b"no end")
            end.reader.feed_data(b"...")
            end.reader.set_exception(KeyError())
            await turns(10)
            assert reading.done() or not reading.cancel()
            with contextlib.suppress(KeyError):
                await reading

    drive(main(), loop_name)


def test_nothing_that_is_fed_ends_no_read(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            reading = asyncio.ensure_future(end.reader.read(5))
            await turns()
            end.reader.feed_data(b"")
            await turns()
            peer.send(b"data")
            return await reading

    assert drive(main(), loop_name) == b"data"


# --- the peer is stopped while nobody reads ---


async def send_what_goes(peer, most):
    """Sends until the other side takes no more; how many bytes went."""
    sent = blocked = 0
    while sent < most and blocked < 30:
        try:
            sent += peer.send(bytes(min(65536, most - sent)))
            blocked = 0
        except BlockingIOError:
            blocked += 1
        await turns(1)
    return sent


@pytest.mark.parametrize("limit", [1, 1000, 65536])
def test_a_reader_keeps_no_more_than_its_limits(loop_name, limit):
    async def main():
        async with against_raw(limit=limit) as (end, peer):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
            sent = await send_what_goes(peer, 64 << 20)
            assert sent < 64 << 20
            assert len(end.reader._buffer) <= max(4 * limit, 2 * limit + 4096)
            assert end.reader._buffer.capacity <= max(8 * limit, 8192)
            assert not end.writer.transport.is_reading()
            peer.shutdown(socket.SHUT_WR)
            return sent, len(await end.reader.read())

    sent, came = drive(main(), loop_name)
    assert came == sent


def test_a_reader_over_tls_keeps_no_more_than_its_limits(loop_name):
    async def main():
        async with pair(tls=True, limit=1000) as (here, there):
            there.writer.write(bytes(20 << 20))
            await turns(300)
            assert here.reader._paused
            assert len(here.reader._buffer) <= 2000 + 4096
            return len(await here.reader.readexactly(20 << 20))

    assert drive(main(), loop_name) == 20 << 20


def test_a_reader_goes_on_once_it_has_half_of_what_it_keeps(loop_name):
    async def main():
        async with against_raw(limit=1000) as (end, peer):
            peer.send(bytes(2001))
            await until(lambda: not end.writer.transport.is_reading())
            seen = [end.writer.transport.is_reading()]
            for n in (1000, 1, 500):
                await end.reader.read(n)
                seen.append(end.writer.transport.is_reading())
            return seen

    assert drive(main(), loop_name) == [False, False, True, True]


@pytest.mark.parametrize("call", [lambda r: r.readexactly(100_000), lambda r: r.read()], ids=["readexactly", "read"])
def test_a_read_of_more_than_is_kept_gets_it(loop_name, call):
    async def main():
        async with against_raw(limit=10) as (end, peer):
            peer.send(bytes(100))
            await until(lambda: not end.writer.transport.is_reading())
            reading = asyncio.ensure_future(call(end.reader))
            await asyncio.get_running_loop().sock_sendall(peer, bytes(99_900))
            peer.shutdown(socket.SHUT_WR)
            return len(await reading)

    assert drive(main(), loop_name) == 100_000


def test_what_waits_at_a_stopped_reader_can_be_read_after_close(loop_name):
    async def main():
        async with against_raw(limit=100) as (end, peer):
            peer.send(bytes(1000))
            await until(lambda: not end.writer.transport.is_reading())
            end.writer.close()
            got = [len(await end.reader.read(950)) for _ in range(2)]
            return [*got, await end.reader.read(1)]

    assert drive(main(), loop_name) == [950, 50, b""]


@OVER
def test_a_connection_on_which_nothing_is_on_its_way_keeps_little(loop_name, tls):
    async def main():
        async with pair(tls) as (here, there):
            for size in (1 << 20, 5_000_000):
                there.writer.write(bytes(size))
                await here.reader.readexactly(size)
                there.writer.write(b"!")
                await here.reader.readexactly(1)
                await turns()
                assert here.reader._buffer.capacity <= (16_384 if tls else 4096)

    drive(main(), loop_name)


@pytest.mark.parametrize("amount", [100, 100_000])
def test_room_follows_what_comes(loop_name, amount):
    async def main():
        rooms = []

        class Receiver(BytesProtocol):
            def get_buffer(self, sizehint):
                view = super().get_buffer(sizehint)
                rooms.append(len(view))
                return view

            def bytes_received(self, buffer):
                self.came += len(buffer)
                buffer.advance(len(buffer))

            came = 0

        ours, peer = raw_connection()
        with peer:
            loop = asyncio.get_running_loop()
            transport, receiver = await loop.create_connection(Receiver, sock=ours)
            for n in range(30):
                await loop.sock_sendall(peer, bytes(amount))
                await until(lambda n=n: receiver.came == (n + 1) * amount)
            transport.abort()
        return rooms

    rooms = drive(main(), loop_name)
    assert rooms[0] < 8192
    assert max(rooms) <= 512 << 10
    assert (max(rooms) >= 64 << 10) is (amount == 100_000)


# --- what was handed out stays as it was ---


@OVER
@pytest.mark.parametrize("size", [8, 100, 5000])
def test_views_stay_valid_while_the_connection_reads_on(loop_name, tls, size):
    async def main():
        async with pair(tls) as (here, there):
            there.writer.write(NUMBERED)
            views, lacking = [], len(NUMBERED)
            while lacking:
                views.append(await here.reader.read(size))
                lacking -= len(views[-1])
                if len(views) % 100 == 0:
                    views[-1] = memoryview(views[-1])  # keeps no Bytes, only their memory
                    await asyncio.sleep(0)
        gc.collect()
        return b"".join(views)

    assert drive(main(), loop_name) == NUMBERED


def test_views_stay_valid_when_all_the_rest_is_gone(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            peer.send(b"first second ")
            first, second = await end.reader.readexactly(6), await end.reader.readexactly(7)
            peer.send(b"x" * 4000)
            await end.reader.readexactly(4000)
            return first, second

    assert drive(main(), loop_name) == (b"first ", b"second ")


# --- writes ---

WORDS = array.array("I", range(100))

BUFFERS = {
    "bytes": b"abc",
    "bytearray": bytearray(b"abc"),
    "Bytes": Bytes(b"abc")[1:],
    "BytesMut": BytesMut(b"abc"),
    "empty": b"",
    "array": WORDS,
    "empty array": array.array("d"),
    "doubles": memoryview(array.array("d", [1.5, 2.5])),
    "chars": memoryview(b"abcd").cast("c"),
    "booleans": memoryview(b"\x00\x01").cast("?"),
    "two dimensions": memoryview(bytes(range(24))).cast("B", [4, 6]),
    "three dimensions": memoryview(bytes(range(48))).cast("H", [2, 3, 4]),
    "none": memoryview(b"a").cast("B", []),
    "read only": memoryview(bytearray(b"abc")).toreadonly(),
    "large": bytes(range(256)) * 1000,
    "large view": memoryview(array.array("Q", range(40_000))),
}


@OVER
@pytest.mark.parametrize("buffer", BUFFERS)
def test_every_kind_of_buffer_can_be_written(loop_name, tls, buffer):
    data = BUFFERS[buffer]

    async def main():
        async with pair(tls) as (here, there):
            here.writer.write(data)
            here.writer.writelines([data, b"|", data])
            here.writer.close()
            return await there.reader.read()

    whole = memoryview(data).tobytes()
    assert drive(main(), loop_name) == whole + whole + b"|" + whole


NO_BUFFERS = {"str": "text", "None": None, "int": 5, "list": [b"abc"], "sparse": memoryview(bytes(8)).cast("H")[::2]}


@pytest.mark.parametrize("data", NO_BUFFERS)
def test_what_is_no_buffer_is_refused_and_changes_nothing(loop_name, data):
    data = NO_BUFFERS[data]

    async def main():
        async with pair() as (here, there):
            with pytest.raises(TypeError):
                here.writer.write(data)
            with pytest.raises(TypeError):
                here.writer.writelines([b"not this", data])
            here.writer.write(b"well")
            here.writer.close()
            return await there.reader.read()

    assert drive(main(), loop_name) == b"well"


def test_bytes_that_do_not_lie_together_are_refused_and_change_nothing(loop_name):
    async def main():
        async with pair() as (here, there):
            with pytest.raises((TypeError, BufferError)):
                here.writer.write(memoryview(b"abcdef")[::2])
            here.writer.write(b"well")
            here.writer.close()
            return await there.reader.read()

    assert drive(main(), loop_name) == b"well"


@OVER
def test_parts_of_every_size_in_one_call(loop_name, tls, rng):
    sizes = [0, 1, 2, 100, 4095, 4096, 65535, 65536, 200_000]
    parts = [bytes([n & 255]) * rng.choice(sizes if n % 50 == 0 else sizes[:4]) for n in range(5000)]

    async def main():
        async with pair(tls) as (here, there):
            here.writer.writelines((bytes, Bytes, bytearray)[n % 3](part) for n, part in enumerate(parts))
            here.writer.writelines([])
            here.writer.writelines([b"", b""])
            here.writer.close()
            return await there.reader.read()

    assert drive(main(), loop_name) == b"".join(parts)


def test_what_was_written_is_let_go_when_it_has_gone(loop_name):
    owner = bytearray(b"x" * 300_000)

    async def main():
        async with pair() as (here, there):
            here.writer.writelines([Bytes.from_owner(owner), Bytes.from_owner(owner)[5:]])
            await there.reader.readexactly(599_995)
            await until(lambda: here.writer.transport.get_write_buffer_size() == 0)

    drive(main(), loop_name)
    gc.collect()
    owner.append(1)  # BufferError if somebody still had an export
    assert len(owner) == 300_001


def test_a_half_closed_connection_answers(loop_name):
    async def main():
        async with pair() as (here, there):
            assert here.writer.can_write_eof()
            here.writer.write(b"question")
            here.writer.write_eof()
            question = await there.reader.read()
            there.writer.write(question + b", answer")
            with pytest.raises(RuntimeError):
                here.writer.write(b"more")
            first = await here.reader.readexactly(8)
            there.writer.close()
            return first, await here.reader.read()

    assert drive(main(), loop_name) == (b"question", b", answer")


def test_there_is_no_half_closed_tls(loop_name):
    async def main():
        async with pair(tls=True) as (here, there):
            assert not here.writer.can_write_eof()
            with pytest.raises(NotImplementedError):
                here.writer.write_eof()
            here.writer.write(b"well")
            return await there.reader.readexactly(4)

    assert drive(main(), loop_name) == b"well"


def test_the_end_of_tls_is_nothing_to_be_logged(loop_name, caplog):
    """A protocol that wanted TLS half-closed would be told that it cannot be."""

    async def main():
        async with pair(tls=True) as (here, there):
            here.writer.close()
            return await there.reader.read()

    assert drive(main(), loop_name) == b""
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []


# --- drain(), wait_closed() ---


def test_drain_returns_at_once_while_there_is_room(loop_name):
    async def main():
        async with against_raw() as (end, _):
            end.writer.write(b"little")
            draining = asyncio.ensure_future(end.writer.drain())
            await turns(1)
            return draining.done()

    assert drive(main(), loop_name)


def test_drain_waits_for_a_slow_peer(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            await fill(end)
            waiting = [asyncio.ensure_future(end.writer.drain()) for _ in range(5)]
            await turns(20)
            assert not any(task.done() for task in waiting)
            reading = asyncio.ensure_future(recv_all(peer))
            await asyncio.gather(*waiting)
            left = end.writer.transport.get_write_buffer_size()
            end.writer.close()
            await reading
            return left

    assert drive(main(), loop_name) <= 100


def test_a_reset_wakes_who_drains_and_who_waits_for_the_end(loop_name):
    async def main():
        async with against_raw() as (end, peer):
            await fill(end)
            calls = [end.writer.drain, end.writer.wait_closed] * 3
            waiting = [asyncio.ensure_future(call()) for call in calls]
            await turns(5)
            reset(peer)
            results = await asyncio.gather(*waiting, return_exceptions=True)
            for call in (end.writer.drain, end.writer.wait_closed):
                with pytest.raises(OSError):
                    await call()
            return results

    results = drive(main(), loop_name)
    assert len(results) == 6
    assert all(isinstance(result, OSError) for result in results)


@OVER
def test_several_wait_for_the_end(loop_name, tls):
    async def main():
        async with pair(tls) as (here, there):
            waiting = [asyncio.ensure_future(here.writer.wait_closed()) for _ in range(3)]
            await turns(5)
            assert not any(task.done() for task in waiting)
            there.writer.close()
            if not tls:
                assert await here.reader.read() == b""
            here.writer.close()
            assert here.writer.is_closing()
            await asyncio.gather(*waiting)
            await here.writer.wait_closed()
            with pytest.raises(ConnectionResetError):
                await here.writer.drain()

    drive(main(), loop_name)


def test_close_sends_what_was_written(loop_name):
    async def main():
        async with pair() as (here, there):
            here.writer.write(bytes(5_000_000))
            here.writer.close()
            return len(await there.reader.read())

    assert drive(main(), loop_name) == 5_000_000


# --- servers ---


async def asked(port, question=b"question\n"):
    """What the server answers until it closes."""
    end = End(*await open_connection(HOST, port))
    end.writer.write(question)
    answer = await end.reader.read()
    await end.close()
    return answer


def test_a_coroutine_serves(loop_name):
    async def serve(reader, writer):
        writer.write(b"re: " + (await reader.readline()).tobytes())
        writer.close()

    async def main():
        async with serving(serve) as port:
            return await asyncio.gather(*(asked(port, b"%d\n" % n) for n in range(20)))

    assert drive(main(), loop_name) == [b"re: %d\n" % n for n in range(20)]


def test_a_plain_function_serves(loop_name):
    def serve(reader, writer):
        writer.write(b"go away")
        writer.close()

    async def main():
        async with serving(serve) as port:
            return await asked(port)

    assert drive(main(), loop_name) == b"go away"


def test_the_arguments_of_a_server(loop_name):
    seen = []

    async def serve(reader, writer):
        seen.append((type(writer), reader._limit, writer.get_extra_info("peername")[0], writer.get_extra_info("x", 5)))
        writer.close()

    async def main():
        async with serving(serve, limit=123, backlog=7) as port:
            return await asked(port, b"")

    assert drive(main(), loop_name) == b""
    assert seen == [(StreamWriter, 123, HOST, 5)]


@OVER
def test_a_coroutine_that_raises_is_reported_and_ends_its_connection(loop_name, tls):
    async def serve(reader, writer):
        writer.write(b"before")
        raise KeyError(await reader.readline())

    async def main():
        server_side, client_side = contexts() if tls else (None, None)
        async with serving(serve, ssl=server_side) as port:
            end = End(*await open_connection(HOST, port, ssl=client_side))
            end.writer.write(b"?\n")
            answer = await end.reader.read()
            await end.close()
            return answer

    reported = []
    assert drive(main(), loop_name, reported) == b"before"
    assert [repr(context["exception"]) for context in reported] == ["KeyError(Bytes(b'?\\n'))"]
    assert "client_connected_cb" in reported[0]["message"]
    assert reported[0]["transport"].is_closing()


def test_a_plain_function_that_raises_is_reported_and_ends_its_connection(loop_name):
    def serve(reader, writer):
        writers.append(writer)
        raise KeyError("at once")

    async def main():
        async with serving(serve) as port:
            end = End(*await open_connection(HOST, port))
            await until(lambda: writers)
            await turns()
            closed = writers[0].is_closing()
            writers.pop().transport.abort()
            await end.close()
            return closed

    reported, writers = [], []
    assert drive(main(), loop_name, reported)
    assert [type(context["exception"]) for context in reported] == [KeyError]


@pytest.mark.parametrize("by", ["itself", "its task"])
def test_a_cancelled_coroutine_ends_its_connection_and_nothing_is_reported(loop_name, by):
    tasks = []

    async def serve(reader, writer):
        tasks.append(asyncio.current_task())
        if by == "itself":
            raise asyncio.CancelledError
        await reader.read()

    async def main():
        async with serving(serve) as port:
            asking = asyncio.ensure_future(asked(port, b""))
            await until(lambda: tasks)
            if by == "its task":
                tasks[0].cancel()
            return await asking

    assert drive(main(), loop_name) == b""
    assert tasks[0].cancelled()


def test_a_server_that_is_closed_goes_on_with_who_is_there(loop_name):
    async def serve(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def main():
        async with serving(serve) as port:
            end = End(*await open_connection(HOST, port))
            end.writer.write(b"still ")
            await turns(20)
        with pytest.raises(OSError):
            await open_connection(HOST, port)
        end.writer.write(b"there\n")
        answer = await end.reader.read()
        await end.close()
        return answer

    assert drive(main(), loop_name) == b"still there\n"


def test_a_unix_socket(loop_name):
    async def main():
        ours, peer = socket.socketpair()
        peer.setblocking(False)
        with peer:
            end = End(*await open_connection(sock=ours))
            end.writer.write(b"ping")
            came = await asyncio.get_running_loop().sock_recv(peer, 10)
            peer.send(b"pong\n")
            answer = await end.reader.readline()
            await end.close()
        return came, answer

    assert drive(main(), loop_name) == (b"ping", b"pong\n")


def test_a_connection_that_is_refused(loop_name):
    async def main():
        async with serving(lambda *_: None) as port:
            pass
        with pytest.raises(OSError):
            await open_connection(HOST, port)
        with pytest.raises(ValueError, match="Limit"):
            await open_connection(HOST, port, limit=0)

    drive(main(), loop_name)
