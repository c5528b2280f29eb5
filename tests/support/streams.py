"""Streams over real sockets: connections on loopback, TLS without certificates, peers on raw sockets.

async with pair() as (here, there): ...         a reader and a writer on either side
async with against_raw() as (end, peer): ...    the same against a socket that does what the test says
async with serving(callback) as port: ...       start_server() of ours

drive(main(), loop_name)                        to its end, which must come, with nothing reported to the loop
"""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, NamedTuple

import pytest

from ferrule.aio.streams import StreamReader, StreamWriter, open_connection, start_server

from .driver import run, turns
from .race import HANG

__all__ = [
    "HOST",
    "OVER",
    "End",
    "TlsPeer",
    "against_raw",
    "contexts",
    "drive",
    "fill",
    "pair",
    "pieces",
    "raw_connection",
    "recv_all",
    "reset",
    "serving",
    "until",
]

HOST = "127.0.0.1"

OVER = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
"""For tests that must hold over both."""


def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's and the client's, without certificates: what is encrypted and for whom does not matter here."""
    made = []
    for purpose in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT):
        context = ssl.SSLContext(purpose)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.set_ciphers("aNULL:@SECLEVEL=0")
        except ssl.SSLError:
            pytest.skip("this OpenSSL has no cipher without certificates")
        made.append(context)
    return made[0], made[1]


def drive(main: Coroutine[Any, Any, Any], loop: str, reported: list[dict[str, Any]] | None = None) -> Any:
    """What main gives, run on a loop of that kind; a hang fails.

    What is reported to the loop's exception handler comes into the list, or fails if there is none.
    """
    seen: list[dict[str, Any]] = [] if reported is None else reported

    async def bounded() -> Any:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: seen.append(context))
        async with asyncio.timeout(HANG):
            result = await main
        await turns()
        return result

    result = run(bounded(), loop)
    assert reported is not None or not seen, seen
    return result


async def until(condition: Callable[[], Any]) -> Any:
    """Lets the running loop turn until the condition is true; what it was."""
    async with asyncio.timeout(HANG):
        while not (value := condition()):
            await asyncio.sleep(0)
    return value


class End(NamedTuple):
    """One side of a connection."""

    reader: StreamReader
    writer: StreamWriter

    def abort(self) -> None:
        """Ends the connection at once, if it has not ended."""
        if not self.writer._protocol._connection_lost:  # asyncio's transports know no loop any more then
            self.writer.transport.abort()

    async def close(self) -> None:
        """Closes it, however it has ended."""
        self.writer.close()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(HANG):
                await self.writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(callback: Callable[..., Any], **options: Any) -> AsyncIterator[int]:
    """start_server() on a port of its own, which is the value; closed at the end."""
    server = await start_server(callback, HOST, 0, **options)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def pair(tls: bool = False, **options: Any) -> AsyncIterator[tuple[End, End]]:
    """The client's end and the server's; `options` go to both. Both are closed at the end."""
    accepted: list[End] = []  # emptied again: the connection keeps the callback
    server_side, client_side = contexts() if tls else (None, None)
    async with serving(lambda *end: accepted.append(End(*end)), ssl=server_side, **options) as port:
        here = End(*await open_connection(HOST, port, ssl=client_side, **options))
        await until(lambda: accepted)
        there = accepted.pop()
        try:
            yield here, there
        finally:
            for end in (here, there):
                end.abort()
            for end in (here, there):
                await end.close()


def raw_connection() -> tuple[socket.socket, socket.socket]:
    """The two ends of a TCP connection on loopback; neither blocks."""
    with socket.create_server((HOST, 0)) as listening:
        client = socket.create_connection(listening.getsockname(), HANG)
        accepted, _ = listening.accept()
    for end in (client, accepted):
        end.setblocking(False)
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client, accepted


@contextlib.asynccontextmanager
async def against_raw(**options: Any) -> AsyncIterator[tuple[End, socket.socket]]:
    """An end of ours, and a socket that does not block. Both are closed at the end."""
    ours, peer = raw_connection()
    with peer:
        end = End(*await open_connection(sock=ours, **options))
        try:
            yield end, peer
        finally:
            end.abort()
            await end.close()


async def recv_all(peer: socket.socket) -> bytes:
    """All that comes until the end."""
    loop, came = asyncio.get_running_loop(), bytearray()
    while data := await loop.sock_recv(peer, 1 << 16):
        came += data
    return bytes(came)


def reset(peer: socket.socket) -> None:
    """Ends the connection with a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def pieces(data: bytes, rng: random.Random, most: int = 4000) -> Iterator[bytes]:
    """The data, cut at random."""
    at = 0
    while at < len(data):
        size = rng.choice([1, rng.randint(1, 20), rng.randint(1, most)])
        yield data[at : at + size]
        at += size


async def fill(end: End) -> None:
    """Writes to a peer that does not read, until the transport wants no more."""
    end.writer.transport.set_write_buffer_limits(high=1000, low=100)
    while not end.writer._protocol._paused:
        end.writer.write(bytes(100_000))
        await asyncio.sleep(0)


class TlsPeer:
    """TLS by hand over a raw socket, so that the test says what goes in one segment with what."""

    def __init__(self, peer: socket.socket, context: ssl.SSLContext, *, server_side: bool = False) -> None:
        self._peer = peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side)

    def hello(self) -> bytes:
        """The first flight of a client, for the test to send."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()

    def encrypted(self, data: bytes) -> bytes:
        """The data as records, for the test to send."""
        self._tls.write(data)
        return self._outgoing.read()

    async def handshake(self, behind: bytes = b"") -> None:
        """To its end. The last flight has `behind`, encrypted, in the same segment."""
        await self._call(self._tls.do_handshake, behind)

    async def read(self, n: int = 1 << 16) -> bytes:
        """Some bytes."""
        return await self._call(self._tls.read, b"", n)

    async def send(self, data: bytes) -> None:
        """Sends the data encrypted."""
        await asyncio.get_running_loop().sock_sendall(self._peer, self.encrypted(data))

    async def _call(self, function: Callable[..., Any], behind: bytes, *args: Any) -> Any:
        loop = asyncio.get_running_loop()
        while True:
            try:
                result = function(*args)
            except ssl.SSLWantReadError:
                await loop.sock_sendall(self._peer, self._outgoing.read())
                if data := await loop.sock_recv(self._peer, 1 << 16):
                    self._incoming.write(data)
                else:
                    self._incoming.write_eof()
            else:
                if behind:
                    self._tls.write(behind)
                await loop.sock_sendall(self._peer, self._outgoing.read())
                return result
