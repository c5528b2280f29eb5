"""Memory that is cut, parsed, built and received into: what a user would pick in place of ferrule's Bytes.

A contender's `make` is given what its list says, and gives what the scenarios of that list use. Where a peer has
several ways to the same, it is the fastest that was found.
"""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat
from struct import Struct
from typing import Any

from benchmarks.peers import FREE_THREADED
from ferrule import Bytes, BytesMut, Reader


@dataclass(frozen=True)
class Peer:
    name: str
    make: Callable[..., Any] | None
    missing: str = ""
    ours: bool = False
    by_call: bool = False
    """Whether it is sliced by slice(i, j) in place of [i:j]."""


def ours(name: str, make: Callable[..., Any], *, by_call: bool = False) -> Peer:
    return Peer(name, make, ours=True, by_call=by_call)


# make(content) gives what is cut and searched.

BYTES, BYTEARRAY, MEMORYVIEW = Peer("bytes", bytes), Peer("bytearray", bytearray), Peer("memoryview", memoryview)
OURS = ours("ferrule.Bytes", Bytes)
OURS_SLICE = ours("ferrule.Bytes, slice()", Bytes, by_call=True)

SHARED_VIEW = (
    Peer("memoryview", None, "without the GIL threads that slice one at once break it") if FREE_THREADED else MEMORYVIEW
)

SLICED = [BYTES, BYTEARRAY, MEMORYVIEW, OURS, OURS_SLICE]
SLICED_TOGETHER = [BYTES, BYTEARRAY, SHARED_VIEW, OURS, OURS_SLICE]
SEARCHED = [BYTES, BYTEARRAY, OURS]


# make(content) gives a function that cuts all frames, each a length of 4 bytes and so many bytes, and returns the last.

LENGTH = Struct(">I")
Parse = Callable[[], Any]


def _frames_of(cut_from: Callable[[bytes], Any]) -> Callable[[bytes], Parse]:
    """By an offset into memory that is sliced."""

    def make(content: bytes) -> Parse:
        def parse() -> Any:
            data, at, end, length_at = cut_from(content), 0, len(content), LENGTH.unpack_from
            while at < end:
                (length,) = length_at(data, at)
                at += 4
                frame = data[at : at + length]
                at += length
            return frame

        return parse

    return make


def _frames_of_file(content: bytes) -> Parse:
    def parse() -> Any:
        read, length_of = io.BytesIO(content).read, LENGTH.unpack
        while head := read(4):
            (length,) = length_of(head)
            frame = read(length)
        return frame

    return parse


def _frames_of_reader(content: bytes) -> Parse:
    shared = Bytes(content)

    def parse() -> Any:
        reader = Reader(shared)
        length, cut = reader.try_get_u32, reader.get_bytes
        while (n := length()) is not None:
            frame = cut(n)
        return frame

    return parse


def _frames_of_buffer(content: bytes) -> Parse:
    def parse() -> Any:
        buffer = BytesMut(content)
        length, cut = buffer.try_get_u32, buffer.get_bytes
        while (n := length()) is not None:
            frame = cut(n)
        return frame

    return parse


FRAMES = [
    Peer("bytes", _frames_of(bytes)),
    Peer("memoryview", _frames_of(memoryview)),
    Peer("io.BytesIO", _frames_of_file),
    ours("ferrule.Reader", _frames_of_reader),
    ours("ferrule.BytesMut", _frames_of_buffer),
    ours("ferrule.Bytes", lambda content: _frames_of(lambda shared: shared)(Bytes(content))),
]


# make(content) gives a function that cuts all lines, with their ends, and returns the last.


def _lines_of_file(content: bytes) -> Parse:
    def parse() -> Any:
        read = io.BytesIO(content).readline
        while found := read():
            line = found
        return line

    return parse


def _lines_by_for(content: bytes) -> Parse:
    def parse() -> Any:
        for line in io.BytesIO(content):  # noqa: B007
            pass
        return line

    return parse


def _lines_of_split(content: bytes) -> Parse:
    def parse() -> Any:
        return content.splitlines(keepends=True)[-1]

    return parse


def _lines_of_reader(content: bytes) -> Parse:
    shared = Bytes(content)

    def parse() -> Any:
        cut = Reader(shared).try_get_until
        while (found := cut(b"\n")) is not None:
            line = found
        return line

    return parse


def _lines_of_reader_as_file(content: bytes) -> Parse:
    shared = Bytes(content)

    def parse() -> Any:
        read = Reader(shared).readline
        while found := read():
            line = found
        return line

    return parse


def _lines_of_our_split(content: bytes) -> Parse:
    shared = Bytes(content)

    def parse() -> Any:
        return shared.splitlines(keepends=True)[-1]

    return parse


