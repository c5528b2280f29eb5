"""What mypy --strict must accept of the streams."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Any, assert_type

from typing_extensions import Buffer

from ferrule import MISSING, Bytes, BytesMut, FerruleError
from ferrule.aio.streams import (
    BytesProtocol,
    Codec,
    Framed,
    FrameTooLarge,
    JsonLinesCodec,
    LengthDelimitedCodec,
    LinesCodec,
    StreamReader,
    StreamWriter,
    open_connection,
    start_server,
)


class Echo(BytesProtocol):
    """The hooks of a protocol."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.count = 0

    def bytes_received(self, buffer: BytesMut) -> None:
        while (line := buffer.try_get_until(b"\n")) is not None:
            assert_type(line, Bytes)
            self.transport.write(memoryview(line))
            self.count += 1
        self.need = 3
        assert_type(self.need, int)
        assert_type(self.buffer, BytesMut)
        assert_type(self.transport, asyncio.Transport)


async def protocols() -> None:
    loop = asyncio.get_running_loop()
    _, protocol = await loop.create_connection(Echo, "localhost", 1)
    assert_type(protocol, Echo)
    await loop.create_server(Echo, "localhost", 1)


async def reads(reader: StreamReader) -> None:
    assert_type(await reader.read(), Bytes)
    assert_type(await reader.read(10), Bytes)
    assert_type(await reader.readline(), Bytes)
    assert_type(await reader.readexactly(10), Bytes)
    assert_type(await reader.readuntil(), Bytes)
    assert_type(await reader.readuntil(Bytes(b"--")), Bytes)
    assert_type(await reader.readuntil((b"--", bytearray(b"\n"))), Bytes)
    assert_type(reader.at_eof(), bool)
    assert_type(reader.exception(), BaseException | None)
    async for line in reader:
        assert_type(line, Bytes)


def feeds(transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
    reader = StreamReader(limit=10, loop=loop)
    reader.set_transport(transport)
    reader.feed_data(b"a")
    reader.feed_data(memoryview(b"a"))
    reader.feed_eof()
    reader.set_exception(OSError())


async def writes(writer: StreamWriter, data: BytesMut) -> None:
    writer.write(data)
    writer.write(memoryview(b"a"))
    writer.writelines([b"a", Bytes(b"b"), data])
    await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
    assert_type(writer.transport, asyncio.WriteTransport)
    peer: Any = writer.get_extra_info("peername", default=None)
    await writer.start_tls(ssl.create_default_context(), server_hostname=peer, ssl_handshake_timeout=5)
    writer.close()
    assert_type(writer.is_closing(), bool)
    await writer.wait_closed()


async def serve(reader: StreamReader, writer: StreamWriter) -> None:
    writer.write(await reader.readline())


async def connections() -> None:
    reader, writer = await open_connection("localhost", 1, limit=100, ssl=True)
    assert_type(reader, StreamReader)
    assert_type(writer, StreamWriter)
    assert_type(await start_server(serve, "localhost", 1, limit=100, backlog=5), asyncio.Server)
    assert_type(await start_server(lambda _, each: each.close(), port=1), asyncio.Server)


class Numbers(Codec[int]):
    """A codec of one's own."""

    limit = 100

    def decode(self, buffer: BytesMut) -> Any:
        self.need = 4 - len(buffer)
        return MISSING if self.need > 0 else buffer.get_u32()

    def encode(self, frame: int) -> Iterable[Buffer]:
        yield frame.to_bytes(4, "big")


async def frames(reader: StreamReader, writer: StreamWriter) -> None:
    async with Framed(reader, writer, Numbers()) as numbers:
        assert_type(numbers, Framed[int])
        assert_type(await numbers.recv(), int)
        async for number in numbers:
            assert_type(number, int)
        assert_type(await numbers.send(5), None)
        assert_type(await numbers.send_many(range(5)), int)
        assert_type(numbers.codec, Codec[int])
        assert_type(numbers.reader, StreamReader)
        assert_type(numbers.writer, StreamWriter)
        numbers.close()
        assert_type(numbers.is_closing(), bool)
        await numbers.wait_closed()


async def codecs(reader: StreamReader, writer: StreamWriter) -> None:
    lines = Framed(reader, writer, LinesCodec(limit=10, encoding="utf-8", errors="replace"))
    await lines.send("text")
    await lines.send(b"bytes")
    values = Framed(reader, writer, JsonLinesCodec(limit=10))
    await values.send({"any": ["thing"]})
    for codec in (LengthDelimitedCodec(), LengthDelimitedCodec(2, "little", includes_length=True, limit=10)):
        payloads = Framed(reader, writer, codec)
        await payloads.send(b"bytes")
        await payloads.send_many([b"bytes", Bytes(b"bytes")])


def errors(error: FrameTooLarge) -> FerruleError:
    assert_type(error.size, int | None)
    assert_type(error.limit, int)
    plain: ValueError = FrameTooLarge("of my own", size=None, limit=10)
    raise error from plain
