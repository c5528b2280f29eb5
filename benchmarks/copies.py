"""How often a byte is copied in user space, from the transport to who reads it: asyncio's streams and ferrule's.

    python -m benchmarks.copies

Counted, not timed: of asyncio's reader what goes into its bytearray, what is cut out of it, and what is made bytes of;
of ferrule's what moves to another block or to the front of its own. What a bytearray moves when it grows is not seen
and not counted. That the kernel copies each byte into the process is the same for both.
"""

from __future__ import annotations

import asyncio
import ctypes
import platform
import sys
from collections.abc import Callable
from typing import Any

from benchmarks.peers.streams import LENGTH, OtherEnd
from ferrule.aio import streams
from ferrule.aio.streams._connection import _StreamProtocol

KINDS = [b"f", b"l"]
SIZES = {"64 B": (64, 50_000), "4 KiB": (4096, 10_000), "64 KiB": (64 << 10, 1000), "1 MiB": (1 << 20, 60)}


class CountingArray(bytearray):
    """asyncio's buffer, which counts what is copied into it and out of it."""

    count = 0

    def extend(self, data: Any) -> None:
        self.count += len(data)
        super().extend(data)

    def __getitem__(self, index: Any) -> Any:
        part = super().__getitem__(index)
        if isinstance(index, slice):
            self.count += len(part)
        return part


class Theirs(asyncio.StreamReader):
    """Its results are copies too: of the buffer, or of what was cut out of it."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, asyncio.get_running_loop())
        self._buffer = CountingArray()

    async def connect(self, connected: Any) -> asyncio.BaseTransport:
        protocol = asyncio.StreamReaderProtocol(self)
        transport, _ = await asyncio.get_running_loop().create_connection(lambda: protocol, sock=connected)
        return transport

    def copied(self, received: int) -> int:
        return self._buffer.count + received


class Ours(streams.StreamReader):
    """Its results are views. What it copies is what was there when a read got other memory."""

    count = 0

    def __init__(self, limit: int) -> None:
        super().__init__(limit, asyncio.get_running_loop())

    async def connect(self, connected: Any) -> asyncio.BaseTransport:
        loop = asyncio.get_running_loop()
        protocol = _StreamProtocol(self, None, loop)
        transport, _ = await loop.create_connection(lambda: protocol, sock=connected)
        return transport

    def _address(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self._buffer))

    def _get_buffer(self, sizehint: int) -> memoryview:
        waiting = len(self._buffer)
        if not waiting:
            return super()._get_buffer(sizehint)
        before = self._address()
        view = super()._get_buffer(sizehint)
        self.count += waiting * (self._address() != before)
        return view

    def copied(self, received: int) -> int:
        return self.count


READERS: dict[str, Callable[[int], Any]] = {"asyncio": Theirs, "ferrule": Ours}


async def copied(make: Callable[[int], Any], kind: bytes, size: int, n: int) -> float:
    """Copies for each byte of n messages of a size."""
    other = OtherEnd()
    reader = make(max(1 << 16, 2 * size))
    transport = await reader.connect(other.connect(kind, size, n))
    received = 0
    for _ in range(n):
        if kind == b"f":
            header = await reader.readexactly(4)
            received += 4 + len(await reader.readexactly(LENGTH.unpack(header)[0]))
        else:
            received += len(await reader.readline())
    transport.close()
    return reader.copied(received) / received


def main() -> None:
    print(f"{platform.python_implementation()} {platform.python_version()}, copies of each byte received")
    print(f"{'':28}" + "".join(f"{name:>10}" for name in READERS))
    for kind, what in zip(KINDS, ["frames behind their length", "lines"], strict=True):
        for title, (size, n) in SIZES.items():
            counts = [asyncio.run(copied(make, kind, size, n)) for make in READERS.values()]
            print(f"{what + ', ' + title:36}" + "".join(f"{count:10.2f}" for count in counts))


if __name__ == "__main__":
    sys.exit(main())
