"""start_tls() from both sides: what was read ahead, and handshakes that fail or are given up."""

import asyncio
import contextlib
import itertools
import socket
import ssl

import pytest

from ferrule.aio.streams import Framed, LinesCodec, open_connection
from tests.support.driver import Stepper, turns
from tests.support.streams import (
    HOST,
    OVER,
    End,
    TlsPeer,
    against_raw,
    contexts,
    drive,
    pair,
    raw_connection,
    recv_all,
    reset,
    serving,
    until,
)

PROXY = b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n"
LARGE = bytes(range(256)) * 2000


@contextlib.asynccontextmanager
async def served(**options):
    """The end of a server, and the raw socket of its client."""
    accepted = asyncio.get_running_loop().create_future()
    async with serving(lambda *end: accepted.set_result(End(*end)), **options) as port:
        with socket.create_connection((HOST, port)) as peer:
            peer.setblocking(False)
            end = await accepted
            yield end, peer
            end.abort()
            await end.close()


async def both_start_tls(here, there):
    server_side, client_side = contexts()
    await asyncio.gather(here.writer.start_tls(client_side), there.writer.start_tls(server_side))


def test_a_conversation_goes_on_over_tls(loop_name):
    async def main():
        async with pair() as (here, there):
            here.writer.write(b"STARTTLS\n")
            assert await there.reader.readline() == b"STARTTLS\n"
            there.writer.write(b"go ahead\n")
            assert await here.reader.readline() == b"go ahead\n"
            await both_start_tls(here, there)
            for end, other in ((here, there), (there, here)):
                end.writer.write(LARGE + b"\n")
                assert (await other.reader.readexactly(len(LARGE))) == LARGE
                assert await other.reader.readline() == b"\n"
            here.writer.close()
            return await there.reader.read()

    assert drive(main(), loop_name) == b""


def test_what_is_known_of_the_connection_afterwards(loop_name):
    async def main():
        async with pair() as (here, there):
            plain = here.writer.transport
            await both_start_tls(here, there)
            for end in (here, there):
                assert end.writer.get_extra_info("sslcontext") is not None
                assert end.writer.get_extra_info("peername")[0] == HOST
                assert not end.writer.can_write_eof()
                assert not end.writer.is_closing()
            return here.writer.transport is not plain

    assert drive(main(), loop_name)


@pytest.mark.parametrize("ends", ["client", "server"])
def test_everybody_sees_the_end_afterwards(loop_name, ends):
    async def main():
        async with pair() as (here, there):
            await both_start_tls(here, there)
            closing, other = (here, there) if ends == "client" else (there, here)
            waiting = asyncio.ensure_future(other.reader.readline())
            await turns()
            closing.writer.write(b"last words")
            closing.writer.close()
            last = await waiting
            other.writer.close()
            await closing.writer.wait_closed()
            await other.writer.wait_closed()
            return last

    assert drive(main(), loop_name) == b"last words"


def test_the_peer_is_stopped_afterwards_too(loop_name):
    async def main():
        async with pair(limit=1000) as (here, there):
            await both_start_tls(here, there)
            there.writer.write(bytes(20 << 20))
            await turns(200)
            assert here.reader._paused
            assert len(here.reader._buffer) <= 8192
            return len(await here.reader.readexactly(20 << 20))

    assert drive(main(), loop_name) == 20 << 20


@pytest.mark.parametrize("ahead", ["all", "all but a byte", "a byte", "nothing"])
@pytest.mark.parametrize("limit", [10, 65536])
def test_a_hello_that_was_read_ahead_begins_the_handshake(loop_name, ahead, limit):
    """As a proxy sends it: its line and the client's first flight in one segment."""
    server_side, client_side = contexts()

    async def main():
        async with served(limit=limit) as (end, peer):
            tls = TlsPeer(peer, client_side)
            hello = tls.hello()
            count = {"all": len(hello), "all but a byte": len(hello) - 1, "a byte": 1, "nothing": 0}[ahead]
            peer.send(PROXY + hello[:count])
            await until(lambda: len(end.reader._buffer) == len(PROXY) + count)
            line = await end.reader.readexactly(len(PROXY))
            starting = asyncio.ensure_future(end.writer.start_tls(server_side))
            await turns()
            if count < len(hello):
                peer.send(hello[count:])
            await tls.handshake()
            await starting
            await tls.send(b"question\n" * 2)
            end.writer.write(await end.reader.readexactly(9))
            return line, await tls.read(), await end.reader.readexactly(9)

    assert drive(main(), loop_name) == (PROXY, b"question\n", b"question\n")


def test_a_framed_connection_that_goes_on_over_tls(loop_name):
    server_side, client_side = contexts()

    async def main():
        async with served() as (end, peer):
            framed = Framed(*end, LinesCodec())
            tls = TlsPeer(peer, client_side)
            peer.send(PROXY + tls.hello())
            first = await framed.recv()
            starting = asyncio.ensure_future(end.writer.start_tls(server_side))
            await tls.handshake()
            await starting
            await tls.send(b"one\ntwo\n")
            second, third = await framed.recv(), await framed.recv()
            await framed.send(third)
            return first, second, await tls.read()

    assert drive(main(), loop_name) == (PROXY.strip(), b"one", b"two\n")


def test_garbage_that_was_read_ahead_fails_the_handshake(loop_name):
    server_side, _ = contexts()

    async def main():
        async with served() as (end, peer):
            peer.send(PROXY + b"GET / HTTP/1.1\r\n\r\n")
            await end.reader.readline()
            with pytest.raises(ssl.SSLError):
                await end.writer.start_tls(server_side)
            await recv_all(peer)
            return end.writer.is_closing()

    assert drive(main(), loop_name)


