"""What mypy must reject of the streams: each marked line, and no other."""

from collections.abc import Iterable

from typing_extensions import Buffer

from ferrule import BytesMut
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


class Wrong(BytesProtocol):
    def bytes_received(self, buffer: bytes) -> None:  # error: override
        pass


def protocols(protocol: BytesProtocol) -> None:
    protocol.buffer = BytesMut()  # error: misc
    protocol.need = "3"  # error: assignment


async def streams(reader: StreamReader, writer: StreamWriter) -> None:
    await reader.read("10")  # error: arg-type
    await reader.readuntil("\n")  # error: arg-type
    await reader.readuntil([b"\n"])  # error: arg-type
    text: str = await reader.readline()  # error: assignment
    del text
    reader.feed_data("text")  # error: arg-type
    writer.write("text")  # error: arg-type
    writer.write(5)  # error: arg-type
    writer.writelines(["text"])  # error: list-item
    writer.transport = None  # error: misc  # error: assignment
    for line in reader:  # error: attr-defined
        del line
    await open_connection(5, 5)  # error: arg-type
    await start_server(5, "localhost", 1)  # error: arg-type


class Numbers(Codec[int]):
    def encode(self, frame: str) -> Iterable[Buffer]:  # error: override
        return [b""]

    def decode(self, buffer: BytesMut) -> str:  # error: override
        return ""


async def frames(reader: StreamReader, writer: StreamWriter) -> None:
    numbers = Framed(reader, writer, Numbers())
    await numbers.send("5")  # error: arg-type
    await numbers.send_many(["5"])  # error: list-item
    await numbers.send_many(5)  # error: arg-type
    text: str = await numbers.recv()  # error: assignment
    Framed(reader, writer)  # error: call-arg
    Framed(reader, writer, 5)  # error: arg-type
    del text


LinesCodec(10)  # error: call-arg
LinesCodec(encoding=5)  # error: arg-type
LengthDelimitedCodec("4")  # error: arg-type
LengthDelimitedCodec(4, "middle")  # error: arg-type
LengthDelimitedCodec(4, "big", True)  # error: call-arg
JsonLinesCodec(10)  # error: call-arg
FrameTooLarge(size="6")  # error: arg-type
