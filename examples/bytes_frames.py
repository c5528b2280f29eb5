"""A store of values behind a socket, spoken to in frames: each a length of four bytes and a body.

The server reads into the memory of a BytesMut and cuts each frame as a slice of it, inside buffer_updated(). What it
keeps for long it copies out by compact(), so that one small value does not keep all that came with it. The answers of
all requests that came at once are one write.

Prints:
    kept: 2 values, 11 bytes
    got: [Bytes(b'iron'), Bytes(b''), Bytes(b'a ring ')]
"""

import asyncio

from ferrule import Bytes, BytesMut

PUT, GET = 1, 2


class Server(asyncio.BufferedProtocol):
    def __init__(self, values: dict[Bytes, Bytes]) -> None:
        self.values = values
        self.came, self.answers = BytesMut(65536), BytesMut()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.came.spare(4096)

    def buffer_updated(self, n: int) -> None:
        self.came.commit(n)
        while len(self.came) >= 4 and len(self.came) >= 4 + (length := self.came.peek_u32()):
            self.came.advance(4)
            self.answer(self.came.split_to(length))
        if self.answers:
            self.transport.write(memoryview(self.answers.split().freeze()))  # it takes no other kind of buffer

    def answer(self, request: BytesMut) -> None:
        kind, key = request.get_u8(), request.get_bytes(request.get_varint())
        if kind == PUT:
            self.values[key.compact()] = request.freeze().compact()
        put_frame(self.answers, self.values.get(key, Bytes()))


def put_frame(buffer: BytesMut, *parts: Bytes | bytes) -> None:
    buffer.put_u32(sum(map(len, parts)))
    for part in parts:
        buffer.put(part)


def request(kind: int, key: bytes, value: bytes = b"") -> tuple[bytes, bytes, bytes]:
    """The parts of one."""
    return bytes([kind, len(key)]), key, value


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *requests: tuple[bytes, ...]) -> list[Bytes]:
    sent = BytesMut()
    for parts in requests:
        put_frame(sent, *parts)
    writer.write(memoryview(sent.freeze()))
    return [Bytes(await reader.readexactly(int.from_bytes(await reader.readexactly(4)))) for _ in requests]


async def main() -> None:
    values: dict[Bytes, Bytes] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Server(values), "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await ask(reader, writer, request(PUT, b"metal", b"iron"), request(PUT, b"ferrule", b"a ring "))
        kept = sum(value.retained for value in values.values())
        print(f"kept: {len(values)} values, {kept} bytes")
        found = await ask(reader, writer, request(GET, b"metal"), request(GET, b"wood"), request(GET, b"ferrule"))
        print(f"got: {found}")
        writer.close()
        await writer.wait_closed()


if __name__ == "__main__":
    asyncio.run(main())
