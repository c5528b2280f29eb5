"""BytesMut as the buffer of an asyncio.BufferedProtocol: frames are cut while the transport still holds its view."""

import asyncio
import gc

import pytest

from ferrule import Bytes, BytesMut, Reader
from tests.support.driver import run
from tests.support.streams import OVER, contexts

FRAMES = [bytes([n & 255]) * (n * 37 % 3000) for n in range(300)]
STREAM = b"".join(len(frame).to_bytes(4, "big") + frame for frame in FRAMES)


class Receiver(asyncio.BufferedProtocol):
    """Collects length-prefixed frames, all cut inside buffer_updated()."""

    def __init__(self, least):
        self.buffer = BytesMut()
        self.least = least
        self.frames = []
        self.view = None
        self.ended = asyncio.get_running_loop().create_future()

    def get_buffer(self, sizehint):
        self.view = self.buffer.spare(self.least)
        return self.view

    def buffer_updated(self, n):
        assert len(self.view) >= n
        self.buffer.commit(n)
        while len(self.buffer) >= 4 and len(self.buffer) >= 4 + (size := self.buffer.peek_u32()):
            self.buffer.advance(4)
            self.frames.append(self.buffer.get_bytes(size))
        self.buffer.reserve(100)  # moves on, or not: the view is still there

    def eof_received(self):
        self.ended.set_result(None)

    def connection_lost(self, error):
        if not self.ended.done():
            self.ended.set_result(None)


@OVER
@pytest.mark.parametrize("least", [1, 100, 65536])
def test_frames_are_cut_inside_buffer_updated(loop_name, least, tls):
    async def main():
        server_side, client_side = contexts() if tls else (None, None)

        async def serve(reader, writer):
            at, step = 0, 1
            while at < len(STREAM):
                writer.write(STREAM[at : at + step])
                at, step = at + step, step * 3 % 10_007
                await writer.drain()
                await asyncio.sleep(0)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
        async with server:
            port = server.sockets[0].getsockname()[1]
            transport, receiver = await asyncio.get_running_loop().create_connection(
                lambda: Receiver(least), "127.0.0.1", port, ssl=client_side
            )
            await asyncio.wait_for(receiver.ended, 60)
            transport.close()
        return receiver

    receiver = run(main(), loop_name)
    assert len(receiver.frames) == len(FRAMES)
    assert receiver.frames == FRAMES  # none has changed since it was cut
    assert receiver.buffer == b""


def test_slices_are_sent_as_memoryviews(loop_name):
    """A transport of asyncio takes bytes, bytearray and memoryview, and keeps what it cannot send at once."""

    async def main():
        received = BytesMut()
        ended = asyncio.get_running_loop().create_future()

        async def collect(reader, writer):
            while data := await reader.read(10_000):
                received.put(data)
            writer.close()
            ended.set_result(None)

        server = await asyncio.start_server(collect, "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.sockets[0].getsockname()[1])
            owner = bytearray(STREAM)
            whole = Bytes.from_owner(owner)
            for start in range(0, len(whole), 50_000):
                part = whole[start : start + 50_000]
                writer.write(memoryview(part[:100]))
                writer.writelines([memoryview(chunk) for chunk in Reader(part[100:20_000], part[20_000:]).chunks()])
                del part
            del whole
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            await asyncio.wait_for(ended, 60)
        del writer
        gc.collect()
        owner.append(1)  # nobody has an export any more
        return received.freeze()

    assert run(main(), loop_name) == STREAM