@pytest.mark.parametrize("limit", [100, 65536])
def test_data_in_one_segment_with_the_end_of_the_handshake(loop_name, limit):
    server_side, client_side = contexts()
    data = bytes(range(200)) * 100

    async def main():
        async with against_raw(limit=limit) as (end, peer):
            tls = TlsPeer(peer, server_side, server_side=True)
            await asyncio.gather(end.writer.start_tls(client_side), tls.handshake(behind=data))
            async with asyncio.timeout(1):
                first = await end.reader.readexactly(len(data))
                await tls.send(data)
                return first, await end.reader.readexactly(len(data))

    assert drive(main(), loop_name) == (data, data)


# --- handshakes that fail ---


async def fails(end, context, error, **options):
    """start_tls() raises; then the connection has ended, for everybody who waits for that."""
    waiting = [asyncio.ensure_future(call()) for call in (end.writer.wait_closed, end.writer.wait_closed)]
    await turns()
    with pytest.raises(error) as raised:
        await end.writer.start_tls(context, **options)
    assert end.writer.is_closing()
    for waits in (*waiting, end.writer.wait_closed()):
        with contextlib.suppress(error, OSError):
            await waits
    with pytest.raises((error, OSError)):
        await end.writer.drain()
    return raised.value


def test_a_handshake_without_a_common_cipher(loop_name):
    server_side, client_side = contexts()
    client_side.set_ciphers("DEFAULT")

    async def main():
        async with pair() as (here, there):
            return await asyncio.gather(fails(here, client_side, OSError), fails(there, server_side, ssl.SSLError))

    assert len(drive(main(), loop_name)) == 2


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("peer_does", ["garbage", "close", "reset"])
def test_a_peer_that_does_something_else(loop_name, peer_does, side):
    context = contexts()[side == "client"]

    async def main():
        async with (against_raw if side == "client" else served)() as (end, peer):
            failing = asyncio.ensure_future(fails(end, context, OSError))
            await turns(5)
            match peer_does:
                case "garbage":
                    peer.send(b"\x00" * 100)
                case "close":
                    peer.shutdown(socket.SHUT_WR)
                case "reset":
                    reset(peer)
            return await failing

    assert isinstance(drive(main(), loop_name), OSError)


def test_a_peer_that_does_nothing(loop_name):
    _, client_side = contexts()

    async def main():
        async with against_raw() as (end, _):
            return await fails(end, client_side, OSError, ssl_handshake_timeout=0.01)

    assert isinstance(drive(main(), loop_name), ConnectionAbortedError)


@pytest.mark.parametrize("context", [None, "text"])
def test_what_is_no_context(loop_name, context):
    async def main():
        async with against_raw() as (end, peer):
            error = await fails(end, context, TypeError)
            assert await recv_all(peer) == b""
            return str(error)

    assert "SSLContext" in drive(main(), loop_name)


def test_a_connection_that_has_ended_already(loop_name):
    _, client_side = contexts()

    async def main():
        async with against_raw() as (end, peer):
            reset(peer)
            with pytest.raises(OSError):
                await end.reader.read()
            with pytest.raises(OSError):
                await end.writer.start_tls(client_side)
            with pytest.raises(ConnectionResetError):
                await end.writer.wait_closed()

    drive(main(), loop_name)


@pytest.mark.parametrize("how", ["cancel", "timeout", "close"])
def test_a_handshake_that_is_given_up_at_any_step(loop_name, how):
    server_side, client_side = contexts()

    async def main():
        for count in itertools.count():
            ours, peer = raw_connection()
            with peer:
                end = End(*await open_connection(sock=ours))
                shaking = asyncio.ensure_future(TlsPeer(peer, server_side, server_side=True).handshake())
                if how == "close":
                    starting = Stepper(end.writer.start_tls(client_side))
                    starting.step()
                    await turns(count)
                    starting.close()
                    complete = count > 3
                else:
                    starting = asyncio.ensure_future(end.writer.start_tls(client_side))
                    await turns(count)
                    complete = not starting.cancel() if how == "cancel" else starting.done()
                    if how == "timeout":
                        with contextlib.suppress(TimeoutError):
                            await asyncio.wait_for(starting, 0)
                    await asyncio.wait([starting])
                if complete:
                    end.abort()  # the peer would not answer its goodbye
                    await end.close()
                elif count:  # else it has not begun
                    await end.writer.wait_closed()
                    assert end.writer.is_closing()
                    assert end.reader.at_eof()
                else:
                    await end.close()
                shaking.cancel()
                with contextlib.suppress(OSError):
                    await asyncio.wait([shaking])
                    shaking.cancelled() or shaking.exception()
                if complete:
                    return count
        return None

    assert drive(main(), loop_name) >= 2


@OVER
def test_a_writer_of_a_lost_connection_refuses(loop_name, tls):
    """Whatever it was over: what is written is dropped, drain() says why."""

    async def main():
        async with pair(tls) as (here, there):
            there.writer.transport.abort()
            with contextlib.suppress(OSError):
                await here.reader.read()
            here.writer.close()
            with contextlib.suppress(OSError):
                await here.writer.wait_closed()
            with pytest.raises(OSError):
                await here.writer.drain()
            return here.writer.is_closing()

    assert drive(main(), loop_name)
