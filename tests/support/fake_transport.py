"""A transport under a test's control: it keeps what is written, and counts how often reading is stopped and goes on."""

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from ferrule.aio import streams

__all__ = ["FakeTransport", "connect"]


class FakeTransport(asyncio.Transport):
    """What it was told to do. lose() ends the connection, as an error or close() does."""

    def __init__(self, **extra: Any) -> None:
        super().__init__(extra)
        self.protocol: Any = None
        self.written: list[Any] = []  # one for each write(), as it came
        self.reading: list[str] = []  # "pause" and "resume", in order
        self.ended: list[str] = []  # "eof", "close" and "abort", in order

    @property
    def sent(self) -> bytes:
        """All that was written."""
        return b"".join(self.written)

    def write(self, data: Any) -> None:
        assert isinstance(data, (bytes, bytearray, memoryview)), f"asyncio's transports refuse a {type(data).__name__}"
        assert memoryview(data).itemsize == memoryview(data).ndim == 1
        self.written.append(data)

    def write_eof(self) -> None:
        self.ended.append("eof")

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def pause_reading(self) -> None:
        self.reading.append("pause")

    def resume_reading(self) -> None:
        self.reading.append("resume")

    def close(self) -> None:
        if not self.ended or self.ended[-1] != "close":
            self.ended.append("close")
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        self.ended.append("abort")

    def is_closing(self) -> bool:
        return "close" in self.ended or "abort" in self.ended

    def lose(self, error: BaseException | None = None) -> None:
        """The connection has ended."""
        self.ended.append("abort")
        self.protocol.connection_lost(error)

    def deliver(self, data: bytes) -> None:
        """Reads data into the room that the protocol gives, in as many reads as that takes."""
        view = memoryview(data)
        while view:
            room = self.protocol.get_buffer(-1)
            n = min(len(room), len(view))
            room[:n], view = view[:n], view[n:]
            self.protocol.buffer_updated(n)


class GatheringTransport(FakeTransport):
    """One that has a way of its own to write many parts."""

    gathered: int = 0

    def writelines(self, parts: Iterable[Any]) -> None:
        self.gathered += 1
        for part in parts:
            self.write(part)


async def connect(
    transport: FakeTransport | None = None, limit: int = 65536
) -> tuple[streams.StreamReader, streams.StreamWriter, FakeTransport]:
    """What open_connection() gives over a fake transport, and that transport."""
    loop: Any = asyncio.get_running_loop()
    made = FakeTransport() if transport is None else transport

    async def create_connection(factory: Any, *_: object, **__: object) -> tuple[FakeTransport, Any]:
        made.protocol = factory()
        made.protocol.connection_made(made)
        return made, made.protocol

    loop.create_connection = create_connection
    with contextlib.ExitStack() as stack:
        stack.callback(delattr, loop, "create_connection")
        reader, writer = await streams.open_connection("nowhere", 1, limit=limit)
    return reader, writer, made