LINES = [
    Peer("io.BytesIO, readline()", _lines_of_file),
    Peer("io.BytesIO, for", _lines_by_for),
    Peer("bytes, splitlines()", _lines_of_split),
    ours("ferrule.Reader, try_get_until()", _lines_of_reader),
    ours("ferrule.Reader, readline()", _lines_of_reader_as_file),
    ours("ferrule.Bytes, splitlines()", _lines_of_our_split),
]


# make(chunks) gives a function that is given a number of rounds; in each it takes the chunks in one by one and cuts all
# lines that are complete, with their ends. It returns the last. The chunks together end with a line.

Rounds = Callable[[int], Any]


def _lines_of_stream(chunks: Sequence[bytes]) -> Rounds:
    """Each line that is awaited is there, so that no turn of the loop is measured."""
    counted = [(chunk, chunk.count(b"\n")) for chunk in chunks]

    async def rounds(number: int) -> Any:
        reader = asyncio.StreamReader()
        for _ in repeat(None, number):
            for chunk, lines in counted:
                reader.feed_data(chunk)
                for _ in repeat(None, lines):
                    line = await reader.readline()
        return line

    return lambda number: asyncio.run(rounds(number))


def _lines_of_bytearray(chunks: Sequence[bytes]) -> Rounds:
    """Looks behind the last line only, and drops what was cut once a chunk."""

    def rounds(number: int) -> Any:
        buffer = bytearray()
        find = buffer.find
        for _ in repeat(None, number):
            for chunk in chunks:
                start = 0
                buffer += chunk
                while (end := find(b"\n", start)) >= 0:
                    line = bytes(buffer[start : end + 1])
                    start = end + 1
                del buffer[:start]
        return line

    return rounds


def _lines_of_rest(chunks: Sequence[bytes]) -> Rounds:
    """The rest of a chunk is put before the next one, and split() does the work."""

    def rounds(number: int) -> Any:
        rest = b""
        for _ in repeat(None, number):
            for chunk in chunks:
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    last = line + b"\n"
        return last

    return rounds


def _lines_of_buffer(chunks: Sequence[bytes]) -> Rounds:
    def rounds(number: int) -> Any:
        buffer = BytesMut()
        put, cut = buffer.put, buffer.try_get_until
        for _ in repeat(None, number):
            for chunk in chunks:
                put(chunk)
                while (found := cut(b"\n")) is not None:
                    line = found
        return line

    return rounds


LINES_AS_THEY_COME = [
    Peer("asyncio.StreamReader", _lines_of_stream),
    Peer("bytearray", _lines_of_bytearray),
    Peer("bytes, split()", _lines_of_rest),
    ours("ferrule.BytesMut", _lines_of_buffer),
]


# make() gives a function that builds so many messages, each of a byte, a number of 4 bytes, a length of 2 bytes, a
# float of 8 bytes and the body, all big-endian, and returns the last.

HEAD = Struct(">BIHd")
Build = Callable[[int, int, int, float, bytes], Any]


def _built_by_bytearray() -> Build:
    def build(n: int, kind: int, number: int, value: float, body: bytes) -> Any:
        pack = HEAD.pack
        for _ in repeat(None, n):
            message = bytearray()
            message += pack(kind, number, len(body), value)
            message += body
            made = bytes(message)
        return made

    return build


def _built_by_fields() -> Build:
    """As ferrule builds it, one field after the other."""
    u8, u32, u16, f64 = Struct(">B").pack, Struct(">I").pack, Struct(">H").pack, Struct(">d").pack

    def build(n: int, kind: int, number: int, value: float, body: bytes) -> Any:
        for _ in repeat(None, n):
            message = bytearray()
            message += u8(kind)
            message += u32(number)
            message += u16(len(body))
            message += f64(value)
            message += body
            made = bytes(message)
        return made

    return build


def _built_by_file() -> Build:
    def build(n: int, kind: int, number: int, value: float, body: bytes) -> Any:
        pack = HEAD.pack
        for _ in repeat(None, n):
            message = io.BytesIO()
            message.write(pack(kind, number, len(body), value))
            message.write(body)
            made = message.getvalue()
        return made

    return build


def _built_by_join() -> Build:
    def build(n: int, kind: int, number: int, value: float, body: bytes) -> Any:
        pack = HEAD.pack
        for _ in repeat(None, n):
            made = pack(kind, number, len(body), value) + body
        return made

    return build


