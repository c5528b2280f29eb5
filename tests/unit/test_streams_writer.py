"""StreamWriter over a fake transport: what reaches it, drain() and wait_closed(), and a server's callback."""

import asyncio
import gc
import weakref

import pytest

from ferrule import Bytes, BytesMut
from ferrule.aio.streams import start_server
from tests.support.driver import run, turns
from tests.support.fake_transport import FakeTransport, GatheringTransport, connect

DATA = bytes(range(200))
KINDS = {
    "bytes": bytes,
    "bytearray": bytearray,
    "Bytes": Bytes,
    "slice of Bytes": lambda data: Bytes(b"<" + data + b">")[1:-1],
    "BytesMut": BytesMut,
    "memoryview": memoryview,
    "memoryview of numbers": lambda data: memoryview(data).cast("I"),
    "memoryview of rows": lambda data: memoryview(data).cast("B", (20, 10)),
    "memoryview that can be written": lambda data: memoryview(bytearray(data)),
}


def connected(body, transport=None):
    """Runs body(reader, writer, transport) and closes what it leaves open; what it gives."""

    async def main():
        reader, writer, made = await connect(transport)
        try:
            return await body(reader, writer, made)
        finally:
            if not made.is_closing():
                writer.close()
            await turns()

    return run(main())


async def started(*coroutines):
    """Tasks that have run to where they wait."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    await turns()
    return tasks


# --- writing ---


@pytest.mark.parametrize("kind", KINDS)
def test_write_takes_every_buffer(kind):
    async def body(_, writer, transport):
        writer.write(KINDS[kind](DATA))
        assert transport.sent == DATA

    connected(body)


@pytest.mark.parametrize("made", [FakeTransport, GatheringTransport])
@pytest.mark.parametrize("kind", KINDS)
def test_writelines_takes_every_buffer(kind, made):
    async def body(_, writer, transport):
        writer.writelines(iter([KINDS[kind](DATA), b"and", KINDS[kind](DATA)]))
        assert transport.sent == DATA + b"and" + DATA
        writer.writelines((KINDS[kind](DATA),))  # one part goes another way
        assert transport.sent == DATA + b"and" + DATA + DATA

    connected(body, made())


@pytest.mark.parametrize("how", ["write", "writelines"])
def test_a_view_with_gaps_is_written_or_refused(how):
    """asyncio's transport would end the connection."""

    async def body(_, writer, transport):
        view = memoryview(DATA)[::2]
        try:
            writer.write(view) if how == "write" else writer.writelines([view])
        except (BufferError, TypeError, ValueError):
            assert transport.written == []
        else:
            assert all(memoryview(part).contiguous for part in transport.written)
            assert transport.sent == DATA[::2]

    connected(body, GatheringTransport())


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2]])
def test_what_is_no_buffer_is_refused(data):
    async def body(_, writer, transport):
        with pytest.raises(TypeError):
            writer.write(data)
        with pytest.raises(TypeError):
            writer.writelines([b"good", data])
        with pytest.raises(TypeError):
            writer.writelines((data,))
        assert transport.written == []

    connected(body)


def test_large_data_is_not_copied():
    async def body(_, writer, transport):
        large = Bytes(b"x" * 1_000_000)
        writer.write(large)
        writer.writelines([b"small", large, b"small"])
        views = [part for part in transport.written if len(part) == 1_000_000]
        assert [view.obj for view in views] == [large, large]
        assert all(large.slice_ref(view) is not None for view in views)

    connected(body)


def test_small_parts_are_written_at_once():
    async def body(_, writer, transport):
        writer.writelines([b"a", Bytes(b"b"), bytearray(b"c")])
        assert list(map(bytes, transport.written)) == [b"abc"]

    connected(body)


def test_parts_are_handed_to_a_transport_that_gathers_them():
    async def body(_, writer, transport):
        writer.writelines([b"a", Bytes(b"b")])
        assert transport.gathered == 1
        assert list(map(bytes, transport.written)) == [b"a", b"b"]

    connected(body, GatheringTransport())


@pytest.mark.parametrize("parts", [[], [b""], (b"",), [b"", b""]])
def test_writing_nothing_sends_nothing(parts):
    async def body(_, writer, transport):
        writer.writelines(parts)
        assert transport.sent == b""

    connected(body)


def test_an_error_of_the_parts_writes_nothing():
    def parts():
        yield b"a"
        raise ZeroDivisionError

    async def body(_, writer, transport):
        with pytest.raises(ZeroDivisionError):
            writer.writelines(parts())
        assert transport.written == []

    connected(body)


