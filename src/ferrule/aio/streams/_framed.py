"""Frames over a reader and a writer."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, Self, TypeVar, cast

from ...errors import MISSING
from ._codecs import Codec, FrameTooLarge
from ._connection import UNJOINED, StreamReader, StreamWriter

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["Framed"]

Frame = TypeVar("Frame")


class Framed(Generic[Frame]):
    """Frames over a reader and a writer of this module, by a codec.

    `codec` is copied, so that it may serve many connections; the copy is `framed.codec`.

    Complexity  As the codec's. A frame is a view of the memory that was read into, where the codec gives one.
    Threads     The loop's thread only. One task receives at a time; any number may send, each frame is written whole.
    Blocks      recv() for a frame, send() while the peer is slow. A cancelled recv() has taken nothing; a cancelled
                send() has queued its frame. `async with` waits until all is written, but for a cancellation: that
                ends the connection at once.
    Calls you   The codec.
    Errors      recv(): EOFError at the end, IncompleteReadError if that comes within a frame, FrameTooLarge, and what
                the codec raises; what happens then is the codec's to say. send(): what the codec raises, before
                anything is written.

    >>> async def ask(host, port, question):
    ...     async with Framed(*await open_connection(host, port), JsonLinesCodec()) as framed:
    ...         await framed.send(question)
    ...         return await framed.recv()
    """

    def __init__(self, reader: StreamReader, writer: StreamWriter, codec: Codec[Frame]) -> None:
        self.reader = reader
        self.writer = writer
        self.codec = copy.copy(codec)
        self._is_over = False  # nobody knows where the next frame begins

    def __repr__(self) -> str:
        return f"<Framed {type(self.codec).__name__} reader={self.reader!r}>"

    async def recv(self) -> Frame:
        """The next frame. EOFError at the end between two frames, IncompleteReadError with `partial` within one."""
        reader, codec = self.reader, self.codec
        if reader._exception is not None:
            reader._raise()
        while not self._is_over:
            eof = reader._eof
            codec.need = 0  # unless it says so again
            try:
                frame = codec.decode_eof(reader._buffer) if eof else codec.decode(reader._buffer)
            finally:
                if reader._paused or reader._has_large:
                    reader._taken()
            if frame is not MISSING:
                return cast(Frame, frame)
            if eof:
                if reader._buffer:
                    raise asyncio.IncompleteReadError(cast(bytes, reader._take(len(reader._buffer))), None)
                raise EOFError("the peer has sent its last frame")
            allowed = codec.limit + codec._beside - len(reader._buffer)
            if allowed < 0:
                self._is_over = True
                break
            try:
                await reader._wait_for_data("recv", min(codec.need, allowed + 1))
            except BaseException:
                codec.searched = 0  # somebody else may take it now
                raise
        raise FrameTooLarge(limit=codec.limit)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Frame:
        try:
            return await self.recv()
        except asyncio.IncompleteReadError:
            raise
        except EOFError:
            raise StopAsyncIteration from None

    async def send(self, frame: Frame) -> None:
        """Writes the frame, and waits while more is queued than the transport wants to keep."""
        self.writer.writelines(self.codec.encode(frame))
        await self.writer.drain()

    async def send_many(self, frames: Iterable[Frame]) -> int:
        """Writes all of them, with as few system calls as their sizes allow; how many.

        What the codec raises for one of them ends it; those before have been written.
        """
        count = size = 0
        parts: list[Buffer] = []
        try:
            for frame in frames:
                encoded = [*self.codec.encode(frame)]
                parts += encoded
                count += 1
                size += sum(memoryview(part).nbytes for part in encoded)
                if size >= UNJOINED or len(parts) >= 512:
                    written, parts, size = parts, [], 0
                    self.writer.writelines(written)
                    await self.writer.drain()
        finally:
            if parts:
                self.writer.writelines(parts)
        await self.writer.drain()
        return count

    def close(self) -> None:
        """Closes the connection once all has been written."""
        self.writer.close()

    def is_closing(self) -> bool:
        """Whether it was closed, or lost."""
        return self.writer.is_closing()

    async def wait_closed(self) -> None:
        """Waits until the connection has ended; raises what ended it, if that was an error."""
        await self.writer.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError):
            self.writer.transport.abort()  # a peer that does not read must not hold up who is in a hurry
        self.close()
        try:
            await self.wait_closed()
        except OSError:
            if kind is None:
                raise
        except asyncio.CancelledError:
            self.writer.transport.abort()
            raise