def _built_by_buffer() -> Build:
    """All in one memory: each message is taken from the front, and the buffer goes on behind it."""

    def build(n: int, kind: int, number: int, value: float, body: bytes) -> Any:
        buffer = BytesMut(65_536)
        u8, u32, u16, f64 = buffer.put_u8, buffer.put_u32, buffer.put_u16, buffer.put_f64
        put, cut = buffer.put, buffer.get_bytes
        for _ in repeat(None, n):
            u8(kind)
            u32(number)
            u16(len(body))
            f64(value)
            put(body)
            made = cut(len(buffer))
        return made

    return build


BUILT = [
    Peer("struct + bytearray", _built_by_bytearray),
    Peer("struct + bytearray, a field at a time", _built_by_fields),
    Peer("struct + io.BytesIO", _built_by_file),
    Peer("struct + bytes", _built_by_join),
    ours("ferrule.BytesMut", _built_by_buffer),
]


# make() gives a function that appends the parts to a new buffer, and returns it.

Grow = Callable[[Iterable[bytes]], Any]


def _by_iadd(new: Callable[[], Any]) -> Callable[[], Grow]:
    def make() -> Grow:
        def grow(parts: Iterable[bytes]) -> Any:
            buffer = new()
            for part in parts:
                buffer += part
            return buffer

        return grow

    return make


def _by_file() -> Grow:
    def grow(parts: Iterable[bytes]) -> Any:
        buffer = io.BytesIO()
        write = buffer.write
        for part in parts:
            write(part)
        return buffer.getbuffer()

    return grow


def _by_join() -> Grow:
    def grow(parts: Iterable[bytes]) -> Any:
        kept: list[bytes] = []
        append = kept.append
        for part in parts:
            append(part)
        return b"".join(kept)

    return grow


def _by_put() -> Grow:
    def grow(parts: Iterable[bytes]) -> Any:
        buffer = BytesMut()
        put = buffer.put
        for part in parts:
            put(part)
        return buffer

    return grow


GROWN = [
    Peer("bytearray, +=", _by_iadd(bytearray)),
    Peer("io.BytesIO, write()", _by_file),
    Peer("list, append() and join()", _by_join),
    ours("ferrule.BytesMut, put()", _by_put),
    ours("ferrule.BytesMut, +=", _by_iadd(BytesMut)),
]


# make(socket) gives a function that receives so many frames, as above, and returns the last. What has come of later
# frames it keeps for its next call.

RECEIVED = 65_536
"""What one call of a socket may give."""
Receive = Callable[[int], Any]


def _received_as_bytes(source: socket.socket) -> Receive:
    """recv() into a bytearray, frames copied out of it."""
    buffer = bytearray()

    def receive(frames: int) -> Any:
        at = 0
        length_at, recv = LENGTH.unpack_from, source.recv
        while frames:
            if len(buffer) - at >= 4:
                (length,) = length_at(buffer, at)
                if len(buffer) - at >= 4 + length:
                    frame = bytes(buffer[at + 4 : at + 4 + length])
                    at += 4 + length
                    frames -= 1
                    continue
            del buffer[:at]
            at = 0
            buffer.extend(recv(RECEIVED))
        del buffer[:at]
        return frame

    return receive


def _received_into_bytearray(source: socket.socket) -> Receive:
    """recv_into() a bytearray of which begin and end are kept, frames copied out of it by a memoryview."""
    buffer = bytearray(4 * RECEIVED)
    view = memoryview(buffer)
    at = end = 0

    def receive(frames: int) -> Any:
        nonlocal at, end
        length_at, recv_into = LENGTH.unpack_from, source.recv_into
        while frames:
            if end - at >= 4:
                (length,) = length_at(buffer, at)
                if end - at >= 4 + length:
                    frame = bytes(view[at + 4 : at + 4 + length])
                    at += 4 + length
                    frames -= 1
                    continue
            if len(buffer) - end < RECEIVED:
                buffer[: end - at] = buffer[at:end]
                at, end = 0, end - at
            end += recv_into(view[end : end + RECEIVED])
        return frame

    return receive


def _received_into_spare(source: socket.socket) -> Receive:
    buffer = BytesMut(4 * RECEIVED)

    def receive(frames: int) -> Any:
        peek, advance, cut = buffer.peek_u32, buffer.advance, buffer.get_bytes
        recv_into, spare, commit = source.recv_into, buffer.spare, buffer.commit
        while frames:
            have = len(buffer)
            if have >= 4 and have >= 4 + (length := peek()):
                advance(4)
                frame = cut(length)
                frames -= 1
            else:
                commit(recv_into(spare(RECEIVED), RECEIVED))
        return frame

    return receive


SOCKETS = [
    Peer("recv(), bytearray", _received_as_bytes),
    Peer("recv_into(), bytearray and memoryview", _received_into_bytearray),
    ours("ferrule.BytesMut, recv_into(spare())", _received_into_spare),
]