def test_the_rest_is_the_transports():
    async def body(_, writer, transport):
        assert writer.transport is transport
        assert writer.can_write_eof()
        writer.write_eof()
        assert writer.get_extra_info("peername") == ("here", 1)
        assert writer.get_extra_info("nothing", 5) == 5
        assert not writer.is_closing()
        writer.close()
        assert writer.is_closing()
        assert transport.ended == ["eof", "close"]

    connected(body, FakeTransport(peername=("here", 1)))


def test_repr_names_the_transport():
    async def body(_, writer, transport):
        assert repr(transport) in repr(writer)

    connected(body)


# --- drain() ---


def test_drain_does_not_wait_while_there_is_room():
    async def body(_, writer, transport):
        with pytest.raises(StopIteration):
            writer.drain().send(None)

    connected(body)


def test_drain_waits_for_room():
    async def body(_, writer, transport):
        transport.protocol.pause_writing()
        (drain,) = await started(writer.drain())
        assert not drain.done()
        transport.protocol.resume_writing()
        await drain

    connected(body)


@pytest.mark.parametrize("cancelled", range(3))
def test_cancelling_one_drain_leaves_the_others(cancelled):
    async def body(_, writer, transport):
        transport.protocol.pause_writing()
        drains = await started(*(writer.drain() for _ in range(3)))
        drains[cancelled].cancel()
        await turns()
        assert [drain.done() for drain in drains] == [n == cancelled for n in range(3)]
        transport.protocol.resume_writing()
        await turns()
        assert all(drain.done() for drain in drains)
        assert [drain.cancelled() for drain in drains] == [n == cancelled for n in range(3)]

    connected(body)


def test_every_drain_hears_what_ended_the_connection():
    async def body(_, writer, transport):
        transport.protocol.pause_writing()
        drains = await started(writer.drain(), writer.drain())
        transport.lose(error := OSError("gone"))
        assert await asyncio.gather(*drains, return_exceptions=True) == [error, error]
        with pytest.raises(OSError, match="gone"):
            await writer.drain()

    connected(body)


def test_drain_after_the_end_is_an_error():
    async def body(_, writer, transport):
        writer.close()
        await writer.wait_closed()
        with pytest.raises(ConnectionResetError):
            await writer.drain()

    connected(body)


def test_drain_lets_a_close_go_through_first():
    """connection_lost() is on its way: a loop that only writes and drains must see it."""

    async def body(_, writer, transport):
        writer.close()
        with pytest.raises(ConnectionResetError):
            await writer.drain()

    connected(body)


def test_drain_raises_the_error_of_the_reader():
    async def body(reader, writer, transport):
        reader.set_exception(OSError("seen by the reader"))
        with pytest.raises(OSError, match="seen by the reader"):
            await writer.drain()

    connected(body)


# --- wait_closed() ---


@pytest.mark.parametrize("cancelled", [None, 0, 1, 2])
def test_all_who_wait_for_the_end_hear_of_it(cancelled):
    async def body(_, writer, transport):
        waits = await started(*(writer.wait_closed() for _ in range(3)))
        if cancelled is not None:
            waits[cancelled].cancel()
            await turns()
        assert [wait.done() for wait in waits] == [n == cancelled for n in range(3)]
        writer.close()
        await turns()
        assert [wait.cancelled() for wait in waits] == [n == cancelled for n in range(3)]
        await writer.wait_closed()

    connected(body)


def test_the_error_that_ended_it_is_raised_to_all_and_again():
    async def body(_, writer, transport):
        waits = await started(writer.wait_closed(), writer.wait_closed())
        transport.lose(error := OSError("gone"))
        assert await asyncio.gather(*waits, writer.wait_closed(), return_exceptions=True) == [error] * 3

    connected(body)


def test_the_end_reaches_the_reader():
    async def body(reader, writer, transport):
        (read,) = await started(reader.read())
        writer.close()
        assert await read == b""
        assert reader.at_eof()

    connected(body)


def test_an_error_reaches_the_reader():
    async def body(reader, writer, transport):
        (read,) = await started(reader.readexactly(5))
        transport.lose(OSError("gone"))
        with pytest.raises(OSError, match="gone"):
            await read

    connected(body)


def test_the_peer_may_stop_writing_while_this_side_goes_on():
    async def body(reader, writer, transport):
        assert transport.protocol.eof_received() is True
        assert await reader.read() == b""
        writer.write(b"still")
        assert transport.sent == b"still"

    connected(body)


def test_over_tls_the_peers_end_ends_both():
    async def body(reader, writer, transport):
        assert not transport.protocol.eof_received()
        assert reader.at_eof()

    connected(body, FakeTransport(sslcontext=object()))


