"""Streams over a socket: asyncio's, ferrule's by the same calls, and ferrule's Framed. Each does the same works.

The other end of the socket is a process of its own with plain blocking calls, the same for all contenders (OtherEnd):
so what differs is the contender, and what is the same is the kernel's part, which is most of it for small messages.
"""

from __future__ import annotations

import asyncio
import functools
import json
import socket
import struct
import subprocess
import sys
import weakref
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import repeat
from types import ModuleType
from typing import Any

from ferrule.aio import streams

try:
    import orjson
except ImportError:
    loads: Callable[[bytes], Any] = json.loads
else:
    loads = orjson.loads

__all__ = ["CONTENDERS", "OtherEnd", "Streams"]

ORDER = struct.Struct("!cQQ")
LENGTH = struct.Struct("!I")

OTHER_END = """
import socket, struct, sys
port = int(sys.argv[1])
ORDER, LENGTH = struct.Struct("!cQQ"), struct.Struct("!I")
def exactly(end, view):
    while view:
        n = end.recv_into(view)
        if not n: raise SystemExit
        view = view[n:]
def message(kind, size):
    if kind == b"f": return LENGTH.pack(size) + bytes(size)
    if kind == b"l": return b"x" * (size - 1) + b"\\n"
    if kind == b"j": return b'{"id":12345,"text":"' + b"x" * (size - 23) + b'"}\\n'
    return bytes(size)
while True:
    try:
        end = socket.create_connection(("127.0.0.1", port))
    except OSError:
        break
    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    order = bytearray(ORDER.size)
    with end:
        try:
            exactly(end, memoryview(order))
            kind, size, n = ORDER.unpack(order)
            one = message(kind, size)
            if kind == b"e":
                view = memoryview(bytearray(size))
                for _ in range(n):
                    end.sendall(one)
                    exactly(end, view)
            elif kind == b"d":
                view = memoryview(bytearray(1 << 18))
                left = n * (size + 4)
                while left: left -= end.recv_into(view[: min(left, len(view))])
                end.sendall(b"!")
            else:
                many = max(1, (1 << 18) // len(one))
                chunk = one * many
                for _ in range(n // many): end.sendall(chunk)
                end.sendall(one * (n % many))
        except OSError:
            pass
"""
"""What it does on each connection: it is told what, of which size, and how often. It ends when nobody listens."""


class OtherEnd:
    """The process, and the socket at which it is awaited. Both end with this object."""

    def __init__(self) -> None:
        listening = socket.create_server(("127.0.0.1", 0), backlog=4)
        program = [sys.executable, "-S", "-c", OTHER_END, str(listening.getsockname()[1])]
        process = subprocess.Popen(program, stderr=subprocess.DEVNULL)
        self.listening = listening
        weakref.finalize(self, _end, listening, process)

    def connect(self, kind: bytes, size: int, n: int) -> socket.socket:
        """A connection on which it does so n times."""
        ours, _ = self.listening.accept()
        ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ours.sendall(ORDER.pack(kind, size, n))
        ours.setblocking(False)
        return ours


def _end(listening: socket.socket, process: subprocess.Popen[bytes]) -> None:
    listening.close()
    process.kill()
    process.wait()


Work = Callable[[Any, Any, int, int], Awaitable[None]]
"""work(reader, writer, size, n) receives n messages, or sends them."""


async def echo(reader: Any, writer: Any, size: int, n: int) -> None:
    for _ in repeat(None, n):
        writer.write(await reader.readexactly(size))
        await writer.drain()


async def frames(reader: Any, writer: Any, size: int, n: int) -> None:
    length_of = LENGTH.unpack
    for _ in repeat(None, n):
        (length,) = length_of(await reader.readexactly(4))
        await reader.readexactly(length)


async def lines(reader: Any, writer: Any, size: int, n: int) -> None:
    for _ in repeat(None, n):
        await reader.readline()


async def json_lines(reader: Any, writer: Any, size: int, n: int) -> None:
    for _ in repeat(None, n):
        loads(await reader.readline())


async def json_lines_of_bytes(reader: Any, writer: Any, size: int, n: int) -> None:
    for _ in repeat(None, n):
        loads((await reader.readline()).tobytes())


async def send(reader: Any, writer: Any, size: int, n: int) -> None:
    payload, header = bytes(size), LENGTH.pack(size)
    for _ in repeat(None, n):
        writer.write(header + payload)
        await writer.drain()
    await reader.readexactly(1)


async def framed_by(make: Callable[[int], streams.Codec[Any]], reader: Any, writer: Any, size: int, n: int) -> None:
    recv = streams.Framed(reader, writer, make(size)).recv
    for _ in repeat(None, n):
        await recv()


async def framed_send(reader: Any, writer: Any, size: int, n: int) -> None:
    payload, framed = bytes(size), streams.Framed(reader, writer, streams.LengthDelimitedCodec())
    for _ in repeat(None, n):
        await framed.send(payload)
    await reader.readexactly(1)


@dataclass(frozen=True)
class Streams:
    """How a contender connects, and what it does on a connection, by kind."""

    name: str
    module: ModuleType
    works: dict[bytes, Work]
    ours: bool = False
    make: Callable[[], OtherEnd] = OtherEnd
    missing: str = ""

    async def work(self, connected: socket.socket, kind: bytes, size: int, n: int) -> None:
        """All of it, on one connection. The limit is room for a whole line, as a service would have it."""
        reader, writer = await self.module.open_connection(sock=connected, limit=max(1 << 16, 2 * size))
        try:
            await self.works[kind](reader, writer, size, n)
        finally:
            writer.close()
            await writer.wait_closed()


def _codec(codec: Callable[..., streams.Codec[Any]]) -> Work:
    return functools.partial(framed_by, lambda size: codec(limit=2 * size + 100))


CONTENDERS = [
    Streams("asyncio streams", asyncio, {b"e": echo, b"f": frames, b"l": lines, b"j": json_lines, b"d": send}),
    Streams("ferrule streams", streams, {b"e": echo, b"f": frames, b"l": lines, b"j": json_lines_of_bytes}, ours=True),
    Streams(
        "ferrule Framed",
        streams,
        {
            b"f": _codec(streams.LengthDelimitedCodec),
            b"l": _codec(streams.LinesCodec),
            b"j": _codec(streams.JsonLinesCodec),
            b"d": framed_send,
        },
        ours=True,
    ),
]