# --- dropped ---


def test_a_writer_dropped_unclosed_is_a_warning_and_closes():
    async def main():
        _, writer, transport = await connect()
        with pytest.warns(ResourceWarning, match="unclosed <StreamWriter"):
            del writer, _
            gc.collect()
        assert transport.ended == ["close"]
        await turns()

    run(main())


def test_a_closed_writer_is_dropped_in_silence():
    async def main():
        _, writer, transport = await connect()
        writer.close()
        await writer.wait_closed()
        del writer
        gc.collect()
        return transport.ended

    assert run(main()) == ["close"]


def test_a_writer_that_outlives_its_loop_is_a_warning():
    kept = []

    async def main():
        kept.extend(await connect())

    run(main())
    with pytest.warns(ResourceWarning, match="loop is closed"):
        del kept[1]
        gc.collect()


def test_nothing_is_left_in_a_ring_after_the_end():
    """What belonged together goes with its last reference, without the collector."""

    async def main():
        reader, writer, transport = await connect()
        writer.close()
        await writer.wait_closed()
        left = [weakref.ref(thing) for thing in (reader, writer, transport.protocol)]
        gc.disable()
        try:
            del reader, writer, transport
            await turns()
            return [ref() for ref in left]
        finally:
            gc.enable()

    assert run(main()) == [None, None, None]


# --- a server's callback ---


class Serving:
    """A server whose connections are made by hand, and what its loop's exception handler was told."""

    async def start(self, callback):
        loop = asyncio.get_running_loop()
        self.told = []
        loop.set_exception_handler(lambda _, context: self.told.append(context))

        async def create_server(factory, *args, **kwds):
            self.factory, self.args, self.kwds = factory, args, kwds

        loop.create_server = create_server
        try:
            await start_server(callback, "nowhere", 1, limit=7, backlog=3)
        finally:
            del loop.create_server
        return self

    async def client(self):
        transport = FakeTransport()
        transport.protocol = self.factory()
        transport.protocol.connection_made(transport)
        await turns()
        return transport


def test_a_server_calls_back_with_a_reader_and_a_writer():
    async def main():
        got = []
        serving = await Serving().start(lambda *both: got.append(both))
        transport = await serving.client()
        ((reader, writer),) = got
        transport.deliver(b"ab\ncd")
        assert await reader.readline() == b"ab\n"
        assert writer.transport is transport
        assert (serving.args, serving.kwds) == (("nowhere", 1), {"backlog": 3})
        transport.deliver(b"x" * 20)
        with pytest.raises(ValueError):  # the limit of start_server()
            await reader.readline()
        writer.close()
        await writer.wait_closed()

    run(main())


def test_a_coroutine_is_run_as_a_task_for_each_client():
    async def main():
        async def echo(reader, writer):
            while line := await reader.readline():
                writer.write(line)
            writer.close()

        serving = await Serving().start(echo)
        clients = [await serving.client() for _ in range(3)]
        for n, client in enumerate(clients):
            client.deliver(b"%d\n" % n)
        await turns()
        for client in clients:
            client.protocol.eof_received()
        await turns()
        assert serving.told == []
        return [(client.sent, client.ended) for client in clients]

    assert run(main()) == [(b"%d\n" % n, ["close"]) for n in range(3)]


def test_an_error_of_the_callback_is_told_and_closes():
    async def main():
        async def fails(reader, writer):
            raise ZeroDivisionError

        serving = await Serving().start(fails)
        client = await serving.client()
        (told,) = serving.told
        assert isinstance(told["exception"], ZeroDivisionError)
        assert "client_connected_cb" in told["message"]
        assert client.ended == ["close"]

    run(main())


def test_a_cancelled_callback_closes_and_tells_nobody():
    async def main():
        async def gives_up(reader, writer):
            asyncio.current_task().cancel()
            await reader.read()

        serving = await Serving().start(gives_up)
        client = await serving.client()
        assert serving.told == []
        assert client.ended == ["close"]

    run(main())


def test_nothing_of_a_servers_connection_is_left_in_a_ring():
    async def main():
        got = []
        serving = await Serving().start(lambda *both: got.extend(both))
        client = await serving.client()
        got[1].close()
        await got[1].wait_closed()
        left = [weakref.ref(thing) for thing in (*got, client.protocol)]
        gc.disable()
        try:
            got.clear()
            del client
            await turns()
            return [ref() for ref in left]
        finally:
            gc.enable()

    assert run(main()) == [None, None, None]
